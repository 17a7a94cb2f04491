"""What a task's parts are told when they are made: its sandbox's owner, its runner and its pages.

Each follows from the assignment, the flags and the surroundings alone.
"""

from __future__ import annotations

import os
from typing import Final

from thermos.executor.assignment import Assignment
from thermos.executor.environment import Surroundings
from thermos.executor.options import Options
from thermos.executor.pages import PagesOrder
from thermos.executor.runner_child import RunnerOrder
from thermos.executor.sandbox import SandboxPlan
from thermos.host.command import User, find_user

#: Directory of checkpoints within the Mesos sandbox, where every detector finds it.
CHECKPOINTS_NAME: Final = "checkpoints"


def sandbox_owner(assignment: Assignment, options: Options) -> User | None:
    """Whose the sandbox is; None: ours. Raises ThermosError."""
    if options.execute_as_user is not None:
        return find_user(options.execute_as_user)
    if options.nosetuid or os.geteuid() != 0 or assignment.is_docker:
        return None
    return find_user(assignment.role or None)


def runner_order(
    assignment: Assignment, options: Options, plan: SandboxPlan, surroundings: Surroundings
) -> RunnerOrder:
    """What the runner of a task in the sandbox of *plan* is started with."""
    drops = os.geteuid() == 0 and not assignment.is_docker
    logger = {
        "process_logger_destination": options.runner_logger_destination,
        "process_logger_mode": options.runner_logger_mode,
        "rotate_log_size_mb": options.runner_rotate_log_size_mb,
        "rotate_log_backups": options.runner_rotate_log_backups,
    }
    return RunnerOrder(
        root=os.path.join(surroundings.sandbox, CHECKPOINTS_NAME),
        task_id=assignment.task_id,
        sandbox=plan.root,
        container_sandbox=plan.container_root,
        task=assignment.task,
        task_json=assignment.task_json,
        hostname=assignment.hostname,
        user=assignment.role if drops and not options.keeps_user and assignment.role else None,
        ports=assignment.ports,
        mesos_containerizer_path=options.mesos_containerizer_path if assignment.has_image else None,
        preserve_env=options.preserve_env,
        kill_budget_s=assignment.plan(options).kill_budget_s,
        logger={name: value for name, value in logger.items() if value is not None},
    )


def pages_order(runner: RunnerOrder, plan: SandboxPlan, surroundings: Surroundings) -> PagesOrder:
    """What the pages of that runner's task are of, and where they go."""
    address, owner = surroundings.address, plan.user
    host = f"[{address.host}]" if ":" in address.host else address.host
    return PagesOrder(
        directory=surroundings.directory,
        root=runner.root,
        task_id=runner.task_id,
        task_json=runner.task_json,
        agent=f"{'https' if address.tls else 'http'}://{host}:{address.port}" if address.port else None,
        hostname=runner.hostname or "",
        owner=(owner.uid, owner.gid) if owner is not None else None,
    )
