"""The runbook speaks of messages that exist: each heading's words stand in the code that says them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
HEADINGS: Final = re.findall(r"^### (.+)$", (ROOT / "docs/runbook.md").read_text("utf-8"), re.MULTILINE)
SOURCES: Final = {
    path: path.read_text("utf-8")
    for package in ("thermos", "scheduler")
    for path in sorted((ROOT / package).rglob("*.py"))
}
#: Sentences that lifetime and outcome tell Mesos; a new one belongs into the runbook.
TOLD: Final = re.compile(r'Status\((?:FAILED|LOST|KILLED), f?"([A-Z][a-z ]+[a-z])')


def words(heading: str) -> list[str]:
    """The parts of a heading that are not filled in."""
    return [part.strip(" :") for part in re.split(r"\b[A-Z]{2,}\b", heading) if part.strip(" :")]


@pytest.mark.parametrize("heading", HEADINGS)
def test_somebody_says_so(heading: str) -> None:
    assert any(all(word in text for word in words(heading)) for text in SOURCES.values()), heading


def test_what_mesos_is_told_stands_in_the_runbook() -> None:
    text = (ROOT / "docs/runbook.md").read_text("utf-8")
    missing = [
        sentence
        for path in ("thermos/core/lifetime.py", "thermos/executor/outcome.py")
        for sentence in TOLD.findall((ROOT / path).read_text("utf-8"))
        if sentence not in text
    ]
    assert missing == []
