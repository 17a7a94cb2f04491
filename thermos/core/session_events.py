"""What can happen between an executor and its agent, and what can be done about it. Values only.

Events are past tense, actions imperative; the agent's own events are those of :mod:`thermos.mesos`.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from thermos.mesos import AgentEvent, SendMessage, Subscribe, Subscribed, TaskInfo, TaskStatus, Update

#: An executor that does not subscribe within this is killed anyway (agent flag ``--executor_registration_timeout``).
FIRST_CONTACT_S: Final = 60.0
#: For one answer of an agent that may be busy forking or recovering a hundred executors.
ANSWER_S: Final = 30.0
#: Three intervals of an agent's heartbeats (DEFAULT_EXECUTOR_HEARTBEAT_INTERVAL, mesos/src/slave/constants.hpp).
HEARTBEAT_S: Final = 3 * 30 * 60.0


class Settings(NamedTuple):
    """What the agent told the executor through its environment."""

    executor_id: str
    framework_id: str
    checkpoint: bool
    #: How long to wait for an agent that is gone, if the framework checkpoints.
    recovery_timeout_s: float = 15 * 60.0
    #: Longest time between two attempts to subscribe.
    backoff_max_s: float = 2.0
    #: How long the executor has after a SHUTDOWN; for the executor, not used here.
    shutdown_grace_s: float = 5.0
    first_contact_s: float = FIRST_CONTACT_S
    answer_s: float = ANSWER_S
    heartbeat_s: float = HEARTBEAT_S


# -- events: those of the agent (thermos.mesos), and these ------------------------------------------------------------


class Started(NamedTuple):
    """The executor is ready to be told what to do."""


class StreamLost(NamedTuple):
    """There is no stream: not connected, closed, or it carried garbage."""

    reason: str


class SubscribeRefused(NamedTuple):
    """SUBSCRIBE was answered with something else than a stream."""

    status: int
    reason: str


class Answered(NamedTuple):
    """The call under way was accepted."""


class CallRefused(NamedTuple):
    """The call under way was answered with an error."""

    status: int
    reason: str


class CallLost(NamedTuple):
    """The connection for calls broke before the call under way was answered: it may have arrived or not."""

    reason: str


class UpdateWanted(NamedTuple):
    """The executor has news of a task."""

    status: TaskStatus


class MessageWanted(NamedTuple):
    """The executor has something to say to the framework."""

    data: bytes


class StopWanted(NamedTuple):
    """The executor is done: leave when all updates are acknowledged, or *linger_s* after the last answer."""

    linger_s: float


class Woke(NamedTuple):
    """``wake_at_s`` has come; or not, which does no harm."""


Event: TypeAlias = (
    AgentEvent
    | Started
    | StreamLost
    | SubscribeRefused
    | Answered
    | CallRefused
    | CallLost
    | UpdateWanted
    | MessageWanted
    | StopWanted
    | Woke
)


# -- actions: for the connection … ------------------------------------------------------------------------------------


class OpenStream(NamedTuple):
    """Connect anew, for stream and calls, and send this SUBSCRIBE."""

    call: Subscribe


class Send(NamedTuple):
    """Make this call; none is under way."""

    call: Update | SendMessage


class Disconnect(NamedTuple):
    """Drop both connections; nothing of them is reported any more."""


class Close(NamedTuple):
    """The session is over: drop everything. *undelivered* updates were not acknowledged."""

    reason: str
    undelivered: tuple[TaskStatus, ...]


# -- … and for the executor -------------------------------------------------------------------------------------------


class Registered(NamedTuple):
    """The agent knows us, for the first time."""

    subscribed: Subscribed


class Reregistered(NamedTuple):
    """The agent knows us again."""

    subscribed: Subscribed


class Disconnected(NamedTuple):
    """The agent that knew us is gone; we try to find it again."""

    reason: str


class LaunchTask(NamedTuple):
    """Start this task. Once per task id."""

    task: TaskInfo


class KillTask(NamedTuple):
    """End this task. Once per task id."""

    task_id: str
    grace_s: float | None


class HurryKill(NamedTuple):
    """This task, which is being killed, has less time than was said before."""

    task_id: str
    grace_s: float


class Deliver(NamedTuple):
    """A message of the framework."""

    data: bytes


class UpdateAcknowledged(NamedTuple):
    """The agent answers for this update from now on."""

    status: TaskStatus


class ShutDown(NamedTuple):
    """End all tasks, say so in updates, and stop. Once."""

    reason: str


class Failed(NamedTuple):
    """Something is wrong that an operator should see."""

    message: str


class Told(NamedTuple):
    """For the log."""

    text: str


Notice: TypeAlias = (
    Registered
    | Reregistered
    | Disconnected
    | LaunchTask
    | KillTask
    | HurryKill
    | Deliver
    | UpdateAcknowledged
    | ShutDown
    | Failed
    | Told
)
Action: TypeAlias = OpenStream | Send | Disconnect | Close | Notice
