"""What one side writes, the other reads: calls and events of both APIs."""

from __future__ import annotations

import pytest

from scheduler.local import wire
from tests.support.launches import INFO, task_info
from thermos import mesos
from thermos.formats import mesos_v1_executor as executor_api
from thermos.formats import mesos_v1_scheduler as values
from thermos.formats.mesos_v1 import Object, dump, read_agent, read_executor, read_framework, read_task

TASK = task_info("t", "a")
CALLS: list[values.SchedulerCall] = [
    values.Subscribe({**INFO, "id": {"value": "f"}}, ("*",)),
    values.Accept(("o", "p"), (TASK,), 3.0),
    values.Accept(("o",), ()),
    values.Decline(("o",), 7.0),
    values.AcceptInverseOffers(("o",)),
    values.DeclineInverseOffers(("o",)),
    values.Revive(),
    values.Suppress(),
    values.Kill("t"),
    values.Kill("t", "a", 2.5),
    values.Shutdown("e", "a"),
    values.Acknowledge("a", "t", b"u" * 16),
    values.Reconcile(()),
    values.Reconcile((("t", None), ("u", "a"))),
    values.SendMessage("a", "e", b"\x00hello"),
    values.Teardown(),
]
STATUS = mesos.TaskStatus(
    "t", mesos.MesosTaskState.TASK_RUNNING, b"u" * 16, 12.5, "e", mesos.Source.SOURCE_EXECUTOR, None, "words", True,
    (mesos.Label("k", "v"), mesos.Label("bare")), {"executor_pid": 7}, b"data",
)  # fmt: skip
EVENTS: list[mesos.AgentEvent] = [
    mesos.Subscribed(
        read_executor(Object(TASK["executor"], "")),
        read_framework(Object({**INFO, "id": {"value": "f"}}, "")),
        read_agent(Object({"id": {"value": "a"}, "hostname": "h"}, "")),
        "c",
    ),
    mesos.Launch(read_task(Object(TASK, ""))),
    mesos.LaunchGroup((read_task(Object(TASK, "")),)),
    mesos.Kill("t", None),
    mesos.Kill("t", 2.5),
    mesos.Acknowledged("t", b"u" * 16),
    mesos.Message(b"hello"),
    mesos.Shutdown(),
    mesos.Error("no"),
    mesos.Heartbeat(),
]


@pytest.mark.parametrize("call", CALLS)
def test_calls_of_schedulers(call: values.SchedulerCall) -> None:
    assert wire.decode_scheduler_call(values.encode_call(call, "f")) == ("f", call)


@pytest.mark.parametrize(
    "call",
    [
        mesos.Subscribe((), ()),
        mesos.Subscribe((read_task(Object(TASK, "")),), (STATUS,)),
        mesos.Update(STATUS),
        mesos.Update(STATUS._replace(reason=mesos.Reason.REASON_CONTAINER_LIMITATION_DISK, labels=(), healthy=None)),
        mesos.SendMessage(b"hello"),
        mesos.SendHeartbeat(),
    ],
)
def test_calls_of_executors(call: mesos.ExecutorCall) -> None:
    assert wire.decode_executor_call(executor_api.encode_call(call, "e", "f")) == ("f", "e", call)


@pytest.mark.parametrize("event", EVENTS)
def test_events_of_agents(event: mesos.AgentEvent) -> None:
    assert executor_api.decode_event(wire.encode_agent_event(event)) == event


@pytest.mark.parametrize(
    "event",
    [
        values.Message("a", "e", b"hello"),
        values.Failure("a", "e", 256),
        values.Failure("a", None, None),
        values.Error("no"),
        values.Rescind("o"),
        values.RescindInverseOffer("o"),
        values.Unknown("LATER"),
    ],
)
def test_events_of_masters(event: values.SchedulerEvent) -> None:
    """Those with offers and statuses are in test_master."""
    assert values.decode_event(wire.encode_scheduler_event(event, {})) == event


@pytest.mark.parametrize(
    "kind, body, words",
    [
        ("KILL", {}, "kill.task_id"),
        ("KILL", 5, "kill: should be an object"),
        ("KILL", None, "'kill' to be present"),
        ("ACCEPT", {"operations": [{"type": "RESERVE"}]}, "LAUNCH"),
        ("DECLINE", {"filters": {"refuse_seconds": "x"}}, "number"),
        ("SUBSCRIBE", None, "'subscribe' to be present"),
        ("SUBSCRIBE", {"framework_info": {"user": "root"}}, "framework_info.name"),
    ],
)
def test_calls_that_are_none(kind: str, body: object, words: str) -> None:
    call = {"type": kind, "framework_id": {"value": "f"}, kind.lower(): body}
    with pytest.raises(wire.CallRefused, match=words):
        wire.decode_scheduler_call(dump(call))


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"{"])
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(wire.CallRefused, match="parse body"):
        wire.decode_scheduler_call(body)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"framework_id": None}, "'framework_id' to be present"),
        ({"executor_id": None}, "'executor_id' to be present"),
        ({"type": "DANCE"}, "'type' to be present"),
        ({"type": "UPDATE"}, "'update' to be present"),
        ({"type": "UPDATE", "update": {"status": {"state": "TASK_ODD"}}}, "TASK_ODD"),
        ({"type": "UPDATE", "update": {"status": {"state": "TASK_LOST", "timestamp": "x"}}}, "timestamp"),
    ],
)
def test_executors_calls_that_are_none(fields: dict[str, object], words: str) -> None:
    call = {"type": "SUBSCRIBE", "framework_id": {"value": "f"}, "executor_id": {"value": "e"}, "subscribe": {}}
    with pytest.raises(wire.CallRefused, match=words):
        wire.decode_executor_call(dump({**call, **fields}))


def test_a_schedule_of_maintenance() -> None:
    window = {"machine_ids": [{"hostname": "h"}, {"ip": "1.2.3.4"}], "unavailability": {"start": {"nanoseconds": 5}}}
    when = values.Unavailability(5, None)
    assert wire.decode_schedule(dump({"windows": [window]})) == {"h": when, "1.2.3.4": when}
    with pytest.raises(wire.CallRefused, match="unavailability"):
        wire.decode_schedule(dump({"windows": [{}]}))
