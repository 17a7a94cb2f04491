"""What a Mesos agent and an executor tell each other: values only, in Mesos' own words.

Source of every name: mesos 1.11, ``include/mesos/v1/mesos.proto`` and ``include/mesos/v1/executor/executor.proto``.
``thermos.formats.mesos_v1`` turns them into bytes and back; ``thermos.core.session`` decides about them. Whatever
came over the wire keeps the JSON object it came in (``raw``), with the fields that are not named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeAlias

#: A JSON object as it came.
Raw: TypeAlias = Mapping[str, Any]


class MesosTaskState(StrEnum):
    """``mesos.v1.TaskState``. An executor sends those up to TASK_LOST; the others come from master and agent."""

    TASK_STAGING = "TASK_STAGING"
    TASK_STARTING = "TASK_STARTING"
    TASK_RUNNING = "TASK_RUNNING"
    TASK_KILLING = "TASK_KILLING"  # only to frameworks with the capability TASK_KILLING_STATE
    TASK_FINISHED = "TASK_FINISHED"
    TASK_FAILED = "TASK_FAILED"
    TASK_KILLED = "TASK_KILLED"
    TASK_ERROR = "TASK_ERROR"
    TASK_LOST = "TASK_LOST"
    TASK_DROPPED = "TASK_DROPPED"
    TASK_UNREACHABLE = "TASK_UNREACHABLE"
    TASK_GONE = "TASK_GONE"
    TASK_GONE_BY_OPERATOR = "TASK_GONE_BY_OPERATOR"
    TASK_UNKNOWN = "TASK_UNKNOWN"

    @property
    def is_terminal(self) -> bool:
        """Mesos takes the task for over and gives its resources away (an agent's ``isTerminalState``)."""
        return self in _TERMINAL


_TERMINAL: Final = frozenset({
    MesosTaskState.TASK_FINISHED, MesosTaskState.TASK_FAILED, MesosTaskState.TASK_KILLED, MesosTaskState.TASK_ERROR,
    MesosTaskState.TASK_LOST, MesosTaskState.TASK_DROPPED, MesosTaskState.TASK_GONE,
})  # fmt: skip


class Source(StrEnum):
    """``mesos.v1.TaskStatus.Source``: who says so."""

    SOURCE_MASTER = "SOURCE_MASTER"
    SOURCE_AGENT = "SOURCE_AGENT"
    SOURCE_EXECUTOR = "SOURCE_EXECUTOR"


class Reason(StrEnum):
    """``mesos.v1.TaskStatus.Reason``, all of Mesos 1.11. Most are the agent's to give; none says "it just failed"."""

    REASON_COMMAND_EXECUTOR_FAILED = "REASON_COMMAND_EXECUTOR_FAILED"
    REASON_CONTAINER_LAUNCH_FAILED = "REASON_CONTAINER_LAUNCH_FAILED"
    REASON_CONTAINER_LIMITATION = "REASON_CONTAINER_LIMITATION"
    REASON_CONTAINER_LIMITATION_DISK = "REASON_CONTAINER_LIMITATION_DISK"
    REASON_CONTAINER_LIMITATION_MEMORY = "REASON_CONTAINER_LIMITATION_MEMORY"
    REASON_CONTAINER_PREEMPTED = "REASON_CONTAINER_PREEMPTED"
    REASON_CONTAINER_UPDATE_FAILED = "REASON_CONTAINER_UPDATE_FAILED"
    REASON_MAX_COMPLETION_TIME_REACHED = "REASON_MAX_COMPLETION_TIME_REACHED"
    REASON_EXECUTOR_REGISTRATION_TIMEOUT = "REASON_EXECUTOR_REGISTRATION_TIMEOUT"
    REASON_EXECUTOR_REREGISTRATION_TIMEOUT = "REASON_EXECUTOR_REREGISTRATION_TIMEOUT"
    REASON_EXECUTOR_TERMINATED = "REASON_EXECUTOR_TERMINATED"
    REASON_EXECUTOR_UNREGISTERED = "REASON_EXECUTOR_UNREGISTERED"
    REASON_FRAMEWORK_REMOVED = "REASON_FRAMEWORK_REMOVED"
    REASON_GC_ERROR = "REASON_GC_ERROR"
    REASON_INVALID_FRAMEWORKID = "REASON_INVALID_FRAMEWORKID"
    REASON_INVALID_OFFERS = "REASON_INVALID_OFFERS"
    REASON_IO_SWITCHBOARD_EXITED = "REASON_IO_SWITCHBOARD_EXITED"
    REASON_MASTER_DISCONNECTED = "REASON_MASTER_DISCONNECTED"
    REASON_RECONCILIATION = "REASON_RECONCILIATION"
    REASON_RESOURCES_UNKNOWN = "REASON_RESOURCES_UNKNOWN"
    REASON_AGENT_DISCONNECTED = "REASON_AGENT_DISCONNECTED"
    REASON_AGENT_DRAINING = "REASON_AGENT_DRAINING"
    REASON_AGENT_REMOVED = "REASON_AGENT_REMOVED"
    REASON_AGENT_REMOVED_BY_OPERATOR = "REASON_AGENT_REMOVED_BY_OPERATOR"
    REASON_AGENT_REREGISTERED = "REASON_AGENT_REREGISTERED"
    REASON_AGENT_RESTARTED = "REASON_AGENT_RESTARTED"
    REASON_AGENT_UNKNOWN = "REASON_AGENT_UNKNOWN"
    REASON_TASK_KILLED_DURING_LAUNCH = "REASON_TASK_KILLED_DURING_LAUNCH"
    REASON_TASK_CHECK_STATUS_UPDATED = "REASON_TASK_CHECK_STATUS_UPDATED"
    REASON_TASK_HEALTH_CHECK_STATUS_UPDATED = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED"
    REASON_TASK_GROUP_INVALID = "REASON_TASK_GROUP_INVALID"
    REASON_TASK_GROUP_UNAUTHORIZED = "REASON_TASK_GROUP_UNAUTHORIZED"
    REASON_TASK_INVALID = "REASON_TASK_INVALID"
    REASON_TASK_UNAUTHORIZED = "REASON_TASK_UNAUTHORIZED"
    REASON_TASK_UNKNOWN = "REASON_TASK_UNKNOWN"


# -- what both know ---------------------------------------------------------------------------------------------------


#: A label of our executor's statuses: what RUNNING means for this task. An executor that knows nothing of it sets none.
HEALTH_LABEL: Final = "org.apache.aurora.executor.health"
#: RUNNING comes when the task's health checks have succeeded.
HEALTH_CHECKED: Final = "checked"
#: RUNNING comes when the task was started: it has no health checks.
HEALTH_UNCHECKED: Final = "unchecked"


class Label(NamedTuple):
    """``Label``: a key, and perhaps a value."""

    key: str
    value: str | None = None


class TaskInfo(NamedTuple):
    """``TaskInfo``: a task to launch."""

    task_id: str
    name: str
    agent_id: str
    data: bytes | None
    kill_grace_s: float | None  # of its kill policy
    labels: tuple[Label, ...]
    raw: Raw


class ExecutorInfo(NamedTuple):
    """``ExecutorInfo``."""

    executor_id: str
    framework_id: str | None
    name: str | None
    source: str | None
    data: bytes | None
    shutdown_grace_s: float | None
    raw: Raw


class FrameworkInfo(NamedTuple):
    """``FrameworkInfo``."""

    framework_id: str | None
    name: str
    user: str
    checkpoint: bool
    capabilities: frozenset[str]
    raw: Raw


class AgentInfo(NamedTuple):
    """``AgentInfo``."""

    agent_id: str | None
    hostname: str
    port: int | None
    raw: Raw


class TaskStatus(NamedTuple):
    """``TaskStatus``, as an executor sends it. *uuid* (16 bytes) names this update for good: sent twice, it counts
    once."""

    task_id: str
    state: MesosTaskState
    uuid: bytes
    timestamp_s: float
    executor_id: str | None = None
    source: Source = Source.SOURCE_EXECUTOR
    reason: Reason | None = None
    message: str | None = None
    healthy: bool | None = None
    labels: tuple[Label, ...] = ()
    container_status: Raw | None = None
    data: bytes | None = None


# -- the agent's events -----------------------------------------------------------------------------------------------


class Subscribed(NamedTuple):
    """The agent knows this executor; first event of each subscription."""

    executor: ExecutorInfo
    framework: FrameworkInfo
    agent: AgentInfo
    container_id: str | None


class Launch(NamedTuple):
    """Run this task."""

    task: TaskInfo


class LaunchGroup(NamedTuple):
    """Run these tasks, all or none."""

    tasks: tuple[TaskInfo, ...]


class Kill(NamedTuple):
    """End this task; *grace_s*, if there is one, overrides what was said before."""

    task_id: str
    grace_s: float | None


class Acknowledged(NamedTuple):
    """The agent has this update and answers for it from now on."""

    task_id: str
    uuid: bytes


class Message(NamedTuple):
    """Something from the framework that Mesos does not look into, and may lose."""

    data: bytes


class Shutdown(NamedTuple):
    """End every task and leave, within the grace period of ``MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD``."""


class Error(NamedTuple):
    """The agent did not like a call."""

    message: str


class Heartbeat(NamedTuple):
    """Nothing, to show that the connection lives."""


class Unknown(NamedTuple):
    """An event of a later Mesos, by the name of its type ("" if it has none)."""

    type: str


AgentEvent: TypeAlias = (
    Subscribed | Launch | LaunchGroup | Kill | Acknowledged | Message | Shutdown | Error | Heartbeat | Unknown
)


# -- the executor's calls ---------------------------------------------------------------------------------------------


class Subscribe(NamedTuple):
    """Here I am, with what you have not acknowledged."""

    tasks: tuple[TaskInfo, ...]
    updates: tuple[TaskStatus, ...]


class Update(NamedTuple):
    """A task is in this state now."""

    status: TaskStatus


class SendMessage(NamedTuple):
    """Something for the framework that Mesos does not look into, and may lose."""

    data: bytes


class SendHeartbeat(NamedTuple):
    """Nothing, to show that the connection lives."""


ExecutorCall: TypeAlias = Subscribe | Update | SendMessage | SendHeartbeat
