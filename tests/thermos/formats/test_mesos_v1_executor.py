"""The executor API: every event as an agent sends it, every call as it wants it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermos.formats.mesos_v1 import WireError
from thermos.formats.mesos_v1_executor import decode_event, encode_call
from thermos.mesos import (
    Acknowledged,
    AgentInfo,
    Error,
    ExecutorInfo,
    FrameworkInfo,
    Heartbeat,
    Kill,
    Label,
    Launch,
    LaunchGroup,
    MesosTaskState,
    Message,
    SendHeartbeat,
    SendMessage,
    Shutdown,
    Subscribe,
    Subscribed,
    TaskInfo,
    TaskStatus,
    Unknown,
    Update,
)

UUID = bytes(range(16))
UUID_TEXT = "AAECAwQFBgcICQoLDA0ODw=="

TASK: dict[str, Any] = {
    "name": "hello",
    "task_id": {"value": "t-1"},
    "agent_id": {"value": "S0"},
    "data": "aGVsbG8=",
    "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}],
    "kill_policy": {"grace_period": {"nanoseconds": 5_500_000_000}},
    "labels": {"labels": [{"key": "a", "value": "b"}, {"key": "c"}]},
    "x_of_a_later_mesos": {"y": [1]},
}
EXECUTOR: dict[str, Any] = {
    "executor_id": {"value": "e-1"},
    "framework_id": {"value": "F-0"},
    "command": {"value": "./executor"},
    "source": "here",
    "shutdown_grace_period": {"nanoseconds": 60_000_000_000},
}
FRAMEWORK: dict[str, Any] = {
    "id": {"value": "F-0"},
    "name": "framework",
    "user": "nobody",
    "checkpoint": True,
    "capabilities": [{"type": "TASK_KILLING_STATE"}, {}],
}
AGENT: dict[str, Any] = {"id": {"value": "S0"}, "hostname": "127.0.0.1", "port": 5051, "resources": []}

EVENTS: list[tuple[dict[str, Any], object]] = [
    (
        {
            "type": "SUBSCRIBED",
            "subscribed": {
                "executor_info": EXECUTOR,
                "framework_info": FRAMEWORK,
                "agent_info": AGENT,
                "container_id": {"value": "c-1"},
            },
        },
        Subscribed(
            ExecutorInfo("e-1", "F-0", None, "here", None, 60.0, EXECUTOR),
            FrameworkInfo("F-0", "framework", "nobody", True, frozenset({"TASK_KILLING_STATE"}), FRAMEWORK),
            AgentInfo("S0", "127.0.0.1", 5051, AGENT),
            "c-1",
        ),
    ),
    (
        {"type": "LAUNCH", "launch": {"task": TASK}},
        Launch(TaskInfo("t-1", "hello", "S0", b"hello", 5.5, (Label("a", "b"), Label("c")), TASK)),
    ),
    (
        {
            "type": "LAUNCH_GROUP",
            "launch_group": {"task_group": {"tasks": [{"task_id": {"value": "a"}, "agent_id": {"value": "S"}}]}},
        },
        LaunchGroup((TaskInfo("a", "", "S", None, None, (), {"task_id": {"value": "a"}, "agent_id": {"value": "S"}}),)),
    ),
    ({"type": "KILL", "kill": {"task_id": {"value": "t-1"}}}, Kill("t-1", None)),
    (
        {
            "type": "KILL",
            "kill": {"task_id": {"value": "t"}, "kill_policy": {"grace_period": {"nanoseconds": 0}}},
        },
        Kill("t", 0.0),
    ),
    ({"type": "KILL", "kill": {"task_id": {"value": "t"}, "kill_policy": {}}}, Kill("t", None)),
    (
        {"type": "ACKNOWLEDGED", "acknowledged": {"task_id": {"value": "t"}, "uuid": UUID_TEXT}},
        Acknowledged("t", UUID),
    ),
    ({"type": "MESSAGE", "message": {"data": ""}}, Message(b"")),
    ({"type": "SHUTDOWN"}, Shutdown()),
    ({"type": "ERROR", "error": {"message": "no"}}, Error("no")),
    ({"type": "HEARTBEAT"}, Heartbeat()),
    ({"type": "OF_A_LATER_MESOS", "body": 1}, Unknown("OF_A_LATER_MESOS")),
    ({}, Unknown("")),
    ({"type": None}, Unknown("")),
]


@pytest.mark.parametrize("wire, event", EVENTS, ids=lambda value: type(value).__name__)
def test_events(wire: dict[str, Any], event: object) -> None:
    found = decode_event(json.dumps(wire).encode())
    assert (type(found), found) == (type(event), event)


@pytest.mark.parametrize(
    "wire, told",
    [
        ({"type": 3}, "type: should be a string, is a number"),
        ({"type": "LAUNCH"}, "launch: is missing"),
        ({"type": "LAUNCH", "launch": None}, "launch: is missing"),
        ({"type": "LAUNCH", "launch": []}, "launch: should be an object, is a list"),
        ({"type": "LAUNCH", "launch": {"task": {}}}, "launch.task.task_id: is missing"),
        (
            {"type": "LAUNCH", "launch": {"task": {**TASK, "task_id": {"value": 7}}}},
            "launch.task.task_id.value: should be a string, is a number",
        ),
        (
            {"type": "LAUNCH", "launch": {"task": {**TASK, "data": "a"}}},
            "launch.task.data: is not base64: ",
        ),
        ({"type": "LAUNCH", "launch": {"task": {**TASK, "data": "ü"}}}, "launch.task.data: is not base64: "),
        ({"type": "LAUNCH", "launch": {"task": {**TASK, "data": "aGVs*bG8="}}}, "launch.task.data: is not base64: "),
        (
            {"type": "LAUNCH", "launch": {"task": {**TASK, "labels": {"labels": [{}]}}}},
            "launch.task.labels.labels[0].key: is missing",
        ),
        (
            {"type": "LAUNCH_GROUP", "launch_group": {"task_group": {"tasks": [TASK, 1]}}},
            "launch_group.task_group.tasks[1]: should be an object, is a number",
        ),
        (
            {
                "type": "KILL",
                "kill": {"task_id": {"value": "t"}, "kill_policy": {"grace_period": {"nanoseconds": True}}},
            },
            "kill.kill_policy.grace_period.nanoseconds: should be an integer, is a boolean",
        ),
        (
            {"type": "ACKNOWLEDGED", "acknowledged": {"task_id": {"value": "t"}}},
            "acknowledged.uuid: is missing",
        ),
        ({"type": "ERROR", "error": {"message": {}}}, "error.message: should be a string, is an object"),
        (
            {"type": "SUBSCRIBED", "subscribed": {"executor_info": EXECUTOR, "framework_info": FRAMEWORK}},
            "subscribed.agent_info: is missing",
        ),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(wire: object, told: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_event(json.dumps(wire).encode())
    assert str(caught.value).startswith(told)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_an_event_with_anything_in_any_place_is_read_or_refused(data: st.DataObject) -> None:
    wire = copy.deepcopy(data.draw(st.sampled_from([wire for wire, _ in EVENTS if wire])))
    *above, key = data.draw(st.sampled_from(list(places(wire))))
    where: Any = wire
    for step in above:
        where = where[step]
    where[key] = data.draw(JSON)
    try:
        decode_event(json.dumps(wire).encode())
    except WireError as error:
        assert error.reason


@given(st.binary(max_size=50))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    try:
        decode_event(payload)
    except WireError as error:
        assert error.reason


STATUS = TaskStatus("t", MesosTaskState.TASK_RUNNING, UUID, 1.0, "e")
STATUS_WIRE = {
    "task_id": {"value": "t"},
    "state": "TASK_RUNNING",
    "source": "SOURCE_EXECUTOR",
    "uuid": UUID_TEXT,
    "timestamp": 1.0,
    "executor_id": {"value": "e"},
}


@pytest.mark.parametrize(
    "call, wire",
    [
        (
            Subscribe((), ()),
            {"type": "SUBSCRIBE", "subscribe": {"unacknowledged_tasks": [], "unacknowledged_updates": []}},
        ),
        (
            Subscribe((TaskInfo("t-1", "hello", "S0", None, None, (), TASK),), (STATUS,)),
            {
                "type": "SUBSCRIBE",
                "subscribe": {
                    "unacknowledged_tasks": [TASK],
                    "unacknowledged_updates": [{"status": STATUS_WIRE}],
                },
            },
        ),
        (Update(STATUS), {"type": "UPDATE", "update": {"status": STATUS_WIRE}}),
        (SendMessage(b"\0"), {"type": "MESSAGE", "message": {"data": "AA=="}}),
        (SendHeartbeat(), {"type": "HEARTBEAT"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_calls(call: Any, wire: dict[str, Any]) -> None:
    sent = json.loads(encode_call(call, "e", "F"))
    assert sent == {"executor_id": {"value": "e"}, "framework_id": {"value": "F"}, **wire}


def test_a_task_goes_back_as_it_came() -> None:
    launch = decode_event(json.dumps({"type": "LAUNCH", "launch": {"task": TASK}}).encode())
    assert isinstance(launch, Launch)
    sent = json.loads(encode_call(Subscribe((launch.task,), ()), "e", "F"))
    assert sent["subscribe"]["unacknowledged_tasks"] == [TASK]
