"""What master and agents know, in memory, with the means to change it: clock, ids, timers, actions to be done."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Final

from scheduler.local.model import Action, AgentSpec, ExecutorKey, Settings, Tell
from scheduler.local.resources import Bag
from thermos.formats.mesos_v1 import Object, read_agent, read_framework, write_data, write_labels
from thermos.formats.mesos_v1_scheduler import SchedulerEvent, Status, Unavailability, Update
from thermos.mesos import Label, MesosTaskState, Raw, Reason, Source, TaskInfo

#: A kind of timer, and what it is about.
TimerKey = tuple[str, Hashable]
#: A kind of thing that is kept, and the parts of its id.
KeptKey = tuple[str, ...]

#: Capabilities of frameworks.
_PARTITION_AWARE: Final = "PARTITION_AWARE"
_MULTI_ROLE: Final = "MULTI_ROLE"


class Filter:
    """A framework does not want as much as *bag* of an agent, or less, until then."""

    __slots__ = ("bag", "until_s")

    def __init__(self, bag: Bag, until_s: float) -> None:
        self.bag = bag
        self.until_s = until_s


class Framework:
    """A scheduler, connected or not."""

    __slots__ = ("filters", "id", "info", "is_suppressed", "offers", "role", "stream", "tasks", "told")

    def __init__(self, framework_id: str, info: Raw) -> None:
        self.id = framework_id
        self.stream: str | None = None
        self.is_suppressed = False
        #: By agent.
        self.filters: dict[str, list[Filter]] = {}
        self.offers: dict[str, OfferMade] = {}
        self.tasks: dict[str, Task] = {}
        self.set_info(info)

    def set_info(self, info: Raw) -> None:
        """Take what it says of itself. With MULTI_ROLE and no roles it is offered nothing, as by Mesos; of several
        roles the first counts."""
        self.info = info
        self.told = read_framework(Object({"id": {"value": self.id}, **info}, "framework_info"))
        roles = info.get("roles") if self._can(_MULTI_ROLE) else [info.get("role") or "*"]
        self.role: str | None = str(roles[0]) if roles else None

    @property
    def is_partition_aware(self) -> bool:
        return self._can(_PARTITION_AWARE)

    def _can(self, capability: str) -> bool:
        return any(one.get("type") == capability for one in self.info.get("capabilities") or ())

    @property
    def failover_s(self) -> float:
        return float(self.info.get("failover_timeout") or 0.0)

    @property
    def checkpoint(self) -> bool:
        return bool(self.info.get("checkpoint"))

    @property
    def user(self) -> str:
        return str(self.info.get("user") or "")


class OfferMade:
    """An offer that nobody has answered. *bag* None: an inverse one."""

    __slots__ = ("agent", "bag", "framework", "id")

    def __init__(self, offer_id: str, framework: Framework, agent: Agent, bag: Bag | None) -> None:
        self.id = offer_id
        self.framework = framework
        self.agent = agent
        self.bag = bag


class Reach(Enum):
    """How the master sees an agent."""

    UP = "registered"
    DISCONNECTED = "disconnected"
    UNREACHABLE = "unreachable"


class Agent:
    """An agent; *free* is neither used nor offered."""

    __slots__ = (
        "attributes", "executors", "free", "inverse", "offers", "reach", "spec", "told", "unavailability",
        "unreachable_ns",
    )  # fmt: skip

    def __init__(self, spec: AgentSpec, attributes: tuple[tuple[str, str], ...]) -> None:
        self.spec = spec
        #: As an offer shows them.
        self.attributes = attributes
        #: As an executor is told of it.
        self.told = read_agent(Object({"id": {"value": spec.agent_id}, "hostname": spec.hostname}, "agent_info"))
        self.free = spec.resources
        self.reach = Reach.UP
        self.unreachable_ns: int | None = None
        self.unavailability: Unavailability | None = None
        self.offers: dict[str, OfferMade] = {}
        #: Inverse offers: by framework.
        self.inverse: dict[str, OfferMade] = {}
        self.executors: dict[ExecutorKey, Executor] = {}


class Phase(Enum):
    """Where an executor stands; the agent's own names."""

    REGISTERING = "it was started"
    RUNNING = "it has subscribed"
    TERMINATING = "it is to end"


class Executor:
    """An executor on an agent, from the launch of its first task until its process is gone."""

    __slots__ = (
        "container_id", "deadline_s", "ended_for", "info", "is_recovered", "key", "phase", "pid", "resources",
        "start_ticks", "tasks", "waiting",
    )  # fmt: skip

    def __init__(self, key: ExecutorKey, info: Raw, resources: Bag, container_id: str) -> None:
        self.key = key
        self.info = info
        self.resources = resources
        self.container_id = container_id
        self.phase = Phase.REGISTERING
        self.pid: int | None = None
        self.start_ticks = 0
        #: When it is destroyed, unless something happens before.
        self.deadline_s: float | None = None
        #: Why the agent ends it; None: it ended by itself.
        self.ended_for: tuple[Reason, str] | None = None
        #: Kept from before a restart: it has to subscribe again.
        self.is_recovered = False
        #: All its tasks that are not over and acknowledged.
        self.tasks: dict[str, Task] = {}
        #: Those that it has not been told of.
        self.waiting: dict[str, Task] = {}


class Task:
    """A task that was launched, until its last status is acknowledged."""

    __slots__ = (
        "agent", "executor", "framework", "id", "info", "is_freed", "is_told", "is_unreachable", "kill", "last",
        "parsed", "pending", "resources", "retry_at_s", "retry_s", "seen",
    )  # fmt: skip

    def __init__(
        self, task_id: str, framework: Framework, agent: Agent, executor: Executor | None, info: Raw, bag: Bag
    ) -> None:
        self.id = task_id
        self.framework = framework
        self.agent = agent
        #: None: its executor is gone, and a status of it waits for its acknowledgement.
        self.executor = executor
        self.info = info
        #: *info* as its executor is told of it; None once it has been.
        self.parsed: TaskInfo | None = None
        self.resources = bag
        #: What the master was told last.
        self.last: Status | None = None
        #: Statuses that are not acknowledged, oldest first; the first is under way (*is_told*), if the agent is up.
        self.pending: deque[Status] = deque()
        self.is_told = False
        self.retry_s = 0.0
        self.retry_at_s = 0.0
        #: A kill that its executor hears of when it comes back: (grace in seconds,).
        self.kill: tuple[float | None] | None = None
        #: The uuids of all its statuses.
        self.seen: set[bytes] = set()
        self.is_unreachable = False
        #: The master has been told that it is over, and counts its resources as free.
        self.is_freed = False

    @property
    def state(self) -> MesosTaskState:
        """As the master knows it."""
        return MesosTaskState.TASK_STAGING if self.last is None else self.last.state

    @property
    def is_over(self) -> bool:
        """As the agent knows it."""
        return bool(self.pending and self.pending[-1].state.is_terminal) or self.state.is_terminal


class World:
    """All of it. *new_uuid* gives 16 bytes, each time others."""

    def __init__(self, master_id: str, new_uuid: Callable[[], bytes], settings: Settings) -> None:
        self.master_id = master_id
        self.new_uuid = new_uuid
        self.settings = settings
        self.now_s = 0.0
        self.frameworks: dict[str, Framework] = {}
        self.streams: dict[str, Framework] = {}
        #: Frameworks that have ended; under these ids none comes back.
        self.removed: dict[str, None] = {}
        self.agents: dict[str, Agent] = {}
        #: Agents that an operator gave up.
        self.gone: dict[str, None] = {}
        self.offers: dict[str, OfferMade] = {}
        self.actions: list[Action] = []
        self.changed: dict[KeptKey, None] = {}
        self._timers: list[tuple[float, int, TimerKey]] = []
        self._numbers = {"timer": 0, "framework": 0, "offer": 0}

    # -- chance and time -----------------------------------------------------------------------------------------------

    def number(self, kind: str) -> int:
        """The next number of that kind, from 0."""
        found = self._numbers[kind]
        self._numbers[kind] = found + 1
        return found

    def new_container_id(self) -> str:
        """A UUID as text."""
        digits = self.new_uuid().hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def call_at(self, at_s: float, kind: str, about: Hashable = None) -> None:
        """Be woken then. Timers are not taken back: whoever is woken looks whether it is still so."""
        heapq.heappush(self._timers, (at_s, self.number("timer"), (kind, about)))

    def next_timer(self) -> TimerKey | None:
        """The next one whose time has come; it is forgotten."""
        if self._timers and self._timers[0][0] <= self.now_s:
            return heapq.heappop(self._timers)[2]
        return None

    @property
    def wake_at_s(self) -> float | None:
        """When the first timer's time comes."""
        return self._timers[0][0] if self._timers else None

    # -- doing ---------------------------------------------------------------------------------------------------------

    def keep(self, *key: str) -> None:
        """Something to be kept has changed."""
        if self.settings.is_kept:
            self.changed[key] = None

    def tell(self, framework: Framework, event: SchedulerEvent) -> None:
        """Send it to the framework; nothing while it is not connected."""
        if framework.stream is not None:
            self.actions.append(Tell(framework.stream, event))

    def tell_made_up(
        self,
        framework: Framework,
        task_id: str,
        state: MesosTaskState,
        reason: Reason,
        message: str,
        agent_id: str | None,
        *,
        about: Status | None = None,
        unreachable_ns: int | None = None,
    ) -> None:
        """A status of the master's own, which is not acknowledged; *about*: what was told of the task before."""
        status = make_status(
            task_id,
            state,
            Source.SOURCE_MASTER,
            reason,
            message,
            agent_id,
            about.executor_id if about is not None else None,
            self.now_s,
            healthy=about.healthy if about is not None else None,
            labels=about.labels if about is not None else (),
            container_status=about.raw.get("container_status") if about is not None else None,
            unreachable_ns=unreachable_ns,
        )
        self.tell(framework, Update(status))


def make_status(
    task_id: str,
    state: MesosTaskState,
    source: Source,
    reason: Reason | None,
    message: str | None,
    agent_id: str | None,
    executor_id: str | None,
    timestamp_s: float,
    *,
    uuid: bytes | None = None,
    healthy: bool | None = None,
    labels: tuple[tuple[str, str | None], ...] = (),
    container_status: Raw | None = None,
    data: bytes | None = None,
    unreachable_ns: int | None = None,
) -> Status:
    """A ``TaskStatus`` for a scheduler, with its JSON."""
    raw: dict[str, object] = {"task_id": {"value": task_id}, "state": state.value, "source": source.value}
    if message is not None:
        raw["message"] = message
    if reason is not None:
        raw["reason"] = reason.value
    if data is not None:
        raw["data"] = write_data(data)
    if agent_id is not None:
        raw["agent_id"] = {"value": agent_id}
    if executor_id is not None:
        raw["executor_id"] = {"value": executor_id}
    raw["timestamp"] = timestamp_s
    if uuid is not None:
        raw["uuid"] = write_data(uuid)
    if healthy is not None:
        raw["healthy"] = healthy
    if labels:
        raw["labels"] = write_labels([Label(key, value) for key, value in labels])
    if container_status is not None:
        raw["container_status"] = container_status
    if unreachable_ns is not None:
        raw["unreachable_time"] = {"nanoseconds": unreachable_ns}
    return Status(
        task_id, state, source, reason, message, agent_id, executor_id, timestamp_s, uuid, healthy, labels,
        unreachable_ns, raw,
    )  # fmt: skip
