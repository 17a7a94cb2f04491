"""Thousands of machines in no time: a master and agents whose executors are made up, in virtual time.

For tests and benchmarks of a scheduler, which makes its calls here and gets its events from here, without HTTP. The
same calls at the same times give the same events.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from scheduler.local.master import Master
from scheduler.local.model import (
    Action,
    AgentAdded,
    AgentSpec,
    AgentUnreachable,
    Called,
    DestroyExecutor,
    Event,
    ExecutorExited,
    ExecutorKey,
    ExecutorSubscribed,
    ExecutorUpdated,
    Settings,
    StartExecutor,
    StreamClosed,
    SubscribeWanted,
    Tell,
    TellExecutor,
    Woke,
)
from scheduler.local.resources import Bag, parse
from thermos.formats.mesos_v1_scheduler import SchedulerCall, SchedulerEvent, Subscribe
from thermos.mesos import (
    Acknowledged,
    AgentEvent,
    Kill,
    Label,
    Launch,
    MesosTaskState,
    Shutdown,
    TaskInfo,
    TaskStatus,
)

_SIGKILL: Final = 9
_STAGES: Final = (MesosTaskState.TASK_STARTING, MesosTaskState.TASK_RUNNING)


class Life(NamedTuple):
    """How a task goes. Times in seconds, each from what was before."""

    #: From TASK_STARTING, which comes with the launch, to TASK_RUNNING; None: it never runs, *run_s* begins at once.
    start_s: float | None = 1.0
    #: Until it ends by itself; None: it does not.
    run_s: float | None = None
    outcome: MesosTaskState = MesosTaskState.TASK_FINISHED
    message: str | None = None
    #: From a kill to TASK_KILLED; None: it does not hear of it.
    kill_s: float | None = 0.1
    healthy: bool | None = None
    #: Of TASK_RUNNING.
    labels: tuple[Label, ...] = ()
    #: Instead of a status at the end: the executor crashes.
    is_crash: bool = False


class _Run:
    """A task that a made-up executor has."""

    __slots__ = ("is_killed", "is_over", "life", "serial", "task_id")

    def __init__(self, task_id: str, life: Life) -> None:
        self.task_id = task_id
        self.life = life
        self.is_killed = False
        self.is_over = False
        #: Of its last status.
        self.serial = b""


class _Executor:
    __slots__ = ("runs",)

    def __init__(self) -> None:
        self.runs: dict[str, _Run] = {}


class Simulation:
    """A cluster for one scheduler.

    *life* says how each task goes, and is asked once, when it is launched. An executor takes *executor_start_s* to come
    up. Time begins at *begin_s*, in seconds of wall time.
    """

    def __init__(
        self,
        agents: Iterable[AgentSpec],
        life: Callable[[ExecutorKey, TaskInfo], Life],
        *,
        settings: Settings | None = None,
        executor_start_s: float = 0.2,
        begin_s: float = 1_700_000_000.0,
    ) -> None:
        self.now_s = begin_s
        self.master = Master("sim", self._new_uuid, settings)
        #: How many tasks were launched on an executor.
        self.launches = 0
        self._life = life
        self._executor_start_s = executor_start_s
        self._serial = 0
        self._streams = 0
        self._stream: str | None = None
        self._framework_id: str | None = None
        self._events: list[SchedulerEvent] = []
        self._executors: dict[ExecutorKey, _Executor] = {}
        self._due: list[tuple[float, int, Event | Callable[[], None]]] = []
        for spec in agents:
            self.happen(AgentAdded(spec))

    # -- the scheduler's side ------------------------------------------------------------------------------------------

    def call(self, call: SchedulerCall) -> None:
        """The scheduler makes a call, now; one that is not subscribed is not heard. What comes of it is an event."""
        if isinstance(call, Subscribe):
            self._streams += 1
            self._stream = f"stream-{self._streams}"
            self.happen(SubscribeWanted(self._stream, call))
        elif self._framework_id is not None:
            self.happen(Called(self._framework_id, call))

    def disconnect(self) -> None:
        """The scheduler's connection breaks; with the next ``Subscribe`` there is another."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            self.happen(StreamClosed(stream))
        self._events.clear()

    def take_events(self) -> list[SchedulerEvent]:
        """What the scheduler is told since it was asked last, in order."""
        events, self._events = self._events, []
        return events

    # -- time ----------------------------------------------------------------------------------------------------------

    @property
    def next_s(self) -> float | None:
        """When something happens by itself next."""
        times = [at_s for at_s in (self._due[0][0] if self._due else None, self.master.wake_at_s) if at_s is not None]
        return min(times, default=None)

    def advance(self, to_s: float) -> None:
        """Let it become *to_s*, with all that happens until then."""
        while (at_s := self.next_s) is not None and at_s <= to_s:
            self.now_s = max(at_s, self.now_s)
            if not self._due or self._due[0][0] > at_s:
                self.happen(Woke())
                continue
            what = heapq.heappop(self._due)[2]
            if callable(what):
                what()
            else:
                self.happen(what)
        self.now_s = max(to_s, self.now_s)

    def advance_until(self, condition: Callable[[], object], limit_s: float) -> bool:
        """Let time go on, from one thing that happens to the next, until *condition* holds; whether it did in time."""
        end_s = self.now_s + limit_s
        while not condition():
            at_s = self.next_s
            if at_s is None or at_s > end_s:
                return False
            self.advance(at_s)
        return True

    # -- the cluster ---------------------------------------------------------------------------------------------------

    def happen(self, event: Event) -> None:
        """Something happens to the cluster, now: an agent is lost, comes back, is planned to go down …"""
        for action in self.master.handle(event, self.now_s):
            self._act(action)

    def crash(self, agent_id: str) -> None:
        """A machine dies, with all that runs on it; what it has lost is told when it comes back (``AgentBack``)."""
        self.happen(AgentUnreachable(agent_id))
        for key in [key for key in self._executors if key.agent_id == agent_id]:
            del self._executors[key]
            self.happen(ExecutorExited(key, None))

    def kill_executor(self, key: ExecutorKey) -> None:
        """An executor crashes."""
        if self._executors.pop(key, None) is not None:
            self.happen(ExecutorExited(key, _SIGKILL))

    def living(self) -> list[tuple[str, str]]:
        """(agent id, task id) of every task that runs, or is about to."""
        return [
            (key.agent_id, run.task_id)
            for key, executor in self._executors.items()
            for run in executor.runs.values()
            if not run.is_over
        ]

    def _later(self, in_s: float, what: Event | Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._due, (self.now_s + in_s, self._serial, what))

    def _new_uuid(self) -> bytes:
        self._serial += 1
        return self._serial.to_bytes(16, "big")

    def _act(self, action: Action) -> None:
        if isinstance(action, Tell):
            if action.stream == self._stream:
                framework_id = getattr(action.event, "framework_id", None)
                if framework_id is not None:
                    self._framework_id = framework_id
                self._events.append(action.event)
        elif isinstance(action, TellExecutor):
            executor = self._executors.get(action.key)
            if executor is not None:
                self._hear(action.key, executor, action.event)
        elif isinstance(action, StartExecutor):
            self._executors[action.key] = _Executor()
            self._later(self._executor_start_s, ExecutorSubscribed(action.key))
        elif isinstance(action, DestroyExecutor) and self._executors.pop(action.key, None) is not None:
            self._later(0.0, ExecutorExited(action.key, _SIGKILL))

    # -- executors -----------------------------------------------------------------------------------------------------

    def _hear(self, key: ExecutorKey, executor: _Executor, event: AgentEvent) -> None:
        match event:
            case Launch(task):
                self.launches += 1
                run = executor.runs[task.task_id] = _Run(task.task_id, self._life(key, task))
                self._later(0.0, lambda: self._begin(key, run))
            case Kill(task_id, _):
                killed = executor.runs.get(task_id)
                if killed is not None:
                    self._kill(key, killed)
            case Acknowledged(task_id, uuid):
                over = executor.runs.get(task_id)
                if over is not None and over.is_over and uuid == over.serial:
                    del executor.runs[task_id]
                    if not executor.runs:
                        self._later(0.0, lambda: self._leave(key, executor))
            case Shutdown():
                for one in list(executor.runs.values()):
                    self._kill(key, one)
                if not executor.runs:
                    self._later(0.0, lambda: self._leave(key, executor))

    def _begin(self, key: ExecutorKey, run: _Run) -> None:
        if run.is_killed:
            return
        life = run.life
        self._say(key, run, MesosTaskState.TASK_STARTING)
        if life.start_s is not None:
            self._later(life.start_s, lambda: self._run(key, run))
        elif life.run_s is not None:
            self._later(life.run_s, lambda: self._end(key, run))

    def _run(self, key: ExecutorKey, run: _Run) -> None:
        if run.is_over or run.is_killed:
            return
        self._say(key, run, MesosTaskState.TASK_RUNNING, healthy=run.life.healthy, labels=run.life.labels)
        if run.life.run_s is not None:
            self._later(run.life.run_s, lambda: self._end(key, run))

    def _end(self, key: ExecutorKey, run: _Run) -> None:
        if run.is_over or run.is_killed:
            return
        if run.life.is_crash:
            self.kill_executor(key)
        else:
            self._say(key, run, run.life.outcome, message=run.life.message)

    def _kill(self, key: ExecutorKey, run: _Run) -> None:
        if run.is_killed or run.life.kill_s is None:
            return
        run.is_killed = True
        self._later(run.life.kill_s, lambda: self._killed(key, run))

    def _killed(self, key: ExecutorKey, run: _Run) -> None:
        if not run.is_over:
            self._say(key, run, MesosTaskState.TASK_KILLED)

    def _say(self, key: ExecutorKey, run: _Run, state: MesosTaskState, **more: Any) -> None:
        if key not in self._executors:
            return
        run.is_over = state not in _STAGES
        run.serial = self._new_uuid()
        self.happen(ExecutorUpdated(key, TaskStatus(run.task_id, state, run.serial, self.now_s, **more)))

    def _leave(self, key: ExecutorKey, executor: _Executor) -> None:
        """An executor without tasks ends."""
        if self._executors.get(key) is executor and not executor.runs:
            del self._executors[key]
            self.happen(ExecutorExited(key, 0))


def agents(
    count: int, resources: str | Bag = "cpus:16;mem:65536;disk:500000;ports:[31000-32000]", racks: int = 10
) -> list[AgentSpec]:
    """So many equal agents, ``agent-0`` and so on, with attributes ``host`` and ``rack``."""
    bag = parse(resources) if isinstance(resources, str) else resources

    def text(name: str, value: str) -> dict[str, Any]:
        return {"name": name, "type": "TEXT", "text": {"value": value}}

    return [
        AgentSpec(f"agent-{n}", f"host-{n}", bag, (text("host", f"host-{n}"), text("rack", f"rack-{n % racks}")))
        for n in range(count)
    ]
