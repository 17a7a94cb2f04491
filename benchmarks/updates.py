"""Updates of large jobs: what all of one costs the scheduler, and how long one with ten thousand events takes to show.

Engine and store are the real ones; the master is made up and runs in the same process, without being counted.
"""

from __future__ import annotations

import itertools
import time
from types import MappingProxyType
from typing import Final

from benchmarks.harness import Bench, Row
from scheduler.core.changes import Change
from scheduler.core.commands import CreateJob, StartJobUpdate
from scheduler.core.decision import Decision
from scheduler.core.engine import Engine
from scheduler.core.events import Accept, Elected, Launch, MasterError, MesosEvent, Now, Woke
from scheduler.core.settings import ExecutorSettings, Settings
from scheduler.core.update_queries import details_of
from scheduler.local.simulated import Life, Simulation, agents
from scheduler.mesos.task_info import Room, task_info
from scheduler.model import Resources
from scheduler.store.opening import open_store
from scheduler.wire.thrift import Protocol, encode_reply
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    GetJobUpdateDetailsResult,
    JobConfiguration,
    JobUpdateQuery,
    JobUpdateRequest,
    JobUpdateSettings,
    JobUpdateStatus,
    Response,
    ResponseCode,
    Result,
)
from thermos.formats.mesos_v1_scheduler import Error, Heartbeat, SchedulerEvent, Subscribe, Unknown
from thermos.mesos import HEALTH_CHECKED, HEALTH_LABEL, Label

_EXECUTOR: Final = ExecutorSettings("AuroraExecutor", Resources(50, 64), {"command": {"value": "./executor"}})
_SETTINGS: Final = Settings(
    executors=MappingProxyType({_EXECUTOR.name: _EXECUTOR}), hold_offers_forever=True, max_tasks_per_job=10_000
)
_LIFE: Final = Life(start_s=0.5, labels=(Label(HEALTH_LABEL, HEALTH_CHECKED),))
_KEY: Final = wire.JobKey("www", "prod", "web")
_GROUP: Final = 100


def _config(priority: int) -> wire.TaskConfig:
    return wire.TaskConfig(
        job=_KEY, owner=wire.Identity("ann"), is_service=True, priority=priority, max_task_failures=1,
        resources=(wire.Resource(num_cpus=1.0), wire.Resource(ram_mb=1024), wire.Resource(disk_mb=1024)),
        constraints=(), container=wire.Container(mesos=wire.MesosContainer()),
        executor_config=wire.ExecutorConfig(_EXECUTOR.name, '{"task": {"processes": []}}'),
    )  # fmt: skip


class _Run:
    """The scheduler and its master, taking turns; what the scheduler takes of the processor is counted."""

    def __init__(self, path: str, agent_count: int) -> None:
        self.store = open_store(path)
        self.store.lead()
        ids = itertools.count()
        self.engine = Engine(_SETTINGS, lambda: f"{next(ids):032x}", itertools.cycle((0.3, 0.6)).__next__)
        self.simulation = Simulation(agents(agent_count), lambda key, task: _LIFE)
        self.cpu_s = 0.0
        self.engine.handle(Elected(), self._now())
        self.simulation.call(Subscribe({"name": "bench", "user": "root", "checkpoint": True, "failover_timeout": 1e6}))
        self.settle()

    def _now(self) -> Now:
        return Now(int(self.simulation.now_s * 1000), self.simulation.now_s)

    def command(self, command: CreateJob | StartJobUpdate) -> None:
        began_s = time.process_time()
        answer, decision = self.engine.command(command, self._now())
        assert answer.code is ResponseCode.OK, answer
        self._decided([decision], began_s)

    def _decided(self, decisions: list[Decision], began_s: float) -> None:
        changes: list[Change] = [change for decision in decisions for change in decision.changes]
        if changes:
            self.store.commit(changes)
        self.engine.committed()
        calls = []
        for decision in decisions:
            for action in decision.actions:
                if isinstance(action, Launch):
                    room = Room(action.offers[0])
                    tasks = tuple(task_info(task, room, _SETTINGS) for task in action.tasks)
                    calls.append(Accept((action.offers[0].offer_id,), tasks))
                else:
                    calls.append(action)  # type: ignore[arg-type]
        self.cpu_s += time.process_time() - began_s
        for call in calls:
            self.simulation.call(call)

    def settle(self, limit: int = 1_000_000) -> None:
        """Take turns until nothing happens within five seconds."""
        for _ in range(limit):
            events = [event for event in map(_heard, self.simulation.take_events()) if event is not None]
            if events:
                began_s = time.process_time()
                self._decided([self.engine.handle(event, self._now()) for event in events], began_s)
                continue
            times = [at_s for at_s in (self.engine.wake_at_s, self.simulation.next_s) if at_s is not None]
            if not times or min(times) > self.simulation.now_s + 5:
                return
            self.simulation.advance(max(self.simulation.now_s, min(times)))
            wake_at_s = self.engine.wake_at_s
            if wake_at_s is not None and wake_at_s <= self.simulation.now_s:
                began_s = time.process_time()
                self._decided([self.engine.handle(Woke(), self._now())], began_s)


def _heard(event: SchedulerEvent) -> MesosEvent | None:
    if isinstance(event, (Heartbeat, Unknown)):
        return None
    return MasterError(event.message) if isinstance(event, Error) else event


def measure(bench: Bench) -> list[Row]:
    """Processor time of an update, and of showing it."""
    instances = bench.pick(5_000, 500)
    run = _Run(str(bench.fresh("updates") / "store.db"), instances)
    job = JobConfiguration(key=_KEY, owner=wire.Identity("ann"), task_config=_config(0), instance_count=instances)
    run.command(CreateJob(job, "ann"))
    run.settle()
    run.cpu_s = 0.0
    settings = JobUpdateSettings(
        update_group_size=_GROUP, max_per_instance_failures=0, max_failed_instances=0,
        min_wait_in_instance_running_ms=0, rollback_on_failure=True,
    )  # fmt: skip
    run.command(StartJobUpdate(JobUpdateRequest(_config(7), instances, settings), None, "ann"))
    run.settle()
    ((key, details),) = run.engine.state.updates.items()
    statuses = [event.status for event in details.update_events or ()]
    assert statuses == [JobUpdateStatus.ROLLING_FORWARD, JobUpdateStatus.ROLLED_FORWARD], statuses
    events = details.instance_events or ()
    assert len(events) == 2 * instances, len(events)
    run.store.close()

    # As many events as are asked about, whatever the size of this run.
    events = tuple(itertools.islice(itertools.cycle(events), 10_000))
    run.engine.state.updates[key] = replaced = details._replace(instance_events=events)
    assert replaced.instance_events is not None
    shown_s = []
    for _ in range(5):
        began_s = time.perf_counter()
        found = details_of(run.engine.state, JobUpdateQuery(role="www"), 0)
        result = Result(get_job_update_details_result=GetJobUpdateDetailsResult(details_list=found))
        encode_reply("getJobUpdateDetails", 1, Response(ResponseCode.OK, result=result, details=()), Protocol.BINARY)
        shown_s.append(time.perf_counter() - began_s)
    note = f"{_GROUP} at a time, each decision in the store"
    return [
        Row(f"an update of {instances} instances, processor time", run.cpu_s, "s", target=30.0, note=note),
        Row("10 000 events of an update, shown", sorted(shown_s)[2], "ms", target=0.2, note="found and encoded"),
    ]
