"""How what is kept becomes rows, and rows become what is kept. Both databases have these tables.

Each table has a number that says in which order its rows came, a key and a body. Keys are readable text, and ASCII
whatever the name holds, so that every database takes them. Small values are compact JSON (``body`` is text); what
travels as Thrift stays Thrift in its binary protocol (``body`` is bytes). A task's row names its configuration by
digest; ``configs`` holds each once. An update's events are rows of their own, since there may be ten thousand. In JSON
and in Thrift a field is added at the end, never retyped or reused; anything else raises
``SCHEMA_VERSION``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from scheduler.core.changes import (
    AddInstanceEvent,
    AddUpdateEvent,
    Change,
    CronRun,
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
from scheduler.model import Config, Host, JobKey, Resources, Task, TaskEvent, config_of, encode_config
from scheduler.states import ScheduleStatus
from scheduler.store.interface import NewerSchema, StoreError
from thermos.formats.assigned_task import TASK_CONFIG
from thermos.formats.aurora_api import (
    HOST_MAINTENANCE_REQUEST,
    JOB_CONFIGURATION,
    JOB_INSTANCE_UPDATE_EVENT,
    JOB_UPDATE_DETAILS,
    JOB_UPDATE_EVENT,
    JobUpdateDetails,
)
from thermos.formats.thrift_binary import StructType, ThriftError, decode_struct, encode_struct

#: Of the tables and of what is in them.
SCHEMA_VERSION: Final = 1

#: What ``meta`` says of a new store. ``commits`` counts them, so that one whose outcome was lost can be looked for.
NEW_META: Final[Mapping[str, str]] = {"schema_version": str(SCHEMA_VERSION), "epoch": "0", "commits": "0"}

#: Tables in the order in which they are loaded, and whether their bodies are text.
TABLES: Final[Mapping[str, bool]] = {
    "tasks": True,
    "cron_jobs": False,
    "cron_runs": True,
    "quotas": True,
    "hosts": True,
    "updates": False,
    "maintenance": False,
}
#: Tables of what is only ever added, in order, and goes with its update; the key is the update's.
EVENT_TABLES: Final = ("update_events", "instance_events")

#: Of damaged rows, so many are named.
_NAMED: Final = 10

_STATUS: Final = {status.value: status for status in ScheduleStatus}
_to_json: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

Body = str | bytes
Text = str | None


class TaskRow(NamedTuple):
    """A row of ``tasks``."""

    key: str
    config: str
    body: str


class Batch(NamedTuple):
    """Changes as rows: first what goes, then what comes, in this order."""

    #: As ``meta`` holds it.
    framework_id: str | None
    #: Table → keys of rows that go; some may come again, and are then the last of their table.
    drops: dict[str, dict[str, None]]
    tasks: dict[str, TaskRow]
    #: Other table → key → body.
    puts: dict[str, dict[str, Body]]
    #: Table of events → (key, body) of those that are added.
    adds: dict[str, list[tuple[str, bytes]]]
    #: Configurations of those tasks.
    configs: dict[str, Config]


class Damaged(StoreError):
    """Rows that cannot be read; names them. Nobody should go on without what they held."""

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        shown = "\n  ".join(problems[:_NAMED])
        more = f"\n  and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        super().__init__(
            f"{where} holds {len(problems)} rows that cannot be read:\n  {shown}{more}\n"
            "restore a backup (`aurora-scheduler restore BACKUP`), or delete these rows with the database's own tool "
            "if what they held may be forgotten"
        )


def check_schema(meta: Mapping[str, str], where: str) -> int:
    """The schema's version that *meta* names. Raises NewerSchema, StoreError."""
    found = meta.get("schema_version", "")
    if not found.isdecimal() or not meta.get("epoch", "").isdecimal() or not meta.get("commits", "").isdecimal():
        raise StoreError(f"{where}: its table `meta` says no version, epoch or number of commits; restore a backup")
    if int(found) > SCHEMA_VERSION:
        raise NewerSchema(
            f"{where} has schema {found}, and this version knows {SCHEMA_VERSION}: start the version that wrote it, "
            "or restore a backup from before the upgrade"
        )
    return int(found)


# -- keys --------------------------------------------------------------------------------------------------------------


def key_of(*names: str) -> str:
    """The key of what is called so. One name that is plain is its own key; anything else is JSON."""
    if len(names) == 1:
        name = names[0]
        if name.isascii() and name.isprintable() and not name.startswith(('"', "[")):
            return name
        return _to_json(name)
    return _to_json(names)


def names_of(key: str) -> list[str]:
    """The other way round. Raises ValueError."""
    if not key.startswith(('"', "[")):
        return [key]
    found = json.loads(key)
    names = [found] if isinstance(found, str) else found
    if not all(isinstance(name, str) for name in names):
        raise ValueError("its key is no list of names")
    return names


# -- changes → rows ----------------------------------------------------------------------------------------------------


def encode_task(task: Task) -> str:
    """The body of a task's row: all but its id and configuration."""
    return _to_json((
        task.instance, task.status, task.events, task.agent_id, task.host, task.ports, task.failure_count,
        task.times_partitioned, task.ancestor_id, task.health,
    ))  # fmt: skip


def encode_host(host: Host) -> str:
    """The body of a host's row."""
    return _to_json((host.agent_id, host.mode, [(name, sorted(values)) for name, values in host.attributes]))


def batch_of(changes: Iterable[Change]) -> Batch:
    """What *changes*, made one after the other, leave of each row that they touch."""
    framework_id: str | None = None
    drops: dict[str, dict[str, None]] = {}
    tasks: dict[str, TaskRow] = {}
    puts: dict[str, dict[str, Body]] = {}
    configs: dict[str, Config] = {}
    adds: dict[str, list[tuple[str, bytes]]] = {}

    def put(table: str, key: str, body: Body) -> None:
        puts.setdefault(table, {})[key] = body

    def drop(table: str, key: str) -> None:
        drops.setdefault(table, {})[key] = None
        puts.get(table, {}).pop(key, None)

    def drop_events(key: str) -> None:
        for table in EVENT_TABLES:
            drops.setdefault(table, {})[key] = None
            if table in adds:
                adds[table] = [one for one in adds[table] if one[0] != key]

    def add(table: str, key: str, struct: StructType, events: Iterable[NamedTuple]) -> None:
        adds.setdefault(table, []).extend((key, encode_struct(struct, event)) for event in events)

    for change in changes:
        match change:
            case PutTask(task):
                key = key_of(task.task_id)
                tasks[key] = TaskRow(key, task.config.digest, encode_task(task))
                configs[task.config.digest] = task.config
            case DropTask(task_id):
                drop("tasks", key_of(task_id))
                tasks.pop(key_of(task_id), None)
            case PutFramework(new_id):
                framework_id = key_of(new_id)
            case PutCronJob(job, cron_job):
                put("cron_jobs", key_of(*job), encode_struct(JOB_CONFIGURATION, cron_job))
            case DropCronJob(job):
                drop("cron_jobs", key_of(*job))
            case PutCronRun(job, run):
                put("cron_runs", key_of(*job), _to_json(run))
            case DropCronRun(job):
                drop("cron_runs", key_of(*job))
            case PutQuota(role, quota):
                put("quotas", key_of(role), _to_json(quota))
            case DropQuota(role):
                drop("quotas", key_of(role))
            case PutHost(host):
                put("hosts", key_of(host.name), encode_host(host))
            case DropHost(name):
                drop("hosts", key_of(name))
            case PutUpdate(job, update_id, details):
                key = key_of(*job, update_id)
                drop_events(key)
                put("updates", key, encode_struct(JOB_UPDATE_DETAILS, _without_events(details)))
                add("update_events", key, JOB_UPDATE_EVENT, details.update_events or ())
                add("instance_events", key, JOB_INSTANCE_UPDATE_EVENT, details.instance_events or ())
            case AddUpdateEvent(job, update_id, update_event):
                add("update_events", key_of(*job, update_id), JOB_UPDATE_EVENT, [update_event])
            case AddInstanceEvent(job, update_id, instance_event):
                add("instance_events", key_of(*job, update_id), JOB_INSTANCE_UPDATE_EVENT, [instance_event])
            case DropUpdate(job, update_id):
                drop("updates", key_of(*job, update_id))
                drop_events(key_of(*job, update_id))
            case PutMaintenance(request):
                put("maintenance", key_of(request.host or ""), encode_struct(HOST_MAINTENANCE_REQUEST, request))
            case DropMaintenance(host_name):
                drop("maintenance", key_of(host_name))
    used = {row.config for row in tasks.values()}
    kept = {digest: configs[digest] for digest in configs if digest in used}
    return Batch(framework_id, drops, tasks, puts, adds, kept)


def _without_events(details: JobUpdateDetails) -> JobUpdateDetails:
    """As the row of an update has it: only whether there are lists of events, even empty ones."""
    return details._replace(
        update_events=None if details.update_events is None else (),
        instance_events=None if details.instance_events is None else (),
    )


# -- rows → changes ----------------------------------------------------------------------------------------------------


def _decode(struct: StructType, body: bytes) -> Any:
    value, end = decode_struct(struct, body, 0)
    if end != len(body):
        raise ThriftError(f"{len(body) - end} bytes follow the {struct.name}", end)
    return value


def decode_config(body: bytes) -> Config:
    """The configuration that a row of ``configs`` holds. Raises ValueError."""
    return config_of(_decode(TASK_CONFIG, body))


def _task(task_id: str, config: Config, body: str, shared: Callable[[Text, Text], Text]) -> Task:
    if not body.isascii():
        raise ValueError("it is not ASCII, as all that we write")
    instance, status, events, agent_id, host, ports, failures, partitioned, ancestor_id, health = json.loads(body)
    if not events:
        raise ValueError("it has no events")
    return Task(
        task_id,
        instance,
        config,
        _STATUS[status],
        tuple([TaskEvent(at, _STATUS[event], shared(text, text), shared(by, by)) for at, event, text, by in events]),
        shared(agent_id, agent_id),
        shared(host, host),
        tuple([(name, port) for name, port in ports]),
        failures,
        partitioned,
        ancestor_id,
        shared(health, health),
    )


def _cron_job(key: str, body: bytes) -> Change:
    role, environment, name = names_of(key)
    return PutCronJob(JobKey(role, environment, name), _decode(JOB_CONFIGURATION, body))


def _cron_run(key: str, body: str) -> Change:
    role, environment, name = names_of(key)
    at_ms, is_waiting, missed, missed_at_ms = json.loads(body)
    return PutCronRun(JobKey(role, environment, name), CronRun(at_ms, is_waiting, missed, missed_at_ms))


def _quota(key: str, body: str) -> Change:
    (role,) = names_of(key)
    return PutQuota(role, Resources(*json.loads(body)))


def _host(key: str, body: str) -> Change:
    (name,) = names_of(key)
    agent_id, mode, attributes = json.loads(body)
    return PutHost(Host(name, agent_id, tuple((of, frozenset(values)) for of, values in attributes), mode))


def _update(
    key: str, body: bytes, update_events: Iterable[bytes] | None, instance_events: Iterable[bytes] | None
) -> Change:
    role, environment, name, update_id = names_of(key)
    details: JobUpdateDetails = _decode(JOB_UPDATE_DETAILS, body)
    if update_events is not None:
        details = details._replace(update_events=tuple([_decode(JOB_UPDATE_EVENT, one) for one in update_events]))
    if instance_events is not None:
        found = tuple([_decode(JOB_INSTANCE_UPDATE_EVENT, one) for one in instance_events])
        details = details._replace(instance_events=found)
    return PutUpdate(JobKey(role, environment, name), update_id, details)


def _maintenance(_key: str, body: bytes) -> Change:
    return PutMaintenance(_decode(HOST_MAINTENANCE_REQUEST, body))


_READ: Final[Mapping[str, Callable[[str, Any], Change]]] = {
    "cron_jobs": _cron_job,
    "cron_runs": _cron_run,
    "quotas": _quota,
    "hosts": _host,
    "maintenance": _maintenance,
}

#: What a body that is not ours can lead to while it is taken apart.
_UNREADABLE: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


class Reader:
    """Makes changes of rows, and remembers those that cannot be read; ``finish`` raises then."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._problems: list[str] = []
        self._configs: dict[str, Config] = {}
        self._damaged_configs: set[str] = set()
        #: Table → update's key → bodies.
        self._events: dict[str, dict[str, list[bytes]]] = {}
        #: Names of hosts, agents and schedulers, and messages, come again and again: each is one object.
        self._strings: dict[Text, Text] = {}

    def _problem(self, table: str, key: str, error: Exception) -> None:
        reason = f"no value {error}" if isinstance(error, KeyError) else str(error)
        self._problems.append(f"table {table}, key {key}: {reason}")

    def framework(self, value: str | None) -> Iterator[Change]:
        """What ``meta`` holds under ``framework_id``."""
        if value is not None:
            try:
                (framework_id,) = names_of(value)
            except _UNREADABLE as error:
                self._problem("meta", "framework_id", error)
            else:
                yield PutFramework(framework_id)

    def configs(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Take in all configurations; tasks come after them."""
        for digest, body in rows:
            try:
                config = decode_config(bytes(body))
            except _UNREADABLE as error:
                self._problem("configs", digest, error)
                self._damaged_configs.add(digest)
            else:
                self._configs[digest] = config

    def tasks(self, rows: Iterable[tuple[str, str, str]]) -> Iterator[Change]:
        """Rows of (key, digest, body)."""
        configs, shared = self._configs, self._strings.setdefault
        for key, digest, body in rows:
            config = configs.get(digest)
            if config is None:
                if digest not in self._damaged_configs:
                    self._problem("tasks", key, ValueError(f"its configuration {digest} is not there"))
                continue
            try:
                (task_id,) = names_of(key)
                task = _task(task_id, config, body, shared)
            except _UNREADABLE as error:
                self._problem("tasks", key, error)
            else:
                yield PutTask(task)

    def events(self, table: str, rows: Iterable[tuple[str, bytes]]) -> None:
        """Take in all rows of a table of events, in order; updates come after them."""
        of_update = self._events.setdefault(table, {})
        for key, body in rows:
            of_update.setdefault(key, []).append(bytes(body))

    def _with_events(self, key: str, body: bytes) -> Change:
        found = [self._events.get(table, {}).pop(key, None) for table in EVENT_TABLES]
        return _update(key, body, found[0], found[1])

    def others(self, table: str, rows: Iterable[tuple[str, Body]]) -> Iterator[Change]:
        """Rows of (key, body) of any other table."""
        read: Callable[[str, Any], Change] = self._with_events if table == "updates" else _READ[table]
        for key, body in rows:
            try:
                change = read(key, body if isinstance(body, str) else bytes(body))
            except _UNREADABLE as error:
                self._problem(table, key, error)
            else:
                yield change

    def finish(self) -> None:
        """Raises Damaged if a row could not be read."""
        for table, of_update in self._events.items():
            for key in of_update:
                self._problem(table, key, ValueError("its update is not there"))
        if self._problems:
            raise Damaged(self._where, self._problems)


__all__ = [
    "EVENT_TABLES", "NEW_META", "SCHEMA_VERSION", "TABLES", "Batch", "Damaged", "Reader", "TaskRow", "batch_of",
    "check_schema", "decode_config", "encode_config", "encode_host", "encode_task", "key_of", "names_of",
]  # fmt: skip
