"""Moves tasks from state to state, with all that follows: successors, kills, deadlines, groups.

The rules are :mod:`scheduler.core.lifecycle`'s; here they are carried out on the state, one task at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from scheduler.core import lifecycle, throttle
from scheduler.core.changes import DropTask, PutTask
from scheduler.core.deadlines import Deadlines, Due
from scheduler.core.decision import Draft
from scheduler.core.events import Kill
from scheduler.core.groups import TaskGroups
from scheduler.core.reconcile import kill_retry_s
from scheduler.core.settings import Settings
from scheduler.model import Config, Task
from scheduler.states import TERMINAL, TRANSIENT, ScheduleStatus

_S = ScheduleStatus
#: A kill was sent, and is repeated until Mesos says what became of it.
_BEING_KILLED: Final = frozenset({_S.KILLING, _S.RESTARTING, _S.PREEMPTING, _S.DRAINING})
#: Deadlines that wait for a word of Mesos, or repeat ours.
_OF_MESOS: Final = frozenset({Due.KILL_AGAIN, Due.STUCK, Due.PARTITIONED_FOR_LONG})
#: Mesos is given so long to say, when it is heard again, that an agent is back: its answers come within a second, those
#: about tens of thousands of tasks within some batches of reconciliation, which are 5 s apart.
_ANSWER_S: Final = 30.0


class Tasks:
    """The tasks of the state, and everything that hangs on them."""

    def __init__(
        self,
        draft: Draft,
        groups: TaskGroups,
        deadlines: Deadlines,
        settings: Settings,
        fresh: Callable[[], str],
        chance: Callable[[], float],
    ) -> None:
        self._draft = draft
        self._state = draft.state
        self._groups = groups
        self._deadlines = deadlines
        self._settings = settings
        self._fresh = fresh
        self._chance = chance
        self._kill_tries: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        #: Tasks before and after each change of state, for the parts of the engine; whoever tells them empties it.
        self.changed: list[tuple[Task | None, Task | None]] = []

    # -- coming and going ----------------------------------------------------------------------------------------------

    def create(self, config: Config, instance: int) -> Task:
        """A new task of that instance, PENDING."""
        config = self._state.interned(config)
        now = self._draft.now
        task_id = lifecycle.task_id(config.job, instance, self._fresh())
        task = lifecycle.created(
            task_id, instance, config, ScheduleStatus.PENDING, now.wall_ms, None, self._settings.hostname
        )
        self._put(None, task)
        return task

    def move(self, task_id: str, target: ScheduleStatus, message: str | None = None) -> bool:
        """Move it, with everything that follows; whether that was legal. A task that is unknown is not moved."""
        task = self._state.tasks.get(task_id)
        if task is None:
            return False
        now = self._draft.now
        moved = lifecycle.move(task, target, now.wall_ms, message, self._settings.hostname)
        if not moved.is_legal:
            self.counts["illegal_task_state_transitions"] += 1
        if moved.has_changed and moved.task is not None:
            self._put(task, moved.task)
        if moved.reschedule:
            self._succeed(moved.task or task)
        if moved.then_lost:
            self.move(task_id, ScheduleStatus.LOST)
        if moved.kill:
            self._kill(task)
        if moved.has_changed and moved.task is None:
            self.forget(task)
        return moved.is_legal

    def note_health(self, task: Task, health: str | None) -> None:
        """Keep what the executor says that RUNNING means for it; who says nothing takes nothing back."""
        if health is not None and health != task.health:
            self._draft.put(PutTask(task._replace(health=health)))

    def assign(self, task: Task, agent_id: str, host: str, ports: Iterable[tuple[str, int]]) -> Task:
        """It is to run there; gives it as it is now."""
        assigned = lifecycle.assign(task, agent_id, host, ports, self._draft.now.wall_ms, self._settings.hostname)
        self._put(task, assigned)
        return assigned

    def forget(self, task: Task) -> None:
        """Delete it from what is kept."""
        self._draft.put(DropTask(task.task_id))
        self._settle(task, None)

    def _put(self, before: Task | None, after: Task) -> None:
        self._draft.put(PutTask(after))
        self._settle(before, self._state.tasks[after.task_id])

    def _succeed(self, task: Task) -> None:
        """Another task takes its place, now or after a penalty for failing so often."""
        penalty_s = throttle.penalty_s(task, self._state.tasks.get, self._settings)
        status = ScheduleStatus.THROTTLED if penalty_s > 0 else ScheduleStatus.PENDING
        message = f"Waits {penalty_s:g} s, since it ended so soon" if penalty_s > 0 else None
        new_id = lifecycle.task_id(task.job, task.instance, self._fresh())
        now = self._draft.now
        self._put(None, lifecycle.successor(task, new_id, status, now.wall_ms, message, self._settings.hostname))
        if penalty_s > 0:
            self._deadlines.set(Due.UNTHROTTLE, new_id, now.mono_s + penalty_s)

    def _kill(self, task: Task) -> None:
        self._draft.ask(Kill(task.task_id, task.agent_id))
        if self._status(task.task_id) in _BEING_KILLED:
            self._retry_kill_later(task.task_id)

    def kill_unknown(self, task_id: str, agent_id: str | None) -> None:
        """Mesos runs a task that we do not have, or hold for over."""
        self.counts["zombies_killed"] += 1
        self._draft.ask(Kill(task_id, agent_id))

    # -- what hangs on a state -----------------------------------------------------------------------------------------

    def _settle(self, before: Task | None, after: Task | None) -> None:
        """Put the task into the group and under the deadlines of its new state."""
        was = None if before is None else before.status
        status = None if after is None else after.status
        if was == status:
            return
        self.changed.append((before, after))
        one = before or after
        assert one is not None
        task_id = one.task_id
        if was == _S.PENDING:
            self._groups.remove(task_id)
            self._deadlines.cancel(Due.FIRST_TRY, task_id)
        elif was == _S.THROTTLED:
            self._deadlines.cancel(Due.UNTHROTTLE, task_id)
        elif was == _S.PARTITIONED:
            self._deadlines.cancel(Due.PARTITIONED_FOR_LONG, task_id)
        elif was in TRANSIENT:
            self._deadlines.cancel(Due.STUCK, task_id)
            self._deadlines.cancel(Due.KILL_AGAIN, task_id)
            self._kill_tries.pop(task_id, None)
        self._draft.elapsed.note_task(task_id, status, self._draft.now)
        if after is None or status is None:
            return
        self.counts[f"task_transitions_{status.name}"] += 1
        now_s = self._draft.now.mono_s
        if status == _S.PENDING:
            self._groups.add(after, now_s)
        elif status == _S.PARTITIONED:
            self._wait_for_partition(after)
        elif status in TRANSIENT:
            self._deadlines.set(Due.STUCK, task_id, now_s + self._settings.transient_task_state_timeout_s)
        elif status in TERMINAL:
            self._groups.freed(after.job, now_s)
            self._prune_later(after)

    def _wait_for_partition(self, task: Task, at_least_s: float = 0.0) -> None:
        if task.config.is_rescheduled_when_partitioned:
            elapsed_s = max(0.0, (self._draft.now.wall_ms - task.changed_at_ms) / 1000)
            at_s = self._draft.now.mono_s + max(at_least_s, task.config.partition_delay_s - elapsed_s)
            self._deadlines.set(Due.PARTITIONED_FOR_LONG, task.task_id, at_s)

    def _wait_for_answer(self, task: Task) -> None:
        """Counted from now, for a task in a state that Mesos should end, of which nobody could hear so far."""
        at_s = self._draft.now.mono_s + self._settings.transient_task_state_timeout_s
        self._deadlines.set(Due.STUCK, task.task_id, at_s)
        if task.status in _BEING_KILLED:
            self._kill_tries.pop(task.task_id, None)
            self._retry_kill_later(task.task_id)

    def _prune_later(self, task: Task) -> None:
        """Look at the job's history once this task may go. A job with many is looked at as soon as one may."""
        kept_s = self._settings.history_prune_threshold_s
        if len(self._state.by_job.get(task.job, ())) > self._settings.history_max_per_job:
            kept_s = self._settings.history_min_retention_s
        elapsed_s = (self._draft.now.wall_ms - task.changed_at_ms) / 1000
        at_s = self._draft.now.mono_s + max(0.0, kept_s - elapsed_s) + 1.0
        self._deadlines.set(Due.PRUNE, (task.job, task.task_id), at_s)

    def _retry_kill_later(self, task_id: str) -> None:
        tries = self._kill_tries[task_id]
        self._kill_tries[task_id] = tries + 1
        after_s = kill_retry_s(tries, self._settings)
        self._deadlines.set(Due.KILL_AGAIN, task_id, self._draft.now.mono_s + after_s)

    def _status(self, task_id: str) -> ScheduleStatus | None:
        task = self._state.tasks.get(task_id)
        return None if task is None else task.status

    # -- deadlines that have come --------------------------------------------------------------------------------------

    def due(self, due: Due, task_id: str, *, is_heard: bool = True) -> None:
        """A deadline of a task has come. The task may be anywhere by now: only what still holds is done. While Mesos is
        not heard nothing is done about what it would have to say or to hear: ``heard_again`` begins that anew."""
        task = self._state.tasks.get(task_id)
        if task is None or (due in _OF_MESOS and not is_heard):
            return
        if due is Due.UNTHROTTLE and task.status == _S.THROTTLED:
            self.move(task_id, _S.PENDING)
        elif due is Due.FIRST_TRY and task.status == _S.PENDING:
            self._groups.add(task, self._draft.now.mono_s)
        elif due is Due.KILL_AGAIN and task.status in _BEING_KILLED:
            self.counts["task_kill_retries"] += 1
            self._draft.ask(Kill(task_id, task.agent_id))
            self._retry_kill_later(task_id)
        elif due is Due.STUCK and task.status in TRANSIENT:
            self.counts["timed_out_tasks"] += 1
            self.move(task_id, _S.LOST, f"Was {task.status.name} for too long: Mesos did not say what became of it")
        elif due is Due.PARTITIONED_FOR_LONG and task.status == _S.PARTITIONED:
            self.move(task_id, _S.LOST, "Its agent could not be reached for too long")

    def resume(self) -> None:
        """After a start, or after decisions were taken back: groups and deadlines made anew of the state."""
        self.changed.clear()
        now = self._draft.now
        self._draft.elapsed.begin(now)
        settings = self._settings
        for task in list(self._state.tasks.values()):
            status = task.status
            elapsed_s = max(0.0, (now.wall_ms - task.changed_at_ms) / 1000)
            if status == _S.PENDING:
                # Not all at once: Mesos' offers, and what runs where, are only just becoming known.
                delay_s = self._chance() * settings.max_reschedule_delay_on_startup_s
                self._deadlines.set(Due.FIRST_TRY, task.task_id, now.mono_s + delay_s)
            elif status == _S.THROTTLED:
                ancestor = self._state.tasks.get(task.ancestor_id or "")
                penalty_s = throttle.penalty_s(ancestor, self._state.tasks.get, settings) if ancestor else 0.0
                self._deadlines.set(Due.UNTHROTTLE, task.task_id, now.mono_s + max(0.0, penalty_s - elapsed_s))
            elif status == _S.PARTITIONED:
                self._wait_for_partition(task)
            elif status in TRANSIENT:
                self._wait_for_answer(task)
            elif status in TERMINAL:
                self._prune_later(task)

    def heard_again(self) -> None:
        """Mesos is heard again, and is about to say what became of all tasks: until then nothing is known of them."""
        for task in self._state.with_status(sorted(TRANSIENT)):
            self._wait_for_answer(task)
        for task in self._state.with_status([_S.PARTITIONED]):
            self._wait_for_partition(task, at_least_s=_ANSWER_S)

    def census(self) -> Mapping[str, int]:
        """How many tasks are in each state, with a zero for those that none is in."""
        return {f"task_store_{status.name}": len(self._state.by_status[status]) for status in ScheduleStatus}
