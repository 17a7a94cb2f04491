"""``aurora job add``: more instances like one that runs."""

from __future__ import annotations

import argparse

from scheduler.client import finding, options
from scheduler.client.exit_codes import ExitCode
from scheduler.client.extending import hooked
from scheduler.client.job_file import check_optional
from scheduler.client.keys import JobRef, ranges
from scheduler.client.printing import print_json
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.verbs.job_create import wait_until
from scheduler.client.world import say
from thermos.formats.aurora_api import InstanceKey, Response, ScheduledTask


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_one_instance(parser)
    parser.add_argument("count", type=options.positive, metavar="COUNT", help="how many instances to add")
    options.add_wait_until(parser)
    options.add_optional_config(parser)
    options.add_browser(parser)
    options.add_json(parser)
    options.add_hooks(parser)


def execute(args: argparse.Namespace, session: Session) -> int:
    """Add the instances, and wait as far as is asked for."""
    job: JobRef = args.instance.job
    [model] = args.instance.instances
    check_optional(job, args, session)
    scheduler = session.scheduler(job.cluster)
    tasks = finding.active_tasks(scheduler, job)
    if not tasks:
        raise finding.no_such_job(scheduler, job, f"{job} has no active instance to copy")
    active = finding.numbers(tasks)
    finding.check_active(job, [model], active)
    _warn(job, tasks)
    first = max(active) + 1
    added = tuple(range(first, first + args.count))
    session.so_far = f"instances {ranges(added)} of {job} may have been added or not; `aurora job status {job}` tells"

    def add() -> Response:
        return scheduler.ask("addInstances", key=InstanceKey(job.key, model), count=args.count)

    hooked(session, job, "add_instances", add, job, model, args.count, config=session.config)
    session.so_far = f"instances {ranges(added)} of {job} are added; they were not waited for"
    wait_until(args.wait_until, session, scheduler, job, added)
    if args.open_browser:
        session.world.open_page(scheduler.page(*job[1:]))
    if args.json:
        print_json({"job": str(job), "added": list(added)})
    else:
        say(f"Added instances {ranges(added)} to {job}")
    return ExitCode.OK


def _warn(job: JobRef, tasks: tuple[ScheduledTask, ...]) -> None:
    """A number or share of instances that an SLA policy guards was chosen for the old number of them."""
    for task in tasks:
        policy = task.assigned_task.task.sla_policy if task.assigned_task is not None else None
        if policy is not None and (policy.count_sla_policy or policy.percentage_sla_policy):
            say(f"warning: the sla_policy of {job} counts instances; look whether it still says what it should")
            return


VERBS = {
    "job add": Verb(
        "job add",
        "add instances to a job",
        "Add instances to a job, each with the configuration of the named instance, which must be active. Their "
        "numbers follow the highest active one.",
        "aurora job add west/www-data/prod/hello/0 2 --wait-until RUNNING",
        (
            ExitCode.OK,
            ExitCode.USAGE,
            ExitCode.INVALID_CONFIGURATION,
            ExitCode.INVALID_PARAMETER,
            ExitCode.NETWORK_ERROR,
            ExitCode.TIMEOUT,
            ExitCode.API_ERROR,
            ExitCode.AUTH_ERROR,
            ExitCode.INTERRUPTED,
        ),
        configure,
        execute,
        ("job", "added"),
    )
}
