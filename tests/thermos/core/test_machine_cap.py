"""What uses up the hundred runs of a process, and what does not."""

from __future__ import annotations

from thermos.core.events import CoordinatorGone, Due, Launch, Launched, Started, Wake
from thermos.core.machine import Identity, Machine
from thermos.core.planner import RUN_CAP
from thermos.records import RunnerHeader
from thermos.schema import Process, Task
from thermos.states import TaskState


def test_runs_that_never_began_use_up_none() -> None:
    task = Task("t", (Process("p", "true", min_duration=1),))
    machine = Machine(task, RunnerHeader("t", 0), Identity(1, 0))
    decision = machine.handle(Started(), 0.0)
    for number in range(RUN_CAP + 5):
        (launch,) = (action for action in decision.actions if isinstance(action, Launch))
        assert launch.run == number
        machine.handle(Launched("p", 10 + number, None, float(number)), float(number))
        decision = machine.handle(CoordinatorGone("p"), float(number))
        (wake,) = (action for action in decision.actions if isinstance(action, Wake))
        decision = machine.handle(Due(wake.key), float(number + 1))
    assert machine.state.task_state is TaskState.ACTIVE
    assert machine.state.processes["p"].losses == RUN_CAP + 5
