"""What Mesos is told to launch, and whose resources it takes."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from scheduler.core.events import Launch
from scheduler.core.settings import ExecutorSettings, Settings
from scheduler.mesos.executors import ExecutorsInvalid, executor_settings_from_flags, parse_custom_executor_config
from scheduler.mesos.task_info import (
    NoExecutor,
    OfferTooSmall,
    Room,
    accept_of,
    is_reserved,
    revocable_names,
    take,
    task_info,
)
from scheduler.model import Resources, Task, TaskEvent, config_of, encode_config
from scheduler.states import ScheduleStatus
from thermos.formats import assigned_task as wire
from thermos.formats.mesos_v1_scheduler import Offer, Offers, decode_event
from thermos.mesos import MesosTaskState

GOLDEN = Path(__file__).parents[2] / "golden" / "mesos_scheduler"

THERMOS = executor_settings_from_flags(
    "/opt/thermos_executor.pex",
    "--announcer-ensemble zk:2181",
    ["/opt/extra.pex"],
    global_container_mounts=["/h:/c:RO"],
)
SETTINGS = Settings(cluster_name="west", executors=MappingProxyType({THERMOS.name: THERMOS}))
CONFIG = wire.TaskConfig(
    job=wire.JobKey("www", "prod", "web"),
    owner=wire.Identity("jane"),
    tier="preferred",
    resources=(
        wire.Resource(num_cpus=1.5),
        wire.Resource(ram_mb=100),
        wire.Resource(disk_mb=10),
        wire.Resource(named_port="http"),
        wire.Resource(named_port="admin"),
    ),
    executor_config=wire.ExecutorConfig("AuroraExecutor", '{"task": {}}'),
    metadata=(wire.Metadata("team", "blue"),),
    container=wire.Container(mesos=wire.MesosContainer()),
)


def offer_of(*resources: dict[str, Any]) -> Offer:
    offer = {"id": {"value": "o"}, "agent_id": {"value": "a"}, "hostname": "h", "resources": list(resources)}
    event = decode_event(json.dumps({"type": "OFFERS", "offers": {"offers": [offer]}}).encode())
    assert isinstance(event, Offers)
    return event.offers[0]


def scalar(name: str, value: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, "role": "*", **more}


def ports(*ranges: tuple[int, int], **more: Any) -> dict[str, Any]:
    held = [{"begin": begin, "end": end} for begin, end in ranges]
    return {"name": "ports", "type": "RANGES", "ranges": {"range": held}, "role": "*", **more}


WHOLE = offer_of(scalar("cpus", 4.0), scalar("mem", 4096.0), scalar("disk", 1000.0), ports((31000, 31010)))


def task(config: wire.TaskConfig = CONFIG, instance: int = 3) -> Task:
    return Task(
        task_id=f"www-prod-web-{instance}-x",
        instance=instance,
        config=config_of(config),
        status=ScheduleStatus.ASSIGNED,
        events=(TaskEvent(1, ScheduleStatus.ASSIGNED),),
        agent_id="a",
        host="h",
        ports=(("admin", 31005), ("http", 31000)),
    )


# -- resources ---------------------------------------------------------------------------------------------------------


def test_an_amount_is_given_back_in_the_form_of_the_offer() -> None:
    allocated = {"allocation_info": {"role": "web"}}
    offer = offer_of(scalar("cpus", 4.0, **allocated), scalar("mem", 64.0, **allocated))
    assert take(offer, Resources(milli_cpus=1250, ram_mb=64)) == [
        scalar("cpus", 1.25, **allocated),
        scalar("mem", 64.0, **allocated),
    ]


@pytest.mark.parametrize("name", ["reserved_by_role", "reserved_by_reservations"])
def test_what_is_reserved_goes_first_and_the_rest_is_of_all(name: str) -> None:
    events = [decode_event(line) for line in (GOLDEN / f"{name}.jsonl").read_bytes().splitlines()]
    offer = next(event for event in events if isinstance(event, Offers)).offers[0]
    reserved, free = (one.raw for one in offer.amounts if one.name == "cpus")
    offer = offer._replace(amounts=offer.amounts[::-1])  # whatever the order
    assert take(offer, Resources(milli_cpus=2500)) == [
        {**reserved, "scalar": {"value": 2.0}},
        {**free, "scalar": {"value": 0.5}},
    ]
    assert [is_reserved(one) for one in offer.amounts if one.name == "cpus"] == [False, True]


def test_several_tasks_on_one_offer_take_what_is_left() -> None:
    room = Room(offer_of(scalar("cpus", 1.0, role="a"), scalar("cpus", 1.0)))
    assert room.take("cpus", 700) == [scalar("cpus", 0.7, role="a")]
    assert room.take("cpus", 700) == [scalar("cpus", 0.3, role="a"), scalar("cpus", 0.4)]
    with pytest.raises(OfferTooSmall, match=r"offer o of h lacks 0\.1 of 0\.7 cpus"):
        room.take("cpus", 700)


def test_several_offers_of_one_agent_are_one_room() -> None:
    room = Room(offer_of(scalar("cpus", 1.0)), offer_of(scalar("cpus", 1.0), ports((5, 6))))
    assert room.take("cpus", 2000) == [scalar("cpus", 1.0), scalar("cpus", 1.0)]
    assert room.take_ports([6]) == [ports((6, 6))]


def test_ports_of_several_ranges() -> None:
    room = Room(offer_of(ports((10, 12), (20, 20)), ports((30, 40), role="a")))
    assert room.take_ports([11, 20, 31, 32]) == [ports((31, 32), role="a"), ports((11, 11), (20, 20))]
    assert room.take_ports([10, 12, 30]) == [ports((30, 30), role="a"), ports((10, 10), (12, 12))]
    with pytest.raises(OfferTooSmall, match="lacks the ports 11, 99"):
        room.take_ports([11, 40, 99])


def test_revocable_tiers_take_revocable_cpus_alone() -> None:
    offer = offer_of(scalar("cpus", 1.0), scalar("cpus", 3.0, revocable={}), scalar("mem", 100.0))
    revocable = SETTINGS.tier("revocable")
    assert revocable_names(revocable, SETTINGS) == {"cpus"}
    assert revocable_names(revocable, replace(SETTINGS, enable_revocable_ram=True)) == {"cpus", "mem"}
    assert revocable_names(SETTINGS.tier("preferred"), SETTINGS) == set()
    assert take(offer, Resources(milli_cpus=2000, ram_mb=50), (), frozenset({"cpus"})) == [
        scalar("cpus", 2.0, revocable={}),
        scalar("mem", 50.0),
    ]
    with pytest.raises(OfferTooSmall):
        take(offer, Resources(milli_cpus=2000))


def test_thousandths_are_exact() -> None:
    room = Room(offer_of(scalar("cpus", 0.3)))
    assert [room.take("cpus", 100)[0]["scalar"]["value"] for _ in range(3)] == [0.1, 0.1, 0.1]


# -- the task ----------------------------------------------------------------------------------------------------------


def test_a_task_for_thermos() -> None:
    info = task_info(task(), WHOLE, SETTINGS)
    data = wire.decode(base64.b64decode(info.pop("data")))
    assert data == wire.AssignedTask(
        "www-prod-web-3-x", "a", "h", data.task, {"admin": 31005, "http": 31000}, 3
    )  # fmt: skip
    assert config_of(data.task) == config_of(CONFIG)
    assert info == {
        "name": "www/prod/web",
        "task_id": {"value": "www-prod-web-3-x"},
        "agent_id": {"value": "a"},
        "resources": [
            scalar("cpus", 1.5),
            scalar("mem", 100.0),
            scalar("disk", 10.0),
            ports((31000, 31000), (31005, 31005)),
        ],
        "labels": {
            "labels": [
                {"key": "org.apache.aurora.tier", "value": "preferred"},
                {"key": "org.apache.aurora.metadata.team", "value": "blue"},
            ]
        },
        "executor": {
            "name": "aurora.task",
            "executor_id": {"value": "thermos-www-prod-web-3-x"},
            "source": "www.prod.web.3",
            "labels": {"labels": [{"key": "source", "value": "www.prod.web.3"}]},
            "command": {
                "value": "${MESOS_SANDBOX=.}/thermos_executor.pex --announcer-ensemble zk:2181",
                "uris": [
                    {"value": "/opt/thermos_executor.pex", "executable": True},
                    {"value": "/opt/extra.pex", "executable": True},
                ],
            },
            "resources": [scalar("cpus", 0.25), scalar("mem", 128.0)],
        },
    }


def test_two_tasks_on_one_offer_share_its_room() -> None:
    room = Room(offer_of(scalar("cpus", 3.4), scalar("mem", 4096.0), scalar("disk", 1000.0), ports((31000, 31010))))
    no_ports = CONFIG._replace(resources=CONFIG.resources[:3] if CONFIG.resources else ())
    task_info(task(no_ports)._replace(ports=()), room, SETTINGS)
    with pytest.raises(OfferTooSmall, match=r"lacks 0\.1 of 0\.25 cpus"):
        task_info(task(no_ports)._replace(ports=()), room, SETTINGS)


def test_discovery_info() -> None:
    assert "discovery" not in task_info(task(), WHOLE, SETTINGS)
    assert task_info(task(), WHOLE, SETTINGS, has_discovery=True)["discovery"] == {
        "visibility": "CLUSTER",
        "name": "web.prod.www",
        "environment": "prod",
        "location": "west",
        "ports": {
            "ports": [
                {"name": "admin", "number": 31005, "protocol": "TCP"},
                {"name": "http", "number": 31000, "protocol": "TCP"},
            ]
        },
    }


def test_uris_of_the_job_follow_those_of_the_executor() -> None:
    uris = (wire.MesosFetcherURI("hdfs://x/y.tgz", True, True, None), wire.MesosFetcherURI("z", None, None, "name"))
    info = task_info(task(CONFIG._replace(mesos_fetcher_uris=uris)), WHOLE, SETTINGS)
    assert info["executor"]["command"]["uris"][2:] == [
        {"value": "hdfs://x/y.tgz", "executable": False, "extract": True, "cache": True},
        {"value": "z", "executable": False, "extract": False, "cache": False, "output_file": "name"},
    ]
    again = task_info(task(), WHOLE, SETTINGS)
    assert len(again["executor"]["command"]["uris"]) == 2  # the settings are as they were


def test_a_docker_container_with_an_executor() -> None:
    docker = wire.DockerContainer("python:3", (wire.DockerParameter("net", "bridge"),))
    info = task_info(task(CONFIG._replace(container=wire.Container(docker=docker))), WHOLE, SETTINGS)
    assert info["executor"]["container"] == {
        "type": "DOCKER",
        "docker": {"image": "python:3", "parameters": [{"key": "net", "value": "bridge"}]},
        "volumes": [{"host_path": "/h", "container_path": "/c", "mode": "RO"}],
    }
    assert "container" not in info


def test_a_docker_container_without_one_runs_its_own_command() -> None:
    docker = wire.Container(docker=wire.DockerContainer("python:3"))
    info = task_info(task(CONFIG._replace(container=docker, executor_config=None)), WHOLE, SETTINGS)
    assert info["container"] == {"type": "DOCKER", "docker": {"image": "python:3", "parameters": []}}
    assert info["command"] == {"shell": False}
    assert not {"executor", "data"} & info.keys()
    assert info["resources"][0] == scalar("cpus", 1.5)


@pytest.mark.parametrize(
    "image, written",
    [
        (
            wire.Image(docker=wire.DockerImage("busybox", "1.2")),
            {"type": "DOCKER", "docker": {"name": "busybox:1.2"}},
        ),
        (wire.Image(appc=wire.AppcImage("x", "sha512-1")), {"type": "APPC", "appc": {"name": "x", "id": "sha512-1"}}),
    ],
)
def test_an_image_is_a_volume_of_the_executor_s(image: wire.Image, written: dict[str, Any]) -> None:
    mesos = wire.MesosContainer(image, (wire.Volume("/in", "/out", 1), wire.Volume("/ro", "/out", 2)))
    info = task_info(task(CONFIG._replace(container=wire.Container(mesos=mesos))), WHOLE, SETTINGS)
    assert info["executor"]["container"] == {
        "type": "MESOS",
        "mesos": {},
        "volumes": [
            {"host_path": "/h", "container_path": "/c", "mode": "RO"},
            {"host_path": "/out", "container_path": "/in", "mode": "RW"},
            {"host_path": "/out", "container_path": "/ro", "mode": "RO"},
            {"image": written, "container_path": "taskfs", "mode": "RO"},
        ],
    }


def test_a_job_without_a_container_is_one_of_mesos() -> None:
    assert "container" not in task_info(task(CONFIG._replace(container=None)), WHOLE, SETTINGS)["executor"]


def test_a_job_without_a_tier_is_of_the_default_one() -> None:
    info = task_info(task(CONFIG._replace(tier=None)), WHOLE, SETTINGS)
    assert info["labels"]["labels"][0]["value"] == "preemptible"


def test_an_executor_that_is_not_there() -> None:
    with pytest.raises(NoExecutor, match=r"no executor nobody .* it has: AuroraExecutor"):
        task_info(task(CONFIG._replace(executor_config=wire.ExecutorConfig("nobody", ""))), WHOLE, SETTINGS)
    with pytest.raises(NoExecutor, match="names no executor"):
        task_info(task(CONFIG._replace(executor_config=None)), WHOLE, SETTINGS)


def test_what_cannot_be_launched_is_an_error_of_its_task_alone() -> None:
    small = CONFIG._replace(resources=(wire.Resource(num_cpus=1.0),))
    lost = small._replace(executor_config=wire.ExecutorConfig("nobody", ""))
    big = small._replace(resources=(wire.Resource(num_cpus=64.0),))
    tasks = tuple(task(one, n)._replace(ports=()) for n, one in enumerate((small, lost, small, big)))
    call, failures = accept_of(Launch((WHOLE,), tasks), SETTINGS)
    assert call.offer_ids == ("o",)
    assert [one["task_id"]["value"] for one in call.tasks] == ["www-prod-web-0-x", "www-prod-web-2-x"]
    assert [(one.status.task_id, one.status.state, one.status.uuid) for one in failures] == [
        ("www-prod-web-1-x", MesosTaskState.TASK_ERROR, None),
        ("www-prod-web-3-x", MesosTaskState.TASK_ERROR, None),
    ]
    assert "no executor nobody" in (failures[0].status.message or "")
    assert "lacks" in (failures[1].status.message or "")


def test_text_that_is_no_character_does_not_end_the_launch() -> None:
    info = task_info(task(CONFIG._replace(metadata=(wire.Metadata("k\udcff", "\udcff"),))), WHOLE, SETTINGS)
    assert info["labels"]["labels"][1] == {"key": "org.apache.aurora.metadata.k?", "value": "?"}


def test_what_was_encoded_once_is_the_same_as_encoded_at_once() -> None:
    placed = wire.AssignedTask("t", "a", "h", CONFIG, {"http": 1}, 7)
    config = encode_config(config_of(CONFIG))
    assert wire.encode_placed(placed, config) == wire.encode(placed)


# -- executors ---------------------------------------------------------------------------------------------------------


def test_home_in_the_sandbox() -> None:
    made = executor_settings_from_flags("http://x/executor.sh", thermos_home_in_sandbox=True)
    assert made.raw["command"]["value"] == "HOME=${MESOS_SANDBOX=.} ${MESOS_SANDBOX=.}/executor.sh"
    assert (made.name, made.overhead, made.task_prefix) == ("AuroraExecutor", Resources(250, 128), "thermos-")


def test_flags_that_are_wrong_are_all_said() -> None:
    with pytest.raises(ExecutorsInvalid) as caught:
        executor_settings_from_flags("/opt/", global_container_mounts=["/a:/b", "/a:/b:XX"])
    assert len(caught.value.problems) == 3


#: Of Aurora's documentation, where ``shell`` is text.
DOCUMENTED = """[{
  "executor": {
    "name": "myExecutor",
    "command": {
      "value": "myExecutor.a", "shell": "false", "arguments": ["localhost:2181", "-verbose"],
      "uris": [{"value": "/dist/myExecutor.a", "executable": true, "extract": false, "cache": true}]
    },
    "resources": [
      {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.00}},
      {"name": "mem", "type": "SCALAR", "scalar": {"value": 512}}
    ],
    "shutdown_grace_period": {"nanoseconds": 5000000000}
  },
  "volume_mounts": [{"mode": "RO", "container_path": "/in", "host_path": "/out"}],
  "task_prefix": "my-executor-"
}]"""


def test_a_custom_executor() -> None:
    assert parse_custom_executor_config(DOCUMENTED) == {
        "myExecutor": ExecutorSettings(
            name="myExecutor",
            overhead=Resources(1000, 512),
            raw={
                "name": "myExecutor",
                "command": {
                    "value": "myExecutor.a",
                    "shell": False,
                    "arguments": ["localhost:2181", "-verbose"],
                    "uris": [{"value": "/dist/myExecutor.a", "executable": True, "extract": False, "cache": True}],
                },
                "shutdown_grace_period": {"nanoseconds": 5000000000},
            },
            task_prefix="my-executor-",
            volume_mounts=({"mode": "RO", "container_path": "/in", "host_path": "/out"},),
        )
    }


def test_a_task_for_a_custom_executor() -> None:
    settings = replace(SETTINGS, executors=parse_custom_executor_config(DOCUMENTED))
    config = CONFIG._replace(executor_config=wire.ExecutorConfig("myExecutor", "anything"))
    executor = task_info(task(config), WHOLE, settings)["executor"]
    assert executor["executor_id"] == {"value": "my-executor-www-prod-web-3-x"}
    assert executor["resources"] == [scalar("cpus", 1.0), scalar("mem", 512.0)]
    assert executor["shutdown_grace_period"] == {"nanoseconds": 5000000000}


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[[[", "3"])
def test_what_is_no_list_of_executors(text: str) -> None:
    with pytest.raises(ExecutorsInvalid):
        parse_custom_executor_config(text)


def test_all_that_is_wrong_with_custom_executors_is_said() -> None:
    one = json.loads(DOCUMENTED)[0]
    broken = {
        "executor": {
            "name": "",
            "command": {"shell": "maybe", "arguments": "x", "uris": [{"cache": 3}, 4]},
            "resources": [{"name": "bread"}, {"name": "cpus", "scalar": {"value": "1"}}],
        },
        "volume_mounts": [{"mode": "XX"}, 3],
        "taskprefix": "x",
    }
    with pytest.raises(ExecutorsInvalid) as caught:
        parse_custom_executor_config(json.dumps([broken, one, one]))
    found = "\n".join(caught.value.problems)
    for path in (
        "[0].taskprefix", "[0].task_prefix", "[0].executor.name", "[0].executor.command.value",
        "[0].executor.command.shell", "[0].executor.command.arguments", "[0].executor.command.uris[0].value",
        "[0].executor.command.uris[0].cache", "[0].executor.command.uris[1]", "[0].executor.resources[0].name",
        "[0].executor.resources[1].scalar.value", "[0].volume_mounts[0].host_path", "[0].volume_mounts[0].mode",
        "[0].volume_mounts[1]", "[2].executor.name",
    ):  # fmt: skip
        assert path in found, path
