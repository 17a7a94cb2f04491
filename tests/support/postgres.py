"""A real PostgreSQL server on loopback, as an unprivileged user: started, stopped, and gone at the end."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.box import IS_ROOT, NOBODY, until
from tests.support.zookeeper import free_port

#: Where Debian's package puts what is not for everybody's PATH.
_DEBIAN: Final = Path("/usr/lib/postgresql")


def _binaries() -> Path | None:
    """The directory with ``initdb`` and ``postgres``, of the newest version."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parent.parent.name))
    return versions[-1].parent if versions else None


class Postgres:
    """One server with its data in a directory of its own; everybody who reaches it may do everything."""

    def __init__(self, binaries: Path, directory: str) -> None:
        self._binaries = binaries
        self._directory = directory
        self._numbers = itertools.count(1)
        self.port = free_port()
        self._server: subprocess.Popen[bytes] | None = None
        if IS_ROOT:
            os.chown(directory, NOBODY, NOBODY)
        subprocess.run(
            [binaries / "initdb", "-D", f"{directory}/data", "-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C",
             "--no-sync"],
            check=True, capture_output=True, timeout=120, cwd=directory, **self._identity(),
        )  # fmt: skip

    @staticmethod
    def _identity() -> dict[str, Any]:
        """It does not start as root."""
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if IS_ROOT else {}

    def start(self) -> None:
        """Start it, and wait until it serves."""
        # What the kernel has is safe from all but a power loss, and none comes in a test.
        with open(f"{self._directory}/log", "ab") as log:
            self._server = subprocess.Popen(
                [self._binaries / "postgres", "-D", f"{self._directory}/data", "-c", "listen_addresses=127.0.0.1",
                 "-p", str(self.port), "-k", self._directory, "-c", "fsync=off", "-c", "shared_buffers=16MB",
                 "-c", "max_connections=30"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory, **self._identity(),
            )  # fmt: skip

        def is_ready() -> bool:
            ready = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            return subprocess.run(ready, timeout=30).returncode == 0

        until(is_ready, lambda: f"PostgreSQL serves; it said: {Path(self._directory, 'log').read_text()[-2000:]}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT ends all connections first, SIGQUIT does as a crash does."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(60)
            self._server = None

    def url(self, database: str, port: int | None = None) -> str:
        """Of a database, on this server's port or a relay's."""
        return f"postgresql://tests@127.0.0.1:{port or self.port}/{database}"

    def new_database(self) -> str:
        """The name of a new empty one."""
        name = f"test_{next(self._numbers)}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return name

    def sql(self, database: str, statement: str) -> str:
        """Run it by the server's own client; gives what it printed, a line for each row."""
        quietly = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        ran = subprocess.run(
            [self._binaries / "psql", *quietly, "-d", self.url(database), "-c", statement],
            check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        return ran.stdout


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that runs; the test is skipped where there is none."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("needs a PostgreSQL server (Debian package postgresql)")
    pytest.importorskip("psycopg", reason="needs the Python package psycopg")
    # Not below pytest's own directory, which nobody else may enter; a socket's path is short.
    directory = tempfile.mkdtemp(prefix="pg.", dir="/tmp")
    try:
        server = Postgres(binaries, directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
