"""What a verb of the ``thermos`` command is: how it is parsed, what it does, what its exit codes are."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from detectors.plugins import add_options
from detectors.roots import default_root
from thermos.errors import ExitCode

#: Every verb, in the order in which help shows them; ``thermos.cli.NAME`` is its module.
NAMES: Final = (
    "run", "simplerun", "status", "why", "tail", "page", "kill", "inspect", "read", "gc", "completion", "help",
)  # fmt: skip


class Verb(NamedTuple):
    """One verb; ``execute`` prints and returns the exit code, and may raise any ThermosError."""

    name: str
    #: One line, for the list of verbs.
    summary: str
    #: What it does, in plain paragraphs.
    description: str
    #: Shell lines, each of which works.
    example: str
    exit_codes: tuple[ExitCode, ...]
    configure: Callable[[argparse.ArgumentParser], None]
    execute: Callable[[argparse.Namespace], int]


def load(name: str) -> Verb:
    """The verb of that name, one of :data:`NAMES`."""
    from importlib import import_module

    verb = import_module(f"thermos.cli.{name.replace('-', '_')}").VERB
    assert isinstance(verb, Verb)
    return verb


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


def build_parser(verb: Verb) -> argparse.ArgumentParser:
    """The parser of one verb, with its example and exit codes behind the options."""
    codes = "\n".join(f"  {int(code):>3}  {code.doc}" for code in verb.exit_codes)
    options: dict[str, Any] = {}
    if sys.version_info >= (3, 14):
        options["color"] = False
    parser = Parser(
        prog=f"thermos {verb.name}",
        description=verb.description,
        epilog=f"example:\n{_indent(verb.example)}\n\nexit codes:\n{codes}\n",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
        **options,
    )
    verb.configure(parser)
    add_options(parser)
    return parser


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())


def parse(verb: Verb, argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of *verb*; ends the program, as argparse does, on ``--help`` and on mistakes."""
    parser = build_parser(verb)
    if any(action.nargs == argparse.REMAINDER for action in parser._actions):
        args = parser.parse_args(list(argv))
    else:  # options may stand between task ids
        args = parser.parse_intermixed_args(list(argv))
    args.root = os.path.abspath(args.root or default_root())
    return args
