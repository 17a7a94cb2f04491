"""What the client sends is what the original sent, and its answers to recorded replies are in the original's forms."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler.wire import thrift
from scheduler.wire.plain_json import plain
from scheduler.wire.schema import ARGUMENTS
from scheduler.wire.thrift import Protocol
from tests.support.aurora_client import Client, Reply, Sent, Server, server
from thermos.formats.aurora_api import Response, ResponseCode

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT.parent / "shared" / "golden"
REQUESTS = GOLDEN / "requests"
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not REQUESTS.is_dir(), reason="the original's requests (../shared/golden) are not here"),
]

#: The job of the recorded session, as its first request has it.
KEY = "example/waterworks/test/pump"


def recorded(number: str) -> tuple[str, bytes, bytes]:
    """Method, body and reply of a recorded request."""
    [path] = REQUESTS.glob(f"{number}-*.reply.bin")
    method = path.name.split("-")[1].split(".")[0]
    return method, (REQUESTS / f"{number}-{method}.bin").read_bytes(), path.read_bytes()


def as_sets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: json.loads(item) if key == "data" else as_sets(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((as_sets(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def arguments(method: str, values: Any) -> Any:
    struct = ARGUMENTS[method]
    return as_sets(plain(struct, struct.factory(**values)))


def written(number: str) -> tuple[str, Any]:
    """What was sent: the method and its arguments."""
    method, body, _ = recorded(number)
    return method, arguments(method, thrift.decode_call(body, Protocol.BINARY).arguments)


def of(sent: Sent) -> tuple[str, Any]:
    return sent.method, arguments(sent.method, sent.arguments)


@pytest.fixture
def scheduler(client: Client) -> Iterator[Server]:
    """Answers each method with the original's first reply to it."""
    replies: dict[str, bytes] = {}
    for path in sorted(REQUESTS.glob("*.reply.bin")):
        replies.setdefault(path.name.split("-")[1].split(".")[0], path.read_bytes())
    with server(lambda sent: Reply(200, replies[sent.method])) as made:
        clusters = [{"name": "example", "scheduler_uri": made.url, "auth_mechanism": "UNAUTHENTICATED"}]
        (client.path / "clusters.json").write_text(json.dumps(clusters))
        yield made


@pytest.fixture
def config(tmp_path: Path) -> str:
    """The configuration that the recorded session used, made again from what it sent."""
    _, body, _ = recorded("002")
    description = thrift.decode_call(body, Protocol.BINARY).arguments["description"]
    job = json.loads(description.task_config.executor_config.data)
    del job["tier"]  # filled in by the client
    _, diff_body, _ = recorded("007")
    settings = thrift.decode_call(diff_body, Protocol.BINARY).arguments["request"].settings
    job["instances"] = description.instance_count
    job["update_config"] = {
        "batch_size": settings.update_group_size,
        "watch_secs": settings.min_wait_in_instance_running_ms // 1000,
        "max_per_shard_failures": settings.max_per_instance_failures,
        "max_total_failures": settings.max_failed_instances,
        "rollback_on_failure": settings.rollback_on_failure,
        "wait_for_batch_completion": settings.wait_for_batch_completion,
        "pulse_interval_secs": settings.block_if_no_pulses_after_ms // 1000,
    }
    path = tmp_path / "pump.json"
    path.write_text(json.dumps({"jobs": [job]}))
    return str(path)


def test_create(client: Client, scheduler: Server, config: str) -> None:
    done = client.aurora("job", "create", KEY, config)
    assert [of(sent) for sent in scheduler.sent] == [written("001"), written("002"), written("003")]
    assert (done.code, done.out) == (
        0,
        f"Job create succeeded: job url={scheduler.url}/scheduler/waterworks/test/pump\n",
    )


def test_the_headers(client: Client, scheduler: Server) -> None:
    client.aurora("job", "status", KEY)
    line, *headers = (REQUESTS / "003-getTasksWithoutConfigs.headers.txt").read_text().splitlines()
    assert scheduler.sent[0].line == line
    assert dict(scheduler.sent[0].headers) == dict(header.split(": ", 1) for header in headers)


def test_status(client: Client, scheduler: Server) -> None:
    done = client.aurora("job", "status", KEY)
    assert [of(sent) for sent in scheduler.sent] == [written("004")]
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "Active tasks (12):"
    assert lines[1] == (
        "\tTask role: waterworks, env: test, name: pump, instance: 0, status: RUNNING on host-0.example.test"
    )
    assert lines[2] == "\t  CPU: 1.5 core(s), RAM: 300 MB, Disk: 1024 MB, Port: data, Port: health"
    assert lines[3] == "\t  assigned ports: {'data': 31000, 'health': 31001}"
    assert lines[4:6] == ["\t  failure count: 0 (max 1)", "\t  events:"]
    assert re.fullmatch(r"\t   \d{4}-\d\d-\d\d \d\d:\d\d:\d\d PENDING:", lines[6])
    assert lines[10].startswith("\tTask role: waterworks, env: test, name: pump, instance: 1, ")
    assert done.out.endswith("\nInactive tasks (0):\n\n")


def test_status_as_json(client: Client, scheduler: Server) -> None:
    [job] = json.loads(client.aurora("job", "status", KEY, "--write-json").out)
    assert job["job"] == KEY
    assert job["inactive"] == []
    assert [task["status"] for task in job["active"]] == ["RUNNING"] * 12
    first = job["active"][0]
    assert first["taskEvents"][0] == {
        "timestamp": 1600000000000,
        "status": "PENDING",
        "scheduler": "sched.example.test",
    }
    assert first["assignedTask"]["task"]["isService"] is True
    assert first["assignedTask"]["assignedPorts"] == {"data": 31000, "health": 31001}
    ours = json.loads(client.aurora("job", "status", KEY, "--json").out)
    assert ours == {"schema": 1, "jobs": [{**job, "pending_reasons": {}}]}


def test_diff(client: Client, scheduler: Server, config: str) -> None:
    done = client.aurora("job", "diff", KEY, config)
    assert [of(sent) for sent in scheduler.sent] == [written("005"), written("006"), written("007")]
    assert (done.code, done.out) == (0, "This job update will:\nadd instances: [0-11]\n")


def test_add(client: Client, scheduler: Server) -> None:
    done = client.aurora("job", "add", f"{KEY}/0", "2")
    assert [of(sent) for sent in scheduler.sent] == [written("018"), written("019")]
    assert done.code == 0


@pytest.mark.parametrize("words, number, poll", [(["11", "-m", "drop one"], "021", "022"), (["3"], "025", "026")])
def test_kill(client: Client, scheduler: Server, words: list[str], number: str, poll: str) -> None:
    """The recorded reply says that the instances still run: it gives up once the pause is as long as it gets."""
    done = client.aurora("job", "kill", f"{KEY}/{words[0]}", *words[1:])
    assert [of(sent) for sent in scheduler.sent[:3]] == [written("020"), written(number), written(poll)]
    assert done.code == 4
    assert client.slept_s == [2, 4, 8, 16, 32, 64, 128]


def test_replies_can_be_read() -> None:
    for path in sorted(REQUESTS.glob("*.reply.bin")):
        method = path.name.split("-")[1].split(".")[0]
        response = thrift.decode_reply(path.read_bytes(), method, 0, Protocol.BINARY)
        assert isinstance(response, Response)
        assert isinstance(response.response_code, ResponseCode)


def without_own_id(call: tuple[str, Any]) -> tuple[str, Any]:
    """A request without the id that each run of a client makes up."""
    method, values = call
    if method == "startJobUpdate":
        [label] = values["request"].pop("metadata")
        assert label["key"] == "org.apache.aurora.client.update_id"
        uuid.UUID(label["value"])
    return method, values


@pytest.mark.parametrize(
    "instances, words, numbers",
    [("", ["-m", "raise the pressure"], "008 009 010"), ("/0-2,5", [], "011 012 013")],
)
def test_update_start(
    client: Client, scheduler: Server, config: str, instances: str, words: list[str], numbers: str
) -> None:
    done = client.aurora("update", "start", f"{KEY}{instances}", config, *words)
    expected = [without_own_id(written(number)) for number in numbers.split()]
    assert [without_own_id(of(sent)) for sent in scheduler.sent] == expected
    page = f"{scheduler.url}/scheduler/waterworks/test/pump/update/5d1c7a52-0b1e-4c86-9a58-3f0c2b7e9d11"
    assert (done.code, done.out) == (
        0,
        f"This job update will:\nadd instances: [0-11]\nJob update has started. View your update progress at {page}\n",
    )


def test_update_list(client: Client, scheduler: Server) -> None:
    done = client.aurora("update", "list", "example")
    assert [of(sent) for sent in scheduler.sent] == [written("014")]
    header, line = done.out.splitlines()
    assert [header[at : at + 5].strip() for at in (0, 48, 85, 101, 113, 133)] == [
        "JOB", "UPDAT", "STATU", "CREAT", "START", "LAST",
    ]  # fmt: skip
    assert line.split() == [
        "example/waterworks/test/pump", "5d1c7a52-0b1e-4c86-9a58-3f0c2b7e9d11", "ROLLING_FORWARD", "golduser",
        "2020-09-13T12:26:40", "2020-09-13T12:26:40",
    ]  # fmt: skip
    assert json.loads(client.aurora("update", "list", "example", "--write-json").out) == [
        {
            "job": KEY,
            "id": "5d1c7a52-0b1e-4c86-9a58-3f0c2b7e9d11",
            "user": "golduser",
            "started": "2020-09-13T12:26:40",
            "last_modified": "2020-09-13T12:26:40",
            "status": "ROLLING_FORWARD",
        }
    ]


def test_update_pause(client: Client, scheduler: Server) -> None:
    done = client.aurora("update", "pause", KEY, "-m", "why")
    assert [of(sent) for sent in scheduler.sent] == [written("015"), written("016")]
    assert (done.code, done.out) == (0, "Update has been paused.\n")
