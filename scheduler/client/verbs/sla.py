"""``aurora sla``: how long the instances of a job have been up."""

from __future__ import annotations

import argparse
from typing import Final

from scheduler.client import finding, options, uptime
from scheduler.client.exit_codes import ExitCode
from scheduler.client.keys import JobRef
from scheduler.client.printing import print_json
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.states import LIVE

_DURATIONS: Final = "1m,10m,1h,12h,7d"
_PERCENTILES: Final = "99,95,90,85,75,60,50,30,10"


def configure_count(parser: argparse.ArgumentParser) -> None:
    options.add_job(parser)
    parser.add_argument(
        "--durations", type=uptime.spans, metavar="D,D", help=f"spans such as 3m or 1d3h; default: {_DURATIONS}"
    )
    options.add_json(parser)
    options.add_hooks(parser)


def configure_uptime(parser: argparse.ArgumentParser) -> None:
    options.add_job(parser)
    parser.add_argument(
        "--percentiles", type=uptime.percentiles, metavar="P,P", help=f"above 0, below 100; default: {_PERCENTILES}"
    )
    options.add_json(parser)
    options.add_hooks(parser)


def _uptimes(job: JobRef, session: Session) -> list[int]:
    scheduler = session.scheduler(job.cluster)
    tasks = scheduler.tasks(job.key, statuses=LIVE, code=ExitCode.INVALID_PARAMETER)
    if not tasks:
        raise finding.no_such_job(scheduler, job, f"{job} has no running instances")
    return uptime.uptimes_s(tasks, session.world.wall_s())


def execute_count(args: argparse.Namespace, session: Session) -> int:
    """Print the share of instances up for at least each duration."""
    uptimes = _uptimes(args.job, session)
    shares = [(each, uptime.share_up(uptimes, each.seconds)) for each in args.durations or uptime.spans(_DURATIONS)]
    if args.json:
        listed = [{"duration_s": each.seconds, "percent": share} for each, share in shares]
        print_json({"job": str(args.job), "up": listed})
    else:
        print("\n".join(f"{each}\t- {share:.2f} %" for each, share in shares))
    return ExitCode.OK


def execute_uptime(args: argparse.Namespace, session: Session) -> int:
    """Print the uptime at each percentile."""
    uptimes = _uptimes(args.job, session)
    wanted = sorted(args.percentiles or uptime.percentiles(_PERCENTILES), reverse=True)
    found = [(each, uptime.at_percentile(uptimes, each)) for each in wanted]
    if args.json:
        listed = [{"percentile": each, "uptime_s": seconds} for each, seconds in found]
        print_json({"job": str(args.job), "uptimes": listed})
    else:
        print("\n".join(f"{each} percentile\t- {seconds} seconds" for each, seconds in found))
    return ExitCode.OK


_CODES = (
    ExitCode.OK,
    ExitCode.USAGE,
    ExitCode.INVALID_CONFIGURATION,
    ExitCode.INVALID_PARAMETER,
    ExitCode.TIMEOUT,
    ExitCode.AUTH_ERROR,
    ExitCode.INTERRUPTED,
)

VERBS = {
    "sla get-task-up-count": Verb(
        "sla get-task-up-count",
        "show which share of instances has been up for how long",
        "Of the instances that have come to run, show the share that has been RUNNING for at least each duration.",
        "aurora sla get-task-up-count west/www-data/prod/hello --durations 3m,1h,1d6h",
        _CODES,
        configure_count,
        execute_count,
        ("job", "up"),
    ),
    "sla get-job-uptime": Verb(
        "sla get-job-uptime",
        "show how long instances have been up, at percentiles",
        "Show the uptime in seconds that each percentage of the running instances reaches.",
        "aurora sla get-job-uptime west/www-data/prod/hello --percentiles 95,50",
        _CODES,
        configure_uptime,
        execute_uptime,
        ("job", "uptimes"),
    ),
}
