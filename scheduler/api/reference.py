"""Generated page of ``docs/reference/``: ``python -m scheduler.api.reference --write`` or ``--check``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from scheduler.api.openapi import document
from thermos import generated

#: Where the pages lie in a checkout.
DIRECTORY: Final = Path(__file__).parent.parent.parent / "docs" / "reference"

PAGES: Final = {"openapi.json": lambda: document().decode("utf-8")}


def main(argv: list[str] | None = None) -> int:
    """Write the page, or check that it is what would be written; the exit code."""
    return generated.main("scheduler.api.reference", PAGES, DIRECTORY, argv)


if __name__ == "__main__":
    sys.exit(main())
