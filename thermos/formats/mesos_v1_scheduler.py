"""The v1 scheduler API of Mesos: a scheduler's calls as JSON, the master's events from JSON.

Source: mesos 1.11, ``include/mesos/v1/scheduler/scheduler.proto`` and ``docs/scheduler-http-api.md``; what the master
really sends was recorded from one. Values, and their encoding below; framing is :mod:`thermos.formats.recordio`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias, assert_never

from thermos.formats.mesos_v1 import (
    Object,
    WireError,
    dump,
    parse,
    read_labels,
    write_data,
    write_identity,
)
from thermos.mesos import MesosTaskState, Raw, Reason, Source

# -- values ------------------------------------------------------------------------------------------------------------


class Range(NamedTuple):
    """From *begin* to *end*, both included."""

    begin: int
    end: int


class Amount(NamedTuple):
    """One scalar resource of an offer: its name, how much, and the JSON it came in, whose other fields (role,
    reservations, revocable …) whoever accepts must give back."""

    name: str
    value: float
    is_revocable: bool
    raw: Raw


class Ports(NamedTuple):
    """One range resource of an offer."""

    name: str
    ranges: tuple[Range, ...]
    is_revocable: bool
    raw: Raw


class Unavailability(NamedTuple):
    """Mesos maintenance: when the agent goes, wall time."""

    start_ns: int
    duration_ns: int | None


class Offer(NamedTuple):
    """What an agent has to give."""

    offer_id: str
    agent_id: str
    hostname: str
    amounts: tuple[Amount, ...]
    ports: tuple[Ports, ...]
    #: name → value as text: TEXT as is, SCALAR as Aurora has it in constraints (``4.0``), RANGES as Mesos prints
    #: them (``[1-3, 5-6]``); one name may come several times.
    attributes: tuple[tuple[str, str], ...]
    unavailability: Unavailability | None
    #: ``host:port`` of the agent's own web server, where the offer says so.
    agent_address: str | None
    raw: Raw


class Status(NamedTuple):
    """A ``TaskStatus`` as a scheduler gets it. Without *uuid* it must not be acknowledged."""

    task_id: str
    state: MesosTaskState
    source: Source | None
    reason: Reason | str | None
    message: str | None
    agent_id: str | None
    executor_id: str | None
    timestamp_s: float | None
    uuid: bytes | None
    healthy: bool | None
    labels: tuple[tuple[str, str | None], ...]
    unreachable_time_ns: int | None
    raw: Raw


# -- events ------------------------------------------------------------------------------------------------------------


class Subscribed(NamedTuple):
    framework_id: str
    heartbeat_interval_s: float | None
    #: ``host:port`` of the master, where it says so.
    master: str | None


class Offers(NamedTuple):
    offers: tuple[Offer, ...]


class Rescind(NamedTuple):
    offer_id: str


class InverseOffer(NamedTuple):
    offer_id: str
    agent_id: str | None
    unavailability: Unavailability
    raw: Raw


class InverseOffers(NamedTuple):
    offers: tuple[InverseOffer, ...]


class RescindInverseOffer(NamedTuple):
    offer_id: str


class Update(NamedTuple):
    status: Status


class Message(NamedTuple):
    agent_id: str
    executor_id: str
    data: bytes


class Failure(NamedTuple):
    """An agent is gone (*executor_id* None), or an executor ended with *status*."""

    agent_id: str | None
    executor_id: str | None
    status: int | None


class Error(NamedTuple):
    message: str


class Heartbeat(NamedTuple):
    """Nothing, to show that the connection lives."""


class Unknown(NamedTuple):
    """An event of a later Mesos."""

    type: str


SchedulerEvent: TypeAlias = (
    Subscribed
    | Offers
    | Rescind
    | InverseOffers
    | RescindInverseOffer
    | Update
    | Message
    | Failure
    | Error
    | Heartbeat
    | Unknown
)

# -- calls -------------------------------------------------------------------------------------------------------------


class Subscribe(NamedTuple):
    """*framework* is a ``FrameworkInfo``; its ``id`` is set where we had one."""

    framework: Raw
    suppressed_roles: tuple[str, ...] = ()


class Accept(NamedTuple):
    """Launch *tasks* (``TaskInfo``) on these offers, all of one agent; the rest is given back for *refuse_s*."""

    offer_ids: tuple[str, ...]
    tasks: tuple[Mapping[str, Any], ...]
    refuse_s: float = 0.0


class Decline(NamedTuple):
    offer_ids: tuple[str, ...]
    refuse_s: float = 5.0


class AcceptInverseOffers(NamedTuple):
    offer_ids: tuple[str, ...]


class DeclineInverseOffers(NamedTuple):
    offer_ids: tuple[str, ...]


class Revive(NamedTuple):
    """Offer everything again, whatever was declined."""


class Suppress(NamedTuple):
    """No offers until ``Revive``."""


class Kill(NamedTuple):
    task_id: str
    agent_id: str | None = None
    grace_s: float | None = None


class Shutdown(NamedTuple):
    """End an executor."""

    executor_id: str
    agent_id: str


class Acknowledge(NamedTuple):
    agent_id: str
    task_id: str
    uuid: bytes


class Reconcile(NamedTuple):
    """(task id, agent id) of each task asked about; none: all that Mesos knows (implicit)."""

    tasks: tuple[tuple[str, str | None], ...]


class SendMessage(NamedTuple):
    agent_id: str
    executor_id: str
    data: bytes


class Teardown(NamedTuple):
    """End the framework and every task of it. Only ever by an operator's explicit wish."""


SchedulerCall: TypeAlias = (
    Subscribe
    | Accept
    | Decline
    | AcceptInverseOffers
    | DeclineInverseOffers
    | Revive
    | Suppress
    | Kill
    | Shutdown
    | Acknowledge
    | Reconcile
    | SendMessage
    | Teardown
)

# -- events, read ------------------------------------------------------------------------------------------------------

_SCALAR: Final = "SCALAR"
_RANGES: Final = "RANGES"
_NANOSECONDS: Final = 1_000_000_000


def decode_event(payload: bytes) -> SchedulerEvent:
    """The event in one record of the stream.

    A type of event that is unknown here becomes ``Unknown``; a state that is unknown becomes TASK_UNKNOWN, with its
    name in the message; an unknown reason stays text.

    Raises:
        WireError: it is no event, and says what of it is wrong.
    """
    event = parse(payload)
    kind = event.text("type")
    reader = _READERS.get(kind)
    if reader is None:
        return Unknown(kind)
    return reader(event)


def _read_subscribed(event: Object) -> Subscribed:
    body = event.object("subscribed")
    interval = body.raw.get("heartbeat_interval_seconds")
    master = None
    info = body.maybe_object("master_info")
    if info is not None:
        address = info.maybe_object("address")
        if address is not None:
            master = _host_and_port(address)
    return Subscribed(
        framework_id=body.identity("framework_id"),
        heartbeat_interval_s=None if interval is None else _number(interval, body, "heartbeat_interval_seconds"),
        master=master,
    )


def _host_and_port(address: Object) -> str | None:
    host = address.maybe_text("ip") or address.maybe_text("hostname")
    port = address.maybe_integer("port")
    if host is None or port is None:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _number(value: object, owner: Object, key: str) -> float:
    """A number as it is used for amounts and times: finite, and not below nothing."""
    # bool is a subclass of int, and no number; NaN is not >= 0
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < inf:
        raise WireError(owner.where(key), f"should be a number from 0 on, is {value!r:.40}")
    try:
        return float(value)
    except OverflowError:
        raise WireError(owner.where(key), "is too large") from None


def _read_offers(event: Object) -> Offers:
    body = event.object("offers")
    return Offers(body.each("offers", _read_offer))


def _read_offer(offer: Object) -> Offer:
    """An event may hold ten thousand: what is as it should be is taken straight from the JSON, and only what is not is
    read again by ``Object``, which says what is wrong with it."""
    raw = offer.raw
    amounts: list[Amount] = []
    ports: list[Ports] = []
    for index, resource in enumerate(_list(offer, "resources")):
        name = resource.get("name")
        kind = resource.get("type")
        try:
            if type(name) is not str:
                raise TypeError
            if kind == _SCALAR:
                value = resource["scalar"]["value"]
                if type(value) is not float:
                    scalar = Object(resource, f"{offer.where('resources')}[{index}]").object("scalar")
                    value = _number(value, scalar, "value")
                elif not 0.0 <= value < inf:
                    raise ValueError
                amounts.append(Amount(name, value, resource.get("revocable") is not None, resource))
            elif kind == _RANGES:
                ranges = resource["ranges"].get("range", ())
                found = tuple([Range(one["begin"], one["end"]) for one in ranges])
                for begin, end in found:
                    if type(begin) is not int or type(end) is not int or begin > end:
                        raise ValueError
                ports.append(Ports(name, found, resource.get("revocable") is not None, resource))
            # a SET has no use here
        except (KeyError, TypeError, ValueError, AttributeError):
            _blame_resource(Object(resource, f"{offer.where('resources')}[{index}]"))
    url = offer.maybe_object("url") if "url" in raw else None
    address = None if url is None else url.maybe_object("address")
    unavailability = offer.maybe_object("unavailability") if "unavailability" in raw else None
    return Offer(
        offer_id=_identity(offer, "id"),
        agent_id=_identity(offer, "agent_id"),
        hostname=offer.text("hostname"),
        amounts=tuple(amounts),
        ports=tuple(ports),
        attributes=tuple([_attribute(offer, index, one) for index, one in enumerate(_list(offer, "attributes"))]),
        unavailability=None if unavailability is None else _read_unavailability(unavailability),
        agent_address=None if address is None else _host_and_port(address),
        raw=raw,
    )


def _list(owner: Object, key: str) -> list[dict[str, Any]]:
    """The list of objects *key*; an absent one is empty."""
    found = owner.raw.get(key)
    if type(found) is list and set(map(type, found)) <= {dict}:
        return found
    return [dict(one) for one in owner.each(key, lambda one: one.raw)]


def _identity(owner: Object, key: str) -> str:
    found = owner.raw.get(key)
    if type(found) is dict:
        value = found.get("value")
        if type(value) is str:
            return value
    return owner.identity(key)


def _blame_resource(resource: Object) -> NoReturn:
    """Raises WireError with what is wrong."""
    resource.text("name")
    if resource.raw.get("type") == _SCALAR:
        scalar = resource.object("scalar")
        _number(scalar.raw.get("value"), scalar, "value")
    else:
        _read_ranges(resource)
    raise WireError(resource.path, "is no resource")


def _read_ranges(owner: Object) -> tuple[Range, ...]:
    return owner.object("ranges").each("range", _read_range)


def _read_range(found: Object) -> Range:
    begin, end = found.maybe_integer("begin"), found.maybe_integer("end")
    if begin is None or end is None or begin > end:
        raise WireError(found.path, f"should be a range from begin to end, is {begin} to {end}")
    return Range(begin, end)


def _attribute(offer: Object, index: int, raw: dict[str, Any]) -> tuple[str, str]:
    """Name and value."""
    name = raw.get("name")
    if raw.get("type") == "TEXT" and type(name) is str:
        text = raw.get("text")
        if type(text) is dict:
            value = text.get("value")
            if type(value) is str:
                return name, value
    one = Object(raw, f"{offer.where('attributes')}[{index}]")
    name = one.text("name")
    kind = raw.get("type")
    if kind == "TEXT":
        return name, one.object("text").text("value")
    if kind == _SCALAR:
        scalar = one.object("scalar")
        value = scalar.raw.get("value")
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise WireError(scalar.where("value"), "should be a number")
        return name, repr(float(value)) if abs(value) < 1e300 else str(value)
    if kind == _RANGES:
        return name, "[" + ", ".join(f"{begin}-{end}" for begin, end in _read_ranges(one)) + "]"
    return name, ""  # Mesos has no attributes of another type


def _read_unavailability(found: Object) -> Unavailability:
    duration = found.maybe_object("duration")
    return Unavailability(
        start_ns=_nanoseconds(found.object("start")),
        duration_ns=None if duration is None else _nanoseconds(duration),
    )


def _nanoseconds(found: Object) -> int:
    value = found.maybe_integer("nanoseconds")
    if value is None:
        raise WireError(found.where("nanoseconds"), "is missing")
    return value


def _read_rescind(event: Object) -> Rescind:
    return Rescind(event.object("rescind").identity("offer_id"))


def _read_inverse_offers(event: Object) -> InverseOffers:
    return InverseOffers(event.object("inverse_offers").each("inverse_offers", _read_inverse_offer))


def _read_inverse_offer(offer: Object) -> InverseOffer:
    return InverseOffer(
        offer_id=offer.identity("id"),
        agent_id=offer.maybe_identity("agent_id"),
        unavailability=_read_unavailability(offer.object("unavailability")),
        raw=offer.raw,
    )


def _read_rescind_inverse_offer(event: Object) -> RescindInverseOffer:
    return RescindInverseOffer(event.object("rescind_inverse_offer").identity("inverse_offer_id"))


def _read_update(event: Object) -> Update:
    return Update(_read_status(event.object("update").object("status")))


def _read_status(status: Object) -> Status:
    state_name = status.text("state")
    message = status.maybe_text("message")
    try:
        state = MesosTaskState(state_name)
    except ValueError:
        state = MesosTaskState.TASK_UNKNOWN
        message = f"Mesos says {state_name}, which is unknown here" + (f": {message}" if message else "")
    source = status.maybe_text("source")
    reason = status.maybe_text("reason")
    timestamp = status.raw.get("timestamp")
    unreachable = status.maybe_object("unreachable_time")
    return Status(
        task_id=status.identity("task_id"),
        state=state,
        source=_SOURCES.get(source) if source is not None else None,
        reason=_REASONS.get(reason, reason) if reason is not None else None,
        message=message,
        agent_id=status.maybe_identity("agent_id"),
        executor_id=status.maybe_identity("executor_id"),
        timestamp_s=None if timestamp is None else _number(timestamp, status, "timestamp"),
        uuid=status.maybe_data("uuid") or None,
        healthy=status.maybe_flag("healthy"),
        labels=tuple((label.key, label.value) for label in read_labels(status)),
        unreachable_time_ns=None if unreachable is None else _nanoseconds(unreachable),
        raw=status.raw,
    )


_SOURCES: Final = {one.value: one for one in Source}
_REASONS: Final = {one.value: one for one in Reason}


def _read_message(event: Object) -> Message:
    body = event.object("message")
    return Message(body.identity("agent_id"), body.identity("executor_id"), body.maybe_data("data") or b"")


def _read_failure(event: Object) -> Failure:
    body = event.object("failure")
    return Failure(body.maybe_identity("agent_id"), body.maybe_identity("executor_id"), body.maybe_integer("status"))


def _read_error(event: Object) -> Error:
    return Error(event.object("error").maybe_text("message") or "no reason given")


_READERS: Final[dict[str, Callable[[Object], SchedulerEvent]]] = {
    "SUBSCRIBED": _read_subscribed,
    "OFFERS": _read_offers,
    "RESCIND": _read_rescind,
    "INVERSE_OFFERS": _read_inverse_offers,
    "RESCIND_INVERSE_OFFER": _read_rescind_inverse_offer,
    "UPDATE": _read_update,
    "MESSAGE": _read_message,
    "FAILURE": _read_failure,
    "ERROR": _read_error,
    "HEARTBEAT": lambda event: Heartbeat(),
}

# -- calls, written ----------------------------------------------------------------------------------------------------


def encode_call(call: SchedulerCall, framework_id: str | None) -> bytes:
    """*call* as the body of a request. *framework_id* is None only in the first SUBSCRIBE of all."""
    kind, body = _written(call, framework_id)
    message: dict[str, Any] = {"type": kind}
    if framework_id is not None:
        message["framework_id"] = write_identity(framework_id)
    if body is not None:
        message[kind.lower()] = body
    return dump(message)


def _written(call: SchedulerCall, framework_id: str | None) -> tuple[str, dict[str, Any] | None]:
    match call:
        case Subscribe():
            info = dict(call.framework)
            if framework_id is not None:
                info["id"] = write_identity(framework_id)
            subscribe: dict[str, Any] = {"framework_info": info}
            if call.suppressed_roles:
                subscribe["suppressed_roles"] = list(call.suppressed_roles)
            return "SUBSCRIBE", subscribe
        case Accept():
            operations = [{"type": "LAUNCH", "launch": {"task_infos": list(call.tasks)}}] if call.tasks else []
            return "ACCEPT", {
                "offer_ids": _ids(call.offer_ids),
                "operations": operations,
                "filters": {"refuse_seconds": call.refuse_s},
            }
        case Decline():
            return "DECLINE", {"offer_ids": _ids(call.offer_ids), "filters": {"refuse_seconds": call.refuse_s}}
        case AcceptInverseOffers():
            return "ACCEPT_INVERSE_OFFERS", {"inverse_offer_ids": _ids(call.offer_ids)}
        case DeclineInverseOffers():
            return "DECLINE_INVERSE_OFFERS", {"inverse_offer_ids": _ids(call.offer_ids)}
        case Revive():
            return "REVIVE", None
        case Suppress():
            return "SUPPRESS", None
        case Kill():
            kill: dict[str, Any] = {"task_id": write_identity(call.task_id)}
            if call.agent_id is not None:
                kill["agent_id"] = write_identity(call.agent_id)
            if call.grace_s is not None:
                kill["kill_policy"] = {"grace_period": {"nanoseconds": int(call.grace_s * _NANOSECONDS)}}
            return "KILL", kill
        case Shutdown():
            return "SHUTDOWN", {
                "executor_id": write_identity(call.executor_id),
                "agent_id": write_identity(call.agent_id),
            }
        case Acknowledge():
            return "ACKNOWLEDGE", {
                "agent_id": write_identity(call.agent_id),
                "task_id": write_identity(call.task_id),
                "uuid": write_data(call.uuid),
            }
        case Reconcile():
            return "RECONCILE", {"tasks": [_reconciled(task_id, agent_id) for task_id, agent_id in call.tasks]}
        case SendMessage():
            return "MESSAGE", {
                "agent_id": write_identity(call.agent_id),
                "executor_id": write_identity(call.executor_id),
                "data": write_data(call.data),
            }
        case Teardown():
            return "TEARDOWN", None
        case _:
            assert_never(call)


def _ids(values: tuple[str, ...]) -> list[dict[str, str]]:
    return [write_identity(value) for value in values]


def _reconciled(task_id: str, agent_id: str | None) -> dict[str, Any]:
    task = {"task_id": write_identity(task_id)}
    if agent_id is not None:
        task["agent_id"] = write_identity(agent_id)
    return task
