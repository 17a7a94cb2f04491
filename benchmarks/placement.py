"""How many tasks the scheduler's core places in a second, and how long one step takes at worst.

Offers of many sizes in many racks, 1000 jobs of which a third have constraints. Counted is all that the core does for a
placement: groups, choosing, and the change of the task in the state; neither the database nor Mesos. The last part
places the same tasks where all agents can take them, and where nine of ten cannot: the cost must not differ much.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from benchmarks.harness import Bench, Row, median, percentile
from scheduler.core.changes import PutHost, PutTask
from scheduler.core.events import Now
from scheduler.core.groups import TaskGroups
from scheduler.core.offers import OfferBook
from scheduler.core.placement import place
from scheduler.core.settings import Settings
from scheduler.core.state import State
from scheduler.model import Config, Task, TaskEvent, config_of
from scheduler.states import ScheduleStatus
from thermos.formats import assigned_task as wire
from thermos.formats.mesos_v1_scheduler import Amount, Offer, Ports, Range

RACKS: Final = 100
NO_LIMIT: Final = 1e9
PLACED_PER_S: Final = 2000.0
STEP_S: Final = 0.05


def offer_of(number: int, cpus: float, ram_mb: int, dedicated: str | None = None) -> Offer:
    attributes = [("rack", f"r{number % RACKS}"), ("zone", f"z{number % 3}"), ("kernel", f"5.{number % 7}")]
    if dedicated is not None:
        attributes.append(("dedicated", dedicated))
    amounts = (("cpus", cpus), ("mem", float(ram_mb)), ("disk", 400_000.0))
    return Offer(
        f"offer-{number}",
        f"agent-{number}",
        f"host{number}.example.org",
        tuple(Amount(name, value, False, {}) for name, value in amounts),
        (Ports("ports", (Range(31000, 32000),), False, {}),),
        tuple(attributes),
        None,
        None,
        {},
    )


def job_of(number: int, dice: random.Random) -> Config:
    constraints: tuple[wire.Constraint, ...] = ()
    if number % 3 == 0:
        kind = number // 3 % 4
        if kind == 0:
            values = tuple(f"r{rack}" for rack in dice.sample(range(RACKS), 10))
            constraints = (wire.Constraint("rack", wire.TaskConstraint(value=wire.ValueConstraint(False, values))),)
        elif kind == 1:
            constraints = (wire.Constraint("host", wire.TaskConstraint(limit=wire.LimitConstraint(1))),)
        elif kind == 2:
            constraints = (wire.Constraint("rack", wire.TaskConstraint(limit=wire.LimitConstraint(2))),)
        else:
            values = ("z1",)
            constraints = (wire.Constraint("zone", wire.TaskConstraint(value=wire.ValueConstraint(True, values))),)
    return config_of(
        wire.TaskConfig(
            job=wire.JobKey("role", "prod", f"job{number}"),
            is_service=True,
            resources=(
                wire.Resource(num_cpus=dice.choice([0.25, 0.5, 1.0, 2.0])),
                wire.Resource(ram_mb=dice.choice([128, 512, 1024, 1500, 4096])),
                wire.Resource(disk_mb=dice.choice([100, 1024])),
                *((wire.Resource(named_port="http"),) if number % 2 else ()),
            ),
            constraints=constraints,
        )
    )


def tasks_of(config: Config, instances: int) -> Iterator[Task]:
    for instance in range(instances):
        task_id = f"{config.job.name}-{instance}"
        yield Task(task_id, instance, config, ScheduleStatus.PENDING, (TaskEvent(0, ScheduleStatus.PENDING),))


class Core:
    """Book, groups and state, as the engine brings them together."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.chance = random.Random(1).random
        self.book = OfferBook(settings, self.chance)
        self.groups = TaskGroups(settings)
        self.state = State()
        self.now_s = 0.0
        self.placed = 0

    @property
    def is_busy(self) -> bool:
        """A group is still to be tried."""
        due_s = self.groups.next_due_s
        return due_s is not None and due_s < NO_LIMIT

    def offer(self, offer: Offer) -> None:
        known = self.state.hosts.get(offer.hostname)
        host = self.book.host_of(offer, known)
        if host != known:
            self.state.apply(PutHost(host))
        self.book.add(offer, self.now_s, host)

    def step(self) -> list[tuple[Offer, list[Config]]]:
        """One step; gives the offers that were used, and for what."""
        used: dict[str, list[Config]] = {}
        for group in self.groups.due(self.now_s):
            tasks = [self.state.tasks[task_id] for task_id in group.task_ids]
            result = place(group.config, tasks, self.book, self.state, self.settings, Now(0, self.now_s), self.chance)
            for one in result.placements:
                task = self.state.tasks[one.task_id]
                event = TaskEvent(1, ScheduleStatus.ASSIGNED)
                assigned = task._replace(
                    status=ScheduleStatus.ASSIGNED,
                    events=(*task.events, event),
                    agent_id=one.agent_id,
                    host=one.host,
                    ports=one.ports,
                )
                self.groups.remove(one.task_id)
                self.state.apply(PutTask(assigned))
                used.setdefault(one.offer_id, []).append(task.config)
                self.placed += 1
            self.groups.tried(group, result, self.now_s)
        return [(self.book.take(offer_id), configs) for offer_id, configs in used.items()]


def rest_of(offer: Offer, configs: list[Config], number: int) -> Offer:
    """What Mesos offers of the agent next."""
    used = {
        "cpus": sum(config.resources.milli_cpus for config in configs) / 1000,
        "mem": sum(config.resources.ram_mb for config in configs),
        "disk": sum(config.resources.disk_mb for config in configs),
    }
    amounts = tuple(one._replace(value=one.value - used[one.name]) for one in offer.amounts)
    return offer._replace(offer_id=f"again-{number}", amounts=amounts)


class Cluster(NamedTuple):
    """What was seen; *steps*: how long each took, in order of length."""

    offers_per_s: float
    placed: int
    placed_per_s: float
    steps: list[float]


def whole_cluster(agents: int, tasks: int, jobs: int) -> Cluster:
    """Place all tasks; each offer that was used comes back, smaller, some steps later."""
    dice = random.Random(7)
    settings = Settings(
        max_schedule_attempts_per_s=NO_LIMIT, initial_schedule_penalty_s=NO_LIMIT, max_schedule_penalty_s=NO_LIMIT
    )
    core = Core(settings)
    offers = [
        offer_of(number, dice.choice([8.0, 16.0, 32.0, 64.0]), dice.choice([16, 32, 64, 128]) * 1024)
        for number in range(agents)
    ]
    began = time.perf_counter()
    for offer in offers:
        core.offer(offer)
    core.groups.offered(core.book.fresh(), core.now_s)
    adding_s = time.perf_counter() - began
    configs = [job_of(number, dice) for number in range(jobs)]
    for config in configs:
        for task in tasks_of(config, tasks // jobs):
            core.state.apply(PutTask(task))
            core.groups.add(task, 0.0)
    steps: list[float] = []
    coming: list[tuple[int, Offer]] = []
    number = 0
    returning_s = 0.0
    while coming or core.is_busy:
        core.now_s += 0.002
        began = time.perf_counter()
        used = core.step()
        steps.append(time.perf_counter() - began)
        for offer, configs_there in used:
            number += 1
            coming.append((len(steps) + 20, rest_of(offer, configs_there, number)))
        began = time.perf_counter()
        ready = 0
        for at, offer in coming:
            if at > len(steps):
                break
            core.offer(offer)
            ready += 1
        del coming[:ready]
        core.groups.offered(core.book.fresh(), core.now_s)
        returning_s += time.perf_counter() - began
    steps.sort()
    return Cluster(agents / adding_s, core.placed, core.placed / (sum(steps) + returning_s), steps)


def placed_per_s(agents: int, useless: float, dedicated: str | None = None) -> float:
    """Where that part of the agents cannot take the task: they are too small, or *dedicated* to somebody."""
    core = Core(Settings())
    dice = random.Random(3)
    for number in range(agents):
        is_useless = dice.random() < useless
        core.offer(
            offer_of(
                number, 1.0 if is_useless and dedicated is None else 16.0, 64 * 1024, dedicated if is_useless else None
            )
        )
    config = config_of(
        wire.TaskConfig(
            job=wire.JobKey("role", "prod", "flat"),
            resources=(wire.Resource(num_cpus=1.25), wire.Resource(ram_mb=512), wire.Resource(disk_mb=100)),
        )
    )
    tasks = tasks_of(config, agents // 20)
    placed = 0
    began = time.perf_counter()
    while batch := list(islice(tasks, 50)):
        result = place(config, batch, core.book, core.state, core.settings, Now(0, 0.0), core.chance)
        placed += len(result.placements)
    return placed / (time.perf_counter() - began)


def measure(bench: Bench) -> list[Row]:
    """A cluster filled with tasks, and what agents that cannot take them cost."""
    agents = bench.pick(10_000, 1000)
    tasks = agents * 10
    jobs = tasks // 100
    seen = whole_cluster(agents, tasks, jobs)
    title = f"{agents:,} agents, {tasks:,} tasks of {jobs:,} jobs"
    all_fit = placed_per_s(agents, 0.0)
    note = f"{seen.placed:,} placed; steps of up to 100 tasks"
    peer = "all agents fit"
    return [
        Row(f"placements: {title}", seen.placed_per_s, "/s", PLACED_PER_S, note=note, is_rate=True),
        Row(
            "one step of it: 99th percentile",
            percentile(seen.steps, 99),
            "ms",
            STEP_S,
            note=f"median {median(seen.steps) * 1e3:.1f} ms",
        ),
        Row("offers taken in", seen.offers_per_s, "/s", is_rate=True),
        Row("placements: 9 of 10 too small", placed_per_s(agents, 0.9), "/s", None, peer, all_fit, is_rate=True),
        Row("placements: 9 of 10 dedicated", placed_per_s(agents, 0.9, "x/y"), "/s", None, peer, all_fit, is_rate=True),
    ]
