"""The ``aurora_admin`` command: finds the command and hands over."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from scheduler.client import nouns
from scheduler.client.exit_codes import ExitCode
from scheduler.client.program import prepare_streams, run
from scheduler.client.session import ADMIN_USER_AGENT, Session
from scheduler.client.verb import build_parser, parse
from scheduler.client.world import World, say
from thermos.definition import nearest

PROGRAM: Final = "aurora_admin"


def main(argv: Sequence[str] | None = None, session: Session | None = None) -> int:
    """Run the command line *argv* (default: the process's own) and return its exit code."""
    if argv is None:
        argv = sys.argv[1:]
        prepare_streams()
    words = list(argv)
    if words and words[0] == "--version":
        from thermos import __version__

        print(f"aurora_admin {__version__}")
        return ExitCode.OK
    # As in the original, options may stand before the command; none of these takes a value.
    before = []
    while words and words[0].startswith("-") and words[0] not in ("-h", "--help"):
        before.append(words.pop(0))
    if not words or words[0] in ("-h", "--help", "help"):
        return _help(words[1:])
    name = words[0]
    if name not in nouns.ADMIN:
        return _unknown(name)
    verb = nouns.load_admin(name)
    return run(
        PROGRAM,
        verb,
        lambda: parse(PROGRAM, verb, [*before, *words[1:]]),
        session or Session(World(), ADMIN_USER_AGENT),
    )


def _unknown(name: str) -> int:
    close = nearest(name, nouns.ADMIN)
    hint = f"did you mean '{close}'? " if close is not None else ""
    say(f"{PROGRAM}: there is no command '{name}'; {hint}`{PROGRAM} help` lists them")
    return ExitCode.USAGE


def _help(words: list[str]) -> int:
    if words:
        if words[0] not in nouns.ADMIN:
            return _unknown(words[0])
        build_parser(PROGRAM, nouns.load_admin(words[0])).print_help()
        return ExitCode.OK
    print(f"usage: {PROGRAM} COMMAND CLUSTER ...\n\nLook after a scheduler: this project's, or Apache Aurora's.\n")
    for name in nouns.ADMIN:
        print(f"  {name:<32}{nouns.load_admin(name).summary}")
    print(f"\n`{PROGRAM} COMMAND --help` explains one, with an example and its exit codes.")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
