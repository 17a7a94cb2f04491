"""Pages that are generated from the code: written, or compared with what lies in ``docs/reference``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def main(
    module: str, pages: Mapping[str, Callable[[], str]], directory: Path, argv: Sequence[str] | None = None
) -> int:
    """Write *pages*, file name → what makes it, to *directory*, or tell which of them differ; the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description="Write the generated pages, or check them."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="write the pages anew")
    what.add_argument("--check", action="store_true", help="say which pages differ; exit 1 if any does")
    options = parser.parse_args(argv)
    stale = []
    for name, make in pages.items():
        path = directory / name
        text = make()
        if options.write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(path)
    for path in stale:
        print(f"{path} is not what the code says: python -m {module} --write", file=sys.stderr)
    return 1 if stale else 0
