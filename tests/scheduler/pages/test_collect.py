"""From a cluster in which something of everything happened to what its pages say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from scheduler.core.changes import PutTask
from scheduler.core.events import Disconnected, MasterError, Suspended
from scheduler.model import Config, JobKey, Task, TaskEvent, config_of
from scheduler.pages import collect_cluster, collect_job, collect_roles
from scheduler.pages.collect import paged
from scheduler.pages.pages import InstancePage, JobPage
from scheduler.pages.parts import StateCount
from scheduler.states import ScheduleStatus
from tests.support.paged import BATCH, CRON, FLAPS, STUCK, WEB, busy_world, view_of
from tests.support.world import World, offer, task_config
from thermos.formats import assigned_task as wire

URL = "http://{host}:1338/task/{task_id}"
S = ScheduleStatus


@pytest.fixture(scope="module")
def world() -> World:
    return busy_world()


def job(world: World, key: JobKey, **query: str) -> JobPage:
    picked = collect_job.pick_job(view_of(world), key)
    assert picked is not None
    return collect_job.job_page(picked, query, URL)


def instance(world: World, key: JobKey, number: int, **query: str) -> InstancePage | None:
    picked = collect_job.pick_job(view_of(world), key)
    assert picked is not None
    return collect_job.instance_page(picked, number, query, URL)


def counts(states: tuple[StateCount, ...]) -> dict[str, int]:
    return {one.state: one.count for one in states}


# -- lists -------------------------------------------------------------------------------------------------------------


def test_the_first_page(world: World) -> None:
    page = collect_roles.roles_page(collect_roles.pick_cluster(view_of(world)))
    assert [(row.name, row.href, row.jobs, row.active, row.pending, row.failed) for row in page.roles] == [
        ("ads", "/scheduler/ads", 2, 0, 40, 0),
        ("www", "/scheduler/www", 3, 5, 2, 3),
    ]
    assert counts(page.states) == {"PENDING": 40, "THROTTLED": 2, "STARTING": 1, "RUNNING": 4}
    assert (page.cluster, page.is_registered, page.framework_id, page.notices) == ("west", True, "fw-1", ())
    assert (page.agents, page.offering, page.free.cpu, page.free.ram_bytes) == (8, 3, 24.0, 3 * 16384 << 20)
    assert page.leading_since_s == 1_699_999_000
    assert page.stamp.written_at_s == world.now.wall_ms / 1000
    assert page.stamp.hostname == "scheduler-1.example.org"


def test_what_holds_everything_up_is_told_on_every_page() -> None:
    world = World()
    world.create()
    world.handle(MasterError("Framework has been removed"))
    world.handle(Disconnected("the master is gone"))
    world.handle(Suspended())
    page = collect_roles.roles_page(collect_roles.pick_cluster(view_of(world)))
    assert not page.is_registered
    assert [notice.text for notice in page.notices] == [
        "Mesos refuses this scheduler: Framework has been removed",
        "The scheduler has no connection to Mesos",
        "The scheduler cannot reach ZooKeeper, and launches nothing until it knows that it still leads",
    ]
    (row,) = job(world, WEB).active
    assert row.why == page.notices[0].text
    (group,) = collect_cluster.pending_page(collect_cluster.pick_pending(view_of(world)), {}).rows
    assert group.reason == page.notices[0].text


def role(world: World, name: str, environment: str | None = None) -> Any:
    picked = collect_roles.pick_role(view_of(world), name)
    return collect_roles.role_page(picked, environment, {}) if picked is not None else None


def test_a_role(world: World) -> None:
    page = role(world, "www")
    assert [(str(row.job.environment), row.job.name, row.kind, row.tier, row.ended) for row in page.jobs] == [
        ("devel", "numbers", "batch", "preemptible", 3),
        ("prod", "flaps", "service", "preemptible", 1),
        ("prod", "web", "service", "preferred", 1),
    ]
    web = page.jobs[2]
    assert counts(web.states) == {"RUNNING": 4, "STARTING": 1}
    assert (web.last_failure.state, web.last_failure.message) == ("FAILED", "Command exited with status 1")
    assert (web.last_failure.instance, web.last_failure.href) == (2, "/scheduler/www/prod/web/2")
    assert page.jobs[0].last_failure.state == "LOST"
    assert [link.text for link in page.environments] == ["devel", "prod"]
    shared, other = page.pools
    assert (shared.used.cpu, shared.allowed.cpu, shared.is_limited) == (5.0, 6.0, True)
    assert (other.name, other.allowed, other.is_limited) == ("not production", None, False)


def test_a_role_in_one_environment(world: World) -> None:
    assert [row.job.name for row in role(world, "www", "prod").jobs] == ["flaps", "web"]
    assert role(world, "www", "test") is None and role(world, "nobody") is None


def test_a_cron_job_that_has_not_run_yet(world: World) -> None:
    ads = role(world, "ads")
    assert [(row.job.name, row.kind, row.states) for row in ads.jobs if row.kind == "cron"] == [("nightly", "cron", ())]
    assert ads.pools[0].allowed is None
    page = job(world, CRON)
    assert page.cron is not None
    assert (page.kind, page.cron.schedule, page.active, page.completed) == ("cron", "0 3 * * *", (), ())
    assert [(config.instances, config.count) for config in page.configs] == [("0-1", 2)]


def test_agents(world: World) -> None:
    rows = collect_cluster.agents_page(collect_cluster.pick_agents(view_of(world)), {}).rows
    found = {row.host.text: row for row in rows}
    assert list(found) == [f"host-{number}" for number in (1, 2, 3, 4, 5, 7, 8, 9)]
    assert (found["host-9"].mode, found["host-9"].offered, found["host-9"].tasks) == ("DRAINING", None, 0)
    assert [(one.name, one.value) for one in found["host-9"].attributes] == [("rack", "r1, r2")]
    assert found["host-3"].offered is not None and found["host-3"].offered.cpu == 8.0
    assert (found["host-3"].mode, found["host-3"].tasks, found["host-5"].tasks) == (None, 1, 0)


def test_an_agent(world: World) -> None:
    picked = collect_cluster.pick_agent(view_of(world), "host-7")
    assert picked is not None
    page = collect_cluster.agent_page(picked, {}, URL)
    assert [(row.job.name, row.instance, row.state) for row in page.tasks] == [("web", 2, "STARTING")]
    assert (page.agent.agent_id, counts(page.states)) == ("agent-7", {"STARTING": 1})
    assert collect_cluster.pick_agent(view_of(world), "host-99") is None


def test_offers(world: World) -> None:
    page = collect_cluster.offers_page(collect_cluster.pick_offers(view_of(world)), {})
    assert [(row.host.text, row.free.cpu, row.ports, row.revocable, row.goes_s) for row in page.rows] == [
        (f"host-{number}", 8.0, 1001, None, None) for number in (3, 4, 8)
    ]


def test_what_waits(world: World) -> None:
    (row,) = collect_cluster.pending_page(collect_cluster.pick_pending(view_of(world)), {}).rows
    assert (row.job.href, row.tasks, row.needs.cpu) == ("/scheduler/ads/prod/stuck", 40, 64.0)
    assert row.reason == "Insufficient: CPU" and row.penalty_s > 1
    assert row.since_s == world.tasks(STUCK)[0].created_at_ms / 1000


# -- a job -------------------------------------------------------------------------------------------------------------


def test_a_job(world: World) -> None:
    page = job(world, WEB)
    assert (page.kind, page.cron, counts(page.states)) == ("service", None, {"STARTING": 1, "RUNNING": 4})
    assert [row.instance for row in page.active] == [0, 1, 2, 3, 4]
    row = page.active[2]
    assert (row.state, row.message, row.why) == ("STARTING", "Initializing sandbox.", None)
    assert row.host is not None and (row.host.text, row.host.href) == ("host-7", "/cluster/agents/host-7")
    assert row.task_href == f"http://host-7:1338/task/{row.task_id}"
    assert [port.name for port in row.ports] == ["admin", "http"]
    assert all(port.href == f"http://host-7:{port.number}" for port in row.ports)
    (ended,) = page.completed
    assert (ended.instance, ended.state, ended.message) == (2, "FAILED", "Command exited with status 1")
    assert ended.began_s is not None and ended.since_s is not None and ended.since_s - ended.began_s > 600


def test_its_configuration(world: World) -> None:
    (config,) = job(world, WEB).configs
    assert (config.instances, config.count, config.owner, config.contact) == ("0-4", 5, "ann", "web@example.org")
    assert (config.tier, config.is_production, config.container) == ("preferred", True, "Docker, nginx:1.27")
    assert (config.executor, config.partition) == ("AuroraExecutor", "they are replaced after 300 s")
    assert [(one.name, one.value) for one in config.metadata] == [("team", "storefront"), ("build", "1.2.3")]
    assert [(one.name, one.value) for one in config.constraints] == [
        ("rack", "not bad"),
        ("host", "at most 1 of the job's tasks for each value"),
    ]
    assert (config.resources.cpu, config.resources.ram_bytes, config.ports) == (1.0, 128 << 20, ("admin", "http"))


def test_instances_of_two_configurations_are_two_groups() -> None:
    world = World()
    world.run(WEB, 4)
    for task in world.tasks(WEB):
        if task.instance in (1, 3):
            other = config_of(task_config(WEB, priority=7, container=None))
            world.engine.state.apply(PutTask(task._replace(config=other)))
    page = job(world, WEB)
    assert [(config.instances, config.priority) for config in page.configs] == [("0, 2", 0), ("1, 3", 7)]


@pytest.mark.parametrize(
    "container, words",
    [
        (None, "Mesos, without an image"),
        (wire.Container(mesos=wire.MesosContainer()), "Mesos, without an image"),
        (
            wire.Container(mesos=wire.MesosContainer(wire.Image(docker=wire.DockerImage("python", "3.13")))),
            "Mesos, Docker image python:3.13",
        ),
        (
            wire.Container(mesos=wire.MesosContainer(wire.Image(appc=wire.AppcImage("rkt", "x")))),
            "Mesos, appc image rkt",
        ),
    ],
)
def test_containers(container: wire.Container | None, words: str) -> None:
    world = World()
    put(world, [a_task(0, config_of(task_config(WEB, container=container)))])
    assert job(world, WEB).configs[0].container == words


def test_why_tasks_wait(world: World) -> None:
    assert {row.why for row in job(world, STUCK).active} == {"Insufficient: CPU"}
    (row,) = job(world, FLAPS).active
    assert (row.state, row.message, row.host, row.task_href) == ("THROTTLED", None, None, None)
    assert row.why == "Waits 30 s, since it ended so soon"


def test_only_one_state(world: World) -> None:
    page = job(world, WEB, state="STARTING")
    assert [row.instance for row in page.active] == [2]
    assert [(one.state, one.is_chosen, one.href) for one in page.states] == [
        ("STARTING", True, "/scheduler/www/prod/web?state=STARTING"),
        ("RUNNING", False, "/scheduler/www/prod/web?state=RUNNING"),
    ]
    assert job(world, WEB, state="NONSENSE").active == ()


def a_task(instance: int, config: Config, status: ScheduleStatus = S.FINISHED, at_ms: int = 1_700_000_000_000) -> Task:
    events = (TaskEvent(at_ms, S.PENDING), TaskEvent(at_ms + instance + 1, status))
    return Task(f"task-{instance}", instance, config, status, events, "agent-1", "host-1")


def put(world: World, tasks: list[Task]) -> None:
    for task in tasks:
        world.engine.state.apply(PutTask(task))


def test_a_job_of_4000_tasks_is_shown_in_parts() -> None:
    world = World()
    config = config_of(task_config(WEB))
    put(world, [a_task(number, config, S.RUNNING) for number in range(4000)])
    put(world, [a_task(number, config) for number in range(4000, 4060)])
    page = job(world, WEB)
    assert (len(page.active), page.active_paging.total) == (100, 4000)
    assert [row.instance for row in page.completed] == list(range(4059, 4034, -1))
    assert page.completed_paging.on_href == "/scheduler/www/prod/web?completed=2#completed"
    later = job(world, WEB, active="40", completed="3", state="RUNNING")
    assert (later.active[0].instance, later.active_paging.last, later.active_paging.on_href) == (3900, 4000, None)
    assert later.active_paging.back_href == "/scheduler/www/prod/web?state=RUNNING&active=39&completed=3#active"
    assert [row.instance for row in later.completed] == list(range(4009, 3999, -1))


@pytest.mark.parametrize(
    "wanted, first, last, back, on",
    [
        (None, 1, 10, None, "2"), ("1", 1, 10, None, "2"), ("2", 11, 20, "None", "3"), ("3", 21, 25, "2", None),
        ("4", 21, 25, "2", None), ("0", 1, 10, None, "2"), ("-1", 1, 10, None, "2"), ("x", 1, 10, None, "2"),
        ("9" * 5000, 1, 10, None, "2"), ("²", 1, 10, None, "2"),
    ],
)  # fmt: skip
def test_pages_of_a_list(wanted: str | None, first: int, last: int, back: str | None, on: str | None) -> None:
    items, paging = paged(range(1, 26), wanted, 10, str)
    assert (items[0], items[-1]) == (paging.first, paging.last) == (first, last)
    assert (paging.back_href, paging.on_href, paging.total) == (back, on, 25)


def test_no_page_of_nothing() -> None:
    nothing: list[int] = []
    items, paging = paged(nothing, "7", 10, str)
    assert (list(items), paging.first, paging.last, paging.back_href, paging.on_href) == ([], 0, 0, None, None)


# -- an instance -------------------------------------------------------------------------------------------------------


def test_the_history_of_an_instance(world: World) -> None:
    page = instance(world, WEB, 2)
    assert page is not None
    new, old = page.tasks
    assert [(event.state, event.message) for event in old.events] == [
        ("PENDING", None), ("ASSIGNED", None), ("RUNNING", None), ("FAILED", "Command exited with status 1"),
    ]  # fmt: skip
    assert {event.scheduler for event in old.events} == {"scheduler-1.example.org"}
    assert old.events[2].for_s == pytest.approx(600, abs=1) and old.events[3].for_s is None
    assert (old.ancestor, new.successor) == (None, None)
    assert new.ancestor is not None and (new.ancestor.text, new.ancestor.href) == (
        old.task_id, "/scheduler/www/prod/web/2#task-2",
    )  # fmt: skip
    assert old.successor is not None and (old.successor.text, old.successor.href) == (
        new.task_id, "/scheduler/www/prod/web/2#task-1",
    )  # fmt: skip
    assert (new.anchor, old.anchor, new.failures) == ("task-1", "task-2", 1)
    assert instance(world, WEB, 5) is None


def test_a_successor_on_another_part_of_a_long_history() -> None:
    world = World()
    config = config_of(task_config(WEB))
    chain = [
        a_task(0, config, S.FAILED, 1_700_000_000_000 + number * 1000)._replace(
            task_id=f"t{number}", ancestor_id=f"t{number - 1}" if number else "forgotten"
        )
        for number in range(23)
    ]
    put(world, chain)
    page = instance(world, WEB, 0, page="2")
    assert page is not None
    assert [task.task_id for task in page.tasks] == [f"t{number}" for number in range(12, 2, -1)]
    newest, oldest = page.tasks[0], page.tasks[-1]
    assert newest.successor is not None and newest.successor.href == "/scheduler/www/prod/web/0#task-10"
    assert oldest.ancestor is not None and oldest.ancestor.href == "/scheduler/www/prod/web/0?page=3#task-21"
    last = instance(world, WEB, 0, page="3")
    assert last is not None and last.tasks[-1].ancestor is not None
    assert (last.tasks[-1].ancestor.text, last.tasks[-1].ancestor.href) == ("forgotten", None)


# -- what others wrote -------------------------------------------------------------------------------------------------


def test_what_cannot_be_seen_is_told_and_what_is_long_is_cut() -> None:
    world = World()
    key = JobKey("w\u202ew", "prod", "a/b c")
    config = config_of(task_config(key, contact_email="x\0y", metadata=(wire.Metadata("k" * 999, "v\n"),)))
    put(world, [a_task(0, config)._replace(events=(TaskEvent(1, S.PENDING, "m" * 5000),), host="h\ud800'\"<")])
    page = job(world, key)
    assert (page.job.role, page.job.href) == ("w\\u202ew", "/scheduler/w%E2%80%AEw/prod/a%2Fb%20c")
    (row,) = page.completed
    assert row.message is not None and len(row.message) < 1100
    assert row.task_href == "http://h%3F%27%22%3C:1338/task/task-0"
    (label,) = page.configs[0].metadata
    assert len(label.name) < 300 and label.value == "v\\n"
    assert page.configs[0].contact == "x\\x00y"


def test_a_batch_job_whose_tasks_are_over(world: World) -> None:
    page = job(world, BATCH)
    assert (page.kind, sorted(row.state for row in page.completed)) == ("batch", ["FINISHED", "KILLED", "LOST"])


def test_offers_that_may_be_taken_back() -> None:
    world = World()
    one = offer(1)
    amounts = tuple(amount._replace(is_revocable=amount.name == "cpus") for amount in one.amounts)
    world.offers(one._replace(amounts=amounts))
    (row,) = collect_cluster.offers_page(collect_cluster.pick_offers(view_of(world)), {}).rows
    assert row.free.cpu == 0 and row.revocable is not None and row.revocable.cpu == 8.0


def test_queries_that_mean_nothing(world: World) -> None:
    query: Mapping[str, str] = {"page": "\udcff", "active": "", "completed": "1e9", "state": "\udcff<b>"}
    page = job(world, WEB, **query)
    assert page.active == () and len(page.completed) == 1
