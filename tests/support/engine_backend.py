"""The scheduler's engine behind the API, without Mesos and without a disk: what a test tells it happens at once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any, TypeVar

from scheduler.api.backend import Leader, View
from scheduler.core.changes import Change
from scheduler.core.commands import Answer, Command
from scheduler.core.decision import Decision
from scheduler.core.engine import Engine
from scheduler.core.events import Elected, Event, Now
from scheduler.core.settings import ExecutorSettings, Settings
from scheduler.core.state import State
from scheduler.model import Resources, Task
from scheduler.states import ScheduleStatus
from scheduler.store.backups import Backups, Recovery
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import JobConfiguration

T = TypeVar("T")

EXECUTOR = ExecutorSettings("AuroraExecutor", Resources(250, 128), {})
SETTINGS = Settings(executors=MappingProxyType({"AuroraExecutor": EXECUTOR}))
NOW_MS = 1_700_000_000_000


def task_config(role: str = "www", env: str = "prod", name: str = "hello", **more: object) -> wire.TaskConfig:
    """The configuration of a small service."""
    config = wire.TaskConfig(
        job=wire.JobKey(role, env, name),
        owner=wire.Identity("jane"),
        is_service=True,
        priority=0,
        max_task_failures=1,
        tier="preemptible",
        resources=(
            wire.Resource(num_cpus=0.5), wire.Resource(ram_mb=64), wire.Resource(disk_mb=32),
            wire.Resource(named_port="http"),
        ),
        executor_config=wire.ExecutorConfig("AuroraExecutor", '{"task": "hello"}'),
        container=wire.Container(mesos=wire.MesosContainer()),
    )  # fmt: skip
    return config._replace(**more)  # type: ignore[arg-type]


def job(instances: int = 1, **more: Any) -> JobConfiguration:
    """A job of such tasks."""
    config = task_config(**more)
    return JobConfiguration(key=config.job, owner=config.owner, task_config=config, instance_count=instances)


class EngineBackend:
    """A backend that leads, unless *leading* says otherwise."""

    def __init__(self, settings: Settings = SETTINGS, backup_dir: str = "/nonexistent") -> None:
        numbers = itertools.count(1)
        self.engine = Engine(settings, lambda: f"{next(numbers):08x}", lambda: 0.5, State())
        self.leading = Leader(True, "http://leader.example.org:8081")
        self.kept: list[str] = []
        #: Staged from *backup_dir*; what was committed is only kept here.
        self.recovery = Recovery(Backups(backup_dir))
        self.recoveries: list[list[Change]] = []
        self.compactions = 0
        self.wall_ms = NOW_MS
        self._lock = threading.Lock()
        self.tell(Elected())

    def tell(self, *events: Event) -> list[Decision]:
        """Something happens."""
        with self._lock:
            decisions = [self.engine.handle(event, Now(self.wall_ms, 0.0)) for event in events]
            self.engine.committed()
            return decisions

    def move(self, tasks: Iterable[Task], *states: ScheduleStatus) -> None:
        """Tasks go through states, on an agent."""
        with self._lock:
            for task in list(tasks):
                for state in states:
                    self.engine.tasks.move(task.task_id, state, None)
            self.engine.committed()

    def look(self, at: Callable[[View], T]) -> T:
        with self._lock:
            engine = self.engine
            return at(
                View(
                    engine.state, engine.offers, engine.settings, engine.pending_reasons(), engine.metrics(),
                    self.wall_ms, engine.groups.groups, engine.held, NOW_MS,
                )
            )  # fmt: skip

    def command(self, command: Command) -> Answer:
        with self._lock:
            answer, _ = self.engine.command(command, Now(self.wall_ms, 0.0))
            self.engine.committed()
            return answer

    def leader(self) -> Leader:
        return self.leading

    def backup(self) -> str:
        self.kept.append(f"scheduler-backup-{len(self.kept)}")
        return self.kept[-1]

    def backups(self) -> tuple[str, ...]:
        return tuple(self.kept)

    def recover(self, do: Callable[[Recovery], T]) -> T:
        with self._lock:
            return do(self.recovery)

    def commit_recovery(self) -> None:
        with self._lock:
            self.recoveries.append(self.recovery.changes(self.engine.state))

    def snapshot(self) -> None:
        self.compactions += 1
