"""What can happen to an executor's task, and what the executor can be told to do about it. Values only.

Events are past tense, actions imperative. States and reasons are named as in Mesos' v1 ``mesos.proto``. A wait is
an action (:class:`Wake`) whose end comes back as an event (:class:`Due`).
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

STARTING: Final = "TASK_STARTING"
RUNNING: Final = "TASK_RUNNING"
FINISHED: Final = "TASK_FINISHED"
FAILED: Final = "TASK_FAILED"
KILLED: Final = "TASK_KILLED"
LOST: Final = "TASK_LOST"
TERMINAL: Final = frozenset({FINISHED, FAILED, KILLED, LOST})


class Plan(NamedTuple):
    """What the executor must know of a task to lead its life."""

    task_id: str
    is_checked: bool = False
    is_announced: bool = False
    #: Announce when the task starts, not when it is ready (the original's way).
    announces_early: bool = False
    #: Something decides whether it is ready to be found: until then it is not announced.
    has_readiness: bool = False
    #: (path, seconds to wait) of each HTTP request that asks it to stop, in order; empty: none is asked.
    farewells: tuple[tuple[str, float], ...] = ()
    #: Most a kill may take from the runner's part on, its finalizers included.
    kill_budget_s: float = 60.0
    stop_timeout_s: float = 120.0


class Status(NamedTuple):
    """What Mesos is told. None: left out."""

    state: str
    message: str | None = None
    reason: str | None = None
    healthy: bool | None = None


# -- Events -----------------------------------------------------------------------------------------------------------


class Opened(NamedTuple):
    """The executor has begun and waits for its task."""


class Launched(NamedTuple):
    """Mesos gave it a task that can be run."""

    plan: Plan


class LaunchRefused(NamedTuple):
    """Mesos gave it a task that makes no sense."""

    task_id: str
    message: str


class SandboxMade(NamedTuple):
    """The sandbox is there."""


class SandboxFailed(NamedTuple):
    """It cannot be made."""

    message: str


class RunnerReady(NamedTuple):
    """The runner owns the task."""


class ProcessesRun(NamedTuple):
    """The first process of the task runs."""


class RunnerEnded(NamedTuple):
    """The runner is gone. *status*: what that means for the task; None: it died alone and may be started again."""

    status: Status | None
    #: What it means if it is not started again.
    otherwise: Status
    #: Monotonic time of its end.
    now_s: float
    #: Nothing of the task lives: its records say that it is over, or that nothing of it was ever begun.
    is_over: bool = True


class HealthTold(NamedTuple):
    """The verdict of the health checks changed."""

    is_healthy: bool
    message: str
    #: It must end.
    is_fatal: bool = False


class ReadinessTold(NamedTuple):
    """Whether people should find the task in ZooKeeper."""

    is_ready: bool


class LimitExceeded(NamedTuple):
    """The task used more than it may."""

    status: Status


class AnnounceFailed(NamedTuple):
    """It could not be made known in time."""

    message: str


class KillAsked(NamedTuple):
    """Mesos wants the task ended."""

    task_id: str
    grace_s: float | None = None


class ShutdownAsked(NamedTuple):
    """Mesos wants the executor ended, or its agent has been away too long, or a signal came."""

    message: str
    #: What it does not survive; None: it may take its time.
    grace_s: float | None = None


class FarewellSaid(NamedTuple):
    """An HTTP request that asked the task to stop was answered, or not."""

    path: str
    was_heard: bool


class Withdrawn(NamedTuple):
    """The task is not in ZooKeeper any more."""


class Left(NamedTuple):
    """Mesos has the last status safe, or never will."""


class Due(NamedTuple):
    """A wait is over."""

    key: str


Event: TypeAlias = (
    Opened | Launched | LaunchRefused | SandboxMade | SandboxFailed | RunnerReady | ProcessesRun | RunnerEnded
    | HealthTold | ReadinessTold | LimitExceeded | AnnounceFailed | KillAsked | ShutdownAsked | FarewellSaid
    | Withdrawn | Left | Due
)  # fmt: skip


# -- Actions ----------------------------------------------------------------------------------------------------------


class Tell(NamedTuple):
    """Send a status of the task *task_id*."""

    task_id: str
    status: Status


class MakeSandbox(NamedTuple):
    """Make the sandbox; answered by SandboxMade or SandboxFailed."""


class AbandonSandbox(NamedTuple):
    """Stop making it: no answer is wanted."""


class StartRunner(NamedTuple):
    """Start a runner, or again one for the same task; RunnerReady or RunnerEnded follows."""


class StartChecks(NamedTuple):
    """Begin health checks and watching limits."""


class StopChecks(NamedTuple):
    """End them; no verdict counts any more."""


class Announce(NamedTuple):
    """Make the task known in ZooKeeper, and keep it so."""


class Withdraw(NamedTuple):
    """Take it out of ZooKeeper; Withdrawn follows."""


class SayFarewell(NamedTuple):
    """POST to the task's lifecycle port; FarewellSaid follows."""

    path: str


class KillTask(NamedTuple):
    """Tell the runner to end the task within *budget_s*, as KILLED or as LOST."""

    budget_s: float
    as_lost: bool = False


class ForceKill(NamedTuple):
    """End all that is left of the task now, without finalizers and whatever its records say; RunnerEnded follows."""


class Wake(NamedTuple):
    """Send Due(*key*) in so many seconds; a later one of the same key replaces it."""

    key: str
    in_s: float


class Leave(NamedTuple):
    """Part from the agent as soon as it has the last status safe; Left follows, in bounded time."""


class Close(NamedTuple):
    """Write the last pages and end the executor."""


Action: TypeAlias = (
    Tell | MakeSandbox | AbandonSandbox | StartRunner | StartChecks | StopChecks | Announce | Withdraw | SayFarewell
    | KillTask | ForceKill | Wake | Leave | Close
)  # fmt: skip
