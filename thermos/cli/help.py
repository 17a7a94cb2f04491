"""``thermos help``: what verbs are there, and what does one do?"""

from __future__ import annotations

import argparse

from thermos.cli.verb import NAMES, Verb, build_parser, load
from thermos.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", nargs="?", metavar="verb", help="the verb to explain; default: list all")


def execute(args: argparse.Namespace) -> int:
    """Print the list of verbs, or the help of one."""
    if args.verb is None:
        print("usage: thermos [--root PATH] [--mesos-root PATH] VERB ...\n")
        print("Run tasks of processes without Mesos, and see what tasks on this host do.\n")
        for name in NAMES:
            print(f"  {name:<12}{load(name).summary}")
        print("\n`thermos help VERB` explains one, with an example and its exit codes.")
        return ExitCode.OK
    if args.verb not in NAMES:
        from thermos.cli.show import tell

        tell("help", f"there is no verb {args.verb!r}; `thermos help` lists them")
        return ExitCode.USAGE
    build_parser(load(args.verb)).print_help()
    return ExitCode.OK


VERB = Verb(
    "help",
    "list the verbs, or explain one",
    "List the verbs, or explain one.",
    "thermos help\nthermos help status",
    (ExitCode.OK, ExitCode.USAGE),
    configure,
    execute,
)
