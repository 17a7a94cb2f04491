"""One update that is under way, in one direction, as the engine remembers it: made of what is kept, and of it alone.

It is made anew after a failover, after a decision was taken back and where the update turns round, so that all of these
go on where what is kept ends. What is not kept begins anew: the last pulse is taken to have come at the start, and how
often an SLA policy refused an old task's end is forgotten, so that it is asked again at once. Of a time that is waited
for, as much has passed as the clock says at the start; never less than none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from scheduler.core.elapsed import Elapsed
from scheduler.core.events import Now
from scheduler.core.ranges import instances_of
from scheduler.core.state import State
from scheduler.core.update_record import abort_of
from scheduler.core.updates import (
    AUTO_PAUSED,
    BACK,
    CANARIES_DONE,
    MOVING,
    is_between,
    is_failure,
    rules_of,
    strategy_of,
    way_back,
    work_order,
)
from scheduler.model import Config, JobKey, Task, config_of
from scheduler.states import ACTIVE
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    InstanceTaskConfig,
    JobInstanceUpdateEvent,
    JobUpdateAction,
    JobUpdateDetails,
    JobUpdateEvent,
    JobUpdateSettings,
    JobUpdateStatus,
    UpdatePause,
)

_A = JobUpdateAction
_Events = dict[int, JobInstanceUpdateEvent]

#: By direction (whether it is back): what is said when an instance begins, is done, has failed.
ACTIONS: Final = {
    False: (_A.INSTANCE_UPDATING, _A.INSTANCE_UPDATED, _A.INSTANCE_UPDATE_FAILED),
    True: (_A.INSTANCE_ROLLING_BACK, _A.INSTANCE_ROLLED_BACK, _A.INSTANCE_ROLLBACK_FAILED),
}


class Work:
    """An instance that is under way."""

    __slots__ = ("_clocked_s", "_spent_ms", "excused", "not_before_s", "refusals")

    def __init__(self, excused: frozenset[str], spent_ms: int = 0) -> None:
        #: Ids of its tasks that had failed before the update came to it.
        self.excused = excused
        #: How often its old task was not allowed to go, and when to ask again (monotonic).
        self.refusals = 0
        self.not_before_s = 0.0
        #: What it has used up of the deadline for its progress, and since when (monotonic) more is; None: none is.
        self._spent_ms = spent_ms
        self._clocked_s: float | None = None

    def spent_ms(self, now_s: float) -> int:
        """What it has used up of the deadline for its progress."""
        return self._spent_ms + (0 if self._clocked_s is None else round((now_s - self._clocked_s) * 1000))

    def start_clock(self, now_s: float) -> None:
        """From now on it uses it up."""
        if self._clocked_s is None:
            self._clocked_s = now_s

    def stop_clock(self, now_s: float) -> None:
        """From now on it uses up none."""
        self._spent_ms, self._clocked_s = self.spent_ms(now_s), None


class Run:
    """The update *update_id* of *job*, in the direction in which it is, as it is *now*. Raises ValueError: it does not
    say what to do."""

    def __init__(self, state: State, job: JobKey, update_id: str, elapsed: Elapsed, now: Now) -> None:
        self.job = job
        self.update_id = update_id
        details = state.updates[(job, update_id)]
        update = details.update
        instructions = update.instructions if update is not None else None
        summary = update.summary if update is not None else None
        if instructions is None or summary is None or summary.state is None or summary.state.status is None:
            raise ValueError(f"the update {update_id} of {job} has no instructions or no state")
        self.status: JobUpdateStatus = summary.state.status
        self.is_back = self.status in BACK
        self.settings = instructions.settings or JobUpdateSettings()
        self.rules = rules_of(self.settings)
        if self.is_back:
            # What was there before was not chosen for how soon it is there again, and there is nowhere else to go.
            self.rules = self.rules._replace(progress_deadline_ms=None)
        timeout_ms = self.settings.block_if_no_pulses_after_ms
        #: None: it wants no pulses.
        self.pulse_timeout_s = timeout_ms / 1000 if timeout_ms else None
        self.initial = dict(_configs(state, instructions.initial_state or ()))
        self.desired = dict(_configs(state, (instructions.desired_state or InstanceTaskConfig(),)))
        events = details.update_events or ()
        self.auto_pauses = sum(map(_is_auto_pause, events))
        #: The event of an abort that waits for instances to be back.
        self.aborting = abort_of(details)
        self._read(state, details, elapsed, now)

    def _read(self, state: State, details: JobUpdateDetails, elapsed: Elapsed, now: Now) -> None:
        events = details.instance_events or ()
        order = work_order(self.initial, self.desired)
        strategy = strategy_of(self.settings)
        if self.is_back:
            forth = ACTIONS[False]
            begun_forth = {event.instance_id for event in events if event.action is forth[0]}
            ended_forth = {event.instance_id for event in events if event.action in forth[1:]}
            # Those that were under way come first: they may have no task at all by now.
            order = way_back(order, begun_forth - ended_forth) + way_back(order, begun_forth & ended_forth)
            strategy = strategy.mirrored(len(order))
        self.order = order
        self.strategy = strategy
        begun, done, failed = self._progress(events)
        self.begun = len(begun)
        self.failed = len(failed)
        self.waiting = deque(instance for instance in order if instance not in begun)
        self.canaries = frozenset(order[: strategy.canaries])
        #: When the last canary was done, monotonic.
        self.canaries_done_s = max(
            (elapsed.at_s((*self.about, one), _at_ms(done[one])) for one in self.canaries if one in done), default=0.0
        )
        #: Instance → the id of its task that is not over.
        self._active: dict[int, str] = {}
        #: Instance → its tasks that failed in the configuration to come, and when (wall time).
        self._failed: dict[int, dict[str, int]] = {}
        for task in state.tasks_of(self.job):
            if task.status in ACTIVE:
                self._active[task.instance] = task.task_id
            elif is_failure(task) and task.config == self.target(task.instance):
                self._failed.setdefault(task.instance, {})[task.task_id] = task.changed_at_ms
        self.working = {
            instance: Work(self._excused(event), self._spent_ms(state, details, event, now))
            for instance, event in begun.items()
            if instance not in done and instance not in failed
        }
        #: Canaries that ended after they were updated.
        self.lost_canaries = {
            one for one in self.canaries if one in done and self.failed_of(one) - self._excused(done[one], is_end=True)
        }

    def _progress(self, events: tuple[JobInstanceUpdateEvent, ...]) -> tuple[_Events, _Events, _Events]:
        """The events by which instances began, were done, failed, in this direction."""
        found: tuple[_Events, _Events, _Events] = ({}, {}, {})
        actions = ACTIONS[self.is_back]
        for event in events:
            if event.action in actions and event.instance_id is not None:
                found[actions.index(event.action)][event.instance_id] = event
        return found

    def _excused(self, event: JobInstanceUpdateEvent, is_end: bool = False) -> frozenset[str]:
        """The failed tasks that do not count after *event*. What Aurora and our first stores wrote does not name them:
        there the times have to tell, the same moment counting as after a beginning and before an end."""
        if event.failed_before is not None:
            return frozenset(event.failed_before)
        before_ms = _at_ms(event) + is_end
        failed = self._failed.get(event.instance_id or 0, {})
        return frozenset(task_id for task_id, at_ms in failed.items() if at_ms < before_ms)

    def _spent_ms(self, state: State, details: JobUpdateDetails, event: JobInstanceUpdateEvent, now: Now) -> int:
        """What an instance that is under way has used up of the deadline, as far as its tasks tell."""
        if self.rules.progress_deadline_ms is None:
            return 0
        instance = event.instance_id or 0
        task = self.task(state, instance)
        target = self.target(instance)
        since = [state.tasks[one].created_at_ms for one in self.failed_of(instance) - self._excused(event)]
        if is_between(target, task):
            assert task is not None
            since.append(task.changed_at_ms)
        elif task is not None and task.config == target:
            since.append(task.created_at_ms)
        return _moving_ms(details.update_events or (), min(since), now.wall_ms) if since else 0

    @property
    def about(self) -> tuple[JobKey, str]:
        """The update, as deadlines name it."""
        return (self.job, self.update_id)

    def target(self, instance: int) -> Config | None:
        """What the instance is to be; None: it is not to be there."""
        return (self.initial if self.is_back else self.desired).get(instance)

    def policy_of(self, task: Task) -> Config:
        """The configuration whose SLA policy says whether *task* may go: the one that comes, or comes back."""
        if self.is_back:
            return self.initial.get(task.instance, task.config)
        return next(iter(self.desired.values()), task.config)

    @property
    def failures_allowed(self) -> int:
        """How many instances may fail: of canaries none."""
        if self.canaries and self.begun <= len(self.canaries):
            return 0
        return self.settings.max_failed_instances or 0

    def failed_of(self, instance: int) -> set[str]:
        """Ids of the instance's tasks that failed in the configuration to come."""
        return set(self._failed.get(instance, ()))

    def failures(self, instance: int) -> int:
        """How often a task of the instance, which is under way, failed since the update came to it."""
        failed = self._failed.get(instance)
        return len(failed.keys() - self.working[instance].excused) if failed else 0

    def between(self, state: State) -> list[int]:
        """The instances whose old task is being killed for a new one, ascending."""
        return sorted(one for one in self.working if is_between(self.target(one), self.task(state, one)))

    def task(self, state: State, instance: int) -> Task | None:
        """The instance's task that is not over."""
        task = state.tasks.get(self._active.get(instance, ""))
        return task if task is not None and task.status in ACTIVE else None

    def created(self, task: Task) -> None:
        """This is the instance's task now."""
        self._active[task.instance] = task.task_id

    def note(self, state: State, before: Task | None, after: Task | None) -> None:
        """Remember what became of a task. Of what happened in one go it is told one by one: the state knows more."""
        if after is None:
            return
        now = state.tasks.get(after.task_id)
        if now is not None and now.status in ACTIVE:
            self._active[after.instance] = after.task_id
        if (
            before is not None
            and before.status in ACTIVE
            and is_failure(after)
            and after.config == self.target(after.instance)
        ):
            self._failed.setdefault(after.instance, {})[after.task_id] = after.changed_at_ms
            if after.instance in self.canaries and after.instance not in self.working:
                self.lost_canaries.add(after.instance)


def _at_ms(event: JobInstanceUpdateEvent) -> int:
    return event.timestamp_ms or 0


def _is_auto_pause(event: JobUpdateEvent) -> bool:
    """Whether the update paused of itself, after a group. What Aurora and our first stores wrote says so in words."""
    if event.pause is not None:
        return event.pause in (UpdatePause.GROUP_DONE, UpdatePause.CANARIES_DONE)
    is_pause = event.status is JobUpdateStatus.ROLL_FORWARD_PAUSED and event.user is None
    return is_pause and event.message in (AUTO_PAUSED, CANARIES_DONE)


def _moving_ms(events: tuple[JobUpdateEvent, ...], from_ms: int, to_ms: int) -> int:
    """How long of that time the update went on, by the clock."""
    total_ms = 0
    ends_ms = [*(event.timestamp_ms or 0 for event in events[1:]), to_ms]
    for event, end_ms in zip(events, ends_ms, strict=True):
        if event.status in MOVING:
            total_ms += max(0, min(end_ms, to_ms) - max(event.timestamp_ms or 0, from_ms))
    return total_ms


def _configs(state: State, groups: tuple[InstanceTaskConfig, ...]) -> Iterator[tuple[int, Config]]:
    for group in groups:
        instances = instances_of(group.instances)
        if instances:
            config = state.interned(config_of(group.task or wire.TaskConfig()))
            for instance in instances:
                yield instance, config
