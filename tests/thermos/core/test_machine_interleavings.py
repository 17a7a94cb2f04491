"""Random tasks in a random but legal world: whatever happens in whatever order, the rules below hold.

The world keeps what the real one does: coordinators outlive their runner, records are durable before actions
are done, a runner may die between the two, a launch that is no longer wanted is dropped before the fork.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.machines import HEADER, RUNNER, T0, process, progress, task, view
from thermos.core.events import (
    CoordinatorGone,
    Due,
    Event,
    Finish,
    KillRequested,
    KillRun,
    Launch,
    LaunchDelayed,
    Launched,
    LaunchFailed,
    Noted,
    Recovered,
    Release,
    Reported,
    Started,
    Wake,
)
from thermos.core.machine import Machine
from thermos.core.planner import Progress
from thermos.core.state import replay
from thermos.records import Note, ProcessStatus, Record
from thermos.schema import Task
from thermos.states import ProcessState, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable

P = ProcessState
T = TaskState


@dataclass
class Coordinator:
    """One that was forked: what it wrote and the runner has not read yet, and whether it still lives."""

    seq: int
    released: bool = False
    running: bool = False
    alive: bool = True
    doomed: bool = False
    inbox: list[ProcessStatus] = field(default_factory=list)


class World:
    def __init__(self, of: Task) -> None:
        self.task = of
        self.now_s = T0
        self.log: list[Record] = []
        self.coordinators: dict[str, Coordinator] = {}
        self.launches: list[Launch] = []
        self.waits: dict[str, float] = {}
        self.ended: TaskState | None = None
        self.machine = Machine(of, HEADER, RUNNER)
        self.tell(Started())

    # -- the runner --------------------------------------------------------------------------------------------

    def tell(self, event: Event, *, dies_before_acting: bool = False) -> None:
        assert self.ended is None, "an event after the end"
        decision = self.machine.handle(event, self.now_s)
        self.log += decision.records
        self.check_records()
        if dies_before_acting:
            self.crash()
            return
        for action in decision.actions:
            if isinstance(action, Launch):
                self.check_launch(action)
                self.launches.append(action)
            elif isinstance(action, Release):
                self.coordinators[action.process].released = True
            elif isinstance(action, Wake):
                self.waits[action.key] = self.now_s + action.in_s
            elif isinstance(action, KillRun) and action.process in self.coordinators:
                self.coordinators[action.process].doomed = True
            elif isinstance(action, Finish):
                assert action.end is self.machine.state.task_state
                self.ended = action.end

    def crash(self) -> None:
        """The runner dies; the next one replays, takes over, and hears at once of coordinators that are dead."""
        self.launches, self.waits = [], {}
        for coordinator in self.coordinators.values():
            if not coordinator.released:
                coordinator.alive = False  # its go-pipe has ended
        self.machine = Machine(self.task, HEADER, RUNNER)
        for record in self.log:
            self.machine.replay(record)
        if self.machine.is_over:
            self.ended = self.machine.state.task_state
            return
        live = [name for name, _ in self.machine.live_runs()]
        self.coordinators = {name: self.coordinators[name] for name in live if name in self.coordinators}
        self.tell(Recovered())
        for name in live:
            if self.ended is None and name not in self.coordinators:
                self.tell(CoordinatorGone(name))

    # -- what can happen -----------------------------------------------------------------------------------------

    def fork(self, outcome: str) -> None:
        launch = self.launches.pop(0)
        name = launch.process
        if not self.machine.may_launch(name):
            return
        if outcome == "fails":
            self.tell(LaunchFailed(name, "why"))
        elif outcome == "waits":
            self.tell(LaunchDelayed(name, "why", 1.0))
        else:
            self.coordinators[name] = Coordinator(launch.seq)
            self.tell(Launched(name, 100, 7, self.now_s), dies_before_acting=outcome == "runner dies")

    def come_up(self, name: str) -> None:
        coordinator = self.coordinators[name]
        coordinator.running = True
        status = ProcessStatus(coordinator.seq + 1, name, P.RUNNING, start_time=self.now_s, pid=200)
        coordinator.inbox.append(status)

    def end(self, name: str, state: ProcessState) -> None:
        self.now_s += 5
        coordinator = self.coordinators[name]
        status = ProcessStatus(coordinator.seq + 2, name, state, stop_time=self.now_s, return_code=1)
        coordinator.inbox.append(status)
        coordinator.alive = False

    def die(self, name: str) -> None:
        self.coordinators[name].alive = False

    def hear(self, name: str, *, dies: bool = False) -> None:
        coordinator = self.coordinators[name]
        if coordinator.inbox:
            self.tell(Reported(coordinator.inbox.pop(0)), dies_before_acting=dies)
        elif not coordinator.alive:
            del self.coordinators[name]
            self.tell(CoordinatorGone(name), dies_before_acting=dies)

    def wait_for(self, key: str) -> None:
        self.now_s = max(self.now_s, self.waits.pop(key))
        self.tell(Due(key))

    def kill(self, end: TaskState, budget_s: float | None) -> None:
        self.tell(KillRequested(end, "why", budget_s))

    def possible(self) -> list[Callable[[], None]]:
        steps: list[Callable[[], None]] = []
        if self.launches:
            steps += [partial(self.fork, how) for how in ("works", "works", "works", "fails", "waits", "runner dies")]
        for name, coordinator in self.coordinators.items():
            if coordinator.alive and coordinator.released and not coordinator.running:
                steps += [partial(self.come_up, name)] * 3
            elif coordinator.alive and coordinator.running:
                ends = [P.KILLED] if coordinator.doomed else [P.SUCCESS, P.SUCCESS, P.FAILED, P.KILLED]
                steps += [partial(self.end, name, end) for end in ends]
            if coordinator.alive:
                steps.append(partial(self.die, name))
            if coordinator.inbox or not coordinator.alive:
                steps += [partial(self.hear, name)] * 3
                steps.append(partial(self.hear, name, dies=True))
        for key in self.waits:
            steps.append(partial(self.wait_for, key))
        steps += [
            self.crash,
            partial(self.kill, T.KILLED, None),
            partial(self.kill, T.KILLED, 5.0),
            partial(self.kill, T.LOST, 0.0),
            partial(self.tell, Noted(Note(1, "kind", f"note {len(self.log) % 3}"))),
        ]
        return steps

    def fair(self) -> Callable[[], None] | None:
        """The next thing to happen where nothing goes wrong any more."""
        if self.launches:
            return partial(self.fork, "works")
        for name, coordinator in self.coordinators.items():
            if coordinator.inbox or not coordinator.alive:
                return partial(self.hear, name)
            if coordinator.released and not coordinator.running:
                return partial(self.come_up, name)
            if coordinator.running:
                return partial(self.end, name, P.KILLED if coordinator.doomed else P.SUCCESS)
        waits = sorted(self.waits, key=lambda key: self.waits[key])
        return partial(self.wait_for, waits[0]) if waits else None

    # -- what must hold ------------------------------------------------------------------------------------------

    def check_records(self) -> None:
        state = replay(self.log)  # raises IllegalMove
        assert view(state) == view(self.machine.state)
        again = Machine(self.task, HEADER, RUNNER)
        for record in self.log:
            again.replay(record)
        for plan, other in ((self.machine.regular, again.regular), (self.machine.final, again.final)):
            assert progress(plan) == progress(other)
            assert (plan.is_complete, plan.failed, plan.active) == (other.is_complete, other.failed, other.active)
            assert not self.task.max_concurrency or plan.active <= self.task.max_concurrency
        assert [name for name, _ in again.live_runs()] == [name for name, _ in self.machine.live_runs()]
        statuses = [status.state for status in state.statuses]
        assert all(not each.is_terminal for each in statuses[:-1])

    def check_launch(self, action: Launch) -> None:
        is_final = action.process in self.machine.final.processes
        state = self.machine.state
        assert state.task_state is (T.FINALIZING if is_final else T.ACTIVE)
        if is_final:
            assert not any(name in self.machine.regular.processes for name, _ in self.machine.live_runs())
        plan = self.machine.final if is_final else self.machine.regular
        for before in plan.predecessors[action.process]:
            assert plan.progress[before] is Progress.FINISHED
            assert state.processes[before].last.state in (P.SUCCESS, P.FAILED)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    processes = []
    order = []
    for kind, final in (("r", False), ("f", True)):
        count = draw(st.integers(0 if final else 1, 3))
        names = [f"{kind}{number}" for number in range(count)]
        daemons = {name for name in names if draw(st.integers(0, 3)) == 3}
        for name in names:
            processes.append(
                process(
                    name,
                    final=final,
                    daemon=name in daemons,
                    ephemeral=draw(st.integers(0, 3)) == 3,
                    max_failures=draw(st.integers(0, 2)),
                    min_duration=draw(st.sampled_from([0, 5])),
                )
            )
        for first, second in pairwise(names):
            if draw(st.booleans()):
                order.append(f"{first} {second}")
    return task(
        *processes,
        order=order,
        max_failures=draw(st.integers(0, 2)),
        max_concurrency=draw(st.integers(0, 2)),
        finalization_wait=draw(st.sampled_from([0, 30])),
    )


@settings(deadline=None, max_examples=150)
@given(tasks(), st.data())
def test_whatever_happens_the_rules_hold_and_a_fair_world_brings_the_end(of: Task, data: st.DataObject) -> None:
    world = World(of)
    for _ in range(data.draw(st.integers(0, 60))):
        if world.ended is not None:
            return
        data.draw(st.sampled_from(world.possible()))()
    for turn in range(400):
        if world.ended is not None:
            return
        step = world.fair()
        if turn == 200:  # a daemon goes on for ever, unless it is killed
            step = partial(world.kill, T.KILLED, None)
        assert step is not None, f"nothing more can happen, and the task is {world.machine.state.task_state}"
        step()
    raise AssertionError(f"the task is still {world.machine.state.task_state}")
