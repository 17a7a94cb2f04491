"""The page on what pages show is what the code says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args

import pytest

from observer_static import pages, parts, reference


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    assert (reference.DIRECTORY / name).read_text("utf-8") == reference.PAGES[name](), (
        "run: python -m observer_static.reference --write"
    )


def test_check_notices_an_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "DIRECTORY", tmp_path / "reference")
    assert reference.main(["--check"]) == 1
    assert reference.main(["--write"]) == 0
    assert reference.main(["--check"]) == 0


def test_every_field_of_every_page_and_part_is_there() -> None:
    text = reference.what_pages_show()
    for value in (vars(pages) | vars(parts)).values():
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value is not pages.File:
            section = text.split(f"### {value.__name__}\n")[1].split("\n### ")[0]
            for field in dataclasses.fields(value):
                assert f"| `{field.name}` |" in section
    assert len(get_args(pages.Page)) == 6
