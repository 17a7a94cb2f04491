"""What it costs to look for room on agents that are all full.

Ten thousand agents, ten tasks each. Every search is about all of them, and finds room on each, or on none for one of
several reasons. The target is Aurora's rate of scheduling attempts, of which each may search: 40 a second, so 25 ms.
"""

from __future__ import annotations

import time
from typing import Final

from benchmarks.harness import Bench, Row, median
from scheduler.core.offers import OfferBook
from scheduler.core.placement import Limits
from scheduler.core.preemption import Targets
from scheduler.core.settings import Settings
from scheduler.core.state import State
from scheduler.model import Config, Host, Task, TaskEvent, config_of
from scheduler.states import ScheduleStatus
from thermos.formats import assigned_task as wire

SEARCH_S: Final = 0.020
TASKS_PER_AGENT: Final = 10


def config(name: str, role: str, tier: str, cpus: float = 1.0, priority: int = 0, rack: str | None = None) -> Config:
    """A job's configuration."""
    value = wire.TaskConstraint(value=wire.ValueConstraint(False, (rack or "",)))
    return config_of(
        wire.TaskConfig(
            job=wire.JobKey(role, "prod", name),
            tier=tier,
            priority=priority,
            resources=(wire.Resource(num_cpus=cpus), wire.Resource(ram_mb=512), wire.Resource(disk_mb=64)),
            constraints=(wire.Constraint("rack", value),) if rack is not None else (),
        )
    )


def full(agents: int, settings: Settings) -> tuple[Targets, dict[str, Host]]:
    """Agents of which half of the tasks are preemptible, and the others of one role."""
    targets = Targets(settings)
    kinds = [config(f"job{number}", "www", ("preferred", "preemptible")[number % 2]) for number in range(100)]
    event = (TaskEvent(1, ScheduleStatus.RUNNING),)
    hosts = {}
    for number in range(agents):
        name = f"host-{number}"
        hosts[name] = Host(name, f"agent-{number}", (("rack", frozenset({f"rack-{number % 40}"})),))
        for task in range(TASKS_PER_AGENT):
            of = kinds[(number + task) % len(kinds)]
            targets.put(
                Task(f"task-{number}-{task}", number, of, ScheduleStatus.RUNNING, event, f"agent-{number}", name)
            )
    return targets, hosts


def measure(bench: Bench) -> list[Row]:
    """Searches that find nothing, in vain or by a constraint, and what precedes a round of them."""
    agents = bench.pick(10_000, 1000)
    settings = Settings()
    targets, hosts = full(agents, settings)
    book = OfferBook(settings, lambda: 0.5)
    state = State()
    rows = []

    def timed(what: str, candidate: Config, finds: bool) -> None:
        times = []
        for _ in range(9):
            began = time.perf_counter()
            slot = targets.search(candidate, Limits(candidate, state, book), book, 0)
            times.append(time.perf_counter() - began)
            if (slot is not None) is not finds:
                raise RuntimeError(f"{what}: found {slot}")
        rows.append(Row(what, median(times), "ms", SEARCH_S))

    began = time.perf_counter()
    targets.refresh(hosts, book)
    first_s = time.perf_counter() - began
    began = time.perf_counter()
    targets.refresh(hosts, book)
    again_s = time.perf_counter() - began
    words = f"preemption: {agents:,} full agents"
    timed(f"{words}, room on every one", config("new", "other", "preferred", 4.0), True)
    timed(f"{words}, on none", config("new", "other", "preferred", 8.0), False)
    timed(f"{words}, on none, priorities of a role", config("new", "www", "preferred", 80.0, priority=9), False)
    timed(f"{words}, on none of its rack", config("new", "other", "preferred", 4.0, rack="rack-x"), False)
    rows.append(Row("preemption: before a round of searches", again_s, "ms", note=f"the first: {first_s * 1e3:.0f} ms"))
    return rows
