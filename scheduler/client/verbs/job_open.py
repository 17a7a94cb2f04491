"""``aurora job open``: the scheduler's page in the browser."""

from __future__ import annotations

import argparse

from scheduler.client import keys, options
from scheduler.client.exit_codes import ExitCode
from scheduler.client.printing import print_json
from scheduler.client.session import Session
from scheduler.client.verb import Verb


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "key", type=_place, metavar="CLUSTER[/ROLE[/ENV[/NAME]]]", help="the cluster, role, environment or job"
    )
    options.add_json(parser)
    options.add_hooks(parser)


def _place(text: str) -> tuple[str, ...]:
    found = keys.pattern(text.rstrip("/"))
    if not found.is_exact and "*" in text:
        raise argparse.ArgumentTypeError(f"'{text}' is a pattern: name one place")
    return tuple(text.rstrip("/").split("/"))


def execute(args: argparse.Namespace, session: Session) -> int:
    """Open the page, and print its address."""
    cluster, *parts = args.key
    url = session.scheduler(cluster).page(*parts)
    session.world.open_page(url)
    if args.json:
        print_json({"url": url})
    else:
        print(url)
    return ExitCode.OK


VERBS = {
    "job open": Verb(
        "job open",
        "open a page of the scheduler",
        "Open the scheduler's page of a cluster, role, environment or job in the browser, and print its address.",
        "aurora job open west/www-data/prod/hello",
        (ExitCode.OK, ExitCode.USAGE, ExitCode.INVALID_CONFIGURATION, ExitCode.TIMEOUT, ExitCode.INTERRUPTED),
        configure,
        execute,
        ("url",),
    )
}
