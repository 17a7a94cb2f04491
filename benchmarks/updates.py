"""Updates of large jobs: what all of one costs the scheduler, and how long one with ten thousand events takes to show.

Engine and store are the real ones; the master is made up and runs in the same process, without being counted.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks.harness import Bench, Row
from scheduler.api.backend import View
from scheduler.api.updating import READINGS
from scheduler.client.main import main
from scheduler.client.session import USER_AGENT, Session
from scheduler.client.transport import Transport
from scheduler.client.world import World
from scheduler.core.commands import CreateJob, StartJobUpdate
from scheduler.core.decision import Decision
from scheduler.core.engine import Engine
from scheduler.core.events import (
    Accept,
    Action,
    AskCoordinator,
    Call,
    Elected,
    Launch,
    MasterError,
    MesosEvent,
    Now,
    Woke,
)
from scheduler.core.settings import ExecutorSettings, Settings
from scheduler.local.simulated import Life, Simulation, agents
from scheduler.mesos.task_info import Room, task_info
from scheduler.model import JobKey, Resources
from scheduler.pages.collect_updates import pick_update, update_page
from scheduler.pages.render import Renderer
from scheduler.store.opening import open_store
from scheduler.turn import carry_out
from scheduler.wire.thrift import Protocol, encode_reply
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    JobConfiguration,
    JobUpdateKey,
    JobUpdateQuery,
    JobUpdateRequest,
    JobUpdateSettings,
    JobUpdateStatus,
    Response,
    ResponseCode,
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
#: So many events must be shown within 200 ms.
_EVENTS: Final = 10_000


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
        calls: list[Call] = []

        def act(action: Action) -> None:
            if isinstance(action, Launch):
                room = Room(action.offers[0])
                tasks = tuple(task_info(task, room, _SETTINGS) for task in action.tasks)
                calls.append(Accept((action.offers[0].offer_id,), tasks))
            elif not isinstance(action, AskCoordinator):  # there are none
                calls.append(action)

        carry_out(self.engine, decisions, self.store.commit, act)
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


class _Canned(Transport):
    """The scheduler's answer, without a way to it."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(USER_AGENT)
        self._answer = answer

    def post(self, url: str, body: bytes) -> bytes:
        return self._answer


def _view(run: _Run) -> View:
    engine = run.engine
    return View(
        engine.state, engine.offers, engine.settings, engine.pending_reasons(), {}, int(run.simulation.now_s * 1000)
    )


def _middle_s(do: Callable[[], object]) -> float:
    """How long it takes, the middle one of five times."""
    taken_s = []
    for _ in range(5):
        began_s = time.perf_counter()
        do()
        taken_s.append(time.perf_counter() - began_s)
    return sorted(taken_s)[2]


def _shown(run: _Run, update_id: str, directory: Path, what: str) -> list[Row]:
    """How long the update takes to be told, to stand on its page, and to be written by ``aurora update info``."""
    key = JobUpdateKey(_KEY, update_id)

    def tell() -> bytes:
        found = READINGS["getJobUpdateDetails"](_view(run), {"key": key, "query": JobUpdateQuery(key=key)})
        answer = found() if callable(found) else found
        response = Response(answer.code, result=answer.result, details=())
        return encode_reply("getJobUpdateDetails", 0, response, Protocol.BINARY)

    renderer = Renderer()

    def page() -> str:
        picked = pick_update(_view(run), JobKey("www", "prod", "web"), update_id)
        assert picked is not None
        return renderer.render(update_page(picked, {}))

    body = tell()
    (directory / "clusters.json").write_text('[{"name": "west", "scheduler_uri": "http://127.0.0.1:1"}]')
    world = World(environ={"HOME": str(directory), "AURORA_CONFIG_ROOT": str(directory)})

    def info() -> str:
        session = Session(world, transport=lambda agent, bypass: _Canned(body))
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = main(["update", "info", "west/www/prod/web", update_id], session)
        session.close()
        assert code == 0, code
        return printed.getvalue()

    lines = info().splitlines()
    events = sum(line.startswith("  Instance ") for line in lines)
    assert events == _EVENTS, events
    waits = lines.index("Update events:") - lines.index("Waits for:") - 1 if "Waits for:" in lines else 0
    name = f"{_EVENTS} events of an update {what}"
    return [
        Row(f"{name}, told", _middle_s(tell), "ms", target=0.2, note=f"found, with waits, and encoded: {len(body)} B"),
        Row(f"{name}, its page", _middle_s(page), "ms", target=0.2, note="100 instances and 200 events of it"),
        Row(f"{name}, `aurora update info`", _middle_s(info), "ms", target=0.2,
            note=f"decoded and written, {len(lines)} lines, {waits} of what it waits for; without Python's start"),
    ]  # fmt: skip


def _with_events(run: _Run, update_id: str) -> None:
    """As many events as are asked about, whatever the size of this run."""
    about = (JobKey("www", "prod", "web"), update_id)
    details = run.engine.state.updates[about]
    events = tuple(itertools.islice(itertools.cycle(details.instance_events or ()), _EVENTS))
    run.engine.state.updates[about] = details._replace(instance_events=events)


def measure(bench: Bench) -> list[Row]:
    """Processor time of an update, and of showing one that is over and one that is under way."""
    instances = bench.pick(5_000, 500)
    directory = bench.fresh("updates")
    run = _Run(str(directory / "store.db"), instances)
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
    cpu_s = run.cpu_s
    (((_, over), details),) = run.engine.state.updates.items()
    statuses = [event.status for event in details.update_events or ()]
    assert statuses == [JobUpdateStatus.ROLLING_FORWARD, JobUpdateStatus.ROLLED_FORWARD], statuses
    events = details.instance_events or ()
    assert len(events) == 2 * instances, len(events)

    # Under way with all instances at once, each of which is watched: none has more to wait for.
    watched = settings._replace(update_group_size=instances, min_wait_in_instance_running_ms=3_600_000)
    run.command(StartJobUpdate(JobUpdateRequest(_config(9), instances, watched), None, "ann"))
    run.settle()
    (active,) = run.engine.state.active_updates.values()
    run.store.close()
    for update_id in (over, active):
        _with_events(run, update_id)
    note = f"{_GROUP} at a time, each decision in the store"
    return [
        Row(f"an update of {instances} instances, processor time", cpu_s, "s", target=30.0, note=note),
        *_shown(run, over, directory, "that is over"),
        *_shown(run, active, directory, f"that waits for {instances} instances"),
    ]
