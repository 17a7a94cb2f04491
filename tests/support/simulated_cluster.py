"""A scheduler on a made-up cluster in virtual time, where everything goes wrong that can: by a seed, so once is always.

Engine, changes and calls are the real ones, driven as :mod:`scheduler.program` does; the store is a second state that
holds what was committed. What may happen: the scheduler dies before a commit, after it, between two calls; the store
has no room; the master is away, for longer than anything may take; ZooKeeper is; statuses come late, twice, in another
order, or not at all; calls are lost; agents cannot be reached, die, come back; executors crash; clients create, kill,
restart and grow jobs. After each step everything must hold that is promised.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from scheduler.core.changes import Change, CronRun, DropCronRun, PutCronRun, PutTask
from scheduler.core.commands import (
    AddInstances,
    Answer,
    Command,
    CreateJob,
    DescheduleCronJob,
    DrainHosts,
    EndMaintenance,
    KillTasks,
    PauseJobUpdate,
    RestartShards,
    ResumeJobUpdate,
    RollbackJobUpdate,
    ScheduleCronJob,
    SetQuota,
    StartCronJob,
    StartJobUpdate,
    StartMaintenance,
    refused,
)
from scheduler.core.decision import Decision
from scheduler.core.engine import Engine
from scheduler.core.events import (
    Accept,
    Acknowledge,
    Action,
    AskCoordinator,
    Disconnected,
    DiskFull,
    DiskHasRoom,
    Elected,
    Event,
    Kill,
    Launch,
    MesosEvent,
    Now,
    Reconcile,
    Resumed,
    Subscribed,
    Suspended,
    Update,
    Woke,
)
from scheduler.core.preemption import gives_way
from scheduler.core.sla import NO_PROMISE, required
from scheduler.core.state import State
from scheduler.core.update_queries import waits
from scheduler.local.model import AgentBack, AgentSpec, AgentUnreachable, MaintenancePlanned
from scheduler.local.model import Settings as MasterSettings
from scheduler.local.simulated import Life, Simulation, agents
from scheduler.mesos.task_info import Room, task_info
from scheduler.model import JobKey, Mode, Resources, Task
from scheduler.states import TERMINAL, ScheduleStatus
from scheduler.store.backups import changes_of
from scheduler.turn import carry_out
from tests.support import promises
from tests.support.world import SETTINGS, job_of
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    CronCollisionPolicy,
    JobUpdateKey,
    JobUpdateRequest,
    JobUpdateSettings,
    Range,
    ResponseCode,
)
from thermos.formats.mesos_v1_scheduler import (
    Error,
    Heartbeat,
    SchedulerEvent,
    Subscribe,
    Unavailability,
    Unknown,
)
from thermos.mesos import HEALTH_CHECKED, HEALTH_LABEL, Label, MesosTaskState

#: Short times, so that a run has all of them.
_SETTINGS: Final = replace(
    SETTINGS,
    transient_task_state_timeout_s=60.0,
    initial_task_kill_retry_interval_s=5.0,
    min_offer_hold_time_s=60.0,
    reconciliation_initial_delay_s=10.0,
    reconciliation_explicit_interval_s=120.0,
    reconciliation_implicit_interval_s=120.0,
    reconciliation_schedule_spread_s=60.0,
    reconciliation_explicit_batch_size=5,
    reconciliation_explicit_batch_interval_s=1.0,
    initial_flapping_task_delay_s=2.0,
    max_flapping_task_delay_s=10.0,
    flapping_task_threshold_s=5.0,
    max_schedule_penalty_s=10.0,
    preemption_delay_s=10.0,
    preemption_slot_search_initial_delay_s=10.0,
    preemption_slot_search_interval_s=5.0,
    preemption_slot_hold_time_s=30.0,
    offer_reservation_duration_s=20.0,
    history_prune_threshold_s=600.0,
    history_min_retention_s=60.0,
    history_max_per_job=20,
    min_required_instances_for_sla_check=2,
    host_maintenance_polling_interval_s=5.0,
)
_BEGIN_S: Final = 1_700_000_000.0
#: After everything is well again: longer than every time-out and both rounds of reconciliation.
_SETTLE_S: Final = 500.0
_AGENTS: Final = 4
#: What the last agent is for, besides these.
_DEDICATED: Final = "dev/special"
#: As :mod:`scheduler.program` has it.
_RETRY_DISK_S: Final = 5.0


class _Died(Exception):
    """The scheduler's process ended, here and now."""


class Broken(AssertionError):
    """Something that is promised does not hold."""


class SimulatedCluster:
    """One run. *steps*: how many things happen to it before all is well again."""

    def __init__(self, seed: int, steps: int = 40) -> None:
        self.seed = seed
        self._steps = steps
        self._random = random.Random(seed)
        self._ids = 0
        self._is_well = False
        self.log: list[str] = []
        self.simulation = Simulation(
            _machines(),
            lambda key, task: self._life(),
            settings=MasterSettings(heartbeat_interval_s=120.0),
            begin_s=_BEGIN_S,
        )
        self.durable = State()
        self._late: list[Update] = []
        self._unreachable: set[str] = set()
        #: Who was launched, as whom.
        self._launched: dict[str, tuple[JobKey, int]] = {}
        self._launched_on: dict[str, list[str]] = {f"agent-{n}": [] for n in range(_AGENTS + 1)}
        #: Tasks that had to be given up for lost, and may live: their agent was cut off, or Mesos did not say in time
        #: what became of them.
        self._given_up: set[str] = set()
        #: Since when this scheduler hears Mesos without a break; None: it does not.
        self._heard_since_s: float | None = None
        #: When the master, or ZooKeeper, is back, the store has room, and is tried again; None: now.
        self._back_at_s: float | None = None
        self._resumed_at_s: float | None = None
        self._room_at_s: float | None = None
        self._retry_at_s: float | None = None
        #: Jobs as clients know them: wanted instances of services that nobody has killed.
        self.wanted: dict[JobKey, set[int]] = {}
        #: Cron jobs' runs that were durable last.
        self._runs: dict[JobKey, CronRun] = {}
        self._started_by_hand: JobKey | None = None
        self.preempted = 0
        self.deaths = 0
        #: Updates that went back, and were looked at.
        self._seen_back: set[tuple[JobKey, str]] = set()
        #: The one that drains have, unless they are plain ones; see ``_drain``.
        self._policy = wire.SlaPolicy(count_sla_policy=wire.CountSlaPolicy(1, 3))
        self._is_plain_drain = False
        self.drains: Counter[str] = Counter()
        #: How often what was decided could not be kept, and what of it.
        self.undone: Counter[str] = Counter()
        if self._chance(0.05):
            self._room_at_s = self.simulation.now_s + 20.0
        self._begin()

    def _chance(self, probability: float) -> bool:
        return not self._is_well and self._random.random() < probability

    def _life(self) -> Life:
        roll = self._random
        # Executors of two kinds: one says that it checks health, the other says nothing.
        labels = (Label(HEALTH_LABEL, HEALTH_CHECKED),) if roll.random() < 0.7 else ()
        if self._is_well or roll.random() < 0.5:
            return Life(start_s=0.5, labels=labels)
        return Life(
            labels=labels,
            start_s=roll.choice([0.1, 1.0, 5.0]),
            run_s=roll.choice([None, 1.0, 20.0, 100.0]),
            outcome=roll.choice([MesosTaskState.TASK_FINISHED, MesosTaskState.TASK_FAILED]),
            kill_s=roll.choice([0.1, 2.0, 100.0]) if roll.random() < 0.3 else 0.1,
            is_crash=roll.random() < 0.1,
        )

    # -- the scheduler -------------------------------------------------------------------------------------------------

    def _fresh(self) -> str:
        self._ids += 1
        return f"u{self._ids}"

    def _begin(self) -> None:
        """Start it, from what is durable."""
        state = State()
        for change in changes_of(self.durable):
            state.apply(change)
        self.engine = Engine(_SETTINGS, self._fresh, self._random.random, state)
        self._retry_at_s = self._resumed_at_s = None
        self._decided([self.engine.handle(Elected(), self._now())])
        if self._back_at_s is None:
            self._subscribe()

    def _subscribe(self) -> None:
        info = {"name": "sim", "user": "root", "checkpoint": True, "failover_timeout": 1e6,
                "capabilities": [{"type": "PARTITION_AWARE"}]}  # fmt: skip
        if self.engine.state.framework_id is not None:
            info["id"] = {"value": self.engine.state.framework_id}
        self.simulation.call(Subscribe(info))

    def _die(self, why: str) -> None:
        self.deaths += 1
        self.log.append(f"{self._at()} the scheduler dies {why}")
        self._hang_up()
        raise _Died

    def _hang_up(self) -> None:
        self.simulation.disconnect()
        self._late.clear()
        self._heard_since_s = None

    def _now(self) -> Now:
        return Now(round(self.simulation.now_s * 1000), self.simulation.now_s)

    def _at(self) -> str:
        return f"{self.simulation.now_s - _BEGIN_S:9.2f}"

    def _decided(self, decisions: list[Decision]) -> None:
        changes: list[Change] = [change for one in decisions for change in one.changes]
        if changes and self._room_at_s is not None:
            self._no_room(decisions)
            return
        carry_out(self.engine, decisions, self._commit, self._act)

    def _commit(self, changes: Sequence[Change]) -> None:
        if self._chance(0.01):
            self._die("before a commit")
        self._check_cron(changes)
        self._check_preempted(changes)
        self._check_given_up(changes)
        going = self._let_go(changes)
        for change in changes:
            self.durable.apply(change)
        self._check_drains(going)
        if self._chance(0.01):
            self._die("after a commit")

    def _act(self, action: Action) -> None:
        if isinstance(action, Launch):
            self._check_launch(action)
            room = Room(action.offers[0])
            tasks = tuple(task_info(task, room, _SETTINGS) for task in action.tasks)
            self.simulation.call(Accept((action.offers[0].offer_id,), tasks))
            if self._chance(0.01):
                self._die("after a launch")
        elif self._heard_since_s is None:
            self.log.append(f"{self._at()} nobody hears: {type(action).__name__}")
        elif isinstance(action, (Kill, Reconcile, Acknowledge)) and self._chance(0.1):
            self.log.append(f"{self._at()} lost: {action}")
        elif isinstance(action, AskCoordinator):
            raise Broken(f"there is no coordinator: {action}")
        else:
            self.simulation.call(action)

    def _no_room(self, decisions: list[Decision]) -> None:
        """What was decided cannot be kept."""
        kinds = Counter(type(action).__name__ for one in decisions for action in one.actions)
        self.undone.update(kinds)
        self.log.append(f"{self._at()} no room: undone are {dict(kinds)}")
        self._retry_at_s = self.simulation.now_s + _RETRY_DISK_S
        self.engine.handle(DiskFull(), self._now())
        undone = self.engine.undo(self._now())
        if undone.changes:
            raise Broken(f"what is done for want of room needs room: {undone.changes}")
        self._decided([undone])

    def command(self, command: Command) -> Answer | None:
        """A client asks; None: the scheduler died over it, and nobody knows whether it was done."""
        try:
            answer, decision = self.engine.command(command, self._now())
            self._decided([decision])
        except _Died:
            self._begin()
            return None
        if decision.changes and self._room_at_s is not None:
            return refused("no room", code=ResponseCode.ERROR_TRANSIENT)
        return answer

    def _handle(self, event: Event) -> None:
        if isinstance(event, Subscribed):
            self._heard_since_s = self.simulation.now_s
        try:
            self._decided([self.engine.handle(event, self._now())])
        except _Died:
            self._begin()

    def _hear(self) -> bool:
        """Take in what Mesos says, as it comes through."""
        events = self.simulation.take_events()
        if self._late and (self._is_well or self._chance(0.3)):
            events = [*self._late, *events]
            self._late = []
        for event in events:
            heard = _heard(event)
            if heard is None:
                continue
            deaths = self.deaths
            if isinstance(heard, Update):
                if self._chance(0.05):
                    self.log.append(f"{self._at()} a status is lost: {heard.status.task_id} {heard.status.state}")
                    continue
                if self._chance(0.05):
                    self._late.append(heard)
                    continue
                if self._chance(0.05):
                    self._handle(heard)
                    if self.deaths != deaths:
                        break
            self._handle(heard)
            if self.deaths != deaths:
                break  # what else this connection had to say, nobody hears
        return bool(events)

    def pass_s(self, seconds: float) -> None:
        """Let time go by."""
        end_s = self.simulation.now_s + seconds
        while True:
            self._end_what_is_over()
            while self._hear():
                pass
            times = [self.engine.wake_at_s, self.simulation.next_s, self._retry_at_s, *self._ends()]
            at_s = min((one for one in times if one is not None), default=None)
            if at_s is None or at_s > end_s:
                break
            self.simulation.advance(max(self.simulation.now_s, at_s))
            self._hear()
            wake_at_s = self.engine.wake_at_s
            if wake_at_s is not None and wake_at_s <= self.simulation.now_s:
                self._handle(Woke())
        self.simulation.advance(end_s)

    def _ends(self) -> tuple[float | None, ...]:
        return self._back_at_s, self._resumed_at_s, self._room_at_s

    def _end_what_is_over(self) -> None:
        """Whoever was away for a while is back."""
        now_s = self.simulation.now_s
        back_s, resumed_s, room_s = (at_s is not None and at_s <= now_s for at_s in self._ends())
        if room_s:
            self._room_at_s = None
            self.log.append(f"{self._at()} the store has room")
        if self._retry_at_s is not None and self._retry_at_s <= now_s:
            self._retry_at_s = None
            self._handle(DiskHasRoom())
        if resumed_s:
            self._resumed_at_s = None
            self._handle(Resumed())
        if back_s:
            self._back_at_s = None
            self.log.append(f"{self._at()} the master is back")
            self._subscribe()

    # -- what happens --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """All of it. Raises Broken."""
        while self._room_at_s is not None:
            self.pass_s(_RETRY_DISK_S)
            self._check()
        self.command(SetQuota("prod", Resources(8000, 100_000, 100_000), "root"))
        for _ in range(self._steps):
            self._random.choice(self._happenings)(self)
            self.pass_s(self._random.choice([0.0, 0.5, 3.0, 30.0]))
            self._check()
        self._heal()
        self.pass_s(_SETTLE_S)
        self._check()
        self._check_end()

    def _create(self) -> None:
        number = self._random.randrange(6)
        key = JobKey(self._random.choice(["prod", "dev"]), "prod", f"job{number}")
        instances = self._random.randrange(1, 4)
        is_service = self._random.random() < 0.8
        more: dict[str, object] = {"is_service": is_service}
        more["constraints"] = self._random.choice(_CONSTRAINTS)
        if key.role == "dev" and self._random.random() < 0.2:
            more["constraints"] = (wire.Constraint("dedicated", _value(_DEDICATED)),)
        if key.role == "prod":
            more["tier"] = "preferred"
        had = {task.instance for task in self.durable.active_of(key)}
        answer = self.command(CreateJob(job_of(key, instances, **more), "ann"))
        done = answer is not None and answer.code is ResponseCode.OK
        if answer is None and not had:  # it died: either all of it is there, or nothing
            there = {task.instance for task in self.durable.active_of(key)}
            if there not in (set(), set(range(instances))):
                raise Broken(f"{key} was created in part: {there}")
            done = bool(there)
        self.log.append(f"{self._at()} create {key} x{instances} service={is_service}: {done}")
        if done and is_service:
            self.wanted[key] = set(range(instances))

    def _kill(self) -> None:
        if not self.wanted:
            return
        key = self._random.choice(sorted(self.wanted))
        if key in self.durable.active_updates:
            return
        instances = None
        if self._random.random() < 0.5:
            instances = frozenset({self._random.choice(sorted(self.wanted[key]))})
        answer = self.command(KillTasks(key, instances, None, "ann"))
        self.log.append(f"{self._at()} kill {key} {instances}: {answer}")
        gone = set(instances or self.wanted[key])
        if answer is None or answer.code is not ResponseCode.OK:
            ending = {ScheduleStatus.KILLING, *TERMINAL}
            there = {task.instance for task in self.durable.active_of(key) if task.status not in ending}
            gone = {one for one in gone if one not in there}
        self.wanted[key] -= gone
        if not self.wanted[key]:
            del self.wanted[key]

    def _fill(self) -> None:
        """Services that take much: what matters more has to make room for itself."""
        role = self._random.choice(["prod", "dev", "dev"])
        key = JobKey(role, "prod", f"large{self._random.randrange(3)}")
        had = self.durable.active_of(key)
        priority = self._random.randrange(3)
        sizes = (wire.Resource(num_cpus=3.0), wire.Resource(ram_mb=128), wire.Resource(disk_mb=64))
        tier = "preferred" if role == "prod" else "preemptible"
        answer = self.command(CreateJob(job_of(key, 2, resources=sizes, tier=tier, priority=priority), "ann"))
        self.log.append(f"{self._at()} create {key} x2, large, priority {priority}: {answer}")
        if (answer is not None and answer.code is ResponseCode.OK) or (
            answer is None and not had and self.durable.active_of(key)
        ):
            self.wanted[key] = {0, 1}

    def _schedule(self) -> None:
        key = JobKey("dev", "prod", f"cron{self._random.randrange(3)}")
        job = job_of(key, self._random.randrange(1, 3), is_service=False)._replace(
            cron_schedule=self._random.choice(["* * * * *", "*/2 * * * *"]),
            cron_collision_policy=self._random.choice(
                [CronCollisionPolicy.KILL_EXISTING, CronCollisionPolicy.CANCEL_NEW]
            ),
        )
        answer = self.command(ScheduleCronJob(job, "ann"))
        self.log.append(f"{self._at()} schedule {key}: {answer}")

    def _start_or_deschedule(self) -> None:
        if self.durable.cron_jobs:
            key = self._random.choice(sorted(self.durable.cron_jobs))
            command: Command = DescheduleCronJob(key, "ann")
            if self._random.random() < 0.7:
                command = StartCronJob(key, "ann")
            self._started_by_hand = key
            self.log.append(f"{self._at()} {command}: {self.command(command)}")
            self._started_by_hand = None

    def _restart(self) -> None:
        if self.wanted:
            key = self._random.choice(sorted(self.wanted))
            self.command(RestartShards(key, frozenset(self.wanted[key]), "ann"))
            self.log.append(f"{self._at()} restart {key}")

    def _add(self) -> None:
        if self.wanted:
            key = self._random.choice(sorted(self.wanted))
            answer = self.command(AddInstances(key, min(self.wanted[key]), 1, "ann"))
            there = {task.instance for task in self.durable.active_of(key) if task.status != ScheduleStatus.KILLING}
            self.log.append(f"{self._at()} add to {key}: {answer}")
            if answer is None or answer.code is ResponseCode.OK:
                self.wanted[key] |= there

    def _drain(self) -> None:
        if not self.durable.hosts:
            return
        hosts = frozenset({self._random.choice(sorted(self.durable.hosts))})
        self._is_plain_drain = self._random.random() < 0.3
        policy = None if self._is_plain_drain else self._policy
        timeout_s = 0 if self._is_plain_drain else self._random.choice([20, 200])
        answer = self.command(DrainHosts(hosts, "ann", policy, timeout_s))
        self._is_plain_drain = False
        how = "plainly" if policy is None else f"by policy, for {timeout_s} s"
        self.log.append(f"{self._at()} drain {sorted(hosts)} {how}: {answer and answer.code.name}")

    def _end_maintenance(self) -> None:
        hosts = frozenset(name for name in self.durable.hosts if self._random.random() < 0.7)
        command = EndMaintenance if self._random.random() < 0.8 else StartMaintenance
        self.command(command(hosts, "ann"))
        self.log.append(f"{self._at()} {command.__name__} {sorted(hosts)}")

    def _plan(self) -> None:
        """Mesos' own maintenance is planned, or not any more."""
        if self.durable.hosts:
            host = self._random.choice(sorted(self.durable.hosts))
            begins_s = self.simulation.now_s + self._random.choice([10.0, 300.0, 400.0])
            unavailability = Unavailability(round(begins_s * 1e9), None) if self._random.random() < 0.7 else None
            self.log.append(f"{self._at()} Mesos plans to maintain {host}: {unavailability}")
            self.simulation.happen(MaintenancePlanned(host, unavailability))

    def _update(self) -> None:
        """All instances of a job are to have another configuration; or somebody meddles with an update."""
        active = sorted(self.durable.active_updates.items())
        if active and self._random.random() < 0.5:
            job, update_id = self._random.choice(active)
            kind: Any = self._random.choice([PauseJobUpdate, ResumeJobUpdate, ResumeJobUpdate, RollbackJobUpdate])
            answer = self.command(kind(JobUpdateKey(wire.JobKey(*job), update_id), None, "ann"))
            self.log.append(f"{self._at()} {kind.__name__} {job}: {answer}")
            return
        if not self.wanted:
            return
        job = self._random.choice(sorted(self.wanted))
        wanted = self.wanted[job]
        old = next(iter(self.durable.active_of(job)))
        size = self._random.randrange(1, 3)
        asked = JobUpdateRequest(
            old.config.wire._replace(priority=self._random.randrange(100)),
            max(wanted) + 1,
            JobUpdateSettings(
                update_group_size=size,
                max_per_instance_failures=self._random.randrange(3),
                max_failed_instances=self._random.randrange(2),
                min_wait_in_instance_running_ms=self._random.choice([0, 3000]),
                rollback_on_failure=self._random.random() < 0.8,
                wait_for_batch_completion=self._random.random() < 0.5,
                update_only_these_instances=tuple(Range(one, one) for one in sorted(wanted)),
            ),
        )
        answer = self.command(StartJobUpdate(asked, None, "ann"))
        self.log.append(f"{self._at()} update {job} by {size}: {answer}")

    def _cut_off(self) -> None:
        agent = f"agent-{self._random.randrange(_AGENTS + 1)}"
        if agent not in self._unreachable:
            self._unreachable.add(agent)
            self._given_up.update(self._launched_on[agent])
            self.log.append(f"{self._at()} {agent} cannot be reached")
            if self._random.random() < 0.5:
                self.simulation.happen(AgentUnreachable(agent))
            else:
                self.simulation.crash(agent)

    def _come_back(self) -> None:
        if self._unreachable:
            agent = self._random.choice(sorted(self._unreachable))
            self._unreachable.discard(agent)
            self.log.append(f"{self._at()} {agent} is back")
            self.simulation.happen(AgentBack(agent))

    def _crash_executor(self) -> None:
        keys = sorted(self.simulation._executors)
        if keys:
            self.simulation.kill_executor(self._random.choice(keys))

    def _restart_scheduler(self) -> None:
        try:
            self._die("for no reason")
        except _Died:
            self._begin()

    def _reconnect(self) -> None:
        if self._back_at_s is None:
            away_s = self._random.choice([0.0, 0.0, 5.0, 100.0])  # the last is longer than a task may be stuck
            self.log.append(f"{self._at()} the master is away for {away_s} s")
            self._back_at_s = self.simulation.now_s + away_s
            self._hang_up()
            self._handle(Disconnected("the master is gone"))

    def _suspend(self) -> None:
        if self._resumed_at_s is None:
            self._resumed_at_s = self.simulation.now_s + self._random.choice([1.0, 20.0])
            self.log.append(f"{self._at()} ZooKeeper is away")
            self._handle(Suspended())

    def _run_out_of_room(self) -> None:
        self._room_at_s = self.simulation.now_s + self._random.choice([1.0, 10.0, 80.0])
        self.log.append(f"{self._at()} the store has no room")

    def _heal(self) -> None:
        self._is_well = True
        now_s = self.simulation.now_s
        self._back_at_s, self._resumed_at_s, self._room_at_s = (
            None if at_s is None else now_s for at_s in self._ends()
        )
        self._end_what_is_over()
        if self._retry_at_s is not None:
            self._retry_at_s = None
            self._handle(DiskHasRoom())
        self.log.append(f"{self._at()} all is well")
        for agent in sorted(self._unreachable):
            self.simulation.happen(AgentBack(agent))
        self._unreachable.clear()
        for job, update_id in sorted(self.durable.active_updates.items()):
            self.command(ResumeJobUpdate(JobUpdateKey(wire.JobKey(*job), update_id), None, "ann"))
        self.command(EndMaintenance(frozenset(self.durable.hosts), "ann"))
        for host in self.durable.hosts:
            self.simulation.happen(MaintenancePlanned(host, None))

    _happenings = (
        _fill, _fill, _schedule, _start_or_deschedule,
        _create, _create, _create, _kill, _restart, _add, _cut_off, _come_back, _come_back, _crash_executor,
        _restart_scheduler, _reconnect, _suspend, _run_out_of_room,
        _drain, _end_maintenance, _plan, _update, _update, _update,
    )  # fmt: skip

    # -- what is promised ----------------------------------------------------------------------------------------------

    def _check_cron(self, changes: Sequence[Change]) -> None:
        """A run begins with a time of its schedule, none of which came before, or when the former run has ended."""
        began = Counter(
            change.task.job
            for change in changes
            if isinstance(change, PutTask)
            and len(change.task.events) == 1
            and change.task.ancestor_id is None
            and change.task.job.name.startswith("cron")
            and change.task.instance == 0
        )
        moved = Counter[JobKey]()
        for change in changes:
            if isinstance(change, DropCronRun):
                self._runs.pop(change.key, None)
            elif isinstance(change, PutCronRun):
                former = self._runs.get(change.key)
                self._runs[change.key] = change.run
                if former is not None:
                    if change.run.at_ms < former.at_ms:
                        raise Broken(f"the schedule of {change.key} goes back")
                    moved[change.key] += change.run.at_ms > former.at_ms
                    moved[change.key] += former.is_waiting and not change.run.is_waiting
        for key, count in began.items():
            if count > moved[key] + (key == self._started_by_hand):
                raise Broken(f"{key} began {count} runs, and {moved[key]} were due")

    def _check_preempted(self, changes: Sequence[Change]) -> None:
        """Whoever is preempted matters less than who it is for."""
        for change in changes:
            if not isinstance(change, PutTask) or change.task.status is not ScheduleStatus.PREEMPTING:
                continue
            victim = change.task
            known = self.durable.tasks.get(victim.task_id)
            if known is not None and known.status is ScheduleStatus.PREEMPTING:
                continue  # it was before, and is only written again
            name = (victim.events[-1].message or "").removeprefix("Gives way to ")
            strong = self.engine.state.active_of(JobKey(*name.split("/")))
            if not any(gives_way(victim.config, one.config, _SETTINGS) for one in strong):
                raise Broken(f"{victim.task_id} is preempted for {name}, which matters no more")
            self.preempted += 1

    def _check_given_up(self, changes: Sequence[Change]) -> None:
        """A task is only held for stuck when Mesos could say for long enough what became of it."""
        for change in changes:
            if not isinstance(change, PutTask) or change.task.status is not ScheduleStatus.LOST:
                continue
            task = change.task
            is_stuck = (task.events[-1].message or "").endswith("Mesos did not say what became of it")
            if not is_stuck or task.task_id in self._given_up:
                continue
            self._given_up.add(task.task_id)
            since_s, long_s = self._heard_since_s, _SETTINGS.transient_task_state_timeout_s
            if since_s is None or self.simulation.now_s - since_s < long_s:
                raise Broken(f"{task.task_id} is given up, and Mesos is heard since {since_s}")

    def _check_launch(self, launch: Launch) -> None:
        if self._heard_since_s is None or self._resumed_at_s is not None or self._room_at_s is not None:
            raise Broken(f"{[task.task_id for task in launch.tasks]} are launched in the wrong moment")
        for task in launch.tasks:
            self._launched[task.task_id] = (task.job, task.instance)
            self._launched_on[task.agent_id or ""].append(task.task_id)
            kept = self.durable.tasks.get(task.task_id)
            if kept is None or kept.status is not ScheduleStatus.ASSIGNED:
                raise Broken(f"{task.task_id} is launched before that is durable")
            if self.durable.hosts[task.host or ""].mode in (Mode.DRAINING, Mode.DRAINED):
                raise Broken(f"{task.task_id} is launched on {task.host}, which is drained")

    def _let_go(self, changes: Sequence[Change]) -> list[Task]:
        """Tasks that come into DRAINING with *changes*, which are not made yet."""
        draining = ScheduleStatus.DRAINING
        going = [change.task for change in changes if isinstance(change, PutTask) and change.task.status is draining]
        known = self.durable.tasks
        return [task for task in going if task.task_id not in known or known[task.task_id].status is not draining]

    def _check_drains(self, going: list[Task]) -> None:
        """Whoever lets a task go leaves as many running as the policy says, until the drain's time is over."""
        self.drains["drained"] += len(going)
        for task in going:
            why = task.events[-1].message or ""
            if why.startswith("Mesos says"):
                self.drains["by Mesos"] += 1
                continue
            request = self.durable.maintenance.get(task.host or "")
            # A scheduler that begins anew goes on with a plain drain as with any other.
            is_plain = request is not None and request.default_sla_policy == NO_PROMISE
            if self._is_plain_drain or is_plain or "not waited for" in why:
                continue
            self.drains["by policy"] += 1
            now_ms = self._now().wall_ms
            # Those that came in the same moment came after it.
            active = [one for one in self.durable.active_of(task.job) if one.created_at_ms < now_ms]
            before_ms = now_ms - 3000
            runs = sum(one.status is ScheduleStatus.RUNNING and one.changed_at_ms < before_ms for one in active)
            if task.config.is_production and len(active) >= 2 and runs < required(self._policy, len(active)):
                raise Broken(f"{task.task_id} was let go, and {runs} of {len(active)} run")

    def _check(self) -> None:
        for problem in self._problems():
            raise Broken(problem)

    def _problems(self) -> Iterator[str]:
        state = self.durable
        yield from promises.differences(state, self.engine.state)
        yield from promises.of_tasks(state)
        yield from promises.of_updates(state, self._now().wall_ms, self._seen_back)
        for job, wanted in self.wanted.items():
            missing = wanted - {task.instance for task in state.active_of(job)}
            if missing:
                yield f"{job} has lost the instances {sorted(missing)}"
        yield from self._doubles()

    def _doubles(self) -> Iterator[str]:
        """Two that live of one instance: only where the scheduler had to give one of them up for lost."""
        living = Counter(
            self._launched[task_id] for _, task_id in self.simulation.living() if task_id not in self._given_up
        )
        for (job, instance), count in living.items():
            if count > 1:
                yield f"{job}/{instance} runs {count} times"

    def _check_end(self) -> None:
        """All is well, and was for long: what runs is what is wanted, no more, no less, and no offer is forgotten."""
        while self._hear():
            pass
        offered = set(self.simulation.master.world.offers)
        held = {offer.offer_id for offer in self.engine.offers}
        if offered != held:
            raise Broken(f"the master waits for a word on {offered - held}, and holds nothing of {held - offered}")
        running = Counter[tuple[JobKey, int]]()
        for agent_id, task_id in self.simulation.living():
            task = self.durable.tasks.get(task_id)
            if task is None or task.status in TERMINAL:
                raise Broken(f"{task_id} runs on {agent_id}, and is {'unknown' if task is None else task.status}")
            running[task.job, task.instance] += 1
        doubles = [key for key, count in running.items() if count > 1]
        if doubles:
            raise Broken(f"these run more than once: {doubles}")
        for job in self.durable.active_updates:
            if not self._has_no_room(job):
                raise Broken(f"{job} is being updated for good: {self._waits(job)}")
        for job, wanted in self.wanted.items():
            for task in self.durable.active_of(job):
                if task.status not in (ScheduleStatus.RUNNING, ScheduleStatus.PENDING):
                    raise Broken(f"{task.task_id} is {task.status.name} for good")
            missing = wanted - {instance for of, instance in running if of == job}
            if missing and not self._has_no_room(job):
                raise Broken(f"{job} does not run the instances {sorted(missing)}: {self.engine.pending_reasons()}")

    def _waits(self, job: JobKey) -> list[tuple[int, str]]:
        return waits(self.durable, (job, self.durable.active_updates[job]), self._now().wall_ms)

    def _has_no_room(self, job: JobKey) -> bool:
        """Whether all of its tasks that wait have a good reason."""
        reasons = self.engine.pending_reasons()
        waiting = [task for task in self.durable.active_of(job) if task.status is ScheduleStatus.PENDING]
        return bool(waiting) and all(reasons[task.task_id].startswith(_no_room(task)) for task in waiting)


#: Why a task may wait for good: the cluster is full where it may be, or there is one of the job already.
def _no_room(task: Task) -> tuple[str, ...]:
    has_limit = any(one.name == "host" for one in task.config.constraints)
    return ("Insufficient", "Limit", "Host is reserved", *(["Constraint not satisfied: rack"] if has_limit else []))


def _value(*values: str, negated: bool = False) -> wire.TaskConstraint:
    return wire.TaskConstraint(value=wire.ValueConstraint(negated, values))


def _limit(limit: int) -> wire.TaskConstraint:
    return wire.TaskConstraint(limit=wire.LimitConstraint(limit))


#: What a job may ask of its hosts: mostly nothing.
_CONSTRAINTS: Final[tuple[tuple[wire.Constraint, ...], ...]] = (
    (), (), (), (),
    (wire.Constraint("host", _limit(1)),),
    (wire.Constraint("host", _limit(1)),),
    (wire.Constraint("rack", _limit(2)),),
    (wire.Constraint("rack", _value("rack-0")),),
    (wire.Constraint("rack", _value("rack-0", negated=True)), wire.Constraint("host", _limit(1))),
)  # fmt: skip


def _machines() -> list[AgentSpec]:
    """Some in two racks, and one that is dedicated."""
    *ordinary, last = agents(_AGENTS + 1, "cpus:6;mem:4096;disk:10000;ports:[31000-31010]", racks=2)
    dedicated = {"name": "dedicated", "type": "TEXT", "text": {"value": _DEDICATED}}
    return [*ordinary, last._replace(attributes=(*last.attributes, dedicated))]


def _heard(event: SchedulerEvent) -> MesosEvent | None:
    return None if isinstance(event, (Heartbeat, Unknown, Error)) else event
