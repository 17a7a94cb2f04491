"""The page on what the scheduler's pages show is what the code says."""

from __future__ import annotations

import dataclasses

import pytest

from observer_static.reference import dataclasses_of
from scheduler.pages import pages, parts, reference


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    assert (reference.DIRECTORY / name).read_text("utf-8") == reference.PAGES[name](), (
        "run: python -m scheduler.pages.reference --write"
    )


def test_every_field_of_every_page_and_part_is_there() -> None:
    text = reference.what_pages_show()
    for kind in [*dataclasses_of(pages), *dataclasses_of(parts)]:
        section = text.split(f"### {kind.__name__}\n")[1].split("\n### ")[0]
        for field in dataclasses.fields(kind):
            assert f"| `{field.name}` |" in section
