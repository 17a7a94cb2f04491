"""All checks of a task: made of its assignment, asked in their time, told as one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from thermos.config.job_schema import HealthCheckConfig
from thermos.config.probe_schema import Probe as ProbeConfig
from thermos.core.health import HealthPolicy, Verdict
from thermos.core.lifetime_events import HealthTold, ReadinessTold
from thermos.core.probes import Begin, Check, Decision, Finish, Purpose, Together, Words, begin, heard, words
from thermos.executor.assignment import Assignment
from thermos.executor.options import Options
from thermos.executor.sandbox import SandboxPlan
from thermos.health.checker import Checker
from thermos.health.probes import HttpProbe, Probe, TcpProbe
from thermos.health.shell import ShellProbe
from thermos.host.command import User, find_user
from thermos.host.containerizer import wrap
from thermos.host.loop import Loop


class Wanted(NamedTuple):
    """One check that is to be made."""

    check: Check
    policy: HealthPolicy
    probe: Probe


def wanted(assignment: Assignment, options: Options, plan: SandboxPlan, launch_info: bool) -> tuple[Wanted, ...]:
    """The checks of a task, Aurora's own first. *launch_info*: which form the containerizer takes, for an image.

    Raises ThermosError.
    """
    maker = _Maker(assignment, options, plan, launch_info)
    own = maker.own()
    found = [Wanted(Check(), _policy(assignment.health), own)] if own is not None else []
    for config in assignment.probes:
        found.append(Wanted(Check(config.name, Purpose(config.purpose)), _policy(config), maker.probe(config)))
    return tuple(found)


def _policy(config: HealthCheckConfig | ProbeConfig) -> HealthPolicy:
    return HealthPolicy(
        config.initial_interval_secs,
        config.interval_secs,
        config.max_consecutive_failures,
        config.min_consecutive_successes,
    )


class _Maker:
    """Makes of what a configuration says what can be asked."""

    def __init__(self, assignment: Assignment, options: Options, plan: SandboxPlan, launch_info: bool) -> None:
        self._assignment = assignment
        self._options = options
        self._plan = plan
        self._launch_info = launch_info

    def own(self) -> Probe | None:
        """Aurora's check, by the rules of ``health_check_config``; None: there is none."""
        assignment, config = self._assignment, self._assignment.health
        if assignment.health_command is not None:
            return self._shell(assignment.health_command, config.timeout_secs)
        if assignment.health_port is None:
            return None
        http = config.health_checker.http
        if http is None:
            return HttpProbe(assignment.health_port, timeout_s=config.timeout_secs)
        return HttpProbe(
            assignment.health_port,
            http.endpoint,
            http.expected_response,
            http.expected_response_code,
            config.timeout_secs,
        )

    def probe(self, config: ProbeConfig) -> Probe:
        """A named one, which has been found to have one kind and a port that the task has."""
        if config.shell is not None:
            return self._shell(config.shell.command, config.timeout_secs)
        assert config.port is not None
        port = self._assignment.ports[config.port]
        if config.grpc is not None:
            from thermos.health.grpc_probe import GrpcProbe  # brings HTTP/2, which few tasks need

            return GrpcProbe(port, config.grpc.service, config.timeout_secs)
        if config.http is not None:
            http = config.http
            return HttpProbe(
                port,
                http.endpoint,
                http.expected_response,
                http.expected_response_code,
                config.timeout_secs,
                tls=http.tls,
            )
        return TcpProbe(port, config.timeout_secs)

    def _shell(self, command: str, timeout_s: float) -> ShellProbe:
        assignment, options, plan = self._assignment, self._options, self._plan
        as_us = options.nosetuid_health_checks or options.keeps_user or assignment.is_docker or os.geteuid() != 0
        user: User | None = None if as_us else find_user(assignment.role or None)
        environment = dict(os.environ)
        if user is not None:
            environment.update(HOME=plan.container_root, USER=user.name, LOGNAME=user.name)
        if not assignment.has_image:
            return ShellProbe(command, plan.root, timeout_s, user, environment)
        # The containerizer enters the image, which takes our rights, and drops them there.
        inside = user.name if user is not None else find_user(None).name
        line = wrap(options.mesos_containerizer_path, command, inside, plan.container_root, self._launch_info)
        return ShellProbe(command, plan.root, timeout_s, None, environment, tuple(line))


class Checks:
    """All checks of one task. *tell* hears what its life depends on, *show* what people read about it."""

    def __init__(
        self,
        loop: Loop,
        checks: Sequence[Wanted],
        snooze_file: str,
        tell: Callable[[HealthTold | ReadinessTold], object],
        show: Callable[[Words], object],
    ) -> None:
        self._tell = tell
        self._show = show
        self._shown: Words | None = None
        self._is_on = False
        self._state: Together
        self._state, self._first = begin(tuple(each.check for each in checks))
        self._checkers = [
            Checker(
                loop,
                each.policy,
                each.probe,
                self._listener(number),
                # The file says "do not end it": it is for those who can.
                snooze_file if each.check.purpose is Purpose.LIVENESS else None,
                is_readiness=each.check.purpose is Purpose.READINESS,
            )
            for number, each in enumerate(checks)
        ]

    @property
    def counts(self) -> dict[str, int | float | None]:
        """Metrics: Aurora's of its own check by their own names, those of others as ``probe.NAME.METRIC``."""
        found: dict[str, int | float | None] = {}
        for check, checker, verdict in zip(self._state.checks, self._checkers, self._state.verdicts, strict=True):
            prefix = f"probe.{check.name}." if check.name is not None else ""
            found.update({f"{prefix}{name}": value for name, value in checker.counts._asdict().items()})
            if check.name is not None:
                found[f"{prefix}healthy"] = int(verdict.is_healthy) if verdict is not None else None
        if self._state.of(Purpose.READINESS):
            found["ready"] = int(self._state.is_ready)
        return found

    def start(self) -> None:
        """Ask those that come first, the others when it is their turn."""
        self._is_on = True
        self._follow((self._state, self._first))

    def stop(self) -> None:
        """Ask no more; nothing is told any more."""
        self._is_on = False
        for checker in self._checkers:
            checker.stop()

    def _listener(self, number: int) -> Callable[[Verdict], None]:
        return lambda verdict: self._follow(heard(self._state, number, verdict))

    def _follow(self, decision: Decision) -> None:
        self._state, actions = decision
        now = words(self._state)
        if now is not None and now != self._shown:
            self._shown = now
            self._show(now)
        for action in actions:
            if not self._is_on:  # what was told before has ended us
                return
            if isinstance(action, Begin):
                self._checkers[action.number].start()
            elif isinstance(action, Finish):
                self._checkers[action.number].stop()
            else:
                self._tell(action)
