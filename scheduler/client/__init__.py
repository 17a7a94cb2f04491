"""The clients: ``aurora`` for users, ``aurora_admin`` for administrators."""
