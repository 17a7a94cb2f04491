"""The loop and those who wait for it: what is answered is what became of the commit, in time or not, to the end."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scheduler.api.backend import NotBegun, OutcomeUnknown, View
from scheduler.core.changes import Change
from scheduler.core.commands import AddInstances, Answer, CreateJob
from scheduler.core.engine import Engine
from scheduler.core.events import Decline, Resumed, Subscribed
from scheduler.core.registration import Registration
from scheduler.program import Program
from scheduler.requests import Asked, answer_of
from scheduler.store.interface import Fenced, Misused, NoSpace, StoreError
from scheduler.store.sqlite import SqliteStore
from scheduler.turn import Ended
from tests.support.box import SOON_S, until
from tests.support.world import JOB, SETTINGS, job_of
from thermos.errors import ExitCode
from thermos.formats.aurora_api import ResponseCode

CREATE = CreateJob(job_of(), "ann")
GROW = AddInstances(JOB, 0, 1, "ann")


class SilentMesos:
    def start(self) -> None:
        pass

    def call(self, call: object) -> None:
        pass

    def metrics(self) -> dict[str, float]:
        return {"mesos_calls_lost": 1}

    def close(self) -> None:
        pass


class Slow(SqliteStore):
    """Commits when it may, and fails as it is told."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.may = threading.Event()
        self.may.set()
        self.is_waiting = threading.Event()
        self.failure: Exception | None = None

    def commit(self, changes: Sequence[Change]) -> None:
        self.is_waiting.set()
        assert self.may.wait(SOON_S)
        self.is_waiting.clear()
        if self.failure is not None:
            raise self.failure
        super().commit(changes)


class Running:
    """A program in a thread, and clients in others."""

    def __init__(self, store: Slow) -> None:
        self.store = store
        numbers = itertools.count()
        engine = Engine(SETTINGS, lambda: str(next(numbers)), lambda: 0.5)
        self.program = Program(
            engine, store, lambda framework_id, tell: SilentMesos(), lambda launch: (Decline((), 5.0), ())
        )
        self.clients = ThreadPoolExecutor(8)
        self.ends = self.clients.submit(self.program.run)

    def instances(self) -> list[int]:
        return self.program.look(lambda view: sorted(task.instance for task in view.state.active_of(JOB)))

    def hold(self) -> Future[Any]:
        """Keep the loop in a commit; gives what becomes of the command."""
        self.store.may.clear()
        asked = self.clients.submit(self.program.command, GROW)
        assert self.store.is_waiting.wait(SOON_S)
        return asked

    def behind(self, do: Callable[[], Any]) -> Future[Any]:
        """Another client asks, while the loop is busy."""
        size = self.program._queue.qsize()
        asked = self.clients.submit(do)
        until(lambda: self.program._queue.qsize() == size + 1, "it waits in the queue")
        return asked


Make = Callable[[], Running]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Running] = []

    def start() -> Running:
        store = Slow(str(tmp_path / "store.db"))
        store.lead()
        made.append(Running(store))
        assert made[-1].program.command(CREATE).code is ResponseCode.OK
        return made[-1]

    yield start
    for one in made:
        one.store.may.set()
        one.program.tell(Ended(0, "the test is over"))
        one.clients.shutdown()
        one.store.close()


def test_what_timed_out_before_it_was_begun_is_never_done(make: Make) -> None:
    running = make()
    held = running.hold()
    running.program.answer_s = 0.05
    for _ in range(3):
        with pytest.raises(NotBegun, match="nothing of it was done"):
            running.program.command(GROW)
    with pytest.raises(NotBegun):
        running.instances()
    running.store.may.set()
    running.program.answer_s = SOON_S
    assert held.result(SOON_S).code is ResponseCode.OK
    assert running.instances() == [0, 1]


def test_what_was_begun_is_done_and_its_client_is_not_told_that_it_was_not(make: Make) -> None:
    running = make()
    running.store.may.clear()
    result: Future[Answer] = Future()
    running.program.tell(Asked(GROW, result))
    assert running.store.is_waiting.wait(SOON_S)
    with pytest.raises(OutcomeUnknown, match="whether it was done is not known"):
        answer_of(result, 0.05)
    running.store.may.set()
    assert running.instances() == [0, 1]


def test_a_time_out_of_what_is_looked_at_is_nobody_elses(make: Make) -> None:
    def at(view: View) -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        make().program.look(at)


@pytest.mark.parametrize(
    "failure, told, words",
    [
        (Fenced("another scheduler leads"), StoreError, "has done nothing of it"),
        (StoreError("the disk is broken"), OutcomeUnknown, "the disk is broken"),
        (ZeroDivisionError("a fault of ours"), OutcomeUnknown, "a fault of ours"),
    ],
)
def test_a_commit_that_fails_is_answered_at_once(
    make: Make, failure: Exception, told: type[Exception], words: str
) -> None:
    running = make()
    held = running.hold()
    looks = running.behind(running.instances)
    waits = running.behind(lambda: running.program.command(GROW))
    running.store.failure = failure
    running.store.may.set()
    error = held.exception(SOON_S)
    assert type(error) is told
    assert words in str(error)
    for later in (looks, waits):
        assert type(later.exception(SOON_S)) is StoreError
    if isinstance(failure, StoreError):
        assert running.ends.result(SOON_S).code == failure.exit_code
    else:
        assert running.ends.exception(SOON_S) is failure
    with pytest.raises(StoreError, match="has just ended"):  # and whoever comes too late
        running.program.command(GROW)


def test_a_full_disk_refuses_the_whole_turn_and_goes_on(make: Make) -> None:
    running = make()
    held = running.hold()
    running.store.failure = NoSpace("the disk is full")
    running.store.may.set()
    assert held.result(SOON_S).code is ResponseCode.ERROR_TRANSIENT
    assert running.instances() == [0]
    running.store.failure = None
    assert running.program.command(GROW).code is ResponseCode.OK
    assert running.instances() == [0, 1]


def test_replacing_everything_comes_last_and_ends_it(make: Make) -> None:
    running = make()
    held = running.hold()
    replaced = running.behind(lambda: running.program.replace(lambda state: []))
    late = running.behind(lambda: running.program.command(GROW))
    running.store.may.set()
    assert held.result(SOON_S).code is ResponseCode.OK
    assert replaced.result(SOON_S) is None
    assert type(late.exception(SOON_S)) is StoreError
    assert running.ends.result(SOON_S).code == ExitCode.OK


def test_a_replacement_that_cannot_be_made_changes_nothing(make: Make) -> None:
    running = make()

    def changes(state: object) -> list[Change]:
        raise Misused("no backup is staged")

    with pytest.raises(Misused):
        running.program.replace(changes)
    assert running.program.command(GROW).code is ResponseCode.OK


def test_figures_of_the_connection_are_shown(make: Make) -> None:
    assert make().program.look(lambda view: view.metrics["mesos_calls_lost"]) == 1


def test_a_leader_is_to_be_registered_in_time() -> None:
    registration = Registration(60, 100)
    assert not registration.is_overdue(False, 159.9)
    assert registration.is_overdue(False, 160)
    assert not registration.is_overdue(True, 160)
    assert not registration.is_overdue(False, 1000), "it was registered: a connection that broke is made again"
    assert registration.due_s is None
    assert not Registration(None, 100).is_overdue(False, 1e9), "nobody else could lead"


@pytest.mark.parametrize("is_known", [False, True])
def test_a_leader_who_is_not_registered_in_time_ends(tmp_path: Path, is_known: bool) -> None:
    clock = [0.0]
    engine = Engine(SETTINGS, lambda: "id", lambda: 0.5)
    with contextlib.closing(SqliteStore(str(tmp_path / "store.db"))) as store:
        store.lead()
        program = Program(
            engine, store, lambda framework_id, tell: SilentMesos(), lambda launch: (Decline((), 5.0), ()),
            mono=lambda: clock[0], max_registration_delay_s=60,
        )  # fmt: skip
        if is_known:
            program.tell(Subscribed("framework", None, "master"))
        with ThreadPoolExecutor(1) as threads:
            ends = threads.submit(program.run)
            try:
                assert program.look(lambda view: bool(view.metrics["framework_registered"])) is is_known
                clock[0] = 60.0
                program.tell(Resumed())
                if is_known:
                    assert program.look(lambda view: bool(view.metrics["framework_registered"]))
                else:
                    until(ends.done, "it ends")
            finally:
                program.tell(Ended(ExitCode.OK, "asked"))
            ended = ends.result(SOON_S)
    assert ended.code == (ExitCode.OK if is_known else ExitCode.TIMED_OUT)
    assert is_known or "-max_registration_delay" in ended.reason
