"""What of an assignment becomes a check: how the task is asked, as whom, and by which rules."""

from __future__ import annotations

import os

from thermos.core.health import HealthPolicy
from thermos.executor.assignment import Assignment
from thermos.executor.options import Options
from thermos.executor.sandbox import SandboxPlan
from thermos.health.probes import HttpProbe, Probe
from thermos.health.shell import ShellProbe
from thermos.host.command import User, find_user
from thermos.host.containerizer import wrap


def policy(assignment: Assignment) -> HealthPolicy:
    """The rules by which its checks count."""
    config = assignment.health
    return HealthPolicy(
        config.initial_interval_secs,
        config.interval_secs,
        config.max_consecutive_failures,
        config.min_consecutive_successes,
    )


def probe(assignment: Assignment, options: Options, plan: SandboxPlan, launch_info: bool) -> Probe | None:
    """How the task is asked; None: it is not. *launch_info*: which form the containerizer takes, for an image.

    Raises ThermosError.
    """
    config = assignment.health
    if assignment.health_command is not None:
        return _shell(assignment, assignment.health_command, options, plan, launch_info)
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


def _shell(assignment: Assignment, command: str, options: Options, plan: SandboxPlan, launch_info: bool) -> ShellProbe:
    timeout_s = assignment.health.timeout_secs
    as_us = options.nosetuid_health_checks or options.nosetuid or assignment.is_docker or os.geteuid() != 0
    user: User | None = None if as_us else find_user(assignment.role or None)
    environment = dict(os.environ)
    if user is not None:
        environment.update(HOME=plan.container_root, USER=user.name, LOGNAME=user.name)
    if not assignment.has_image:
        return ShellProbe(command, plan.root, timeout_s, user, environment)
    # The containerizer enters the image, which takes our rights, and drops them there.
    inside = user.name if user is not None else find_user(None).name
    words = wrap(options.mesos_containerizer_path, command, inside, plan.container_root, launch_info)
    return ShellProbe(command, plan.root, timeout_s, None, environment, tuple(words))
