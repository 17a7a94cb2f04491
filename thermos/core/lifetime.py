"""One task's life under Mesos, from its launch to the last status: what an executor does next. Pure.

``decide`` answers an event with the state after it and with actions; time comes in as :class:`Due`, the end of a
:class:`Wake`. The order of an end is fixed: checks stop, the task leaves ZooKeeper, it is asked over HTTP, politely
and then firmly, then its runner is told to kill it, and at last it is killed without its finalizers. Each step has
its bound, all of them together have ``stop_timeout_s``.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple, TypeAlias, assert_never

from thermos.core.lifetime_events import (
    FAILED,
    KILLED,
    LOST,
    RUNNING,
    STARTING,
    AbandonSandbox,
    Action,
    Announce,
    AnnounceFailed,
    Close,
    Due,
    Event,
    FarewellSaid,
    ForceKill,
    HealthTold,
    KillAsked,
    KillTask,
    Launched,
    LaunchRefused,
    Leave,
    Left,
    LimitExceeded,
    MakeSandbox,
    Opened,
    Plan,
    ProcessesRun,
    ReadinessTold,
    RunnerEnded,
    RunnerReady,
    SandboxFailed,
    SandboxMade,
    SayFarewell,
    ShutdownAsked,
    StartChecks,
    StartRunner,
    Status,
    StopChecks,
    Tell,
    Wake,
    Withdraw,
    Withdrawn,
)  # fmt: skip

#: An executor that is given no task ends (``executor_timeout.py``: DEFAULT_TIMEOUT).
IDLE_S: Final = 10.0
#: Bounds of ``aurora_executor.py``: SANDBOX_INITIALIZATION_TIMEOUT and START_TIMEOUT.
SANDBOX_S: Final = 600.0
START_S: Final = 120.0
#: Leaving ZooKeeper; without an answer the session is given up, which ends the membership too.
WITHDRAW_S: Final = 2.0
#: A runner that died alone is started again so often within a minute.
MAX_RESTARTS: Final = 3
RESTARTS_WITHIN_S: Final = 60.0
#: Where Mesos gives a task less time than it would take, each request that asks it to stop gets this share of it.
FAREWELL_SHARE: Final = 0.25
#: For killing without finalizers, after all else took too long.
FORCE_S: Final = 10.0


# -- State ------------------------------------------------------------------------------------------------------------


class Phase(Enum):
    """How far the executor has come."""

    NEW = "new"
    IDLE = "waits for a task"
    PREPARING = "makes the sandbox"
    STARTING = "starts the runner"
    UP = "the task is under way"
    WITHDRAWING = "takes it out of ZooKeeper"
    ASKING = "asks it to stop"
    KILLING = "has it killed"
    FORCING = "kills without finalizers"
    REPORTING = "waits for the last status to be acknowledged"
    CLOSED = "over"


class Life(NamedTuple):
    """Where the executor is."""

    phase: Phase = Phase.NEW
    plan: Plan | None = None
    #: What the task reached when nobody had asked it to end.
    is_running: bool = False
    has_processes: bool = False
    has_checks: bool = False
    is_healthy: bool | None = None
    health: str | None = None
    is_announced: bool = False
    #: It is being taken out of ZooKeeper though it goes on: it is not ready.
    is_leaving: bool = False
    #: What readiness checks say; None: they have said nothing yet, or there are none.
    is_ready: bool | None = None
    #: Why it is being ended: the last status, unless the runner had its own before.
    cause: Status | None = None
    budget_s: float | None = None
    #: What the runner had come to when the end began; None: it lived.
    runner: Status | None = None
    farewells_said: int = 0
    restarts: tuple[float, ...] = ()


Decision: TypeAlias = tuple[Life, tuple[Action, ...]]

#: Phases in which the runner may live.
_WITH_RUNNER: Final = frozenset(
    {Phase.STARTING, Phase.UP, Phase.WITHDRAWING, Phase.ASKING, Phase.KILLING, Phase.FORCING}
)
#: Phases of a task that nobody has asked to end; its runner may be about to be replaced.
_WITH_TASK: Final = frozenset({Phase.STARTING, Phase.UP})
_ENDING: Final = frozenset({Phase.WITHDRAWING, Phase.ASKING, Phase.KILLING, Phase.FORCING})
_OVER: Final = frozenset({Phase.REPORTING, Phase.CLOSED})


def decide(life: Life, event: Event) -> Decision:
    """What follows from *event*; an event that comes too late or twice changes nothing."""
    match event:
        case Opened():
            return _opened(life)
        case Launched(plan):
            return _launched(life, plan)
        case LaunchRefused(task_id, message):
            return _refused(life, task_id, message)
        case SandboxMade():
            if life.phase is not Phase.PREPARING:
                return life, ()
            return life._replace(phase=Phase.STARTING), (StartRunner(), Wake("start", START_S))
        case SandboxFailed(message):
            if life.phase is not Phase.PREPARING:
                return life, ()
            return _report(life, Status(FAILED, message, "REASON_CONTAINER_LAUNCH_FAILED"))
        case RunnerReady():
            return _ready(life)
        case ProcessesRun():
            return _reconsider(life._replace(has_processes=True), ())
        case RunnerEnded():
            return _runner_ended(life, event)
        case HealthTold():
            return _health(life, event)
        case ReadinessTold(is_ready):
            return _readiness(life, is_ready)
        case LimitExceeded(status):
            return _end(life, status) if life.phase in _WITH_TASK else (life, ())
        case AnnounceFailed(message):
            return _end(life, Status(FAILED, message)) if life.phase in _WITH_TASK else (life, ())
        case KillAsked(task_id, grace_s):
            if life.plan is None or life.plan.task_id != task_id:
                return life, ()
            return _kill(life, Status(KILLED, "Instructed to kill task."), grace_s)
        case ShutdownAsked(message, grace_s):
            if life.plan is None:
                return (life, ()) if life.phase is Phase.CLOSED else (life._replace(phase=Phase.CLOSED), (Close(),))
            return _kill(life, Status(KILLED, message), grace_s)
        case FarewellSaid(path, was_heard):
            return _farewell_said(life, path, was_heard)
        case Withdrawn():
            life = life._replace(is_leaving=False)
            return _ask(life) if life.phase is Phase.WITHDRAWING else (life, ())
        case Left():
            return _close(life) if life.phase is Phase.REPORTING else (life, ())
        case Due(key):
            return _due(life, key)
        case _:
            assert_never(event)


# -- The way up -------------------------------------------------------------------------------------------------------


def _opened(life: Life) -> Decision:
    if life.phase is not Phase.NEW:
        return life, ()
    return life._replace(phase=Phase.IDLE), (Wake("idle", IDLE_S),)


def _launched(life: Life, plan: Plan) -> Decision:
    if life.plan is not None:
        if life.plan.task_id == plan.task_id:
            return life, ()  # an agent that has restarted may say so again
        refusal = f"This executor already runs {life.plan.task_id}; it runs one task only."
        return life, (Tell(plan.task_id, Status(LOST, refusal, "REASON_EXECUTOR_UNREGISTERED")),)
    if life.phase not in (Phase.NEW, Phase.IDLE):
        return life, (Tell(plan.task_id, Status(LOST, "This executor is about to end.")),)
    life = life._replace(phase=Phase.PREPARING, plan=plan)
    starting = Tell(plan.task_id, Status(STARTING, "Initializing sandbox."))
    return life, (starting, MakeSandbox(), Wake("sandbox", SANDBOX_S))


def _refused(life: Life, task_id: str, message: str) -> Decision:
    if life.plan is not None:
        if life.plan.task_id == task_id:
            return life, ()
        return life, (Tell(task_id, Status(LOST, f"This executor already runs {life.plan.task_id}.")),)
    if life.phase not in (Phase.NEW, Phase.IDLE):
        return life, ()
    return _report(life._replace(plan=Plan(task_id)), Status(FAILED, message, "REASON_TASK_INVALID"))


def _ready(life: Life) -> Decision:
    """The runner owns the task: for the first time, or again after it died alone."""
    if life.phase is not Phase.STARTING or life.plan is None:
        return life, ()
    actions = () if life.has_checks else (StartChecks(),)
    return _reconsider(life._replace(phase=Phase.UP, has_checks=True), actions)


def _reconsider(life: Life, actions: tuple[Action, ...]) -> Decision:
    """Tell RUNNING once it is true: the processes run, and the checks, if there are any, say healthy."""
    plan = life.plan
    if life.phase is not Phase.UP or plan is None:
        return life, actions
    if not life.is_running and life.has_processes and (life.is_healthy is True or not plan.is_checked):
        message = life.health if plan.is_checked else "No health-check defined, task is assumed healthy."
        healthy = True if plan.is_checked else None
        actions += (Tell(plan.task_id, Status(RUNNING, message, None, healthy)),)
        life = life._replace(is_running=True)
    return _be_found(life, actions)


def _be_found(life: Life, actions: tuple[Action, ...]) -> Decision:
    """Have it in ZooKeeper as long as it should be found, and only then."""
    plan = life.plan
    if life.phase not in (Phase.STARTING, Phase.UP) or plan is None or not plan.is_announced:
        return life, actions
    is_ready = life.is_ready if life.is_ready is not None else not plan.has_readiness
    is_wanted = is_ready and (life.is_running or plan.announces_early)
    if is_wanted and not life.is_announced and life.phase is Phase.UP:
        return life._replace(is_announced=True, is_leaving=False), (*actions, Announce())
    if not is_wanted and life.is_announced:
        return life._replace(is_announced=False, is_leaving=True), (*actions, Withdraw())
    return life, actions


def _health(life: Life, event: HealthTold) -> Decision:
    if life.phase not in (Phase.STARTING, Phase.UP) or life.plan is None:
        return life, ()
    life = life._replace(is_healthy=event.is_healthy, health=event.message)
    if event.is_fatal:
        return _end(life, Status(FAILED, f"Failed health check! {event.message}", None, False))
    return _reconsider(life, ())


def _readiness(life: Life, is_ready: bool) -> Decision:
    if life.phase not in (Phase.STARTING, Phase.UP) or life.plan is None:
        return life, ()
    return _be_found(life._replace(is_ready=is_ready), ())


# -- The runner -------------------------------------------------------------------------------------------------------


def _runner_ended(life: Life, event: RunnerEnded) -> Decision:
    if life.phase not in _WITH_RUNNER or life.plan is None:
        return life, ()
    if event.status is not None and event.is_over:
        if life.phase in _ENDING:
            return _report(life, life.cause if life.cause is not None else event.status)
        return _end(life._replace(runner=event.status), event.status)
    if event.status is not None:  # no runner can go on with it, and what it started may live
        if life.phase not in _ENDING:
            return _end(life, event.status)
        return _killer_died(life, is_hopeless=True)
    recent = tuple(at for at in life.restarts if event.now_s - at < RESTARTS_WITHIN_S)
    is_too_often = len(recent) >= MAX_RESTARTS
    life = life._replace(restarts=(*recent, event.now_s))
    if life.phase in _ENDING:
        return _killer_died(life, is_hopeless=is_too_often)
    if is_too_often:
        return _end(life, event.otherwise)
    return life._replace(phase=Phase.STARTING), (StartRunner(), Wake("start", START_S))


def _killer_died(life: Life, is_hopeless: bool) -> Decision:
    """The runner is gone and its task was being ended: what lives of the task is still to be killed.

    *is_hopeless*: another runner would end as this one did.
    """
    if life.phase is not Phase.KILLING:
        return life, ()  # it will be, when its turn comes; or the last means is at work already
    if is_hopeless:
        return life._replace(phase=Phase.FORCING), (ForceKill(), Wake("force", FORCE_S))
    return life, (_kill_task(life),)


# -- The way down -----------------------------------------------------------------------------------------------------


def _kill(life: Life, status: Status, grace_s: float | None) -> Decision:
    """End the task because somebody asked for it; asked again with less time, take less."""
    if life.phase in _ENDING:
        return _hurry(life, grace_s)
    return _end(life, status, grace_s)


def _hurry(life: Life, grace_s: float | None) -> Decision:
    assert life.plan is not None
    budget_s = life.budget_s if life.budget_s is not None else life.plan.kill_budget_s
    if grace_s is None or grace_s >= budget_s:
        return life, ()
    life = life._replace(budget_s=grace_s)
    if life.phase is Phase.KILLING:
        return life, (_kill_task(life), Wake("stop", grace_s + FORCE_S))
    stop = Wake("stop", grace_s + FORCE_S)
    if life.phase is Phase.ASKING:
        return life, (stop, Wake("farewell", grace_s * FAREWELL_SHARE))
    return life, (stop,)


def _end(life: Life, cause: Status, grace_s: float | None = None) -> Decision:
    """Begin the end, from wherever the task is."""
    if life.phase in _OVER or life.phase in _ENDING or life.plan is None:
        return life, ()
    if life.phase is Phase.PREPARING:
        during = f"{cause.message or 'Ended'} This was during initialization."
        state, actions = _report(life, cause._replace(message=during, reason="REASON_TASK_KILLED_DURING_LAUNCH"))
        return state, (AbandonSandbox(), *actions)
    stop_s = life.plan.stop_timeout_s if grace_s is None else min(life.plan.stop_timeout_s, grace_s + FORCE_S)
    life = life._replace(cause=cause, budget_s=grace_s)
    actions = (StopChecks(), Wake("stop", stop_s))
    if life.is_announced or life.is_leaving:
        withdraw = (Withdraw(),) if life.is_announced else ()
        life = life._replace(phase=Phase.WITHDRAWING, is_announced=False)
        return life, (*actions, *withdraw, Wake("withdraw", WITHDRAW_S))
    life, more = _ask(life)
    return life, (*actions, *more)


def _ask(life: Life) -> Decision:
    """The next request that asks the task to stop, or after the last of them the kill."""
    assert life.plan is not None
    if life.runner is not None:
        return _report(life, life.cause if life.cause is not None else life.runner)
    if life.farewells_said < len(life.plan.farewells):
        path, wait_s = life.plan.farewells[life.farewells_said]
        if life.budget_s is not None:
            wait_s = min(wait_s, life.budget_s * FAREWELL_SHARE)
        return life._replace(phase=Phase.ASKING), (SayFarewell(path), Wake("farewell", wait_s))
    return life._replace(phase=Phase.KILLING), (_kill_task(life),)


def _kill_task(life: Life) -> KillTask:
    assert life.plan is not None
    budget_s = life.plan.kill_budget_s
    if life.budget_s is not None:
        budget_s = min(budget_s, life.budget_s * (1 - FAREWELL_SHARE * life.farewells_said))
    return KillTask(budget_s, life.cause is not None and life.cause.state == LOST)


def _farewell_said(life: Life, path: str, was_heard: bool) -> Decision:
    """A request that was not heard is not waited for; one that was is given its time."""
    if life.phase is not Phase.ASKING or life.plan is None or was_heard:
        return life, ()
    if life.plan.farewells[life.farewells_said][0] != path:
        return life, ()
    return _ask(life._replace(farewells_said=life.farewells_said + 1))


def _due(life: Life, key: str) -> Decision:
    match key:
        case "idle" if life.phase is Phase.IDLE:
            return life._replace(phase=Phase.CLOSED), (Close(),)
        case "sandbox" if life.phase is Phase.PREPARING:
            late = f"Timed out waiting for the sandbox to be made ({SANDBOX_S:.0f} s)."
            state, actions = _report(life, Status(FAILED, late, "REASON_CONTAINER_LAUNCH_FAILED"))
            return state, (AbandonSandbox(), *actions)
        case "start" if life.phase is Phase.STARTING:
            return _end(life, Status(LOST, f"Timed out waiting for the task to start ({START_S:.0f} s)."))
        case "withdraw" if life.phase is Phase.WITHDRAWING:
            return _ask(life)
        case "farewell" if life.phase is Phase.ASKING:
            return _ask(life._replace(farewells_said=life.farewells_said + 1))
        case "stop" if life.phase in _ENDING and life.phase is not Phase.FORCING:
            return life._replace(phase=Phase.FORCING), (ForceKill(), Wake("force", FORCE_S))
        case "force" if life.phase is Phase.FORCING:
            assert life.cause is not None
            left = f"{life.cause.message or ''} Not everything of it could be ended.".strip()
            return _report(life, life.cause._replace(message=left))
    return life, ()


def _report(life: Life, status: Status) -> Decision:
    """The last status, exactly once; the state is the runner's own where it had one before the end began."""
    assert life.plan is not None
    if life.runner is not None:
        status = status._replace(state=life.runner.state)
    told = Tell(life.plan.task_id, status)
    return life._replace(phase=Phase.REPORTING), (told, Leave())


def _close(life: Life) -> Decision:
    return life._replace(phase=Phase.CLOSED), (Close(),)
