"""``aurora cron schedule``, ``deschedule``, ``start`` and ``show``: jobs that start at the times of a schedule.

Source: ``aurora/client/cli/cron.py``.
"""

from __future__ import annotations

import argparse

from scheduler.client import finding, options, updates
from scheduler.client.conversion import job_configuration
from scheduler.client.errors import CommandFailed, InvalidParameter
from scheduler.client.exit_codes import ExitCode
from scheduler.client.extending import hooked
from scheduler.client.job_file import check_optional, read_job_with_tier
from scheduler.client.keys import JobRef
from scheduler.client.printing import clean, print_json
from scheduler.client.scheduler_api import Scheduler, messages
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.world import say
from thermos.formats import aurora_api as api


def configure_schedule(parser: argparse.ArgumentParser) -> None:
    options.add_job(parser)
    options.add_config_file(parser)
    options.add_json(parser)
    options.add_hooks(parser)


def configure_start(parser: argparse.ArgumentParser) -> None:
    options.add_job(parser)
    options.add_optional_config(parser)
    options.add_browser(parser)
    options.add_json(parser)
    options.add_hooks(parser)


def configure_job(parser: argparse.ArgumentParser) -> None:
    options.add_job(parser)
    options.add_json(parser)
    options.add_hooks(parser)


def execute_schedule(args: argparse.Namespace, session: Session) -> int:
    """Give the scheduler the job and its schedule."""
    job: JobRef = args.job
    found = read_job_with_tier(args.config, job, args, session)
    if found.cron_schedule is None:
        raise CommandFailed(
            f"{job} has no cron_schedule: such jobs are created with `aurora job create {job} {args.config}`"
        )
    scheduler = session.scheduler(job.cluster)
    session.so_far = f"{job} may have been scheduled or not; `aurora cron show {job}` tells"
    description = job_configuration(found, session.world.user())
    scheduler.ask("scheduleCronJob", f"Error scheduling cron job {job}", description=description)
    page = scheduler.page(*job[1:])
    if args.json:
        print_json({"job": str(job), "schedule": found.cron_schedule, "url": page})
    else:
        print(f"Cron job scheduled, status can be viewed at {page}")
    return ExitCode.OK


def execute_deschedule(args: argparse.Namespace, session: Session) -> int:
    """Let the job start no more."""
    job: JobRef = args.job
    session.so_far = f"{job} may have been descheduled or not; `aurora cron show {job}` tells"
    scheduler = session.scheduler(job.cluster)
    scheduler.ask("descheduleCronJob", f"Error descheduling cron job {job}", job=job.key)
    if args.json:
        print_json({"job": str(job)})
    else:
        print("Cron descheduling succeeded.")
    return ExitCode.OK


def execute_start(args: argparse.Namespace, session: Session) -> int:
    """Start the job now."""
    job: JobRef = args.job
    check_optional(job, args, session)
    scheduler = session.scheduler(job.cluster)
    session.so_far = f"{job} may have been started or not; `aurora job status {job}` tells"

    def start() -> api.Response:
        return scheduler.ask("startCronJob", f"Error starting cron job {job}", job=job.key)

    # Whether a run begins at once, later or not at all is the scheduler's to say, and `ask` has passed it on.
    response = hooked(session, job, "start_cronjob", start, job, config=session.config)
    page = scheduler.page(*job[1:])
    if args.open_browser:
        session.world.open_page(page)
    if args.json:
        print_json({"job": str(job), "url": page, "messages": [clean(word) for word in messages(response)]})
    else:
        say(f"asked for a run of {job} now; its page is {page}")
    return ExitCode.OK


def execute_show(args: argparse.Namespace, session: Session) -> int:
    """Print the job's schedule."""
    job: JobRef = args.job
    scheduler = session.scheduler(job.cluster)
    result = scheduler.result("getJobs", "get_jobs_result", code=ExitCode.INVALID_PARAMETER, owner_role=job.role)
    found = next((each for each in result.configs or () if each.key == job.key and each.cron_schedule), None)
    if found is None:
        raise _absent(scheduler, job)
    if args.json:
        answer = {"job": str(job), "schedule": found.cron_schedule, "policy": str(found.cron_collision_policy)}
        print_json({**answer, "instances": found.instance_count, "next_run": _next_run(scheduler, job)})
    else:
        print(f"{job}\t {clean(found.cron_schedule)}")
    return ExitCode.OK


def _absent(scheduler: Scheduler, job: JobRef) -> InvalidParameter:
    return finding.no_such_job(scheduler, job, f"No cron entry found for job {job}")


def _next_run(scheduler: Scheduler, job: JobRef) -> str | None:
    """When it starts next, in UTC; None where the scheduler does not say."""
    summaries: tuple[api.JobSummary, ...] = (
        scheduler.result("getJobSummary", "job_summary_result", role=job.role).summaries or ()
    )
    for each in summaries:
        if each.job is not None and each.job.key == job.key and each.next_cron_run_ms is not None:
            return updates.iso(each.next_cron_run_ms)
    return None


_CODES = (
    ExitCode.OK,
    ExitCode.USAGE,
    ExitCode.INVALID_CONFIGURATION,
    ExitCode.NETWORK_ERROR,
    ExitCode.TIMEOUT,
    ExitCode.API_ERROR,
    ExitCode.AUTH_ERROR,
    ExitCode.INTERRUPTED,
)

VERBS = {
    "cron schedule": Verb(
        "cron schedule",
        "let a job start at the times of its schedule",
        "Give the scheduler a job with a cron_schedule, or a new version of one that it has. What runs of it goes on; "
        "the new version is used from the next start.",
        "aurora cron schedule west/www-data/prod/report report.aurora",
        (*_CODES[:3], ExitCode.COMMAND_FAILURE, *_CODES[3:]),
        configure_schedule,
        execute_schedule,
        ("job", "schedule", "url"),
    ),
    "cron deschedule": Verb(
        "cron deschedule",
        "let a job start no more",
        "Let the scheduler forget the job's schedule. What runs of it goes on to its end.",
        "aurora cron deschedule west/www-data/prod/report",
        _CODES,
        configure_job,
        execute_deschedule,
        ("job",),
    ),
    "cron start": Verb(
        "cron start",
        "start a cron job now",
        "Start the job now, besides the times of its schedule. If it still runs, its cron_collision_policy decides, "
        "and the scheduler says what becomes of it.",
        "aurora cron start west/www-data/prod/report",
        _CODES,
        configure_start,
        execute_start,
        ("job", "url", "messages"),
    ),
    "cron show": Verb(
        "cron show",
        "show the schedule of a job",
        "Print the job's key, a tab and its schedule. With --json also what happens when it still runs, and when it "
        "starts next, in UTC.",
        "aurora cron show west/www-data/prod/report",
        (*_CODES[:3], ExitCode.INVALID_PARAMETER, *_CODES[4:]),
        configure_job,
        execute_show,
        ("job", "schedule", "policy", "instances", "next_run"),
    ),
}
