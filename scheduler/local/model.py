"""What happens to the master and its agents, and what they do about it: values only.

A scheduler's calls and the events for it are those of :mod:`thermos.formats.mesos_v1_scheduler`, an executor's those
of :mod:`thermos.mesos`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from scheduler.local.resources import Bag
from thermos.formats.mesos_v1_scheduler import SchedulerCall, SchedulerEvent, Subscribe, Unavailability
from thermos.mesos import AgentEvent, Raw, Reason, TaskInfo, TaskStatus


class Settings(NamedTuple):
    """Times in seconds; defaults are Mesos' (``mesos/src/master/constants.hpp``, ``mesos/src/slave/constants.hpp``)."""

    #: Between two looks for what can be offered again; what is new is offered at once.
    allocation_interval_s: float = 1.0
    heartbeat_interval_s: float = 15.0
    #: A status that is not acknowledged is told again after this, then after twice as long, and so on.
    update_retry_min_s: float = 10.0
    update_retry_max_s: float = 600.0
    executor_registration_timeout_s: float = 60.0
    #: After a restart of ours. Mesos waits 2 s, which a laptop that was asleep is too slow for.
    executor_reregistration_timeout_s: float = 15.0
    executor_shutdown_grace_s: float = 5.0
    #: ``host:port`` where the agents are, for offers and for SUBSCRIBED; None: nowhere, as in a simulation.
    address: tuple[str, int] | None = None
    #: Whether agents can run an image; a task that wants one is in error otherwise.
    has_images: bool = True
    #: Whether the owner keeps what changes (``Master.take_changes``).
    is_kept: bool = False


class AgentSpec(NamedTuple):
    """An agent and what it has. *attributes* are ``Attribute`` as JSON."""

    agent_id: str
    hostname: str
    resources: Bag
    attributes: tuple[dict[str, Any], ...] = ()
    #: Of the agent's own HTTP: ``/slave(1)``.
    path: str = "/slave(1)"


class ExecutorKey(NamedTuple):
    """An executor; two agents may have one of the same id."""

    agent_id: str
    framework_id: str
    executor_id: str


# -- events: of schedulers ---------------------------------------------------------------------------------------------


class SubscribeWanted(NamedTuple):
    """A scheduler's first call of a connection, which is known as *stream* from now on."""

    stream: str
    call: Subscribe


class Called(NamedTuple):
    """Any other call."""

    framework_id: str
    call: SchedulerCall


class StreamClosed(NamedTuple):
    """A scheduler's connection is gone."""

    stream: str


# -- … of agents -------------------------------------------------------------------------------------------------------


class AgentAdded(NamedTuple):
    """There is a new agent."""

    spec: AgentSpec


class AgentDisconnected(NamedTuple):
    """The agent cannot be heard; its executors go on."""

    agent_id: str


class AgentUnreachable(NamedTuple):
    """It could not be heard for so long that the master gives its tasks up."""

    agent_id: str


class AgentBack(NamedTuple):
    """It is heard again, with all that it had."""

    agent_id: str


class AgentGone(NamedTuple):
    """An operator says that it never comes back."""

    agent_id: str


class MaintenancePlanned(NamedTuple):
    """When the agents of a host go down; None: they do not."""

    hostname: str
    unavailability: Unavailability | None


# -- … of executors ----------------------------------------------------------------------------------------------------


class ExecutorStarted(NamedTuple):
    """It runs, as process *pid*, which began at *start_ticks* of the kernel's clock."""

    key: ExecutorKey
    pid: int
    start_ticks: int


class ExecutorSubscribed(NamedTuple):
    """It is there and wants to be told what to do; *tasks* and *updates* have not been acknowledged to it."""

    key: ExecutorKey
    tasks: tuple[TaskInfo, ...] = ()
    updates: tuple[TaskStatus, ...] = ()


class ExecutorUpdated(NamedTuple):
    """It has news of a task."""

    key: ExecutorKey
    status: TaskStatus


class ExecutorSaid(NamedTuple):
    """It has a message for its framework."""

    key: ExecutorKey
    data: bytes


class ExecutorExited(NamedTuple):
    """It has ended; *status* is what ``wait`` gives, None where nobody could wait for it."""

    key: ExecutorKey
    status: int | None
    reason: Reason = Reason.REASON_EXECUTOR_TERMINATED
    message: str = "Executor terminated"


class Woke(NamedTuple):
    """``Master.wake_at_s`` has come."""


Event: TypeAlias = (
    SubscribeWanted
    | Called
    | StreamClosed
    | AgentAdded
    | AgentDisconnected
    | AgentUnreachable
    | AgentBack
    | AgentGone
    | MaintenancePlanned
    | ExecutorStarted
    | ExecutorSubscribed
    | ExecutorUpdated
    | ExecutorSaid
    | ExecutorExited
    | Woke
)


# -- actions -----------------------------------------------------------------------------------------------------------


class Tell(NamedTuple):
    """Send a scheduler this."""

    stream: str
    event: SchedulerEvent


class EndStream(NamedTuple):
    """Close a scheduler's connection, after what was sent."""

    stream: str


class StartExecutor(NamedTuple):
    """Start it. *info* is its ``ExecutorInfo``; *user*, whom it runs as unless its command says otherwise."""

    key: ExecutorKey
    container_id: str
    info: Raw
    user: str
    checkpoint: bool


class TellExecutor(NamedTuple):
    """Send an executor this."""

    key: ExecutorKey
    event: AgentEvent


class DestroyExecutor(NamedTuple):
    """End it and all that it started, at once; it is over when ``ExecutorExited`` comes."""

    key: ExecutorKey


Action: TypeAlias = Tell | EndStream | StartExecutor | TellExecutor | DestroyExecutor
