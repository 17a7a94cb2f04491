"""Both v1 APIs of Mesos from the other side: calls of schedulers and executors read, events for them written.

Sources as in :mod:`thermos.formats.mesos_v1_scheduler` and :mod:`thermos.formats.mesos_v1_executor`; the words of a
refusal are those of a Mesos 1.11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, assert_never

from thermos import mesos
from thermos.formats import mesos_v1_scheduler as scheduler
from thermos.formats.mesos_v1 import (
    Object,
    WireError,
    dump,
    parse,
    read_kill_grace_s,
    read_labels,
    read_task,
    write_data,
    write_identity,
)

#: ``Filters.refuse_seconds`` has this default (``mesos/include/mesos/v1/mesos.proto``).
_REFUSE_S: Final = 5.0
_NANOSECONDS: Final = 1_000_000_000


class CallRefused(ValueError):
    """A call is answered 400, with these words."""


class SchedulerSaid(NamedTuple):
    """A call of a scheduler; only a first SUBSCRIBE has no *framework_id*."""

    framework_id: str | None
    call: scheduler.SchedulerCall


class ExecutorSaid(NamedTuple):
    """A call of an executor."""

    framework_id: str
    executor_id: str
    call: mesos.ExecutorCall


# -- operators ---------------------------------------------------------------------------------------------------------


def decode_schedule(payload: bytes) -> dict[str, scheduler.Unavailability]:
    """By host, when it goes down: the body of a request to ``/maintenance/schedule``. Raises CallRefused."""
    found = {}
    try:
        for window in parse(payload).each("windows", lambda one: one):
            when = window.object("unavailability")
            start, duration = when.object("start"), when.maybe_object("duration")
            unavailability = scheduler.Unavailability(
                start.maybe_integer("nanoseconds") or 0,
                None if duration is None else duration.maybe_integer("nanoseconds"),
            )
            for hostname in window.each("machine_ids", lambda one: one.maybe_text("hostname") or one.text("ip")):
                found[hostname] = unavailability
    except WireError as error:
        raise CallRefused(f"Failed to convert JSON into Schedule protobuf: {error}") from None
    return found


# -- schedulers' calls -------------------------------------------------------------------------------------------------


def decode_scheduler_call(payload: bytes) -> SchedulerSaid:
    """The call in the body of a request. Raises CallRefused."""
    message, kind, framework_id = _begin(payload, "scheduler")
    if kind == "SUBSCRIBE":
        return _subscribe(message, framework_id)
    reader = _CALLS.get(kind)
    if reader is None:
        raise CallRefused("Failed to validate scheduler::Call: Expecting 'type' to be present")
    if framework_id is None:
        raise CallRefused("Failed to validate scheduler::Call: Expecting 'framework_id' to be present")
    body_name, read = reader
    try:
        body = message if body_name is None else _body(message, body_name, "scheduler")
        return SchedulerSaid(framework_id, read(body))
    except WireError as error:
        raise CallRefused(f"Failed to convert JSON into Call protobuf: {error}") from None


def _begin(payload: bytes, api: str) -> tuple[Object, str, str | None]:
    try:
        message = parse(payload)
        kind = message.maybe_text("type")
        framework_id = message.maybe_identity("framework_id")
    except WireError as error:
        raise CallRefused(f"Failed to parse body into JSON: {error}") from None
    if kind is None:
        raise CallRefused(f"Failed to validate {api}::Call: Expecting 'type' to be present")
    return message, kind, framework_id


def _body(message: Object, name: str, api: str) -> Object:
    body = message.maybe_object(name)
    if body is None:
        raise CallRefused(f"Failed to validate {api}::Call: Expecting '{name}' to be present")
    return body


def _subscribe(message: Object, framework_id: str | None) -> SchedulerSaid:
    try:
        subscribe = _body(message, "subscribe", "scheduler")
        info = subscribe.object("framework_info")
        info.text("name")
        info.text("user")
        if info.maybe_identity("id") != framework_id:
            raise CallRefused(
                "Failed to validate scheduler::Call: 'framework_id' differs from 'subscribe.framework_info.id'"
            )
        suppressed = subscribe.raw.get("suppressed_roles") or ()
        if not isinstance(suppressed, (list, tuple)):
            raise WireError("subscribe.suppressed_roles", "should be a list")
        return SchedulerSaid(framework_id, scheduler.Subscribe(info.raw, tuple(map(str, suppressed))))
    except WireError as error:
        raise CallRefused(f"Failed to convert JSON into Call protobuf: {error}") from None


def _refuse_s(body: Object) -> float:
    filters = body.maybe_object("filters")
    refuse_s = None if filters is None else filters.raw.get("refuse_seconds")
    if refuse_s is None:
        return _REFUSE_S
    if not isinstance(refuse_s, (int, float)) or isinstance(refuse_s, bool):
        raise WireError("filters.refuse_seconds", "should be a number")
    return float(refuse_s)


def _accept(body: Object) -> scheduler.SchedulerCall:
    tasks: list[mesos.Raw] = []
    for operation in body.each("operations", lambda one: one):
        kind = operation.text("type")
        if kind != "LAUNCH":
            raise CallRefused(f"Failed to validate scheduler::Call: this Mesos has no operation {kind}, only LAUNCH")
        tasks += operation.object("launch").each("task_infos", lambda one: one.raw)
    return scheduler.Accept(_ids(body, "offer_ids"), tuple(tasks), _refuse_s(body))


def _ids(body: Object, key: str) -> tuple[str, ...]:
    return body.each(key, lambda one: one.text("value"))


_CALLS: Final[dict[str, tuple[str | None, Callable[[Object], scheduler.SchedulerCall]]]] = {
    "ACCEPT": ("accept", _accept),
    "DECLINE": ("decline", lambda body: scheduler.Decline(_ids(body, "offer_ids"), _refuse_s(body))),
    "ACCEPT_INVERSE_OFFERS": (
        "accept_inverse_offers",
        lambda body: scheduler.AcceptInverseOffers(_ids(body, "inverse_offer_ids")),
    ),
    "DECLINE_INVERSE_OFFERS": (
        "decline_inverse_offers",
        lambda body: scheduler.DeclineInverseOffers(_ids(body, "inverse_offer_ids")),
    ),
    "REVIVE": (None, lambda body: scheduler.Revive()),
    "SUPPRESS": (None, lambda body: scheduler.Suppress()),
    "KILL": (
        "kill",
        lambda body: scheduler.Kill(body.identity("task_id"), body.maybe_identity("agent_id"), read_kill_grace_s(body)),
    ),
    "SHUTDOWN": (
        "shutdown",
        lambda body: scheduler.Shutdown(body.identity("executor_id"), body.identity("agent_id")),
    ),
    "ACKNOWLEDGE": (
        "acknowledge",
        lambda body: scheduler.Acknowledge(body.identity("agent_id"), body.identity("task_id"), body.data("uuid")),
    ),
    "RECONCILE": (
        "reconcile",
        lambda body: scheduler.Reconcile(
            body.each("tasks", lambda one: (one.identity("task_id"), one.maybe_identity("agent_id")))
        ),
    ),
    "MESSAGE": (
        "message",
        lambda body: scheduler.SendMessage(
            body.identity("agent_id"), body.identity("executor_id"), body.maybe_data("data") or b""
        ),
    ),
    "TEARDOWN": (None, lambda body: scheduler.Teardown()),
}


# -- events for schedulers ---------------------------------------------------------------------------------------------


def encode_scheduler_event(event: scheduler.SchedulerEvent, master_info: dict[str, Any]) -> bytes:
    """A record of a scheduler's stream."""
    message: dict[str, Any]
    match event:
        case scheduler.Offers(offers):
            message = {"type": "OFFERS", "offers": {"offers": [one.raw for one in offers]}}
        case scheduler.Update(status):
            message = {"type": "UPDATE", "update": {"status": status.raw}}
        case scheduler.Heartbeat():
            message = {"type": "HEARTBEAT"}
        case scheduler.Subscribed():
            body: dict[str, Any] = {"framework_id": write_identity(event.framework_id), "master_info": master_info}
            if event.heartbeat_interval_s is not None:
                body["heartbeat_interval_seconds"] = event.heartbeat_interval_s
            message = {"type": "SUBSCRIBED", "subscribed": body}
        case scheduler.Rescind(offer_id):
            message = {"type": "RESCIND", "rescind": {"offer_id": write_identity(offer_id)}}
        case scheduler.InverseOffers(inverse):
            message = {"type": "INVERSE_OFFERS", "inverse_offers": {"inverse_offers": [one.raw for one in inverse]}}
        case scheduler.RescindInverseOffer(offer_id):
            body = {"inverse_offer_id": write_identity(offer_id)}
            message = {"type": "RESCIND_INVERSE_OFFER", "rescind_inverse_offer": body}
        case scheduler.Message(agent_id, executor_id, data):
            body = {
                "agent_id": write_identity(agent_id),
                "executor_id": write_identity(executor_id),
                "data": write_data(data),
            }
            message = {"type": "MESSAGE", "message": body}
        case scheduler.Failure(failed_agent, failed_executor, status):
            body = {}
            if failed_agent is not None:
                body["agent_id"] = write_identity(failed_agent)
            if failed_executor is not None:
                body["executor_id"] = write_identity(failed_executor)
            if status is not None:
                body["status"] = status
            message = {"type": "FAILURE", "failure": body}
        case scheduler.Error(text):
            message = {"type": "ERROR", "error": {"message": text}}
        case scheduler.Unknown(kind):
            message = {"type": kind}
        case _:
            assert_never(event)
    return dump(message)


# -- executors ---------------------------------------------------------------------------------------------------------


def decode_executor_call(payload: bytes) -> ExecutorSaid:
    """The call in the body of a request. Raises CallRefused."""
    message, kind, framework_id = _begin(payload, "executor")
    try:
        executor_id = message.maybe_identity("executor_id")
        if framework_id is None or executor_id is None:
            missing = "framework_id" if framework_id is None else "executor_id"
            raise CallRefused(f"Failed to validate executor::Call: Expecting '{missing}' to be present")
        call: mesos.ExecutorCall
        if kind == "SUBSCRIBE":
            body = _body(message, "subscribe", "executor")
            updates = body.each("unacknowledged_updates", lambda one: _status(one.object("status")))
            call = mesos.Subscribe(body.each("unacknowledged_tasks", read_task), updates)
        elif kind == "UPDATE":
            call = mesos.Update(_status(_body(message, "update", "executor").object("status")))
        elif kind == "MESSAGE":
            call = mesos.SendMessage(_body(message, "message", "executor").maybe_data("data") or b"")
        elif kind == "HEARTBEAT":
            call = mesos.SendHeartbeat()
        else:
            raise CallRefused("Failed to validate executor::Call: Expecting 'type' to be present")
        return ExecutorSaid(framework_id, executor_id, call)
    except WireError as error:
        raise CallRefused(f"Failed to convert JSON into Call protobuf: {error}") from None


def _status(status: Object) -> mesos.TaskStatus:
    try:
        state = mesos.MesosTaskState(status.text("state"))
        source = mesos.Source(status.maybe_text("source") or "SOURCE_EXECUTOR")
        reason_name = status.maybe_text("reason")
        reason = None if reason_name is None else mesos.Reason(reason_name)
    except ValueError as error:
        if isinstance(error, WireError):
            raise
        raise WireError(status.path, str(error)) from None
    timestamp = status.raw.get("timestamp")
    if not isinstance(timestamp, (int, float)) or isinstance(timestamp, bool):
        raise WireError(status.where("timestamp"), "should be a number")
    container = status.maybe_object("container_status")
    return mesos.TaskStatus(
        task_id=status.identity("task_id"),
        state=state,
        uuid=status.data("uuid"),
        timestamp_s=float(timestamp),
        executor_id=status.maybe_identity("executor_id"),
        source=source,
        reason=reason,
        message=status.maybe_text("message"),
        healthy=status.maybe_flag("healthy"),
        labels=read_labels(status),
        container_status=None if container is None else container.raw,
        data=status.maybe_data("data"),
    )


def encode_agent_event(event: mesos.AgentEvent) -> bytes:
    """A record of an executor's stream."""
    message: dict[str, Any]
    match event:
        case mesos.Subscribed(executor, framework, agent, container_id):
            body: dict[str, Any] = {
                "executor_info": executor.raw,
                "framework_info": framework.raw,
                "agent_info": agent.raw,
            }
            if container_id is not None:
                body["container_id"] = write_identity(container_id)
            message = {"type": "SUBSCRIBED", "subscribed": body}
        case mesos.Launch(task):
            message = {"type": "LAUNCH", "launch": {"task": task.raw}}
        case mesos.LaunchGroup(tasks):
            message = {"type": "LAUNCH_GROUP", "launch_group": {"task_group": {"tasks": [one.raw for one in tasks]}}}
        case mesos.Kill(task_id, grace_s):
            body = {"task_id": write_identity(task_id)}
            if grace_s is not None:
                body["kill_policy"] = {"grace_period": {"nanoseconds": int(grace_s * _NANOSECONDS)}}
            message = {"type": "KILL", "kill": body}
        case mesos.Acknowledged(task_id, uuid):
            message = {
                "type": "ACKNOWLEDGED",
                "acknowledged": {"task_id": write_identity(task_id), "uuid": write_data(uuid)},
            }
        case mesos.Message(data):
            message = {"type": "MESSAGE", "message": {"data": write_data(data)}}
        case mesos.Shutdown():
            message = {"type": "SHUTDOWN"}
        case mesos.Error(text):
            message = {"type": "ERROR", "error": {"message": text}}
        case mesos.Heartbeat():
            message = {"type": "HEARTBEAT"}
        case mesos.Unknown(kind):
            message = {"type": kind}
        case _:
            assert_never(event)
    return dump(message)
