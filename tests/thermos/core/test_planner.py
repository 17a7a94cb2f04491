"""Which processes may run: tables, and random graphs against a slow model that recomputes everything."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.machines import process
from thermos.core.planner import RUN_CAP, Plan, Progress
from thermos.schema import Constraint, Process
from thermos.states import ProcessState

P = ProcessState


def plan_of(*processes: Process, order: tuple[str, ...] = (), uncapped: tuple[str, ...] = ()) -> Plan:
    return Plan(processes, [Constraint(tuple(chain.split())) for chain in order], uncapped)


def take_all(plan: Plan) -> list[str]:
    """Start all that is ready; their names in the order they were given out."""
    names = []
    while (name := plan.take_ready()) is not None:
        plan.started(name)
        names.append(name)
    return names


def test_what_waits_for_nothing_is_ready_in_the_order_of_the_task() -> None:
    plan = plan_of(process("c"), process("a"), process("b"))
    assert take_all(plan) == ["c", "a", "b"]
    assert plan.active == 3


def test_taking_twice_without_starting_gives_the_same() -> None:
    plan = plan_of(process("a"), process("b"))
    assert plan.take_ready() == plan.take_ready() == "a"


def test_a_process_waits_for_every_predecessor() -> None:
    plan = plan_of(process("d"), process("a"), process("b"), order=("a d", "b d"))
    assert take_all(plan) == ["a", "b"]
    plan.ended("a", P.SUCCESS, 0, 1)
    assert take_all(plan) == []
    plan.ended("b", P.SUCCESS, 0, 1)
    assert take_all(plan) == ["d"]


def test_an_edge_that_is_named_twice_counts_once() -> None:
    plan = plan_of(process("a"), process("b"), order=("a b", "a b"))
    take_all(plan)
    plan.ended("a", P.SUCCESS, 0, 1)
    assert take_all(plan) == ["b"]


def test_a_chain_of_the_other_plan_is_passed_over() -> None:
    plan = plan_of(process("a"), process("b"), order=("x a", "b x"))
    assert take_all(plan) == ["a", "b"]


@pytest.mark.parametrize(
    "state, failures, options, expected",
    [
        (P.SUCCESS, 0, {}, Progress.FINISHED),
        (P.SUCCESS, 0, {"ephemeral": True}, Progress.FINISHED),
        (P.SUCCESS, 0, {"daemon": True}, Progress.THROTTLED),
        (P.FAILED, 1, {}, Progress.FAILED),
        (P.FAILED, 1, {"max_failures": 2}, Progress.THROTTLED),
        (P.FAILED, 2, {"max_failures": 2}, Progress.FAILED),
        (P.FAILED, 50, {"max_failures": 0}, Progress.THROTTLED),
        (P.FAILED, 1, {"ephemeral": True}, Progress.FINISHED),
        (P.FAILED, 1, {"daemon": True}, Progress.FAILED),
        (P.FAILED, 1, {"daemon": True, "ephemeral": True}, Progress.FINISHED),
        (P.LOST, 0, {}, Progress.THROTTLED),
        (P.LOST, 1, {"max_failures": 2}, Progress.THROTTLED),
        (P.KILLED, 0, {}, Progress.THROTTLED),
        (P.KILLED, 5, {"max_failures": 1}, Progress.THROTTLED),
    ],
)
def test_what_the_end_of_a_run_makes_of_its_process(
    state: ProcessState, failures: int, options: dict[str, object], expected: Progress
) -> None:
    plan = plan_of(process("a", **options))
    take_all(plan)
    assert plan.ended("a", state, failures, failures + 1) is expected
    assert plan.progress["a"] is expected


def test_a_wait_that_is_over_makes_ready_and_any_other_does_nothing() -> None:
    plan = plan_of(process("a", daemon=True), process("b"))
    take_all(plan)
    plan.ended("a", P.SUCCESS, 0, 1)
    assert take_all(plan) == []
    plan.due("a")
    plan.due("b")
    assert take_all(plan) == ["a"]


def test_a_failed_predecessor_blocks_for_ever_and_the_plan_is_stuck() -> None:
    plan = plan_of(process("a"), process("b"), process("c"), order=("a b c",))
    take_all(plan)
    plan.ended("a", P.FAILED, 1, 1)
    assert (plan.is_stuck, plan.is_complete, plan.failed) == (True, False, 1)


def test_an_ephemeral_that_failed_counts_as_finished_and_unblocks() -> None:
    plan = plan_of(process("a", ephemeral=True), process("b", ephemeral=True), order=("a b",))
    assert take_all(plan) == ["a"]
    plan.ended("a", P.FAILED, 1, 1)
    assert (plan.failed, take_all(plan)) == (0, ["b"])


def test_a_plan_of_ephemerals_is_complete_at_once_and_an_empty_one_too() -> None:
    assert plan_of(process("a", ephemeral=True)).is_complete
    assert plan_of().is_complete
    assert not plan_of().is_stuck


def test_a_daemon_keeps_its_plan_from_being_complete() -> None:
    plan = plan_of(process("a", daemon=True), process("b"))
    take_all(plan)
    plan.ended("b", P.SUCCESS, 0, 1)
    plan.ended("a", P.SUCCESS, 0, 1)
    assert (plan.is_complete, plan.is_stuck) == (False, False)


@pytest.mark.parametrize("state", [P.FAILED, P.LOST, P.SUCCESS])
def test_the_cap_of_runs_gives_a_process_up(state: ProcessState) -> None:
    plan = plan_of(process("a", daemon=True, max_failures=0))
    for run in range(1, RUN_CAP):
        take_all(plan)
        assert plan.ended("a", state, run, run) is Progress.THROTTLED
        plan.due("a")
    take_all(plan)
    assert plan.ended("a", state, RUN_CAP, RUN_CAP) is Progress.FAILED
    assert (plan.failed, RUN_CAP) == (1, 100)


def test_an_ephemeral_given_up_at_the_cap_counts_as_no_failure_and_unblocks_nobody() -> None:
    plan = plan_of(process("a", ephemeral=True, daemon=True), process("b", ephemeral=True), order=("a b",))
    take_all(plan)
    assert plan.ended("a", P.LOST, 0, RUN_CAP) is Progress.FAILED
    assert (plan.failed, take_all(plan), plan.is_complete) == (0, [], True)


def test_a_success_in_the_last_run_before_the_cap_is_a_success() -> None:
    plan = plan_of(process("a", max_failures=0))
    take_all(plan)
    assert plan.ended("a", P.SUCCESS, 99, RUN_CAP) is Progress.FINISHED


def test_a_back_off_lifts_the_cap() -> None:
    plan = plan_of(process("a", max_failures=0), uncapped=("a",))
    take_all(plan)
    assert plan.ended("a", P.FAILED, 5000, 5000) is Progress.THROTTLED


# -- against a model -----------------------------------------------------------------------------------------------


class Model:
    """The rules as they are written down, worked out anew from the whole history at every question."""

    def __init__(self, processes: list[Process], edges: list[tuple[str, str]]) -> None:
        self.processes = {each.name: each for each in processes}
        self.edges = edges
        self.ends: dict[str, list[ProcessState]] = {name: [] for name in self.processes}
        self.active: set[str] = set()
        self.rested: set[str] = set()

    def progress(self, name: str) -> Progress:
        process, ends = self.processes[name], self.ends[name]
        if name in self.active:
            return Progress.ACTIVE
        if ends:
            failures = ends.count(P.FAILED)
            if ends[-1] is P.SUCCESS and not process.daemon:
                return Progress.FINISHED
            if ends[-1] is P.FAILED and process.max_failures and failures >= process.max_failures:
                return Progress.FINISHED if process.ephemeral else Progress.FAILED
            return Progress.READY if name in self.rested else Progress.THROTTLED
        before = [first for first, second in self.edges if second == name]
        return Progress.READY if all(self.progress(b) is Progress.FINISHED for b in before) else Progress.BLOCKED

    def ready(self) -> list[str]:
        return [name for name in self.processes if self.progress(name) is Progress.READY]

    def is_complete(self) -> bool:
        over = (Progress.FINISHED, Progress.FAILED)
        return all(process.ephemeral or self.progress(name) in over for name, process in self.processes.items())

    def is_stuck(self) -> bool:
        moving = (Progress.ACTIVE, Progress.READY, Progress.THROTTLED)
        return not self.is_complete() and not any(self.progress(name) in moving for name in self.processes)

    def failed(self) -> int:
        return sum(self.progress(name) is Progress.FAILED for name in self.processes)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Process], list[tuple[str, ...]]]:
    """Processes in any order, and chains that only lead one way through a hidden order."""
    count = draw(st.integers(1, 7))
    names = [f"p{number}" for number in range(count)]
    hidden = draw(st.permutations(names))
    processes = [
        process(
            name,
            daemon=draw(st.booleans()),
            ephemeral=draw(st.booleans()),
            max_failures=draw(st.integers(0, 3)),
        )
        for name in names
    ]
    subsets = st.lists(st.sampled_from(range(count)), min_size=2, max_size=4, unique=True).map(sorted)
    chains = draw(st.lists(subsets, max_size=5)) if count > 1 else []
    return processes, [tuple(hidden[place] for place in chain) for chain in chains]


@settings(deadline=None, max_examples=200)
@given(graphs(), st.data())
def test_any_graph_and_any_outcomes_agree_with_the_model(
    graph: tuple[list[Process], list[tuple[str, ...]]], data: st.DataObject
) -> None:
    processes, chains = graph
    plan = Plan(processes, map(Constraint, chains))
    model = Model(processes, [edge for chain in chains for edge in pairwise(chain)])
    for _ in range(data.draw(st.integers(0, 40))):
        assert plan.progress == {name: model.progress(name) for name in model.processes}
        assert plan.is_complete == model.is_complete()
        assert plan.is_stuck == model.is_stuck()
        assert (plan.active, plan.failed) == (len(model.active), model.failed())
        ready = model.ready()
        assert plan.take_ready() == (ready[0] if ready else None)
        throttled = [name for name in model.processes if model.progress(name) is Progress.THROTTLED]
        steps = [("start", name) for name in ready]
        steps += [("end", name) for name in sorted(model.active)]
        steps += [("due", name) for name in throttled]
        if not steps:
            return
        step, name = data.draw(st.sampled_from(steps))
        if step == "start":
            plan.started(name)
            model.active.add(name)
            model.rested.discard(name)
        elif step == "due":
            plan.due(name)
            model.rested.add(name)
        else:
            state = data.draw(st.sampled_from([P.SUCCESS, P.FAILED, P.FAILED, P.KILLED, P.LOST]))
            model.active.discard(name)
            model.ends[name].append(state)
            ends = model.ends[name]
            plan.ended(name, state, ends.count(P.FAILED), len(ends))


def test_thousands_of_processes_cost_linear_time() -> None:
    count = 5000
    names = [f"p{number}" for number in range(count)]
    plan = plan_of(*map(process, names), order=(" ".join(names),))
    for name in names:
        assert take_all(plan) == [name]
        plan.ended(name, P.SUCCESS, 0, 1)
    assert plan.is_complete
