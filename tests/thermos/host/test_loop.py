"""The loop: who is called, in which order, and who is not any more."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from thermos.host.loop import Loop


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as loop:
        yield loop


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_descriptor_is_called_while_it_can_be_read(loop: Loop, pipe: tuple[int, int]) -> None:
    calls: list[bytes] = []
    loop.watch(pipe[0], lambda: calls.append(os.read(pipe[0], 1)))
    os.write(pipe[1], b"ab")
    loop.step(0)
    loop.step(0)
    loop.step(0)
    assert calls == [b"a", b"b"]


def test_reading_and_writing_are_told_apart_and_can_be_replaced(loop: Loop, pipe: tuple[int, int]) -> None:
    calls: list[str] = []
    loop.watch(pipe[1], None, lambda: calls.append("writable"))
    loop.step(0)
    loop.watch(pipe[1], None, None)
    loop.step(0)
    assert calls == ["writable"]


def test_one_that_is_forgotten_in_the_same_round_is_not_called(loop: Loop) -> None:
    first, second = os.pipe(), os.pipe()
    calls: list[int] = []

    def forget(fd: int, other: int) -> None:
        calls.append(fd)
        loop.unwatch(other)

    loop.watch(first[0], lambda: forget(first[0], second[0]))
    loop.watch(second[0], lambda: forget(second[0], first[0]))
    os.write(first[1], b"x")
    os.write(second[1], b"x")
    loop.step(0)
    assert len(calls) == 1
    for end in (*first, *second):
        loop.unwatch(end)
        os.close(end)


def test_timers_come_in_the_order_of_their_time() -> None:
    clock = Clock()
    calls: list[str] = []
    with Loop(clock) as loop:
        loop.call_later("late", 2.0, lambda: calls.append("late"))
        loop.call_later("soon", 1.0, lambda: calls.append("soon"))
        loop.step(0)
        assert calls == []
        clock.now_s += 2.0
        loop.step(0)
        assert calls == ["soon", "late"]
        loop.step(0)
        assert calls == ["soon", "late"]


def test_a_timer_is_replaced_or_taken_back_by_its_key() -> None:
    clock = Clock()
    calls: list[str] = []
    with Loop(clock) as loop:
        loop.call_later("a", 1.0, lambda: calls.append("first"))
        loop.call_later("a", 3.0, lambda: calls.append("second"))
        loop.call_later("b", 1.0, lambda: calls.append("b"))
        loop.cancel("b")
        loop.cancel("c")
        clock.now_s += 2.0
        loop.step(0)
        assert calls == []
        clock.now_s += 2.0
        loop.step(0)
        assert calls == ["second"]


def test_a_timer_may_set_itself_again_without_starving_others() -> None:
    clock = Clock()
    calls: list[str] = []
    with Loop(clock) as loop:

        def again() -> None:
            calls.append("again")
            loop.call_later("a", 1.0, again)

        loop.call_later("a", 0.0, again)
        loop.step(0)
        assert calls == ["again"]


def test_another_thread_wakes_a_loop_that_waits(loop: Loop) -> None:
    calls: list[int] = []

    def from_elsewhere() -> None:
        loop.post(lambda: calls.append(threading.get_ident()))
        loop.post(loop.stop)

    thread = threading.Thread(target=from_elsewhere)
    thread.start()
    loop.call_later("deadline", 30.0, loop.stop)
    loop.run()
    thread.join()
    assert calls == [threading.get_ident()]


def test_what_is_posted_before_the_wait_is_called_at_once(loop: Loop) -> None:
    calls: list[str] = []
    loop.post(lambda: calls.append("posted"))
    loop.step(30)
    assert calls == ["posted"]


def test_a_fault_of_a_callback_ends_the_loop(loop: Loop) -> None:
    def fault() -> None:
        raise RuntimeError("ours")

    loop.call_later("x", 0, fault)
    with pytest.raises(RuntimeError, match="ours"):
        loop.run()


def test_posting_to_a_closed_loop_harms_nobody() -> None:
    loop = Loop()
    loop.close()
    loop.post(lambda: None)
