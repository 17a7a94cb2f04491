"""Offers for tests that tell what matters and nothing else, and chance that is the same each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from scheduler.core.changes import PutHost
from scheduler.core.offers import OfferBook
from scheduler.core.state import State
from scheduler.model import Host, Mode
from thermos.formats.mesos_v1_scheduler import Amount, Offer, Ports, Range, Unavailability


def chance_of(seed: int = 1) -> Callable[[], float]:
    return Random(seed).random


def never_by_chance() -> float:
    """The smallest number there is: nothing is put off, the first is taken."""
    return 0.0


def offer(
    number: int = 1,
    cpus: float = 4.0,
    ram_mb: float = 4096.0,
    disk_mb: float = 10_000.0,
    gpus: float = 0.0,
    ports: Iterable[tuple[int, int]] = ((31000, 31009),),
    revocable_cpus: float = 0.0,
    revocable_ram_mb: float = 0.0,
    attributes: Iterable[tuple[str, str]] = (),
    unavailable_at_s: float | None = None,
    offer_id: str | None = None,
) -> Offer:
    """What agent ``agent-NUMBER`` on host ``hNUMBER`` has to give."""
    amounts = (
        ("cpus", cpus, False),
        ("mem", ram_mb, False),
        ("disk", disk_mb, False),
        ("gpus", gpus, False),
        ("cpus", revocable_cpus, True),
        ("mem", revocable_ram_mb, True),
    )
    return Offer(
        offer_id=offer_id or f"offer-{number}",
        agent_id=f"agent-{number}",
        hostname=f"h{number}",
        amounts=tuple(Amount(name, value, is_revocable, {}) for name, value, is_revocable in amounts if value),
        ports=(Ports("ports", tuple(Range(*one) for one in ports), False, {}),),
        attributes=tuple(attributes),
        unavailability=None if unavailable_at_s is None else Unavailability(round(unavailable_at_s * 1e9), None),
        agent_address=None,
        raw={},
    )


def hold(book: OfferBook, state: State, *offers: Offer, now_s: float = 0.0, mode: int = Mode.NONE) -> None:
    """As the engine does it: the host is known before its offer is held."""
    for one in offers:
        host = book.host_of(one, state.hosts.get(one.hostname) or Host(one.hostname, one.agent_id, (), mode))
        state.apply(PutHost(host))
        assert book.add(one, now_s, host) == ()
