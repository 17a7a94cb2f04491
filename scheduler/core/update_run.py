"""One update that is under way, in one direction, as the engine remembers it: made of what is kept, and of it alone.

It is made anew after a failover, after a decision was taken back and where the update turns round, so that all of these
go on exactly where what is kept ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from scheduler.core.ranges import instances_of
from scheduler.core.state import State
from scheduler.core.updates import (
    AUTO_PAUSED,
    BACK,
    CANARIES_DONE,
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
    JobUpdateSettings,
    JobUpdateStatus,
)

_A = JobUpdateAction

#: By direction (whether it is back): what is said when an instance begins, is done, has failed.
ACTIONS: Final = {
    False: (_A.INSTANCE_UPDATING, _A.INSTANCE_UPDATED, _A.INSTANCE_UPDATE_FAILED),
    True: (_A.INSTANCE_ROLLING_BACK, _A.INSTANCE_ROLLED_BACK, _A.INSTANCE_ROLLBACK_FAILED),
}


class Work:
    """An instance that is under way."""

    __slots__ = ("began_ms", "failures", "not_before_s", "refusals")

    def __init__(self, began_ms: int) -> None:
        self.began_ms = began_ms
        #: How often its task ended of itself.
        self.failures = 0
        #: How often its old task was not allowed to go, and when to ask again (monotonic).
        self.refusals = 0
        self.not_before_s = 0.0


class Run:
    """The update *update_id* of *job*, in the direction in which it is. Raises ValueError: it does not say what to
    do."""

    def __init__(self, state: State, job: JobKey, update_id: str) -> None:
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
        self.initial = dict(_configs(state, instructions.initial_state or ()))
        self.desired = dict(_configs(state, (instructions.desired_state or InstanceTaskConfig(),)))
        self._read(state, details)

    def _read(self, state: State, details: JobUpdateDetails) -> None:
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
        self.working = {
            instance: Work(at_ms)
            for instance, at_ms in begun.items()
            if instance not in done and instance not in failed
        }
        self.canaries = frozenset(order[: strategy.canaries])
        #: When the last canary was done, and those that ended after they were.
        self.canaries_done_ms = max((done[one] for one in self.canaries if one in done), default=0)
        self.lost_canaries: set[int] = set()
        self.auto_pauses = sum(
            event.user is None
            and event.status is JobUpdateStatus.ROLL_FORWARD_PAUSED
            and event.message in (AUTO_PAUSED, CANARIES_DONE)
            for event in details.update_events or ()
        )
        #: Instance → the id of its task that is not over.
        self._active: dict[int, str] = {}
        for task in state.tasks_of(self.job):
            if task.status in ACTIVE:
                self._active[task.instance] = task.task_id
            elif is_failure(task) and task.config == self.target(task.instance):
                work = self.working.get(task.instance)
                if work is not None and task.changed_at_ms >= work.began_ms:
                    work.failures += 1
                elif task.instance in self.canaries and task.changed_at_ms > done.get(
                    task.instance, task.changed_at_ms
                ):
                    self.lost_canaries.add(task.instance)

    def _progress(
        self, events: tuple[JobInstanceUpdateEvent, ...]
    ) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
        """When each instance began, was done, failed, in this direction."""
        found: tuple[dict[int, int], dict[int, int], dict[int, int]] = ({}, {}, {})
        actions = ACTIONS[self.is_back]
        for event in events:
            if event.action in actions and event.instance_id is not None:
                found[actions.index(event.action)][event.instance_id] = event.timestamp_ms or 0
        return found

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

    def may_begin(self) -> int:
        """How many instances may begin now."""
        return min(len(self.waiting), self.strategy.may_begin(self.begun, len(self.working)))

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
            work = self.working.get(after.instance)
            if work is not None:
                work.failures += 1
            elif after.instance in self.canaries:
                self.lost_canaries.add(after.instance)


def _configs(state: State, groups: tuple[InstanceTaskConfig, ...]) -> Iterator[tuple[int, Config]]:
    for group in groups:
        instances = instances_of(group.instances)
        if instances:
            config = state.interned(config_of(group.task or wire.TaskConfig()))
            for instance in instances:
                yield instance, config
