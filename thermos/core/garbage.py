"""Which finished tasks go, so that those that stay keep within limits? The youngest are kept first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Candidate(NamedTuple):
    """A finished task."""

    root: str
    task_id: str
    #: Since it ended.
    age_s: float
    #: What it takes of that which may be deleted.
    size_bytes: int


class Limits(NamedTuple):
    """What may stay; None: any."""

    max_age_s: float | None = None
    max_tasks: int | None = None
    max_space_bytes: int | None = None


class Victim(NamedTuple):
    """A task that goes, and the limit that says so: ``age``, ``tasks`` or ``space``."""

    task: Candidate
    limit: str


def choose(tasks: Iterable[Candidate], limits: Limits) -> list[Victim]:
    """The tasks that go, youngest first. Every task that stays is younger than every one that goes.

    Of equal age, the one whose name comes first counts as the younger.
    """
    victims: list[Victim] = []
    size_bytes = 0
    youngest_first = sorted(tasks, key=lambda task: (task.age_s, task.root, task.task_id))
    # Those that go count too: an older one cannot stay where a younger one goes.
    for count, task in enumerate(youngest_first, start=1):
        size_bytes += task.size_bytes
        if _is_too_old(task, limits):
            victims.append(Victim(task, "age"))
        elif limits.max_tasks is not None and count > limits.max_tasks:
            victims.append(Victim(task, "tasks"))
        elif limits.max_space_bytes is not None and size_bytes > limits.max_space_bytes:
            victims.append(Victim(task, "space"))
    return victims


def _is_too_old(task: Candidate, limits: Limits) -> bool:
    return limits.max_age_s is not None and task.age_s > limits.max_age_s
