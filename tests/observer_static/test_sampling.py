from __future__ import annotations

import contextlib
import itertools
import os
import select
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from observer_static.disk import Walk
from observer_static.sampling import DISK_FRESH_S, Sampling
from tests.support.box import box, process
from thermos.core.state import RunnerState
from thermos.host.usage import Sampler, TaskUsage
from thermos.records import RunnerHeader

pytestmark = pytest.mark.process


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Counting(Sampler[str]):
    """Says how often it was asked for what; measures for real."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    def sample(self, wanted: Mapping[str, RunnerState]) -> dict[str, TaskUsage]:
        self.asked.append(sorted(wanted))
        return super().sample(wanted)


def states(*keys: str, sandbox: str | None = None) -> dict[str, RunnerState]:
    found = {}
    for key in keys:
        found[key] = RunnerState()
        found[key].apply(RunnerHeader(key, 0, sandbox=sandbox))
    return found


@contextlib.contextmanager
def sampling(
    interval_s: float | None = None, disk_interval_s: float | None = None, disk: Walk | None = None
) -> Iterator[tuple[Sampling[str], Counting, Clock]]:
    clock, sampler = Clock(), Counting()
    made = Sampling[str](interval_s, disk_interval_s, disk, clock=clock, sampler=sampler)
    try:
        yield made, sampler, clock
    finally:
        made.close()


# -- nothing without a reason ----------------------------------------------------------------------------------------


def test_nothing_is_due_while_nobody_asks() -> None:
    with sampling(disk=Walk()) as (made, sampler, clock):
        for _ in range(3):
            assert made.due_in_s(clock.now_s) is None
            assert made.due(states("a", "b")) == frozenset()
            clock.now_s += 3600
        assert sampler.asked == []
        assert (made.rounds, made.walks) == (0, 0)
        assert made.usage("a") is None and list(made.history("a")) == []


_opened: list[str] | None = None


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event in ("open", "os.listdir", "os.scandir", "subprocess.Popen"):
        _opened.append(f"{event} {arguments[0]!r}")


_hooked = False


def test_nothing_is_read_while_nobody_asks() -> None:
    global _opened, _hooked
    if not _hooked:
        _hooked = True
        sys.addaudithook(_hear)
    with sampling(disk=Walk()) as (made, _, clock):
        opened: list[str] = []
        _opened = opened
        try:
            for _ in range(10):
                made.due_in_s(clock.now_s)
                made.due(states("a"))
                made.usage("a")
                made.history("a")
                clock.now_s += 600
            assert opened == []
            made.look(["a"], states("a", sandbox="/nonexistent"))
            assert any("/proc" in one for one in opened)
        finally:
            _opened = None


def test_an_interval_that_was_asked_for() -> None:
    with sampling(interval_s=20) as (made, sampler, clock):
        assert made.due_in_s(clock.now_s) == 0
        assert made.due(states("a", "b")) == {"a", "b"}
        assert made.due_in_s(clock.now_s) == 20
        clock.now_s += 19
        assert made.due(states("a", "b")) == frozenset()
        clock.now_s += 1
        assert made.due(states("b", "c")) == {"b", "c"}
        assert sampler.asked == [["a", "b"], ["b", "c"]]


def test_no_tasks_no_measurement() -> None:
    with sampling(interval_s=20) as (made, sampler, _):
        assert made.due({}) == frozenset()
        assert sampler.asked == []


def test_an_interval_too_short_for_an_hour() -> None:
    with pytest.raises(ValueError, match="more than 10000"):
        Sampling[str](0.3, disk=None)


# -- looking ---------------------------------------------------------------------------------------------------------


def test_a_measurement_is_good_for_a_second() -> None:
    with sampling() as (made, sampler, clock):
        first = made.look(["a"], states("a", "b"))
        clock.now_s += 0.9
        assert made.look(["a"], states("a", "b")) == first
        assert sampler.asked == [["a"]]
        clock.now_s += 0.1
        second = made.look(["a"], states("a", "b"))
        assert sampler.asked == [["a"], ["a"]]
        assert second["a"].task.at_s > first["a"].task.at_s
        assert made.usage("a") == second["a"]


def test_whoever_goes_through_a_list_has_all_measured_at_once() -> None:
    with sampling() as (made, sampler, clock):
        active = states(*"abcdefgh")
        for key in active:
            made.look([key], active)
            clock.now_s += 0.01
        assert sampler.asked == [["a"], list("bcdefgh")]


def test_looking_at_what_is_not_active() -> None:
    with sampling() as (made, sampler, _):
        assert made.look(["gone"], states("a")) == {}
        assert sampler.asked == []


def test_history_follows_the_measurements() -> None:
    with sampling(interval_s=20) as (made, _, clock):
        for _ in range(3):
            made.due(states("a"))
            clock.now_s += 20
        points = made.history("a")
        assert [point.cpu for point in points] == [None, 0.0, 0.0]
        assert [point.ram_bytes for point in points] == [0, 0, 0]
        assert [point.disk_bytes for point in points] == [None] * 3


def test_a_clock_that_is_set_back_begins_anew() -> None:
    class Jumping(Counting):
        def sample(self, wanted: Mapping[str, RunnerState]) -> dict[str, TaskUsage]:
            at_s = 5000.0 if len(self.asked) == 2 else 9000.0 + len(self.asked)
            found = super().sample(wanted)
            return {key: usage._replace(task=usage.task._replace(at_s=at_s)) for key, usage in found.items()}

    clock = Clock()
    made = Sampling[str](disk=None, clock=clock, sampler=Jumping())
    lengths = []
    for _ in range(3):
        made.look(["a"], states("a"))
        lengths.append([point.at_s for point in made.history("a")])
        clock.now_s += 2
    assert lengths == [[9000.0], [9000.0, 9001.0], [5000.0]]


def test_what_is_forgotten_is_gone() -> None:
    with sampling() as (made, _, clock):
        made.look(["a"], states("a"))
        made.forget("a")
        assert made.usage("a") is None and list(made.history("a")) == []
        assert made.look(["a"], states("a"))["a"].task.cpu is None
        clock.now_s += 1
        assert made.look(["a"], states("a"))["a"].task.cpu == 0.0


class Single(Counting):
    """Tells when two threads measure at once."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = 0
        self.most = 0

    def sample(self, wanted: Mapping[str, RunnerState]) -> dict[str, TaskUsage]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        found = super().sample(wanted)
        self.inside -= 1
        return found


def test_threads_may_look_at_once() -> None:
    ticks = itertools.count()
    sampler = Single()
    made = Sampling[str](disk=None, clock=lambda: float(next(ticks)), sampler=sampler)
    active = states(*"abcd")

    def look() -> list[object]:
        return [(made.look([key], active)[key].task, made.usage(key), made.history(key)) for key in "abcd" * 20]

    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = [future.result() for future in [pool.submit(look) for _ in range(4)]]
    finally:
        sys.setswitchinterval(before_s)
    assert [len(one) for one in found] == [80] * 4
    assert sampler.most == 1
    assert made.rounds == 4 * 80


def test_what_is_over_is_forgotten() -> None:
    """A server may have looked at it in the moment when it ended."""
    with sampling() as (made, _, _clock):
        made.look(["a", "b"], states("a", "b"))
        made.due(states("b"))
        assert made.usage("a") is None and list(made.history("a")) == []
        assert made.usage("b") is not None


# -- disk ------------------------------------------------------------------------------------------------------------


def wait_disk(made: Sampling[str], active: Mapping[str, RunnerState]) -> set[str]:
    """What is new once the child has ended; waits on the descriptor."""
    assert made.fd is not None
    found: set[str] = set()
    while select.select([made.fd], [], [], 30)[0]:
        found |= made.due(active)
        if not made.is_counting:
            return found
    raise AssertionError("no answer")


def test_a_look_counts_disk_once_in_a_while() -> None:
    with box() as a_box, sampling(disk=Walk()) as (made, _, clock):
        os.makedirs(a_box.sandbox)
        active = states("a", sandbox=a_box.sandbox)
        assert made.look(["a"], active)["a"].disk_bytes is None
        assert made.walks == 1
        assert made.due_in_s(clock.now_s) is not None
        assert wait_disk(made, active) == {"a"}
        used = made.look(["a"], active)["a"].disk_bytes
        assert used is not None and used >= 0
        clock.now_s += DISK_FRESH_S - 1
        assert made.look(["a"], active)["a"].disk_bytes == used
        assert made.walks == 1
        assert made.history("a")[-1].disk_bytes == used
        clock.now_s += 1
        made.look(["a"], active)
        assert made.walks == 2
        wait_disk(made, active)


def test_disk_at_an_interval() -> None:
    with box() as a_box, sampling(disk_interval_s=60, disk=Walk()) as (made, sampler, clock):
        os.makedirs(a_box.sandbox)
        active = states("a", "b", sandbox=a_box.sandbox)
        assert made.due_in_s(clock.now_s) == 0
        made.due(active)
        assert wait_disk(made, active) == {"a", "b"}
        assert made.due_in_s(clock.now_s) == 60
        assert sampler.asked == []
        disk = made.disk("a")
        assert disk is not None and disk.used_bytes is not None


def test_what_is_asked_for_meanwhile_comes_next() -> None:
    with box() as a_box, sampling(disk=Walk()) as (made, _, _clock):
        os.makedirs(a_box.sandbox)
        active = states("a", "b", sandbox=a_box.sandbox)
        made.look(["a"], active)
        made.look(["b"], active)
        assert made.walks == 1
        assert wait_disk(made, active) == {"a", "b"}
        assert made.walks == 2


def test_no_sandbox_no_disk() -> None:
    with sampling(disk=Walk()) as (made, _, _clock):
        made.look(["a"], states("a"))
        assert made.walks == 0


def test_disk_that_nobody_wants() -> None:
    with sampling(interval_s=20, disk_interval_s=30) as (made, _, clock):
        assert made.fd is None
        made.due(states("a", sandbox="/tmp"))
        assert made.due_in_s(clock.now_s) == 20
        assert made.walks == 0


def test_a_real_task() -> None:
    with box() as a_box, sampling() as (made, _, clock):
        a_box.start([process("work", "sleep 1000")])
        a_box.until_running("work")
        usage = made.look(["task"], {"task": a_box.state})["task"]
        assert usage.processes["work"].processes == 2
        clock.now_s += 2
        assert made.look(["task"], {"task": a_box.state})["task"].processes["work"].cpu is not None
