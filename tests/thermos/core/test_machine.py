"""Stories of tasks that end by themselves: events in, records and actions out, literal and in order."""

from __future__ import annotations

import pytest

from tests.support.machines import Story, process, task
from thermos.core.events import Due, LaunchDelayed, Noted, Reported
from thermos.core.planner import RUN_CAP
from thermos.records import Note, ProcessStatus, TaskStatus
from thermos.schema import Backoff, ProcessExtension
from thermos.states import ProcessState, TaskState

P = ProcessState
T = TaskState

#: What the end of a task without finalizers decides, from the record of its last process on.
SUCCEEDS = ["CLEANING", "> wake deadline in 30", "> sweep"]
FINALIZES = ["FINALIZING", "> sweep -9"]


def ends(end: str) -> list[str]:
    """What is decided when nothing regular is left and there are no finalizers: all states in one step."""
    return [
        *["CLEANING", "FINALIZING", end],
        *["> wake deadline in 30", "> sweep", "> sweep -9", "> sweep -9", f"> finish {end}"],
    ]


def test_one_process_to_its_end() -> None:
    story = Story(task("a"))
    assert story.start() == ["ACTIVE", "header", "a#0 WAITING", "> launch a run 0"]
    assert story.forked("a") == ["a#1 FORKED", "> release a"]
    assert story.report("a", P.RUNNING) == ["a#2 RUNNING"]
    assert story.succeed("a") == ["a#3 SUCCESS", *ends("SUCCESS")]


def test_the_header_follows_the_first_state_as_the_original_writes_it() -> None:
    story = Story(task("a"))
    story.start()
    assert [type(record).__name__ for record in story.log[:2]] == ["TaskStatus", "RunnerHeader"]


def test_an_order_is_kept() -> None:
    story = Story(task("c", "b", "a", order=["a b c"]))
    assert story.start() == ["ACTIVE", "header", "a#0 WAITING", "> launch a run 0"]
    story.run("a")
    assert story.succeed("a") == ["a#3 SUCCESS", "b#0 WAITING", "> launch b run 0"]
    story.run("b")
    assert story.succeed("b") == ["b#3 SUCCESS", "c#0 WAITING", "> launch c run 0"]
    story.run("c")
    assert story.succeed("c") == ["c#3 SUCCESS", *ends("SUCCESS")]


def test_what_is_independent_starts_together() -> None:
    story = Story(task("a", "b"))
    assert story.start() == [
        *["ACTIVE", "header", "a#0 WAITING", "b#0 WAITING"],
        *["> launch a run 0", "> launch b run 0"],
    ]


def test_a_failed_run_is_tried_again_after_min_duration() -> None:
    story = Story(task(process("a", max_failures=2, min_duration=5)))
    story.start()
    story.run("a")
    assert story.fail("a") == ["a#3 FAILED", "> wake process:a in 5"]
    assert story.due("process:a") == ["a#4 WAITING", "> launch a run 1"]
    assert story.run("a") == ["a#5 FORKED", "> release a", "a#6 RUNNING"]
    assert story.fail("a") == ["a#7 FAILED", *ends("FAILED")]


def test_a_daemon_runs_again_after_success_and_keeps_the_task_alive() -> None:
    story = Story(task(process("d", daemon=True, min_duration=1), "a"))
    story.start()
    story.run("a")
    assert story.succeed("a") == ["a#3 SUCCESS"]
    story.run("d")
    assert story.succeed("d") == ["d#3 SUCCESS", "> wake process:d in 1"]
    assert story.due("process:d") == ["d#4 WAITING", "> launch d run 1"]
    assert story.state is T.ACTIVE


def test_a_daemon_that_fails_for_good_ends_the_task() -> None:
    story = Story(task(process("d", daemon=True)))
    story.start()
    story.run("d")
    assert story.fail("d") == ["d#3 FAILED", *ends("FAILED")]


def test_an_ephemeral_is_asked_to_end_when_the_rest_is_done() -> None:
    story = Story(task(process("e", ephemeral=True, daemon=True), "a"))
    story.start()
    story.run("e")
    story.run("a")
    assert story.succeed("a") == ["a#3 SUCCESS", *SUCCEEDS, "> terminate e"]
    assert story.killed("e") == [
        *["e#3 KILLED", "FINALIZING", "SUCCESS"],
        *["> wake process:e in 0", "> sweep -9", "> sweep -9", "> finish SUCCESS"],
    ]
    assert story.due("process:e") == []


def test_an_ephemeral_that_fails_harms_nobody() -> None:
    story = Story(task(process("e", ephemeral=True), "a"))
    story.start()
    story.run("e")
    assert story.fail("e") == ["e#3 FAILED"]
    story.run("a")
    assert story.succeed("a")[-1] == "> finish SUCCESS"


def test_a_task_of_ephemerals_is_over_at_once() -> None:
    story = Story(task(process("e", ephemeral=True)))
    assert story.start() == ["ACTIVE", "header", *ends("SUCCESS")]


def test_finalizers_run_after_all_others_in_their_own_order() -> None:
    story = Story(task(process("g", final=True), process("f", final=True), "a", order=["f g"]))
    assert story.start() == ["ACTIVE", "header", "a#0 WAITING", "> launch a run 0"]
    story.run("a")
    assert story.succeed("a") == [
        *["a#3 SUCCESS", "CLEANING", "FINALIZING", "f#0 WAITING"],
        *["> wake deadline in 30", "> sweep", "> sweep -9", "> launch f run 0"],
    ]
    story.run("f")
    assert story.succeed("f") == ["f#3 SUCCESS", "g#0 WAITING", "> launch g run 0"]
    story.run("g")
    assert story.succeed("g") == ["g#3 SUCCESS", "SUCCESS", "> sweep -9", "> finish SUCCESS"]


def test_a_failed_finalizer_stops_the_next_and_leaves_success() -> None:
    story = Story(task(process("f", final=True), process("g", final=True), "a", order=["f g"]))
    story.start()
    story.run("a")
    story.succeed("a")
    story.run("f")
    assert story.fail("f") == ["f#3 FAILED", "SUCCESS", "> sweep -9", "> finish SUCCESS"]


def test_a_finalizer_is_tried_again_too() -> None:
    story = Story(task(process("f", final=True, max_failures=2), "a"))
    story.start()
    story.run("a")
    story.succeed("a")
    story.run("f")
    assert story.fail("f") == ["f#3 FAILED", "> wake process:f in 0"]
    assert story.due("process:f") == ["f#4 WAITING", "> launch f run 1"]


def test_finalizers_run_after_a_failure_and_do_not_mend_it() -> None:
    story = Story(task(process("f", final=True), "a"))
    story.start()
    story.run("a")
    assert "f#0 WAITING" in story.fail("a")
    story.run("f")
    assert story.succeed("f") == ["f#3 SUCCESS", "FAILED", "> sweep -9", "> finish FAILED"]


def test_a_failed_process_without_dependants_only_counts() -> None:
    story = Story(task("a", "b", max_failures=0))
    story.start()
    story.run("a")
    story.run("b")
    assert story.fail("a") == ["a#3 FAILED"]
    assert story.succeed("b") == ["b#3 SUCCESS", *ends("SUCCESS")]


def test_the_limit_of_failures_ends_the_task_while_others_run() -> None:
    story = Story(task("a", "b", "c", max_failures=2))
    story.start()
    for name in "abc":
        story.run(name)
    assert story.fail("a") == ["a#3 FAILED"]
    assert story.fail("b") == ["b#3 FAILED", *SUCCEEDS, "> terminate c"]
    assert story.killed("c")[-1] == "> finish FAILED"


def test_a_failed_predecessor_fails_the_task_though_the_limit_is_not_reached() -> None:
    story = Story(task("a", "b", "c", order=["a b c"], max_failures=2))
    story.start()
    story.run("a")
    story.succeed("a")
    story.run("b")
    assert story.fail("b") == ["b#3 FAILED", *ends("FAILED")]
    last = story.machine.state.statuses[-1]
    assert last.reason == "stuck: what is left waits for a process that failed"
    assert story.machine.run_of("c") is None


def test_what_failed_is_named_in_the_reason() -> None:
    story = Story(task("a", "b"))
    story.start()
    story.run("a")
    story.fail("a")
    assert story.machine.state.statuses[-1].reason == "failed: a"


def test_max_concurrency_holds_the_rest_back() -> None:
    story = Story(task("a", "b", "c", max_concurrency=1))
    assert story.start()[2:] == ["a#0 WAITING", "> launch a run 0"]
    assert story.run("a") == ["a#1 FORKED", "> release a", "a#2 RUNNING"]
    assert story.succeed("a") == ["a#3 SUCCESS", "b#0 WAITING", "> launch b run 0"]


def test_a_throttled_process_leaves_its_place_to_others() -> None:
    story = Story(task(process("a", max_failures=2, min_duration=9), "b", max_concurrency=1))
    story.start()
    story.run("a")
    assert story.fail("a") == ["a#3 FAILED", "b#0 WAITING", "> wake process:a in 9", "> launch b run 0"]
    assert story.due("process:a") == []
    story.run("b")
    assert story.succeed("b") == ["b#3 SUCCESS", "a#4 WAITING", "> launch a run 1"]


@pytest.mark.parametrize("capped", [True, False])
def test_a_hundred_runs_are_the_most_and_a_back_off_lifts_that(capped: bool) -> None:
    extension = ProcessExtension(backoff=Backoff(initial_s=1, factor=1, max_s=1, jitter=0))
    story = Story(
        task(process("a", max_failures=0), "keep", extensions={} if capped else {"a": extension}, max_failures=2)
    )
    story.start()
    story.run("keep")
    for _ in range(RUN_CAP - 1):
        story.run("a")
        assert story.fail("a")[-1].startswith("> wake process:a")
        story.due("process:a")
    story.run("a")
    last = story.fail("a")
    assert last == ["a#399 FAILED"] if capped else ["a#399 FAILED", "> wake process:a in 1"]


def test_kills_from_outside_use_up_no_runs() -> None:
    story = Story(task("a"))
    story.start()
    for _ in range(RUN_CAP + 5):
        story.run("a")
        assert story.killed("a")[-1] == "> wake process:a in 0"
        story.due("process:a")
    story.run("a")
    assert story.succeed("a")[-1] == "> finish SUCCESS"


# -- launching -----------------------------------------------------------------------------------------------------


def test_a_launch_that_cannot_succeed_is_a_failed_run_that_never_began() -> None:
    story = Story(task(process("a", max_failures=2, min_duration=5)))
    story.start()
    assert story.launch_failed("a") == ["a#1 FAILED", "> wake process:a in 5"]
    assert story.due("process:a") == ["a#2 WAITING", "> launch a run 1"]


def test_a_delayed_launch_is_the_same_run_again() -> None:
    story = Story(task("a"))
    story.start()
    assert story.on(LaunchDelayed("a", "no pids", 1.0)) == ["> wake launch:a in 1"]
    assert story.due("launch:a") == ["> launch a run 0"]
    assert story.forked("a") == ["a#1 FORKED", "> release a"]
    assert story.due("launch:a") == []


# -- coordinators that die -----------------------------------------------------------------------------------------


def test_a_coordinator_gone_before_its_command_began_is_lost_and_tried_again_at_once() -> None:
    story = Story(task(process("a", min_duration=5)))
    story.start()
    story.forked("a")
    assert story.gone("a") == ["a#2 LOST", "> kill a", "> wake process:a in 0"]
    assert story.due("process:a") == ["a#3 WAITING", "> launch a run 1"]
    story.forked("a")
    assert story.gone("a") == ["a#5 LOST", "> kill a", "> wake process:a in 5"]


def test_a_coordinator_gone_later_is_lost_kills_its_run_and_waits_min_duration() -> None:
    story = Story(task(process("a", min_duration=5)))
    story.start()
    story.run("a")
    assert story.gone("a") == ["a#3 LOST", "> kill a", "> wake process:a in 5"]
    run = story.machine.run_of("a")
    assert run is not None
    assert run.reason == "its coordinator died"
    assert story.gone("a") == []


def test_a_coordinator_gone_after_it_told_the_end_changes_nothing() -> None:
    story = Story(task(process("a", daemon=True)))
    story.start()
    story.run("a")
    story.succeed("a")
    assert story.gone("a") == []


def test_lost_runs_are_no_failures() -> None:
    story = Story(task("a"))
    story.start()
    for _ in range(3):
        story.run("a")
        story.gone("a")
        story.due("process:a")
    story.run("a")
    assert story.succeed("a")[-1] == "> finish SUCCESS"


# -- what is told twice, late or wrong -----------------------------------------------------------------------------


def test_what_is_told_twice_is_recorded_once() -> None:
    story = Story(task(process("a", daemon=True)))
    story.start()
    story.run("a")
    status = ProcessStatus(3, "a", P.SUCCESS, return_code=0, stop_time=1.0)
    assert story.on(Reported(status)) == ["a#3 SUCCESS", "> wake process:a in 0"]
    assert story.on(Reported(status)) == []
    assert story.on(Reported(ProcessStatus(2, "a", P.RUNNING))) == []
    note = Note(1, "log", "full", "a")
    assert story.on(Noted(note)) == ["note: full"]
    assert story.on(Noted(note)) == []


def test_a_report_of_a_process_nobody_knows_is_passed_over() -> None:
    story = Story(task("a"))
    story.start()
    assert story.on(Reported(ProcessStatus(0, "x", P.WAITING))) == []


def test_a_wait_nobody_knows_is_passed_over() -> None:
    story = Story(task("a"))
    story.start()
    assert [story.on(Due(key)) for key in ("", "deadline", "process:x", "launch:x", "process:a", "x")] == [[]] * 6


def test_a_record_that_cannot_follow_changes_nothing_and_is_told_once() -> None:
    """A coordinator's stream may be forged, or damaged: that must not end the runner."""
    story = Story(task("a"))
    story.start()
    before = len(story.log)
    for seq, state in ((1, P.RUNNING), (7, P.SUCCESS), (2, P.RUNNING)):
        story.on(Reported(ProcessStatus(seq, "a", state)))
    (note,) = story.log[before:]
    assert isinstance(note, Note)
    assert note.text.startswith("its coordinator's record 1, RUNNING, cannot follow record 0, WAITING;")
    assert (note.kind, note.process) == ("stream", "a")


def test_each_task_status_names_its_runner_and_the_time() -> None:
    story = Story(task("a"))
    story.start()
    assert story.log[0] == TaskStatus(T.ACTIVE, 1_000_000, runner_pid=42, runner_uid=0)
