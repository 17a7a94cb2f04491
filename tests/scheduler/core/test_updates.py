"""What updates are made of: their moves, order, groups, what one instance needs; which are taken."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.commands import AddInstances, CreateJob, KillTasks, RestartShards, ScheduleCronJob, StartJobUpdate
from scheduler.core.submission import Invalid
from scheduler.core.update_queries import details_of, summaries
from scheduler.core.update_request import UNCHANGED, plan
from scheduler.core.updates import MOVES, Rules, Step, Strategy, decide, way_back, work_order
from scheduler.model import Health, config_of
from scheduler.states import ACTIVE, ScheduleStatus
from tests.support.updates import Updated, batch, batches, only, request, settings
from tests.support.world import JOB, World, job_of, task_config
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    BatchJobUpdateStrategy,
    JobUpdateKey,
    JobUpdateQuery,
    JobUpdateRequest,
    JobUpdateStatus,
    JobUpdateStrategy,
    QueueJobUpdateStrategy,
    Range,
    ResponseCode,
)

_U = JobUpdateStatus
OLD = config_of(task_config())
NEW = config_of(task_config(priority=7))

#: By hand, from Aurora's ``JobUpdateStateMachine``.
LEGAL = {
    "ROLLING_FORWARD": "ROLLING_BACK ROLL_FORWARD_PAUSED ROLL_FORWARD_AWAITING_PULSE ROLLED_FORWARD FAILED "
    "ABORTED ERROR",
    "ROLLING_BACK": "ROLL_BACK_PAUSED ROLL_BACK_AWAITING_PULSE ROLLED_BACK ABORTED ERROR FAILED",
    "ROLL_FORWARD_PAUSED": "ROLLING_FORWARD ROLL_FORWARD_AWAITING_PULSE ROLLING_BACK ABORTED ERROR",
    "ROLL_BACK_PAUSED": "ROLLING_BACK ROLL_BACK_AWAITING_PULSE ABORTED ERROR",
    "ROLL_FORWARD_AWAITING_PULSE": "ROLLING_FORWARD ROLL_FORWARD_PAUSED ROLLING_BACK ABORTED ERROR",
    "ROLL_BACK_AWAITING_PULSE": "ROLLING_BACK ROLL_BACK_PAUSED ABORTED ERROR",
}


@pytest.mark.parametrize(("old", "new"), list(product(_U, _U)))
def test_moves(old: JobUpdateStatus, new: JobUpdateStatus) -> None:
    assert (new in MOVES[old]) is (new.name in LEGAL.get(old.name, "").split())


# -- order and groups --------------------------------------------------------------------------------------------------


def test_the_order_of_work_and_of_the_way_back() -> None:
    order = work_order({1, 2, 7, 5}, {0, 1, 2, 9})
    assert order == [0, 9, 1, 2, 5, 7]
    assert way_back(order, {0, 9, 1}) == [1, 9, 0]


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 30), st.integers(0, 4)
)  # fmt: skip
def test_groups_hold_every_instance_once_and_the_way_back_is_their_mirror(
    sizes: list[int], count: int, canaries: int
) -> None:
    strategy = Strategy(tuple(sizes), canaries=canaries)
    groups = strategy.groups(range(count))
    assert [one for group in groups for one in group] == list(range(count))
    begun = 0
    for number, group in enumerate(groups):
        assert strategy.groups_before(begun) == number
        assert strategy.may_begin(begun, 0) >= len(group)
        assert strategy.may_begin(begun, 1) == 0
        begun += len(group)
    back = strategy.mirrored(count).groups(range(count))
    if len(sizes) > 1 or canaries:
        assert [len(group) for group in back] == [len(group) for group in reversed(groups)]


def test_a_queue_begins_one_for_each_that_is_done() -> None:
    queue = Strategy((3,), is_queue=True)
    assert [queue.may_begin(begun, working) for begun, working in [(0, 0), (3, 3), (3, 2), (5, 0)]] == [3, 0, 1, 3]
    canaries = Strategy((3,), is_queue=True, canaries=1)
    assert [canaries.may_begin(begun, working) for begun, working in [(0, 0), (1, 1), (1, 0), (4, 2)]] == [1, 0, 3, 1]


# -- one instance ------------------------------------------------------------------------------------------------------


def task(status: ScheduleStatus, config: Any = NEW, at_ms: int = 1000, health: str | None = Health.CHECKED) -> Any:
    world = World()
    (found,) = world.run()
    event = found.events[-1]._replace(at_ms=at_ms, status=status)
    return found._replace(config=config, status=status, events=(event,), health=health)


@pytest.mark.parametrize("status", sorted(ACTIVE))
def test_what_is_not_wanted_is_killed_once(status: ScheduleStatus) -> None:
    for target in (None, NEW):
        found = decide(target, task(status, OLD), 0, Rules(), 0, 4000)
        assert found.step is (Step.WAIT if status is ScheduleStatus.KILLING else Step.KILL)


@pytest.mark.parametrize("status", sorted(ACTIVE))
def test_what_is_wanted_is_waited_for(status: ScheduleStatus) -> None:
    found = decide(NEW, task(status), 0, Rules(), 0, 4000)
    assert found.step is (Step.DONE if status is ScheduleStatus.RUNNING else Step.WAIT)
    assert (found.reason is None) is (found.step is Step.DONE)


def test_what_is_not_there() -> None:
    assert decide(NEW, None, 0, Rules(), 0, 4000).step is Step.CREATE
    assert decide(None, None, 0, Rules(), 0, 4000).step is Step.DONE


@pytest.mark.parametrize(
    ("min_wait_ms", "health", "left_ms"),
    [(0, Health.CHECKED, 0), (0, Health.UNCHECKED, 41_000), (0, None, 41_000), (10_000, None, 6000),
     (10_000, Health.CHECKED, 6000), (4000, None, 0)],
)  # fmt: skip
def test_how_long_it_must_run(min_wait_ms: int, health: str | None, left_ms: int) -> None:
    found = decide(NEW, task(ScheduleStatus.RUNNING, health=health), 0, Rules(min_wait_ms), 0, 4000)
    assert (found.step, found.after_ms) == (Step.LOOK_AGAIN if left_ms else Step.DONE, left_ms)


def test_failures_and_deadlines() -> None:
    waiting = task(ScheduleStatus.STARTING)
    assert decide(NEW, waiting, 2, Rules(0, 2), 0, 4000).step is Step.WAIT
    assert decide(NEW, waiting, 3, Rules(0, 2), 0, 4000).step is Step.FAILED
    assert decide(NEW, waiting, 0, Rules(0, 0, 6000), 4000, 4000)[::2] == (Step.LOOK_AGAIN, 2000)
    late = decide(NEW, waiting, 0, Rules(0, 0, 6000), 6000, 6000)
    assert late == (Step.FAILED, "it was not updated within 6 s: its task is starting, and not yet healthy", 0)
    running = task(ScheduleStatus.RUNNING)
    assert decide(NEW, running, 0, Rules(0, 0, 6000), 8000, 8000).step is Step.DONE
    assert decide(NEW, waiting, 0, Rules(0, 0, 6000), None, 9000).step is Step.WAIT, "the clock stands"
    old = task(ScheduleStatus.RUNNING, OLD)
    assert decide(NEW, old, 0, Rules(0, 0, 6000), 9000, 9000).step is Step.KILL, "if only it may go"
    assert decide(None, old._replace(status=ScheduleStatus.KILLING), 0, Rules(0, 0, 6000), 9000, 0).step is Step.FAILED
    assert decide(NEW, old._replace(status=ScheduleStatus.KILLING), 0, Rules(0, 0, 6000), 9000, 0).step is Step.WAIT


# -- what is taken -----------------------------------------------------------------------------------------------------


def refusal(world: World, asked: Any) -> tuple[str, ...]:
    """Why it is refused; nothing has changed."""
    before = len(world.changes)
    answer = world.command(StartJobUpdate(asked, None, "ann"))
    assert answer.code is ResponseCode.INVALID_REQUEST
    assert answer.result is None
    assert len(world.changes) == before
    return answer.messages


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"update_group_size": 0}, "updateGroupSize must be 1 or more, not 0"),
        ({"update_group_size": -1}, "updateGroupSize must be 1 or more, not -1"),
        ({"update_strategy": batch(0)}, "groupSize of the batchStrategy must be 1 or more, not 0"),
        ({"update_strategy": JobUpdateStrategy(QueueJobUpdateStrategy(-2))},
         "groupSize of the queueStrategy must be 1 or more, not -2"),
        ({"update_strategy": batches()}, "groupSizes of the varBatchStrategy is empty: name one at least"),
        ({"update_strategy": batches(1, 0, -3)},
         "groupSizes of the varBatchStrategy must each be 1 or more, not 0, -3"),
        ({"update_strategy": JobUpdateStrategy()},
         "updateStrategy must be one of queue, batch and varBatch, not 0 of them"),
        ({"update_strategy": JobUpdateStrategy(QueueJobUpdateStrategy(1), BatchJobUpdateStrategy(1))},
         "updateStrategy must be one of queue, batch and varBatch, not 2 of them"),
        ({"max_per_instance_failures": -1}, "maxPerInstanceFailures must be 0 or more, not -1"),
        ({"max_failed_instances": -1}, "maxFailedInstances must be 0 or more, not -1"),
        ({"min_wait_in_instance_running_ms": -1}, "minWaitInInstanceRunningMs must be 0 or more, not -1"),
        ({"block_if_no_pulses_after_ms": 0}, "blockIfNoPulsesAfterMs must be 1 or more, or not be set, not 0"),
        ({"max_per_instance_failures": 10_001},
         "maxPerInstanceFailures allows 20002 failures in all, and 20000 are the most that may be"),
        ({"sla_aware": True}, "slaAware needs an SLA policy, and the task has none"),
        ({"canary_count": 0}, "canaryCount must be 1 or more, or not be set, not 0"),
        ({"canary_promote_after_ms": 5}, "canaryPromoteAfterMs is set, and canaryCount is not: how many canaries?"),
        ({"progress_deadline_ms": 10, "min_wait_in_instance_running_ms": 10},
         "progressDeadlineMs (10) must be more than minWaitInInstanceRunningMs (10)"),
        ({"update_only_these_instances": (Range(3, 1),)},
         "updateOnlyTheseInstances has a range from 3 to 1: no instances are in it"),
        ({"update_only_these_instances": (Range(0, 2_000_000_000),)},
         "updateOnlyTheseInstances has the instance 2000000000: no job has so many"),
        ({"update_only_these_instances": only(1, 5)},
         "updateOnlyTheseInstances has instances that the job neither has nor will have: 5"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(more: dict[str, Any], said: str) -> None:
    world = World()
    world.run(instances=2)
    assert refusal(world, request(2, **more)) == (said,)


def test_all_that_is_wrong_is_said_at_once() -> None:
    world = World()
    world.run()
    messages = refusal(
        world, request(0, config={"is_service": False}, update_group_size=0, max_failed_instances=-1)
    )  # fmt: skip
    assert messages == (
        "a job has 1 to 4000 instances, not 0",
        "updateGroupSize must be 1 or more, not 0",
        "maxFailedInstances must be 0 or more, not -1",
        "only services can be updated: instances of this job end by themselves",
    )
    assert refusal(world, JobUpdateRequest()) == ("the update has no task configuration",)
    assert refusal(world, JobUpdateRequest(task_config(), 1)) == ("the update has no settings",)


def test_an_unchanged_job() -> None:
    world = World()
    world.run(instances=2)
    answer = world.command(StartJobUpdate(JobUpdateRequest(task_config(), 2, settings()), None, "ann"))
    assert answer == (ResponseCode.OK, (UNCHANGED,), None)
    assert not world.engine.state.updates


def test_an_update_over_an_update_is_told_which() -> None:
    """A client whose answer was lost asks again, and finds its own mark in what is under way."""
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2)
    for asked in (request(2), request(5, config={"priority": 1}), JobUpdateRequest(task_config(), 2, settings())):
        answer = world.command(StartJobUpdate(asked, None, "bob"))
        assert answer.code is ResponseCode.INVALID_REQUEST
        assert "is being updated already, by ann" in answer.messages[0]
        assert answer.result is not None
        result = answer.result.start_job_update_result
        assert result is not None
        assert result.key == JobUpdateKey(wire.JobKey(*JOB), update)
        assert result.update_summary is not None
        assert result.update_summary.metadata == (wire.Metadata("id", "client-1"),)
        assert result.update_summary.state is not None
        assert result.update_summary.state.status is JobUpdateStatus.ROLLING_FORWARD
    assert len(world.engine.state.updates) == 1


def test_nothing_else_changes_a_job_that_is_being_updated() -> None:
    world = Updated()
    world.run(instances=2)
    update = world.start(instances=2)
    for command in (
        KillTasks(JOB, None, None, "bob"), RestartShards(JOB, frozenset({1}), "bob"), AddInstances(JOB, 1, 1, "bob"),
    ):  # fmt: skip
        answer = world.command(command)
        assert answer.code is ResponseCode.JOB_UPDATING_ERROR
        assert update in answer.messages[0]
    world.client("abort", update)
    assert world.kill().code is ResponseCode.OK
    new = world.start(instances=3, job=JOB._replace(name="other"))
    assert new
    answer = world.command(CreateJob(job_of(JOB._replace(name="other")), "bob"))
    assert answer.code is not ResponseCode.OK


def test_quota_counts_the_update() -> None:
    world = World()
    answer = world.command(StartJobUpdate(request(3, config={"tier": "preferred"}), None, "ann"))
    assert answer.code is ResponseCode.INVALID_REQUEST
    assert answer.messages[0].startswith("Quota of role www exceeded: 3 cpu wanted, 0 allowed")


def test_an_operator_says_how_many_failures_an_update_may_allow() -> None:
    world = World(max_update_instance_failures=3)
    world.run(instances=2)
    assert refusal(world, request(2, max_per_instance_failures=2)) == (
        "maxPerInstanceFailures allows 4 failures in all, and 3 are the most that may be",
    )
    assert world.command(StartJobUpdate(request(2, max_per_instance_failures=1), None, "ann")).code is ResponseCode.OK


@pytest.mark.parametrize("why", ["cron", "under way", "quota", "too many", "no settings"])
def test_a_plan_is_refused_where_the_update_would_be_and_with_the_same_words(why: str) -> None:
    world = Updated(max_tasks_per_job=3)
    asked = request(2)
    if why == "cron":
        cron = job_of(JOB, 1, is_service=False)._replace(cron_schedule="* * * * *")
        assert world.command(ScheduleCronJob(cron, "ann")).code is ResponseCode.OK
    elif why == "under way":
        world.run(instances=2)
        world.start(instances=2)
    elif why == "quota":
        asked = request(2, config={"tier": "preferred"})
    elif why == "too many":
        world.run(instances=3)
        world.kill(instances=frozenset({0}))
        world.end_killed()
        world = Updated(world.settings, world.engine.state, world.now, max_tasks_per_job=2)
        asked = request(2, update_only_these_instances=only(0))
    else:
        asked = asked._replace(settings=None)
    with pytest.raises(Invalid) as error:
        plan(world.engine.state, asked, world.settings)
    assert error.value.problems
    assert error.value.problems == refusal_words(world, asked)


def refusal_words(world: World, asked: Any) -> tuple[str, ...]:
    answer = world.command(StartJobUpdate(asked, None, "ann"))
    assert answer.code is ResponseCode.INVALID_REQUEST
    return answer.messages


def test_a_plan() -> None:
    world = World()
    world.run(instances=4)
    asked = request(6, update_strategy=batches(1, 2))
    assert plan(world.engine.state, asked, world.settings) == ((4,), (5, 0), (1, 2), (3,))
    assert not world.engine.state.updates


# -- looking -----------------------------------------------------------------------------------------------------------


def test_summaries_by_what_was_asked() -> None:
    world = Updated()
    world.run()
    first = world.start(config={"priority": 1})
    world.roll(first)
    world.pass_s(5)
    second = world.start(config={"priority": 2})
    state = world.engine.state

    def found(**query: Any) -> list[str | None]:
        return [one.key.id for one in summaries(state, JobUpdateQuery(**query)) if one.key is not None]

    job = wire.JobKey(*JOB)
    assert found() == found(offset=0, limit=0, update_statuses=()) == [second, first], "the newest first"
    assert found(limit=1) == [second]
    assert found(offset=1) == [first]
    assert found(update_statuses=(JobUpdateStatus.ROLLED_FORWARD,)) == [first]
    assert found(role="www", job_key=job, key=JobUpdateKey(job, first)) == [first]
    assert found(role="other") == found(user="bob") == found(key=JobUpdateKey(job, "none")) == []
    assert found(user="ann", job_key=job) == [second, first]
    (details,) = details_of(state, JobUpdateQuery(key=JobUpdateKey(job, second)), world.now.wall_ms)
    assert details.update is not None
    assert details.update.instructions is not None
    assert details.update.instructions.settings is not None
    strategy = details.update.instructions.settings.update_strategy
    assert strategy == JobUpdateStrategy(queue_strategy=QueueJobUpdateStrategy(1)), "filled in, as clients read it"
    assert details.waits is not None
    assert details.waits[0].instance_id == 0
