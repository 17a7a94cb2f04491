"""Instances of a job as clients write them: ranges, both ends included."""

from __future__ import annotations

from collections.abc import Iterable

from thermos.formats.aurora_api import Range


def ranges_of(instances: Iterable[int]) -> tuple[Range, ...]:
    """The fewest ranges that hold exactly *instances*, in order."""
    found: list[tuple[int, int]] = []
    for instance in sorted(set(instances)):
        if found and found[-1][1] == instance - 1:
            found[-1] = (found[-1][0], instance)
        else:
            found.append((instance, instance))
    return tuple(Range(first, last) for first, last in found)


def instances_of(ranges: Iterable[Range] | None) -> set[int]:
    """The instances in *ranges*; none in one that ends before it begins, or lacks an end."""
    found: set[int] = set()
    for one in ranges or ():
        if one.first is not None and one.last is not None:
            found.update(range(one.first, one.last + 1))
    return found
