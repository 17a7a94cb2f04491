"""``thermos gc``: what goes, what stays, and that nothing else is touched."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.thermos.cli.command import success, thermos, write_task
from thermos.errors import ExitCode
from thermos.formats import paths


class Root:
    """A root with finished tasks, each with a sandbox that holds data and logs."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "root"
        self.sandboxes = tmp_path / "sandboxes"

    def add(self, task_id: str, age_s: float = 0.0, marker: str | None = None, is_active: bool = False) -> Path:
        sandbox = self.sandboxes / task_id
        (sandbox / ".logs" / "hello" / "0").mkdir(parents=True)
        (sandbox / ".logs" / "hello" / "0" / "stdout").write_bytes(b"x" * 100_000)
        (sandbox / "data" / "deep").mkdir(parents=True)
        (sandbox / "data" / "deep" / "file").write_bytes(b"x" * 200_000)
        (sandbox / paths.SANDBOX_MARKER).write_text((marker if marker is not None else task_id) + "\n")
        records = success(task_id, sandbox=str(sandbox), log_dir=str(sandbox / ".logs"))
        stream = write_task(self.path, task_id, records, is_active=is_active)
        then = os.stat(stream).st_mtime - age_s
        os.utime(stream, (then, then))
        return sandbox

    def gc(self, *args: object) -> str:
        done = thermos("--root", self.path, "gc", "--force", *args)
        assert done.returncode == 0
        return done.stdout + done.stderr

    def finished(self) -> set[str]:
        return {path.name for path in (self.path / "tasks" / "finished").iterdir()}


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def test_the_oldest_go_first(root: Root) -> None:
    for number in range(4):
        root.add(f"t{number}", age_s=number * 100)
    root.gc("--max_tasks", 2)
    assert [(root.sandboxes / f"t{number}").exists() for number in range(4)] == [True, True, False, False]
    root.gc("--max_age", "50")
    assert [(root.sandboxes / f"t{number}").exists() for number in range(2)] == [True, False]


def test_space_keeps_the_youngest(root: Root) -> None:
    for number in range(3):
        root.add(f"t{number}", age_s=number * 100)
    root.gc("--max_space", "700K")
    assert [(root.sandboxes / f"t{number}").exists() for number in range(3)] == [True, True, False]


def test_metadata_stays_unless_asked_for(root: Root) -> None:
    root.add("t")
    root.gc("t")
    assert not (root.sandboxes / "t").exists()
    assert root.finished() == {"t"}
    assert (root.path / "checkpoints" / "t" / "runner").exists()
    root.gc("--delete-metadata", "t")
    assert root.finished() == set()
    assert not (root.path / "checkpoints" / "t").exists()


def test_keep_data_and_keep_logs(root: Root) -> None:
    one, two = root.add("one"), root.add("two")
    root.gc("--keep-data", "--exact", "one")
    assert (one / "data" / "deep" / "file").exists()
    assert list((one / ".logs").iterdir()) == []
    root.gc("--keep-logs", "--exact", "two")
    assert not (two / "data").exists()
    assert (two / ".logs" / "hello" / "0" / "stdout").exists()
    assert (two / paths.SANDBOX_MARKER).exists()
    root.gc("--exact", "two")
    assert not two.exists()


def test_active_tasks_are_never_touched(root: Root) -> None:
    sandbox = root.add("t", age_s=1e6, is_active=True)
    root.gc("--max_tasks", 0)
    root.gc("--delete-metadata", "t")
    assert (sandbox / "data").exists()


@pytest.mark.parametrize("marker", ["another", "", "t2", "x\nt"])
def test_a_sandbox_made_for_another_task_is_kept(root: Root, marker: str) -> None:
    sandbox = root.add("t", marker=marker)
    said = root.gc("t")
    assert (sandbox / "data" / "deep" / "file").exists()
    assert "t: kept: " in said


def test_a_sandbox_without_marker_is_kept_and_its_metadata_goes_if_asked(root: Root) -> None:
    sandbox = root.add("t")
    (sandbox / paths.SANDBOX_MARKER).unlink()
    assert "was not made for this task" in root.gc("--delete-metadata", "t")
    assert (sandbox / "data").exists()
    assert root.finished() == set()


def test_a_marker_of_another_user_counts_for_nothing(root: Root) -> None:
    if os.geteuid():
        pytest.skip("only root can give files away")
    sandbox = root.add("t")
    os.chown(sandbox / paths.SANDBOX_MARKER, 12345, 12345)
    assert "belongs to uid 12345" in root.gc("t")
    assert (sandbox / "data").exists()


def link(sandbox: Path, outside: Path) -> None:
    (sandbox / "link").symlink_to(outside)


def link_for_directory(sandbox: Path, outside: Path) -> None:
    (sandbox / "data" / "deep" / "file").unlink()
    (sandbox / "data" / "deep").rmdir()
    (sandbox / "data" / "deep").symlink_to(outside)


def link_for_logs(sandbox: Path, outside: Path) -> None:
    (sandbox / ".logs").rename(sandbox / "elsewhere")
    (sandbox / ".logs").symlink_to(outside)


@pytest.mark.parametrize("trap", [link, link_for_directory, link_for_logs])
@pytest.mark.parametrize("option", ["--delete-data", "--keep-data"])
def test_no_link_is_followed(root: Root, tmp_path: Path, trap: Callable[[Path, Path], None], option: str) -> None:
    outside = tmp_path / "outside"
    (outside / "hello").mkdir(parents=True)
    (outside / "precious").write_text("precious")
    trap(root.add("t"), outside)
    root.gc(option, "t")
    assert (outside / "precious").read_text() == "precious"
    if option == "--delete-data":
        assert not (root.sandboxes / "t").exists()  # the link itself goes with the rest


def test_a_sandbox_that_is_a_link_is_kept(root: Root, tmp_path: Path) -> None:
    sandbox = root.add("t")
    sandbox.rename(tmp_path / "real")
    sandbox.symlink_to(tmp_path / "real")
    assert "kept: " in root.gc("t")
    assert (tmp_path / "real" / "data").exists()


def test_a_marker_that_is_a_link_counts_for_nothing(root: Root, tmp_path: Path) -> None:
    sandbox = root.add("t")
    (sandbox / paths.SANDBOX_MARKER).rename(tmp_path / "marker")
    (sandbox / paths.SANDBOX_MARKER).symlink_to(tmp_path / "marker")
    assert "kept: " in root.gc("t")
    assert (sandbox / "data").exists()


def test_a_tree_deeper_than_paths_may_be(root: Root) -> None:
    sandbox = root.add("t")
    fd = os.open(sandbox, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    root.gc("t")
    assert not sandbox.exists()


def test_dry_run_deletes_nothing_and_shows_sizes(root: Root) -> None:
    sandbox = root.add("t", age_s=90000)
    done = thermos("--root", root.path, "gc", "--dryrun", "--max_age", "1d")
    assert re.search(r"^t +1 d 1 h +[1-9][0-9.]+ KiB +[1-9]", done.stdout, re.MULTILINE)
    assert "would be freed" in done.stdout
    assert (sandbox / "data").exists()


@pytest.mark.parametrize(("answer", "goes"), [("y\n", True), ("yes\n", True), ("n\n", False), ("", False)])
def test_it_asks(root: Root, answer: str, goes: bool) -> None:
    sandbox = root.add("t")
    done = thermos("--root", root.path, "gc", "t", stdin=answer)
    assert "Delete from 1 tasks" in done.stdout
    assert sandbox.exists() is not goes


def test_nothing_meant_is_nothing_done(root: Root) -> None:
    root.add("t")
    assert "give limits" in root.gc()
    assert "nothing to delete" in root.gc("absent")
    assert root.finished() == {"t"}


def test_json(root: Root) -> None:
    root.add("t", age_s=100)
    answer = json.loads(root.gc("--json", "--max_age", "50s"))
    assert answer["schema"] == 1
    (task,) = answer["tasks"]
    assert (task["task_id"], task["limit"], task["is_deleted"], task["kept"]) == ("t", "age", True, [])
    assert answer["freed_bytes"] == task["data_bytes"] + task["log_bytes"] > 300_000
    assert thermos("gc", "--json").returncode == ExitCode.USAGE


@pytest.mark.parametrize(
    "option", [["--max_age", "old"], ["--max_space", "much"], ["--max_tasks", "-1"], ["--max_tasks", "x"]]
)
def test_limits_that_make_no_sense(option: list[str]) -> None:
    done = thermos("gc", *option)
    assert (done.returncode, done.stderr.count("\n")) == (ExitCode.USAGE, 1)
