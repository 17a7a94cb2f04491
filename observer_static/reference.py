"""Generated page of ``docs/reference/``: ``python -m observer_static.reference --write`` or ``--check``.

What a template may show is written once, in the dataclasses of :mod:`observer_static.pages` and ``parts``.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, get_args

from observer_static import pages, parts
from thermos import generated

#: Where the pages lie in a checkout.
DIRECTORY: Final = Path(__file__).parent.parent / "docs" / "reference"

_HEAD: Final = """\
<!-- Made by `python -m observer_static.reference --write`; do not edit. -->
# What pages show

A template sees one object, `page`, of one of the kinds below, and nothing else: a field that does not stand here
raises an error. What the pages are for, and where they lie, is told in [pages](../pages.md).

A value that is not known is `None` and shows as "unknown", never as 0. `*_s` that say "when" are seconds since 1970
in UTC, those that say "how long" are seconds; `*_bytes` are bytes. Texts are as they were found, but for what cannot
be seen, which stands as an escape (`\\u202e`), and for the end of very long ones: escaping for HTML is the template's.

"""


def dataclasses_of(module: ModuleType) -> list[type]:
    """Those that *module* defines, in its order."""
    found = [value for value in vars(module).values() if isinstance(value, type) and dataclasses.is_dataclass(value)]
    return [value for value in found if value.__module__ == module.__name__]


def _type_name(annotation: Any) -> str:
    return str(annotation).replace("|", "\\|")


def part(kind: Any) -> str:
    """The fields of a dataclass as a table, below its name."""
    rows = [
        f"| `{field.name}` | `{_type_name(field.type)}` | {field.metadata['doc'].replace('|', chr(92) + '|')} |"
        for field in dataclasses.fields(kind)
    ]
    return "\n".join(
        [
            f"### {kind.__name__}\n",
            f"{inspect.getdoc(kind)}\n",
            "| field | type | meaning |",
            "| --- | --- | --- |",
            *rows,
        ]
    )


def what_pages_show() -> str:
    """The page on all fields."""
    kinds = get_args(pages.Page)
    sections = ["## Pages\n", *map(part, kinds), "## Their parts\n", *map(part, dataclasses_of(parts))]
    return _HEAD + "\n\n".join(section.strip("\n") for section in sections) + "\n"


PAGES: Final[Mapping[str, Callable[[], str]]] = {"pages.md": what_pages_show}


def main(argv: list[str] | None = None) -> int:
    """Write the page, or check that it is what would be written; the exit code."""
    return generated.main("observer_static.reference", PAGES, DIRECTORY, argv)


if __name__ == "__main__":
    sys.exit(main())
