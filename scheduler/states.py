"""The states of a scheduled task, which moves are legal, and the sets that clients and the store ask for.

The table is data: the pages draw their diagram from it, the machine
in :mod:`scheduler.core.lifecycle` looks moves up in it, and a test compares it with a list written by hand.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from thermos.formats.aurora_api import JobUpdateStatus, ScheduleStatus

_S = ScheduleStatus

__all__ = ["ACTIVE", "ACTIVE_UPDATE", "AGENT_ASSIGNED", "LIVE", "MOVES", "TERMINAL", "TRANSIENT", "ScheduleStatus"]

TERMINAL: Final = frozenset({_S.FINISHED, _S.FAILED, _S.KILLED, _S.LOST})
#: Not over: what counts against quota and constraints.
ACTIVE: Final = frozenset(ScheduleStatus) - TERMINAL - {_S.INIT}
#: On an agent, as far as we know: what explicit reconciliation asks about.
AGENT_ASSIGNED: Final = ACTIVE - {_S.PENDING, _S.THROTTLED}
#: Has been seen running and may still run.
LIVE: Final = frozenset({_S.KILLING, _S.PREEMPTING, _S.RESTARTING, _S.DRAINING, _S.PARTITIONED, _S.RUNNING})
#: Waits for somebody else, and must not do so for ever. STARTING is none: a slow start is the executor's to judge.
TRANSIENT: Final = frozenset({_S.ASSIGNED, _S.PREEMPTING, _S.RESTARTING, _S.KILLING, _S.DRAINING})
#: Job updates that are not over (``api.thrift``: ACTIVE_JOB_UPDATE_STATES).
ACTIVE_UPDATE: Final = frozenset({
    JobUpdateStatus.ROLLING_FORWARD, JobUpdateStatus.ROLLING_BACK,
    JobUpdateStatus.ROLL_FORWARD_PAUSED, JobUpdateStatus.ROLL_BACK_PAUSED,
    JobUpdateStatus.ROLL_FORWARD_AWAITING_PULSE, JobUpdateStatus.ROLL_BACK_AWAITING_PULSE,
})  # fmt: skip

_ENDS: Final = TERMINAL
_WHILE_BEING_REPLACED: Final = frozenset({_S.FINISHED, _S.FAILED, _S.KILLING, _S.KILLED, _S.LOST, _S.PARTITIONED})

#: Every legal move; absence means illegal. ``None`` is "deleted": the task is forgotten.
MOVES: Final = MappingProxyType({
    _S.INIT: frozenset({_S.PENDING, _S.THROTTLED}),
    _S.THROTTLED: frozenset({_S.PENDING, _S.KILLING}),
    _S.PENDING: frozenset({_S.ASSIGNED, _S.KILLING}),
    _S.ASSIGNED: frozenset({
        _S.STARTING, _S.RUNNING, _S.RESTARTING, _S.DRAINING, _S.KILLING, _S.PREEMPTING,
    }) | _ENDS,
    _S.STARTING: frozenset({
        _S.RUNNING, _S.RESTARTING, _S.DRAINING, _S.KILLING, _S.PREEMPTING, _S.PARTITIONED,
    }) | _ENDS,
    _S.RUNNING: frozenset({_S.RESTARTING, _S.DRAINING, _S.KILLING, _S.PREEMPTING, _S.PARTITIONED}) | _ENDS,
    _S.PREEMPTING: _WHILE_BEING_REPLACED,
    _S.RESTARTING: _WHILE_BEING_REPLACED,
    _S.DRAINING: _WHILE_BEING_REPLACED,
    _S.KILLING: frozenset({None, _S.PARTITIONED}) | _ENDS,
    # KILLED is ours: a task whose policy keeps it, killed by others while its agent was away, would stay so for good.
    _S.PARTITIONED: frozenset({
        _S.LOST, _S.FAILED, _S.FINISHED, _S.KILLED, _S.RUNNING, _S.ASSIGNED, _S.STARTING, _S.RESTARTING, _S.DRAINING,
        _S.PREEMPTING, _S.KILLING,
    }),
    _S.FINISHED: frozenset({None}),
    _S.FAILED: frozenset({None}),
    _S.KILLED: frozenset({None}),
    _S.LOST: frozenset({None}),
})  # fmt: skip
