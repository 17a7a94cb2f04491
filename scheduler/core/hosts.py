"""Hosts that have nothing to do with us any more are forgotten: machines go, and their names would stay for ever."""

from __future__ import annotations

from typing import ClassVar, Final

from scheduler.core.changes import DropHost
from scheduler.core.deadlines import Due
from scheduler.core.events import Disconnected, Event, MasterError, Offers, Subscribed
from scheduler.core.parts import Part, Tools
from scheduler.model import Mode

#: A host that was not offered for so long is forgotten. One that others fill, or that is being repaired, is away for
#: days, and is to be found meanwhile: to drain it, say. With its next offer it comes back whole.
FORGOTTEN_AFTER_S: Final = 7 * 86400.0
_LOOK_EVERY_S: Final = 3600.0


class Hosts(Part):
    """When each was offered last, by the time that goes on while Mesos is heard: a start, and a new connection, begin
    it anew."""

    dues: ClassVar[frozenset[Due]] = frozenset({Due.FORGET_HOSTS})
    events: ClassVar[tuple[type, ...]] = (Offers, Subscribed, Disconnected, MasterError)

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.counts.update({"hosts_forgotten": 0})
        self._offered_at_s: dict[str, float] = {}
        #: Since when Mesos is heard without a break; None: it is not.
        self._heard_since_s: float | None = None

    def resume(self) -> None:
        self.tools.deadlines.set(Due.FORGET_HOSTS, None, self.tools.draft.now.mono_s + _LOOK_EVERY_S)

    def heard(self, event: Event) -> None:
        now_s = self.tools.draft.now.mono_s
        if isinstance(event, Offers):
            self._offered_at_s.update((offer.hostname, now_s) for offer in event.offers)
        else:
            self._heard_since_s = now_s if isinstance(event, Subscribed) else None

    def due(self, due: Due, about: object) -> None:
        """Forget those whose time is over."""
        self.resume()
        if self._heard_since_s is None:
            return
        now_s = self.tools.draft.now.mono_s
        self._offered_at_s.update((offer.hostname, now_s) for offer in self.tools.offers)
        state = self.tools.draft.state
        long_ago_s = now_s - FORGOTTEN_AFTER_S
        if self._heard_since_s > long_ago_s:
            return
        gone = {
            name
            for name, host in state.hosts.items()
            if host.mode == Mode.NONE and self._offered_at_s.get(name, long_ago_s) <= long_ago_s
        }
        if gone:
            gone.difference_update(task.host for task in state.tasks.values() if task.host is not None)
        for name in sorted(gone):
            self.counts["hosts_forgotten"] += 1
            self._offered_at_s.pop(name, None)
            self.tools.draft.put(DropHost(name))
            self.tools.offers.forget_host(name)
