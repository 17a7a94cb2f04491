"""``aurora config list``: which jobs a configuration file defines."""

from __future__ import annotations

import argparse

from scheduler.client import options
from scheduler.client.exit_codes import ExitCode
from scheduler.client.job_file import read_file
from scheduler.client.printing import print_json
from scheduler.client.session import Session
from scheduler.client.verb import Verb


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_config_file(parser)
    options.add_json(parser)
    options.add_hooks(parser)


def execute(args: argparse.Namespace, session: Session) -> int:
    """Print the keys of the file's jobs."""
    found = [job.key for job in read_file(args.config, args, session, None).jobs]
    if args.json:
        print_json({"jobs": found})
    elif found:
        print(f"jobs=[{', '.join(found)}]")
    else:
        print("No jobs found")
    return ExitCode.OK


VERBS = {
    "config list": Verb(
        "config list",
        "list the jobs that a file defines",
        "Load the configuration file, check it, and print the keys of its jobs. No scheduler is asked.",
        "aurora config list hello.aurora",
        (ExitCode.OK, ExitCode.USAGE, ExitCode.INVALID_CONFIGURATION, ExitCode.INTERRUPTED),
        configure,
        execute,
        ("jobs",),
    )
}
