"""One scheduler and the leading master: events in, actions out. Pure: no clock, socket or random source.

The shell (:mod:`scheduler.mesos.connection`) does what comes out and reports what came of it. What is promised:

- One subscription at a time. Its end is told once, and the next one tried at once; where that fails too, after a while
  that doubles up to ``max_backoff_s``, with chance in it, so that not all schedulers of a master come back at once.
- A master that says nothing for ``missed_heartbeats`` of its own intervals is given up.
- A redirect is followed at once, a few times in a row.
- A wrong credential is tried again slowly: it may be put right on the master's side.
- An ERROR of the master's, or a SUBSCRIBE that it does not like, is for the operator, and the end: the framework was
  removed, or another scheduler took it over, and two that fight for one framework would launch nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple, TypeAlias, assert_never

from scheduler.core.events import Disconnected, MasterError, MesosEvent
from thermos.formats.mesos_v1_scheduler import Error, Heartbeat, SchedulerEvent, Subscribed, Unknown

#: Master to master; more is a ring.
MAX_REDIRECTS: Final = 5
#: mesos/src/master/constants.hpp, DEFAULT_HEARTBEAT_INTERVAL: for a master that does not say.
DEFAULT_HEARTBEAT_S: Final = 15.0
_UNAUTHORIZED: Final = frozenset({401, 403})
_REDIRECTS: Final = frozenset({307, 308})


class Address(NamedTuple):
    """Where a master listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class SessionSettings(NamedTuple):
    """How long things may take."""

    #: For a connection, the answer to SUBSCRIBE, and the SUBSCRIBED after it.
    answer_s: float = 30.0
    missed_heartbeats: float = 5
    first_backoff_s: float = 0.25
    max_backoff_s: float = 15.0
    #: Between attempts with a credential that the master does not accept.
    slow_retry_s: float = 30.0
    #: A subscription that held so long was a good one: after it the next is tried at once.
    stable_s: float = 10.0


# -- events ------------------------------------------------------------------------------------------------------------


class Started(NamedTuple):
    """Begin."""


class MasterFound(NamedTuple):
    """This one leads, as far as is known."""

    address: Address


class NoMaster(NamedTuple):
    """None is known."""

    reason: str


class MasterChanged(NamedTuple):
    """Another one leads now."""

    address: Address


class StreamOpened(NamedTuple):
    """SUBSCRIBE was answered 200."""


class StreamRefused(NamedTuple):
    """SUBSCRIBE was answered with something else; *location* of a redirect."""

    status: int
    reason: str
    location: Address | None = None


class StreamLost(NamedTuple):
    """The connection failed or ended, or must: what came is no event, a call had no answer."""

    reason: str


class Heard(NamedTuple):
    """Bytes came; these events were complete in them."""

    events: tuple[SchedulerEvent, ...] = ()


class Woke(NamedTuple):
    """The time that was asked for has come."""


SessionEvent: TypeAlias = (
    Started | MasterFound | NoMaster | MasterChanged | StreamOpened | StreamRefused | StreamLost | Heard | Woke
)

# -- actions -----------------------------------------------------------------------------------------------------------


class FindMaster(NamedTuple):
    """Who leads? Answered by MasterFound or NoMaster. *is_again*: the last answer was of no use."""

    is_again: bool


class OpenStream(NamedTuple):
    """Connect and SUBSCRIBE."""

    address: Address


class CloseStream(NamedTuple):
    """Hang up."""


class Tell(NamedTuple):
    """For the scheduler."""

    event: MesosEvent


class Say(NamedTuple):
    """For the log."""

    text: str


Action: TypeAlias = FindMaster | OpenStream | CloseStream | Tell | Say


class Phase(Enum):
    """Where a session stands."""

    IDLE = "not started"
    FINDING = "looking for the master"
    OPENING = "connecting"
    SUBSCRIBING = "subscribing"
    SUBSCRIBED = "subscribed"
    WAITING = "disconnected"
    ENDED = "ended by the master"


class Session:
    """The owner feeds it every event, does what comes out in order, and wakes it at ``wake_at_s``."""

    def __init__(self, settings: SessionSettings | None = None) -> None:
        self.settings = settings or SessionSettings()
        self.phase = Phase.IDLE
        self.address: Address | None = None
        #: Of the last subscription.
        self.framework_id: str | None = None
        self.wake_at_s: float | None = None
        self._actions: list[Action] = []
        self._now_s = 0.0
        self._chance = 0.0
        self._failures = 0  # in a row
        self._redirects = 0  # in a row
        self._heartbeat_s = DEFAULT_HEARTBEAT_S
        self._subscribed_at_s = 0.0
        self._last_said: str | None = None

    def decide(self, event: SessionEvent, now_s: float, chance: float) -> list[Action]:
        """What to do about *event*. *now_s* counts monotonic seconds, *chance* is in [0, 1), a new one each time."""
        self._actions, self._now_s, self._chance = [], now_s, chance
        if self.phase is Phase.ENDED:
            return []
        match event:
            case Started():
                if self.phase is Phase.IDLE:
                    self._find()
            case MasterFound():
                if self.phase is Phase.FINDING:
                    self._redirects = 0
                    self._open(event.address)
            case NoMaster():
                if self.phase is Phase.FINDING:
                    self._retry(event.reason)
            case MasterChanged():
                self._master_changed(event.address)
            case StreamOpened():
                if self.phase is Phase.OPENING:
                    self.phase = Phase.SUBSCRIBING
                    self.wake_at_s = now_s + self.settings.answer_s
            case StreamRefused():
                if self.phase is Phase.OPENING:
                    self._refused(event)
            case StreamLost():
                self._lost(event.reason)
            case Heard():
                self._heard(event.events)
            case Woke():
                self._woke()
            case _:
                assert_never(event)
        return self._actions

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _find(self) -> None:
        self.phase = Phase.FINDING
        self.wake_at_s = None
        self._act(FindMaster(is_again=self._failures > 0))

    def _open(self, address: Address) -> None:
        self.phase = Phase.OPENING
        self.address = address
        self.wake_at_s = None  # the attempt has a bound of its own
        self._act(OpenStream(address))

    def _retry(self, reason: str, after_s: float | None = None) -> None:
        """Wait, then look for the master again."""
        if reason != self._last_said:  # not every quarter of a second
            self._last_said = reason
            self._act(Say(f"not subscribed: {reason}"))
        self.phase = Phase.WAITING
        if after_s is None:
            after_s = 0.0
            if self._failures:
                # Counted no further than it matters: 2**2000 is no number of seconds.
                longest_s = min(
                    self.settings.first_backoff_s * 2 ** min(self._failures - 1, 30), self.settings.max_backoff_s
                )
                after_s = longest_s * (0.5 + self._chance / 2)
        self._failures += 1
        if after_s == 0.0:
            self._find()
        else:
            self.wake_at_s = self._now_s + after_s

    def _master_changed(self, address: Address) -> None:
        if self.phase in (Phase.OPENING, Phase.SUBSCRIBING, Phase.SUBSCRIBED):
            if address != self.address:
                self._lost(f"the master at {address} leads now")
        elif self.phase is Phase.WAITING:
            self._find()

    def _refused(self, event: StreamRefused) -> None:
        if event.status in _REDIRECTS and event.location is not None:
            self._redirects += 1
            if self._redirects <= MAX_REDIRECTS:
                self._act(CloseStream())
                self._open(event.location)
                return
        self._act(CloseStream())
        answer = f"the master at {self.address} answers {event.status}: {event.reason}"
        if event.status == 400:
            self._end(answer)
        elif event.status in _UNAUTHORIZED:
            self._retry(
                f"{answer}. Principal and secret (framework_authentication_file) must be those the master knows",
                self.settings.slow_retry_s,
            )
        else:  # 503: does not lead, or recovers
            self._retry(answer)

    def _lost(self, reason: str) -> None:
        if self.phase not in (Phase.OPENING, Phase.SUBSCRIBING, Phase.SUBSCRIBED):
            return
        was_subscribed = self.phase is Phase.SUBSCRIBED
        self._act(CloseStream())
        if was_subscribed:
            self._act(Tell(Disconnected(reason)))
            if self._now_s - self._subscribed_at_s >= self.settings.stable_s:
                self._failures = 0
        self._retry(reason)

    def _heard(self, events: tuple[SchedulerEvent, ...]) -> None:
        if self.phase not in (Phase.SUBSCRIBING, Phase.SUBSCRIBED):
            return
        for event in events:
            match event:
                case Subscribed():
                    self.phase = Phase.SUBSCRIBED
                    self._subscribed_at_s = self._now_s
                    self._last_said = None
                    self.framework_id = event.framework_id
                    self._heartbeat_s = event.heartbeat_interval_s or DEFAULT_HEARTBEAT_S
                    self._act(Say(f"subscribed with the master at {self.address} as framework {event.framework_id}"))
                    self._act(Tell(event))
                case Error():
                    self._act(CloseStream())
                    self._end(event.message)
                    return
                case Heartbeat():
                    pass
                case Unknown():
                    self._act(Say(f"the master sends {event.type}, which is unknown here: passed over"))
                case _:
                    self._act(Tell(event))
        if self.phase is Phase.SUBSCRIBED:
            self.wake_at_s = self._now_s + self.settings.missed_heartbeats * self._heartbeat_s

    def _woke(self) -> None:
        if self.wake_at_s is None or self._now_s < self.wake_at_s:
            return
        if self.phase is Phase.WAITING:
            self._find()
        elif self.phase is Phase.SUBSCRIBING:
            self._lost(f"no SUBSCRIBED within {self.settings.answer_s:g} s")
        elif self.phase is Phase.SUBSCRIBED:
            silent_s = self.settings.missed_heartbeats * self._heartbeat_s
            self._lost(f"nothing heard for {silent_s:g} s, where a heartbeat comes every {self._heartbeat_s:g} s")

    def _end(self, message: str) -> None:
        self.phase = Phase.ENDED
        self.wake_at_s = None
        self._act(Tell(MasterError(message)))

    def _act(self, action: Action) -> None:
        self._actions.append(action)
