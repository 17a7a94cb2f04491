"""``aurora job create``: give the scheduler a job."""

from __future__ import annotations

import argparse

from scheduler.client import options
from scheduler.client.conversion import job_configuration
from scheduler.client.errors import CommandFailed
from scheduler.client.exit_codes import ExitCode
from scheduler.client.extending import hooked
from scheduler.client.job_file import read_job_with_tier
from scheduler.client.keys import JobRef
from scheduler.client.printing import print_json
from scheduler.client.scheduler_api import Scheduler
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.waiting import Monitor, is_over, is_running_or_over
from scheduler.client.world import say
from thermos.formats.aurora_api import Response


def wait_until(
    state: str, session: Session, scheduler: Scheduler, job: JobRef, instances: tuple[int, ...] | None = None
) -> None:
    """Return when *instances* (None: all) are in *state*, one of ``--wait-until``."""
    if state == "RUNNING":
        Monitor(scheduler, job, session.world).wait(f"instances of {job} to run", is_running_or_over, instances)
    elif state == "FINISHED":
        Monitor(scheduler, job, session.world).wait(f"instances of {job} to end", is_over, instances)


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_job(parser)
    options.add_config_file(parser)
    options.add_wait_until(parser)
    options.add_browser(parser)
    options.add_json(parser)
    options.add_hooks(parser)


def execute(args: argparse.Namespace, session: Session) -> int:
    """Create the job, wait as far as is asked for, and say where its page is."""
    job: JobRef = args.job
    found = read_job_with_tier(args.config, job, args, session)
    if found.cron_schedule is not None:
        raise CommandFailed(f"{job} is a cron job; `aurora cron schedule {job} {args.config}` takes those")
    scheduler = session.scheduler(job.cluster)
    session.so_far = f"{job} may have been created or not; `aurora job status {job}` tells"
    say(f"Creating job {job}")
    description = job_configuration(found, session.world.user())
    heading = "Job creation failed due to error"

    def create() -> Response:
        return scheduler.ask("createJob", heading, ExitCode.COMMAND_FAILURE, description=description)

    hooked(session, job, "create_job", create, session.config)
    session.so_far = f"{job} is created; it was not waited for"
    if args.open_browser:
        session.world.open_page(scheduler.page(*job[1:]))
    wait_until(args.wait_until, session, scheduler, job)
    if not scheduler.tasks(job.key):
        raise CommandFailed(f"Error occurred while creating job {job}: the scheduler took it, and has no task of it")
    if args.json:
        print_json({"job": str(job), "url": scheduler.page(*job[1:]), "instances": found.instances})
    else:
        print(f"Job create succeeded: job url={scheduler.page(*job[1:])}")
    return ExitCode.OK


VERBS = {
    "job create": Verb(
        "job create",
        "create a job",
        "Create the job of that key, as the configuration file has it. A .aurora file is a program: run "
        "only files that you trust. Cron jobs are not created but scheduled.",
        "aurora job create west/www-data/devel/hello hello.aurora\n"
        "aurora job create west/www-data/prod/hello hello.aurora --bind version=1.7 --wait-until RUNNING",
        (
            ExitCode.OK,
            ExitCode.USAGE,
            ExitCode.INVALID_CONFIGURATION,
            ExitCode.COMMAND_FAILURE,
            ExitCode.NETWORK_ERROR,
            ExitCode.TIMEOUT,
            ExitCode.API_ERROR,
            ExitCode.AUTH_ERROR,
            ExitCode.INTERRUPTED,
        ),
        configure,
        execute,
        ("job", "url", "instances"),
    )
}
