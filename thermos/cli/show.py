"""Text for people and scripts: times, names, colours, tables, JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import Enum
from typing import IO, Any, Final

from thermos.states import ProcessState, TaskState
from thermos.words import duration, size
from thermos.words import local as ctime

__all__ = [
    "JSON_SCHEMA",
    "clean",
    "coloured",
    "ctime",
    "duration",
    "has_colour",
    "is_terminal",
    "plain",
    "print_json",
    "size",
    "table",
    "tell",
]

#: Version of what ``--json`` prints; raised when a field changes its meaning or goes.
JSON_SCHEMA: Final = 1

_COLOURS: Final = {
    "RUNNING": "32",
    "ACTIVE": "32",
    "SUCCESS": "36",
    "FAILED": "31",
    "KILLED": "33",
    "LOST": "35",
    "FORKED": "32",
    "CLEANING": "33",
    "FINALIZING": "33",
    "WAITING": "2",
}


def is_terminal(stream: IO[str] | None = None) -> bool:
    """Whether a person looks at *stream* (default: stdout)."""
    try:
        return (stream or sys.stdout).isatty()
    except ValueError:
        return False


def has_colour(stream: IO[str] | None = None) -> bool:
    """Whether to use colours: on a terminal, unless ``NO_COLOR`` (no-color.org) or ``TERM=dumb`` forbid."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(text: str, state: ProcessState | TaskState | None, colour: bool) -> str:
    """*text* in the colour of *state*, if *colour*."""
    code = _COLOURS.get(state.name) if state is not None else None
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code is not None else text


def clean(text: object) -> str:
    """*text* with everything escaped that a terminal would not show as it is; records are claims."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(ch if ch.isprintable() else ascii(ch)[1:-1] for ch in shown)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], paint: Any = None) -> str:
    """Columns as wide as their widest cell; *paint* turns (row, column, padded text) into what is shown."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = []
    for number, row in enumerate([header, *rows]):
        cells = [text if column == len(row) - 1 else text.ljust(widths[column]) for column, text in enumerate(row)]
        if paint is not None and number:
            cells = [paint(number - 1, column, cell) for column, cell in enumerate(cells)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def plain(value: Any) -> Any:
    """*value* as JSON knows it: records become objects, enums their names, NaN and infinities null."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float):
        return value if value - value == 0 else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    fields = getattr(value, "_fields", None)
    if fields is not None:
        return {name: plain(getattr(value, name)) for name in fields}
    return [plain(item) for item in value]


def print_json(answer: Any) -> None:
    """Print *answer* as one JSON object, ASCII only; indented on a terminal, else on one line."""
    import json

    body = {"schema": JSON_SCHEMA, **plain(answer)}
    print(json.dumps(body, indent=2 if is_terminal() else None))


def tell(verb: str, text: str) -> None:
    """One sentence on stderr, in order with what was printed before."""
    sys.stdout.flush()
    print(f"thermos {verb}: {text}", file=sys.stderr)
