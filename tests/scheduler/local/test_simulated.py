"""The simulation: made-up executors that live as a test says, and the same twice."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.local.model import AgentBack, ExecutorKey
from scheduler.local.simulated import Life, Simulation, agents
from tests.support.launches import INFO, task_info
from thermos.formats.mesos_v1_scheduler import (
    Accept,
    Acknowledge,
    Failure,
    Kill,
    Offers,
    Shutdown,
    Subscribe,
    Update,
)
from thermos.mesos import MesosTaskState

FAILED = MesosTaskState.TASK_FAILED


class Story:
    """One task on one agent, and what is told of it, with the second in which it is."""

    def __init__(self, life: Life, executor_start_s: float = 0.2) -> None:
        self.simulation = Simulation(
            agents(1), lambda key, task: life, executor_start_s=executor_start_s, begin_s=1000.0
        )
        self.told: list[tuple[float, str]] = []
        self.simulation.call(Subscribe(INFO))
        (offers,) = [event for event in self.simulation.take_events() if isinstance(event, Offers)]
        self.simulation.call(Accept((offers.offers[0].offer_id,), (task_info("t", "agent-0"),)))

    def until(self, at_s: float) -> Story:
        while (next_s := self.simulation.next_s) is not None and next_s <= 1000.0 + at_s:
            self.simulation.advance(next_s)
            self.listen()
        self.simulation.advance(1000.0 + at_s)
        return self

    def listen(self) -> None:
        while events := self.simulation.take_events():
            for event in events:
                at_s = round(self.simulation.now_s - 1000.0, 6)
                if isinstance(event, Update):
                    self.told.append((at_s, event.status.state.value))
                    if event.status.uuid is not None:
                        self.simulation.call(Acknowledge("agent-0", "t", event.status.uuid))
                elif isinstance(event, Failure):
                    self.told.append((at_s, f"executor ended: {event.status}"))

    def call(self, call: Any) -> Story:
        self.simulation.call(call)
        return self


@pytest.mark.parametrize(
    "life, told",
    [
        (Life(), [(0.2, "TASK_STARTING"), (1.2, "TASK_RUNNING")]),
        (
            Life(start_s=2.0, run_s=3.0),
            [(0.2, "TASK_STARTING"), (2.2, "TASK_RUNNING"), (5.2, "TASK_FINISHED"), (5.2, "executor ended: 0")],
        ),
        (
            Life(start_s=None, run_s=3.0, outcome=FAILED, message="no health"),
            [(0.2, "TASK_STARTING"), (3.2, "TASK_FAILED"), (3.2, "executor ended: 0")],
        ),
        (
            Life(run_s=1.0, is_crash=True),
            [(0.2, "TASK_STARTING"), (1.2, "TASK_RUNNING"), (2.2, "executor ended: 9"), (2.2, "TASK_FAILED")],
        ),
        (Life(start_s=None), [(0.2, "TASK_STARTING")]),
    ],
)
def test_a_life(life: Life, told: list[tuple[float, str]]) -> None:
    assert Story(life).until(60.0).told == told


def test_a_kill() -> None:
    story = Story(Life(kill_s=5.0)).until(10.0).call(Kill("t")).until(12.0).call(Kill("t")).until(30.0)
    assert story.told[2:] == [(15.0, "TASK_KILLED"), (15.0, "executor ended: 0")]


def test_a_kill_that_is_not_heard() -> None:
    story = Story(Life(kill_s=None)).until(10.0).call(Kill("t")).until(1000.0)
    assert story.told[2:] == []
    story.call(Shutdown("thermos-t", "agent-0")).until(1010.0)
    assert story.told[2:] == [(1005.0, "executor ended: 9"), (1005.0, "TASK_FAILED")]


def test_a_task_that_ends_while_it_is_killed() -> None:
    story = Story(Life(run_s=10.0, kill_s=1.0)).until(10.5).call(Kill("t")).until(60.0)
    assert story.told[2:] == [(11.5, "TASK_KILLED"), (11.5, "executor ended: 0")]


def test_an_executor_that_does_not_come_up() -> None:
    story = Story(Life(), executor_start_s=100.0).until(200.0)
    assert story.told == [(60.0, "executor ended: 9"), (60.0, "TASK_FAILED")]


def test_a_crash_is_told_when_the_machine_is_back() -> None:
    story = Story(Life()).until(10.0)
    story.simulation.crash("agent-0")
    story.until(20.0)
    story.listen()
    assert [what for _, what in story.told[2:]] == ["TASK_UNREACHABLE", "executor ended: None"]
    story.simulation.happen(AgentBack("agent-0"))
    story.listen()
    assert [what for _, what in story.told[4:]] == ["TASK_RUNNING", "TASK_FAILED"]


def test_the_same_calls_give_the_same_events() -> None:
    def run() -> list[Any]:
        lives = {f"t{n}": Life(start_s=n / 7, run_s=n / 3) for n in range(20)}
        simulation = Simulation(agents(5), lambda key, task: lives[task.task_id])
        simulation.call(Subscribe(INFO))
        told: list[Any] = []
        waiting = list(lives)
        for _ in range(400):
            at_s = simulation.next_s
            assert at_s is not None
            simulation.advance(at_s)
            for event in simulation.take_events():
                told.append((simulation.now_s, event))
                if isinstance(event, Offers):
                    for offer in event.offers:
                        tasks = [task_info(waiting.pop(0), offer.agent_id)] if waiting else []
                        simulation.call(Accept((offer.offer_id,), tuple(tasks), 1.0))
                elif isinstance(event, Update) and event.status.uuid is not None:
                    assert event.status.agent_id is not None
                    simulation.call(Acknowledge(event.status.agent_id, event.status.task_id, event.status.uuid))
        assert simulation.launches == 20
        return told

    assert run() == run()


def test_time_goes_on_until_something_is_so() -> None:
    story = Story(Life(start_s=5.0))
    simulation = story.simulation

    def runs() -> bool:
        story.listen()
        return any(state == "TASK_RUNNING" for _, state in story.told)

    assert not simulation.advance_until(runs, 3.0)
    assert simulation.advance_until(runs, 30.0)
    assert simulation.now_s == pytest.approx(1005.2)
    simulation.kill_executor(ExecutorKey("agent-0", "sim-0000", "thermos-t"))
    story.listen()
    assert [what for _, what in story.told[2:]] == ["executor ended: 9", "TASK_FAILED"]
