"""Work in a child: one answer, whatever happens to it, and nothing left of what was given up."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.box import free_of, until, with_words
from thermos.executor.errand import Errand
from thermos.host.loop import Loop

DEADLINE_S = 30.0
PROJECT = Path(__file__).parents[3]


class Stage:
    def __init__(self) -> None:
        self.loop = Loop()
        self.answers: list[str | None] = []
        self.errands: list[Errand] = []

    def send(self, work: Callable[[], str]) -> Errand:
        self.errands.append(Errand(self.loop, work, self.answers.append))
        return self.errands[-1]

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s, f"not in time: {what}; answers: {self.answers}"
            self.loop.step(0.05)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    for errand in made.errands:
        errand.give_up()
        made.until(lambda errand=errand: errand.is_over, "it is gone")  # type: ignore[misc]
    made.loop.close()


def sleep_for_ever() -> str:
    signal.pause()
    return ""


def test_its_answer_comes_once(stage: Stage) -> None:
    errand = stage.send(lambda: "grüße")
    stage.until(lambda: errand.is_over, "its end")
    assert stage.answers == ["grüße"]


def test_an_exception_is_told_in_words(stage: Stage) -> None:
    def work() -> str:
        raise FileNotFoundError(2, "No such file", "/x")

    stage.send(work)
    stage.until(lambda: stage.answers, "an answer")
    assert stage.answers == ["FileNotFoundError: [Errno 2] No such file: '/x'"]


def test_one_that_dies_answers_with_nothing(stage: Stage) -> None:
    def work() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return "never"

    stage.send(work)
    stage.until(lambda: stage.answers, "an answer")
    assert stage.answers == [None]


def test_a_long_answer_is_cut(stage: Stage) -> None:
    stage.send(lambda: "x" * (1 << 20))
    stage.until(lambda: stage.answers, "an answer")
    (answer,) = stage.answers
    assert answer == "x" * (64 << 10)


def test_it_has_neither_our_descriptors_nor_our_signals(stage: Stage, tmp_path: Path) -> None:
    def work() -> str:
        held = []
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the one that reads the directory
                held.append(os.readlink(f"/proc/self/fd/{fd}"))
        return f"{any('secret' in name for name in held)} {signal.pthread_sigmask(signal.SIG_BLOCK, [])}"

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        with open(tmp_path / "secret", "w"):
            stage.send(work)
            stage.until(lambda: stage.answers, "an answer")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    assert stage.answers == ["False set()"]


def test_one_that_is_given_up_is_killed_with_what_it_started(stage: Stage) -> None:
    word = f"thermos-test-{secrets.token_hex(8)}"

    def work() -> str:
        subprocess.run(["/bin/bash", "-c", f"exec -a {word} sleep 600"], check=False)
        return "never"

    errand = stage.send(work)
    until(lambda: with_words(word), "what it started runs")
    errand.give_up()
    errand.give_up()
    stage.until(lambda: errand.is_over, "it is gone")
    free_of(word)
    assert stage.answers == []


def test_giving_up_what_is_over_does_nothing(stage: Stage) -> None:
    errand = stage.send(lambda: "done")
    stage.until(lambda: errand.is_over, "its end")
    errand.give_up()
    assert stage.answers == ["done"]


def test_it_ends_with_us_even_if_we_are_killed() -> None:
    word = f"thermos-test-{secrets.token_hex(8)}"
    script = (
        "import os, signal, sys\n"
        "from thermos.executor.errand import Errand\n"
        "from thermos.host.loop import Loop\n"
        "def work():\n"
        "    print(os.getpid(), flush=True)\n"
        "    signal.pause()\n"
        "loop = Loop()\n"
        "Errand(loop, work, print)\n"
        "loop.run()\n"
    )
    words = [sys.executable, "-c", script, word]
    parent = subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=PROJECT)
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    free_of(word)


def test_where_no_process_can_be_started_that_is_the_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fork", fork)
    errand = stage.send(lambda: "never")
    assert errand.is_over
    assert stage.answers == []  # not before our maker has us in hand
    stage.until(lambda: stage.answers, "an answer")
    assert stage.answers == ["no process can be started for it: Resource temporarily unavailable"]
    assert len(os.listdir("/proc/self/fd")) == before
