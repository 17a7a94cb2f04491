"""Whether a task may run on a host, and if not, why: the rules, one offer at a time.

This is what a placement means. :mod:`scheduler.core.placement` finds it without asking offer by offer. The order of
the checks, their words and their scores are Aurora's (``SchedulingFilterImpl``, ``SchedulingFilter.Veto``).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from scheduler.core.settings import Settings
from scheduler.model import Config, Constraint, Host, Mode, Resources

#: Modes of a host on which nothing new starts.
CLOSED_MODES: Final = {Mode.DRAINING: "draining", Mode.DRAINED: "drained"}


class VetoKind(Enum):
    """Why not, in the order in which it is asked."""

    DEDICATED = "dedicated"
    MAINTENANCE = "maintenance"
    CONSTRAINT = "constraint"
    LIMIT = "limit"
    RESOURCES = "resources"
    RESERVED = "reserved"


class Veto(NamedTuple):
    """One reason why a host does not take a task, in words for people. The nearest host is that with the lowest sum of
    scores: a later stage's are lower than an earlier one's."""

    kind: VetoKind
    reason: str
    score: int


#: Of an agent that would take the task, but is kept for another.
RESERVED: Final = Veto(VetoKind.RESERVED, "Host is reserved for another task", 1)


class Room(NamedTuple):
    """Amounts of each kind: what an offer has left, or what one task takes."""

    milli_cpus: int = 0
    ram_mb: int = 0
    disk_mb: int = 0
    gpus: int = 0
    ports: int = 0
    revocable_milli_cpus: int = 0
    revocable_ram_mb: int = 0

    def holds(self, need: Room) -> bool:
        """Whether all of *need* is there."""
        return (
            need[0] <= self[0]
            and need[1] <= self[1]
            and need[2] <= self[2]
            and need[4] <= self[4]
            and need[3] <= self[3]
            and need[5] <= self[5]
            and need[6] <= self[6]
        )

    def plus(self, more: Room) -> Room:
        """The sum of both."""
        return Room(
            self[0] + more[0],
            self[1] + more[1],
            self[2] + more[2],
            self[3] + more[3],
            self[4] + more[4],
            self[5] + more[5],
            self[6] + more[6],
        )

    def minus(self, need: Room) -> Room:
        """What is left when *need* is taken."""
        return Room(
            self[0] - need[0],
            self[1] - need[1],
            self[2] - need[2],
            self[3] - need[3],
            self[4] - need[4],
            self[5] - need[5],
            self[6] - need[6],
        )


#: For each kind of :class:`Room`: its name for people, and how much of it is a whole machine's, which makes shortages
#: of different kinds comparable (``ResourceType``'s scaling ranges: 16 cores, 24 GB, 450 GB, 4 GPUs, 1000 ports).
_WORDS: Final = ("CPU", "RAM", "disk", "GPU", "ports", "CPU", "RAM")
_RANGES: Final = (16_000, 24 * 1024, 450 * 1024, 4, 1000, 16_000, 24 * 1024)


def overhead_of(config: Config, settings: Settings) -> Resources:
    """What the executor that runs such a task takes for itself."""
    executor = config.wire.executor_config
    known = settings.executors.get(executor.name or "") if executor is not None else None
    return known.overhead if known is not None else Resources()


def needed(config: Config, settings: Settings) -> Room:
    """What one task takes of an offer, its executor's part included. A revocable tier's CPUs are revocable ones, and
    its RAM where that is enabled; all else never is."""
    total = config.resources.plus(overhead_of(config, settings))
    tier = settings.tier(config.tier)
    is_revocable = tier is not None and tier.is_revocable
    cpus_revocable = is_revocable and settings.enable_revocable_cpus
    ram_revocable = is_revocable and settings.enable_revocable_ram
    return Room(
        0 if cpus_revocable else total.milli_cpus,
        0 if ram_revocable else total.ram_mb,
        total.disk_mb,
        total.gpus,
        len(config.ports),
        total.milli_cpus if cpus_revocable else 0,
        total.ram_mb if ram_revocable else 0,
    )


def is_satisfied(constraint: Constraint, values: frozenset[str]) -> bool:
    """Whether a host whose attribute has *values* (none: it lacks the attribute) fulfils a value constraint."""
    return constraint.values.isdisjoint(values) == constraint.is_negated


def _dedicated(config: Config, host: Host) -> Veto | None:
    if config.dedicated is None and host.values("dedicated"):
        return Veto(VetoKind.DEDICATED, "Host is dedicated", 1_000_000)
    return None


def _maintenance(host: Host, unavailable_in_s: float | None, threshold_s: float) -> Veto | None:
    word = CLOSED_MODES.get(host.mode)
    if word is None and unavailable_in_s is not None and unavailable_in_s <= threshold_s:
        word = CLOSED_MODES[Mode.DRAINING]  # the operator told Mesos instead of us
    return None if word is None else Veto(VetoKind.MAINTENANCE, f"Host {word} for maintenance", 100_000)


def _constraint(config: Config, host: Host, limit_count: Callable[[str, str], int]) -> Veto | None:
    """The first that fails: those by value come first in a configuration, then the limits."""
    for one in config.constraints:
        values = host.values(one.name)
        if one.limit is None:
            if not is_satisfied(one, values):
                return Veto(VetoKind.CONSTRAINT, f"Constraint not satisfied: {one.name}", 10_000)
        elif not values:
            return Veto(VetoKind.CONSTRAINT, f"Constraint not satisfied: {one.name}", 10_000)
        elif any(limit_count(one.name, value) >= one.limit for value in values):
            return Veto(VetoKind.LIMIT, f"Limit not satisfied: {one.name}", 10_000)
    return None


def shortages(need: Room, room: Room) -> tuple[Veto, ...]:
    """One for each kind of which *room* has too little; its score grows with what is missing."""
    return tuple(
        Veto(VetoKind.RESOURCES, f"Insufficient: {word}", min(1000, 1000 * (wanted - there) // scale))
        for wanted, there, word, scale in zip(need, room, _WORDS, _RANGES, strict=True)
        if wanted > there
    )


def vetoes(
    config: Config,
    room: Room,
    host: Host,
    limit_count: Callable[[str, str], int],
    settings: Settings,
    unavailable_in_s: float | None = None,
) -> tuple[Veto, ...]:
    """Why *host* does not take a task; none: it does.

    The first stage that fails is the answer: dedicated hosts, maintenance, constraints, and only then resources, of
    which all that lack are named. *limit_count* says how many active tasks of the job are on hosts that have that value
    of that attribute; *unavailable_in_s* when Mesos' maintenance of the host begins (None: none is planned).
    """
    one = (
        _dedicated(config, host)
        or _maintenance(host, unavailable_in_s, settings.unavailability_threshold_s)
        or _constraint(config, host, limit_count)
    )
    return (one,) if one is not None else shortages(needed(config, settings), room)


def total(found: tuple[Veto, ...]) -> int:
    """How far away that is."""
    return sum(veto.score for veto in found)
