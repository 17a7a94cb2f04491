"""The scheduler against a made-up master: 10 000 agents, 100 000 tasks, from the client's job to RUNNING.

Engine, store (SQLite, every decision durable) and the making of ``TaskInfo`` are the real ones, in the order in which
the program does them; only HTTP is left out. The master runs in the same process, and its share is shown beside.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from benchmarks.harness import Bench, Row, percentile
from scheduler.core.changes import Change
from scheduler.core.commands import CreateJob
from scheduler.core.decision import Decision
from scheduler.core.engine import Engine
from scheduler.core.events import Accept, Elected, Launch, MasterError, MesosEvent, Now, Offers, Subscribed, Woke
from scheduler.core.settings import ExecutorSettings, Settings
from scheduler.core.state import State
from scheduler.local.resources import write
from scheduler.local.simulated import Life, Simulation, agents
from scheduler.memory import settle_memory
from scheduler.mesos.task_info import Room, task_info
from scheduler.model import Resources
from scheduler.states import ScheduleStatus
from scheduler.store.opening import open_store
from scheduler.turn import carry_out
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import JobConfiguration, ResponseCode
from thermos.formats.mesos_v1_scheduler import Error, Heartbeat, SchedulerEvent, Subscribe, Unknown, decode_event

_EXECUTOR: Final = ExecutorSettings("AuroraExecutor", Resources(50, 64), {"command": {"value": "./executor"}})
_SETTINGS: Final = Settings(executors=MappingProxyType({_EXECUTOR.name: _EXECUTOR}), hold_offers_forever=True)
_TASKS_PER_JOB: Final = 100


def _job(number: int, instances: int) -> JobConfiguration:
    key = wire.JobKey(f"role{number % 50}", "prod", f"job{number}")
    constraints: tuple[wire.Constraint, ...] = ()
    if number % 3 == 0:  # a third of the jobs spreads over racks
        constraints = (wire.Constraint("rack", wire.TaskConstraint(limit=wire.LimitConstraint(instances // 5 + 1))),)
    config = wire.TaskConfig(
        job=key, owner=wire.Identity("ann"), is_service=True, priority=0, max_task_failures=1,
        resources=(wire.Resource(num_cpus=1.0), wire.Resource(ram_mb=1024), wire.Resource(disk_mb=1024)),
        constraints=constraints, container=wire.Container(mesos=wire.MesosContainer()),
        executor_config=wire.ExecutorConfig(_EXECUTOR.name, '{"task": {"processes": []}}'),
    )  # fmt: skip
    return JobConfiguration(key=key, owner=wire.Identity("ann"), task_config=config, instance_count=instances)


class _Began(NamedTuple):
    wall_s: float
    cpu_s: float


def _began() -> _Began:
    return _Began(time.perf_counter(), time.thread_time())


class _Run:
    """The scheduler and its master, taking turns."""

    def __init__(self, path: str, agent_count: int) -> None:
        self.store = open_store(path)
        self.store.lead()
        ids = itertools.count()
        self.engine = Engine(_SETTINGS, lambda: f"{next(ids):032x}", itertools.cycle((0.3, 0.6)).__next__)
        self.simulation = Simulation(agents(agent_count), lambda key, task: Life(start_s=0.5))
        self.master_s = 0.0
        self.commit_s = 0.0
        self.steps_s: list[float] = []
        #: Those of them that create a job or place tasks: most others only note what Mesos said of one task.
        self.placing_s: list[float] = []
        #: The same in processor time, which others who use the machine add less to.
        self.placing_cpu_s: list[float] = []
        self.engine.handle(Elected(), self._now())
        self._call(Subscribe({"name": "bench", "user": "root", "checkpoint": True, "failover_timeout": 1e6}))

    def _now(self) -> Now:
        return Now(int(self.simulation.now_s * 1000), self.simulation.now_s)

    def _call(self, call: object) -> None:
        began_s = time.perf_counter()
        self.simulation.call(call)  # type: ignore[arg-type]
        self.master_s += time.perf_counter() - began_s

    def decided(self, decisions: list[Decision]) -> None:
        carry_out(self.engine, decisions, self._commit, self._act)

    def _commit(self, changes: Sequence[Change]) -> None:
        began_s = time.perf_counter()
        self.store.commit(changes)
        self.commit_s += time.perf_counter() - began_s

    def _act(self, action: object) -> None:
        if isinstance(action, Launch):
            room = Room(action.offers[0])
            action = Accept(
                (action.offers[0].offer_id,), tuple(task_info(one, room, _SETTINGS) for one in action.tasks)
            )
        self._call(action)

    def create(self, number: int, instances: int) -> None:
        began = _began()
        answer, decision = self.engine.command(CreateJob(_job(number, instances), "ann"), self._now())
        assert answer.code is ResponseCode.OK, answer
        self._stepped(decision, began, is_placing=True)
        self.decided([decision])

    def _stepped(self, decision: Decision, began: _Began, is_placing: bool = False) -> None:
        step_s, cpu_s = time.perf_counter() - began.wall_s, time.thread_time() - began.cpu_s
        self.steps_s.append(step_s)
        if is_placing or any(isinstance(action, Launch) for action in decision.actions):
            self.placing_s.append(step_s)
            self.placing_cpu_s.append(cpu_s)

    def turn(self) -> bool:
        """Hear what the master says, or let time go on; whether anything happened."""
        events = [event for event in map(_heard, self.simulation.take_events()) if event is not None]
        if events:
            for start in range(0, len(events), 1000):
                decisions = []
                for event in events[start : start + 1000]:
                    began = _began()
                    decisions.append(self.engine.handle(event, self._now()))
                    self._stepped(decisions[-1], began)
                self.decided(decisions)
            return True
        times = [at_s for at_s in (self.engine.wake_at_s, self.simulation.next_s) if at_s is not None]
        if not times or min(times) > self.simulation.now_s + 5:
            return False
        began_s = time.perf_counter()
        self.simulation.advance(max(self.simulation.now_s, min(times)))
        self.master_s += time.perf_counter() - began_s
        wake_at_s = self.engine.wake_at_s
        if wake_at_s is not None and wake_at_s <= self.simulation.now_s:
            began = _began()
            decision = self.engine.handle(Woke(), self._now())
            self._stepped(decision, began)
            self.decided([decision])
        return True

    def running(self) -> int:
        return len(self.engine.state.by_status[ScheduleStatus.RUNNING])


def _heard(event: SchedulerEvent) -> MesosEvent | None:
    if isinstance(event, (Heartbeat, Unknown)):
        return None
    return MasterError(event.message) if isinstance(event, Error) else event


def _rss_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(bench: Bench) -> list[Row]:
    """Placements a second, steps, memory, and how it grows from a quarter of it to all."""
    agent_count = bench.pick(10_000, 1_000)
    job_count = bench.pick(1_000, 100)
    path = str(bench.fresh("scheduler") / "store.db")
    before_bytes = _rss_bytes()
    run = _Run(path, agent_count)
    while run.turn():
        pass
    empty_bytes = _rss_bytes()
    settle_memory()
    run.steps_s.clear()
    run.placing_s.clear()
    run.placing_cpu_s.clear()
    run.master_s = run.commit_s = 0.0
    began_s = time.perf_counter()
    marks: list[float] = []
    for number in range(job_count):
        if number % 100 == 0:
            settle_memory()  # as the program does when nobody waits
        run.create(number, _TASKS_PER_JOB)
        run.turn()
        if number + 1 in (job_count // 4, job_count):
            while run.turn():
                pass
            assert run.running() == (number + 1) * _TASKS_PER_JOB, run.running()
            marks.append(time.perf_counter() - began_s)
    total_s = marks[-1]
    tasks = job_count * _TASKS_PER_JOB
    steps, placing = run.steps_s, run.placing_s
    of_how_many = f"{len(placing)} of {len(steps)} steps; longest {max(placing) * 1000:.0f} ms"
    cpu_s, most_cpu_s = percentile(run.placing_cpu_s, 99), max(run.placing_cpu_s)
    first, rest = tasks // 4 / marks[0], (tasks - tasks // 4) / (marks[1] - marks[0])
    ours_s = total_s - run.master_s
    gc.collect()
    full_bytes = _rss_bytes()
    run.store.close()
    scale = f"{agent_count} agents, {tasks} tasks"
    rate: dict[str, Any] = {"unit": "/s", "is_rate": True}
    master: dict[str, Any] = {"peer": "the made-up master", "peer_value": tasks / run.master_s}
    with_master = f"{(empty_bytes - before_bytes) / 1e6:.0f} MB before the first task; the master's, too"
    rows = [
        Row("placements, from job to RUNNING", tasks / total_s, target=1000, note=scale, **rate),
        Row("placements, without the master's share", tasks / ours_s, **rate, **master),
        Row("a step that creates a job or places, p99", percentile(placing, 99), "ms", target=0.05, note=of_how_many),
        Row("the same, processor time", cpu_s, "ms", note=f"longest {most_cpu_s * 1000:.0f} ms"),
        Row("any step, p99", percentile(steps, 99), "ms", note=f"longest {max(steps) * 1000:.0f} ms"),
        Row("the rate for the last three quarters", rest, peer="the first quarter", peer_value=first, **rate),
        Row("commits, for each task", run.commit_s / tasks, "ms", note="on the disk before Mesos hears of it"),
        Row("memory with all of it", full_bytes - before_bytes, "MB", note=with_master),
    ]
    return [*rows, *_restart(path, agent_count, tasks)]


def _restart(path: str, agent_count: int, tasks: int) -> list[Row]:
    """In a process of its own, so that memory is the scheduler's alone."""
    code = "import sys\nfrom benchmarks.scheduler import restarted\nprint(restarted(sys.argv[1], int(sys.argv[2])))"
    words = [sys.executable, "-c", code, path, str(agent_count)]
    said = json.loads(subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout)
    assert said["tasks"] == tasks
    assert said["offers"] == agent_count
    state, offers = said["state_bytes"], said["offers_bytes"]
    scale = f"{agent_count} offers, {tasks} tasks; modules, too: {said['all_bytes'] / 1e6:.0f} MB"
    return [
        Row("a restart loads them in", said["load_s"], "s", target=10.0, note=f"{tasks} tasks"),
        Row("memory of the state", state, "MB", note=f"{state / tasks:.0f} bytes a task"),
        Row("memory of engine and offers", offers, "MB", note=f"{offers / agent_count:.0f} bytes an offer"),
        Row("memory of a scheduler that leads again", state + offers, "MB", target=500e6, note=scale),
    ]


def restarted(path: str, agent_count: int) -> str:
    """Lead on what lies at *path*, with an offer of each agent: JSON of how long and how much memory that took."""
    before_bytes = _rss_bytes()
    began_s = time.perf_counter()
    store = open_store(path)
    store.lead()
    state = State()
    for change in store.load():
        state.apply(change)
    load_s = time.perf_counter() - began_s
    state_bytes = _rss_bytes()
    engine = Engine(_SETTINGS, lambda: "none", itertools.cycle((0.3, 0.6)).__next__, state)
    engine.handle(Elected(), Now(1, 1.0))
    engine.handle(Subscribed(state.framework_id or "bench", 15.0, None), Now(1, 1.0))
    for number in range(agent_count):
        offers = decode_event(_offered(number))
        assert isinstance(offers, Offers)
        engine.handle(offers, Now(1, 1.0))
        engine.committed()
    all_bytes = _rss_bytes()
    store.close()
    return json.dumps({
        "load_s": load_s, "tasks": len(state.tasks), "offers": len(engine.offers),
        "state_bytes": state_bytes - before_bytes, "offers_bytes": all_bytes - state_bytes, "all_bytes": all_bytes,
    })  # fmt: skip


def _offered(number: int) -> bytes:
    """What the master sends to offer all of that agent, which is one of ``agents``."""
    (like,) = agents(1)
    attributes = [
        {"name": name, "type": "TEXT", "text": {"value": value}}
        for name, value in (("host", f"host-{number}"), ("rack", f"rack-{number % 10}"))
    ]
    offer = {
        "id": {"value": f"offer-{number}"}, "framework_id": {"value": "bench"},
        "agent_id": {"value": f"agent-{number}"}, "hostname": f"host-{number}", "allocation_info": {"role": "*"},
        "resources": write(like.resources, "*"), "attributes": attributes,
    }  # fmt: skip
    return json.dumps({"type": "OFFERS", "offers": {"offers": [offer]}}).encode()
