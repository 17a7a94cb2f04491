"""In which groups an update goes: for showing it before it starts.

A scheduler of ours says so itself; this is for one that does not. Source: ``updater/strategy/`` of Aurora's scheduler:
instances are created first, then changed, then removed, by their numbers within each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from thermos.formats import aurora_api as api


class Groups(NamedTuple):
    """The groups, and how one follows the other, in words."""

    how: str
    groups: tuple[tuple[int, ...], ...]


def instances_of(groups: Iterable[api.ConfigGroup] | None) -> list[int]:
    """The numbers of all instances in *groups*, in order."""
    return sorted({number for group in groups or () for number in numbers(group.instances)})


def numbers(spans: Iterable[api.Range] | None) -> list[int]:
    """The numbers that *spans* cover, in order."""
    return sorted({number for span in spans or () for number in range(span.first or 0, (span.last or 0) + 1)})


def plan(diff: api.GetJobUpdateDiffResult, settings: api.JobUpdateSettings) -> Groups:
    """The groups of an update that does *diff*: the scheduler's own where it tells."""
    if diff.groups:
        return Groups(_how(settings), tuple(tuple(numbers(group.instances)) for group in diff.groups))
    order = [*instances_of(diff.add), *instances_of(diff.update), *instances_of(diff.remove)]
    return Groups(_how(settings), tuple(_split(order, _sizes(settings))))


def _sizes(settings: api.JobUpdateSettings) -> tuple[int, ...]:
    strategy = settings.update_strategy or api.JobUpdateStrategy()
    if strategy.var_batch_strategy is not None:
        return tuple(strategy.var_batch_strategy.group_sizes or (1,))
    of_groups = strategy.batch_strategy or strategy.queue_strategy
    return ((of_groups.group_size if of_groups is not None else settings.update_group_size) or 1,)


def _how(settings: api.JobUpdateSettings) -> str:
    strategy = settings.update_strategy or api.JobUpdateStrategy()
    if strategy.batch_strategy is None and strategy.var_batch_strategy is None:
        return f"up to {_sizes(settings)[0]} at a time, the next as soon as one is done"
    batches = strategy.batch_strategy or strategy.var_batch_strategy
    pauses = batches is not None and batches.autopause_after_batch
    return "each group when the one before is done" + (
        ", after a pause that `aurora update resume` ends" * bool(pauses)
    )


def _split(order: Sequence[int], sizes: Sequence[int]) -> Iterable[tuple[int, ...]]:
    """*order* in groups of *sizes*, the last of which is repeated."""
    start = 0
    for turn in range(len(order)):
        if start >= len(order):
            return
        size = max(1, sizes[min(turn, len(sizes) - 1)])
        yield tuple(order[start : start + size])
        start += size
