"""Pages of the cluster's parts: agents, offers, and what waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

from observer_static.context import MAX_PHRASE, MAX_SENTENCE, from_ms, shown
from observer_static.parts import Link
from scheduler.api.backend import View
from scheduler.core.offers import room_of
from scheduler.model import Config, Host, Resources, Task
from scheduler.pages import paths
from scheduler.pages.collect import (
    ROWS,
    Common,
    Teller,
    amounts,
    common,
    fixed,
    is_active,
    job_name,
    paged,
    state_counts,
)
from scheduler.pages.collect_maintenance import MODES, SeenMaintenance, maintenance_view, seen_maintenance
from scheduler.pages.pages import AgentPage, AgentsPage, OffersPage, PendingPage
from scheduler.pages.parts import AgentRow, GroupRow, Labeled, OfferRow
from thermos.formats.mesos_v1_scheduler import Offer

#: Attributes of a host that are shown.
MAX_ATTRIBUTES: Final = 50
#: Tasks that hold up the draining of an agent that are shown on its page.
MAX_HELD: Final = 100


# -- Agents ------------------------------------------------------------------------------------------------------------


class SeenAgents(NamedTuple):
    """What the page of agents is made from."""

    seen: Common
    hosts: tuple[Host, ...]
    offers: tuple[Offer, ...]
    tasks: tuple[Task, ...]


def pick_agents(view: View) -> SeenAgents:
    """Picks all agents."""
    state = view.state
    return SeenAgents(common(view), tuple(state.hosts.values()), tuple(view.offers), tuple(state.tasks.values()))


def agents_page(picked: SeenAgents, query: Mapping[str, str]) -> AgentsPage:
    """The agents; of the query ``page`` counts."""
    seen = picked.seen
    offers = {offer.agent_id: offer for offer in picked.offers}
    counts: Counter[str | None] = Counter()
    for task in picked.tasks:
        if task.agent_id is not None and is_active(task):
            counts[task.agent_id] += 1
    hosts = sorted(picked.hosts, key=lambda host: host.name)
    rows, paging = paged(
        hosts, query.get("page"), ROWS, lambda number: paths.with_query(paths.AGENTS, {"page": number})
    )
    return AgentsPage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        rows=tuple(_agent_row(host, counts[host.agent_id], offers.get(host.agent_id or "")) for host in rows),
        paging=paging,
    )


def _agent_row(host: Host, tasks: int, offer: Offer | None) -> AgentRow:
    return AgentRow(
        host=Link(text=shown(host.name), href=paths.agent_path(host.name)),
        agent_id=shown(host.agent_id) if host.agent_id is not None else None,
        attributes=tuple(
            Labeled(name=shown(name), value=shown(", ".join(sorted(values)), MAX_PHRASE))
            for name, values in host.attributes[:MAX_ATTRIBUTES]
        ),
        mode=MODES.get(host.mode),
        tasks=tasks,
        offered=amounts(fixed(offer)) if offer is not None else None,
    )


class SeenAgent(NamedTuple):
    """What an agent's page is made from."""

    seen: Common
    host: Host
    offer: Offer | None
    tasks: tuple[Task, ...]
    maintenance: SeenMaintenance | None


def pick_agent(view: View, name: str) -> SeenAgent | None:
    """Picks the agent of that host; None: none was ever heard of."""
    host = view.state.hosts.get(name)
    if host is None:
        return None
    offer = next((offer for offer in view.offers if offer.agent_id == host.agent_id), None)
    tasks = view.state.on_agent(host.agent_id) if host.agent_id is not None else []
    return SeenAgent(common(view), host, offer, tuple(tasks), seen_maintenance(view, host, MAX_HELD))


def agent_page(picked: SeenAgent, query: Mapping[str, str], task_page_url: str) -> AgentPage:
    """The agent; of the query ``page`` counts."""
    seen = picked.seen
    teller = Teller(seen, {}, task_page_url)
    tasks = sorted(filter(is_active, picked.tasks), key=lambda task: (task.job, task.instance))
    path = paths.agent_path(picked.host.name)
    rows, paging = paged(tasks, query.get("page"), ROWS, lambda number: paths.with_query(path, {"page": number}))
    return AgentPage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        agent=_agent_row(picked.host, len(tasks), picked.offer),
        maintenance=maintenance_view(picked.maintenance) if picked.maintenance is not None else None,
        states=state_counts(tasks),
        tasks=tuple(map(teller.row, rows)),
        paging=paging,
    )


# -- Offers ------------------------------------------------------------------------------------------------------------


class SeenOffers(NamedTuple):
    """What the page of offers is made from."""

    seen: Common
    offers: tuple[Offer, ...]


def pick_offers(view: View) -> SeenOffers:
    """Picks all offers."""
    return SeenOffers(common(view), tuple(view.offers))


def offers_page(picked: SeenOffers, query: Mapping[str, str]) -> OffersPage:
    """The offers; of the query ``page`` counts."""
    seen = picked.seen
    offers = sorted(picked.offers, key=lambda offer: (offer.hostname, offer.offer_id))
    rows, paging = paged(
        offers, query.get("page"), ROWS, lambda number: paths.with_query(paths.OFFERS, {"page": number})
    )
    return OffersPage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        rows=tuple(map(_offer_row, rows)),
        paging=paging,
    )


def _offer_row(offer: Offer) -> OfferRow:
    room = room_of(offer)
    revocable = Resources(room.revocable_milli_cpus, room.revocable_ram_mb)
    return OfferRow(
        host=Link(text=shown(offer.hostname), href=paths.agent_path(offer.hostname)),
        agent_id=shown(offer.agent_id),
        offer_id=shown(offer.offer_id),
        free=amounts(fixed(offer)),
        ports=room.ports,
        revocable=amounts(revocable) if any(revocable) else None,
        goes_s=from_ms(offer.unavailability.start_ns // 1_000_000) if offer.unavailability is not None else None,
    )


# -- What waits --------------------------------------------------------------------------------------------------------


class SeenGroup(NamedTuple):
    """Tasks of one configuration that wait."""

    config: Config
    tasks: int
    since_ms: int | None
    penalty_s: float
    reason: str


class SeenPending(NamedTuple):
    """What the page of what waits is made from."""

    seen: Common
    groups: tuple[SeenGroup, ...]


def pick_pending(view: View) -> SeenPending:
    """Picks all groups."""
    found = []
    for group in view.groups.values():
        pending = group.pending
        oldest = view.state.tasks.get(pending[0]) if pending else None
        found.append(
            SeenGroup(
                group.config,
                len(pending),
                oldest.changed_at_ms if oldest is not None else None,
                group.penalty_s,
                group.reason,
            )
        )
    return SeenPending(common(view), tuple(found))


def pending_page(picked: SeenPending, query: Mapping[str, str]) -> PendingPage:
    """What waits; of the query ``page`` counts."""
    seen = picked.seen
    groups = sorted(picked.groups, key=lambda group: (group.since_ms or 0, group.config.job, group.config.digest))
    rows, paging = paged(
        groups, query.get("page"), ROWS, lambda number: paths.with_query(paths.PENDING, {"page": number})
    )
    return PendingPage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        rows=tuple(
            GroupRow(
                job=job_name(group.config.job),
                tasks=group.tasks,
                since_s=from_ms(group.since_ms),
                penalty_s=group.penalty_s,
                reason=shown(seen.holds[0] if seen.holds else group.reason, MAX_SENTENCE),
                needs=amounts(group.config.resources),
            )
            for group in rows
        ),
        paging=paging,
    )
