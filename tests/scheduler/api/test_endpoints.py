"""What operators and dashboards ask over plain HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import Client
from werkzeug.wrappers import Response

from scheduler.api.app import ApiOptions, create_app
from scheduler.api.backend import NotBegun
from scheduler.api.exposition import MAX_OF_JOBS, as_prometheus
from scheduler.api.options import Look, Shown
from scheduler.core.commands import DrainHosts, StartMaintenance
from scheduler.core.events import MasterError, Subscribed
from scheduler.states import ScheduleStatus
from scheduler.wire.plain_json import plain
from tests.support.engine_backend import EngineBackend, job
from tests.support.paged import Paged
from tests.support.world import World, offer
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import JOB_CONFIGURATION
from thermos.formats.mesos_v1_scheduler import decode_event

S = ScheduleStatus

OFFER = {
    "id": {"value": "o1"},
    "framework_id": {"value": "f1"},
    "agent_id": {"value": "a1"},
    "hostname": "host1",
    "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}, "allocation_info": {"role": "*"}}],
    "attributes": [{"name": "rack", "type": "TEXT", "text": {"value": "r1"}}],
}


class Site:
    def __init__(self, backend: EngineBackend | None = None, **options: Any) -> None:
        self.backend = backend or EngineBackend()
        self.http = Client(create_app(self.backend, ApiOptions(**options)), Response)

    def json(self, path: str) -> Any:
        answer = self.http.get(path)
        assert (answer.status_code, answer.mimetype) == (200, "application/json"), path
        return answer.get_json()

    def create(self, instances: int = 1, *states: ScheduleStatus, **more: Any) -> list[Any]:
        body = {"description": plain(JOB_CONFIGURATION, job(instances, **more))}
        assert self.http.post("/apibeta/createJob", json=body).get_json()["responseCode"] == "OK"
        name = more.get("name", "hello")
        tasks = [task for task in self.backend.engine.state.tasks.values() if task.job.name == name]
        self.backend.move(tasks, *states)
        return tasks


@pytest.fixture
def site() -> Site:
    return Site()


def event(written: Mapping[str, Any]) -> Any:
    return decode_event(json.dumps(written).encode())


def test_health(site: Site) -> None:
    answer = site.http.get("/health")
    assert (answer.text, answer.mimetype) == ("OK\n", "text/plain")
    assert site.http.get("/health/x").status_code == 404
    assert site.http.post("/health").status_code == 405


def test_a_busy_scheduler_is_no_fault(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(at: object) -> None:
        raise NotBegun("it came to nothing new")

    monkeypatch.setattr(site.backend, "look", look)
    answer = site.http.get("/offers")
    assert (answer.status_code, answer.text) == (503, "it came to nothing new\n")
    assert site.http.get("/health").status_code == 200


# -- figures -----------------------------------------------------------------------------------------------------------


def test_every_state_has_a_figure_from_the_start(site: Site) -> None:
    figures = site.json("/vars.json")
    assert {figures[f"task_store_{status.name}"] for status in ScheduleStatus} == {0}
    assert figures["framework_registered"] == 0
    assert figures["timed_out_tasks"] == 0
    site.create(3)
    assert site.json("/vars.json")["task_store_PENDING"] == 3


def test_vars_and_vars_json_say_the_same(site: Site) -> None:
    lines = site.http.get("/vars").text.splitlines()
    assert all(re.fullmatch(r"\S+ -?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", line) for line in lines)
    names = [line.split()[0] for line in lines]
    assert names == sorted(names)
    assert names == list(site.json("/vars.json"))
    assert site.http.get("/vars/framework_registered").text == "0\n"
    assert site.http.get("/vars/nothing").status_code == 404


def test_a_figure_stays_whole_or_stays_broken(site: Site) -> None:
    """telegraf takes the first literal's type for ever."""
    before = site.json("/vars.json")
    site.create(2, S.ASSIGNED, S.RUNNING)
    site.http.get("/nothing")
    after = site.json("/vars.json")
    kinds = {name: type(value) for name, value in before.items()}
    assert kinds.items() <= {name: type(value) for name, value in after.items()}.items()
    text = site.http.get("/vars.json").text
    assert re.search(r'"system_load_avg": [0-9]+\.[0-9]+', text)
    assert re.search(r'"process_cpu_cores_utilized": [0-9]+\.[0-9]+', text)
    assert re.search(r'"jvm_uptime_secs": [0-9]+,', text)
    assert all(isinstance(value, (int, float)) and abs(value) < 2**63 for value in after.values())


def test_what_is_counted(site: Site) -> None:
    site.create()
    site.create(name="other")
    site.http.post("/apibeta/createJob", json={})
    site.http.get("/nothing")
    figures = site.json("/vars.json")
    assert figures["scheduler_thrift_response_OK"] == 2
    assert figures["scheduler_thrift_response_INVALID_REQUEST"] == 1
    assert figures["thrift_workload_createJob"] == 2
    assert figures["http_404_responses_events"] == 1
    assert figures["http_500_responses_events"] == 0
    assert figures["http_200_responses_nanos_total"] > 0


def test_lost_and_failed_tasks_by_job(site: Site) -> None:
    site.create(2, S.ASSIGNED, S.LOST)
    site.create(1, S.ASSIGNED, S.FAILED, name="other")
    figures = site.json("/vars.json")
    assert figures["tasks_LOST_www/prod/hello"] == 2
    assert figures["tasks_FAILED_www/prod/other"] == 1
    assert not [name for name in figures if name.startswith("tasks_KILLED")]


def test_registered(site: Site) -> None:
    assert "framework_registered 0\n" in site.http.get("/vars").text
    site.backend.tell(event({"type": "SUBSCRIBED", "subscribed": {"framework_id": {"value": "f1"}}}))
    assert "framework_registered 1\n" in site.http.get("/vars").text
    assert "scheduler_lifecycle_LEADER_AWAITING_REGISTRATION 1\n" in site.http.get("/vars").text


def test_prometheus(site: Site) -> None:
    site.create(2, S.ASSIGNED, S.RUNNING)
    answer = site.http.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'aurora_task_store{state="RUNNING"} 2.0\n' in answer.text
    assert 'aurora_task_store{state="LOST"} 0.0\n' in answer.text
    assert "aurora_framework_registered 0.0\n" in answer.text


def test_prometheus_is_told_all_of_vars(site: Site) -> None:
    site.create(2, S.ASSIGNED, S.LOST)
    site.create(1, S.ASSIGNED, S.FAILED, name="other")
    samples = exposed(site.http.get("/metrics").text)
    prod, www = ("env", "prod"), ("role", "www")
    assert samples["aurora_tasks", prod, ("job", "hello"), www, ("state", "LOST")] == 2
    assert samples["aurora_tasks", prod, ("job", "other"), www, ("state", "FAILED")] == 1
    assert samples["aurora_update_transition", ("state", "ROLL_BACK_PAUSED")] == 0
    assert samples["aurora_illegal_task_state_transitions",] == 0
    assert len(samples) == len(site.json("/vars.json")) + 1, "one says how many were left out"


def exposed(text: str) -> dict[tuple[Any, ...], float]:
    """(name, (label, value)…) → number, read with a parser that is not ours; each family and each sample once."""
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation and family.type == "gauge" for family in families)
    samples = [sample for family in families for sample in family.samples]
    found = {(one.name, *sorted(one.labels.items())): float(one.value) for one in samples}
    assert len(found) == len(samples)
    return found


def test_names_of_jobs_become_labels() -> None:
    figures = {
        "sla_r_1/e-2/j.3_mtta_ms": 1, "sla_r_1/e-2/j.3_mttr_ms_nonprod": 2, "sla_cluster_mtta_ms": 3,
        "sla_r/e/x_mtta_ms_platform_uptime_percent": 4.5, "sla_r/e/j_job_uptime_99.00_sec": 5,
        "maintenance_countdown_ms_r/e/j/7": 6, 'tasks_LOST_a"b/c\\d/e\nf': 7,
    }  # fmt: skip
    job = ("env", "e"), ("job", "j"), ("role", "r")
    other = ("env", "e-2"), ("job", "j.3"), ("role", "r_1")
    assert exposed(as_prometheus(figures).decode()) == {
        ("aurora_sla_mtta_ms", *other): 1,
        ("aurora_sla_mttr_ms_nonprod", *other): 2,
        ("aurora_sla_cluster_mtta_ms",): 3,
        ("aurora_sla_platform_uptime_percent", ("env", "e"), ("job", "x_mtta_ms"), ("role", "r")): 4.5,
        ("aurora_sla_job_uptime_sec", *job[:2], ("percentile", "99.00"), job[2]): 5,
        ("aurora_maintenance_countdown_ms", job[0], ("instance", "7"), *job[1:]): 6,
        ("aurora_tasks", ("env", "c\\d"), ("job", "e\nf"), ("role", 'a"b'), ("state", "LOST")): 7,
        ("aurora_samples_left_out",): 0,
    }


def test_what_jobs_have_is_bounded() -> None:
    uptimes = {f"sla_r/e/j{number}_job_uptime_50.00_sec": number for number in range(MAX_OF_JOBS)}
    samples = exposed(as_prometheus({**uptimes, "tasks_LOST_r/e/j": 1, "outstanding_offers": 2}).decode())
    assert samples["aurora_samples_left_out",] == 1
    assert samples["aurora_tasks", ("env", "e"), ("job", "j"), ("role", "r"), ("state", "LOST")] == 1
    assert samples["aurora_outstanding_offers",] == 2
    assert len(samples) == MAX_OF_JOBS + 2


# -- how things stand --------------------------------------------------------------------------------------------------


def test_offers(site: Site) -> None:
    site.backend.tell(
        event({"type": "SUBSCRIBED", "subscribed": {"framework_id": {"value": "f1"}}}),
        event({"type": "OFFERS", "offers": {"offers": [OFFER]}}),
    )
    assert site.json("/offers") == [OFFER]
    assert site.json("/vars.json")["outstanding_offers"] == 1
    assert site.json("/agents") == [{"host": "host1", "id": "a1", "mode": "NONE", "attributes": {"rack": ["r1"]}}]
    assert site.json("/slaves") == site.json("/agents")


def test_pending_tasks(site: Site) -> None:
    assert site.json("/pendingtasks") == []
    tasks = site.create(2)
    (group,) = site.json("/pendingtasks")
    assert group["name"] == "www/prod/hello"
    assert sorted(group["taskIds"]) == sorted(task.task_id for task in tasks)
    assert group["penaltyMs"] == 0
    assert group["reason"] == "The scheduler has no connection to Mesos"


def test_quotas(site: Site) -> None:
    assert site.json("/quotas") == {}
    amounts = [{"numCpus": 1.5}, {"ramMb": 10}, {"diskMb": 20}]
    for role in ("www", "db"):
        site.http.post("/apibeta/setQuota", json={"ownerRole": role, "quota": {"resources": amounts}})
    one = {"cpu_cores": 1.5, "ram_mb": 10, "disk_mb": 20}
    assert site.json("/quotas") == {"db": one, "www": one}
    assert site.json("/quotas?role=db") == {"db": one}
    assert site.json("/quotas?role=x") == {"x": {"cpu_cores": 0, "ram_mb": 0, "disk_mb": 0}}


def with_ports(*names: str) -> dict[str, Any]:
    """What a task is given that asks for these ports."""
    amounts = (wire.Resource(num_cpus=1.0), wire.Resource(ram_mb=128), wire.Resource(disk_mb=64))
    return {"resources": (*amounts, *(wire.Resource(named_port=name) for name in names))}


@pytest.fixture
def world() -> World:
    """A scheduler that Mesos has given a host; what is on it, tests say."""
    return World()


@pytest.fixture
def placed(world: World) -> Site:
    return Site(Paged(world))


def test_hosts_in_maintenance(world: World, placed: Site) -> None:
    (task,) = world.run()
    world.offers(offer(2), offer(3), offer(4))
    world.command(StartMaintenance(frozenset({"host-2"}), "ann"))
    world.command(DrainHosts(frozenset({"host-1", "host-3"}), "ann"))
    assert placed.json("/maintenance") == {
        "SCHEDULED": ["host-2"], "DRAINING": {"host-1": [task.task_id]}, "DRAINED": ["host-3"],
    }  # fmt: skip


def test_state(world: World, placed: Site) -> None:
    world.run()
    found = placed.json("/state")
    (key,) = found["taskConfigs"]
    assert found["agents"] == {"agent-1": [key]}
    assert found["taskConfigs"][key]["job"]["name"] == "web"


def test_tiers_and_cron(site: Site) -> None:
    assert site.json("/tiers")["tiers"]["revocable"] == {"preemptible": True, "revocable": True}
    assert site.json("/tiers")["default"] == "preemptible"
    assert site.json("/cron") == {"scheduled": {}}
    cron = job(name="nightly", is_service=False)._replace(cron_schedule="* * * * *")
    body = {"description": plain(JOB_CONFIGURATION, cron)}
    assert site.http.post("/apibeta/scheduleCronJob", json=body).get_json()["responseCode"] == "OK"
    assert site.json("/cron") == {"scheduled": {"www/prod/nightly": "* * * * *"}}
    assert site.json("/structdump/cron/www/prod/nightly")["cronSchedule"] == "* * * * *"
    assert site.http.get("/structdump/cron/www/prod/none").status_code == 404


def test_services(site: Site) -> None:
    found = {service["name"]: service["state"] for service in site.json("/services")}
    assert found == {"HttpServer": "RUNNING", "Leader": "RUNNING", "MesosConnection": "NEW"}


def test_services_say_why_mesos_is_not_there(site: Site) -> None:
    def mesos() -> Any:
        return site.json("/services")[-1]

    assert mesos()["failureCause"] == "The scheduler has no connection to Mesos"
    site.backend.tell(Subscribed("fw-1", 15.0, "m:5050"))
    assert mesos() == {"name": "MesosConnection", "state": "RUNNING"}
    site.backend.tell(MasterError("Framework has been removed"))
    cause = "Mesos refuses this scheduler: Framework has been removed"
    assert mesos() == {"name": "MesosConnection", "state": "NEW", "failureCause": cause}


def test_utilization(site: Site) -> None:
    site.create(2)
    site.create(1, role="db", name="other")
    mine = {"cpu_cores": 1.0, "ram_mb": 128, "disk_mb": 64, "gpus": 0}
    assert site.json("/utilization")["total_consumed"] == {"cpu_cores": 1.5, "ram_mb": 192, "disk_mb": 96, "gpus": 0}
    assert site.json("/utilization/free_pool_consumed")["www"] == mine
    assert site.json("/utilization/total_consumed/www") == {"www/prod/hello": mine}
    assert site.json("/utilization/quota_consumed") == {}
    assert site.http.get("/utilization/other").status_code == 404


def test_struct_dump(site: Site) -> None:
    (task,) = site.create()
    found = site.json(f"/structdump/task/{task.task_id}")
    assert found["status"] == "PENDING"
    assert found["assignedTask"]["taskId"] == task.task_id
    assert site.http.get("/structdump/task/none").status_code == 404
    assert site.http.get("/structdump").status_code == 400


@pytest.mark.parametrize("path, leads_to", [("", "/"), ("/", "/"), ("/a%20b/c?x=%31&y", "/a%20b/c?x=%31&y")])
def test_mname(world: World, placed: Site, path: str, leads_to: str) -> None:
    (task,) = world.run(**with_ports("http", "other"))
    port = dict(task.ports)["http"]
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = placed.http.open(f"/mname/www/prod/web/0{path}", method=method, headers={"Host": "evil"})
        assert (answer.status_code, answer.headers["Location"]) == (307, f"http://host-1:{port}{leads_to}")


@pytest.mark.parametrize(
    "path, status",
    [
        ("/mname", 400),
        ("/mname/www/prod/hello", 400),
        ("/mname/www/prod/hello/x", 400),
        ("/mname/www/prod/hello/٣", 400),
        ("/mname/www/prod/hello/7", 404),
        ("/mname/www/prod/hello/0", 404),
    ],
)
def test_mname_that_leads_nowhere(site: Site, path: str, status: int) -> None:
    site.create()
    assert site.http.get(path).status_code == status


def test_mname_of_a_task_that_has_no_port_for_people(world: World, placed: Site) -> None:
    world.run(**with_ports("other"))
    assert "no port" in placed.http.get("/mname/www/prod/web/0").text


# -- pages -------------------------------------------------------------------------------------------------------------


def test_pages() -> None:
    def pages(path: str, query: Mapping[str, str], look: Look) -> Shown | None:
        if path == "/other":
            return None
        if path != "/scheduler/wéb":
            return Shown("<p>no", 404)
        return Shown(f"<p>{look(lambda view: len(view.state.tasks))} {query.get('q')}")

    site = Site(pages=pages)
    answer = site.http.get("/scheduler/w%C3%A9b?q=a")
    assert (answer.text, answer.mimetype) == ("<p>0 a", "text/html")
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert site.http.get("/other").status_code == 404
    missing = site.http.get("/scheduler/other")
    assert (missing.status_code, missing.mimetype, missing.text) == (404, "text/html", "<p>no")
    first = site.http.get("/")
    assert (first.status_code, first.headers["Location"]) == (303, "/scheduler")
    assert site.http.post("/scheduler/w%C3%A9b").status_code == 405


def test_a_page_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    def pages(path: str, query: Mapping[str, str], look: Look) -> Shown | None:
        raise RuntimeError("secret")

    site = Site(pages=pages)
    answer = site.http.get("/scheduler")
    assert (answer.status_code, answer.text) == (500, "the scheduler failed; its log says why\n")
    assert "secret" in caplog.text
    assert site.json("/vars.json")["http_500_responses_events"] == 1


def test_what_goes_with_every_answer(site: Site) -> None:
    for path in ("/health", "/nothing", "/vars.json", "/api", "/apihelp/index.html"):
        headers = site.http.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


# -- browsers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://scheduler:8081", "Host": "scheduler:8081"}, 200),
        ({"Origin": "http://evil.example.com", "Host": "scheduler:8081"}, 403),
        ({"Origin": "null", "Host": "scheduler:8081"}, 403),
    ],
)
@pytest.mark.parametrize("path, body", [("/api", b'[1,"getRoleSummary",1,0,{}]'), ("/apibeta/getRoleSummary", b"")])
def test_a_page_from_elsewhere(site: Site, path: str, body: bytes, headers: dict[str, str], status: int) -> None:
    assert site.http.post(path, data=body, headers=headers).status_code == status
