"""Cron jobs: each time of a schedule starts one run, whatever happens to scheduler, clock and the run before."""

from __future__ import annotations

import pytest

from scheduler.core.changes import CronRun, DropCronRun, PutCronJob, PutCronRun, PutQuota, PutTask
from scheduler.core.commands import CreateJob, DescheduleCronJob, ScheduleCronJob, StartCronJob
from scheduler.core.events import DiskFull, DiskHasRoom, Kill, Now, Woke
from scheduler.core.state import State
from scheduler.model import JobKey, Resources
from scheduler.states import ScheduleStatus
from tests.support.cron import Clock, cron_job
from tests.support.world import JOB, World, job_of, offer
from thermos.formats.aurora_api import CronCollisionPolicy, JobConfiguration, ResponseCode

_, CANCEL, OVERLAP = CronCollisionPolicy
MINUTE_S = 60.0


def run_task(world: World, job: JobKey = JOB) -> None:
    """The job's tasks that wait run now."""
    world.offers(*(offer(number + 1) for number in range(len(world.tasks(job)))))
    world.pass_s(0.1)
    for task in world.tasks(job):
        world.status(task, "RUNNING")
    world.taken()


# -- scheduling --------------------------------------------------------------------------------------------------------


def test_a_job_starts_at_its_time() -> None:
    world = Clock()
    assert world.schedule(instances=2).code is ResponseCode.OK
    world.pass_s(29.9)
    assert world.created() == []
    world.pass_s(0.2)
    assert world.created() == ["12:00:00", "12:00:00"]
    assert [task.instance for task in world.tasks()] == [0, 1]
    assert world.engine.state.cron_runs[JOB].at_ms == world.now.wall_ms // 60_000 * 60_000
    assert world.count("triggers") == 1


def test_what_is_durable_with_a_run_is_that_its_time_is_over() -> None:
    world = Clock()
    world.schedule()
    world.changes.clear()
    world.pass_s(31)
    (run,) = [change for change in world.changes if isinstance(change, PutCronRun)]
    at = world.changes.index(run)
    assert isinstance(world.changes[at + 1], PutTask)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (cron_job("0 0 * * 7"), "day of week: 7 is not within 0-6"),
        (cron_job("0 0 0 * * *"), "has 6 fields"),
        (cron_job(policy=OVERLAP), "RUN_OVERLAP is not supported"),
        (cron_job(is_service=True), "a service cannot have a cron schedule"),
        (cron_job(instances=0), "1 to 4000 instances"),
        (job_of(is_service=False), "no cron schedule"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_with_the_reason(given: JobConfiguration, words: str) -> None:
    world = Clock()
    answer = world.command(ScheduleCronJob(given, "ann"))
    assert answer.code is ResponseCode.INVALID_REQUEST
    assert words in " ".join(answer.messages)
    assert not world.engine.state.cron_jobs


def test_all_problems_are_said_at_once() -> None:
    answer = Clock().schedule("60 * * * 7", policy=OVERLAP, instances=0)
    assert len(answer.messages) == 4, answer.messages


def test_a_job_that_runs_already_cannot_be_scheduled() -> None:
    world = Clock()
    world.create()
    answer = world.schedule()
    assert "already exists" in answer.messages[0]


def test_a_cron_job_is_neither_created_nor_grown() -> None:
    world = Clock()
    world.schedule()
    assert world.create().code is ResponseCode.INVALID_REQUEST
    assert (
        world.command(CreateJob(cron_job(job=JobKey("www", "prod", "x")), "ann")).code is ResponseCode.INVALID_REQUEST
    )


def test_quota_is_for_the_largest_of_template_and_run() -> None:
    world = Clock()
    world.engine.state.apply(PutQuota("www", Resources(2000, 10_000, 10_000)))
    assert world.schedule(instances=3, tier="preferred").messages[0].startswith("Quota of role www exceeded")
    assert world.schedule(instances=2, tier="preferred").code is ResponseCode.OK
    other = JobKey("www", "prod", "other")
    assert world.create(other, 1, tier="preferred").code is ResponseCode.INVALID_REQUEST
    # What is replaced does not count beside its successor.
    assert world.schedule(instances=1, tier="preferred").code is ResponseCode.OK
    assert world.create(other, 1, tier="preferred").code is ResponseCode.OK


def test_a_template_is_replaced_and_what_runs_goes_on() -> None:
    world = Clock()
    world.schedule()
    world.pass_s(31)
    (task,) = world.tasks()
    assert world.schedule("30 * * * *", instances=3, policy=CANCEL).code is ResponseCode.OK
    assert world.tasks() == [task]
    world.pass_s(30 * MINUTE_S)
    assert world.tasks() == [task], "12:30, and it still runs"
    world.pass_s(31 * MINUTE_S)
    assert world.count("triggers") == 2, "13:00 is of the old schedule"


def test_only_what_is_there_is_replaced_by_whoever_says_so() -> None:
    world = Clock()
    answer = world.command(ScheduleCronJob(cron_job(), "ann", is_replacement=True))
    assert answer.messages == ("Job www/prod/web is not scheduled with cron",)
    world.schedule()
    assert world.command(ScheduleCronJob(cron_job("1 * * * *"), "ann", is_replacement=True)).code is ResponseCode.OK


def test_a_time_that_has_just_come_is_not_lost_to_a_replacement() -> None:
    world = Clock()
    world.schedule()
    world.now = Now(world.now.wall_ms + 30_001, world.now.mono_s + 30.001)  # nobody woke the engine yet
    world.schedule("30 * * * *")
    assert world.created() == ["12:00:00"]
    world.pass_s(60)
    assert len(world.created()) == 1


def test_descheduled_it_starts_no_more_and_what_runs_goes_on() -> None:
    world = Clock()
    world.schedule()
    world.pass_s(31)
    (task,) = world.tasks()
    assert world.command(DescheduleCronJob(JOB, "ann")).code is ResponseCode.OK
    assert not world.engine.state.cron_jobs
    assert isinstance(world.changes[-1], DropCronRun)
    world.pass_s(3 * 3600)
    assert world.tasks() == [task]
    again = world.command(DescheduleCronJob(JOB, "ann"))
    assert again.messages == ("Job www/prod/web is not scheduled with cron",)


# -- collisions --------------------------------------------------------------------------------------------------------


def test_kill_existing_starts_the_next_run_when_the_last_task_is_gone() -> None:
    world = Clock()
    world.schedule(instances=2)
    world.pass_s(31)
    run_task(world)
    first, second = world.tasks()
    world.pass_s(3600)
    assert {kill.task_id for kill in world.taken(Kill)} == {first.task_id, second.task_id}
    assert world.engine.state.cron_runs[JOB].is_waiting
    world.status(first, "KILLED")
    world.pass_s(1)
    assert [task.task_id for task in world.tasks()] == [second.task_id]
    world.status(second, "KILLED")
    world.pass_s(0)
    assert [task.status for task in world.tasks()] == [ScheduleStatus.PENDING] * 2
    assert not world.engine.state.cron_runs[JOB].is_waiting
    assert world.count("collisions") == 1


def test_kill_existing_needs_no_wait_where_nothing_was_launched() -> None:
    world = Clock()
    world.schedule()
    world.pass_s(31)
    (first,) = world.tasks()
    world.pass_s(3600)
    assert first.task_id not in world.engine.state.tasks
    assert world.created() == ["13:00:00"]


def test_kill_existing_waits_no_longer_than_mesos_is_waited_for() -> None:
    world = Clock()
    world.schedule()
    world.pass_s(31)
    run_task(world)
    world.pass_s(3600 + 310)
    assert world.statuses() == ["LOST", "PENDING"]


def test_a_time_that_comes_while_a_run_waits_adds_none() -> None:
    world = Clock(transient_task_state_timeout_s=3600.0)
    world.schedule("* * * * *")
    world.pass_s(31)
    run_task(world)
    (task,) = world.tasks()
    world.pass_s(5 * MINUTE_S)
    assert world.count("concurrent_runs") == 4
    world.status(task, "KILLED")
    world.pass_s(1)
    assert world.statuses() == ["KILLED", "PENDING"]


def test_a_run_that_waits_survives_the_scheduler() -> None:
    world = Clock()
    world.schedule()
    world.pass_s(31)
    run_task(world)
    world.pass_s(3600)
    other = world.fail_over(20)
    (task,) = other.tasks()
    other.status(task, "KILLED")
    other.pass_s(0)
    assert other.statuses() == ["KILLED", "PENDING"]


def test_a_run_that_waited_begins_with_who_leads_next_if_the_former_one_ended_unseen() -> None:
    world = Clock()
    world.schedule()
    world.engine.state.apply(PutCronRun(JOB, CronRun(world.now.wall_ms, is_waiting=True)))
    other = world.fail_over(1)
    other.pass_s(2)
    assert len(other.tasks()) == 1


def test_cancel_new_leaves_what_runs_alone() -> None:
    world = Clock()
    world.schedule(policy=CANCEL)
    world.pass_s(31)
    run_task(world)
    (task,) = world.tasks()
    world.pass_s(3600)
    assert [one.task_id for one in world.tasks()] == [task.task_id]
    assert world.count("collisions") == 1
    world.status(task, "FINISHED")
    world.pass_s(10)
    assert world.tasks() == [], "the time is over"
    world.pass_s(3600)
    assert len(world.tasks()) == 1


def test_a_failed_run_is_tried_again_as_often_as_it_may_fail() -> None:
    world = Clock()
    world.schedule(max_task_failures=2)
    world.pass_s(31)
    run_task(world)
    world.status(world.task(), "FAILED")
    assert world.statuses() == ["FAILED", "THROTTLED"]


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_started_by_hand_it_runs_now_and_at_its_time() -> None:
    world = Clock("11:30:00")
    world.schedule()
    assert world.command(StartCronJob(JOB, "ann")).code is ResponseCode.OK
    assert world.created() == ["11:30:00"]
    world.pass_s(31 * MINUTE_S)
    assert world.created() == ["12:00:00"]


def test_started_by_hand_it_obeys_its_collision_policy() -> None:
    world = Clock("11:30:00")
    world.schedule(policy=CANCEL)
    world.command(StartCronJob(JOB, "ann"))
    (task,) = world.tasks()
    answer = world.command(StartCronJob(JOB, "ann"))
    assert answer.code is ResponseCode.OK, "as Aurora's, whose clients take this for a success"
    words = "www/prod/web still runs, and its cron_collision_policy is CANCEL_NEW: nothing is started"
    assert answer.messages == (words,)
    assert world.tasks() == [task]


def test_started_by_hand_it_says_what_becomes_of_the_run_that_is_under_way() -> None:
    world = Clock("11:30:00")
    world.schedule()
    assert world.command(StartCronJob(JOB, "ann")).messages == ()
    run_task(world)
    (task,) = world.tasks()
    assert world.command(StartCronJob(JOB, "ann")).messages == (
        "www/prod/web still runs: the running one is ended first",
    )
    assert world.command(StartCronJob(JOB, "ann")).messages == (
        "www/prod/web still runs, and its next run waits for the end of this one: no other is added",
    )
    world.status(task, "KILLED")
    world.pass_s(1)
    assert world.statuses() == ["KILLED", "PENDING"]


def test_what_is_not_scheduled_cannot_be_started() -> None:
    answer = Clock().command(StartCronJob(JOB, "ann"))
    assert answer.messages == ("Job www/prod/web is not scheduled with cron",)
    assert answer.code is ResponseCode.INVALID_REQUEST


# -- nobody leads, clocks are set --------------------------------------------------------------------------------------


def test_who_leads_next_soon_enough_starts_it_late_and_once() -> None:
    world = Clock()
    world.schedule()
    other = world.fail_over(50)  # 12:00:20
    other.pass_s(2)
    assert other.created() == ["12:00:21"]
    assert other.engine.state.cron_runs[JOB].missed == 0
    another = other.fail_over(10)
    another.pass_s(600)
    assert len(another.created()) == 1


def test_what_was_missed_is_told_and_not_made_up_for() -> None:
    world = Clock()
    world.schedule("*/10 * * * *")
    other = world.fail_over(35 * MINUTE_S)  # 12:34:30
    assert other.engine.take_notes() == []
    other.pass_s(2)
    assert other.created() == []
    (note,) = other.engine.take_notes()
    assert note == (
        "www/prod/web missed 4 of its runs, the last at 2026-05-01T12:30+00:00: nobody led, or the clock was set;"
        " not made up for"
    )
    assert other.count("misfires") == 4
    run = other.engine.state.cron_runs[JOB]
    assert (run.missed, run.missed_at_ms) == (4, run.at_ms)
    other.pass_s(6 * MINUTE_S)
    assert other.created() == ["12:40:00"]
    assert other.engine.state.cron_runs[JOB].missed == 4


def test_with_the_flag_a_missed_job_runs_once_for_all_that_was_missed() -> None:
    world = Clock(cron_run_missed=True)
    world.schedule("*/10 * * * *")
    other = world.fail_over(35 * MINUTE_S)
    other.pass_s(2)
    assert other.created() == ["12:34:31"]
    assert "it is run once" in other.engine.take_notes()[0]
    another = other.fail_over(1)
    another.pass_s(2)
    assert len(another.created()) == 1


def test_a_clock_that_is_set_back_repeats_nothing() -> None:
    world = Clock()
    world.schedule("*/10 * * * *")
    world.pass_s(31)
    world.set_clock("2026-05-01T11:15:00+00:00")
    world.pass_s(50 * MINUTE_S)  # 12:05
    assert world.created() == ["12:00:00"]
    world.pass_s(6 * MINUTE_S)
    assert world.created() == ["12:10:00"], "12:00 was over"


def test_a_clock_that_is_set_forward_is_noticed_within_half_a_minute() -> None:
    world = Clock()
    world.schedule("0 13 * * *")
    world.pass_s(5)
    world.set_clock("2026-05-01T12:59:58+00:00")
    world.pass_s(31)
    assert len(world.created()) == 1
    assert world.engine.state.cron_runs[JOB].missed == 0


def test_a_clock_that_was_wrong_by_years_ends_no_schedule() -> None:
    world = Clock()
    world.schedule()
    world.set_clock("2050-01-01T00:30:00+00:00")
    world.pass_s(MINUTE_S)
    world.set_clock("2026-05-01T12:59:00+00:00")
    world.pass_s(2 * MINUTE_S)
    assert world.created() == ["13:00:00"]


def test_a_job_that_was_moved_in_is_followed_from_now_on() -> None:
    state = State()
    state.apply(PutCronJob(JOB, cron_job()))
    world = Clock(state=state)
    world.pass_s(31 * MINUTE_S + 31)
    assert world.created() == ["12:00:00"]
    assert world.count("misfires") == 0


def test_a_job_that_was_moved_in_and_cannot_run_is_told_of() -> None:
    state = State()
    other = JobKey("www", "prod", "other")
    state.apply(PutCronJob(JOB, cron_job("0 0 * * 7")))
    state.apply(PutCronJob(other, cron_job(job=other, tier="none such")))
    world = Clock(state=state)
    notes = world.engine.take_notes()
    assert any("will not run" in note and "day of week: 7" in note for note in notes)
    world.pass_s(61)
    assert "there is no tier 'none such'" in world.engine.take_notes()[-1]
    metrics = world.engine.metrics()
    assert (metrics["cron_job_launch_failures"], metrics["cron_jobs_loaded"]) == (1, 1)
    assert world.count("parse_failures") == 1
    assert world.command(StartCronJob(other, "ann")).code is ResponseCode.INVALID_REQUEST


def test_what_could_not_be_made_durable_comes_again() -> None:
    world = Clock()
    world.schedule()
    world.now = Now(world.now.wall_ms + 30_500, world.now.mono_s + 30.5)
    decided = world.engine.handle(Woke(), world.now)
    assert any(isinstance(change, PutTask) for change in decided.changes)
    world.engine.undo(world.now)
    world.handle(DiskFull())
    assert world.created() == []
    assert world.engine.wake_at_s is None, "a full disk is not tried all the time"
    world.handle(DiskHasRoom())
    world.pass_s(2)
    assert world.created() == ["12:00:01"]


def test_without_cron_jobs_nobody_looks_at_the_clock() -> None:
    world, other = Clock(), Clock()
    world.schedule("0 0 1 1 *")
    for one in (world, other):
        one.pass_s(3000)
    assert world.engine.wake_at_s != other.engine.wake_at_s
    world.command(DescheduleCronJob(JOB, "ann"))
    world.pass_s(31)
    other.pass_s(31)
    assert world.engine.wake_at_s == other.engine.wake_at_s


def test_thousands_at_once_leave_room_for_others() -> None:
    world = Clock()
    for number in range(1200):
        key = JobKey("www", "prod", f"job{number}")
        world.engine.state.apply(PutCronJob(key, cron_job(job=key)))
        world.engine.state.apply(PutCronRun(key, CronRun(world.now.wall_ms)))
    world = world.fail_over(0)
    world.pass_s(29)
    world.now = Now(world.now.wall_ms + 1000, world.now.mono_s + 1)
    decided = world.engine.handle(Woke(), world.now)
    world.engine.committed()
    assert len(decided.changes) <= 600
    world.pass_s(1)
    assert len(world.engine.state.tasks) == 1200
