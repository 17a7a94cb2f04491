"""Every path under a root, spelled out: a path that moves loses the tasks that lie at the old one."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermos.errors import TaskInvalid
from thermos.formats import paths


def test_paths_are_those_of_the_original() -> None:
    assert paths.DEFAULT_ROOT == "/var/run/thermos"
    assert paths.task_dir("/r", "active") == "/r/tasks/active"
    assert paths.task_path("/r", "t-1", "active") == "/r/tasks/active/t-1"
    assert paths.task_path("/r", "t-1", "finished") == "/r/tasks/finished/t-1"
    assert (paths.ACTIVE, paths.FINISHED) == ("active", "finished")
    assert paths.checkpoint_dir("/r", "t-1") == "/r/checkpoints/t-1"
    assert paths.runner_checkpoint("/r", "t-1") == "/r/checkpoints/t-1/runner"
    assert paths.process_checkpoint("/r", "t-1", "ä ö") == "/r/checkpoints/t-1/coordinator.ä ö"
    assert paths.coordinator_name("a.b") == "coordinator.a.b"
    assert paths.default_log_dir("/sandbox") == "/sandbox/.logs"
    assert paths.process_log_dir("/sandbox/.logs", "web", 3) == "/sandbox/.logs/web/3"
    assert paths.PROFILE_NAME == ".thermos_profile"


def test_our_own_marker_is_hidden_and_not_the_originals() -> None:
    assert paths.SANDBOX_MARKER == ".thermos-sandbox"


@pytest.mark.parametrize(
    "task_id",
    [
        "a",
        "www-data-prod-hello-0-6b3a3b5e-7d5f-4a0b-9d0e-000000000000",
        "hello-20150101-120000.000001",
        "a..b",
        "-n",
        "~",
        "a:b+c@d%2f",
        "héllo",
        "日本語",
        "x" * 255,
        "é" * 127 + "x",
    ],
)
def test_a_task_id_that_can_be_a_file_name_is_taken(task_id: str) -> None:
    assert paths.check_task_id(task_id) == task_id


@pytest.mark.parametrize(
    "task_id, word",
    [
        ("", "empty"),
        (".", "'.'"),
        ("..", "'.'"),
        (".hidden", "start with '.'"),
        ("...", "start with '.'"),
        ("a/b", "'/'"),
        ("/etc/passwd", "'/'"),
        ("../../etc", "'/'"),
        ("a b", "blanks"),
        (" a", "blanks"),
        ("a\n", "blanks"),
        ("a\tb", "blanks"),
        ("a\0b", "control"),
        ("a\x1b[31m", "control"),
        ("a\u00a0b", "blanks"),
        ("a\u2028b", "blanks"),
        ("a\u202eb", "control"),
        ("a\udcffb", "Unicode"),
        ("x" * 256, "255 bytes at most, this one has 256"),
        ("é" * 128, "255 bytes at most, this one has 256"),
    ],
)
def test_a_task_id_that_cannot_is_refused_with_the_reason(task_id: str, word: str) -> None:
    with pytest.raises(TaskInvalid) as caught:
        paths.check_task_id(task_id)
    assert word in str(caught.value)
    str(caught.value).encode()  # can be printed, whatever the id holds


def test_all_that_is_wrong_with_a_task_id_is_told_at_once() -> None:
    with pytest.raises(TaskInvalid) as caught:
        paths.check_task_id("a /" + "x" * 300)
    assert len(caught.value.problems) == 3


@settings(deadline=None)
@given(st.text(max_size=300))
def test_a_task_id_that_is_taken_stays_below_its_directory(task_id: str) -> None:
    try:
        paths.check_task_id(task_id)
    except TaskInvalid:
        return
    path = paths.task_path("/r", task_id, "active")
    assert os.path.normpath(path) == path
    assert os.path.dirname(path) == "/r/tasks/active"
    assert len(os.fsencode(task_id)) <= 255
    assert task_id.split() == [task_id]
