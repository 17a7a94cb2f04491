"""Real processes on one store: killed at any moment, or several that all want to lead."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from scheduler.core.changes import DropTask
from scheduler.core.state import State
from scheduler.store.interface import Fenced
from tests.scheduler.store.conftest import Place
from tests.scheduler.store.values import state_of
from tests.support.box import until

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

pytestmark = pytest.mark.process

#: Commits of each of several.
EACH = 60


def start(place: Place, name: str, commits: int, said: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, HERE / "writer.py", place.url, name, str(commits)],
        stdin=subprocess.PIPE, stdout=said, cwd=ROOT, env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )  # fmt: skip


def go(*writers: subprocess.Popen[bytes]) -> None:
    """They wait for this."""
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()


def acknowledged(path: Path) -> list[int]:
    """Numbers of the commits that a writer said are durable; a line that was cut off is none."""
    lines = path.read_text().split("\n")[:-1]
    return [int(line) for line in lines if line not in ("ready", "fenced")]


def check(state: State) -> int:
    """Nothing is missing, nothing half; gives the number of commits."""
    count = state.tasks["count"].failure_count if "count" in state.tasks else 0
    assert set(state.tasks) - {"count"} == {f"t-{number}" for number in range(1, count + 1)}
    return count


def test_a_writer_that_is_killed_loses_nothing_that_it_acknowledged(place: Place, tmp_path: Path) -> None:
    store = place.open()  # makes it, so that the first kill has something to hit
    chance = random.Random(7)
    done = 0
    for killed in range(12):
        path = tmp_path / f"writer-{killed}"
        # At every number of commits, and then somewhere within one.
        wanted = 1 + killed % 6
        with open(path, "wb") as said:
            writer = start(place, f"writer-{killed}", 1_000_000, said)
        try:
            go(writer)
            until(lambda path=path, wanted=wanted: len(acknowledged(path)) >= wanted, "it commits")  # type: ignore[misc]
            for _ in range(chance.randrange(2000)):
                pass
        finally:
            writer.kill()
            writer.wait(30)
        said_by_it = acknowledged(path)
        assert said_by_it[0] in (done + 1, done + 2) if done else said_by_it[0] == 1
        count = check(state_of(store.load()))
        assert count in (said_by_it[-1], said_by_it[-1] + 1)
        done = count


def test_of_several_that_lead_only_the_last_writes(place: Place, tmp_path: Path) -> None:
    """Each number was given to one writer alone, and what it wrote under it is there."""
    store = place.open()
    paths = {name: tmp_path / name for name in ("a", "b", "c")}
    writers = []
    try:
        for name, path in paths.items():
            with open(path, "wb") as said:
                writers.append(start(place, name, EACH, said))
        until(lambda: all(path.read_text() for path in paths.values()), "all are ready")
        go(*writers)
        for writer in writers:
            assert writer.wait(60) == 0
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(30)
    state = state_of(store.load())
    assert check(state) == 3 * EACH
    for name, path in paths.items():
        numbers = acknowledged(path)
        assert len(numbers) == EACH
        assert {state.tasks[f"t-{number}"].host for number in numbers} == {name}


def test_two_processes_take_the_lead_from_each_other(place: Place, tmp_path: Path) -> None:
    store = place.open()
    path = tmp_path / "writer"
    with open(path, "wb") as said:
        writer = start(place, "writer", 1_000_000, said)
    try:
        go(writer)
        until(lambda: len(acknowledged(path)) >= 3, "it commits")
        store.lead()
        until(lambda: "fenced" in path.read_text(), "it is fenced")
        # It leads again by itself, and then it is our turn to be refused.
        behind = len(acknowledged(path))
        until(lambda: len(acknowledged(path)) > behind, "it commits again")
        with pytest.raises(Fenced):
            store.commit([DropTask("t-1")])
    finally:
        writer.kill()
        writer.wait(30)
    numbers = acknowledged(path)
    assert numbers == list(range(1, len(numbers) + 1))
    assert check(state_of(store.load())) in (numbers[-1], numbers[-1] + 1)
