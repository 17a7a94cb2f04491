"""``aurora job inspect``: what a configuration file comes to."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from scheduler.client import options
from scheduler.client.conversion import job_configuration
from scheduler.client.dump import job_text
from scheduler.client.exit_codes import ExitCode
from scheduler.client.job_file import read_job_with_tier
from scheduler.client.printing import print_json
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from thermos.config import job_json
from thermos.config.job_schema import Job
from thermos.definition import plain


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_job(parser)
    options.add_config_file(parser)
    parser.add_argument("--raw", action="store_true", help="show what would be sent to the scheduler")
    options.add_write_json(parser)
    options.add_hooks(parser)


def execute(args: argparse.Namespace, session: Session) -> int:
    """Print the job."""
    job = read_job_with_tier(args.config, args.job, args, session)
    if args.raw:
        print(job_text(job_configuration(job, session.world.user())))
    elif args.json:
        print_json({"job": plain(job)})
    elif args.write_json:
        print(job_json.encode(job))
    else:
        print("\n".join(_lines(job)))
    return ExitCode.OK


def _lines(job: Job) -> Iterator[str]:
    yield "Job level information"
    yield f"  name:       '{job.name}'"
    yield f"  role:       '{job.role}'"
    if job.contact is not None:
        yield f"  contact:    '{job.contact}'"
    yield f"  cluster:    '{job.cluster}'"
    yield f"  instances:  '{job.instances}'"
    if job.cron_schedule is not None:
        yield "  cron:"
        yield f"    schedule: '{job.cron_schedule}'"
        yield f"    policy:   '{job.cron_collision_policy}'"
    if job.constraints is not None:
        yield "  constraints:"
        yield from (f"    '{name}': '{value}'" for name, value in job.constraints.items())
    if job.partition_policy is not None:
        yield "  partition_policy:"
        yield f"    reschedule: {job.partition_policy.reschedule}"
        yield f"    delay_secs: '{job.partition_policy.delay_secs}'"
    yield f"  service:    {job.service}"
    yield f"  production: {job.production}"
    yield ""
    yield "Task level information"
    yield f"  name: '{job.task.name}'"
    if job.task.constraints:
        yield "  constraints:"
        yield from (f"  {' < '.join(constraint.order)}" for constraint in job.task.constraints)
    yield ""
    for process in job.task.processes:
        yield f"Process '{process.name}':"
        for flag in ("daemon", "ephemeral", "final"):
            if getattr(process, flag):
                yield f"  {flag}"
        yield "  cmdline:"
        yield from (f"    {line}" for line in process.cmdline.splitlines())
        yield ""


VERBS = {
    "job inspect": Verb(
        "job inspect",
        "show what a configuration comes to",
        "Load the configuration file, check it, fill in the tier that the scheduler would choose, and show the job. "
        "Nothing is changed.",
        "aurora job inspect west/www-data/devel/hello hello.aurora\n"
        "aurora job inspect west/www-data/devel/hello hello.aurora --write-json > hello.json",
        (
            ExitCode.OK,
            ExitCode.USAGE,
            ExitCode.INVALID_CONFIGURATION,
            ExitCode.TIMEOUT,
            ExitCode.API_ERROR,
            ExitCode.AUTH_ERROR,
            ExitCode.INTERRUPTED,
        ),
        configure,
        execute,
        ("job",),
    )
}
