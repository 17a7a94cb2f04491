"""A task's life: what a move to another state does to it, and what must be done because of it.

``move`` answers with the task as it is afterwards and with what follows, in Aurora's order of side effects: count the
failure, save the state, reschedule, move on to LOST, kill, forget (``SideEffect.java``). The moves themselves are the
table ``scheduler.states.MOVES``. Nothing here acts: whoever asked writes the outcome down, then does it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from scheduler.model import Config, Health, JobKey, Task, TaskEvent
from scheduler.states import MOVES, TERMINAL, ScheduleStatus
from thermos.formats.mesos_v1_scheduler import Status
from thermos.mesos import HEALTH_CHECKED, HEALTH_LABEL, HEALTH_UNCHECKED, MesosTaskState, Reason

_S = ScheduleStatus
_M = MesosTaskState

#: What Mesos says of a task that runs or is about to.
_ON_AGENT: Final = frozenset({_S.ASSIGNED, _S.STARTING, _S.RUNNING})
#: Never given to an agent: a kill has nothing to wait for.
_NEVER_LAUNCHED: Final = frozenset({_S.PENDING, _S.THROTTLED})
#: Ended by us, to run again elsewhere.
_REPLACED: Final = frozenset({_S.PREEMPTING, _S.RESTARTING, _S.DRAINING})
_ENDING: Final = _REPLACED | {_S.KILLING}
#: Who is reported alive in one of these states did not hear of our kill, or was held for dead: killed again.
_MUST_NOT_RUN: Final = TERMINAL | _ENDING

#: Mesos' states and ours (``Conversions.java``).
_OF_MESOS: Final[Mapping[MesosTaskState, ScheduleStatus]] = {
    _M.TASK_STAGING: _S.STARTING,
    _M.TASK_STARTING: _S.STARTING,
    _M.TASK_RUNNING: _S.RUNNING,
    _M.TASK_FINISHED: _S.FINISHED,
    _M.TASK_FAILED: _S.FAILED,
    _M.TASK_KILLING: _S.KILLED,
    _M.TASK_KILLED: _S.KILLED,
    _M.TASK_LOST: _S.LOST,
    _M.TASK_ERROR: _S.LOST,
    _M.TASK_DROPPED: _S.LOST,
    _M.TASK_GONE: _S.LOST,
    _M.TASK_GONE_BY_OPERATOR: _S.LOST,
    _M.TASK_UNREACHABLE: _S.PARTITIONED,
    _M.TASK_UNKNOWN: _S.PARTITIONED,
}


def from_mesos(state: MesosTaskState, is_partition_aware: bool) -> ScheduleStatus:
    """Our state for Mesos'. Who is not partition-aware hears LOST of an agent that cannot be reached, and so do we."""
    status = _OF_MESOS[state]
    return _S.LOST if status is _S.PARTITIONED and not is_partition_aware else status


_HEALTH: Final[Mapping[str | None, str]] = {HEALTH_CHECKED: Health.CHECKED, HEALTH_UNCHECKED: Health.UNCHECKED}


def health_of(status: Status) -> str | None:
    """What the executor says there that RUNNING means, one of :class:`scheduler.model.Health`; None: nothing that we
    know. One who writes the label twice means the last."""
    return _HEALTH.get(dict(status.labels).get(HEALTH_LABEL))


_READABLE: Final = {
    Reason.REASON_CONTAINER_LIMITATION_MEMORY: "Used more memory than the task asked for",
    Reason.REASON_CONTAINER_LIMITATION_DISK: "Used more disk than the task asked for",
}


def status_message(status: Status) -> str | None:
    """What to tell people of a status, or None.

    A limit that was exceeded is named in words, with the first line of what Mesos has to say (a page of statistics
    follows it). What Mesos says when an executor leaves after its task's end is no news, and is left out.
    """
    if status.reason == Reason.REASON_EXECUTOR_UNREGISTERED:
        return None
    said = status.message or None
    readable = _READABLE.get(status.reason) if isinstance(status.reason, Reason) else None
    if readable is None:
        return said
    first = said.strip().partition("\n")[0].strip() if said else ""
    return f"{readable}: {first}" if first else readable


#: Said of a task that was decided to be launched, and Mesos never heard of: its scheduler died between the two.
NEVER_HEARD_OF: Final = "Mesos has never heard of it: its launch was lost with the scheduler that decided it"
#: What the answer is where the agent is registered and has no such task (GONE; LOST for who is not partition-aware),
#: and where the agent is not known either.
_KNOWN_TO_NOBODY: Final = frozenset({_M.TASK_GONE, _M.TASK_LOST, _M.TASK_UNKNOWN})


def told(was: ScheduleStatus, status: Status, is_partition_aware: bool) -> tuple[ScheduleStatus, str | None]:
    """What Mesos' *status* of a task in the state *was* means: our state for it, and what to tell people.

    Asked for a task whose launch it never got, Mesos says so at once, and it is started anew at once. (Aurora waits for
    ``transient_task_state_timeout``: an ASSIGNED task cannot be PARTITIONED.)
    """
    is_answer = status.reason is Reason.REASON_RECONCILIATION
    if was is _S.ASSIGNED and is_answer and status.state in _KNOWN_TO_NOBODY:
        return _S.LOST, NEVER_HEARD_OF
    return from_mesos(status.state, is_partition_aware), status_message(status)


def was_never_launched(task: Task) -> bool:
    """Whether the task is over because Mesos never heard of it: nobody's fault but its scheduler's."""
    return task.status is _S.LOST and task.events[-1].message == NEVER_HEARD_OF


class Moved(NamedTuple):
    """What a move comes to."""

    #: The task as it is afterwards; None: forgotten.
    task: Task | None
    is_legal: bool
    #: Whether there is anything to write down.
    has_changed: bool
    #: Start a successor.
    reschedule: bool
    #: Tell Mesos to end it.
    kill: bool
    #: Move on to LOST at once.
    then_lost: bool


def move(
    task: Task, target: ScheduleStatus | None, at_ms: int, message: str | None = None, scheduler: str | None = None
) -> Moved:
    """What becomes of *task* when it is asked, or reported, to be in *target*; None: to be forgotten.

    *at_ms* is wall time, and with *message* and *scheduler* (the host we run on) goes into the task's events. A move
    that is not legal changes nothing, but may ask for a kill: a task that must not run any more is reported alive. To
    be where one is already is legal and nothing.
    """
    status = task.status
    if target is status:
        return Moved(task, True, False, False, False, False)
    if target not in MOVES[status]:
        return Moved(task, False, False, False, target in _ON_AGENT and status in _MUST_NOT_RUN, False)
    if target is None or (target is _S.KILLING and status in _NEVER_LAUNCHED):
        return Moved(None, True, True, False, False, False)
    moved = _saved(task, target, at_ms, message, scheduler)
    return Moved(
        moved,
        True,
        True,
        _is_rescheduled(task, target),
        _is_killed(status, target),
        _is_then_lost(status, target),
    )


def zombie_kill(status: ScheduleStatus) -> bool:
    """Whether a task that we do not know must be killed, being reported in *status*. (``move`` says it of one that we
    know.)"""
    return status in _ON_AGENT


def _saved(task: Task, target: ScheduleStatus, at_ms: int, message: str | None, scheduler: str | None) -> Task:
    events = task.events
    partitioned = task.times_partitioned
    if target is _S.PARTITIONED:
        partitioned += 1
        events = _without_last_recovery(events)
    return task._replace(
        status=target,
        events=(*events, TaskEvent(at_ms, target, message, scheduler)),
        failure_count=task.failure_count + (target is _S.FAILED and _counts_failures(task.status)),
        times_partitioned=partitioned,
    )


def _without_last_recovery(events: tuple[TaskEvent, ...]) -> tuple[TaskEvent, ...]:
    """*events* without a partition at their end that the task came out of as it went in: an agent that comes and goes
    must not make histories grow. How often it did is ``times_partitioned``."""
    if len(events) < 3 or events[-2].status is not _S.PARTITIONED or events[-1].status is not events[-3].status:
        return events
    return events[:-2]


def _counts_failures(status: ScheduleStatus) -> bool:
    """Whether to fail here is the task's own doing; who is being ended may fail of it."""
    return status not in _ENDING


def _was_killed(task: Task) -> bool:
    return any(event.status is _S.KILLING for event in task.events)


def _is_rescheduled(task: Task, target: ScheduleStatus) -> bool:
    status = task.status
    if target not in TERMINAL or status is _S.KILLING:
        return False
    if status in _REPLACED:
        return True
    config = task.config
    if target is _S.FINISHED:
        # From PARTITIONED too, where Aurora forgets a service that ended while its agent was away.
        return config.is_service
    if target is _S.FAILED:
        allowed = config.max_task_failures
        return config.is_service or allowed == -1 or task.failure_count < allowed - 1
    # KILLED, though nobody here wanted it, or LOST.
    return not (status is _S.PARTITIONED and _was_killed(task))


def _is_killed(status: ScheduleStatus, target: ScheduleStatus) -> bool:
    if target is _S.LOST:
        # It may live all the same: the launch got through, or the agent comes back.
        return status is _S.ASSIGNED or status is _S.PARTITIONED or status in _REPLACED
    return status in _ON_AGENT and target in _ENDING


def _is_then_lost(status: ScheduleStatus, target: ScheduleStatus) -> bool:
    """Ended by us and out of reach: whichever came first, nobody waits for the other."""
    return (status in _ENDING and target is _S.PARTITIONED) or (status is _S.PARTITIONED and target in _ENDING)


def created(
    task_id: str,
    instance: int,
    config: Config,
    status: ScheduleStatus,
    at_ms: int,
    message: str | None = None,
    scheduler: str | None = None,
) -> Task:
    """The first run of an instance, as it comes to be: PENDING, as a rule."""
    return Task(task_id, instance, config, status, (TaskEvent(at_ms, status, message, scheduler),))


def assign(
    task: Task,
    agent_id: str,
    host: str,
    ports: Iterable[tuple[str, int]],
    at_ms: int,
    scheduler: str | None = None,
) -> Task:
    """*task*, which must be PENDING, as it is when it is ASSIGNED to an agent; *ports*: names and numbers. Raises
    ValueError on a task in another state: whoever matched it to an offer looked at an old one."""
    moved = move(task, _S.ASSIGNED, at_ms, None, scheduler)
    if task.status is not _S.PENDING or moved.task is None:
        raise ValueError(f"{task.task_id} is {task.status}, so it cannot be assigned to {host}")
    return moved.task._replace(agent_id=agent_id, host=host, ports=tuple(sorted(ports)))


def successor(
    task: Task,
    task_id: str,
    status: ScheduleStatus,
    at_ms: int,
    message: str | None = None,
    scheduler: str | None = None,
) -> Task:
    """The next run of *task*'s instance, under the id *task_id*: PENDING, or THROTTLED where it must wait. Give it the
    task as it is after its end, whose failures are counted."""
    return Task(
        task_id,
        task.instance,
        task.config,
        status,
        (TaskEvent(at_ms, status, message, scheduler),),
        failure_count=task.failure_count,
        ancestor_id=task.task_id,
    )


_NOT_IN_AN_ID: Final = re.compile(r"[^\w-]", re.ASCII)


def task_id(job: JobKey, instance: int, unique: str) -> str:
    """``role-environment-name-instance-unique``, where what is no letter, digit, ``_`` or ``-`` is ``-``
    (``TaskIdGenerator.java``)."""
    return _NOT_IN_AN_ID.sub("-", f"{job.role}-{job.environment}-{job.name}-{instance}-{unique}")
