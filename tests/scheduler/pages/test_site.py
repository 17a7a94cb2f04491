"""Which address has which page, and what an answer is like; over HTTP as the API serves it."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response

from scheduler.api.app import create_app
from scheduler.api.backend import Leader
from scheduler.api.options import ApiOptions
from scheduler.core.changes import PutCronJob, PutHost, PutMaintenance, PutTask, PutUpdate
from scheduler.main import build_parser
from scheduler.model import Config, Host, JobKey, Mode, Task, TaskEvent, config_of
from scheduler.options import OptionsInvalid, options_of
from scheduler.pages import paths
from scheduler.pages.site import Site
from scheduler.states import ScheduleStatus
from tests.observer_static.test_page_attacks import ADDRESS, PAYLOADS, Structure
from tests.support.paged import Paged, busy_world, updated_world
from tests.support.world import World, task_config
from thermos.formats import assigned_task as wire
from thermos.formats.assigned_task import CoordinatorSlaPolicy, SlaPolicy
from thermos.formats.aurora_api import (
    HostMaintenanceRequest,
    InstanceTaskConfig,
    JobConfiguration,
    JobInstanceUpdateEvent,
    JobUpdate,
    JobUpdateAction,
    JobUpdateDetails,
    JobUpdateEvent,
    JobUpdateInstructions,
    JobUpdateKey,
    JobUpdateSettings,
    JobUpdateState,
    JobUpdateStatus,
    JobUpdateSummary,
    Range,
)


@pytest.fixture(scope="module")
def site() -> Site:
    return Site("http://{host}:1338/task/{task_id}")


@pytest.fixture(scope="module")
def backend() -> Paged:
    return Paged(busy_world())


@pytest.fixture(scope="module")
def http(site: Site, backend: Paged) -> Client:
    return Client(create_app(backend, ApiOptions(pages=site)), Response)


@pytest.mark.parametrize(
    "path, title",
    [
        ("/scheduler", "Cluster west"),
        ("/scheduler/", "Cluster west"),
        ("/cluster", "Cluster west"),
        ("/scheduler/www", "www · west"),
        ("/scheduler/www/", "www · west"),
        ("/scheduler/www/prod", "www/prod · west"),
        ("/scheduler/www/prod/web", "web · www/prod · west"),
        ("/scheduler/www/prod/web?active=2&completed=7&state=RUNNING", "web · www/prod · west"),
        ("/scheduler/www/prod/web/2", "Instance 2 · www/prod/web"),
        ("/cluster/agents", "Agents · west"),
        ("/cluster/agents/host-7", "host-7 · west"),
        ("/cluster/offers", "Offers · west"),
        ("/cluster/pending", "Waiting · west"),
        ("/cluster/cron", "Cron · west"),
        ("/cluster/maintenance", "Maintenance · west"),
    ],
)
def test_pages(http: Client, path: str, title: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert f"<title>{title}</title>" in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert http.head(path).status_code == 200
    assert http.post(path).status_code == 405


@pytest.mark.parametrize(
    "path, what, back",
    [
        ("/scheduler/nobody", "role nobody", ["/scheduler"]),
        ("/scheduler/www/test", "environment www/test", ["/scheduler", "/scheduler/www"]),
        ("/scheduler/www/prod/no", "job www/prod/no", ["/scheduler", "/scheduler/www", "/scheduler/www/prod"]),
        ("/scheduler/www/prod/web/9", "instance www/prod/web/9", ["/scheduler/www/prod/web"]),
        ("/scheduler/www/prod/web/x", "instance www/prod/web/x", ["/scheduler/www/prod/web"]),
        ("/scheduler/www/prod/web/-1", "instance www/prod/web/-1", []),
        ("/scheduler/www/prod/web/%C2%B2", "instance www/prod/web/²", []),
        ("/scheduler/www/prod/web/9999999999", "instance www/prod/web/9999999999", []),
        ("/scheduler/www/prod/web/1/2", "page", ["/scheduler"]),
        ("/scheduler/www/prod/web/update/u99", "update www/prod/web/update/u99", ["/scheduler/www/prod/web"]),
        ("/scheduler/www/prod/web/update", "instance www/prod/web/update", ["/scheduler/www/prod/web"]),
        ("/scheduler//prod", "environment /prod", []),
        ("/cluster/nothing", "page", ["/scheduler"]),
        ("/cluster/agents/host-99", "agent on host-99", ["/cluster/agents"]),
        ("/scheduler/%3Cscript%3Ealert(1)%3C/script%3E", "environment &lt;script&gt;alert(1)&lt;/script&gt;", []),
        ("/scheduler/%ff%00", "role", []),
    ],
)
def test_what_is_not_there_says_so_and_leads_back(http: Client, path: str, what: str, back: list[str]) -> None:
    answer = http.get(path)
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert f"There is no {what}" in answer.text
    main = Structure(answer.text.partition("<main")[2])
    assert set(back) <= set(main.addresses)


def test_the_page_of_an_update(site: Site) -> None:
    world, over, active = updated_world()
    http = Client(create_app(Paged(world), ApiOptions(pages=site)), Response)
    for update_id, state, is_active in ((over, "ROLLED_FORWARD", False), (active, "ROLLING_FORWARD", True)):
        path = f"/scheduler/www/prod/web/update/{update_id}"
        answer = http.get(f"{path}?page=7")
        assert answer.status_code == 200
        assert f"<title>Update of www/prod/web · {state}</title>" in answer.text
        assert (f'<a href="{path}?page=7">Load again</a>' in answer.text) is is_active


def test_what_is_no_page_of_ours(site: Site, backend: Paged) -> None:
    for path in ("/", "", "/other", "/clusters", "/schedulers/x"):
        assert site(path, {}, backend.look) is None


def test_json_stays_what_it_was(http: Client) -> None:
    for path in ("/agents", "/offers", "/pendingtasks"):
        assert http.get(path).mimetype == "application/json"


def test_who_does_not_lead_sends_people_to_who_does(site: Site) -> None:
    backend = Paged(World())
    backend.leading = Leader(False, "http://leader:8081")
    http = Client(create_app(backend, ApiOptions(pages=site)), Response)
    for path in (paths.ROLES, paths.AGENTS, paths.OFFERS, paths.PENDING, "/scheduler/www/prod/web/2"):
        answer = http.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (307, f"http://leader:8081{path}")


def test_a_page_is_packed_for_who_takes_that(http: Client) -> None:
    answer = http.get("/scheduler/ads/prod/stuck", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip" and "Accept-Encoding" in answer.headers["Vary"]
    assert len(answer.data) < len(http.get("/scheduler/ads/prod/stuck").data) / 2


def test_an_empty_cluster(site: Site) -> None:
    backend = Paged(World())
    for path in ("/scheduler", paths.AGENTS, paths.OFFERS, paths.PENDING, paths.CRON, paths.MAINTENANCE):
        shown = site(path, {}, backend.look)
        assert shown is not None and shown.status == 200
        assert "no agent" in shown.html.lower() or "none yet" in shown.html or "No" in shown.html


# -- where a task's page is --------------------------------------------------------------------------------------------


def a_task(config: Config, **more: Any) -> Task:
    events = (TaskEvent(1, ScheduleStatus.PENDING), TaskEvent(2, ScheduleStatus.RUNNING, "said", "somewhere"))
    return Task("t 1", 0, config, ScheduleStatus.RUNNING, events, "agent-1", "host-1", **more)


@pytest.mark.parametrize(
    "template, host, url",
    [
        ("http://{host}:1338/task/{task_id}", "host-1", "http://host-1:1338/task/t%201"),
        ("http://{host}:1338/task/{task_id}", "fe80::1", "http://[fe80::1]:1338/task/t%201"),
        ("http://x/{agent_id}/{framework_id}/{host}", "a/b", "http://x/agent-1/f%2F1/a%2Fb"),
        ("http://x/all", "h", "http://x/all"),
        ("", "h", None),
        ("http://{host}", None, None),
    ],
)
def test_where_a_task_s_page_is(template: str, host: str | None, url: str | None) -> None:
    task = a_task(config_of(task_config()))._replace(host=host)
    assert paths.task_url(template, task, "f/1") == url


def test_a_flag_with_a_placeholder_that_there_is_not() -> None:
    words = ["--local", "--task-page-url", "https://{hostname}/{task_id}"]
    with pytest.raises(OptionsInvalid, match=r"task_page_url: there is no \{hostname\}, only \{host\}, \{task_id\}"):
        options_of(build_parser().parse_args(words), "here")
    options = options_of(build_parser().parse_args([*words[:2], "https://{host}/{task_id}"]), "here")
    assert options["task_page_url"] == "https://{host}/{task_id}"


def test_placeholders() -> None:
    assert paths.unknown_placeholders("http://{host}/{task_id}{agent_id}{framework_id}") == []
    assert paths.unknown_placeholders("http://{hosts}/{}") == ["hosts", ""]


# -- attacks -----------------------------------------------------------------------------------------------------------


def hostile(text: str) -> Paged:
    """A cluster in which whatever somebody else writes is *text*."""
    world = World(cluster_name=text, hostname=text)
    key = JobKey(*[named(text)] * 3)
    config = config_of(
        task_config(
            key,
            owner=wire.Identity(text),
            tier=text,
            contact_email=text,
            metadata=(wire.Metadata(text, text),),
            mesos_fetcher_uris=(wire.MesosFetcherURI(text),),
            executor_config=wire.ExecutorConfig(text, text),
            container=wire.Container(docker=wire.DockerContainer(text)),
            constraints=(wire.Constraint(text, wire.TaskConstraint(value=wire.ValueConstraint(False, (text,)))),),
            resources=(wire.Resource(num_cpus=1.0), wire.Resource(named_port=text)),
        )
    )
    events = (TaskEvent(1, ScheduleStatus.PENDING, text, text), TaskEvent(2, ScheduleStatus.RUNNING, text, text))
    task = Task(text, 0, config, ScheduleStatus.RUNNING, events, text, text, ((text, 80),), ancestor_id=text)
    world.engine.state.apply(PutTask(task))
    over = task._replace(
        task_id=f"{text}2", status=ScheduleStatus.FAILED, events=(*events, TaskEvent(3, ScheduleStatus.FAILED, text))
    )
    world.engine.state.apply(PutTask(over))
    update_id = JobUpdateKey(wire.JobKey(*key), named(text))
    status = JobUpdateStatus.ROLLING_FORWARD
    details = JobUpdateDetails(
        JobUpdate(
            JobUpdateSummary(update_id, text, JobUpdateState(status), (wire.Metadata(text, text),)),
            JobUpdateInstructions(None, InstanceTaskConfig(config.wire, (Range(0, 1),)), JobUpdateSettings()),
        ),
        (JobUpdateEvent(status, 1, text, text),),
        (JobInstanceUpdateEvent(0, 1, JobUpdateAction.INSTANCE_UPDATING, text),),
    )
    world.engine.state.apply(PutUpdate(key, named(text), details))
    world.engine.state.apply(PutCronJob(key, JobConfiguration(cron_schedule=text, task_config=config.wire)))
    promised = SlaPolicy(coordinator_sla_policy=CoordinatorSlaPolicy(text))
    world.engine.state.apply(PutHost(Host(text, text, (), Mode.DRAINING)))
    world.engine.state.apply(PutMaintenance(HostMaintenanceRequest(text, promised, 600, world.now.wall_ms)))
    return Paged(world)


def named(text: str) -> str:
    """*text* as a name: an address has no place for one with a slash."""
    return text.replace("/", "\u2215")


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_whatever_somebody_writes_stays_text(site: Site, payload: str) -> None:
    def pages(text: str) -> list[str]:
        look, name = hostile(text).look, named(text)
        asked = ["/scheduler", *("/scheduler" + f"/{name}" * count for count in (1, 2, 3))]
        asked += [f"{asked[-1]}/0", f"{asked[-1]}/update/{name}", "/cluster/cron", "/cluster/maintenance"]
        asked += [f"/scheduler/{name}/nothing"]
        found = [site(path, {}, look) for path in asked]
        assert [shown.status for shown in found if shown is not None] == [*[200] * 8, 404]
        return [shown.html for shown in found if shown is not None]

    for attacked, harmless in zip(pages(payload), pages("harmless"), strict=True):
        structure = Structure(attacked)
        assert structure.made_of <= Structure(harmless).made_of
        assert [address for address in structure.addresses if not ADDRESS.match(address)] == []
