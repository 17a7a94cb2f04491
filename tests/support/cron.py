"""Cron jobs as stories: a job with a schedule, and a world that begins at a time of day."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any, Self

from scheduler.core.commands import ScheduleCronJob
from scheduler.core.events import Now, Woke
from scheduler.core.settings import Settings
from scheduler.core.state import State
from scheduler.model import JobKey
from scheduler.store.backups import changes_of
from tests.support.world import JOB, SETTINGS, World, job_of
from thermos.formats.aurora_api import CronCollisionPolicy, JobConfiguration


def cron_job(
    schedule: str = "0 * * * *",
    policy: CronCollisionPolicy = CronCollisionPolicy.KILL_EXISTING,
    job: JobKey = JOB,
    instances: int = 1,
    **more: Any,
) -> JobConfiguration:
    """A job that runs then; its tasks are none of a service."""
    made = job_of(job, instances, **{"is_service": False, **more})
    return made._replace(cron_schedule=schedule, cron_collision_policy=policy)


class Clock(World):
    """A world at a time of day, on the first of a month."""

    def __init__(
        self, at: str = "11:59:30", settings: Settings = SETTINGS, state: State | None = None,
        day: str = "2026-05-01", **more: Any,
    ) -> None:  # fmt: skip
        began = datetime.fromisoformat(f"{day}T{at}+00:00")
        super().__init__(settings, state, Now(round(began.timestamp() * 1000), 1000.0), **more)

    def set_clock(self, to: str) -> None:
        """Somebody sets it; no time goes by."""
        self.now = Now(round(datetime.fromisoformat(to).timestamp() * 1000), self.now.mono_s)
        self.handle(Woke())

    def schedule(self, *given: Any, **more: Any) -> Any:
        return self.command(ScheduleCronJob(cron_job(*given, **more), "ann"))

    def fail_over(self, down_s: float) -> Self:
        """The scheduler dies; another one leads, so much later, of what was durable."""
        state = State()
        for change in changes_of(self.engine.state):
            state.apply(change)
        other = copy.copy(self)
        World.__init__(other, self.settings, state, Now(self.now.wall_ms + round(down_s * 1000), 5.0))
        other._ids = self._ids
        return other

    def count(self, name: str) -> float:
        return self.engine.metrics()[f"cron_job_{name}"]

    def created(self, job: JobKey = JOB) -> list[str]:
        """When each of the job's tasks was created."""
        return [
            datetime.fromtimestamp(task.created_at_ms / 1000, UTC).strftime("%H:%M:%S")
            for task in self.engine.state.tasks_of(job)
        ]
