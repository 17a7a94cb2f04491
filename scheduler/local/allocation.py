"""Who is offered what. As Mesos does it: what an agent has free becomes an offer, and what is freed meanwhile another
one, so that an agent may have several; new agents, subscriptions and revivals are served at once, the rest in rounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import floor
from typing import Any, Final

from scheduler.local import resources
from scheduler.local.resources import Bag
from scheduler.local.world import Agent, Filter, Framework, OfferMade, Reach, World
from thermos.formats.mesos_v1_scheduler import (
    Amount,
    InverseOffer,
    InverseOffers,
    Offer,
    Offers,
    Ports,
    Range,
    Rescind,
    RescindInverseOffer,
    Unavailability,
)

#: Kinds of timers.
ROUND: Final = "round"
FILTER_OVER: Final = "filter over"


class Allocator:
    """Makes offers and takes them back."""

    def __init__(self, world: World) -> None:
        self._world = world
        #: Agents that may have something to offer, by id, in order.
        self._candidates: dict[str, None] = {}
        self._is_round_due = False

    # -- what is free --------------------------------------------------------------------------------------------------

    def give_back(self, agent: Agent, bag: Bag, framework: Framework | None = None, refuse_s: float = 0.0) -> None:
        """*bag* is free again; *framework*, if one is given, does not want it for so long."""
        if not bag:
            return
        agent.free = agent.free.plus(bag)
        if framework is not None and refuse_s > 0:
            until_s = self._world.now_s + refuse_s
            framework.filters.setdefault(agent.spec.agent_id, []).append(Filter(bag, until_s))
            self._world.call_at(until_s, FILTER_OVER, agent.spec.agent_id)
        self.look_at(agent.spec.agent_id)

    def look_at(self, agent_id: str) -> None:
        """The next round has this agent in it."""
        self._candidates[agent_id] = None
        if not self._is_round_due:
            self._is_round_due = True
            interval_s = self._world.settings.allocation_interval_s
            self._world.call_at((floor(self._world.now_s / interval_s) + 1) * interval_s, ROUND)

    def round(self) -> None:
        """Its time has come."""
        self._is_round_due = False
        candidates = list(self._candidates)
        self._candidates.clear()
        self.allocate(self._world.agents[one] for one in candidates if one in self._world.agents)

    def allocate_all(self) -> None:
        """Look at all agents now."""
        self._candidates.clear()
        self.allocate(list(self._world.agents.values()))

    def allocate(self, agents: Iterable[Agent]) -> None:
        """Offer what these agents have to whoever wants it; of several the one that has least."""
        frameworks = self._world.frameworks.values()
        wanting = [one for one in frameworks if one.stream is not None and one.role and not one.is_suppressed]
        made: dict[str, list[Offer]] = {}
        for agent in agents:
            if agent.reach is not Reach.UP or not agent.free.is_worth_offering:
                continue
            if len(wanting) > 1:
                wanting.sort(key=lambda one: (len(one.tasks) + len(one.offers), one.id))
            for framework in wanting:
                if not self._is_refused(framework, agent):
                    made.setdefault(framework.id, []).append(self._make(framework, agent))
                    break
        for framework_id, offers in made.items():
            self._world.tell(self._world.frameworks[framework_id], Offers(tuple(offers)))

    def _is_refused(self, framework: Framework, agent: Agent) -> bool:
        filters = framework.filters.get(agent.spec.agent_id)
        if not filters:
            return False
        now_s = self._world.now_s
        filters[:] = [one for one in filters if one.until_s > now_s]
        return any(agent.free.fits(one.bag) for one in filters)

    # -- offers --------------------------------------------------------------------------------------------------------

    def _make(self, framework: Framework, agent: Agent) -> Offer:
        world = self._world
        made = OfferMade(f"{world.master_id}-O{world.number('offer')}", framework, agent, agent.free)
        agent.free = resources.EMPTY
        world.offers[made.id] = framework.offers[made.id] = agent.offers[made.id] = made
        return offer_of(made, world.settings.address)

    def take(self, made: OfferMade) -> Bag:
        """The offer is answered: what was in it is the caller's to give back."""
        for offers in (self._world.offers, made.framework.offers, made.agent.offers):
            offers.pop(made.id, None)
        return made.bag or resources.EMPTY

    def rescind(self, agent: Agent, *, with_words: bool = True) -> None:
        """Take back all offers of an agent."""
        for made in list(agent.offers.values()):
            if with_words:
                self._world.tell(made.framework, Rescind(made.id))
            self.give_back(agent, self.take(made))

    def drop_offers(self, framework: Framework) -> None:
        """The framework is not there to answer: its offers are void without a word."""
        for made in list(framework.offers.values()):
            self.give_back(made.agent, self.take(made))
        for agent in self._world.agents.values():
            agent.inverse.pop(framework.id, None)

    # -- maintenance ---------------------------------------------------------------------------------------------------

    def plan(self, agent: Agent, unavailability: Unavailability | None) -> None:
        """The agent goes down then, or does not: new offers say so, and who has tasks there is asked to leave."""
        if agent.unavailability == unavailability:
            return
        agent.unavailability = unavailability
        self.rescind(agent)
        for made in agent.inverse.values():
            self._world.tell(made.framework, RescindInverseOffer(made.id))
        agent.inverse.clear()
        self.allocate([agent])
        if unavailability is not None:
            for framework in self._world.frameworks.values():
                self.ask_to_leave(framework, agent)

    def ask_to_leave(self, framework: Framework, agent: Agent) -> None:
        """The inverse offer of a framework that has something on an agent which goes down."""
        if agent.unavailability is None or framework.stream is None or framework.id in agent.inverse:
            return
        if not any(key.framework_id == framework.id for key in agent.executors):
            return
        world = self._world
        made = OfferMade(f"{world.master_id}-O{world.number('offer')}", framework, agent, None)
        agent.inverse[framework.id] = made
        raw: dict[str, Any] = {
            "id": {"value": made.id},
            "framework_id": {"value": framework.id},
            "agent_id": {"value": agent.spec.agent_id},
            "unavailability": _write_unavailability(agent.unavailability),
        }
        offer = InverseOffer(made.id, agent.spec.agent_id, agent.unavailability, raw)
        world.tell(framework, InverseOffers((offer,)))


def offer_of(made: OfferMade, address: tuple[str, int] | None) -> Offer:
    """The offer as its framework is told of it."""
    agent, framework, bag = made.agent, made.framework, made.bag or resources.EMPTY
    spec = agent.spec
    written = resources.write(bag, framework.role)
    spans = written[: len(bag.spans)]
    scalars = written[len(bag.spans) :]
    raw: dict[str, Any] = {
        "id": {"value": made.id},
        "framework_id": {"value": framework.id},
        "agent_id": {"value": spec.agent_id},
        "hostname": spec.hostname,
        "resources": written,
        "allocation_info": {"role": framework.role},
    }
    if address is not None:
        host, port = address
        where = {"hostname": host, "ip": host, "port": port}
        raw["url"] = {"scheme": "http", "address": where, "path": spec.path}
    if spec.attributes:
        raw["attributes"] = list(spec.attributes)
    executors = [{"value": key.executor_id} for key in agent.executors if key.framework_id == framework.id]
    if executors:
        raw["executor_ids"] = executors
    if agent.unavailability is not None:
        raw["unavailability"] = _write_unavailability(agent.unavailability)
    return Offer(
        offer_id=made.id,
        agent_id=spec.agent_id,
        hostname=spec.hostname,
        amounts=tuple([Amount(one["name"], one["scalar"]["value"], False, one) for one in scalars]),
        ports=tuple(
            [
                Ports(name, tuple([Range(*span) for span in found]), False, one)
                for (name, found), one in zip(bag.spans.items(), spans, strict=True)
            ]
        ),
        attributes=agent.attributes,
        unavailability=agent.unavailability,
        agent_address=None if address is None else f"{address[0]}:{address[1]}",
        raw=raw,
    )


def _write_unavailability(unavailability: Unavailability) -> dict[str, Any]:
    raw: dict[str, Any] = {"start": {"nanoseconds": unavailability.start_ns}}
    if unavailability.duration_ns is not None:
        raw["duration"] = {"nanoseconds": unavailability.duration_ns}
    return raw
