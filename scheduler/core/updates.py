"""Job updates as plain data: their states, the order of work, how many at once, what to do about one instance next.

Nothing here knows of an engine. :mod:`scheduler.core.updating` carries it out (``JobUpdateStateMachine.java``,
``InstanceUpdater.java``, ``OneWayJobUpdater.java`` and the strategies beside it).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple

from scheduler.core.lifecycle import was_never_launched
from scheduler.model import Config, Health, Task
from scheduler.states import TERMINAL, ScheduleStatus
from thermos.formats.aurora_api import (
    BatchJobUpdateStrategy,
    JobUpdateSettings,
    JobUpdateStatus,
    JobUpdateStrategy,
    QueueJobUpdateStrategy,
)

_U = JobUpdateStatus
_S = ScheduleStatus
_ENDS: Final = frozenset({_U.ABORTED, _U.ERROR})

#: Every legal move of an update; absence means illegal.
MOVES: Final = MappingProxyType({
    _U.ROLLING_FORWARD: frozenset({
        _U.ROLLING_BACK, _U.ROLL_FORWARD_PAUSED, _U.ROLL_FORWARD_AWAITING_PULSE, _U.ROLLED_FORWARD, _U.FAILED,
    }) | _ENDS,
    _U.ROLLING_BACK: frozenset({
        _U.ROLL_BACK_PAUSED, _U.ROLL_BACK_AWAITING_PULSE, _U.ROLLED_BACK, _U.FAILED,
    }) | _ENDS,
    _U.ROLL_FORWARD_PAUSED: frozenset({
        _U.ROLLING_FORWARD, _U.ROLL_FORWARD_AWAITING_PULSE, _U.ROLLING_BACK,
    }) | _ENDS,
    _U.ROLL_BACK_PAUSED: frozenset({_U.ROLLING_BACK, _U.ROLL_BACK_AWAITING_PULSE}) | _ENDS,
    _U.ROLL_FORWARD_AWAITING_PULSE: frozenset({
        _U.ROLLING_FORWARD, _U.ROLL_FORWARD_PAUSED, _U.ROLLING_BACK,
    }) | _ENDS,
    _U.ROLL_BACK_AWAITING_PULSE: frozenset({_U.ROLLING_BACK, _U.ROLL_BACK_PAUSED}) | _ENDS,
    _U.ROLLED_FORWARD: frozenset[JobUpdateStatus](),
    _U.ROLLED_BACK: frozenset[JobUpdateStatus](),
    _U.ABORTED: frozenset[JobUpdateStatus](),
    _U.ERROR: frozenset[JobUpdateStatus](),
    _U.FAILED: frozenset[JobUpdateStatus](),
})  # fmt: skip

#: States in which an update goes back to what was.
BACK: Final = frozenset({_U.ROLLING_BACK, _U.ROLL_BACK_PAUSED, _U.ROLL_BACK_AWAITING_PULSE})
#: States in which an update goes on.
MOVING: Final = frozenset({_U.ROLLING_FORWARD, _U.ROLLING_BACK})
AWAITING_PULSE: Final = frozenset({_U.ROLL_FORWARD_AWAITING_PULSE, _U.ROLL_BACK_AWAITING_PULSE})
PAUSED: Final = frozenset({_U.ROLL_FORWARD_PAUSED, _U.ROLL_BACK_PAUSED})

#: How long a task must run where RUNNING does not mean healthy, and nothing else was asked for: what Aurora's clients
#: have asked for as long as there were no health-driven updates (``watch_secs`` of ``UpdateConfig``).
UNHEALTHY_WAIT_MS: Final = 45_000
#: What an update says that pauses of itself (Aurora's words, and ours for canaries).
AUTO_PAUSED: Final = "auto paused"
CANARIES_DONE: Final = "auto paused: the canaries are updated; resume to go on with the others"


def blocked(status: JobUpdateStatus) -> JobUpdateStatus:
    """The state in which an update waits for a pulse before it goes on as *status* says."""
    return _U.ROLL_BACK_AWAITING_PULSE if status in BACK else _U.ROLL_FORWARD_AWAITING_PULSE


def paused(status: JobUpdateStatus) -> JobUpdateStatus:
    """The state in which it waits for somebody to resume it."""
    return _U.ROLL_BACK_PAUSED if status in BACK else _U.ROLL_FORWARD_PAUSED


def moving(status: JobUpdateStatus) -> JobUpdateStatus:
    """The state in which it goes on."""
    return _U.ROLLING_BACK if status in BACK else _U.ROLLING_FORWARD


# -- in which order, and how many at once ------------------------------------------------------------------------------


def work_order(initial: Collection[int], desired: Collection[int]) -> list[int]:
    """The instances of an update in the order in which they are worked on: those to create, to change, to kill; each
    ascending. *initial*: that are there before; *desired*: that are to be there."""
    before, after = set(initial), set(desired)
    return [*sorted(after - before), *sorted(after & before), *sorted(before - after)]


class Strategy(NamedTuple):
    """How many instances are worked on at once."""

    #: Sizes of the groups, in order; the last one repeats. A queue has one: so many are under way at any time.
    sizes: tuple[int, ...]
    is_queue: bool = False
    is_autopaused: bool = False
    #: So many go first, as a group of their own.
    canaries: int = 0

    def next_size(self, begun: int) -> int:
        """How large the group is that begins after *begun* instances."""
        return self._group(begun)[1]

    def groups_before(self, begun: int) -> int:
        """How many groups lie before the one that begins after *begun* instances."""
        return self._group(begun)[0]

    def _group(self, begun: int) -> tuple[int, int]:
        """The number of the group and its size."""
        number = 0
        if self.canaries:
            if begun < self.canaries:
                return 0, self.canaries - begun
            begun -= self.canaries
            number = 1
        for size in self.sizes[:-1]:
            if begun < size:
                return number, size - begun
            begun -= size
            number += 1
        last = self.sizes[-1]
        return number + begun // last, last - begun % last

    def may_begin(self, begun: int, working: int) -> int:
        """How many more may begin, when *begun* have, of which *working* are under way."""
        if self.is_queue and begun - working >= self.canaries and begun >= self.canaries:
            return max(0, self.sizes[0] - working)
        return 0 if working else self.next_size(begun)

    def groups(self, instances: Sequence[int]) -> list[tuple[int, ...]]:
        """*instances*, in their order, as the groups that are worked on one after the other. Of a queue: those that
        begin together if all take the same time."""
        found = []
        begun = 0
        while begun < len(instances):
            size = self.next_size(begun)
            found.append(tuple(instances[begun : begun + size]))
            begun += size
        return found

    def mirrored(self, touched: int) -> Strategy:
        """How to go back after *touched* instances: in the groups in which they went, the last one first."""
        if self.is_queue or (len(self.sizes) == 1 and not self.canaries):
            return Strategy(self.sizes, self.is_queue)
        sizes = tuple(len(group) for group in reversed(self.groups(range(touched))))
        return Strategy(sizes or (1,))


def strategy_of(settings: JobUpdateSettings) -> Strategy:
    """The strategy that *settings*, which were checked, ask for."""
    chosen = back_filled(settings).update_strategy or JobUpdateStrategy()
    canaries = settings.canary_count or 0
    if chosen.var_batch_strategy is not None:
        variable = chosen.var_batch_strategy
        return Strategy(tuple(variable.group_sizes or (1,)), False, bool(variable.autopause_after_batch), canaries)
    if chosen.batch_strategy is not None:
        batch = chosen.batch_strategy
        return Strategy((batch.group_size or 1,), False, bool(batch.autopause_after_batch), canaries)
    queue = chosen.queue_strategy or QueueJobUpdateStrategy()
    return Strategy((queue.group_size or 1,), True, False, canaries)


def back_filled(settings: JobUpdateSettings) -> JobUpdateSettings:
    """*settings* with a strategy, which clients of before Aurora 0.21 do not send: a queue, or batches of that size."""
    if settings.update_strategy is not None:
        return settings
    size = settings.update_group_size
    if settings.wait_for_batch_completion:
        strategy = JobUpdateStrategy(batch_strategy=BatchJobUpdateStrategy(size, False))
    else:
        strategy = JobUpdateStrategy(queue_strategy=QueueJobUpdateStrategy(size))
    return settings._replace(update_strategy=strategy)


# -- one instance ------------------------------------------------------------------------------------------------------


class Step(Enum):
    """What to do about an instance next."""

    CREATE = "create"
    KILL = "kill"
    #: Until something happens to its task.
    WAIT = "wait"
    #: Or when a time has passed.
    LOOK_AGAIN = "look again"
    DONE = "done"
    FAILED = "failed"


class Next(NamedTuple):
    """A step, and why: of DONE and FAILED None says that there is nothing to say."""

    step: Step
    reason: str | None = None
    #: Of LOOK_AGAIN: in so many milliseconds.
    after_ms: int = 0


class Rules(NamedTuple):
    """What an update asks of each of its instances."""

    min_wait_ms: int = 0
    max_failures: int = 0
    progress_deadline_ms: int | None = None


def rules_of(settings: JobUpdateSettings) -> Rules:
    """The rules that *settings* set."""
    return Rules(
        settings.min_wait_in_instance_running_ms or 0,
        settings.max_per_instance_failures or 0,
        settings.progress_deadline_ms or None,
    )


#: Words for a wait that was not asked for, by what the executor says of a task.
_WHY_TIME: Final[Mapping[str | None, str]] = MappingProxyType({
    None: "its executor does not say that RUNNING means healthy",
    Health.UNCHECKED: "the task has no health check",
})  # fmt: skip


def decide(
    target: Config | None, task: Task | None, failures: int, rules: Rules, spent_ms: int | None, age_ms: int
) -> Next:
    """What to do next about an instance that is to be *target* (None: is not to be there).

    *task*: its task that is not over, if it has one, and *age_ms*, for how long that has been in its state; *failures*:
    how often one of *target* ended of itself since the update came to it. *spent_ms*: what it has used up of the
    deadline for its progress; None: that clock stands.
    """
    if failures > rules.max_failures:
        times = f"{failures} times" if failures > 1 else "once"
        return Next(Step.FAILED, f"its task ended {times}, and {rules.max_failures} times are allowed")
    found = _decide(target, task, rules, age_ms)
    deadline_ms = rules.progress_deadline_ms
    if deadline_ms is None or spent_ms is None or found.step not in _HELD_UP or is_between(target, task):
        return found
    left_ms = deadline_ms - spent_ms
    if left_ms <= 0:
        return Next(Step.FAILED, f"it was not updated within {_seconds(deadline_ms)}: {found.reason}")
    if found.step is Step.WAIT or found.after_ms > left_ms:
        return Next(Step.LOOK_AGAIN, found.reason, left_ms)
    return found


#: What takes time that is the instance's own; all else can be done at once, or is not allowed yet.
_HELD_UP: Final = frozenset({Step.WAIT, Step.LOOK_AGAIN})


def is_between(target: Config | None, task: Task | None) -> bool:
    """Whether the instance's old task is being killed for a new one: nobody but the update would create that, so the
    update cannot be done with the instance before."""
    return target is not None and task is not None and task.status is _S.KILLING


def _decide(target: Config | None, task: Task | None, rules: Rules, age_ms: int) -> Next:
    if task is None:
        return Next(Step.DONE) if target is None else Next(Step.CREATE, "it is to be created")
    if target is None or task.config != target:
        if task.status is _S.KILLING:
            return Next(Step.WAIT, f"its old task is being killed, on {task.host}")
        return Next(Step.KILL, "its old task is to be killed")
    if task.status is not _S.RUNNING:
        return Next(Step.WAIT, _WORDS.get(task.status, f"its task is {task.status.name}"))
    wait_ms, why = running_wait(task, rules)
    left_ms = wait_ms - age_ms
    if left_ms <= 0:
        return Next(Step.DONE, f"ran for {_seconds(wait_ms)}, since {why}" if why else None)
    words = f"its task must run for {_seconds(wait_ms)}"
    return Next(Step.LOOK_AGAIN, f"{words}, since {why}" if why else words, left_ms)


_WORDS: Final = MappingProxyType({
    _S.PENDING: "its task waits for room on an agent",
    _S.THROTTLED: "its task ended too soon, and waits before it is started again",
    _S.ASSIGNED: "its task was given to an agent, which has not started it yet",
    _S.STARTING: "its task is starting, and not yet healthy",
    _S.PARTITIONED: "its agent cannot be reached",
    _S.KILLING: "its task is being killed",
})  # fmt: skip


def running_wait(task: Task, rules: Rules) -> tuple[int, str | None]:
    """How long *task* must run, in milliseconds; and why, where nobody asked for it."""
    if rules.min_wait_ms > 0 or task.health == Health.CHECKED:
        return rules.min_wait_ms, None
    return UNHEALTHY_WAIT_MS, _WHY_TIME.get(task.health, _WHY_TIME[None])


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:g} s"


#: Whoever was in one of these was ended by the scheduler, not of itself.
_ENDED_BY_US: Final = frozenset({_S.KILLING, _S.RESTARTING, _S.DRAINING, _S.PREEMPTING})


def is_failure(task: Task) -> bool:
    """Whether the task, which is over, speaks against its configuration: it ended of itself or was lost, and was not
    moved, preempted or killed by the scheduler. Nor does one speak against it that Mesos knew nothing of (its launch
    was lost with the scheduler that decided it) or whose agent could not be reached."""
    if task.status not in TERMINAL or any(event.status in _ENDED_BY_US for event in task.events):
        return False
    if task.status is not _S.LOST or len(task.events) < 2:
        return True
    return task.events[-2].status is not _S.PARTITIONED and not was_never_launched(task)


def fits_in_place(old: Config, new: Config) -> bool:
    """Whether a task of *new* can take the place of one of *old* on its agent: it needs no more, and may go where that
    one may."""
    return (
        new.resources.fits(old.resources)
        and len(new.ports) <= len(old.ports)
        and new.constraints == old.constraints
        and new.tier == old.tier
    )


def way_back(order: Iterable[int], touched: Collection[int | None]) -> list[int]:
    """Those of *order* that were *touched*, the last one first: the order of going back."""
    return [instance for instance in reversed(list(order)) if instance in touched]
