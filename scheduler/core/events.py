"""What happens to the scheduler, and what it asks Mesos for: values only.

Names are those of Mesos' v1 scheduler API (``mesos/include/mesos/v1/scheduler/scheduler.proto``).
``thermos.formats.mesos_v1_scheduler`` makes the events of bytes and the calls into bytes; the connection is
``scheduler.mesos``.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from scheduler.model import Task
from thermos.formats.mesos_v1_scheduler import (
    Accept,
    AcceptInverseOffers,
    Acknowledge,
    Decline,
    DeclineInverseOffers,
    Failure,
    InverseOffers,
    Kill,
    Message,
    Offer,
    Offers,
    Reconcile,
    Rescind,
    RescindInverseOffer,
    Revive,
    SendMessage,
    Shutdown,
    Subscribed,
    Suppress,
    Update,
)

__all__ = [
    "Accept",
    "AcceptInverseOffers",
    "Acknowledge",
    "Action",
    "AskCoordinator",
    "Call",
    "CoordinatorAnswered",
    "Decline",
    "DeclineInverseOffers",
    "Disconnected",
    "DiskFull",
    "DiskHasRoom",
    "Elected",
    "Event",
    "Failure",
    "InverseOffers",
    "Kill",
    "Launch",
    "MasterError",
    "MesosEvent",
    "Message",
    "Now",
    "Offer",
    "Offers",
    "Reconcile",
    "Rescind",
    "RescindInverseOffer",
    "Resumed",
    "Revive",
    "SendMessage",
    "Shutdown",
    "Subscribed",
    "Suppress",
    "Suspended",
    "Update",
    "Woke",
]


class Now(NamedTuple):
    """The time of a decision. Records carry *wall_ms*; deadlines count *mono_s*."""

    wall_ms: int
    mono_s: float


class Disconnected(NamedTuple):
    """The master is not heard any more; offers of before are worth nothing."""

    reason: str


class MasterError(NamedTuple):
    """The master ended our subscription for good, or did not like a call."""

    message: str


class Woke(NamedTuple):
    """The time that was asked for has come."""


class Elected(NamedTuple):
    """We lead: state is loaded, and everything may begin."""


class Suspended(NamedTuple):
    """ZooKeeper cannot be reached: whether we lead is not known, so nothing new is launched."""


class Resumed(NamedTuple):
    """ZooKeeper is back, and we lead still."""


class DiskFull(NamedTuple):
    """Nothing can be made durable: nothing new is begun until there is room."""


class DiskHasRoom(NamedTuple):
    """Something could be made durable again."""


class CoordinatorAnswered(NamedTuple):
    """An SLA coordinator has answered, or could not be asked. *number*: of what was asked. *failure*: why there is no
    answer, for people; then nothing is allowed."""

    number: int
    is_allowed: bool
    failure: str | None = None


MesosEvent: TypeAlias = (
    Subscribed
    | Offers
    | Rescind
    | InverseOffers
    | RescindInverseOffer
    | Update
    | Message
    | Failure
    | Disconnected
    | MasterError
)
Event: TypeAlias = MesosEvent | Woke | Elected | Suspended | Resumed | DiskFull | DiskHasRoom | CoordinatorAnswered

Call: TypeAlias = (
    Accept
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
)


class Launch(NamedTuple):
    """Accept *offers*, all of one agent, for *tasks*, which are ASSIGNED to it; what is left is given back."""

    offers: tuple[Offer, ...]
    tasks: tuple[Task, ...]


class AskCoordinator(NamedTuple):
    """Ask an SLA coordinator whether *task* may go; what comes of it is ``CoordinatorAnswered``, with this *number*."""

    number: int
    url: str
    #: Of the answer, the field that says so.
    status_key: str
    task: Task
    #: So long until the task goes in any case; None: for ever.
    countdown_ms: int | None


#: What a decision asks for. Each is sent only when the decision's changes are durable.
Action: TypeAlias = Call | Launch | AskCoordinator
