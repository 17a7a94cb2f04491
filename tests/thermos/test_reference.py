"""The generated pages are what the code says, and say something of every field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from thermos import reference
from thermos.formats import checkpoint
from thermos.states import ProcessState, TaskState


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_page_is_what_would_be_written(name: str) -> None:
    text = (reference.DIRECTORY / name).read_text("utf-8")
    assert text == reference.PAGES[name](), "run: python -m thermos.reference --write"


def test_check_finds_a_page_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "DIRECTORY", tmp_path / "reference")
    assert reference.main(["--check"]) == 1
    assert reference.main(["--write"]) == 0
    assert reference.main(["--check"]) == 0
    page = tmp_path / "reference" / "states.md"
    page.write_text(page.read_text().replace("LOST", "FOUND"))
    capsys.readouterr()
    assert reference.main(["--check"]) == 1
    assert "states.md" in capsys.readouterr().err


def test_every_move_is_drawn() -> None:
    page = reference.states()
    for line in ("[*] --> WAITING", "FORKED --> LOST", "[*] --> ACTIVE", "ACTIVE --> CLEANING", "FAILED --> [*]"):
        assert f"    {line}\n" in page
    for state in (*ProcessState, *TaskState):
        assert f"| {state.name} | {state.value} |" in page


def test_every_field_has_a_meaning_and_every_meaning_a_field() -> None:
    structs = [*checkpoint.UNION.values(), checkpoint.CERTIFICATE]
    fields = {f"{struct.name}.{field.name}" for struct in structs for field in struct.fields}
    meanings = reference.meanings()
    assert set(meanings) == fields
    for meaning in meanings.values():
        assert re.fullmatch(r"[A-Z`].*[.]", meaning), meaning


def test_fields_of_ours_are_marked() -> None:
    page = reference.checkpoint_format()
    assert "| 4 | `hostname` | string |  |" in page
    assert "| 101 | `cookie` | string | ours |" in page
    assert "| 1 | `signal` | i32 | ours |" in page
    assert f"at most {64 * 1024 * 1024} " in page


def test_the_example_is_the_whole_frame() -> None:
    frame = checkpoint.encode(reference.EXAMPLE)
    assert b"".join(raw for raw, _ in reference.dissect(frame)) == frame
    shown = re.findall(r"^\| `([0-9a-f ]+)` \|", reference.checkpoint_format(), re.MULTILINE)
    assert bytes.fromhex("".join(shown)) == frame
    assert checkpoint.decode(frame).records == [reference.EXAMPLE]
