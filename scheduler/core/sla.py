"""Whether a task may be taken away without its job falling below what its SLA policy promises
(``SlaManager.java``).

Counted are a job's active tasks, and of these the ones that have been RUNNING for longer than the policy's duration.
A policy of percentage or count is for production jobs of a certain size; all others are not held up by one. One that
would let no task go at all lets one go, or a host could never be drained. A coordinator is somebody else, who has to be
asked: see :mod:`scheduler.core.coordinators`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, isfinite
from typing import Final, NamedTuple

from scheduler.core.elapsed import Elapsed, by_the_clock
from scheduler.core.events import Now
from scheduler.core.settings import Settings
from scheduler.core.state import State
from scheduler.model import JobKey, Task
from scheduler.states import ScheduleStatus
from thermos.formats.assigned_task import CoordinatorSlaPolicy, PercentageSlaPolicy, SlaPolicy

#: Nothing is promised: whatever was to be drained at once (``MaintenanceController.java``).
NO_PROMISE: Final = SlaPolicy(percentage_sla_policy=PercentageSlaPolicy(0.0, 0))
#: Percentages come as binary fractions: what is off by less is off by nothing.
_ROUNDING: Final = 1e-9


class Verdict(NamedTuple):
    """Whether a task may go. *reason*: why it may not (yet), for people."""

    is_allowed: bool
    reason: str = ""
    #: Who has to be asked; then *is_allowed* is False.
    coordinator: CoordinatorSlaPolicy | None = None


_ALLOWED: Final = Verdict(True)


class Standing(NamedTuple):
    """How a job stands: active tasks, and the ids of those that have been RUNNING for longer than was asked."""

    total: int
    lasting: set[str]


class Standings:
    """How jobs stand at one moment. For many verdicts of one moment: each job is counted once. Good for as long as
    nothing changes of their tasks but what it is told of."""

    def __init__(self, state: State, elapsed: Elapsed, now: Now) -> None:
        self._state = state
        self._elapsed = elapsed
        self._now = now
        self._by_job: dict[JobKey, dict[int, Standing]] = {}

    def of(self, job: JobKey, duration_s: int) -> Standing:
        """How the job stands; *duration_s*: what counts as running."""
        by_duration = self._by_job.setdefault(job, {})
        found = by_duration.get(duration_s)
        if found is None:
            found = by_duration[duration_s] = self._counted(job, duration_s)
        return found

    def _counted(self, job: JobKey, duration_s: int) -> Standing:
        active = self._state.active_of(job)
        running = [task for task in active if task.status is ScheduleStatus.RUNNING]
        age_ms, now, more_than_ms = self._elapsed.age_ms, self._now, duration_s * 1000
        return Standing(len(active), {task.task_id for task in running if age_ms(task, now) > more_than_ms})

    def left(self, task: Task) -> None:
        """The task does not run any longer, but for its end is still one of the job's."""
        for standing in self._by_job.get(task.job, {}).values():
            standing.lasting.discard(task.task_id)


def standings_by_the_clock(state: State, now_ms: int) -> Standings:
    """How jobs stand as far as the clock tells, for those who only look."""
    return Standings(state, *by_the_clock(now_ms))


def may_kill(
    task: Task,
    state: State,
    now_ms: int,
    settings: Settings,
    policy: SlaPolicy | None = None,
    standings: Standings | None = None,
) -> Verdict:
    """Whether *task*, which is active, may be taken away now.

    *policy* is for tasks that have none of their own; where there is neither, nothing is promised. *standings*: of
    *state* at that moment, told of everything that was taken away since; None: the job is counted anew, by the clock.
    """
    own = task.config.wire.sla_policy
    if own is not None and any(own):
        policy = own
    if policy is None or not any(policy):
        return _ALLOWED
    coordinator = policy.coordinator_sla_policy
    if coordinator is not None:
        return Verdict(False, f"the coordinator {coordinator.coordinator_url} has to be asked", coordinator)
    if not (task.config.is_production or settings.sla_aware_kill_non_prod):
        return _ALLOWED
    counted = policy.count_sla_policy or policy.percentage_sla_policy
    assert counted is not None
    duration_s = counted.duration_secs or 0
    total, lasting = (standings or standings_by_the_clock(state, now_ms)).of(task.job, duration_s)
    if total < settings.min_required_instances_for_sla_check:
        return _ALLOWED
    needed = required(policy, total)
    running = len(lasting) - (task.task_id in lasting)
    if running >= needed:
        return _ALLOWED
    return Verdict(
        False, f"of {total} active tasks, {running} others have run for {duration_s} s, and {needed} have to"
    )


def required(policy: SlaPolicy, total: int) -> int:
    """How many of *total* tasks have to run by a *policy* of percentage or count; at least one may always go."""
    if policy.count_sla_policy is not None:
        wanted = policy.count_sla_policy.instances or 0
    else:
        percentage = (policy.percentage_sla_policy or PercentageSlaPolicy()).percentage or 0.0
        wanted = ceil(total * percentage / 100 - _ROUNDING)
    return max(0, min(wanted, total - 1))


def problems_of(policy: SlaPolicy, settings: Settings) -> Iterator[str]:
    """All that is wrong with a policy for tasks that have none of their own."""
    if sum(chosen is not None for chosen in policy) != 1:
        yield "the default SLA policy must be of one type: percentage, count or coordinator"
        return
    coordinator = policy.coordinator_sla_policy
    if coordinator is not None:
        if not (coordinator.coordinator_url or "").startswith(("http://", "https://")):
            yield f"the SLA coordinator must be an http or https URL, not {coordinator.coordinator_url!r}"
        return
    counted = policy.count_sla_policy or policy.percentage_sla_policy
    assert counted is not None
    duration_s = counted.duration_secs or 0
    if not 0 <= duration_s <= settings.max_sla_duration_s:
        yield f"the SLA policy's duration must be 0 to {settings.max_sla_duration_s:g} seconds, not {duration_s}"
    if policy.count_sla_policy is not None and (policy.count_sla_policy.instances or 0) < 0:
        yield f"the SLA policy's count must be 0 or more, not {policy.count_sla_policy.instances}"
    if policy.percentage_sla_policy is not None:
        percentage = policy.percentage_sla_policy.percentage or 0.0
        if not (isfinite(percentage) and 0 <= percentage <= 100):
            yield f"the SLA policy's percentage must be 0 to 100, not {percentage:g}"
