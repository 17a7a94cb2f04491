"""SLA figures: stories of tasks, and the figures of the minute in which they happened."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.core.changes import PutQuota
from scheduler.core.commands import DrainHosts
from scheduler.core.sla_metrics import is_up_after
from scheduler.core.state import State
from scheduler.model import JobKey, Resources
from scheduler.states import ScheduleStatus
from scheduler.store.backups import changes_of
from tests.support.world import World, offer

S = ScheduleStatus


def world_of(**more: Any) -> World:
    world = World(flapping_task_threshold_s=0.0, **more)
    world.engine.state.apply(PutQuota("www", Resources(10**6, 10**6, 10**6)))
    return world


def figure(world: World, name: str) -> float:
    return world.engine.metrics()[name]


def next_minute(world: World) -> None:
    """Until the figures of this minute are made."""
    at_s = 1000.0 + (int(world.now.mono_s - 1000.0) // 60 + 1) * 60
    world.pass_s(at_s - world.now.mono_s)


def test_how_long_the_instances_of_a_job_have_been_running() -> None:
    world = world_of()
    world.create(instances=4, tier="preferred")
    world.offers(offer(1))
    world.pass_s(0.1)
    for task in world.tasks():
        world.status(task, "RUNNING")
        world.pass_s(10)
    next_minute(world)  # 59.9, 49.9, 39.9 and 29.9 s
    found = [figure(world, f"sla_www/prod/web_job_uptime_{one}.00_sec") for one in (50, 75, 90, 95, 99)]
    assert found == [39, 29, 29, 29, 29]
    world.status(world.tasks()[3], "FAILED")
    next_minute(world)
    assert figure(world, "sla_www/prod/web_job_uptime_99.00_sec") == 99
    world.pass_s(10)
    world.kill()
    next_minute(world)
    assert figure(world, "sla_www/prod/web_job_uptime_99.00_sec") == 0


def test_how_long_tasks_waited() -> None:
    world = world_of()
    world.create(tier="preferred")
    world.pass_s(5)
    world.offers(offer(1))
    world.pass_s(0.1)
    assigned_ms = world.task().changed_at_ms - world.task().created_at_ms
    world.pass_s(3)
    world.status(world.task(), "STARTING")
    world.pass_s(2)
    world.status(world.task(), "RUNNING")
    assert figure(world, "sla_cluster_mtta_ms") == 0  # not yet
    next_minute(world)
    for group in ("cluster", "www/prod/web", "cpu_small", "ram_small", "disk_small"):
        assert figure(world, f"sla_{group}_mtta_ms") == assigned_ms
        assert 8000 <= figure(world, f"sla_{group}_mtts_ms") <= 8200
        assert 10_000 <= figure(world, f"sla_{group}_mttr_ms") <= 10_200
    next_minute(world)
    assert figure(world, "sla_cluster_mttr_ms") == 0
    assert figure(world, "sla_www/prod/web_mttr_ms") == 0
    assert "sla_cpu_small_mttr_ms" not in world.engine.metrics()


def test_what_the_platform_takes_away_counts_as_down() -> None:
    world = world_of()
    world.run(instances=2, tier="preferred")
    next_minute(world)
    assert figure(world, "sla_cluster_platform_uptime_percent") == 100.0
    world.pass_s(30)
    world.command(DrainHosts(frozenset({"host-1"}), "ann"))
    next_minute(world)  # one of two was down for half of the minute
    assert figure(world, "sla_www/prod/web_platform_uptime_percent") == pytest.approx(75.0)
    assert figure(world, "sla_cluster_platform_uptime_percent") == pytest.approx(75.0)
    draining = next(task for task in world.tasks() if task.status is S.DRAINING)
    world.status(draining, "KILLED")
    next_minute(world)  # its successor waits: still down
    assert figure(world, "sla_cluster_platform_uptime_percent") == pytest.approx(50.0)


def test_what_people_take_away_does_not_count() -> None:
    world = world_of()
    world.run(instances=2, tier="preferred")
    next_minute(world)
    world.kill(instances=frozenset({0}))
    next_minute(world)
    assert figure(world, "sla_cluster_platform_uptime_percent") == 100.0


def test_only_services_and_only_those_that_are_wanted() -> None:
    world = world_of()
    world.run()  # not for production
    batch = JobKey("www", "prod", "batch")
    world.create(batch, tier="preferred", is_service=False)
    next_minute(world)
    assert not [name for name in world.engine.metrics() if name.startswith("sla_www")]
    world = world_of(sla_prod_metrics=frozenset(), sla_non_prod_metrics=frozenset({"JOB_UPTIMES"}))
    world.run()
    next_minute(world)
    names = [name for name in world.engine.metrics() if name.startswith("sla_") and "coordinator" not in name]
    assert sorted(name for name in names if "drains" not in name) == [
        f"sla_www/prod/web_job_uptime_{one}.00_sec_nonprod" for one in (50, 75, 90, 95, 99)
    ]


def test_where_there_is_no_service_nobody_is_woken() -> None:
    world = world_of()
    assert figure(world, "sla_cluster_platform_uptime_percent") == 100.0
    assert world.engine.deadlines.next_s is None or world.engine.deadlines.next_s > world.now.mono_s + 60
    world.create(tier="preferred")
    world.kill()
    world.pass_s(120)
    assert world.engine.metrics()["sla_cluster_mtta_ms"] == 0
    assert "sla_www/prod/web_mtta_ms" not in world.engine.metrics()


def test_figures_go_on_after_a_failover() -> None:
    world = world_of()
    world.run(instances=3, tier="preferred")
    world.command(DrainHosts(frozenset({"host-1"}), "ann"))
    world.status(next(task for task in world.tasks() if task.status is S.DRAINING), "KILLED")
    next_minute(world)
    state = State()
    for change in changes_of(world.engine.state):
        state.apply(change)
    other = World(world.settings, state)
    other.pass_s(60)
    # One of three is still down: its predecessor says why it waits.
    assert figure(other, "sla_cluster_platform_uptime_percent") == pytest.approx(200 / 3)
    assert figure(other, "sla_www/prod/web_job_uptime_50.00_sec") > 0


@pytest.mark.parametrize(
    "was, status, after",
    [
        (None, S.PENDING, None), (None, S.RUNNING, True), (True, S.LOST, False), (True, S.DRAINING, False),
        (True, S.PREEMPTING, False), (True, S.PARTITIONED, False), (False, S.PENDING, False),
        (False, S.ASSIGNED, False), (False, S.STARTING, False), (None, S.STARTING, None), (False, S.RUNNING, True),
        (True, S.KILLED, False), (None, S.KILLED, None), (False, S.KILLED, False), (True, S.KILLING, None),
        (False, S.RESTARTING, None), (True, S.FAILED, None), (True, S.FINISHED, None), (False, S.THROTTLED, None),
    ],
)  # fmt: skip
def test_what_a_state_means(was: bool | None, status: ScheduleStatus, after: bool | None) -> None:
    assert is_up_after(was, status) is after
