"""Finds offers for tasks of one configuration, without looking at the agents that cannot take them.

The stages of :func:`scheduler.core.matching.vetoes` as operations on sets of agents: what an attempt costs depends on
how many tasks are placed, and hardly on how many agents there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from scheduler.core.events import Now
from scheduler.core.matching import CLOSED_MODES, RESERVED, Room, Veto, needed, shortages, total, vetoes
from scheduler.core.offers import OfferBook
from scheduler.core.settings import Settings
from scheduler.core.sliced import each
from scheduler.core.state import State
from scheduler.model import Config, Host, Task

#: Of agents that lack several kinds of resources, so many are compared to say which is the nearest.
_COMPARED: Final = 32


class Placement(NamedTuple):
    """A task is to be launched with this offer."""

    task_id: str
    offer_id: str
    agent_id: str
    host: str
    #: name → number, by name.
    ports: tuple[tuple[str, int], ...]


class Result(NamedTuple):
    """What was found for some tasks of one configuration."""

    placements: tuple[Placement, ...]
    #: All were placed.
    is_complete: bool
    #: Where it is not: why the nearest agent does not take one more. Empty: nobody offers anything.
    nearest: tuple[Veto, ...] = ()
    #: What one task takes, and (attribute, value) of which the job has as many tasks as its limits allow: whatever is
    #: offered, a task is not placed unless it has the one and none of the other.
    need: Room = Room()
    full: frozenset[tuple[str, str]] = frozenset()


class Limits:
    """How many active tasks the job has per value of the attributes that it limits. Placements of this step count."""

    def __init__(self, config: Config, state: State, book: OfferBook) -> None:
        #: attribute → the least of its limits.
        self.limits: dict[str, int] = {}
        for one in config.constraints:
            if one.limit is not None:
                self.limits[one.name] = min(one.limit, self.limits.get(one.name, one.limit))
        self._counts: dict[str, dict[str, int]] = {attribute: {} for attribute in self.limits}
        self._book = book
        if self.limits:
            hosts = Counter([task.host for task in state.active_of(config.job) if task.host is not None])
            for name, times in hosts.items():
                self.count(state.hosts.get(name) or Host(name, None), times)

    def __call__(self, attribute: str, value: str) -> int:
        return self._counts[attribute].get(value, 0)

    def count(self, host: Host, times: int = 1) -> None:
        """So many more tasks are on *host*."""
        for attribute, counts in self._counts.items():
            for value in host.values(attribute):
                counts[value] = counts.get(value, 0) + times

    def full(self) -> dict[str, list[str]]:
        """attribute → values where no more may go."""
        return {
            attribute: [value for value, there in self._counts[attribute].items() if there >= limit]
            for attribute, limit in self.limits.items()
        }

    def exclude(self, rows: int) -> int:
        """*rows* without the agents where no more may go."""
        labels = self._book.labels
        for attribute, values in self.full().items():
            rows &= labels.having(attribute) if self.limits[attribute] > 0 else 0
            rows ^= rows & labels.with_any(attribute, values)
        return rows

    def exclude_of(self, rows: int, host: Host) -> int:
        """The same where only what *host* shares may have changed."""
        for attribute, limit in self.limits.items():
            counts = self._counts[attribute]
            values = [value for value in host.values(attribute) if counts.get(value, 0) >= limit]
            if values:
                rows ^= rows & self._book.labels.with_any(attribute, values)
        return rows


def _stages(config: Config, book: OfferBook, limits: Limits, wall_ms: int) -> Iterator[int]:
    """The agents with an offer; those that are left after each of the stages that do not ask for resources."""
    rows = book.open
    yield rows
    if config.dedicated is None:
        rows ^= rows & book.labels.having("dedicated")
        yield rows
    rows ^= rows & book.closed(wall_ms)
    yield rows
    for one in config.constraints:
        if one.limit is None:
            fitting = rows & book.labels.with_any(one.name, one.values)
            rows = rows ^ fitting if one.is_negated else fitting
    yield limits.exclude(rows) if limits.limits else rows


def place(
    config: Config,
    tasks: Sequence[Task],
    book: OfferBook,
    state: State,
    settings: Settings,
    now: Now,
    chance: Callable[[], float],
) -> Result:
    """Offers for *tasks*, all of *config*, as far as there are any; first come, first placed.

    What is placed is taken out of what *book* has left; whoever launches takes the offers out of it altogether. Agents
    that are reserved for one of the tasks are tried first for it, others' not at all; a task whose instance has one
    goes nowhere else.
    """
    need = needed(config, settings)
    limits = Limits(config, state, book)
    rows = 0
    for rows in _stages(config, book, limits, now.wall_ms):
        if not rows:
            break
    rows = book.with_room(rows, need)
    reserved = book.reserved(now.mono_s)
    placements: list[Placement] = []
    for task in tasks:
        while True:
            free = rows
            if reserved:
                place = book.reserved_for((config.job, task.instance))
                mine = place | book.reserved_for(config.digest)
                # An instance whose place is kept waits until its agent offers again, or for the end of that.
                free = rows & mine or (0 if place else rows ^ (rows & reserved))
            if not free:
                break
            agent = book.choose(free, chance)
            known = state.hosts.get(agent.host.name)
            if known is None or known.mode == agent.host.mode:
                break
            # The book was not told of a change of mode.
            book.set_mode(known.name, known.mode)
            if known.mode in CLOSED_MODES:
                rows ^= agent.bit
        if not free:
            continue
        ports = book.use(agent, need, config.ports, chance)
        assert agent.offer is not None
        placements.append(Placement(task.task_id, agent.offer.offer_id, agent.agent_id, agent.host.name, ports))
        if not agent.room.holds(need):
            rows ^= agent.bit
        if limits.limits:
            limits.count(agent.host)
            rows = limits.exclude_of(rows, agent.host)
    if len(placements) == len(tasks):
        return Result(tuple(placements), True, need=need)
    full = frozenset((attribute, value) for attribute, values in limits.full().items() for value in values)
    return Result(tuple(placements), False, nearest(config, need, book, limits, settings, now.wall_ms), need, full)


def nearest(
    config: Config, need: Room, book: OfferBook, limits: Limits, settings: Settings, wall_ms: int
) -> tuple[Veto, ...]:
    """Why the agent that comes nearest does not take a task of *config*; empty where nothing is offered. Of agents that
    lack several kinds of resources some are compared, not all."""
    before = 0
    for rows in _stages(config, book, limits, wall_ms):
        if not rows:
            break
        before = rows
    else:
        if book.with_room(before, need):
            return (RESERVED,)
        lacking = (shortages(need, book.agent(row).room) for row in _near(before, need, book))
        return min(lacking, key=total)
    if not before:
        return ()
    agent = book.agent(next(each(before)))
    return vetoes(config, agent.room, agent.host, limits, settings, agent.unavailable_in_s(wall_ms))


def _near(rows: int, need: Room, book: OfferBook) -> Iterator[int]:
    """Of *rows*, which all lack something: those that may lack least. Of those that lack one kind alone, that which has
    most of it, and some of the others."""
    lacking = {kind: book.lacking(rows, kind, amount) for kind, amount in enumerate(need) if amount}
    once = several = 0
    for there in lacking.values():
        several |= once & there
        once |= there
    for kind, there in lacking.items():
        for some in (there ^ (there & several), several):
            if some:
                yield next(each(book.roomiest(some, kind)))
    yield from islice(each(several), _COMPARED)
