"""Backups of the store: taken every hour, the last 48 kept; read again offline, or staged and looked at first.

A backup is one SQLite file of today's tables, whatever store it came from, with a name that says its minute in UTC.
Names, interval and number are those of Aurora 0.22 (its flags ``-backup_interval`` and ``-max_saved_backups``); its
files are read by :mod:`scheduler.store.snapshot_import`.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from scheduler.core.changes import (
    AddInstanceEvent,
    AddUpdateEvent,
    Change,
    DropCronJob,
    DropCronRun,
    DropHost,
    DropMaintenance,
    DropQuota,
    DropTask,
    DropUpdate,
    PutCronJob,
    PutCronRun,
    PutFramework,
    PutHost,
    PutMaintenance,
    PutQuota,
    PutTask,
    PutUpdate,
)
from scheduler.core.state import State
from scheduler.store.interface import Misused, Store, StoreError
from scheduler.store.rows import SCHEMA_VERSION, check_schema
from scheduler.store.sqlite import SqliteStore, connect, named, read_changes, read_meta

INTERVAL_S: Final = 3600
KEPT: Final = 48

_PREFIX: Final = "scheduler-backup-"
_NAME: Final = re.compile(_PREFIX + r"\d{4}-\d\d-\d\d-\d\d-\d\d")
_MINUTE: Final = "%Y-%m-%d-%H-%M"
#: How every SQLite file begins (sqlite.org/fileformat.html).
_MAGIC: Final = b"SQLite format 3\x00"


class NoSuchBackup(Misused):
    """No backup has this id."""


def name_at(wall_ms: int) -> str:
    """What a backup of this minute is called."""
    return _PREFIX + datetime.fromtimestamp(wall_ms / 1000, UTC).strftime(_MINUTE)


def taken_at_ms(name: str) -> int:
    """The minute that a backup's name tells. Raises ValueError."""
    taken = datetime.strptime(name.removeprefix(_PREFIX), _MINUTE).replace(tzinfo=UTC)
    return int(taken.timestamp()) * 1000


def is_due(names: Sequence[str], wall_ms: int, interval_s: int = INTERVAL_S) -> bool:
    """Whether another backup should be taken now, given those that there are.

    One from the future, which a clock that was set back leaves behind, holds nothing up for longer than an interval.
    """
    past = [at for name in names if (at := taken_at_ms(name)) <= wall_ms + interval_s * 1000]
    return not past or wall_ms - max(past) >= interval_s * 1000


@dataclass(frozen=True)
class Backups:
    """The directory that they lie in. Other files there are not touched."""

    directory: str
    kept: int = KEPT

    def names(self) -> tuple[str, ...]:
        """Ids of all backups, oldest first; none if the directory cannot be read."""
        try:
            found = os.listdir(self.directory)
        except OSError:
            return ()
        return tuple(sorted(name for name in found if _is_name(name)))

    def path(self, name: str) -> str:
        """Where the backup with this id lies. Raises NoSuchBackup."""
        if name not in self.names():
            raise NoSuchBackup(f"there is no backup {name!r} in {self.directory}; `listBackups` names those there are")
        return os.path.join(self.directory, name)

    def take(self, store: Store, wall_ms: int) -> str:
        """Write one, forget the oldest beyond the limit; gives its id. Raises StoreError, NoSpace."""
        try:
            os.makedirs(self.directory, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the backup directory {self.directory} cannot be made: {error.strerror}") from error
        name = name_at(wall_ms)
        store.backup(os.path.join(self.directory, name))
        # Whatever the clock said of others: the newest is the one that was just written.
        others = [other for other in self.names() if other != name]
        for outdated in others[: max(0, len(others) + 1 - self.kept)]:
            with suppress(OSError):
                os.unlink(os.path.join(self.directory, outdated))
        return name


def _is_name(name: str) -> bool:
    if _NAME.fullmatch(name) is None:
        return False
    try:
        taken_at_ms(name)
    except ValueError:
        return False
    return True


def read_backup(path: str) -> list[Change]:
    """What the backup at *path* holds, as the changes that make it of nothing. The file is not changed.

    Raises StoreError (it is none, or cannot be read), Damaged, NewerSchema.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise StoreError(f"the backup {path} cannot be read: {error.strerror}") from error
    if start != _MAGIC:
        raise StoreError(
            f"{path} is no backup of ours; one of Aurora's own scheduler is read by `aurora-scheduler import {path}`"
        )
    with named(path), closing(connect(path, "ro")) as connection:
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise StoreError(f"the backup {path} is damaged: {damage}; take an older one")
        found = check_schema(read_meta(connection), path)
        if found == SCHEMA_VERSION:
            return list(read_changes(connection, path))
    with tempfile.TemporaryDirectory(prefix="aurora-scheduler.") as directory:
        copy = shutil.copy(path, Path(directory, "older"))
        store = SqliteStore(str(copy))
        try:
            store.lead()  # brings it up to date
            return list(store.load())
        finally:
            store.close()


def replacing(current: Iterable[Change], wanted: Iterable[Change]) -> list[Change]:
    """The changes after which a store that loads as *current* loads as *wanted*, and nothing else."""
    result: list[Change] = []
    for change in current:
        match change:
            case PutTask(task):
                result.append(DropTask(task.task_id))
            case PutCronJob(key, _):
                result.append(DropCronJob(key))
            case PutCronRun(key, _):
                result.append(DropCronRun(key))
            case PutQuota(role, _):
                result.append(DropQuota(role))
            case PutHost(host):
                result.append(DropHost(host.name))
            case PutUpdate(key, update_id, _):
                result.append(DropUpdate(key, update_id))
            case PutMaintenance(request):
                result.append(DropMaintenance(request.host or ""))
            case (
                PutFramework()
                | DropTask()
                | DropCronJob()
                | DropCronRun()
                | DropQuota()
                | DropHost()
                | DropUpdate()
                | AddUpdateEvent()
                | AddInstanceEvent()
                | DropMaintenance()
            ):
                pass
    result.extend(wanted)
    return result


def restore(store: Store, wanted: Iterable[Change]) -> None:
    """Make *store* hold *wanted* and nothing else, in one commit. Whoever led before is refused from now on.

    Raises StoreError, NoSpace: nothing was changed then.
    """
    store.lead()
    store.commit(replacing(list(store.load()), wanted))


class Recovery:
    """A backup that is looked at, and thinned out, before it takes the place of what there is."""

    def __init__(self, backups: Backups) -> None:
        self._backups = backups
        self._staged: State | None = None

    def stage(self, name: str) -> None:
        """Load the backup with this id. Raises NoSuchBackup, StoreError: also if one is staged already."""
        if self._staged is not None:
            raise Misused("another backup is staged already: commit it, or unload it first")
        staged = State()
        for change in read_backup(self._backups.path(name)):
            staged.apply(change)
        self._staged = staged

    @property
    def staged(self) -> State:
        """What is staged, to be queried. Raises StoreError: nothing is."""
        if self._staged is None:
            raise Misused("no backup is staged: stageRecovery comes first, with one of those that listBackups names")
        return self._staged

    def delete_tasks(self, task_ids: Iterable[str]) -> None:
        """Forget these tasks of what is staged. Raises StoreError: nothing is staged."""
        staged = self.staged
        for task_id in list(task_ids):
            staged.apply(DropTask(task_id))

    def changes(self, current: State) -> list[Change]:
        """What, committed, puts what is staged in the place of *current*. Whoever leads must then end: the next one
        loads it. The framework's id stays, if there is one: Mesos may have removed an older one, and knows this.
        Raises StoreError: nothing is staged."""
        wanted = changes_of(self.staged)
        if current.framework_id is not None:
            wanted = [change for change in wanted if not isinstance(change, PutFramework)]
        return replacing(changes_of(current), wanted)

    def unload(self) -> None:
        """Let go of what is staged, if anything is."""
        self._staged = None


def changes_of(state: State) -> list[Change]:
    """The changes that make *state* of nothing."""
    made: list[Change] = [] if state.framework_id is None else [PutFramework(state.framework_id)]
    made.extend(PutTask(task) for task in state.tasks.values())
    made.extend(PutCronJob(key, job) for key, job in state.cron_jobs.items())
    made.extend(PutCronRun(key, run) for key, run in state.cron_runs.items())
    made.extend(PutQuota(role, quota) for role, quota in state.quotas.items())
    made.extend(PutHost(host) for host in state.hosts.values())
    made.extend(PutUpdate(key, update_id, details) for (key, update_id), details in state.updates.items())
    made.extend(PutMaintenance(request) for request in state.maintenance.values())
    return made
