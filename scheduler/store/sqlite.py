"""The store in one SQLite file: what a scheduler on one host needs, and nothing to look after.

The file is in WAL mode with ``synchronous=FULL``: a commit is one transaction, and on the disk before ``commit``
returns. Beside it lie ``-wal`` and ``-shm`` while it is open, and after a kill: they belong to it. Source of what
SQLite promises: sqlite.org/wal.html, sqlite.org/atomiccommit.html.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from errno import EDQUOT, ENOSPC
from typing import Final

from scheduler.core.changes import Change
from scheduler.store.interface import Fenced, NoSpace, StoreError
from scheduler.store.rows import (
    EVENT_TABLES,
    NEW_META,
    SCHEMA_VERSION,
    TABLES,
    Batch,
    Reader,
    batch_of,
    check_schema,
    encode_config,
)

#: How long a writer waits for another one: a transaction takes milliseconds, so this is a hung or frozen process.
BUSY_TIMEOUT_S: Final = 10.0
#: A thousand changed tasks lie on a thousand pages, so with SQLite's own 1000 every such commit would also copy the log
#: into the file: 240 ms instead of 45. The log grows to 40 MB.
_CHECKPOINT_PAGES: Final = 10_000
#: SQLite's 2 MB are less than a tenth of 100 000 tasks, and each commit touches pages all over the file.
_CACHE_KB: Final = 64 * 1024
#: So many bytes of the log stay on disk when it was emptied into the file; what a burst of changes took is given back.
_KEPT_LOG_BYTES: Final = 64 * 1024 * 1024

_FULL: Final = sqlite3.SQLITE_FULL
#: The file may be gone from under us, or the disk no longer takes or gives what it should.
_DISK: Final = frozenset({
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
})  # fmt: skip


def _schema() -> Iterator[str]:
    yield "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
    yield "CREATE TABLE configs (digest TEXT PRIMARY KEY, body BLOB NOT NULL)"
    for table, is_text in TABLES.items():
        config = "config TEXT NOT NULL, " if table == "tasks" else ""
        body = "TEXT" if is_text else "BLOB"
        yield f"CREATE TABLE {table} (seq INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, {config}body {body} NOT NULL)"
    for table in EVENT_TABLES:
        yield f"CREATE TABLE {table} (seq INTEGER PRIMARY KEY, key TEXT NOT NULL, body BLOB NOT NULL)"
        yield f"CREATE INDEX {table}_by_key ON {table} (key)"
    yield "CREATE INDEX tasks_by_config ON tasks (config)"


#: From version n to n + 1: statements that run in one transaction with the new number. Of version 1 nothing is older.
UPGRADES: Final[dict[int, tuple[str, ...]]] = {}

_PUT_TASK: Final = (
    "INSERT INTO tasks (key, config, body) VALUES (?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET config = excluded.config, body = excluded.body"
)
_PUT_META: Final = (
    "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_UNUSED_CONFIGS: Final = "DELETE FROM configs WHERE digest NOT IN (SELECT config FROM tasks)"


def _sync_directory(path: str) -> None:
    """A file's name is durable only when its directory is."""
    directory = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def connect(path: str, mode: str = "rwc") -> sqlite3.Connection:
    """A connection as all of ours are; *mode* as in SQLite's URIs (``ro``, ``rw``, ``rwc``).

    A file that is made is its owner's alone: jobs have secrets in their configurations. What SQLite puts beside it
    gets the same mode.
    """
    if mode == "rwc":
        with suppress(OSError):  # SQLite says better why it cannot be
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    quoted = os.path.abspath(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"file:{quoted}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    # What is not UTF-8 is a row that cannot be read, not one that cannot be named.
    connection.text_factory = functools.partial(str, encoding="utf-8", errors="backslashreplace")
    return connection


def read_meta(connection: sqlite3.Connection) -> dict[str, str]:
    """What ``meta`` says; empty if nothing was ever written. Raises StoreError for another program's database."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables:
        return {}
    if "meta" not in tables:
        raise StoreError("it is a database of another program: it has no table `meta`")
    return dict(connection.execute("SELECT name, value FROM meta"))


def read_changes(connection: sqlite3.Connection, where: str) -> Iterator[Change]:
    """All rows as changes, in one read transaction."""
    reader = Reader(where)
    connection.execute("BEGIN")
    try:
        yield from reader.framework(dict(connection.execute("SELECT name, value FROM meta")).get("framework_id"))
        reader.configs(connection.execute("SELECT digest, body FROM configs"))
        yield from reader.tasks(connection.execute("SELECT key, config, body FROM tasks ORDER BY seq"))
        for table in EVENT_TABLES:
            reader.events(table, connection.execute(f"SELECT key, body FROM {table} ORDER BY seq"))
        for table in TABLES:
            if table != "tasks":
                yield from reader.others(table, connection.execute(f"SELECT key, body FROM {table} ORDER BY seq"))
    finally:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
    reader.finish()


def write_batch(connection: sqlite3.Connection, batch: Batch, new_configs: Iterable[str]) -> set[str]:
    """Make the rows of *batch* so, within a transaction; gives the configurations that nobody used any more."""
    freed: set[str] = set()
    for table, keys in batch.drops.items():
        if table == "tasks":
            for key in keys:
                freed.update(
                    config
                    for (config,) in connection.execute("DELETE FROM tasks WHERE key = ? RETURNING config", (key,))
                )
        else:
            connection.executemany(f"DELETE FROM {table} WHERE key = ?", ((key,) for key in keys))
    connection.executemany(
        "INSERT INTO configs (digest, body) VALUES (?, ?) ON CONFLICT DO NOTHING",
        ((digest, encode_config(batch.configs[digest])) for digest in new_configs),
    )
    connection.executemany(_PUT_TASK, batch.tasks.values())
    for table, rows in batch.puts.items():
        connection.executemany(
            f"INSERT INTO {table} (key, body) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body",
            rows.items(),
        )
    for table, added in batch.adds.items():
        connection.executemany(f"INSERT INTO {table} (key, body) VALUES (?, ?)", added)
    gone = set()
    for digest in freed:
        deleted = connection.execute(
            "DELETE FROM configs WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM tasks WHERE config = configs.digest)",
            (digest,),
        )
        if deleted.rowcount:
            gone.add(digest)
    if batch.framework_id is not None:
        connection.execute(_PUT_META, ("framework_id", batch.framework_id))
    return gone


def create_schema(connection: sqlite3.Connection) -> None:
    """Make the tables, within a transaction."""
    for statement in _schema():
        connection.execute(statement)
    connection.executemany(_PUT_META, NEW_META.items())


def write_new(path: str, changes: Iterable[Change]) -> None:
    """A new file at *path* that holds *changes*, whole or not at all. Raises StoreError."""
    with _new_file(path) as temporary, closing(connect(temporary)) as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("BEGIN")
        create_schema(connection)
        batch = batch_of(changes)
        write_batch(connection, batch, batch.configs)
        connection.execute("COMMIT")


@contextmanager
def _new_file(path: str) -> Iterator[str]:
    """A temporary name beside *path*; what was written there is durable and called *path* when the block ends."""
    directory, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(directory, f"temp_{name}")
    try:
        for leftover in (temporary, f"{temporary}-journal", f"{temporary}-wal", f"{temporary}-shm"):
            with suppress(FileNotFoundError):
                os.unlink(leftover)
        with named(path):
            yield temporary
        file = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(temporary, path)
        _sync_directory(path)
    except OSError as error:
        raise _of_os(error, path) from error
    finally:
        with suppress(OSError):
            os.unlink(temporary)


def _of_os(error: OSError, path: str) -> StoreError:
    if error.errno in (ENOSPC, EDQUOT):
        return NoSpace(f"no room for {path}: {error.strerror}; free some and try again")
    return StoreError(f"{path} cannot be written: {error.strerror}")


@contextmanager
def named(path: str) -> Iterator[None]:
    """SQLite's errors as ours, with the file and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        detail = f"{error} ({getattr(error, 'sqlite_errorname', 'no code')})"
        if code == _FULL:
            raise NoSpace(f"the disk with {path} is full: nothing was written; free some space") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreError(
                f"{path} is held by another process for more than {BUSY_TIMEOUT_S:g} s: {detail}; "
                f"see who has it open (`fuser {path}`)"
            ) from error
        if code == sqlite3.SQLITE_NOTADB:
            raise StoreError(f"{path} is no SQLite database: {detail}; name another, or restore a backup") from error
        if code == sqlite3.SQLITE_CORRUPT:
            raise StoreError(f"{path} is damaged: {detail}; restore a backup: `aurora-scheduler restore`") from error
        if code in _DISK:
            raise StoreError(
                f"{path} cannot be used: {detail}; see that its directory exists, is writable and local, "
                "and what the kernel says of the disk"
            ) from error
        raise StoreError(f"{path}: {detail}") from error


class SqliteStore:
    """A store in the file at *path*, which is made if it is not there. Raises StoreError, NewerSchema."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._epoch: int | None = None
        self._commits = 0
        #: Configurations that are in the file for sure.
        self._known_configs: set[str] = set()
        #: SQLite would have a commit fail that waits for long.
        self._writing = threading.Lock()
        #: Why nothing can be written any more.
        self._broken: str | None = None
        with named(path):
            self._connection = connect(path)
            try:
                self._open()
            except BaseException:
                self._connection.close()
                raise

    def _open(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA synchronous=FULL")
        try:
            meta = read_meta(connection)
        except StoreError as error:
            raise StoreError(f"{self.path}: {error}") from None
        if meta:
            check_schema(meta, self.path)
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(f"{self.path}: its file system gives no write-ahead log ({mode}); put it on a local disk")
        connection.execute(f"PRAGMA journal_size_limit={_KEPT_LOG_BYTES}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KB}")
        if not meta:
            with self._transaction():
                if not read_meta(connection):  # nobody else was faster
                    create_schema(connection)
            _sync_directory(self.path)

    def _upgrade(self, found: int) -> None:
        """To today's schema, after a backup beside the file."""
        self.backup(f"{self.path}.schema-{found}")
        with self._transaction():
            for version in range(found, SCHEMA_VERSION):
                for statement in UPGRADES[version]:
                    self._connection.execute(statement)
            self._connection.execute(_PUT_META, ("schema_version", str(SCHEMA_VERSION)))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One that writes: all of it or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            raise

    def lead(self) -> int:
        """Become the one who writes; gives our epoch. Whoever had a smaller one is refused from now on.

        A file of an older schema is brought up to date, with a backup beside it first. Raises StoreError, NewerSchema.
        """
        with self._guarded():
            with self._transaction():
                meta = read_meta(self._connection)
                found = check_schema(meta, self.path)
                epoch = int(meta["epoch"]) + 1
                self._connection.execute(_PUT_META, ("epoch", str(epoch)))
            if found < SCHEMA_VERSION:
                self._upgrade(found)
            with self._transaction():
                self._connection.execute(_UNUSED_CONFIGS)
            known = {digest for (digest,) in self._connection.execute("SELECT digest FROM configs")}
        self._epoch, self._commits, self._known_configs = epoch, int(meta["commits"]), known
        return epoch

    def load(self) -> Iterable[Change]:
        """All that is kept, as the changes that make it of nothing. Raises Damaged at its end, StoreError."""
        with named(self.path):
            yield from read_changes(self._connection, self.path)

    def commit(self, changes: Sequence[Change]) -> None:
        """Make *changes* durable, all or none, before returning. Raises Fenced, NoSpace, StoreError.

        After NoSpace one may go on. After any other error the disk is not to be trusted (a failed fsync may have lost
        pages that it calls clean): this store refuses, and whoever leads next loads what is true.
        """
        if self._epoch is None:
            raise StoreError(f"{self.path}: nobody may write before they lead")
        batch = batch_of(changes)
        new_configs = [digest for digest in batch.configs if digest not in self._known_configs]
        with self._guarded(), self._writing, self._transaction():
            meta = dict(self._connection.execute("SELECT name, value FROM meta WHERE name IN ('epoch', 'commits')"))
            if int(meta["epoch"]) != self._epoch:
                raise Fenced(
                    f"{self.path}: another scheduler leads since (epoch {meta['epoch']}, ours is {self._epoch}); "
                    "nothing was written"
                )
            if int(meta["commits"]) != self._commits:
                raise StoreError(
                    f"{self.path} has {meta['commits']} commits and should have {self._commits}: it was replaced or "
                    "written to by hand while we lead"
                )
            gone = write_batch(self._connection, batch, new_configs)
            self._connection.execute(_PUT_META, ("commits", str(self._commits + 1)))
        self._commits += 1
        self._known_configs.update(new_configs)
        self._known_configs -= gone

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        if self._broken is not None:
            raise StoreError(f"{self.path} cannot be used since an earlier error: {self._broken}; start again")
        try:
            with named(self.path):
                yield
        except (Fenced, NoSpace):
            raise
        except StoreError as error:
            self._broken = str(error.__cause__ or error)
            raise

    def backup(self, path: str) -> None:
        """Write a copy of all that is kept to a new file at *path*, whole or not at all.

        Has a connection of its own, so that another thread may do it. Raises StoreError, NoSpace.
        """
        with (
            named(self.path),
            _new_file(path) as temporary,
            closing(connect(self.path, "rw")) as source,
            closing(connect(temporary)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one plain file, which can be read where it lies

    def compact(self) -> None:
        """Give back the space of what was deleted, and empty the log.

        Has a connection of its own, so that another thread may do it; a commit waits until it is over, for as long as
        that takes. Raises StoreError, NoSpace: nothing is lost, and one may go on.
        """
        with named(self.path), self._writing, closing(connect(self.path, "rw")) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let it go."""
        with suppress(sqlite3.Error):
            self._connection.close()
