"""``aurora job status`` and ``aurora job list``: which jobs there are, and how their instances are."""

from __future__ import annotations

import argparse
import json

from scheduler.client import finding, options
from scheduler.client.errors import InvalidParameter
from scheduler.client.exit_codes import ExitCode
from scheduler.client.keys import JobRef, Pattern
from scheduler.client.printing import print_json, status_json, status_text
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.waiting import reasons_by_task
from scheduler.client.world import say
from thermos.formats.aurora_api import ScheduleStatus


def configure_status(parser: argparse.ArgumentParser) -> None:
    options.add_pattern(parser)
    options.add_write_json(parser)
    options.add_hooks(parser)


def configure_list(parser: argparse.ArgumentParser) -> None:
    options.add_pattern(parser)
    options.add_json(parser)
    options.add_hooks(parser)


def execute_status(args: argparse.Namespace, session: Session) -> int:
    """Print the tasks of each job that is meant."""
    pattern: Pattern = args.pattern
    found = []
    for job in finding.jobs(pattern, session):
        tasks = session.scheduler(job.cluster).tasks(job.key, code=ExitCode.INVALID_PARAMETER)
        if tasks:
            found.append((job, tasks))
    if args.json:
        jobs = []
        for job, tasks in found:
            waits = any(task.status is ScheduleStatus.PENDING for task in tasks)
            reasons = session.scheduler(job.cluster).pending_reasons(job.key) if waits else {}
            jobs.append({**status_json(job, tasks), "pending_reasons": dict(sorted(reasons.items()))})
        print_json({"jobs": jobs})
    elif args.write_json:
        if found:
            listed = [status_json(job, tasks) for job, tasks in found]
            print(json.dumps(listed, indent=2, separators=(",", ": ")))
        else:
            error = {"jobspec": str(pattern), "error": "No matching jobs found"}
            print(json.dumps(error, separators=(",", ":")))
            return ExitCode.OK  # a script that asked for JSON got some, as from the original
    elif found:
        texts = []
        for job, tasks in found:
            texts.append(status_text(tasks, reasons_by_task(session.scheduler(job.cluster), job, tasks)))
        print("\n".join(texts) + "\n")
    if not found:
        _explain(pattern, session)
    return ExitCode.OK if found else ExitCode.INVALID_PARAMETER


def _explain(pattern: Pattern, session: Session) -> None:
    if pattern.is_exact:
        job = JobRef(*pattern)
        raise finding.no_such_job(session.scheduler(job.cluster), job, f"Found no jobs matching {pattern}")
    raise InvalidParameter(finding.no_match(pattern, session))


def execute_list(args: argparse.Namespace, session: Session) -> int:
    """Print the key of each job that matches."""
    found = finding.jobs(args.pattern, session)
    if args.json:
        print_json({"jobs": [str(job) for job in found]})
    else:
        for job in found:
            print(job)
    if not found:
        say(finding.no_match(args.pattern, session))
    return ExitCode.OK


_CODES = (
    ExitCode.OK,
    ExitCode.USAGE,
    ExitCode.INVALID_CONFIGURATION,
    ExitCode.COMMAND_FAILURE,
    ExitCode.INVALID_PARAMETER,
    ExitCode.TIMEOUT,
    ExitCode.AUTH_ERROR,
    ExitCode.INTERRUPTED,
)

VERBS = {
    "job status": Verb(
        "job status",
        "show the instances of jobs",
        "Show active and inactive tasks of each job that matches, with their resources and history. Patterns are slow "
        "on large clusters: all jobs of the role, or of the cluster, are listed first.",
        "aurora job status west/www-data/prod/hello\naurora job status 'west/www-data/*/hello*'\n"
        "aurora job status west/www-data --write-json | jq '.[0].active[].status'",
        _CODES,
        configure_status,
        execute_status,
        ("jobs",),
    ),
    "job list": Verb(
        "job list",
        "list jobs",
        "Print the key of each job that matches, one in a line.",
        "aurora job list west/www-data\naurora job list '*/*/prod/*'",
        _CODES,
        configure_list,
        execute_list,
        ("jobs",),
    ),
}
