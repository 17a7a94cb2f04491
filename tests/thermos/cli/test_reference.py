"""Pages made from the parsers and answers are what the code says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.thermos.cli.command import success, thermos, write_task
from thermos.cli import reference
from thermos.cli.verb import NAMES
from thermos.errors import ExitCode


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    assert (reference.DIRECTORY / name).read_text("utf-8") == reference.PAGES[name](), (
        "run: python -m thermos.cli.reference --write"
    )


def test_check_notices_an_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "DIRECTORY", tmp_path / "reference")
    assert reference.main(["--check"]) == 1
    assert reference.main(["--write"]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / "reference" / "cli.md").write_text("old")
    assert reference.main(["--check"]) == 1


def test_everything_is_there() -> None:
    assert all(f"## {name}\n" in reference.cli() for name in NAMES)
    assert all(f"| {int(code)} | {code.name} |" in reference.exit_codes() for code in ExitCode)


def fields(title: str) -> set[str]:
    """The fields that the JSON page names under *title*."""
    section = reference.json().split(f"## {title}\n")[1].split("\n## ")[0]
    return {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}


def walk(value: Any, title: str) -> None:
    assert set(value) - {"schema"} == fields(title)


def test_what_is_printed_is_what_the_page_says(tmp_path: Path) -> None:
    write_task(tmp_path, "t", success("t"))

    def ask(*args: object) -> Any:
        return json.loads(thermos("--root", tmp_path, *args).stdout)

    status = ask("status", "--json")
    walk(status, "`thermos status --json`")
    walk(status["tasks"][0], "TaskAnswer")
    walk(status["tasks"][0]["processes"][0], "ProcessAnswer")
    walk(status["tasks"][0]["processes"][0]["last"], "RunAnswer")
    why = ask("why", "--json", "t")
    walk(why, "`thermos why --json`")
    walk(why["explanation"], "Explanation")
    walk(why["explanation"]["processes"][0], "ProcessView")
    stream = tmp_path / "checkpoints" / "t" / "runner"
    read = ask("read", "--json", stream)
    walk(read, "`thermos read --json`")
    walk(read["header"], "RunnerHeader")
    walk(read["statuses"][0], "TaskStatus")
    simple = ask("read", "--json", "--simple", stream)
    walk(simple, "`thermos read --simple --json`")
    walk(simple["records"][0], "RecordAnswer")
    gc = ask("gc", "--json", "--dry-run", "--delete-metadata", "t")
    walk(gc, "`thermos gc --json`")
    walk(gc["tasks"][0], "GcTaskAnswer")
