"""The store in a PostgreSQL database: for schedulers on two hosts or more, of which one leads.

The tables are those of the SQLite file, in a schema of their own. One commit is one transaction, which first locks the
row that holds the leader's epoch: writers come one after the other, and one with an older epoch is refused. A
connection that breaks during a commit leaves its outcome open; the number of commits, which the same transaction
raises, tells it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

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
from scheduler.store.sqlite import write_new

#: The schema that holds our tables, so that the database may hold others'.
SCHEMA: Final = "aurora_scheduler"

#: How long a writer waits for another one, and the server for a writer that went silent within a transaction.
LOCK_TIMEOUT_S: Final = 10
#: How long we try to come back to a server that went away. A standby takes over in about that time; longer, and a new
#: start is as good.
RECONNECT_S: Final = 15.0
_PAUSE_S: Final = 0.25
#: Rows fetched at a time.
_CHUNK: Final = 5000

#: Settings of every connection that the URL may change: a server that is gone is noticed in seconds, not in minutes.
_DEFAULTS: Final[dict[str, str]] = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "aurora-scheduler",
}


def _schema() -> Iterator[str]:
    yield f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"
    yield f"CREATE TABLE {SCHEMA}.meta (name text PRIMARY KEY, value text NOT NULL)"
    yield f"CREATE TABLE {SCHEMA}.configs (digest text PRIMARY KEY, body bytea NOT NULL)"
    for table, is_text in TABLES.items():
        config = "config text NOT NULL, " if table == "tasks" else ""
        body = "text" if is_text else "bytea"
        yield (
            f"CREATE TABLE {SCHEMA}.{table} (seq bigint GENERATED ALWAYS AS IDENTITY, key text PRIMARY KEY, "
            f"{config}body {body} NOT NULL)"
        )
    for table in EVENT_TABLES:
        yield (
            f"CREATE TABLE {SCHEMA}.{table} (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL, "
            "body bytea NOT NULL)"
        )
        yield f"CREATE INDEX {table}_by_key ON {SCHEMA}.{table} (key)"
    yield f"CREATE INDEX tasks_by_config ON {SCHEMA}.tasks (config)"


#: From version n to n + 1: statements that run in one transaction with the new number. Of version 1 nothing is older.
UPGRADES: Final[dict[int, tuple[str, ...]]] = {}

_PUT_META: Final = (
    f"INSERT INTO {SCHEMA}.meta (name, value) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_PUT_TASKS: Final = (
    f"INSERT INTO {SCHEMA}.tasks (key, config, body)"
    " SELECT key, config, body FROM unnest(%s::text[], %s::text[], %s::text[])"
    " WITH ORDINALITY AS new (key, config, body, at) ORDER BY at"
    " ON CONFLICT (key) DO UPDATE SET config = excluded.config, body = excluded.body"
)
_PUT_CONFIGS: Final = (
    f"INSERT INTO {SCHEMA}.configs (digest, body) SELECT * FROM unnest(%s::text[], %s::bytea[]) ON CONFLICT DO NOTHING"
)
_UNUSED_CONFIGS: Final = (
    f"DELETE FROM {SCHEMA}.configs WHERE NOT EXISTS (SELECT 1 FROM {SCHEMA}.tasks WHERE config = configs.digest)"
)

Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresStore:
    """A store in the database that *url* names. Raises StoreError, NewerSchema.

    Before a database of an older schema is brought up to date, a backup is written into *backup_dir*.
    """

    def __init__(self, url: str, backup_dir: str | None = None) -> None:
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error as error:
            raise StoreError(f"the store's URL is none that PostgreSQL's client takes: {error}") from None
        options = f"{given.pop('options', '') or ''} -c lock_timeout={LOCK_TIMEOUT_S}s"
        options += f" -c idle_in_transaction_session_timeout={LOCK_TIMEOUT_S}s"
        self._conninfo = make_conninfo("", **{**_DEFAULTS, **given, "options": options.strip()})
        host = given.get("host") or given.get("hostaddr") or "this host"
        #: For messages: never with the password that the URL may hold.
        self.where = f"the PostgreSQL database {given.get('dbname') or given.get('user') or ''} at {host}"
        self._backup_dir = backup_dir
        self._epoch: int | None = None
        self._commits = 0
        self._known_configs: set[str] = set()
        self._broken: str | None = None
        with self._named():
            self._connection = self._connect()
            try:
                self._open()
            except BaseException:
                self._connection.close()
                raise

    # -- connections ---------------------------------------------------------------------------------------------------

    def _connect(self) -> Connection:
        connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None)
        # An administrator may have chosen speed for all others.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        return connection

    def _reconnect(self) -> None:
        """A new connection, within RECONNECT_S. Raises psycopg.Error."""
        self._connection.close()
        deadline = time.monotonic() + RECONNECT_S
        while True:
            try:
                self._connection = self._connect()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE_S)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """PostgreSQL's errors as ours, with the database and what to do."""
        try:
            yield
        except psycopg.Error as error:
            detail = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, (errors.DiskFull, errors.ConfigurationLimitExceeded)):
                raise NoSpace(f"{self.where} has no room: {detail}; nothing was written; free some space") from error
            if isinstance(error, errors.ReadOnlySqlTransaction):
                raise StoreError(
                    f"{self.where} takes no changes: it is a standby, or read-only; name all its servers in the URL "
                    "and add target_session_attrs=read-write"
                ) from error
            if isinstance(error, errors.InsufficientPrivilege):
                raise StoreError(
                    f"{self.where} refuses our user: {detail}; it needs CREATE on the database, or to own the schema "
                    f"{SCHEMA}"
                ) from error
            if isinstance(error, errors.LockNotAvailable):
                raise StoreError(
                    f"{self.where}: another process holds a lock for more than {LOCK_TIMEOUT_S} s; see pg_locks and "
                    "pg_stat_activity there"
                ) from error
            if isinstance(error, psycopg.OperationalError):
                raise StoreError(
                    f"{self.where} cannot be reached: {detail}; see that it runs, that this host and user may log in, "
                    "and start again"
                ) from error
            raise StoreError(f"{self.where}: {detail}") from error

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        if self._broken is not None:
            raise StoreError(f"{self.where} cannot be used since an earlier error: {self._broken}; start again")
        try:
            with self._named():
                yield
        except (Fenced, NoSpace):
            raise
        except StoreError as error:
            self._broken = str(error.__cause__ or error)
            raise

    # -- opening -------------------------------------------------------------------------------------------------------

    def _meta(self, for_update: bool = False) -> dict[str, str]:
        """What ``meta`` says; for_update: and nobody else changes it until the transaction is over."""
        lock = " FOR UPDATE" if for_update else ""
        return dict(self._connection.execute(f"SELECT name, value FROM {SCHEMA}.meta ORDER BY name{lock}").fetchall())

    def _open(self) -> None:
        with self._connection.transaction():
            # Two that come at once must not both make the tables. The number is any that others do not use.
            self._connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (SCHEMA,))
            found = self._connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.meta",)).fetchone()
            if found is None or found[0] is None:
                for statement in _schema():
                    self._connection.execute(statement)
                for item in NEW_META.items():
                    self._connection.execute(_PUT_META, item)
        check_schema(self._meta(), self.where)

    def _upgrade(self, found: int) -> None:
        """To today's schema, after a backup."""
        if self._backup_dir is None:
            raise StoreError(
                f"{self.where} has schema {found} and must be brought to {SCHEMA_VERSION}, after a backup; say where "
                "backups go"
            )
        self.backup(os.path.join(self._backup_dir, f"{SCHEMA}.schema-{found}"))
        with self._connection.transaction():
            check_schema(self._meta(for_update=True), self.where)
            for version in range(found, SCHEMA_VERSION):
                for statement in UPGRADES[version]:
                    self._connection.execute(statement)
            self._connection.execute(_PUT_META, ("schema_version", str(SCHEMA_VERSION)))

    # -- the store -----------------------------------------------------------------------------------------------------

    def lead(self) -> int:
        """Become the one who writes; gives our epoch. Whoever had a smaller one is refused from now on.

        A database of an older schema is brought up to date, with a backup first. Raises StoreError, NewerSchema.
        """
        with self._guarded():
            try:
                epoch, found, commits = self._next_epoch()
            except psycopg.Error:
                if not self._is_lost():
                    raise
                # A standby waits for days, and what is between it and the server may not keep a silent connection. An
                # epoch that was raised twice does no harm.
                self._reconnect()
                epoch, found, commits = self._next_epoch()
            if found < SCHEMA_VERSION:
                self._upgrade(found)
            with self._connection.transaction():
                self._connection.execute(_UNUSED_CONFIGS)
            self._known_configs = self._digests()
        self._epoch, self._commits = epoch, commits
        return epoch

    def _next_epoch(self) -> tuple[int, int, int]:
        """Raise the epoch; gives it, the schema's version and the number of commits."""
        with self._connection.transaction():
            meta = self._meta(for_update=True)
            found = check_schema(meta, self.where)
            epoch = int(meta["epoch"]) + 1
            self._connection.execute(_PUT_META, ("epoch", str(epoch)))
        return epoch, found, int(meta["commits"])

    def _digests(self) -> set[str]:
        return {digest for (digest,) in self._connection.execute(f"SELECT digest FROM {SCHEMA}.configs")}

    def load(self) -> Iterable[Change]:
        """All that is kept, as the changes that make it of nothing. Raises Damaged at its end, StoreError."""
        with self._named():
            yield from self._changes(self._connection)

    def _changes(self, connection: Connection) -> Iterator[Change]:
        def rows(columns: str, table: str, order: str = "seq") -> Iterator[Any]:
            with connection.cursor(name=table) as cursor:
                cursor.itersize = _CHUNK
                yield from cursor.execute(f"SELECT {columns} FROM {SCHEMA}.{table} ORDER BY {order}")

        reader = Reader(self.where)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            # Nobody waits for a reader, so it may take its time.
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            yield from reader.framework(dict(rows("name, value", "meta", "name")).get("framework_id"))
            reader.configs(rows("digest, body", "configs", "digest"))
            yield from reader.tasks(rows("key, config, body", "tasks"))
            for table in EVENT_TABLES:
                reader.events(table, rows("key, body", table))
            for table in TABLES:
                if table != "tasks":
                    yield from reader.others(table, rows("key, body", table))
        finally:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
        reader.finish()

    def commit(self, changes: Sequence[Change]) -> None:
        """Make *changes* durable, all or none, before returning. Raises Fenced, NoSpace, StoreError.

        If the connection breaks, it comes back and looks whether the commit is there, and does it again if not. After
        NoSpace one may go on; after any other error this store refuses, and whoever leads next loads what is true.
        """
        if self._epoch is None:
            raise StoreError(f"{self.where}: nobody may write before they lead")
        batch = batch_of(changes)
        new_configs = [digest for digest in batch.configs if digest not in self._known_configs]
        with self._guarded():
            try:
                gone = self._write(batch, new_configs)
            except psycopg.Error:
                if not self._is_lost():
                    raise
                self._reconnect()
                known = self._digests()
                if self._is_written():
                    self._commits += 1
                    self._known_configs = known
                    return
                gone = self._write(batch, list(batch.configs))
        self._commits += 1
        self._known_configs.update(new_configs)
        self._known_configs -= gone

    def _is_lost(self) -> bool:
        return self._connection.closed or self._connection.broken

    def _locked_meta(self) -> int:
        """Lock the leader's row; gives the number of commits. Raises Fenced."""
        meta = self._meta(for_update=True)
        if int(meta["epoch"]) != self._epoch:
            raise Fenced(
                f"{self.where}: another scheduler leads since (epoch {meta['epoch']}, ours is {self._epoch}); "
                "nothing was written"
            )
        return int(meta["commits"])

    def _is_written(self) -> bool:
        """Whether the commit whose answer was lost is there.

        What is left of it on the server holds the lock until it is over, so that the answer is final.
        """
        with self._connection.transaction():
            commits = self._locked_meta()
        return commits == self._commits + 1

    def _write(self, batch: Batch, new_configs: Sequence[str]) -> set[str]:
        """One transaction; gives the configurations that nobody used any more."""
        execute = self._connection.execute
        freed: set[str] = set()
        gone: set[str] = set()
        with self._connection.transaction():
            commits = self._locked_meta()
            if commits != self._commits:
                raise StoreError(
                    f"{self.where} has {commits} commits and should have {self._commits}: it went back to an older "
                    "state, as a replica does that lagged behind, or was written to by hand"
                )
            for table, keys in batch.drops.items():
                delete = f"DELETE FROM {SCHEMA}.{table} WHERE key = ANY(%s)"
                if table == "tasks":
                    freed.update(config for (config,) in execute(f"{delete} RETURNING config", (list(keys),)))
                else:
                    execute(delete, (list(keys),))
            if new_configs:
                execute(_PUT_CONFIGS, (list(new_configs), [encode_config(batch.configs[one]) for one in new_configs]))
            if batch.tasks:
                keys_, configs, bodies = zip(*batch.tasks.values(), strict=True)
                execute(_PUT_TASKS, (list(keys_), list(configs), list(bodies)))
            for table, rows in batch.puts.items():
                kind = "text" if TABLES[table] else "bytea"
                execute(
                    f"INSERT INTO {SCHEMA}.{table} (key, body) SELECT key, body FROM unnest(%s::text[], %s::{kind}[])"
                    " WITH ORDINALITY AS new (key, body, at) ORDER BY at"
                    " ON CONFLICT (key) DO UPDATE SET body = excluded.body",
                    (list(rows), list(rows.values())),
                )
            for table, added in batch.adds.items():
                execute(
                    f"INSERT INTO {SCHEMA}.{table} (key, body) SELECT key, body FROM unnest(%s::text[], %s::bytea[])"
                    " WITH ORDINALITY AS new (key, body, at) ORDER BY at",
                    ([key for key, _ in added], [body for _, body in added]),
                )
            if freed:
                gone.update(
                    digest
                    for (digest,) in execute(
                        f"DELETE FROM {SCHEMA}.configs WHERE digest = ANY(%s) AND NOT EXISTS"
                        f" (SELECT 1 FROM {SCHEMA}.tasks WHERE config = configs.digest) RETURNING digest",
                        (list(freed),),
                    )
                )
            if batch.framework_id is not None:
                execute(_PUT_META, ("framework_id", batch.framework_id))
            execute(_PUT_META, ("commits", str(self._commits + 1)))
        return gone

    def backup(self, path: str) -> None:
        """Write a copy of all that is kept to a new SQLite file at *path*, whole or not at all.

        Has a connection of its own, so that another thread may do it. Raises StoreError, NoSpace.
        """
        with self._named(), closing(self._connect()) as connection:
            write_new(path, self._changes(connection))

    def compact(self) -> None:
        """Give back the space of what was deleted. The server does so by itself, sooner or later.

        Has a connection of its own, so that another thread may do it, and holds up nobody. Raises StoreError.
        """
        with self._named(), closing(self._connect()) as connection:
            for table in ("meta", "configs", *TABLES, *EVENT_TABLES):
                connection.execute(f"VACUUM {SCHEMA}.{table}")

    def close(self) -> None:
        """Let it go."""
        self._connection.close()
