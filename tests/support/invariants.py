"""What must hold of a task that is over, whatever was killed on the way."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from tests.support.lab import Lab
from tests.support.nursery import Nursery, state_of
from thermos.core.state import RunnerState
from thermos.errors import IllegalMove
from thermos.formats import paths
from thermos.host import proc
from thermos.host.command import COOKIE_NAME
from thermos.records import ProcessStatus, Record, TaskStatus
from thermos.states import ProcessState, TaskState

_OVER = (ProcessState.SUCCESS, ProcessState.FAILED)


def violations(
    lab: Lab,
    nursery: Nursery,
    expected: TaskState | None,
    *,
    bystanders: tuple[int, ...] = (),
    seen: bytes = b"",
    power_lost: bool = False,
) -> list[str]:
    """Everything that is wrong; empty when all is well.

    *expected*: how the task must have ended; None: as its stream says it was told to. *bystanders*: processes
    that must live, *seen*: what the runner's stream held at an earlier moment, none of which may have changed.
    *power_lost*: a coordinator's stream may be torn still, where nobody had to write to it again.
    """
    return [
        *_files(lab),
        *_stream(lab, expected, seen),
        *_coordinators(lab, power_lost),
        *_executions(lab),
        *_order(lab),
        *_processes(lab, nursery, bystanders),
    ]


def of_records(lab: Lab, *, is_abandoned: bool = False) -> list[str]:
    """What is wrong with what was recorded and with what has run, and not with what else there is.

    *is_abandoned*: no runner was left to record the end, so that what came last is nowhere, or in streams of
    coordinators.
    """
    if is_abandoned:
        return list(_order(lab))
    return [*_stream(lab, None, b""), *_coordinators(lab, True), *_executions(lab), *_order(lab)]


def _files(lab: Lab) -> Iterator[str]:
    names = sorted(os.path.relpath(f"{at}/{name}", lab.root) for at, _, files in os.walk(lab.root) for name in files)
    checkpoints = f"checkpoints/{lab.task_id}"
    may = {f"{checkpoints}/{paths.coordinator_name(process['name'])}" for process in lab.definition["processes"]}
    must = {f"tasks/finished/{lab.task_id}", f"{checkpoints}/{paths.RUNNER}"}
    yield from (f"missing: {name}" for name in sorted(must.difference(names)))
    yield from (f"left behind: {name}" for name in names if name not in must | may)
    if lab.words:
        yield f"a runner complained: {lab.words}"


def _stream(lab: Lab, expected: TaskState | None, seen: bytes) -> Iterator[str]:
    stream = lab.stream()
    if stream.damage is not None:
        yield f"the runner's stream: {stream.damage}"
    if not lab.bytes_of(lab.runner_path).startswith(seen):
        yield "what the runner's stream held at the kill was changed afterwards"
    state = RunnerState()
    for record in stream.records:
        try:
            state.apply(record)
        except IllegalMove as error:
            yield f"the runner's stream: {error}"
            return
    if state.header is None:
        yield "the runner's stream has no header"
    forced = [status.forced_end for status in state.statuses if status.forced_end is not None]
    want = forced[-1] if forced else expected
    if want is not None and state.task_state is not want:
        yield f"the task ended {state.task_state!r}, not {want!r}"
    for name, history in state.processes.items():
        if history.last.state in (ProcessState.FORKED, ProcessState.RUNNING):
            yield f"process {name} is still {history.last.state.name} in a task that is over"
    yield from (f"a survivor: {note.text}" for note in state.notes if note.kind == "survivors")


def _coordinators(lab: Lab, may_be_torn: bool) -> Iterator[str]:
    """No record of a coordinator is torn, out of order, or told otherwise by the runner."""
    told = {(record.process, record.seq): record for record in lab.records() if isinstance(record, ProcessStatus)}
    for process in lab.definition["processes"]:
        name = process["name"]
        stream = lab.coordinator_stream(name)
        if stream.damage is not None and not (may_be_torn and stream.damage.torn):
            yield f"the stream of {name}'s coordinators: {stream.damage}"
        last: ProcessStatus | None = None
        for record in stream.records:
            if not isinstance(record, ProcessStatus):
                continue
            if record.process != name:
                yield f"the stream of {name}'s coordinators speaks of {record.process}"
            if last is not None and not _follows(last, record):
                yield f"coordinators of {name}: {record.state.name} (record {record.seq}) follows {last}"
            last = record
            other = told.get((name, record.seq))
            if other is None:
                yield f"lost: {name} was {record.state.name} (record {record.seq}), says its coordinator alone"
            elif other.state is not record.state:
                yield f"lost: {name} was {record.state.name} (record {record.seq}), its runner says {other.state.name}"


def _follows(last: ProcessStatus, record: ProcessStatus) -> bool:
    if record.state is ProcessState.FORKED:
        return record.seq > last.seq
    return record.seq == last.seq + 1 and record.state > last.state and not last.state.is_terminal


def _executions(lab: Lab) -> Iterator[str]:
    """Every command ran as recorded: none twice, none that is not recorded."""
    records = [record for record in lab.records() if isinstance(record, ProcessStatus)]
    running = {(r.process, r.pid) for r in records if r.state is ProcessState.RUNNING}
    counts = Counter(lab.executions())
    for (name, pid), count in counts.items():
        if (name, pid) not in running:
            yield f"{name} ran as pid {pid}, and no record says so"
        elif count > 1:
            yield f"{name} ran {count} times as pid {pid}"
    definitions = {process["name"]: process for process in lab.definition["processes"]}
    pids: dict[str, int | None] = {}
    closed: dict[str, int] = {}
    failures: Counter[str] = Counter()
    for record in records:
        name = record.process
        limit = definitions[name].get("max_failures", 1)
        if record.state is ProcessState.WAITING and name in closed:
            yield f"{name} was started again after record {closed[name]}, which ended it for good"
        elif record.state is ProcessState.RUNNING:
            pids[name] = record.pid
        elif record.state in _OVER:
            if record.state is ProcessState.FAILED:
                failures[name] += 1
            elif not definitions[name].get("daemon"):
                closed[name] = record.seq
            if limit and failures[name] >= limit:
                closed[name] = record.seq
            if counts[name, pids.get(name) or 0] != 1:
                yield f"{name} is recorded {record.state.name} as pid {pids.get(name)}, and did not run so"


def _order(lab: Lab) -> Iterator[str]:
    """Nothing was started before what it waits for had succeeded, and finalizers only when it was their turn."""
    before = {process["name"]: set[str]() for process in lab.definition["processes"]}
    for constraint in lab.definition["constraints"]:
        for first, second in zip(constraint["order"], constraint["order"][1:], strict=False):
            before[second].add(first)
    limits = {p["name"]: p.get("max_failures", 1) for p in lab.definition["processes"] if p.get("ephemeral")}
    failures: Counter[str] = Counter()
    final = {process["name"] for process in lab.definition["processes"] if process.get("final")}
    done: set[str] = set()
    state: TaskState | None = None
    for record in lab.records():
        if isinstance(record, TaskStatus):
            state = record.state
        elif isinstance(record, ProcessStatus) and record.state is ProcessState.SUCCESS:
            done.add(record.process)
        elif isinstance(record, ProcessStatus) and record.state is ProcessState.FAILED:
            failures[record.process] += 1
            if failures[record.process] >= (limits.get(record.process) or float("inf")):
                done.add(record.process)  # an ephemeral process that has failed for good holds nobody up
        elif isinstance(record, ProcessStatus) and record.state is ProcessState.WAITING:
            missing = before[record.process] - done
            if missing:
                yield f"{record.process} was started before {', '.join(sorted(missing))} had succeeded"
            turn = TaskState.FINALIZING if record.process in final else TaskState.ACTIVE
            if state is not turn:
                yield f"{record.process} was started while the task was {state!r}"


def _processes(lab: Lab, nursery: Nursery, bystanders: tuple[int, ...]) -> Iterator[str]:
    left = nursery.left()
    yield from (f"bystander {pid} ended: {nursery.ended.get(pid)}" for pid in bystanders if pid not in left)
    yield from (f"left running: {proc.describe(pid)}" for pid in left if pid not in bystanders)
    header = lab.header()
    if header is None:
        return
    cookie = (header.cookie or "").encode()
    sessions = {record.coordinator_pid for record in lab.told_by_coordinators() if record.coordinator_pid}
    for stat in proc.snapshot():
        if stat.pid in left or state_of(stat.pid) in "ZX?":  # killed, and not yet gone, counts as gone
            continue
        carried = proc.environ_value(stat.pid, COOKIE_NAME.encode())
        if carried is not None and carried.startswith(cookie):
            yield f"left running, by its cookie: {proc.describe(stat.pid)}"
        elif stat.session in sessions and _began_under(lab.records(), stat):
            yield f"left running, by its session: {proc.describe(stat.pid)}"
    if header.cgroup is not None and os.path.exists(header.cgroup):
        yield f"its control group is left: {header.cgroup}"


def _began_under(records: list[Record], stat: proc.Stat) -> bool:
    """Whether *stat* began after the coordinator whose session it is in, and not in a later session of that number."""
    leader = proc.read_stat(stat.session)
    for record in records:
        if isinstance(record, ProcessStatus) and record.coordinator_pid == stat.session:
            ticks = record.coordinator_start_ticks or 0
            return stat.start_ticks >= ticks and (leader is None or leader.start_ticks == ticks)
    return False
