"""What a verb of the clients is: how it is parsed, what it does, what its exit codes are."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from scheduler.client.exit_codes import ExitCode
from scheduler.client.session import Session


class Verb(NamedTuple):
    """One verb; ``execute`` prints and returns the exit code, and may raise any ThermosError."""

    #: With its noun: ``job create``.
    name: str
    #: One line, for the list of verbs.
    summary: str
    #: What it does, in plain paragraphs.
    description: str
    #: Shell lines.
    example: str
    exit_codes: tuple[ExitCode, ...]
    configure: Callable[[argparse.ArgumentParser], None]
    execute: Callable[[argparse.Namespace, Session], int]
    #: Fields of what ``--json`` prints, beside ``schema``; none: it has no ``--json``.
    json: tuple[str, ...] = ()


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Fills the description, and leaves the example and the exit codes as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("example:"):
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


class Parser(argparse.ArgumentParser):
    """argparse's, with one sentence for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read on; ends the program."""
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; `{self.prog} --help` explains\n")


AddOptions = Callable[[argparse.ArgumentParser], None]


def build_parser(program: str, verb: Verb, more: AddOptions | None = None) -> argparse.ArgumentParser:
    """The parser of one verb, with its example and exit codes behind the options; *more* adds those of plug-ins."""
    codes = "\n".join(f"  {int(code):>3}  {code.doc}" for code in verb.exit_codes)
    fields = f"--json prints: schema, {', '.join(verb.json)}\n\n" if verb.json else ""
    example = "\n".join(f"  {line}" for line in verb.example.strip().splitlines())
    options: dict[str, Any] = {"color": False} if sys.version_info >= (3, 14) else {}
    parser = Parser(
        prog=f"{program} {verb.name}",
        description=verb.description,
        epilog=f"example:\n{example}\n\n{fields}exit codes:\n{codes}\n",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
        **options,
    )
    verb.configure(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="show what goes over the network, on stderr")
    if more is not None:
        more(parser)
    return parser


def parse(program: str, verb: Verb, argv: Sequence[str], more: AddOptions | None = None) -> argparse.Namespace:
    """The arguments of *verb*; ends the program, as argparse does, on ``--help`` and on mistakes."""
    args = build_parser(program, verb, more).parse_intermixed_args(list(argv))
    if args.verbose:
        logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    return args
