"""The offers that we hold, and which agents have what: asked about by sets of agents, never agent by agent.

Every agent that has offered has a row; a set of agents is a set of rows (:mod:`scheduler.core.sliced`). What an agent
has left is kept in bit planes, its attributes as sets by value, so that "who has 4 CPUs and is in rack a" takes a few
operations however many agents there are. Nothing of this is kept on disk: after a failover Mesos offers anew.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Final

from scheduler.core.matching import Room
from scheduler.core.settings import Settings
from scheduler.core.sliced import Labels, Sliced, first_from, rows_of
from scheduler.model import Host, Mode, milli
from thermos.formats.mesos_v1_scheduler import Offer, Range

#: The plane that an order of offers goes by, as a field of :class:`Room`.
_ORDERS: Final = {"CPU": 0, "MEMORY": 1, "DISK": 2, "REVOCABLE_CPU": 5}
_NS: Final = 1_000_000_000


class Agent:
    """An agent's row, and what is left of its offer. Changed by :class:`OfferBook` alone."""

    __slots__ = ("agent_id", "attributes", "bit", "host", "offer", "ports", "room", "row", "start_s")

    def __init__(self, agent_id: str, row: int, host: Host) -> None:
        self.agent_id = agent_id
        self.row = row
        self.bit = 1 << row
        self.host = host
        #: As the last offer had them; they make *host*.
        self.attributes: tuple[tuple[str, str], ...] | None = None
        self.offer: Offer | None = None
        self.room = Room()
        self.ports: list[Range] = []
        #: When it was last said to become unavailable: seconds since 1970.
        self.start_s = 0

    def unavailable_in_s(self, wall_ms: int) -> float | None:
        """When Mesos' maintenance of it begins, from *wall_ms* on; None: none is planned."""
        if self.offer is None or self.offer.unavailability is None:
            return None
        return self.start_s - wall_ms / 1000


def room_of(offer: Offer) -> Room:
    """All that *offer* has. Reserved and unreserved amounts add up; parts of a megabyte do not count."""
    fixed = {"cpus": 0.0, "mem": 0.0, "disk": 0.0, "gpus": 0.0}
    revocable = dict(fixed)
    for amount in offer.amounts:
        kinds = revocable if amount.is_revocable else fixed
        if amount.name in kinds:
            kinds[amount.name] += amount.value
    return Room(
        milli(fixed["cpus"]),
        int(fixed["mem"]),
        int(fixed["disk"]),
        int(fixed["gpus"]),
        sum(one.end - one.begin + 1 for one in _ports_of(offer)),
        milli(revocable["cpus"]),
        int(revocable["mem"]),
    )


def _ports_of(offer: Offer) -> list[Range]:
    return sorted(
        one for ports in offer.ports if ports.name == "ports" and not ports.is_revocable for one in ports.ranges
    )


def _attributes_of(offer: Offer) -> tuple[tuple[str, frozenset[str]], ...]:
    found: dict[str, set[str]] = {}
    for name, value in offer.attributes:
        found.setdefault(name, set()).add(value)
    return tuple(sorted((name, frozenset(values)) for name, values in found.items()))


def pick_ports(ranges: Iterable[Range], wanted: int, skipped: int) -> tuple[list[int], list[Range]]:
    """So many numbers, one after the other where they can be, without the first *skipped*; and the ranges left."""
    found: list[int] = []
    left: list[Range] = []
    for begin, end in ranges:
        first = begin + skipped
        last = min(end, first + wanted - len(found) - 1)
        skipped = max(0, first - end - 1)
        if last < first or first > end:
            left.append(Range(begin, end))
            continue
        found.extend(range(first, last + 1))
        if first > begin:
            left.append(Range(begin, first - 1))
        if last < end:
            left.append(Range(last + 1, end))
    return found, left


class OfferBook:
    """Offers, at most one of each agent. *chance* gives numbers in [0, 1). Times are monotonic seconds."""

    def __init__(self, settings: Settings, chance: Callable[[], float]) -> None:
        self._settings = settings
        self._chance = chance
        self._order = tuple(_ORDERS.get(name) for name in settings.offer_order)
        #: agent id → for whom, and until when.
        self._reservations: dict[str, tuple[Hashable, float]] = {}
        self._reserved_by: dict[Hashable, dict[str, None]] = {}
        self._reset()

    def _reset(self) -> None:
        self._agents: dict[str, Agent] = {}
        self._rows: list[Agent | None] = []
        self._unused_rows: list[int] = []
        self._by_offer: dict[str, Agent] = {}
        self._by_host: dict[str, dict[str, Agent]] = {}
        self._planes = tuple(Sliced() for _ in Room._fields)
        #: Agents whose offer we hold.
        self.open = 0
        #: Of these, those of whose offer something was taken already.
        self._begun = 0
        self._unavailable = 0
        self._with_mode = {Mode.SCHEDULED: 0, Mode.DRAINING: 0, Mode.DRAINED: 0}
        #: When these will be so: seconds since 1970.
        self._starts = Sliced()
        #: Which agents have which attributes, whether they have an offer or not.
        self.labels = Labels()
        self._fresh: dict[str, None] = {}
        self._expiries: list[tuple[float, str]] = []

    # -- offers come and go --------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._by_offer)

    def __iter__(self) -> Iterator[Offer]:
        return iter([agent.offer for agent in self._by_offer.values() if agent.offer is not None])

    def host_of(self, offer: Offer, known: Host | None) -> Host:
        """The host as *offer* describes it, in the mode in which it is *known*; equal to *known* where nothing is
        new."""
        mode = known.mode if known is not None else Mode.NONE
        agent = self._agents.get(offer.agent_id)
        if agent is not None and agent.attributes == offer.attributes and agent.host.name == offer.hostname:
            return agent.host if agent.host.mode == mode else agent.host._replace(mode=mode)
        return Host(offer.hostname, offer.agent_id, _attributes_of(offer), mode)

    def add(self, offer: Offer, now_s: float, host: Host | None = None) -> tuple[str, ...]:
        """Hold *offer*; gives the ids of offers to decline now. Where the agent has one already these are both: Mesos
        then makes one of them. *host* is what ``host_of`` gave (None: asked for here, in mode NONE)."""
        agent = self._agents.get(offer.agent_id)
        if agent is not None and agent.offer is not None:
            other = agent.offer.offer_id
            if other == offer.offer_id:
                return ()  # heard twice
            self._close(agent)
            return other, offer.offer_id
        host = host or self.host_of(offer, None)
        if agent is None:
            agent = self._enter(offer.agent_id, host)
        elif agent.host is not host:
            self._describe(agent, host)
        agent.attributes = offer.attributes
        agent.offer = offer
        agent.ports = _ports_of(offer)
        self._set_room(agent, room_of(offer))
        self.open |= agent.bit
        if offer.unavailability is not None:
            self._unavailable |= agent.bit
            start_s = offer.unavailability.start_ns // _NS
            self._starts.change(agent.row, agent.start_s, start_s)
            agent.start_s = start_s
        self._by_offer[offer.offer_id] = agent
        self._fresh[agent.agent_id] = None
        if not self._settings.hold_offers_forever:
            jitter_s = self._chance() * self._settings.offer_hold_jitter_window_s
            heapq.heappush(self._expiries, (now_s + self._settings.min_offer_hold_time_s + jitter_s, offer.offer_id))
        return ()

    def take(self, offer_id: str) -> Offer:
        """The offer, which is used now and not held any longer. Raises KeyError where it is not held."""
        agent = self._by_offer[offer_id]
        assert agent.offer is not None
        offer = agent.offer
        self._close(agent)
        return offer

    def rescind(self, offer_id: str) -> None:
        """Mesos has taken it back; one that is unknown was used or declined meanwhile."""
        agent = self._by_offer.get(offer_id)
        if agent is not None:
            self._close(agent)

    def lose_agent(self, agent_id: str) -> None:
        """The agent is gone."""
        agent = self._agents.pop(agent_id, None)
        if agent is None:
            return
        self._close(agent)
        self._set_room(agent, Room())
        self._starts.change(agent.row, agent.start_s, 0)
        self.labels.remove(agent.row, self._labels_of(agent))
        there = self._by_host[agent.host.name]
        del there[agent_id]
        if not there:
            del self._by_host[agent.host.name]
        self._rows[agent.row] = None
        heapq.heappush(self._unused_rows, agent.row)
        self._release(agent_id)

    def forget_host(self, name: str) -> None:
        """Nobody knows this host any more."""
        for agent_id in list(self._by_host.get(name, ())):
            self.lose_agent(agent_id)

    def clear(self) -> tuple[str, ...]:
        """Forget all offers and agents, not what is reserved; gives the ids of the offers that were held."""
        held = tuple(self._by_offer)
        self._reset()
        return held

    def expired(self, now_s: float) -> list[str]:
        """The ids of offers that were held for long enough, and are not held any longer: to be declined."""
        found = []
        while self._expiries and self._expiries[0][0] <= now_s:
            offer_id = heapq.heappop(self._expiries)[1]
            agent = self._by_offer.get(offer_id)
            if agent is not None:
                self._close(agent)
                found.append(offer_id)
        return found

    @property
    def next_expiry_s(self) -> float | None:
        """When the next offer will have been held for long enough."""
        while self._expiries and self._expiries[0][1] not in self._by_offer:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None

    def fresh(self) -> list[tuple[Host, Room]]:
        """Hosts and what is left on them: those whose offers came, or whose mode changed, since this was last asked."""
        found = [self._agents[agent_id] for agent_id in self._fresh if agent_id in self._agents]
        self._fresh.clear()
        return [(agent.host, agent.room) for agent in found if agent.offer is not None]

    # -- hosts ---------------------------------------------------------------------------------------------------------

    def set_mode(self, host: str, mode: int) -> None:
        """The host's maintenance mode is *mode* now."""
        for agent in self._by_host.get(host, {}).values():
            if agent.host.mode != mode:
                self._set_mode(agent, mode)
                agent.host = agent.host._replace(mode=mode)
                self._fresh[agent.agent_id] = None

    def reserve(self, agent_id: str, key: Hashable, until_s: float) -> None:
        """Until then the agent's offers are for *key* alone: a configuration's digest, or (job, instance)."""
        self._release(agent_id)
        self._reservations[agent_id] = (key, until_s)
        self._reserved_by.setdefault(key, {})[agent_id] = None

    def reserved_agents(self, now_s: float) -> list[str]:
        """Ids of agents that are reserved, for whomever, whether they offer anything or not."""
        return [agent_id for agent_id, (_, until_s) in self._reservations.items() if until_s > now_s]

    def release_agent(self, agent_id: str, key: Hashable) -> None:
        """The agent is free again, if it was reserved for *key*."""
        if self._reservations.get(agent_id, (None, 0.0))[0] == key:
            self._release(agent_id)

    def release(self, key: Hashable) -> None:
        """Whatever was reserved for *key* is free again."""
        for agent_id in list(self._reserved_by.get(key, ())):
            self._release(agent_id)

    # -- sets of agents ------------------------------------------------------------------------------------------------

    def offering(self, agent_id: str) -> Agent | None:
        """The agent of that id, if we hold an offer of it."""
        found = self._agents.get(agent_id)
        return found if found is not None and found.offer is not None else None

    def agent(self, row: int) -> Agent:
        """The agent of that row."""
        found = self._rows[row]
        assert found is not None
        return found

    def closed(self, wall_ms: int) -> int:
        """Agents on which nothing new starts, since they are to be maintained."""
        rows = self._with_mode[Mode.DRAINING] | self._with_mode[Mode.DRAINED]
        soon_s = int(wall_ms / 1000 + self._settings.unavailability_threshold_s)
        return rows | self._starts.at_most(self._unavailable, soon_s)

    def with_room(self, rows: int, need: Room) -> int:
        """Those of *rows* that have room for *need*."""
        for plane, amount in zip(self._planes, need, strict=True):
            if not rows:
                break
            rows = plane.at_least(rows, amount)
        return rows

    def lacking(self, rows: int, kind: int, amount: int) -> int:
        """Those of *rows* that have less than *amount* of one kind: a field of :class:`Room`, by number."""
        return self._planes[kind].at_most(rows, amount - 1)

    def roomiest(self, rows: int, kind: int) -> int:
        """Those of *rows* that have the most of one kind."""
        return self._planes[kind].most(rows)

    def reserved(self, now_s: float) -> int:
        """Agents that are reserved, for whomever."""
        rows = 0
        for agent_id, (_, until_s) in list(self._reservations.items()):
            if until_s <= now_s:
                self._release(agent_id)
            elif agent_id in self._agents:
                rows |= self._agents[agent_id].bit
        return rows

    def reserved_for(self, key: Hashable) -> int:
        """Agents that are reserved for *key*. Ask ``reserved`` first: it forgets those whose time is over."""
        there = self._reserved_by.get(key, ())
        return rows_of(self._agents[agent_id].row for agent_id in there if agent_id in self._agents)

    # -- choosing and using --------------------------------------------------------------------------------------------

    def choose(self, rows: int, chance: Callable[[], float]) -> Agent:
        """The best of *rows*, which are not empty: not about to be maintained; then in the order that the operator set;
        then one of which nothing was taken yet, so that a job's instances spread; and of these any."""
        rows = rows ^ (rows & self._with_mode[Mode.SCHEDULED]) or rows
        if rows & self._unavailable:
            rows = rows ^ (rows & self._unavailable) or self._starts.most(rows)
        for kind in self._order:
            if kind is None:
                break
            rows = self._planes[kind].least(rows)
        rows = rows ^ (rows & self._begun) or rows
        return self.agent(first_from(rows, int(chance() * len(self._rows))))

    def use(
        self, agent: Agent, need: Room, names: tuple[str, ...], chance: Callable[[], float]
    ) -> tuple[tuple[str, int], ...]:
        """Take *need* of the agent's offer; gives a number for each of the ports' *names*."""
        self._begun |= agent.bit
        ports: list[int] = []
        if names:
            # Anywhere: a port that was free a moment ago may still be held by somebody who is dying.
            skipped = int(chance() * (agent.room.ports - len(names) + 1))
            ports, agent.ports = pick_ports(agent.ports, len(names), skipped)
        self._set_room(agent, agent.room.minus(need))
        return tuple(zip(names, ports, strict=True))

    # -- keeping the sets ----------------------------------------------------------------------------------------------

    def _enter(self, agent_id: str, host: Host) -> Agent:
        if self._unused_rows:
            row = heapq.heappop(self._unused_rows)
        else:
            row = len(self._rows)
            self._rows.append(None)
        agent = Agent(agent_id, row, host)
        self._rows[row] = self._agents[agent_id] = agent
        self._by_host.setdefault(host.name, {})[agent_id] = agent
        self.labels.add(agent.row, self._labels_of(agent))
        self._set_mode(agent, host.mode)
        return agent

    def _describe(self, agent: Agent, host: Host) -> None:
        if agent.host.attributes != host.attributes or agent.host.name != host.name:
            self.labels.remove(agent.row, self._labels_of(agent))
            there = self._by_host[agent.host.name]
            del there[agent.agent_id]
            if not there:
                del self._by_host[agent.host.name]
            self._by_host.setdefault(host.name, {})[agent.agent_id] = agent
            agent.host = host
            self.labels.add(agent.row, self._labels_of(agent))
        self._set_mode(agent, host.mode)
        agent.host = host

    def _close(self, agent: Agent) -> None:
        if agent.offer is None:
            return
        del self._by_offer[agent.offer.offer_id]
        agent.offer = None
        left = ~agent.bit
        self.open &= left
        self._begun &= left
        self._unavailable &= left

    def _set_room(self, agent: Agent, room: Room) -> None:
        for plane, old, new in zip(self._planes, agent.room, room, strict=True):
            if old != new:
                plane.change(agent.row, old, new)
        agent.room = room

    def _set_mode(self, agent: Agent, mode: int) -> None:
        for one in self._with_mode:
            if one == mode:
                self._with_mode[one] |= agent.bit
            else:
                self._with_mode[one] &= ~agent.bit

    def _labels_of(self, agent: Agent) -> list[tuple[str, frozenset[str]]]:
        """As :meth:`Host.values` has them."""
        named = any(name == "host" for name, _ in agent.host.attributes)
        return [*agent.host.attributes, *([] if named else [("host", agent.host.values("host"))])]

    def _release(self, agent_id: str) -> None:
        key, _ = self._reservations.pop(agent_id, (None, 0.0))
        there = self._reserved_by.get(key)
        if there is not None:
            there.pop(agent_id, None)
            if not there:
                del self._reserved_by[key]
