"""Moving in: what a backup of Aurora's own scheduler holds, as changes.

Such a file is one ``Snapshot`` in Thrift's binary protocol, without a message around it (Aurora 0.22,
``storage/backup/StorageBackup.java``). Its replicated log holds the same with each configuration once, as
``DeduplicatedSnapshot``, and deflated (``codec/ThriftBinaryCodec.java``); such are taken too. Each thing in the file is
read on its own, so that one that cannot be is named and all others are there. Source of the layout: ``storage.thrift``.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from struct import error as StructError
from struct import unpack_from
from typing import Any, Final, NamedTuple

from scheduler.core.changes import (
    Change,
    PutCronJob,
    PutFramework,
    PutHost,
    PutMaintenance,
    PutQuota,
    PutTask,
    PutUpdate,
)
from scheduler.core.queries import from_wire, key_of
from scheduler.model import Config, Host, Mode, resources_of
from scheduler.store.interface import StoreError
from thermos.formats import thrift_binary as thrift
from thermos.formats.assigned_task import TaskConfig
from thermos.formats.aurora_api import (
    DEDUPLICATED_SNAPSHOT,
    SNAPSHOT,
    DeduplicatedScheduledTask,
    HostAttributes,
    HostMaintenanceRequest,
    QuotaConfiguration,
    ResourceAggregate,
    ScheduledTask,
    StoredCronJob,
    StoredJobUpdateDetails,
)
from thermos.formats.thrift_binary import StructType, ThriftError, decode_struct, skip

#: What Aurora calls its own executor; others are configured.
EXECUTORS: Final = frozenset({"AuroraExecutor"})

#: Larger than any log entry or file that one scheduler could hold in memory: more is an attack, or no backup.
_MOST_BYTES: Final = 4 * 1024**3
#: How our own backups begin.
_OURS: Final = b"SQLite format 3\x00"
#: zlib's two bytes of header begin with this one, and no field of either struct does.
_DEFLATED: Final = 0x78

_UNREADABLE: Final = (ValueError, StructError, IndexError)


class NoSnapshot(StoreError):
    """The file is no backup of Aurora's scheduler."""


class Imported(NamedTuple):
    """What a backup holds."""

    #: When it was written, wall time; None: it does not say.
    taken_at_ms: int | None
    changes: tuple[Change, ...]
    #: Kind → how many, those of which there are none too.
    counts: Mapping[str, int]
    #: State → how many tasks.
    tasks_by_status: Mapping[str, int]
    #: What one should look at; nothing is missing because of it.
    warnings: tuple[str, ...]
    #: What is in the file and could not be taken, each with its reason.
    left_out: tuple[str, ...]


class _Import:
    """Collects what is found, field by field."""

    def __init__(self, data: bytes, executors: frozenset[str]) -> None:
        self.data = data
        self.executors = executors
        self.taken_at_ms: int | None = None
        self.changes: dict[str, list[Change]] = {kind: [] for kind in _KINDS.values()}
        self.framework: list[Change] = []
        self.left_out: list[str] = []
        self.unknown: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.configs: dict[str, Config] = {}
        self.strange_executors: dict[str, set[str]] = {}
        self.task_configs: list[TaskConfig | None] = []

    def intern(self, config: Config) -> Config:
        return self.configs.setdefault(config.digest, config)

    # -- walking through -----------------------------------------------------------------------------------------------

    def fields(self, struct: StructType, offset: int, take: Callable[[thrift.Field, int], int]) -> int:
        """Give each field of the struct at *offset* that we know to *take*, which gives the offset behind its value;
        count all others. Gives the offset behind the struct."""
        data = self.data
        while (kind := data[offset]) != thrift.STOP:
            (field_id,) = unpack_from(">h", data, offset + 1)
            offset += 3
            known = struct.by_id.get(field_id)
            if known is None or known[1].type != kind:
                self.unknown[f"{struct.name} field {field_id}"] += 1
                offset = skip(kind, data, offset)
            else:
                offset = take(known[1], offset)
        return offset + 1

    def look_through(self, field: thrift.Field, offset: int) -> int:
        """Count what is unknown within a value; gives the offset behind it."""
        if field.struct is None:
            return skip(field.type, self.data, offset)
        if field.type == thrift.STRUCT:
            return self.fields(field.struct, offset, self.look_through)
        kind, count = unpack_from(">bi", self.data, offset)
        if kind != thrift.STRUCT:
            return skip(field.type, self.data, offset)
        offset += 5
        for _ in range(count):
            offset = self.fields(field.struct, offset, self.look_through)
        return offset

    def items(self, field: thrift.Field, offset: int, take: Callable[[int, Any, str], None]) -> int:
        """Give each struct of a set or list to *take*, decoded on its own: (number, value, "") or (number, None, why
        not). Gives the offset behind all."""
        assert field.struct is not None
        kind, count = unpack_from(">bi", self.data, offset)
        if count and kind != thrift.STRUCT:
            raise ThriftError(f"{field.name} holds no structs", offset)
        offset += 5
        for number in range(count):
            try:
                value, _ = decode_struct(field.struct, self.data, offset)
            except _UNREADABLE as error:
                take(number, None, str(error))
            else:
                take(number, value, "")
            offset = self.fields(field.struct, offset, self.look_through)
        return offset

    # -- what is there -------------------------------------------------------------------------------------------------

    def snapshot(self, offset: int) -> int:
        """A ``Snapshot``; gives the offset behind it."""

        def take(field: thrift.Field, at: int) -> int:
            if field.name == "timestamp":
                (self.taken_at_ms,) = unpack_from(">q", self.data, at)
            elif field.name == "scheduler_metadata":
                assert field.struct is not None
                metadata, _ = decode_struct(field.struct, self.data, at)
                if metadata.framework_id:
                    self.framework = [PutFramework(metadata.framework_id)]
            else:
                return self.take_all(field, at, _TAKE[field.name])
            return self.look_through(field, at)

        return self.fields(SNAPSHOT, offset, take)

    def deduplicated(self, offset: int) -> int:
        """A ``DeduplicatedSnapshot``; gives the offset behind it."""
        tasks: list[tuple[thrift.Field, int]] = []

        def keep(number: int, config: Any, reason: str) -> None:
            if config is None:
                self.left_out.append(f"configuration {number}: {reason}")
            self.task_configs.append(config)

        def take(field: thrift.Field, at: int) -> int:
            if field.name == "partial_snapshot":
                return self.snapshot(at)
            if field.name == "task_configs":
                return self.items(field, at, keep)
            tasks.append((field, at))  # they name configurations, which come behind them
            return skip(field.type, self.data, at)

        end = self.fields(DEDUPLICATED_SNAPSHOT, offset, take)
        for field, at in tasks:
            self.take_all(field, at, _Import.partial_task)
        return end

    def take_all(self, field: thrift.Field, offset: int, take: Callable[[_Import, Any], Change]) -> int:
        """Each item of a set or list as a change; gives the offset behind all."""
        kind = _KINDS[field.name]

        def one(number: int, value: Any, reason: str) -> None:
            if value is not None:
                try:
                    self.changes[kind].append(take(self, value))
                    return
                except _UNREADABLE as error:
                    reason = str(error)
            self.left_out.append(f"{kind}, number {number + 1} in the file: {reason}")

        return self.items(field, offset, one)

    def partial_task(self, partial: DeduplicatedScheduledTask) -> Change:
        scheduled, number = partial.partial_scheduled_task, partial.task_config_id
        if scheduled is None or scheduled.assigned_task is None:
            raise ValueError("a task has no id or no configuration")
        config = self.task_configs[number] if number is not None and 0 <= number < len(self.task_configs) else None
        if config is None:
            raise ValueError(f"{scheduled.assigned_task.task_id} has configuration {number}, which is not there")
        return self.task(scheduled._replace(assigned_task=scheduled.assigned_task._replace(task=config)))

    def task(self, scheduled: ScheduledTask) -> Change:
        task = from_wire(scheduled, self.intern)
        self.statuses[task.status.name] += 1
        executor = task.config.wire.executor_config
        name = "" if executor is None else executor.name or ""
        if executor is not None and name not in self.executors:
            self.strange_executors.setdefault(name, set()).add(str(task.job))
        return PutTask(task)

    def cron_job(self, stored: StoredCronJob) -> Change:
        job = stored.job_configuration
        if job is None or job.key is None or job.task_config is None:
            raise ValueError("a cron job has no key or no configuration")
        return PutCronJob(key_of(job.key), job)

    def quota(self, quota: QuotaConfiguration) -> Change:
        if not quota.role:
            raise ValueError("a quota has no role")
        return PutQuota(quota.role, resources_of((quota.quota or ResourceAggregate()).resources))

    def host(self, host: HostAttributes) -> Change:
        if not host.host:
            raise ValueError("a host has no name")
        attributes = sorted(
            (one.name or "", frozenset(one.values or ())) for one in host.attributes or () if one.name != "host"
        )
        mode = Mode.NONE if host.mode is None else int(host.mode)
        return PutHost(Host(host.host, host.slave_id, tuple(attributes), mode))

    def update(self, stored: StoredJobUpdateDetails) -> Change:
        details = stored.details
        summary = details.update.summary if details is not None and details.update is not None else None
        key = summary.key if summary is not None else None
        if details is None or key is None or key.job is None or not key.id:
            raise ValueError("an update has no key")
        return PutUpdate(key_of(key.job), key.id, details)

    def maintenance(self, request: HostMaintenanceRequest) -> Change:
        if not request.host:
            raise ValueError("a maintenance request has no host")
        return PutMaintenance(request)

    def result(self) -> Imported:
        """All of it."""
        warnings = []
        if not self.framework:
            warnings.append("it has no framework id: Mesos would take us for a new framework, and no task is adopted")
        for name, count in sorted(self.unknown.items()):
            warnings.append(f"{name} is unknown and left out ({count} times)")
        for name, jobs in sorted(self.strange_executors.items()):
            shown = ", ".join(sorted(jobs)[:3]) + (f" and {len(jobs) - 3} more" if len(jobs) > 3 else "")
            warnings.append(f"the executor {name!r} is not configured here; needed by {shown}")
        changes = [*self.framework, *(change for kind in self.changes.values() for change in kind)]
        counts = {kind: len(found) for kind, found in self.changes.items()}
        by_status = dict(sorted(self.statuses.items()))
        return Imported(self.taken_at_ms, tuple(changes), counts, by_status, tuple(warnings), tuple(self.left_out))


#: Field of either struct → what people call what it holds.
_KINDS: Final[Mapping[str, str]] = {
    "tasks": "tasks",
    "partial_tasks": "tasks",
    "cron_jobs": "cron jobs",
    "quota_configurations": "quotas",
    "job_update_details": "updates",
    "host_attributes": "hosts",
    "host_maintenance_requests": "maintenance requests",
}
_TAKE: Final[Mapping[str, Callable[[_Import, Any], Change]]] = {
    "tasks": _Import.task,
    "cron_jobs": _Import.cron_job,
    "quota_configurations": _Import.quota,
    "job_update_details": _Import.update,
    "host_attributes": _Import.host,
    "host_maintenance_requests": _Import.maintenance,
}


def _inflated(data: bytes) -> bytes:
    if data[:1] != bytes([_DEFLATED]):
        return data
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, _MOST_BYTES)
    except zlib.error as error:
        raise NoSnapshot(f"it begins as deflated data and is none: {error}") from None
    if not inflater.eof:
        raise NoSnapshot("it is deflated, and ends early or holds more than 4 GB")
    return inflated


def snapshot_of(data: bytes, executors: frozenset[str] = EXECUTORS) -> Imported:
    """What the bytes of a backup hold; *executors* are those that are configured here.

    Raises NoSnapshot: they are no ``Snapshot`` and no ``DeduplicatedSnapshot``, or end early.
    """
    data = _inflated(data)
    found = _Import(data, executors)
    try:
        is_deduplicated = len(data) > 3 and data[0] in (thrift.STRUCT, thrift.LIST) and data[1:3] in (
            b"\x00\x01", b"\x00\x02", b"\x00\x03",
        )  # fmt: skip
        end = found.deduplicated(0) if is_deduplicated else found.snapshot(0)
        if end != len(data):
            raise ThriftError(f"{len(data) - end} bytes follow it", end)
    except _UNREADABLE as error:
        raise NoSnapshot(f"it is no backup of Aurora's scheduler, or is damaged: {error}") from None
    result = found.result()
    if not result.changes and not result.left_out and result.taken_at_ms is None:
        raise NoSnapshot("it is no backup of Aurora's scheduler: nothing that one holds is in it")
    return result


def read_snapshot(path: str, executors: frozenset[str] = EXECUTORS) -> Imported:
    """What the backup at *path* holds; *executors* are those that are configured here.

    Raises NoSnapshot (it is none of Aurora's, or is damaged), StoreError (it cannot be read).
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES)
    except OSError as error:
        raise StoreError(f"the backup {path} cannot be read: {error.strerror}") from error
    if data.startswith(_OURS):
        raise NoSnapshot(f"{path} is a backup of our own: `aurora-scheduler restore {path}` takes it")
    try:
        return snapshot_of(data, executors)
    except NoSnapshot as error:
        raise NoSnapshot(f"{path}: {error}") from None


def described(imported: Imported) -> str:
    """What is in it, for people: a line for each kind, then what to look at."""
    lines = [f"{kind:<22}{count:>8}" for kind, count in imported.counts.items()]
    lines[1:1] = [f"  {status:<20}{count:>8}" for status, count in imported.tasks_by_status.items()]
    lines.extend(f"warning: {warning}" for warning in imported.warnings)
    lines.extend(f"left out: {thing}" for thing in imported.left_out)
    return "\n".join(lines)
