"""Generated pages on the command line: ``python -m thermos.cli.reference --write`` or ``--check``."""

from __future__ import annotations

import ast
import enum
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from thermos import generated, records
from thermos.cli import answers
from thermos.cli.options import arguments, usage
from thermos.cli.verb import NAMES, load
from thermos.core import explain
from thermos.errors import ExitCode

#: Where the pages lie in a checkout.
DIRECTORY: Final = Path(__file__).parent.parent.parent / "docs" / "reference"

_GENERATED: Final = "<!-- Made by `python -m thermos.cli.reference --write`; do not edit. -->\n"

#: What each `--json` prints.
_ANSWERS: Final = (
    answers.StatusAnswer,
    answers.WhyAnswer,
    answers.ReadAnswer,
    answers.ReadSimpleAnswer,
    answers.TailLine,
    answers.PageAnswer,
    answers.InspectAnswer,
    answers.GcAnswer,
)

_JSON_HEAD: Final = """\
# JSON output

Each verb that shows something prints one JSON object with `--json` (`thermos tail`: one for each line; `thermos
inspect`: with `--output json`). The object holds `"schema": 1` and the fields below; the number is raised when
a field changes its meaning or goes. New fields may come: skip what you do not know. Times are seconds (`_s`) or
milliseconds (`_ms`) since 1970; `null` means unknown, never zero. The text is ASCII, on one line unless it goes
to a terminal. What the fields of records mean that are not explained here, the
[checkpoint format](checkpoint-format.md) tells.
"""

_EXIT_HEAD: Final = """\
# Exit codes

Of `thermos`, `thermos_runner` and `thermos_observer`. 101 to 105 are those of Aurora's runner.

| code | name | meaning |
| ---: | --- | --- |
"""

_CLI_HEAD: Final = """\
# The `thermos` command

    thermos [--root PATH] [--mesos-root PATH] [--detector NAME[:KEY=VALUE,...]] VERB ...

Options may stand before the verb or after it. Results go to stdout, everything else to stderr. Away from a
terminal the output of `status`, `read`, `inspect`, `kill` and `tail` has the form that Aurora's `thermos`
gives it; tables and colours are for terminals, and `NO_COLOR` forbids the colours. With `read --simple`, texts
are shown without the `u` that Python 2 puts before them.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def cli() -> str:
    """The page on all verbs."""
    parts = [_GENERATED + _CLI_HEAD]
    parts.append(
        "\n".join(["| verb | |", "| --- | --- |", *(f"| [{n}](#{n}) | {load(n).summary} |" for n in NAMES), ""])
    )
    for name in NAMES:
        verb = load(name)
        lines = [
            f"## {name}",
            "",
            f"    {usage(verb)}",
            "",
            verb.description,
            "",
            "| argument | meaning |",
            "| --- | --- |",
        ]
        for argument in arguments(verb):
            shown = ", ".join(argument.flags) or argument.value
            if argument.flags and argument.value:
                shown += f" {argument.value}"
            lines.append(f"| `{_cell(shown)}` | {_cell(argument.help)} |")
        lines += [
            "",
            "```sh",
            verb.example,
            "```",
            "",
            "Exit codes: " + ", ".join(_code(code) for code in verb.exit_codes) + ".",
            "",
        ]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _code(code: ExitCode) -> str:
    return f"[{int(code)} {code.name}](exit-codes.md)"


def exit_codes() -> str:
    """The page on exit codes."""
    rows = [f"| {int(code)} | {code.name} | {_cell(code.doc)} |" for code in ExitCode]
    return _GENERATED + _EXIT_HEAD + "\n".join(rows) + "\n"


def _type_text(kind: Any, found: dict[str, Any]) -> str:
    """A type in words; structs and enums that it names are added to *found*."""
    origin = typing.get_origin(kind)
    args = typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        words = [_type_text(part, found) for part in args if part is not type(None)]
        return " or ".join(words) + (" or null" if type(None) in args else "")
    if origin in (list, tuple):
        return f"list of {_type_text(args[0], found)}"
    if origin is dict:
        return f"object: {_type_text(args[1], found)} by name"
    if isinstance(kind, type) and (hasattr(kind, "_fields") or issubclass(kind, enum.Enum)):
        found.setdefault(kind.__name__, kind)
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return {str: "text", int: "integer", float: "number", bool: "boolean", object: "anything"}[kind]


def _struct(kind: Any, found: dict[str, Any], known: dict[str, str]) -> Iterator[str]:
    if issubclass(kind, enum.Enum):
        yield "One of " + ", ".join(f"`{member.name}`" for member in kind) + "."
        return
    yield from ["| field | type | |", "| --- | --- | --- |"]
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        doc = known.get(f"{kind.__name__}.{name}", "")
        if typing.get_origin(hint) is typing.Annotated:
            hint, doc = typing.get_args(hint)[:2]
        yield f"| `{name}` | {_type_text(hint, found)} | {_cell(doc)} |"


def _comments(module: types.ModuleType) -> dict[str, str]:
    """``Struct.field`` → the ``#:`` comment above it in the source of *module*."""
    source = inspect.getsource(module)
    lines = source.splitlines()
    found = {}
    for node in ast.parse(source).body:
        for item in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                line = item.lineno - 2
                comment: list[str] = []
                while lines[line].strip().startswith("#:"):
                    comment.insert(0, lines[line].strip()[2:].strip())
                    line -= 1
                assert isinstance(node, ast.ClassDef)
                text = " ".join(comment).removeprefix("*extension*").lstrip(" :").replace(":data:", "")
                found[f"{node.name}.{item.target.id}"] = text.replace("``", "`")
    return found


def json() -> str:
    """The page on what ``--json`` prints."""
    known = {**_comments(explain), **_comments(records)}
    found: dict[str, Any] = {}
    parts = [_GENERATED + _JSON_HEAD]
    for kind in _ANSWERS:
        title = (kind.__doc__ or "").strip().rstrip(".")
        parts.append("\n".join([f"## {title}", "", *_struct(kind, found, known), ""]))
    shown: set[str] = set()
    while len(shown) < len(found):
        name = next(name for name in found if name not in shown)
        shown.add(name)
        kind = found[name]
        doc = (kind.__doc__ or "").strip().splitlines()[0].split(" All of it is")[0]
        parts.append("\n".join([f"## {name}", "", doc, "", *_struct(kind, found, known), ""]))
    return "\n".join(parts)


#: File name → what makes it.
PAGES: Final[dict[str, Callable[[], str]]] = {"cli.md": cli, "exit-codes.md": exit_codes, "json.md": json}


def main(argv: list[str] | None = None) -> int:
    """Write the pages, or check that they are what would be written; the exit code."""
    return generated.main("thermos.cli.reference", PAGES, DIRECTORY, argv)


if __name__ == "__main__":
    sys.exit(main())
