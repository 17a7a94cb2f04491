"""A verb's arguments as data: what the reference page and the shell completions are made from."""

from __future__ import annotations

import argparse
from typing import NamedTuple

from thermos.cli.verb import Verb, build_parser


class Argument(NamedTuple):
    """An option, or with no ``flags`` a positional argument."""

    flags: tuple[str, ...]
    #: What stands for its value; empty: it takes none.
    value: str
    help: str
    choices: tuple[str, ...]
    #: How often a positional may come: ``1``, ``?`` or ``*``.
    times: str


def arguments(verb: Verb) -> list[Argument]:
    """All arguments of *verb*, in the order of its help, ``--help`` first."""
    found = []
    for action in build_parser(verb)._actions:  # argparse has no public way to list them
        choices = tuple(map(str, action.choices)) if action.choices is not None else ()
        times = "1" if action.nargs is None else "*" if action.nargs == argparse.REMAINDER else str(action.nargs)
        if not action.option_strings:
            value = str(action.metavar or action.dest)
        elif action.nargs == 0:
            value = ""
        else:
            value = "|".join(choices) or str(action.metavar or action.dest.upper())
        flags = tuple(sorted(action.option_strings, key=lambda flag: (flag.startswith("--"), flag)))
        found.append(Argument(flags, value, action.help or "", choices, times))
    return found


def usage(verb: Verb) -> str:
    """One line: the verb and its positional arguments."""
    shapes = {"1": "{}", "?": "[{}]", "*": "[{} ...]"}
    words = [shapes[each.times].format(each.value) for each in arguments(verb) if not each.flags]
    return " ".join(["thermos", verb.name, "[options]", *words])
