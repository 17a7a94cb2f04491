"""The generated reference and schema are what the definitions say, and the schema accepts what we write."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from thermos.config import dsl, reference, structs
from thermos.definition import plain, shapes
from thermos.schema import (
    Backoff,
    Constraint,
    Logger,
    Process,
    ProcessExtension,
    Resources,
    RotatePolicy,
    Task,
)

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema, a test's dependency, is not installed")

FULL = plain(
    Task(
        "t",
        (Process("a", "x", logger=Logger("both", "rotate", RotatePolicy()), resources=Resources(1.0, 1, 1)),),
        (Constraint(("a",)),),
        Resources(0.5, 1, 1),
        user="u",
        x_processes={"a": ProcessExtension(Backoff(), compress_rotated=True)},
    )
)


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_page_is_what_would_be_written(name: str) -> None:
    text = (reference.DIRECTORY / name).read_text("utf-8")
    assert text == reference.PAGES[name](), "run: python -m thermos.config.reference --write"


def test_check_finds_a_page_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "DIRECTORY", tmp_path / "reference")
    assert reference.main(["--check"]) == 1
    assert reference.main(["--write"]) == 0
    assert reference.main(["--check"]) == 0
    page = tmp_path / "reference" / "configuration.md"
    page.write_text(page.read_text().replace("cmdline", "command"))
    capsys.readouterr()
    assert reference.main(["--check"]) == 1
    assert "configuration.md" in capsys.readouterr().err


@pytest.fixture
def validator() -> Any:
    schema = json.loads(reference.task_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_knows_every_field() -> None:
    defined = json.loads(reference.task_schema())["$defs"]
    assert set(defined) == set(structs.TASK_DEFINITIONS)
    for name, definition in structs.TASK_DEFINITIONS.items():
        assert list(defined[name]["properties"]) == [shape.name for shape in shapes(definition)]
        assert set(defined[name]["properties"]) == set(structs.struct(name).TYPEMAP)


def test_the_schema_accepts_what_we_write_and_what_others_may(validator: Any) -> None:
    validator.validate(FULL)
    other = copy.deepcopy(FULL)
    other["processes"][0]["max_failures"] = "3"
    other["processes"][0]["daemon"] = "true"
    other["max_concurrency"] = "{{n}}"
    other["from_the_future"] = 1
    validator.validate(other)


@pytest.mark.parametrize(
    "where, value",
    [
        (("processes", 0, "max_failures"), -1),
        (("processes", 0, "max_failures"), 1.5),
        (("processes", 0, "max_failures"), "several"),
        (("processes", 0, "daemon"), "perhaps"),
        (("processes", 0, "cmdline"), None),
        (("processes", 0, "logger", "mode"), "x"),
        (("processes", 0, "logger", "rotate", "log_size"), 0),
        (("x_processes", "a", "backoff", "jitter"), 2),
        (("constraints", 0, "order"), "a"),
        (("resources", "cpu"), "fast"),
        (("processes",), {}),
    ],
)
def test_the_schema_refuses(validator: Any, where: tuple[Any, ...], value: object) -> None:
    broken = copy.deepcopy(FULL)
    inner = broken
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    [error] = validator.iter_errors(broken)
    assert tuple(error.absolute_path) == where


def test_the_schema_wants_what_is_required(validator: Any) -> None:
    found = {error.message for error in validator.iter_errors({"processes": [{}]})}
    assert found == {"'name' is a required property", "'cmdline' is a required property"}


def test_the_page_has_every_field_with_its_meaning() -> None:
    page = reference.configuration_page()
    for name, definition in structs.definitions().items():
        section = page.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
        for shape in shapes(definition):
            assert f"| `{shape.name}` |" in section, (name, shape.name)
            assert str(shape.meta["doc"]).strip().endswith("."), (name, shape.name)


def test_the_page_names_everything_in_scope() -> None:
    page = reference.configuration_page()
    rare = {"Empty", "MustacheParser", "Namable", "Ref", "Type", "TypeCheck", "TypeFactory"}  # of pystachio's own use
    contexts = {"ThermosContext", "MesosContext"}  # types of what is bound late; the table of references says it all
    for name in dsl.all_names() - rare - contexts:
        assert re.search(rf"\b{name}\b", page), name
    for word in ("export(", "include(", "jobs", "hooks"):
        assert word in page
