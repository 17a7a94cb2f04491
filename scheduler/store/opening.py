"""Which store a URL means."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from scheduler.store.interface import Store, StoreError
from scheduler.store.sqlite import SqliteStore

_FORMS = "a path, sqlite:///absolute/path, or postgresql://user@host/database"


def open_store(url: str, backup_dir: str | None = None) -> Store:
    """The store at *url*: a path or ``sqlite:///path`` for a file, ``postgresql://…`` for a shared database.

    Made if it is not there (the database itself is not). *backup_dir*: where a backup of a PostgreSQL database goes
    before it is brought to a new schema; a file's goes beside it. Raises StoreError, NewerSchema.
    """
    scheme, colon, _ = url.partition("://")
    if not colon:
        if not url:
            raise StoreError(f"no store is named; it can be {_FORMS}")
        return SqliteStore(url)
    if scheme == "sqlite":
        parts = urlsplit(url)
        if parts.netloc or parts.query or len(parts.path) < 2:
            raise StoreError(f"{url}: a file's URL has three slashes and nothing else, as in sqlite:///var/lib/x.db")
        return SqliteStore(unquote(parts.path))
    if scheme in ("postgresql", "postgres"):
        try:
            from scheduler.store.postgres import PostgresStore
        except ImportError as error:
            raise StoreError(
                f"a store at {scheme}:// needs the package psycopg ({error}): pip install 'thermos[postgresql]'"
            ) from None
        return PostgresStore(url, backup_dir)
    raise StoreError(f"{scheme}://: no store is called so; it can be {_FORMS}")
