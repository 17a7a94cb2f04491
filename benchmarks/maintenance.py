"""How long the scheduler's core takes to decide what leaves a thousand hosts that are to be maintained.

One command for all of them, as ``aurora_admin host_drain`` sends it: at once, and as an SLA policy allows, where each
task's job has to be looked at. Neither the database nor Mesos is part of it; what a poll costs while nothing may go,
and what SLA figures of all tasks cost each minute, is measured beside it.
"""

from __future__ import annotations

import itertools
import random
import time
from typing import Final

from benchmarks.harness import Bench, Row
from scheduler.core.changes import PutHost, PutTask
from scheduler.core.commands import DrainHosts
from scheduler.core.engine import Engine
from scheduler.core.events import Elected, Kill, Now, Woke
from scheduler.core.settings import Settings
from scheduler.core.state import State
from scheduler.memory import settle_memory
from scheduler.model import Host, Task, TaskEvent, config_of
from scheduler.states import ScheduleStatus
from thermos.formats import assigned_task as wire

#: A drain of a thousand hosts holds up nothing else for longer.
DECIDED_S: Final = 1.0
_NOW_MS: Final = 1_700_000_000_000
_TASKS_PER_HOST: Final = 10
_TASKS_PER_JOB: Final = 1000


def cluster(hosts: int) -> State:
    """Hosts full of tasks that have been running for an hour."""
    state = State()
    for number in range(hosts):
        state.apply(PutHost(Host(f"host{number}", f"agent{number}")))
    places = [number % hosts for number in range(hosts * _TASKS_PER_HOST)]
    random.Random(7).shuffle(places)
    for job, begin in enumerate(range(0, len(places), _TASKS_PER_JOB)):
        config = config_of(
            wire.TaskConfig(job=wire.JobKey("role", "prod", f"job{job}"), is_service=True, production=True, tier="p")
        )
        for instance, place in enumerate(places[begin : begin + _TASKS_PER_JOB]):
            events = (
                TaskEvent(_NOW_MS - 3_700_000, ScheduleStatus.PENDING),
                TaskEvent(_NOW_MS - 3_600_000, ScheduleStatus.RUNNING),
            )
            task = Task(
                f"{job}-{instance}", instance, config, ScheduleStatus.RUNNING, events, f"agent{place}", f"host{place}"
            )
            state.apply(PutTask(task))
    return state


def drained(hosts: int, drained_hosts: int, policy: wire.SlaPolicy | None) -> tuple[float, int, float]:
    """Seconds for the command, tasks that were let go, seconds for the poll a minute later."""
    numbers = itertools.count()
    engine = Engine(Settings(), lambda: str(next(numbers)), random.Random(3).random, cluster(hosts))
    engine.handle(Elected(), Now(_NOW_MS, 0.0))
    engine.committed()
    settle_memory()  # as the scheduler does once it leads
    names = frozenset(f"host{number}" for number in range(drained_hosts))
    began = time.perf_counter()
    _, decision = engine.command(
        DrainHosts(names, "bench", policy, 3600 if policy is not None else 0), Now(_NOW_MS, 0.0)
    )
    took_s = time.perf_counter() - began
    engine.committed()
    began = time.perf_counter()
    engine.handle(Woke(), Now(_NOW_MS + 60_000, 60.0))
    return took_s, sum(isinstance(action, Kill) for action in decision.actions), time.perf_counter() - began


def measure(bench: Bench) -> list[Row]:
    """A plain drain, and one by policy."""
    hosts = bench.pick(10_000, 2000)
    count = bench.pick(1000, 200)
    title = f"{count:,} of {hosts:,} hosts, {hosts * _TASKS_PER_HOST:,} tasks"
    plain_s, plain_gone, _ = drained(hosts, count, None)
    policy = wire.SlaPolicy(percentage_sla_policy=wire.PercentageSlaPolicy(95.0, 1800))
    sla_s, sla_gone, poll_s = drained(hosts, count, policy)
    return [
        Row(f"drain decided: {title}", plain_s, "s", DECIDED_S, note=f"{plain_gone:,} tasks go"),
        Row("the same by an SLA policy of 95 %", sla_s, "s", DECIDED_S, note=f"{sla_gone:,} tasks go at first"),
        Row("its poll a minute later", poll_s, "s", DECIDED_S, note="nothing more may go yet; SLA figures with it"),
    ]
