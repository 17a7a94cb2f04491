"""The runbook speaks of messages that exist, and of all that an executor has: by their words, as the code says them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
RUNBOOK: Final = (ROOT / "docs/runbook.md").read_text("utf-8")
HEADINGS: Final = re.findall(r"^### (.+)$", RUNBOOK, re.MULTILINE)
SOURCES: Final = {
    path: path.read_text("utf-8")
    for package in ("thermos", "scheduler")
    for path in sorted((ROOT / package).rglob("*.py"))
}
#: What of an executor speaks to people; a new message of theirs belongs into the runbook.
SPEAKERS: Final = (
    "thermos/announce/member.py",
    "thermos/core/lifetime.py",
    "thermos/core/session.py",
    "thermos/executor/agent.py",
    "thermos/executor/announcer.py",
    "thermos/executor/channel.py",
    "thermos/executor/emergency.py",
    "thermos/executor/limits.py",
    "thermos/executor/main.py",
    "thermos/executor/outcome.py",
    "thermos/executor/page_writer.py",
    "thermos/executor/pages.py",
    "thermos/executor/program.py",
    "thermos/executor/runner_child.py",
    "thermos/executor/vars.py",
    "thermos/executor/wire.py",
    "thermos/health/shell.py",
)
#: What they say it with: calls, whose texts are said, and names, that such texts are given before.
CALLS: Final = {
    *("AnnounceFailed", "Close", "Disconnected", "Failed", "NotUnderMesos", "Parted", "SandboxFailed", "Status"),
    *("StreamLost", "Told", "Trouble", "_act", "_broken", "_close", "_complain", "_end_of_agent", "_failed", "_lost"),
    *("_say", "_tell", "complain", "error", "on_lost", "warning"),
}
NAMES: Final = {
    *("_OF_THE_HOST", "_OF_THE_TASK", "_why_not", "during", "failure", "late", "left", "message", "refusal", "text"),
    *("told", "words"),
}
#: Shorter ones are joints of others.
_LEAST: Final = 12


def words(heading: str) -> list[str]:
    """The parts of a heading that are not filled in."""
    return [part.strip(" :") for part in re.split(r"\b[A-Z]{2,}\b", heading) if part.strip(" :")]


def said(path: str) -> Iterator[str]:
    """Of each message in that file the longest part that is not filled in."""
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        spoken: list[ast.expr] = []
        if isinstance(node, ast.Call):
            spoken = list(node.args) if name_of(node.func) in CALLS else []
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            spoken = [node.value] if any(name_of(target) in NAMES for target in targets) else []
        for each in spoken:
            for text in texts(each):
                if len(text) >= _LEAST and " " in text:
                    yield text


def texts(node: ast.expr) -> Iterator[str]:
    """The text of a literal, or of each within a choice or a table."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield part(node.value)
    elif isinstance(node, ast.JoinedStr):
        parts = [each.value for each in node.values if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        if parts:
            yield part(max(parts, key=len))
    elif isinstance(node, ast.IfExp):
        yield from (*texts(node.body), *texts(node.orelse))
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from texts(value)


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def part(text: str) -> str:
    return " ".join(text.split()).strip(" :;,.()`'\"…")


@pytest.mark.parametrize("heading", HEADINGS)
def test_somebody_says_so(heading: str) -> None:
    assert any(all(word in text for word in words(heading)) for text in SOURCES.values()), heading


@pytest.mark.parametrize("path", SPEAKERS)
def test_what_an_executor_says_stands_in_the_runbook(path: str) -> None:
    text = " ".join(RUNBOOK.split())
    assert [message for message in said(path) if message not in text] == []
