"""Which tasks that are over are forgotten (``TaskHistoryPruner.java``): those that are old, and of a job that has many
the oldest; none that only just ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from scheduler.core.settings import Settings
from scheduler.model import Task
from scheduler.states import TERMINAL


def _due(tasks_of_job: Sequence[Task], settings: Settings) -> Iterator[tuple[int, str]]:
    """From when each task that is over may be forgotten (wall ms), and its id; who ended first comes first."""
    over = [task for task in tasks_of_job if task.status in TERMINAL]
    over.sort(key=lambda task: (task.changed_at_ms, task.task_id))
    at_least_ms = ceil(settings.history_min_retention_s * 1000)
    at_most_ms = max(at_least_ms, ceil(settings.history_prune_threshold_s * 1000))
    too_many = len(over) - settings.history_max_per_job
    for position, task in enumerate(over):
        yield task.changed_at_ms + (at_least_ms if position < too_many else at_most_ms), task.task_id


def prunable(tasks_of_job: Sequence[Task], now_ms: int, settings: Settings) -> list[str]:
    """Ids of the job's tasks that may be forgotten now, oldest end first. Give it all tasks of the job."""
    return [task_id for due_ms, task_id in _due(tasks_of_job, settings) if due_ms <= now_ms]
