"""Generated page of ``docs/reference/``: ``python -m scheduler.pages.reference --write`` or ``--check``.

What a template of the scheduler may show is written once, in the dataclasses of :mod:`scheduler.pages.pages` and
:mod:`scheduler.pages.parts`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, get_args

from observer_static.reference import dataclasses_of, part
from scheduler.pages import pages, parts
from thermos import generated

#: Where the pages lie in a checkout.
DIRECTORY: Final = Path(__file__).parent.parent.parent / "docs" / "reference"

_HEAD: Final = """\
<!-- Made by `python -m scheduler.pages.reference --write`; do not edit. -->
# What the scheduler's pages show

A template sees one object, `page`, of one of the kinds below, and nothing else: a field that does not stand here
raises an error. `Link`, `Notice`, `Port` and `Stamp` are those of [the observer's pages](pages.md), and so is what is
said there of times, sizes and texts.

| page | where |
| --- | --- |
| `RolesPage` | `/scheduler` |
| `RolePage` | `/scheduler/ROLE`, `/scheduler/ROLE/ENVIRONMENT`; `?page=` |
| `JobPage` | `/scheduler/ROLE/ENVIRONMENT/JOB`; `?state=`, `?active=`, `?completed=`, `?updates=` |
| `InstancePage` | `/scheduler/ROLE/ENVIRONMENT/JOB/INSTANCE`; `?page=` |
| `UpdatePage` | `/scheduler/ROLE/ENVIRONMENT/JOB/update/ID`; `?page=` of its instances |
| `CronPage`, `MaintenancePage` | `/cluster/cron`, `/cluster/maintenance`; `?page=` |
| `PendingPage`, `AgentsPage`, `OffersPage` | `/cluster/pending`, `/cluster/agents`, `/cluster/offers`; `?page=` |
| `AgentPage` | `/cluster/agents/HOST`; `?page=` |
| `MissingPage` | whatever is not there below `/scheduler` and `/cluster`, with status 404 |

"""


def what_pages_show() -> str:
    """The page on all fields."""
    kinds = get_args(pages.Page)
    sections = ["## Pages\n", *map(part, kinds), "## Their parts\n", *map(part, dataclasses_of(parts))]
    return _HEAD + "\n\n".join(section.strip("\n") for section in sections) + "\n"


PAGES: Final[Mapping[str, Callable[[], str]]] = {"scheduler-pages.md": what_pages_show}


def main(argv: list[str] | None = None) -> int:
    """Write the page, or check that it is what would be written; the exit code."""
    return generated.main("scheduler.pages.reference", PAGES, DIRECTORY, argv)


if __name__ == "__main__":
    sys.exit(main())
