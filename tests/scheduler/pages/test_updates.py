"""From updates that were and one that is under way to what pages say of them."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.core.changes import PutUpdate
from scheduler.core.commands import SetQuota
from scheduler.model import JobKey, Resources
from scheduler.pages import collect_job, collect_updates
from scheduler.pages.collect_updates import _settings
from scheduler.pages.pages import UpdatePage
from tests.support.paged import WEB, updated_world, view_of
from tests.support.updates import Updated, batch, batches, only, settings
from thermos.formats.assigned_task import CountSlaPolicy, SlaPolicy
from thermos.formats.aurora_api import (
    JobUpdate,
    JobUpdateDetails,
    JobUpdateState,
    JobUpdateStatus,
    JobUpdateSummary,
)


@pytest.fixture(scope="module")
def told() -> tuple[Updated, str, str]:
    return updated_world()


def update(world: Updated, update_id: str, **query: str) -> UpdatePage:
    picked = collect_updates.pick_update(view_of(world), WEB, update_id)
    assert picked is not None
    return collect_updates.update_page(picked, query)


def test_a_job_s_updates(told: tuple[Updated, str, str]) -> None:
    world, over, active = told
    picked = collect_job.pick_job(view_of(world), WEB)
    assert picked is not None
    rows = collect_job.job_page(picked, {}, "").updates
    assert [(row.update_id, row.state, row.user) for row in rows] == [
        (active, "ROLLING_FORWARD", "ann"),
        (over, "ROLLED_FORWARD", "ann"),
    ]
    assert rows[0].href == f"/scheduler/www/prod/web/update/{active}"
    assert rows[1].began_s is not None and rows[1].since_s is not None and rows[0].began_s is not None
    assert rows[1].began_s <= rows[1].since_s < rows[0].began_s


def test_an_update_under_way(told: tuple[Updated, str, str]) -> None:
    world, _, active = told
    page = update(world, active)
    assert page.is_active
    assert {one.state: one.count for one in page.progress} == {"UPDATED": 1, "UPDATING": 1, "UNTOUCHED": 4}
    found = {row.instance: (row.state, row.why) for row in page.instances}
    assert found[5] == ("UPDATED", None)
    assert found[0] == ("UPDATING", "its task was given to an agent, which has not started it yet")
    assert found[4] == ("UNTOUCHED", None)
    assert [(event.state, event.user) for event in page.events][:2] == [
        ("ROLL_FORWARD_AWAITING_PULSE", "ann"),
        ("ROLLING_FORWARD", None),
    ]
    assert page.desired is not None and (page.desired.instances, page.desired.priority) == ("0-5", 9)
    assert [(config.instances, config.priority) for config in page.initial] == [("0-4", 7)]
    assert [(one.name, one.value) for one in page.metadata] == [("id", "client-1")]


def test_an_update_that_is_over(told: tuple[Updated, str, str]) -> None:
    world, over, _ = told
    page = update(world, over)
    assert (page.is_active, page.update.state) == (False, "ROLLED_FORWARD")
    assert {one.state: one.count for one in page.progress} == {"UPDATED": 5}
    assert {row.why for row in page.instances} == {None}


def test_an_update_that_is_held_up_by_a_promise() -> None:
    """Instance 0 is gone, and has no place yet: none of the others may go."""
    policy = SlaPolicy(count_sla_policy=CountSlaPolicy(3, 0))
    world = Updated(min_required_instances_for_sla_check=2)
    world.command(SetQuota("www", Resources(10**6, 10**6, 10**6), "root"))
    world.run(instances=4, tier="preferred", sla_policy=policy)
    world.pass_s(60)
    held = world.start(4, config={"tier": "preferred", "sla_policy": policy}, sla_aware=True, update_group_size=2)
    assert world.end_killed() == [0]
    rows = {row.instance: row.why for row in update(world, held).instances}
    assert rows[0] is not None and rows[0].startswith("its task waits for room on an agent")
    assert rows[1] is not None and rows[1].startswith("its old task may not go yet: ")


def test_none_of_that_id(told: tuple[Updated, str, str]) -> None:
    world, over, _ = told
    assert collect_updates.pick_update(view_of(world), WEB, "no") is None
    assert collect_updates.pick_update(view_of(world), JobKey("a", "b", "c"), over) is None


@pytest.mark.parametrize(
    "given, name, words",
    [
        ({}, "At once", "1 instance, the next as soon as one is done"),
        ({"update_group_size": 3, "wait_for_batch_completion": True}, "At once", "batches of 3"),
        ({"update_strategy": batch(4, True)}, "At once", "batches of 4; pauses after each"),
        ({"update_strategy": batches(1, 2)}, "At once", "batches of 1, 2, the last size again and again"),
        ({}, "Is done",
         "when its task is healthy; where its executor does not say that it checks, when it has run for 45 s"),
        ({"min_wait_in_instance_running_ms": 1500}, "Is done", "when its task has run for 1.5 s"),
        ({"progress_deadline_ms": 60_000}, "Has failed", "when it is not done within 60 s"),
        ({"max_per_instance_failures": 1, "max_failed_instances": 2}, "May fail",
         "the task of an instance 1 time, and 2 instances"),
        ({}, "Else", "it is rolled back"),
        ({"rollback_on_failure": False}, "Else", "it ends, and all stays as it is then"),
        ({"update_only_these_instances": only(1, 7)}, "Only", "instances 1, 7"),
        ({"block_if_no_pulses_after_ms": 5000}, "Pulse", "it waits when none has come for 5 s"),
        ({"sla_aware": True}, "SLA", "old tasks go only as their SLA policy allows"),
        ({"canary_count": 2}, "Canaries", "2 instances first, the others when somebody resumes the update"),
        ({"canary_count": 1, "canary_promote_after_ms": 9000}, "Canaries",
         "1 instance first, the others after they ran for 9 s"),
    ],
)  # fmt: skip
def test_settings_in_words(given: dict[str, Any], name: str, words: str) -> None:
    assert dict(_settings(settings(**given)))[name] == words


def test_an_old_update_that_says_little_of_a_job_that_is_gone() -> None:
    world = Updated()
    key = JobKey("www", "prod", "gone")
    for number, details in enumerate((
        JobUpdateDetails(),
        JobUpdateDetails(JobUpdate(JobUpdateSummary(state=JobUpdateState(JobUpdateStatus.ABORTED)))),
    )):  # fmt: skip
        world.engine.state.apply(PutUpdate(key, f"old-{number}", details))
    picked = collect_job.pick_job(view_of(world), key)
    assert picked is not None
    page = collect_job.job_page(picked, {}, "")
    assert [(row.update_id, row.state, row.began_s) for row in page.updates] == [
        ("old-1", "ABORTED", None), ("old-0", "ERROR", None),
    ]  # fmt: skip
    seen = collect_updates.pick_update(view_of(world), key, "old-0")
    assert seen is not None
    old = collect_updates.update_page(seen, {})
    assert (old.is_active, old.instances, old.desired, old.initial, old.events) == (False, (), None, (), ())
