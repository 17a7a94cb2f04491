"""Stories of tasks that are killed, run out of time, or lose their runner: at every stage."""

from __future__ import annotations

import pytest

from tests.support.machines import T0, Story, process, task
from thermos.core.events import KillRequested, LaunchDelayed, Recovered
from thermos.core.machine import UNKILLABLE_S
from thermos.records import TaskStatus
from thermos.schema import Task
from thermos.states import ProcessState, TaskState

P = ProcessState
T = TaskState


def kill(story: Story, end: TaskState = T.KILLED, budget_s: float | None = None) -> list[str]:
    return story.on(KillRequested(end, "somebody wants it", budget_s))


def recover(story: Story) -> list[str]:
    story.crash()
    return story.on(Recovered())


def with_finalizer(finalization_wait: int = 30) -> Task:
    return task("a", process("f", final=True), finalization_wait=finalization_wait)


# -- the budget ----------------------------------------------------------------------------------------------------


def test_finalizers_that_take_too_long_are_killed_and_change_nothing() -> None:
    story = Story(with_finalizer(finalization_wait=3))
    story.start()
    story.run("a")
    story.succeed("a")
    story.run("f")
    story.later(3)
    assert story.due("deadline") == ["> kill f", f"> wake unkillable in {UNKILLABLE_S:g}"]
    assert story.killed("f") == [
        *["f#3 KILLED", "SUCCESS", "> wake process:f in 0"],
        *["> sweep -9", "> finish SUCCESS"],
    ]


def test_cleaning_up_that_takes_all_the_time_leaves_none_for_finalizers() -> None:
    story = Story(task("a", process("e", ephemeral=True), process("f", final=True), finalization_wait=3))
    story.start()
    story.run("a")
    story.run("e")
    assert story.succeed("a")[-1] == "> terminate e"
    assert story.due("deadline") == ["> kill e", "> wake unkillable in 10"]
    assert story.killed("e")[:2] == ["e#3 KILLED", "SUCCESS"]
    assert story.machine.run_of("f") is None


def test_no_time_to_finalize_means_none() -> None:
    story = Story(with_finalizer(finalization_wait=0))
    story.start()
    story.run("a")
    assert "> wake deadline in 0" in story.succeed("a")
    story.run("f")
    assert story.due("deadline")[0] == "> kill f"


def test_what_cannot_be_killed_does_not_keep_the_task_for_ever() -> None:
    story = Story(task("a"))
    story.start()
    story.run("a")
    kill(story, budget_s=0)
    assert story.due("unkillable") == [
        *["note: could not be killed: pid 200, of process a", "a#3 KILLED", "KILLED", "> wake process:a in 0"],
        *["> sweep -9", "> finish KILLED"],
    ]
    run = story.machine.run_of("a")
    assert run is not None
    assert run.reason == "it could not be killed"
    assert story.killed("a") == []


# -- kills ---------------------------------------------------------------------------------------------------------


def test_a_kill_asks_processes_to_end_and_then_finalizes() -> None:
    story = Story(with_finalizer())
    story.start()
    story.run("a")
    assert kill(story) == ["CLEANING as KILLED", "> wake deadline in 30", "> sweep", "> terminate a"]
    assert story.killed("a") == [
        *["a#3 KILLED", "FINALIZING as KILLED", "f#0 WAITING"],
        *["> wake process:a in 0", "> sweep -9", "> launch f run 0"],
    ]
    story.run("f")
    assert story.succeed("f") == ["f#3 SUCCESS", "KILLED", "> sweep -9", "> finish KILLED"]
    assert story.machine.state.statuses[-1].reason == "somebody wants it"


@pytest.mark.parametrize(
    "own_s, budget_s, expected_s",
    [(30, None, 30), (30, 60.0, 30), (100, 60.0, 60), (30, 5.0, 5), (0, 60.0, 0)],
)
def test_the_budget_of_a_kill_is_the_tasks_own_capped_by_what_was_passed(
    own_s: int, budget_s: float | None, expected_s: float
) -> None:
    story = Story(task("a", finalization_wait=own_s))
    story.start()
    story.run("a")
    assert f"> wake deadline in {expected_s}" in kill(story, budget_s=budget_s)
    assert story.machine.state.statuses[-1].deadline_ms == (T0 + expected_s) * 1000


def test_a_process_that_ends_well_when_killed_does_not_save_the_task() -> None:
    story = Story(task("a"))
    story.start()
    story.run("a")
    kill(story)
    assert story.succeed("a")[:3] == ["a#3 SUCCESS", "FINALIZING as KILLED", "KILLED"]


def test_a_kill_before_anything_has_begun_starts_nothing_more() -> None:
    story = Story(with_finalizer())
    story.start()
    assert kill(story)[:2] == ["CLEANING as KILLED", "FINALIZING as KILLED"]
    assert story.machine.run_of("a") is not None
    assert story.due("launch:a") == []
    assert not story.machine.may_launch("a")
    assert story.machine.may_launch("f")


def test_when_all_was_killed_nothing_is_launched_though_others_are_still_dying() -> None:
    story = Story(task("a", process("f", final=True), process("g", final=True)))
    story.start()
    story.run("a")
    story.succeed("a")
    story.run("f")
    story.on(LaunchDelayed("g", "no pids", 1.0))
    kill(story, budget_s=0)
    assert (story.state, story.machine.may_launch("g")) == (T.FINALIZING, False)
    assert story.due("launch:g") == []


def test_a_run_that_comes_up_while_the_task_is_ending_is_asked_to_end_at_once() -> None:
    story = Story(task("a"))
    story.start()
    story.forked("a")
    assert kill(story) == ["CLEANING as KILLED", "> wake deadline in 30", "> sweep", "> terminate a"]
    assert story.report("a", P.RUNNING) == ["a#2 RUNNING", "> terminate a"]


def test_a_run_that_comes_up_when_all_was_killed_is_killed() -> None:
    story = Story(task("a"))
    story.start()
    story.forked("a")
    kill(story, budget_s=0)
    assert story.report("a", P.RUNNING) == ["a#2 RUNNING", "> kill a"]


def test_a_coordinator_gone_before_its_command_began_in_a_kill_is_killed_not_lost() -> None:
    story = Story(task("a"))
    story.start()
    story.forked("a")
    kill(story)
    assert story.gone("a")[:2] == ["a#2 KILLED", "FINALIZING as KILLED"]


def test_a_kill_while_cleaning_shortens_the_time_and_never_stretches_it() -> None:
    story = Story(task("a", finalization_wait=10))
    story.start()
    story.run("a")
    kill(story)
    story.later(4)
    assert kill(story, budget_s=2) == ["CLEANING as KILLED", "> wake deadline in 2"]
    assert kill(story, budget_s=60) == ["CLEANING as KILLED", "> wake deadline in 2"]


def test_a_kill_while_finalizing_lets_finalizers_go_on_and_forces_the_end() -> None:
    story = Story(with_finalizer(finalization_wait=10))
    story.start()
    story.run("a")
    story.succeed("a")
    story.run("f")
    story.later(4)
    assert kill(story) == ["FINALIZING as KILLED", "> wake deadline in 6"]
    assert story.succeed("f")[:2] == ["f#3 SUCCESS", "KILLED"]


@pytest.mark.parametrize("stage", ["ACTIVE", "CLEANING", "FINALIZING"])
def test_a_kill_without_budget_is_immediate_at_every_stage(stage: str) -> None:
    story = Story(with_finalizer())
    story.start()
    story.run("a")
    live = "a"
    if stage == "CLEANING":
        kill(story)
    elif stage == "FINALIZING":
        story.succeed("a")
        story.run(live := "f")
    assert story.state is not None
    assert story.state.name == stage
    lines = kill(story, T.LOST, budget_s=0)
    assert lines[-2:] == [f"> kill {live}", "> wake unkillable in 10"]
    assert story.killed(live)[1] == "LOST"
    assert story.machine.is_over


def test_a_second_kill_changes_how_it_ends_and_the_first_reason_gives_way() -> None:
    story = Story(task("a"))
    story.start()
    story.run("a")
    kill(story)
    kill(story, T.LOST, budget_s=0)
    assert story.killed("a")[:2] == ["a#3 KILLED", "LOST"]


def test_a_kill_of_what_is_over_is_nothing() -> None:
    story = Story(task("a"))
    story.start()
    story.run("a")
    story.succeed("a")
    assert kill(story, budget_s=0) == []


# -- recovery ------------------------------------------------------------------------------------------------------


def test_recovery_from_nothing_is_a_start() -> None:
    story = Story(task("a"))
    assert recover(story) == ["ACTIVE", "header", "a#0 WAITING", "> launch a run 0"]


def test_a_stream_that_ends_before_its_header_gets_one() -> None:
    story = Story(task("a"))
    story.start()
    del story.log[1:]
    assert recover(story)[:2] == ["ACTIVE", "header"]


def test_a_fork_that_was_not_recorded_is_done_again_as_the_same_run() -> None:
    story = Story(task("a"))
    story.start()
    assert recover(story) == ["ACTIVE", "> launch a run 0"]
    assert story.forked("a") == ["a#1 FORKED", "> release a"]


@pytest.mark.parametrize("running", [False, True])
def test_a_run_under_way_is_left_alone_and_heard_of(running: bool) -> None:
    story = Story(task("a"))
    story.start()
    story.forked("a")
    if running:
        story.report("a", P.RUNNING)
    assert recover(story) == ["ACTIVE"]
    if not running:
        assert story.report("a", P.RUNNING) == ["a#2 RUNNING"]
    assert story.succeed("a")[0] == "a#3 SUCCESS"
    assert story.state is T.SUCCESS


def test_a_wait_goes_on_from_when_it_began() -> None:
    story = Story(task(process("a", max_failures=2, min_duration=10)))
    story.start()
    story.run("a")
    story.fail("a")
    story.later(4)
    assert recover(story) == ["ACTIVE", "> wake process:a in 6"]
    assert story.due("process:a") == ["a#4 WAITING", "> launch a run 1"]


def test_what_was_ready_but_not_launched_is_launched() -> None:
    story = Story(task("a", "b", order=["a b"]))
    story.start()
    story.run("a")
    story.succeed("a")
    del story.log[-1]
    assert recover(story) == ["ACTIVE", "b#0 WAITING", "> launch b run 0"]


def test_recovery_while_cleaning_asks_again_and_keeps_the_deadline_and_the_end() -> None:
    story = Story(task("a"))
    story.start()
    story.run("a")
    kill(story)
    story.later(10)
    assert recover(story) == ["CLEANING as KILLED", "> wake deadline in 20", "> sweep", "> terminate a"]
    story.later(10)
    assert recover(story)[1] == "> wake deadline in 10"
    assert story.killed("a")[:3] == ["a#3 KILLED", "FINALIZING as KILLED", "KILLED"]


def test_recovery_while_finalizing_leaves_a_finalizer_running() -> None:
    story = Story(with_finalizer())
    story.start()
    story.run("a")
    story.succeed("a")
    story.run("f")
    story.later(1)
    assert recover(story) == ["FINALIZING", "> wake deadline in 29"]
    assert story.succeed("f")[:2] == ["f#3 SUCCESS", "SUCCESS"]


def test_recovery_between_finalizing_and_the_first_finalizer_launches_it() -> None:
    story = Story(with_finalizer())
    story.start()
    story.run("a")
    story.succeed("a")
    assert recover(story) == ["FINALIZING", "> wake deadline in 30", "> launch f run 0"]
    del story.log[-2:]
    assert recover(story) == ["FINALIZING", "f#0 WAITING", "> wake deadline in 30", "> launch f run 0"]


def test_recovery_does_not_launch_what_was_waiting_when_the_task_was_killed() -> None:
    story = Story(task("a", "b"))
    story.start()
    story.run("b")
    kill(story)
    assert recover(story) == ["CLEANING as KILLED", "> wake deadline in 30", "> sweep", "> terminate b"]


def test_recovery_of_a_task_that_should_have_ended_ends_it() -> None:
    story = Story(task("a"))
    story.start()
    story.run("a")
    story.succeed("a")
    del story.log[-3:]
    assert recover(story)[:4] == ["ACTIVE", "CLEANING", "FINALIZING", "SUCCESS"]


@pytest.mark.parametrize("jump_s, left_s", [(1e6, 0), (-1e6, 30)])
def test_a_clock_that_jumps_ends_the_time_at_most_and_never_stretches_it(jump_s: float, left_s: float) -> None:
    story = Story(task("a"))
    story.start()
    story.run("a")
    kill(story)
    story.later(jump_s)
    assert recover(story)[1] == f"> wake deadline in {left_s:g}"


def test_a_task_of_the_original_has_no_deadline_and_gets_one_that_stays() -> None:
    story = Story(task("a", finalization_wait=30))
    story.start()
    story.run("a")
    story.log.append(TaskStatus(T.CLEANING, int(T0 * 1000), 1, 0))
    story.later(10)
    assert recover(story)[1] == "> wake deadline in 20"
    story.later(10)
    assert recover(story)[1] == "> wake deadline in 10"
