"""The check that every process test goes through can fail."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tests.leaks import end_children, held, leaks


def test_nothing_is_left() -> None:
    assert leaks(held()) == []


def test_an_open_descriptor_is_found(tmp_path: Path) -> None:
    before = held()
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert leaks(before, grace_s=0) == [f"descriptor {fd} is left open: {tmp_path}"]
    finally:
        os.close(fd)
    assert leaks(before) == []


def test_a_descriptor_that_now_means_something_else_is_found(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    before = held()
    os.close(fd)
    other = os.open("/", os.O_RDONLY)
    try:
        assert other == fd
        assert leaks(before, grace_s=0) == [f"descriptor {fd} is left open: /"]
    finally:
        os.close(other)


def test_a_running_child_and_a_zombie_are_found_and_ended() -> None:
    before = held()
    pipe, end = os.pipe()
    running = os.fork()
    if running == 0:
        os.close(end)
        os.read(pipe, 1)
        os._exit(0)
    zombie = os.fork()
    if zombie == 0:
        os._exit(0)
    os.close(pipe)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    try:
        found = [line for line in leaks(before, grace_s=0) if line.startswith("child")]
        assert sorted(int(line.split()[1]) for line in found) == sorted([running, zombie])
        assert any("state Z" in line for line in found)
    finally:
        end_children(before)
        os.close(end)
    assert leaks(before) == []


def test_a_thread_is_found() -> None:
    before = held()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="forgotten")
    thread.start()
    try:
        assert leaks(before, grace_s=0) == ["thread is left running: forgotten"]
    finally:
        stop.set()
        thread.join()
    assert leaks(before) == []
