"""Waiting for files to change."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from thermos.host import inotify
from thermos.host.inotify import IN_CREATE, IN_MODIFY, IN_MOVED_FROM, Watcher


def test_a_change_ends_the_wait_and_names_the_file(tmp_path: Path) -> None:
    with Watcher() as watcher:
        assert watcher.fallback is None
        watch = watcher.watch(str(tmp_path))
        assert watcher.wait(0.0) == []
        (tmp_path / "größe").write_text("x")
        events = watcher.wait(5.0)
        assert {event.watch for event in events} == {watch}
        assert {event.name for event in events} == {"größe"}
        assert events[0].mask & IN_CREATE
        assert any(event.mask & IN_MODIFY for event in events)


def test_a_change_between_two_waits_is_not_lost(tmp_path: Path) -> None:
    with Watcher() as watcher:
        watcher.watch(str(tmp_path))
        (tmp_path / "a").write_text("")
        (tmp_path / "a").rename(tmp_path / "b")
        assert any(event.mask & IN_MOVED_FROM for event in watcher.wait(5.0))


def test_a_descriptor_can_be_watched(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with Watcher() as watcher:
        assert watcher.watch(fd) is not None
        os.close(fd)
        (tmp_path / "a").write_text("")
        assert watcher.wait(5.0)


def test_an_absent_path_is_not_watched_and_nothing_falls_back(tmp_path: Path) -> None:
    with Watcher() as watcher:
        assert watcher.watch(str(tmp_path / "absent")) is None
        assert watcher.fallback is None


def test_another_descriptor_ends_the_wait_too(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    with Watcher() as watcher:
        watcher.watch(str(tmp_path))
        os.write(theirs, b"x")
        before = time.monotonic()
        assert watcher.wait(30.0, ours) == []
        assert time.monotonic() - before < 20
    os.close(ours)
    os.close(theirs)


def test_a_watch_given_up_tells_no_more(tmp_path: Path) -> None:
    with Watcher() as watcher:
        watch = watcher.watch(str(tmp_path))
        assert watch is not None
        watcher.unwatch(watch)
        (tmp_path / "a").write_text("")
        assert not any(event.name for event in watcher.wait(0.0))


def test_without_inotify_it_says_so_and_polls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inotify, "POLL_S", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        watcher = Watcher()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert watcher.fallback is not None
    assert "inotify" in watcher.fallback
    assert watcher.watch(str(tmp_path)) is None
    before = time.monotonic()
    assert watcher.wait(None) == []
    ours, theirs = os.pipe()
    assert watcher.wait(None, ours) == []  # a wait for ever would be one
    assert time.monotonic() - before < 5
    os.close(ours)
    os.close(theirs)
    watcher.close()
