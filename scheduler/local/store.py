"""The file in which the Mesos of one machine keeps what outlives a restart: rows of JSON in SQLite."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from scheduler.local.keeping import Row
from scheduler.local.world import KeptKey
from thermos.errors import ExitCode, ThermosError

#: Raised with every change of what a row holds.
VERSION: Final = 1


class CannotOpen(ThermosError):
    """The directory or the port cannot be used; says why and what to do."""

    exit_code = ExitCode.DAMAGED  # 3, as every configuration that cannot be used


class Store:
    """One process at a time has it. What ``write`` wrote is on the disk when it returns."""

    def __init__(self, directory: Path) -> None:
        """Raises CannotOpen."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotOpen(f"{error.filename or directory} cannot be used: {error.strerror}; name another") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise CannotOpen(f"{directory} is in use by another scheduler: end that one, or name another") from None
        self._database = sqlite3.connect(directory / "mesos.sqlite", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        (found,) = self._database.execute("PRAGMA user_version").fetchone()
        if found not in (0, VERSION):
            self.close()
            raise CannotOpen(f"{directory} was written by another version ({found}, this is {VERSION}): name another")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID"
        )
        self._database.execute(f"PRAGMA user_version={VERSION}")

    def read(self) -> list[Row]:
        """All that is kept."""
        rows = self._database.execute("SELECT key, content FROM kept ORDER BY key")
        return [(tuple(json.loads(key)), json.loads(content)) for key, content in rows]

    def write(self, changes: Mapping[KeptKey, dict[str, Any] | None]) -> None:
        """Keep this under these keys; None: nothing any more."""
        if not changes:
            return
        self._database.execute("BEGIN IMMEDIATE")
        for key, content in changes.items():
            name = json.dumps(key)
            if content is None:
                self._database.execute("DELETE FROM kept WHERE key = ?", (name,))
            else:
                self._database.execute("REPLACE INTO kept VALUES (?, ?)", (name, json.dumps(content)))
        self._database.execute("COMMIT")

    def close(self) -> None:
        """Another process may have it."""
        self._database.close()
        os.close(self._lock)
