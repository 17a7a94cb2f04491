"""The executor at work: events from its parts go through ``core.lifetime.decide``, and its actions to the parts."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, assert_never

from thermos.core import session_events as session
from thermos.core.lifetime import IDLE_S, Life, Phase, decide
from thermos.core.lifetime_events import (
    AbandonSandbox,
    Action,
    Announce,
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
    MakeSandbox,
    Opened,
    SandboxFailed,
    SandboxMade,
    SayFarewell,
    ShutdownAsked,
    StartChecks,
    StartRunner,
    StopChecks,
    Tell,
    Wake,
    Withdraw,
)
from thermos.core.probes import Words
from thermos.errors import ExitCode, ThermosError
from thermos.executor import assignment as assignments
from thermos.executor import checks
from thermos.executor import sandbox as sandboxes
from thermos.executor.agent import Agent
from thermos.executor.announcer import Announcer
from thermos.executor.assignment import Assignment
from thermos.executor.emergency import Emergency
from thermos.executor.environment import Surroundings
from thermos.executor.errand import Errand
from thermos.executor.limits import Limits
from thermos.executor.log import Log
from thermos.executor.options import Options
from thermos.executor.orders import pages_order, runner_order, sandbox_owner
from thermos.executor.pages import Pages
from thermos.executor.runner_child import RunnerChild
from thermos.formats.health_file import Health, Verdict
from thermos.health.checker import SNOOZE_NAME
from thermos.host.http_client import Request, Response
from thermos.host.linux import read_signals, signal_fd
from thermos.host.loop import Loop
from thermos.mesos import (
    HEALTH_CHECKED,
    HEALTH_LABEL,
    HEALTH_UNCHECKED,
    Label,
    MesosTaskState,
    Reason,
    TaskInfo,
)

if TYPE_CHECKING:
    from thermos.announce.auth import Auth

#: Of the time before the agent kills us, what is left for telling how it ended.
LAST_WORDS_S: Final = 1.0
_VERDICTS: Final = {True: Verdict.HEALTHY, False: Verdict.UNHEALTHY, None: Verdict.UNDECIDED}
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Program:
    """One executor, from its start to its end."""

    def __init__(
        self,
        loop: Loop,
        surroundings: Surroundings,
        options: Options,
        log: Log,
        auth: Auth | ThermosError | None = None,
    ) -> None:
        self._loop = loop
        self._surroundings = surroundings
        self._options = options
        self._log = log
        self._auth = None if isinstance(auth, ThermosError) else auth
        self._auth_fault = auth if isinstance(auth, ThermosError) else None
        self._agent = Agent(loop, surroundings, self._from_agent)
        self._life = Life()
        self._events: deque[Event] = deque()
        self._is_deciding = False
        self._assignment: Assignment | None = None
        self._hostname = "localhost"
        self._sandbox: Errand | None = None
        self._runner: RunnerChild | None = None
        self._checks: checks.Checks | None = None
        self._limits: Limits | None = None
        self._launch_info = True
        self._announcer: Announcer | None = None
        self._pages: Pages | None = None
        self._farewell: Request | None = None
        self._was_subscribed = False
        self._has_left = False
        self._is_connected = False
        self._signals = -1
        self._emergency: Emergency | None = None
        #: What the program exits with.
        self.exit_code = ExitCode.OK

    def run(self) -> None:
        """Live one task's life."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._signals = signal_fd(_SIGNALS)
        try:
            self._loop.watch(self._signals, self._signalled)
            self._handle(Opened())
            self._agent.start()
            self._loop.run()
        except Exception as error:  # noqa: BLE001  the last boundary: nothing of the task may outlive us
            self._end_after(error)
        finally:
            with ExitStack() as last:  # each of them, whatever the others do
                last.callback(os.close, self._signals)
                last.callback(self._loop.unwatch, self._signals)
                for part in (self._runner, self._pages, self._announcer, self._agent):
                    if part is not None:
                        last.callback(part.close)

    def _end_after(self, fault: Exception) -> None:
        """End the task and tell Mesos, since we do not know any more what we do."""
        self._emergency = Emergency(self._loop, self._log, fault)
        stop: list[Callable[[], object]] = [part.stop for part in (self._checks, self._limits) if part is not None]
        if self._farewell is not None:
            stop.append(self._farewell.cancel)
        if self._sandbox is not None:
            stop.append(self._sandbox.give_up)
        if self._announcer is not None:
            stop.append(self._announcer.withdraw)
        self._emergency.end(self._life, self._agent, self._runner, self._pages, stop, self._labels())
        self.exit_code = ExitCode.INTERNAL

    # -- Events ----------------------------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        """Decide about *event*, then act; what happens meanwhile waits its turn."""
        if self._emergency is not None:
            self._emergency.hear(event)
            return
        self._events.append(event)
        if self._is_deciding:
            return
        self._is_deciding = True
        try:
            while self._events:
                before = self._life.phase
                next_event = self._events.popleft()
                self._life, actions = decide(self._life, next_event)
                if next_event == Due("idle") and actions:
                    self._log.error(f"no task came within {IDLE_S:.0f} s")
                    self.exit_code = ExitCode.TIMED_OUT
                if self._life.phase is not before:
                    self._log.info(f"{self._life.phase.value}")
                for action in actions:
                    self._perform(action)
        finally:
            self._is_deciding = False

    def _from_agent(self, notice: session.Notice | session.Close) -> None:
        match notice:
            case session.Registered(subscribed) | session.Reregistered(subscribed):
                self._is_connected = True
                self._was_subscribed = True
                self._hostname = subscribed.agent.hostname or self._hostname
                self._log.info(f"subscribed with agent {subscribed.agent.agent_id} at {self._hostname}")
            case session.Disconnected(reason):
                self._is_connected = False
                self._log.warning(f"the agent is gone: {reason}")
            case session.LaunchTask(task):
                if self._emergency is None:
                    self._launch(task)
            case session.KillTask(task_id, grace_s) | session.HurryKill(task_id, grace_s):
                self._handle(KillAsked(task_id, grace_s))
            case session.ShutDown(reason):
                self._log.warning(reason)
                if not self._was_subscribed:
                    self.exit_code = ExitCode.TIMED_OUT
                self._handle(ShutdownAsked(reason, self._shutdown_grace_s()))
            case session.Deliver():
                self._log.info("a message of the framework, which nobody here understands")
            case session.UpdateAcknowledged():
                pass
            case session.Failed(message):
                self._log.error(message)
            case session.Told(text):
                self._log.info(text)
            case session.Close(reason, undelivered):
                for status in undelivered:
                    self._log.error(f"{status.state} of {status.task_id} was not acknowledged: {reason}")
                    self.exit_code = ExitCode.TIMED_OUT
                self._has_left = True
                self._handle(ShutdownAsked(reason))
                self._handle(Left())
            case _:
                assert_never(notice)

    def _shutdown_grace_s(self) -> float | None:
        """How long we have before the agent kills us; None: it is gone, or will not."""
        if not self._is_connected or not self._surroundings.settings.shutdown_grace_s:
            return None
        return max(self._surroundings.settings.shutdown_grace_s - LAST_WORDS_S, LAST_WORDS_S)

    def _launch(self, task: TaskInfo) -> None:
        self._log.info(f"task {task.task_id}")
        user = _own_name()
        try:
            found = assignments.read(task.data or b"", task.task_id, self._options, self._hostname, user)
            if self._auth_fault is not None and found.announcement is not None:
                raise self._auth_fault
        except ThermosError as error:
            self._log.error(str(error))
            self._handle(LaunchRefused(task.task_id, str(error)))
            return
        if self._assignment is None:
            self._assignment = found
            if found.announcement is not None and self._options.announcer_ensemble is not None:
                self._announcer = Announcer(
                    self._loop,
                    self._options.announcer_ensemble,
                    found.announcement,
                    self._auth,
                    self._handle,
                    self._log,
                )
        self._handle(Launched(found.plan(self._options)))

    def _signalled(self) -> None:
        for number, pid, _ in read_signals(self._signals):
            self._handle(ShutdownAsked(f"The executor was sent {signal.Signals(number).name} by process {pid}."))

    # -- Actions ---------------------------------------------------------------------------------------------------

    def _labels(self) -> tuple[Label, ...]:
        """What this executor's RUNNING means for the task, for schedulers; nothing before that is known."""
        if self._assignment is None:
            return ()
        return (Label(HEALTH_LABEL, HEALTH_CHECKED if self._assignment.is_checked else HEALTH_UNCHECKED),)

    def _perform(self, action: Action) -> None:
        match action:
            case Tell(task_id, status):
                self._log.info(f"{status.state}: {status.message}")
                self._agent.update(
                    task_id,
                    MesosTaskState(status.state),
                    message=status.message,
                    reason=Reason(status.reason) if status.reason is not None else None,
                    healthy=status.healthy,
                    labels=self._labels(),
                )
            case MakeSandbox():
                self._make_sandbox()
            case AbandonSandbox():
                if self._sandbox is not None:
                    self._sandbox.give_up()
            case StartRunner():
                self._start_runner()
            case StartChecks():
                self._start_checks()
            case StopChecks():
                for part in (self._checks, self._limits):
                    if part is not None:
                        part.stop()
            case Announce():
                assert self._announcer is not None
                self._announcer.announce()
            case Withdraw():
                assert self._announcer is not None
                self._announcer.withdraw()
            case SayFarewell(path):
                self._say_farewell(path)
            case KillTask(budget_s, as_lost):
                if self._runner is not None:
                    self._runner.kill(budget_s, as_lost)
            case ForceKill():
                if self._runner is not None:
                    self._runner.force()
            case Wake(key, in_s):
                self._loop.call_later(("life", key), in_s, _bound(self._handle, Due(key)))
            case Leave():
                if self._has_left:
                    self._handle(Left())
                else:
                    self._agent.stop()
            case Close():
                if self._pages is not None:
                    self._pages.finish(self._loop.stop)
                else:
                    self._loop.stop()
            case _:
                assert_never(action)

    def _make_sandbox(self) -> None:
        assert self._assignment is not None
        surroundings = self._surroundings
        try:
            owner = sandbox_owner(self._assignment, self._options)
        except ThermosError as error:
            self._handle(SandboxFailed(f"The sandbox cannot be made: {error}."))
            return
        plan = sandboxes.plan_of(self._assignment, surroundings.directory, surroundings.sandbox, owner, self._options)
        self._plan = plan

        def done(answer: str | None) -> None:
            failure, self._launch_info = sandboxes.outcome(answer)
            if failure is None:
                self._handle(SandboxMade())
            else:
                self._handle(SandboxFailed(f"The sandbox cannot be made: {failure}."))

        def work() -> str:
            say = Log(surroundings.sandbox).info  # the child's own: it has closed what was ours
            return sandboxes.perform(plan, sandboxes.Host(say))

        self._sandbox = Errand(self._loop, work, done)

    def _start_runner(self) -> None:
        assert self._assignment is not None
        if self._runner is None:
            order = runner_order(self._assignment, self._options, self._plan, self._surroundings)
            pages = pages_order(order, self._plan, self._surroundings)
            self._pages = Pages(self._loop, pages, self._log.warning)
            self._runner = RunnerChild(self._loop, order, self._handle, self._pages.changed)
        self._runner.start()

    def _start_checks(self) -> None:
        assignment = self._assignment
        assert assignment is not None
        self._limits = Limits(
            self._loop,
            assignment.task.resources,
            self._plan.root,
            self._surroundings.sandbox,
            pids=lambda: self._runner.pids if self._runner is not None else (0, ()),
            counts=self._counts,
            tell=self._handle,
            complain=self._log.warning,
        )
        self._limits.start()
        try:
            wanted = checks.wanted(assignment, self._options, self._plan, self._launch_info)
        except ThermosError as error:  # the role has no user here, and a check should run as it
            self._handle(HealthTold(False, str(error), is_fatal=True))
            return

        def show(words: Words) -> None:
            self._log.info(words.text)
            if self._pages is not None:
                self._pages.changed(Health(_VERDICTS[words.is_healthy], words.text, time.time()))

        if not wanted and self._pages is not None:
            self._pages.changed(Health(Verdict.UNCHECKED, "", None))

        snooze = os.path.join(self._plan.root, SNOOZE_NAME)
        self._checks = checks.Checks(self._loop, wanted, snooze, self._handle, show)
        self._checks.start()

    def _counts(self) -> dict[str, int | float | None]:
        """What health checks and announcing can count."""
        found = self._checks.counts if self._checks is not None else {}
        if self._announcer is not None:
            found["disconnected_time"] = round(self._announcer.disconnected_s, 1)
        return found

    def _say_farewell(self, path: str) -> None:
        assert self._assignment is not None
        port = self._assignment.farewell_port
        assert port is not None

        def done(response: Response) -> None:
            self._log.info(f"POST {path} on port {port}: {response.error or response.status}")
            self._handle(FarewellSaid(path, response.error is None))  # an error of HTTP is an answer: it is there

        if self._farewell is not None:
            self._farewell.cancel()
        timeout_s = self._surroundings.farewell_timeout_s
        self._farewell = Request(self._loop, port, path, done, timeout_s=timeout_s, method="POST")

    @property
    def phase(self) -> Phase:
        """How far it has come."""
        return self._life.phase


def _bound(handle: Callable[[Event], None], event: Event) -> Callable[[], None]:
    return lambda: handle(event)


def _own_name() -> str:
    from thermos.host.command import current_user

    return current_user().name
