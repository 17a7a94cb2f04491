"""The writer of a task's pages, as the executor's child: what is asked of one that is about to end is not lost."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from observer_static.facts import read_facts
from tests.support.box import process
from thermos.core.lifetime_events import RunnerEnded
from thermos.definition import build
from thermos.executor.pages import Pages, PagesOrder
from thermos.executor.runner_child import RunnerChild, RunnerOrder
from thermos.formats.health_file import Health, Verdict
from thermos.host import proc
from thermos.host.loop import Loop
from thermos.schema import Task

DEADLINE_S = 30.0
RAW = {"name": "task", "processes": [process("a", "true")]}


class Stage:
    """A task that is over, and its pages' writer in a loop."""

    def __init__(self, path: Path) -> None:
        self.loop = Loop()
        self.page = path / "index.html"
        self.complaints: list[str] = []
        self.ends: list[str] = []
        task = build(Task, RAW, "", [])
        assert task is not None
        order = RunnerOrder(
            root=str(path / "checkpoints"), task_id="t", sandbox=str(path / "sandbox"), task=task,
            task_json=json.dumps(RAW),
        )  # fmt: skip
        told: list[object] = []
        child = RunnerChild(self.loop, order, told.append)
        child.start()
        self.until(lambda: any(isinstance(event, RunnerEnded) for event in told), "the task is over")
        child.close()
        self.pages = Pages(
            self.loop,
            PagesOrder(
                directory=str(path), root=order.root, task_id="t", task_json=order.task_json, agent=None,
                hostname="here", owner=None,
            ),
            self.complaints.append,
        )  # fmt: skip

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s, f"not in time: {what}"
            self.loop.step(0.05)

    def writers(self) -> list[int]:
        return [pid for pid in proc.children(os.getpid()) if is_writer(pid)]

    def written(self) -> int:
        """Have the page written once; its writer's pid, which waits for more."""
        self.pages.changed()
        self.until(lambda: self.page.exists() and not self.pages.is_busy, "the page is there")
        [writer] = self.writers()
        return writer


def is_writer(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "thermos-pages\n"
    except OSError:
        return False


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.pages.close()
    made.loop.close()


def test_the_last_writing_is_done_by_another_when_the_writer_dies_of_it(stage: Stage) -> None:
    writer = stage.written()
    os.kill(writer, signal.SIGSTOP)
    stage.page.unlink()
    stage.pages.finish(lambda: stage.ends.append("done"))
    os.kill(writer, signal.SIGKILL)
    stage.until(lambda: stage.ends, "the last writing is over")
    assert stage.page.exists()
    assert not stage.complaints


def test_one_that_has_just_left_is_replaced(stage: Stage) -> None:
    writer = stage.written()
    os.kill(writer, signal.SIGKILL)
    os.waitid(os.P_PID, writer, os.WEXITED | os.WNOWAIT)  # it is gone, and the loop has not heard of it
    stage.page.unlink()
    stage.pages.finish(lambda: stage.ends.append("done"))
    stage.until(lambda: stage.ends, "the last writing is over")
    assert stage.page.exists()
    assert not stage.complaints


def test_two_that_die_of_it_are_enough(stage: Stage) -> None:
    writer = stage.written()
    killed = []
    os.kill(writer, signal.SIGSTOP)
    stage.pages.finish(lambda: stage.ends.append("done"))

    def is_over() -> bool:
        for pid in stage.writers():
            if pid not in killed:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        return bool(stage.ends)

    stage.until(is_over, "it is given up")
    assert len(killed) == 2
    assert stage.complaints == ["the task's pages could not be written: their writer died"]


def test_what_checks_say_is_on_the_page_and_beside_the_checkpoint(stage: Stage) -> None:
    stage.pages.changed(Health(Verdict.UNHEALTHY, "GET /health gave 503", 1795182213.0))
    stage.until(lambda: stage.page.exists() and not stage.pages.is_busy, "the page is there")
    page = stage.page.read_text()
    assert "not healthy" in page and "GET /health gave 503" in page
    health = read_facts(str(stage.page.parent / "checkpoints"), "t", False).health
    assert health is not None and health[:3] == (Verdict.UNHEALTHY, "GET /health gave 503", 1795182213.0)
    assert sorted(path.name for path in (stage.page.parent / "checkpoints/checkpoints/t").glob(".*")) == []
    stage.pages.changed(Health(Verdict.UNCHECKED, "", None))
    stage.until(lambda: ">not checked<" in stage.page.read_text(), "the page says that nothing is checked")
    assert not stage.complaints


def test_a_verdict_that_cannot_be_left_is_told_once(stage: Stage) -> None:
    os.mkdir(stage.page.parent / "checkpoints/checkpoints/t/health")
    for text in ("one", "two"):
        stage.pages.changed(Health(Verdict.HEALTHY, text, None))
    assert stage.complaints == ["what health checks say could not be written beside the checkpoint: Is a directory"]
