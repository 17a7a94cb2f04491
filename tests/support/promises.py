"""What is promised of a scheduler's state at any moment, whatever happened; each gives what does not hold, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from scheduler.core import quota
from scheduler.core.elapsed import by_the_clock
from scheduler.core.state import State
from scheduler.core.update_record import is_active, status_of
from scheduler.core.update_run import Run
from scheduler.model import JobKey, Mode, Resources
from scheduler.states import ACTIVE, ScheduleStatus
from thermos.formats.aurora_api import JobUpdateStatus

#: Of a state, all that is kept; in which order does not matter.
_KEPT: Final = (
    "framework_id", "tasks", "cron_jobs", "cron_runs", "quotas", "hosts", "updates", "active_updates", "maintenance",
)  # fmt: skip


def differences(durable: State, known: State) -> Iterator[str]:
    """What is kept is what the engine knows."""
    for name in _KEPT:
        if getattr(durable, name) != getattr(known, name):
            yield f"what is durable is not what the engine knows: {name}"


def of_tasks(state: State) -> Iterator[str]:
    """Instances are there once, quotas and constraints hold, and nothing is on a host that is said to be empty."""
    instances = Counter((task.job, task.instance) for task in state.tasks.values() if task.status in ACTIVE)
    for (job, instance), count in instances.items():
        if count > 1:
            yield f"{job}/{instance} is active {count} times"
    for role in state.by_role:
        allowed = state.quotas.get(role, Resources())
        used = quota.consumption(state, role).prod_shared
        if not used.fits(allowed):
            yield f"role {role} uses {used} of {allowed}"
    yield from _in_the_wrong_place(state)
    draining = {name for name, host in state.hosts.items() if host.mode == Mode.DRAINING}
    if draining != set(state.maintenance):
        yield f"{draining} are drained, and kept are requests for {set(state.maintenance)}"
    for task in state.with_status(ACTIVE):
        if task.host is not None and state.hosts[task.host].mode == Mode.DRAINED:
            yield f"{task.task_id} is {task.status.name} on {task.host}, which is said to be empty"


def _in_the_wrong_place(state: State) -> Iterator[str]:
    """Constraints hold; on a host that is dedicated is only what asks for it."""
    together: Counter[tuple[JobKey, str, str, int]] = Counter()
    for task in state.with_status(ACTIVE):
        if task.host is None:
            continue
        host = state.hosts[task.host]
        constraints = {one.name: one.constraint for one in task.config.wire.constraints or ()}
        if host.values("dedicated") and "dedicated" not in constraints:
            yield f"{task.task_id} is on {task.host}, which is dedicated"
        for name, constraint in constraints.items():
            assert name is not None
            assert constraint is not None
            values = host.values(name)
            if constraint.limit is not None:
                together.update((task.job, name, value, constraint.limit.limit or 0) for value in values)
            elif constraint.value is not None:
                is_among = bool(values.intersection(constraint.value.values or ()))
                if is_among is bool(constraint.value.negated):
                    yield f"{task.task_id} is on {task.host}, where {name} is {sorted(values)}"
    for (job, name, value, limit), count in together.items():
        if count > limit:
            yield f"{job} has {count} tasks where {name} is {value}, and {limit} may be"


def of_updates(state: State, wall_ms: int, seen_back: set[tuple[JobKey, str]]) -> Iterator[str]:
    """What is wrong with updates. *seen_back*: those that went back, and were looked at; grows."""
    active = Counter(job for (job, _), details in state.updates.items() if is_active(details))
    yield from (f"{job} is in {count} updates" for job, count in active.items() if count > 1)
    for job, update_id in state.active_updates.items():
        run = Run(state, job, update_id, *by_the_clock(wall_ms))
        size = max(run.strategy.sizes)
        if len(run.working) > size:
            yield f"the update {update_id} of {job} has {len(run.working)} instances down, and {size} may be"
        killed = {
            task.instance
            for task in state.active_of(job)
            if task.status is ScheduleStatus.KILLING and (task.events[-1].message or "").endswith(update_id)
        }
        if not run.is_back and not killed <= run.working.keys():
            yield f"the update {update_id} of {job} kills {killed}, and works on {sorted(run.working)}"
    for (job, update_id), details in state.updates.items():
        if status_of(details) is JobUpdateStatus.ROLLED_BACK and (job, update_id) not in seen_back:
            seen_back.add((job, update_id))
            initial = Run(state, job, update_id, *by_the_clock(wall_ms)).initial
            for task in state.active_of(job):
                if task.instance in initial and task.config != initial[task.instance]:
                    yield f"{task.task_id} is not as it was before the update {update_id}, which went back"
