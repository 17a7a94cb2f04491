"""An engine and the smallest Mesos around it, for stories: what was decided is kept, nothing is made up.

Time is whatever the test says. What a test does to the engine goes through ``handle`` and ``command``, as in life.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

from scheduler.core.changes import Change
from scheduler.core.commands import Answer, Command, CreateJob, KillTasks
from scheduler.core.decision import Decision
from scheduler.core.engine import Engine
from scheduler.core.events import Action, Elected, Event, Launch, Now, Offers, Subscribed, Update, Woke
from scheduler.core.settings import ExecutorSettings, Settings
from scheduler.core.state import State
from scheduler.model import JobKey, Resources, Task
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import JobConfiguration
from thermos.formats.mesos_v1_scheduler import Amount, Offer, Ports, Range, Status
from thermos.mesos import MesosTaskState, Source

T = TypeVar("T")
JOB: Final = JobKey("www", "prod", "web")
EXECUTOR: Final = ExecutorSettings("AuroraExecutor", Resources(50, 64), {"command": {"value": "./executor"}})
SETTINGS: Final = Settings(executors=MappingProxyType({EXECUTOR.name: EXECUTOR}), max_reschedule_delay_on_startup_s=0.0)


def task_config(job: JobKey = JOB, **more: Any) -> wire.TaskConfig:
    """A configuration that can be submitted: a service of one CPU, 128 MB and 64 MB of disk."""
    resources = more.pop("resources", None) or (
        wire.Resource(num_cpus=1.0), wire.Resource(ram_mb=128), wire.Resource(disk_mb=64)
    )  # fmt: skip
    fields: dict[str, Any] = {
        "job": wire.JobKey(*job),
        "owner": wire.Identity("ann"),
        "is_service": True,
        "priority": 0,
        "max_task_failures": 1,
        "resources": resources,
        "constraints": (),
        "executor_config": wire.ExecutorConfig(EXECUTOR.name, "{}"),
        "container": wire.Container(mesos=wire.MesosContainer()),
    }
    return wire.TaskConfig(**{**fields, **more})


def job_of(job: JobKey = JOB, instances: int = 1, **more: Any) -> JobConfiguration:
    """A job of that configuration."""
    return JobConfiguration(
        key=wire.JobKey(*job),
        owner=wire.Identity("ann"),
        task_config=task_config(job, **more),
        instance_count=instances,
    )


def offer(
    number: int = 1, cpus: float = 8.0, ram_mb: int = 16384, disk_mb: int = 100000, agent: str | None = None,
    attributes: tuple[tuple[str, str], ...] = (), ports: tuple[int, int] = (31000, 32000),
) -> Offer:  # fmt: skip
    """An offer of host *number* (agent ``agent-N``, host ``host-N``), with an id of its own every time."""
    amounts = (("cpus", cpus), ("mem", float(ram_mb)), ("disk", float(disk_mb)))
    return Offer(
        offer_id=f"offer-{next(_NUMBERS)}",
        agent_id=agent or f"agent-{number}",
        hostname=f"host-{number}",
        amounts=tuple(
            Amount(name, value, False, {"name": name, "type": "SCALAR", "role": "*"}) for name, value in amounts
        ),
        ports=(Ports("ports", (Range(*ports),), False, {"name": "ports", "type": "RANGES", "role": "*"}),),
        attributes=attributes,
        unavailability=None,
        agent_address=None,
        raw={},
    )


_NUMBERS = itertools.count(1)
BEGIN: Final = Now(1_700_000_000_000, 1000.0)


class World:
    """An engine that leads and is registered, unless told otherwise; all that it decided, in order."""

    def __init__(
        self, settings: Settings = SETTINGS, state: State | None = None, now: Now = BEGIN, **more: Any
    ) -> None:
        self.settings = replace(settings, **more) if more else settings
        self._ids = itertools.count(1)
        self.engine = Engine(self.settings, lambda: f"u{next(self._ids)}", lambda: 0.5, state)
        self.now = now
        self.changes: list[Change] = []
        self.actions: list[Action] = []
        self.durable = 0
        self.handle(Elected())
        self.handle(Subscribed("fw-1", 15.0, "master:5050"))
        self.taken()

    # -- doing ---------------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        self._decided(self.engine.handle(event, self.now))

    def command(self, command: Command) -> Answer:
        answer, decision = self.engine.command(command, self.now)
        self._decided(decision)
        return answer

    def _decided(self, decision: Decision) -> None:
        self.changes += decision.changes
        self.actions += decision.actions
        self.engine.committed()

    def pass_s(self, seconds: float) -> None:
        """Let time go by, waking the engine whenever it asked for it."""
        end_s = self.now.mono_s + seconds
        while (at_s := self.engine.wake_at_s) is not None and at_s <= end_s:
            self._set_time(max(at_s, self.now.mono_s))
            self.handle(Woke())
        self._set_time(end_s)

    def _set_time(self, mono_s: float) -> None:
        self.now = Now(self.now.wall_ms + round((mono_s - self.now.mono_s) * 1000), mono_s)

    def turn_clock(self, by_s: float) -> None:
        """Somebody turns the clock: back where *by_s* is below 0."""
        self.now = Now(self.now.wall_ms + round(by_s * 1000), self.now.mono_s)

    def offers(self, *offers: Offer) -> None:
        self.handle(Offers(offers))

    def create(self, job: JobKey = JOB, instances: int = 1, **more: Any) -> Answer:
        return self.command(CreateJob(job_of(job, instances, **more), "ann"))

    def kill(self, job: JobKey = JOB, instances: frozenset[int] | None = None) -> Answer:
        return self.command(KillTasks(job, instances, None, "ann"))

    def status(self, task: Task, state: str, message: str | None = None, **more: Any) -> None:
        """Mesos says that the task is in that state: ``RUNNING``, ``FAILED`` …"""
        fields: dict[str, Any] = {
            "task_id": task.task_id, "state": MesosTaskState[f"TASK_{state}"], "source": Source.SOURCE_EXECUTOR,
            "reason": None, "message": message, "agent_id": task.agent_id, "executor_id": None, "timestamp_s": None,
            "uuid": f"{next(_NUMBERS):016}".encode(), "healthy": None, "labels": (), "unreachable_time_ns": None,
            "raw": {},
        }  # fmt: skip
        self.handle(Update(Status(**{**fields, **more})))

    def run(self, job: JobKey = JOB, instances: int = 1, **more: Any) -> list[Task]:
        """The job, running: one host for each instance."""
        answer = self.create(job, instances, **more)
        assert answer.code.name == "OK", answer
        self.offers(*(offer(number) for number in range(1, instances + 1)))
        self.pass_s(0.1)
        for task in self.tasks(job):
            self.status(task, "RUNNING")
        self.taken()
        return self.tasks(job)

    # -- looking -------------------------------------------------------------------------------------------------------

    def taken(self, kind: type[T] = object) -> list[T]:  # type: ignore[assignment]
        """The actions of that kind since the last time; all are forgotten."""
        actions, self.actions = self.actions, []
        return [action for action in actions if isinstance(action, kind)]

    def tasks(self, job: JobKey = JOB) -> list[Task]:
        """The job's tasks that are not over, by instance."""
        return sorted(self.engine.state.active_of(job), key=lambda task: task.instance)

    def task(self, job: JobKey = JOB) -> Task:
        """The only one."""
        (found,) = self.tasks(job)
        return found

    def statuses(self, job: JobKey = JOB) -> list[str]:
        """Of all of the job's tasks, oldest first."""
        return [task.status.name for task in self.engine.state.tasks_of(job)]

    def launched(self) -> list[Task]:
        """What was launched since the last look."""
        return [task for launch in self.taken(Launch) for task in launch.tasks]
