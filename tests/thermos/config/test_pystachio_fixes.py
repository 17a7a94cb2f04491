"""Each mend of pystachio does what it is for; the last three show that what we build on it holds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thermos.config.pystachio_fixes import frozendict, pystachio
from thermos.config.structs import struct

ROOT = Path(__file__).resolve().parents[3]


def test_a_choice_of_structs_is_read_back_from_its_json() -> None:
    job = struct("Job")(
        name="n", role="r", cluster="c", environment="e",
        task=struct("Task")(processes=[struct("Process")(name="p", cmdline="x")]),
        container=struct("Mesos")(image=struct("DockerImage")(name="i", tag="1")),
        update_config=struct("UpdateConfig")(update_strategy=struct("QueueUpdateStrategy")(batch_size=2)),
        sla_policy=struct("PercentageSlaPolicy")(percentage=95.0, duration_secs=1800),
    )  # fmt: skip
    text = job.json_dumps()
    again = struct("Job").json_loads(text)
    assert again.check().ok(), again.check().message()
    assert json.loads(again.json_dumps()) == json.loads(text)


def test_a_circle_that_doubles_ends_soon() -> None:
    grows = pystachio.String("{{a}}").bind(a="{{b}}{{b}}", b="{{a}}{{a}}")
    began = time.monotonic()
    assert "grow beyond" in grows.check().message()
    assert time.monotonic() - began < 30


def test_a_plain_circle_is_no_type_error_either() -> None:
    assert "circle" in pystachio.String("{{a}}").bind(a="{{a}}").check().message()


def test_unknown_fields_inside_lists_are_passed_over() -> None:
    text = '{"name": "t", "new": 1, "processes": [{"name": "p", "cmdline": "x", "new": {"deep": 1}}]}'
    task = struct("Task").json_loads(text)
    assert task.processes()[0].cmdline().get() == "x"


def test_equal_choices_are_equal() -> None:
    one, other = (pystachio.Enum("Colour", ("red", "blue")) for _ in range(2))
    assert one("red") == other("red")
    assert one("red") != other("blue")
    assert one("red") != pystachio.Enum("Colour", ("red", "green"))("red")
    assert one("red") != "red"
    assert len({one("red"), other("red")}) == 1


def test_a_struct_with_a_choice_equals_itself_after_a_round_trip() -> None:
    task = struct("Task")(processes=[struct("Process")(name="p", cmdline="x", logger={"mode": "rotate"})])
    assert struct("Task").json_loads(task.json_dumps()) == task


def test_a_frozendict_can_be_compared_with_anything() -> None:
    assert frozendict({"a": 1}) == {"a": 1}
    assert frozendict() == {}
    assert frozendict({"a": 1}) != 3
    assert hash(frozendict({"a": 1})) == hash(frozendict({"a": 1}))


def test_literals_come_out_as_text() -> None:
    assert str(pystachio.String("{{&a}} {{b}}").bind(b="B")) == "{{a}} B"


def test_what_is_not_recorded_raises_as_ever() -> None:
    with pytest.raises(AttributeError, match="nme"):
        struct("Process")(nme="p")
    with pytest.raises(ValueError, match="only accepts"):
        pystachio.Enum("Colour", ("red",))("blue")


def test_its_old_escapes_do_not_warn() -> None:
    """Where bytecode is not kept, every start would print them."""
    script = "import thermos.config.execute"
    command = [sys.executable, "-B", "-X", "pycache_prefix=/nonexistent", "-c", script]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stderr == ""
