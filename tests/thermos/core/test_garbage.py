"""The youngest survive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from thermos.core.garbage import Candidate, Limits, choose

tasks_ = st.lists(
    st.builds(Candidate, st.just("/r"), st.text("ab", max_size=3), st.floats(0, 100), st.integers(0, 100)),
    max_size=12,
    unique_by=lambda task: task.task_id,
)
limits_ = st.builds(
    Limits,
    st.none() | st.floats(0, 100),
    st.none() | st.integers(0, 12),
    st.none() | st.integers(0, 400),
)


def task(name: str, age_s: float, size: int = 1) -> Candidate:
    return Candidate("/r", name, age_s, size)


@given(tasks_, limits_)
def test_whoever_stays_is_younger_than_whoever_goes_and_the_limits_hold(tasks: list[Candidate], limits: Limits) -> None:
    gone = [victim.task for victim in choose(tasks, limits)]
    stay = [task for task in tasks if task not in gone]
    assert max((task.age_s for task in stay), default=0.0) <= min((task.age_s for task in gone), default=100.0)
    if limits.max_age_s is not None:
        assert all(task.age_s <= limits.max_age_s for task in stay)
    if limits.max_tasks is not None:
        assert len(stay) <= limits.max_tasks
    if limits.max_space_bytes is not None:
        assert sum(task.size_bytes for task in stay) <= limits.max_space_bytes


@given(tasks_, limits_)
def test_nobody_goes_without_need(tasks: list[Candidate], limits: Limits) -> None:
    """The youngest of those that go would have broken a limit."""
    gone = choose(tasks, limits)
    if not gone:
        return
    first = gone[0].task
    stay = [task for task in tasks if task not in [victim.task for victim in gone]]
    assert (
        (limits.max_age_s is not None and first.age_s > limits.max_age_s)
        or (limits.max_tasks is not None and len(stay) + 1 > limits.max_tasks)
        or (limits.max_space_bytes is not None and sum(t.size_bytes for t in [*stay, first]) > limits.max_space_bytes)
    )


def test_without_limits_all_stay() -> None:
    assert choose([task("a", 1e9, 10**15)], Limits()) == []


def test_space_keeps_the_youngest_which_the_original_deleted() -> None:
    tasks = [task("old", 3.0, 5), task("new", 1.0, 5), task("mid", 2.0, 5)]
    assert [(victim.task.task_id, victim.limit) for victim in choose(tasks, Limits(max_space_bytes=10))] == [
        ("old", "space")
    ]


def test_the_limit_that_says_so_is_named() -> None:
    tasks = [task("a", 1.0), task("b", 2.0), task("c", 50.0)]
    assert [(v.task.task_id, v.limit) for v in choose(tasks, Limits(max_age_s=10.0, max_tasks=1))] == [
        ("b", "tasks"), ("c", "age"),
    ]  # fmt: skip
