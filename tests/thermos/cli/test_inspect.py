"""``thermos inspect``: the original's form, and JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.thermos.cli.command import GOLDEN, needs_golden, thermos
from tests.thermos.cli.test_status import GOLDEN_TASKS
from thermos.cli.pydict import pydict
from thermos.errors import ExitCode

CONFIG = """
web = Process(name='web', cmdline='serve {{thermos.ports[http]}} {{mode}}')
export(Task(name='one', processes=[web]))
export(Task(name='two', processes=[web(name='other', cmdline='true')]))
"""


@needs_golden
@pytest.mark.parametrize("task_id", GOLDEN_TASKS)
def test_what_the_original_prints(task_id: str) -> None:
    ours = thermos("inspect", "--json", GOLDEN / "json" / f"{task_id}.json")
    theirs = (GOLDEN / "expected" / task_id / "inspect.txt").read_text()
    assert (ours.returncode, ours.stderr) == (0, "")
    assert ours.stdout == re.sub(r"""\bu(['"])""", r"\1", theirs)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "two.thermos"
    path.write_text(CONFIG)
    return path


def test_bindings_ports_and_the_task(config: Path) -> None:
    done = thermos("inspect", "--task", "one", "-E", "mode=fast", "-P", "http:8080", config)
    assert "'cmdline': 'serve 8080 fast'" in done.stdout
    without = thermos("inspect", "--task", "one", "--bind", "mode=fast", config)
    assert "'cmdline': 'serve {{thermos.ports[http]}} fast'" in without.stdout


def test_json(config: Path) -> None:
    answer = json.loads(thermos("inspect", "--task", "two", "--output", "json", "-E", "mode=x", config).stdout)
    assert answer["schema"] == 1
    assert answer["task"]["processes"][0]["name"] == "other"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-E", "mode=x"], "several tasks"),
        (["--task", "three", "-E", "mode=x"], "'three'"),
        (["--task", "two", "-P", "http"], "NAME:PORT"),
        (["--task", "two", "-E", "mode"], "NAME=VALUE"),
    ],
)
def test_what_is_wrong_is_said(config: Path, arguments: list[str], says: str) -> None:
    done = thermos("inspect", *arguments, config)
    assert done.returncode == ExitCode.INVALID_TASK
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_pydict_breaks_where_python_2_does_whose_texts_are_one_longer() -> None:
    assert pydict({"a": ()}) == "{   'a': ()}"
    fits = "x" * 63  # {   'a': (u'xxx',)} has 80 columns then
    assert pydict({"a": (fits,)}) == f"{{   'a': ('{fits}',)}}"
    assert pydict({"a": (fits + "x",)}) == f"{{   'a': (   '{fits}x',)}}"
    assert pydict({"a": (fits, "y")}) == f"{{   'a': (   '{fits}',\n             'y')}}"
