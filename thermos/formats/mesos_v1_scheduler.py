"""The v1 scheduler API of Mesos: a scheduler's calls as JSON, the master's events from JSON.

Source: mesos 1.11, ``include/mesos/v1/scheduler/scheduler.proto`` and ``docs/scheduler-http-api.md``; what the master
really sends was recorded from one. Values, and their encoding below; framing is :mod:`thermos.formats.recordio`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

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
    #: name → values as text: TEXT as is, SCALAR and RANGES as Mesos prints them; one name may come several times.
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
