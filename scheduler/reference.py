"""Generated pages of ``docs/reference/``: ``python -m scheduler.reference --write`` or ``--check``.

The flags are written once, in :mod:`scheduler.flags`; the states of a task and its moves once, in
:mod:`scheduler.states`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from scheduler.flag_values import duration, megabytes, number, shown_duration, truth, whole, words
from scheduler.flags import FLAGS, RANGES, Flag
from scheduler.main import DESCRIPTION, EXAMPLE
from scheduler.retired_flags import RETIRED, Retired
from scheduler.states import MOVES, TERMINAL, ScheduleStatus
from thermos import generated

#: Where the pages lie in a checkout.
DIRECTORY: Final = Path(__file__).parent.parent / "docs" / "reference"

_HEAD: Final = "<!-- Made by `python -m scheduler.reference --write`; do not edit. -->\n"
_SPELLINGS: Final = """\
Every flag can be written `--cluster-name west`, or as Aurora's were, `-cluster_name=west`. Durations are like `5mins`,
`30secs`, `1hrs`, `2days` or `250ms`, or short: `5m`, `30s`, `1h`. What the scheduler is, and how to run it, is told
in [the scheduler](../scheduler.md).
"""
_RETIRED: Final = """\
An old command line goes on to work: what makes no difference is taken, and said once in the log. What would not be done
is refused, all at once (exit code 3), with what to do instead.
"""
_SUCCESSORS: Final = """\
Those of Aurora. A task that is over has a successor where its job wants one: another task, with an id of its own, whose
`ancestorId` names the former. What a move entails is told in [the scheduler](../scheduler.md).
"""
_KINDS: Final = {duration: "duration", megabytes: "size", truth: "true or false", words: "words", whole: "number",
                 number: "number", str: "text"}  # fmt: skip


def _default(flag: Flag) -> str:
    value = flag.default
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (tuple, frozenset)):
        return f"`{','.join(sorted(map(str, value)))}`"
    if flag.read is duration:
        return f"`{shown_duration(float(value))}`"
    return f"`{value}MB`" if flag.read is megabytes else f"`{value}`".replace("|", "\\|")


def command() -> str:
    """The page on ``aurora-scheduler``."""
    parts = [
        f"{_HEAD}# The `aurora-scheduler` command\n\n{DESCRIPTION}\n\n```\n{EXAMPLE.strip()}\n```\n",
        _SPELLINGS,
    ]
    for area, flags in FLAGS.items():
        rows = [
            f"| `--{flag.name.replace('_', '-')}` | {_kind(flag)} | {_default(flag)} | {_cell(flag.doc)} |"
            for flag in flags
        ]
        parts.append("\n".join([f"## {area[0].upper()}{area[1:]}\n", "| flag | value | default | meaning |",
                                "| --- | --- | --- | --- |", *rows]) + "\n")  # fmt: skip
    rows = [f"| `-{name}` | {_taken(one)} | {_cell(one.instead or one.why)} |" for name, one in sorted(RETIRED.items())]
    parts.append("\n".join(["## Flags of Aurora without a use here\n", _RETIRED, "| flag | taken | why |",
                            "| --- | --- | --- |", *rows]) + "\n")  # fmt: skip
    return "\n".join(parts)


def _taken(one: Retired) -> str:
    if one.values is None:
        return "with any value"
    return " or ".join(f"`{value}`" for value in one.values) or "never"


def _cell(text: str) -> str:
    return text.replace("|", chr(92) + "|")


def _kind(flag: Flag) -> str:
    kind = _KINDS.get(flag.read, "words")
    if flag.name not in RANGES:
        return kind
    least, most = RANGES[flag.name]
    shown = shown_duration if flag.read is duration else lambda bound: f"{bound:g}"
    return f"{kind}, {shown(least)} or more" if most >= 10**6 else f"{kind}, {shown(least)} to {shown(most)}"


def states() -> str:
    """The page on a task's states."""
    lines = [
        f"{_HEAD}# States of a scheduled task\n",
        _SUCCESSORS,
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> PENDING",
        "    [*] --> THROTTLED",
    ]
    rows = []
    for status in ScheduleStatus:
        if status is ScheduleStatus.INIT:
            continue
        targets = sorted(one.name for one in MOVES[status] if one is not None)
        lines += [f"    {status.name} --> {target}" for target in targets]
        if status in TERMINAL:
            lines.append(f"    {status.name} --> [*]")
        forgotten = ["forgotten"] if None in MOVES[status] else []
        rows.append(f"| {status.name} | {int(status)} | {', '.join([*targets, *forgotten])} |")
    return "\n".join([*lines, "```\n", "| from | number | to |", "| --- | ---: | --- |", *rows]) + "\n"


PAGES: Final[Mapping[str, Callable[[], str]]] = {"aurora-scheduler.md": command, "task-states.md": states}


def main(argv: list[str] | None = None) -> int:
    """Write the pages, or check that they are what would be written; the exit code."""
    return generated.main("scheduler.reference", PAGES, DIRECTORY, argv)


if __name__ == "__main__":
    sys.exit(main())
