"""Reads the words of the command line, so that all that is wrong with them can be said at once.

``argparse`` ends at the first word that it does not know, and takes the value of an unknown flag for a command.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from scheduler.flag_values import Wrong, duration, range_problem, truth
from scheduler.flags import FLAGS, Flag, range_of, spellings_of
from scheduler.retired_flags import RETIRED

#: What takes no value, beside the flags of the table.
_SWITCHES: Final = ("-h", "--help", "--version", "--local", "--verbose", "-v")
_NO_VALUE: Final = Wrong("a value is missing")


class Parser(argparse.ArgumentParser):
    """Says in a sentence what is wrong; the usage with all its flags is for who asks for it."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; {self.prog} --help tells more", file=sys.stderr)
        sys.exit(2)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add every flag of the table. One that is not given is None; a value that cannot be read is a Wrong."""
    for area, flags in FLAGS.items():
        group = parser.add_argument_group(area)
        for flag in flags:
            is_truth = flag.read is truth
            group.add_argument(
                *flag.spellings, dest=flag.name, type=_reader(flag), nargs="?", help=flag.doc.replace("%", "%%"),
                const=True if is_truth else _NO_VALUE, metavar="true|false" if is_truth else "VALUE",
            )  # fmt: skip


def _reader(flag: Flag) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            value = flag.read(text)
        except argparse.ArgumentTypeError as error:
            return Wrong(str(error))
        bounds = range_of(flag)
        problem = range_problem(value, *bounds, flag.read is duration) if bounds is not None else None
        return value if problem is None else Wrong(f"{text} {problem}")

    return read


def read_command_line(
    parser: argparse.ArgumentParser, words: Sequence[str], commands: Iterable[str]
) -> argparse.Namespace:
    """What *parser* makes of *words*; with *unknown*, what is to be said of flags that there are not, and *retired*,
    the values of Aurora's that have no use here, by name."""
    kept, unknown, retired = _sorted_out(words, frozenset(commands))
    args = parser.parse_args(kept)
    args.unknown, args.retired = unknown, retired
    return args


def _sorted_out(words: Sequence[str], commands: frozenset[str]) -> tuple[list[str], tuple[str, ...], Mapping[str, str]]:
    """What argparse is to read: each flag one word with its value. Then what it is not to."""
    needs_value = {
        spelling: flag.read is not truth for flags in FLAGS.values() for flag in flags for spelling in flag.spellings
    }
    needs_value["--local-dir"] = True
    gone = {spelling: name for name in RETIRED for spelling in spellings_of(name)}
    kept: list[str] = []
    unknown: list[str] = []
    retired: dict[str, str] = {}
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        name, sign, value = word.partition("=")
        if word in _SWITCHES:
            kept.append(word)
            continue
        if not word.startswith("-") or word in ("-", "--"):  # a command, whose own parser reads what follows
            kept += [word, *reversed(rest)]
            break
        if not sign and rest:
            following = rest[-1].partition("=")[0]
            if needs_value.get(name):  # whatever it is: flags for executors begin with a dash, too
                is_value = following not in needs_value and following not in gone and following not in _SWITCHES
            else:
                is_value = following not in commands and re.match(r"(?!-)|-\.?\d", following) is not None
            if is_value:
                sign, value = "=", rest.pop()
        if name in gone:
            retired[gone[name]] = value or "true"
        elif name in needs_value:
            kept.append(f"{name}{sign}{value}")
        else:
            unknown.append(_guess(name))
    return kept, tuple(unknown), retired


def _guess(name: str) -> str:
    bare = name.lstrip("-").replace("-", "_").lower()
    near = difflib.get_close_matches(bare, [flag.name for flags in FLAGS.values() for flag in flags], 1)
    return f"{name} is unknown" + (f": did you mean -{near[0]}?" if near else "")
