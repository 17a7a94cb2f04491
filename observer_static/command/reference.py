"""The generated page on ``thermos_observer``: ``python -m observer_static.command.reference --write|--check``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from observer_static.command.flags import DESCRIPTION, EXAMPLE, EXIT_CODES, PROGRAM, build_parser
from thermos import generated

#: Where the page lies in a checkout.
DIRECTORY: Final = Path(__file__).parent.parent.parent / "docs" / "reference"

_HEAD: Final = f"""\
<!-- Made by `python -m observer_static.command.reference --write`; do not edit. -->
# The `{PROGRAM}` command

    {PROGRAM} [options]

{DESCRIPTION}

SIGTERM and SIGINT end it; SIGHUP makes it look at everything again. Started by systemd with `Type=notify`, it says
when the first pages are written. Names with `-` in place of `_` are the same options.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def command() -> str:
    """The page."""
    parts = [_HEAD]
    for group in build_parser()._action_groups:  # argparse has no public way to list them
        rows = []
        for action in group._group_actions:
            short = [flag for flag in action.option_strings if not flag.startswith("--")]
            long = [flag for flag in action.option_strings if flag.startswith("--")]
            shown = ", ".join([*short, *long[:1]])
            if action.nargs != 0:
                shown += f" {action.metavar or action.dest.upper()}"
            rows.append(f"| `{_cell(shown)}` | {_cell(action.help or '')} |")
        if rows:
            title = f"## {(group.title or '').capitalize()}"
            parts.append("\n".join([title, "", "| option | meaning |", "| --- | --- |", *rows, ""]))
    parts.append("\n".join(["## Examples", "", "```sh", EXAMPLE, "```", ""]))
    codes = [f"| {int(code)} | {code.name} | {_cell(text)} |" for code, text in EXIT_CODES]
    parts.append("\n".join(["## Exit codes", "", "| code | name | meaning |", "| ---: | --- | --- |", *codes, ""]))
    return "\n".join(parts)


#: File name → what makes it.
PAGES: Final[dict[str, Callable[[], str]]] = {"thermos_observer.md": command}


def main(argv: list[str] | None = None) -> int:
    """Write the page, or check that it is what would be written; the exit code."""
    return generated.main("observer_static.command.reference", PAGES, DIRECTORY, argv)


if __name__ == "__main__":
    sys.exit(main())
