"""The v1 executor API of a Mesos agent: its events read, an executor's calls written.

``POST …/api/v1/executor``: SUBSCRIBE is answered 200 with a stream of events (:mod:`thermos.formats.recordio`), every
other call 202 with nothing. Source: mesos/docs/executor-http-api.md and include/mesos/v1/executor/executor.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, assert_never

from thermos.formats.mesos_v1 import (
    Object,
    dump,
    parse,
    read_agent,
    read_executor,
    read_framework,
    read_kill_grace_s,
    read_task,
    write_data,
    write_identity,
    write_status,
)
from thermos.mesos import (
    Acknowledged,
    AgentEvent,
    Error,
    ExecutorCall,
    Heartbeat,
    Kill,
    Launch,
    LaunchGroup,
    Message,
    SendHeartbeat,
    SendMessage,
    Shutdown,
    Subscribe,
    Subscribed,
    Unknown,
    Update,
)

#: Below the agent's own path: ``/slave(1)``, or nothing.
PATH: Final = "/api/v1/executor"


def decode_event(payload: bytes) -> AgentEvent:
    """The event in one record of the stream; Unknown for a type that is not known here.

    Raises:
        WireError: no JSON, or a field that is missing or of a wrong type.
    """
    event = parse(payload)
    kind = event.maybe_text("type") or ""
    read = _READERS.get(kind)
    return Unknown(kind) if read is None else read(event)


def _subscribed(event: Object) -> AgentEvent:
    body = event.object("subscribed")
    return Subscribed(
        read_executor(body.object("executor_info")),
        read_framework(body.object("framework_info")),
        read_agent(body.object("agent_info")),
        body.maybe_identity("container_id"),
    )


def _launch(event: Object) -> AgentEvent:
    return Launch(read_task(event.object("launch").object("task")))


def _launch_group(event: Object) -> AgentEvent:
    return LaunchGroup(event.object("launch_group").object("task_group").each("tasks", read_task))


def _kill(event: Object) -> AgentEvent:
    body = event.object("kill")
    return Kill(body.identity("task_id"), read_kill_grace_s(body))


def _acknowledged(event: Object) -> AgentEvent:
    body = event.object("acknowledged")
    return Acknowledged(body.identity("task_id"), body.data("uuid"))


_READERS: Final[dict[str, Callable[[Object], AgentEvent]]] = {
    "SUBSCRIBED": _subscribed,
    "LAUNCH": _launch,
    "LAUNCH_GROUP": _launch_group,
    "KILL": _kill,
    "ACKNOWLEDGED": _acknowledged,
    "MESSAGE": lambda event: Message(event.object("message").data("data")),
    "SHUTDOWN": lambda event: Shutdown(),
    "ERROR": lambda event: Error(event.object("error").text("message")),
    "HEARTBEAT": lambda event: Heartbeat(),
}


def encode_call(call: ExecutorCall, executor_id: str, framework_id: str) -> bytes:
    """The body of the request that makes *call*."""
    message: dict[str, Any] = {
        "executor_id": write_identity(executor_id),
        "framework_id": write_identity(framework_id),
    }
    match call:
        case Subscribe():
            message["type"] = "SUBSCRIBE"
            message["subscribe"] = {
                "unacknowledged_tasks": [task.raw for task in call.tasks],
                "unacknowledged_updates": [{"status": write_status(status)} for status in call.updates],
            }
        case Update():
            message["type"] = "UPDATE"
            message["update"] = {"status": write_status(call.status)}
        case SendMessage():
            message["type"] = "MESSAGE"
            message["message"] = {"data": write_data(call.data)}
        case SendHeartbeat():
            message["type"] = "HEARTBEAT"
        case _:
            assert_never(call)
    return dump(message)
