"""From cron jobs and hosts that are maintained to what pages say of them."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.core.changes import CronRun, DropMaintenance, PutCronJob, PutCronRun, PutHost, PutQuota
from scheduler.core.commands import DrainHosts, StartMaintenance
from scheduler.model import Mode, Resources
from scheduler.pages import collect_cluster, collect_cron, collect_job, collect_maintenance, collect_roles
from scheduler.pages.parts import CronView, MaintenanceView
from tests.support.paged import CRON, WEB, view_of
from tests.support.world import World, job_of
from thermos.formats.assigned_task import CoordinatorSlaPolicy, CountSlaPolicy, PercentageSlaPolicy, SlaPolicy
from thermos.formats.aurora_api import CronCollisionPolicy

COUNTED = SlaPolicy(count_sla_policy=CountSlaPolicy(2, 0))


def scheduled(schedule: str = "0 3 * * *", run: CronRun | None = None, **more: Any) -> World:
    world = World()
    state = world.engine.state
    state.apply(PutCronJob(CRON, job_of(CRON, 2, is_service=False)._replace(cron_schedule=schedule, **more)))
    if run is not None:
        state.apply(PutCronRun(CRON, run))
    return world


def cron(world: World) -> CronView:
    picked = collect_job.pick_job(view_of(world), CRON)
    assert picked is not None
    found = collect_job.job_page(picked, {}, "").cron
    assert found is not None
    return found


def test_when_a_cron_job_runs() -> None:
    world = scheduled(run=CronRun(1, True, 3, 1_699_000_000_000))
    found = cron(world)
    now_s = world.now.wall_ms / 1000
    first, *later = found.next_s
    assert now_s < first <= now_s + 86_400 and first % 86_400 == 3 * 3600
    assert later == [first + 86_400, first + 2 * 86_400]
    assert (found.schedule, found.zone, found.is_waiting) == ("0 3 * * *", "UTC", True)
    assert (found.missed, found.missed_s) == (3, 1_699_000_000)
    (row,) = collect_cron.cron_page(collect_cron.pick_cron(view_of(world)), {}).rows
    assert (row.job.href, row.cron.next_s, row.active, row.instances) == (
        "/scheduler/ads/staging1/nightly",
        (first,),
        0,
        2,
    )
    role = collect_roles.pick_role(view_of(world), "ads")
    assert role is not None
    page = collect_roles.role_page(role, None, {})
    assert page is not None
    assert [(one.schedule, one.next_s) for one in page.jobs] == [("0 3 * * *", first)]


def test_a_schedule_that_is_none_never_runs() -> None:
    found = cron(scheduled("every day"))
    assert (found.schedule, found.next_s, found.missed_s) == ("every day", (), None)


@pytest.mark.parametrize(
    "policy, words",
    [
        (None, "the old run is killed, and the new one begins"),
        (CronCollisionPolicy.KILL_EXISTING, "the old run is killed, and the new one begins"),
        (CronCollisionPolicy.CANCEL_NEW, "the new run is left out"),
    ],
)
def test_collisions(policy: CronCollisionPolicy | None, words: str) -> None:
    assert cron(scheduled(cron_collision_policy=policy)).collision == words


# -- maintenance -------------------------------------------------------------------------------------------------------


def maintained(world: World, **query: str) -> list[MaintenanceView]:
    picked = collect_maintenance.pick_maintenance(view_of(world), query)
    return list(collect_maintenance.maintenance_page(picked).rows)


def draining(policy: SlaPolicy | None = COUNTED, timeout_s: int = 600) -> World:
    world = World(min_required_instances_for_sla_check=1)
    world.engine.state.apply(PutQuota("www", Resources(6000, 4096, 2048)))
    world.run(WEB, 3, production=True, tier="preferred")
    world.command(StartMaintenance(frozenset({"host-3"}), "ann"))
    world.command(DrainHosts(frozenset({world.tasks(WEB)[0].host or ""}), "ann", policy, timeout_s))
    return world


def test_what_holds_up_a_drain() -> None:
    world = draining()
    rows = maintained(world)
    assert [row.mode for row in rows] == ["DRAINING", "SCHEDULED"]
    row = rows[0]
    assert row.asked_s == world.now.wall_ms / 1000 and row.ends_s == row.asked_s + 600
    assert row.policy == "2 tasks of each job run for 0 s"
    assert (row.tasks, row.held_left_out) == (1, 0)
    (held,) = row.held
    assert (held.job.name, held.state) == ("web", "RUNNING")
    assert held.why == "of 3 active tasks, 0 others have run for 0 s, and 2 have to"
    picked = collect_cluster.pick_agent(view_of(world), row.host.text)
    assert picked is not None
    assert collect_cluster.agent_page(picked, {}, "").maintenance == row
    assert (rows[1].held, rows[1].asked_s, rows[1].policy) == ((), None, None)


def test_what_goes_is_being_ended() -> None:
    (row,) = [row for row in maintained(draining(timeout_s=0)) if row.mode == "DRAINING"]
    assert [(held.state, held.why) for held in row.held] == [("DRAINING", "it is being ended")]


def test_a_drain_of_which_the_policy_is_lost() -> None:
    world = draining()
    host = maintained(world)[0].host.text
    world.engine.state.apply(DropMaintenance(host))
    row = maintained(world)[0]
    assert (row.asked_s, row.ends_s, row.policy) == (None, None, None)
    assert [held.why for held in row.held] == ["what it was promised is not known any more: drain the host again"]


def test_many_tasks_and_many_hosts_are_shown_in_parts() -> None:
    world = World()
    world.run(WEB, 60)
    hosts = list(world.engine.state.hosts.values())
    for host in hosts:
        world.engine.state.apply(PutHost(host._replace(mode=Mode.DRAINING)))
    rows = maintained(world)
    assert len(rows) == min(len(hosts), 50)
    assert {len(row.held) + row.held_left_out == row.tasks for row in rows} == {True}
    assert max(len(row.held) for row in rows) <= 5


@pytest.mark.parametrize(
    "policy, words",
    [
        (SlaPolicy(percentage_sla_policy=PercentageSlaPolicy(95.0, 1800)), "95 % of each job's tasks run for 1800 s"),
        (SlaPolicy(percentage_sla_policy=PercentageSlaPolicy(0.0, 0)), "nothing"),
        (None, "nothing"),
        (SlaPolicy(coordinator_sla_policy=CoordinatorSlaPolicy("http://x/y")),
         "they go when the coordinator http://x/y allows it"),
    ],
)  # fmt: skip
def test_policies_in_words(policy: SlaPolicy | None, words: str) -> None:
    assert collect_maintenance._policy(policy) == words
