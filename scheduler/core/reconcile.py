"""When to ask Mesos about tasks, and which wait too long for an answer.

Two questions, neither of which heals everything alone (AURORA-1047). *Explicit*: all tasks that we know to be on an
agent; finds those that Mesos holds for dead or never heard of. *Implicit*: an empty list, which asks for all that Mesos
knows; finds those that we hold for dead. They take turns, so that their answers do not come all at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from scheduler.core.settings import Settings
from scheduler.model import Task


class Schedule(NamedTuple):
    """When the next runs are due; all monotonic seconds."""

    #: Of the (re)registration that both count from.
    since_s: float
    explicit_at_s: float
    implicit_at_s: float

    @property
    def due_s(self) -> float:
        """When to look again."""
        return min(self.explicit_at_s, self.implicit_at_s)


def first(now_s: float, settings: Settings) -> Schedule:
    """After a registration: explicit after the initial delay, implicit after the spread on top of that."""
    explicit_at_s = now_s + settings.reconciliation_initial_delay_s
    return Schedule(now_s, explicit_at_s, explicit_at_s + settings.reconciliation_schedule_spread_s)


def registered_again(schedule: Schedule, now_s: float, settings: Settings) -> Schedule:
    """After a re-registration: as at first, but nothing that was due sooner is put off, so that a master that comes
    and goes cannot keep either run from ever happening. A run that was under way is over: batches that were not sent
    yet are to be dropped, since the next run asks about all again."""
    anew = first(now_s, settings)
    return anew._replace(
        explicit_at_s=min(anew.explicit_at_s, schedule.explicit_at_s),
        implicit_at_s=min(anew.implicit_at_s, schedule.implicit_at_s),
    )


def explicit_takes_s(task_count: int, batch_size: int, settings: Settings) -> float:
    """From the first batch of an explicit run to its last, in seconds."""
    return max(0, ceil(task_count / batch_size) - 1) * settings.reconciliation_explicit_batch_interval_s


def after_explicit(schedule: Schedule, now_s: float, settings: Settings, takes_s: float = 0.0) -> Schedule:
    """An explicit run begins now, and its last batch is sent *takes_s* later (``explicit_takes_s``): no other run is
    due before that."""
    start_s = schedule.since_s + settings.reconciliation_initial_delay_s
    next_s = _next(start_s, now_s, settings.reconciliation_explicit_interval_s)
    ends_s = now_s + takes_s
    if takes_s > 0:  # the other's turn comes first, even where a run takes longer than the interval
        next_s = max(next_s, ends_s + settings.reconciliation_schedule_spread_s)
    return schedule._replace(explicit_at_s=next_s, implicit_at_s=max(schedule.implicit_at_s, ends_s))


def after_implicit(schedule: Schedule, now_s: float, settings: Settings) -> Schedule:
    """An implicit run was asked for now."""
    start_s = schedule.since_s + settings.reconciliation_initial_delay_s + settings.reconciliation_schedule_spread_s
    return schedule._replace(implicit_at_s=_next(start_s, now_s, settings.reconciliation_implicit_interval_s))


def _next(start_s: float, now_s: float, interval_s: float) -> float:
    """The first of *start_s*, *start_s* + *interval_s* … that is at least half an interval away: a run that is late
    (the machine slept) is not followed by the next at once."""
    turns = max(0, ceil((now_s + interval_s / 2 - start_s) / interval_s))
    return start_s + turns * interval_s


def batches(tasks: Sequence[Task], size: int) -> list[tuple[tuple[str, str | None], ...]]:
    """(task id, agent id) of *tasks*, at most *size* together: what a ``Reconcile`` call takes."""
    asked = [(task.task_id, task.agent_id) for task in tasks]
    return [tuple(asked[start : start + size]) for start in range(0, len(asked), size)]


def kill_retry_s(retries: int, settings: Settings) -> float:
    """How long to wait for a kill's effect before it is sent again, *retries* having been sent already: doubling, up
    to the time after which the task is LOST (``KillRetry.java``)."""
    longest = settings.transient_task_state_timeout_s
    return min(longest, settings.initial_task_kill_retry_interval_s * 2.0 ** min(retries, 64))
