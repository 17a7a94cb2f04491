"""Where the scheduler's state lies: a small interface, SQLite by default, PostgreSQL for two hosts."""
