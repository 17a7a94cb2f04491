"""The flags that say how pages look, of every program that writes them: declared and checked here."""

from __future__ import annotations

import argparse

from observer_static.options import is_agent
from observer_static.own_patterns import OwnPatterns, PatternInvalid


def agent(text: str) -> str:
    """An agent's address without a slash at its end. Raises argparse.ArgumentTypeError."""
    address = text.removesuffix("/")
    if not is_agent(address):
        raise argparse.ArgumentTypeError(f"{text!r} is no address of an agent; give http://HOST:PORT")
    return address


def add_page_flags(parser: argparse._ActionsContainer) -> None:
    """Add ``--agent_url``, ``--redact`` and ``--no-redact``."""
    parser.add_argument(
        "--agent_url",
        "--agent-url",
        metavar="URL",
        type=agent,
        help="http://HOST:PORT of the Mesos agent, as browsers reach it: pages then follow logs and link raw files "
        "there",
    )
    parser.add_argument(
        "--redact",
        metavar="PATTERN",
        action="append",
        default=[],
        help="make unreadable also what matches this regular expression in commands and definitions; if it has "
        "groups, only the first of them; a text that it takes too long for is made unreadable as a whole; may be given "
        "again",
    )
    parser.add_argument(
        "--no-redact",
        "--no_redact",
        action="store_true",
        help="show values in commands and definitions that look like secrets as they are",
    )


def page_flags_fault(args: argparse.Namespace) -> str | None:
    """What is wrong with what was given for these flags together; None: nothing."""
    if args.no_redact and args.redact:
        return "--redact and --no-redact contradict each other"
    try:
        OwnPatterns(args.redact)
    except PatternInvalid as error:
        return str(error)
    return None
