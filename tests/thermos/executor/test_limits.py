"""What a task uses against what is reserved: measured in a child, told once a minute, written down."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.box import NOBODY, as_user, box
from thermos.core.lifetime_events import LimitExceeded
from thermos.executor import measuring
from thermos.executor.limits import Limits
from thermos.executor.measuring import Sample, Wanted
from thermos.executor.vars import NAME, VarsFile, values
from thermos.host import proc
from thermos.host.loop import Loop
from thermos.schema import Resources

MB = 1 << 20
DEADLINE_S = 30.0


class Stage:
    """A loop, limits in it, and what they told."""

    def __init__(self, path: Path, disk: int | None) -> None:
        self.sandbox = path / "sandbox"
        self.sandbox.mkdir()
        self.path = path
        self.loop = Loop()
        self.told: list[LimitExceeded] = []
        self.said: list[str] = []
        self.limits = Limits(
            self.loop,
            Resources(cpu=2.0, ram=64 * MB, disk=disk) if disk is not None else None,
            str(self.sandbox),
            str(path),
            pids=lambda: (0, ()),
            counts=lambda: {"checks": 7},
            tell=self.told.append,
            complain=self.said.append,
            first_s=0.0,
            interval_s=0.05,
        )

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s, f"not in time: {what}; told: {self.told}, said: {self.said}"
            self.loop.step(0.05)

    @property
    def vars(self) -> Any:
        path = self.path / NAME
        return json.loads(path.read_text()) if path.exists() else {}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[[int | None], Stage]]:
    stages: list[Stage] = []

    def make(disk: int | None) -> Stage:
        stages.append(Stage(tmp_path, disk))
        return stages[-1]

    yield make
    for each in stages:
        each.limits.stop()
        each.until(lambda each=each: each.limits._errand is None or each.limits._errand.is_over, "the child is gone")  # type: ignore[misc]
        each.loop.close()


def test_a_task_over_its_disk_is_told_with_both_numbers(stage: Callable[[int | None], Stage]) -> None:
    made = stage(MB)
    made.limits.start()
    made.until(lambda: made.vars, "a first look")
    assert made.told == []
    (made.sandbox / "big").write_bytes(b"x" * 2 * MB)
    made.until(lambda: made.told, "it is over its limit")
    status = made.told[0].status
    assert (status.state, status.reason) == ("TASK_FAILED", "REASON_CONTAINER_LIMITATION_DISK")
    assert status.message is not None
    assert f"reserved are {MB} (1.0 MB)" in status.message
    assert "(2.0 MB)" in status.message


def test_it_is_told_again_as_long_as_it_is_true(stage: Callable[[int | None], Stage]) -> None:
    made = stage(4096)
    (made.sandbox / "big").write_bytes(b"x" * MB)
    made.limits.start()
    made.until(lambda: len(made.told) > 1, "twice: the first may come while the runner is being replaced")


@pytest.mark.parametrize("disk", [None, 0])
def test_without_a_reservation_nothing_is_counted(stage: Callable[[int | None], Stage], disk: int | None) -> None:
    made = stage(disk)
    (made.sandbox / "big").write_bytes(b"x" * MB)
    made.limits.start()
    made.until(lambda: made.vars, "the variables are written")
    assert made.vars["disk_used"] is None
    assert made.told == []


def test_nothing_is_told_after_the_end(stage: Callable[[int | None], Stage]) -> None:
    made = stage(4096)
    (made.sandbox / "big").write_bytes(b"x" * MB)
    made.limits.start()
    made.loop.step(0.0)  # a child is at work
    made.limits.stop()
    errand = made.limits._errand
    assert errand is not None
    made.until(lambda: errand.is_over, "the child is gone")
    assert made.told == []


def test_what_cannot_be_counted_hides_nothing_of_the_rest() -> None:
    with box() as made:
        sandbox = Path(made.path)
        (sandbox / "a").mkdir(mode=0)
        (sandbox / "b").write_bytes(b"x" * 2 * MB)
        script = (
            "import sys; from thermos.executor import measuring as m; print(m.measure(m.Wanted(1, 0, (), sys.argv[1])))"
        )
        words = [*as_user(NOBODY), "-S", "-c", script, str(sandbox)]
        project = str(Path(__file__).parents[3])
        said = subprocess.run(words, env={"PYTHONPATH": project}, capture_output=True, text=True, check=True, cwd="/")
        sample = measuring.read(said.stdout)
        assert sample is not None
        assert sample.disk_bytes is not None
        assert sample.disk_bytes >= 2 * MB
        assert sample.disk_trouble == "a directory cannot be read: Permission denied"


def test_the_file_holds_every_name_that_the_original_exports(stage: Callable[[int | None], Stage]) -> None:
    made = stage(MB)
    made.limits.start()
    made.until(lambda: made.vars.get("cpu") is not None, "two looks")
    found = made.vars
    assert set(found) == {
        "cpu", "rss", "orphan", "thermos_cpu", "thermos_pss", "checks",
        "disk_used", "disk_reserved", "disk_percent", "cpu_used", "cpu_reserved", "cpu_percent",
        "ram_used", "ram_reserved", "ram_percent",
    }  # fmt: skip
    assert found["checks"] == 7
    assert found["disk_reserved"] == MB
    assert found["rss"] > MB
    assert found["orphan"] == 0


def test_processes_below_a_coordinator_are_the_tasks_and_itself_is_ours() -> None:
    # sh stands for a coordinator, and has one child that eats processor time.
    read, write = os.pipe()
    child = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", "while :; do :; done & echo; wait"],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)],
        setpgroup=0,
    )
    try:
        os.read(read, 1)
        ticks = proc.start_ticks(child)
        assert ticks is not None
        wanted = Wanted(os.getpid(), 0, ((child, ticks),), None)
        deadline_s = time.monotonic() + DEADLINE_S
        while not (found := measuring._of_processes(wanted)).task_ticks:
            assert time.monotonic() < deadline_s
        assert found.thermos_ticks is not None
        assert found.thermos_ticks <= 2
        assert found.task_ram_bytes
        assert found.thermos_pss_bytes
        stranger = measuring._of_processes(wanted._replace(coordinators=((child, ticks + 1),)))
        assert stranger.task_ticks == 0  # the pid is somebody else's by now
    finally:
        os.killpg(child, 9)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)


def test_rates_are_of_the_time_between() -> None:
    before = Sample(10.0, executor_ticks=0, thermos_ticks=100, task_ticks=0)
    now = Sample(70.0, executor_ticks=6, thermos_ticks=90, task_ticks=6000)
    found = values(now, before, 2.0, None, None)
    assert found["cpu"] == 0.001
    assert found["thermos_cpu"] is None  # a runner has ended and another began
    assert found["cpu_used"] == 1.0
    assert found["cpu_percent"] == 50.0
    assert found["ram_percent"] is None


@pytest.mark.parametrize("answer", [None, "", "nonsense", "{}", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]", "null"])
def test_an_answer_that_is_none(answer: str | None) -> None:
    assert measuring.read(answer) is None


def test_the_file_follows_no_link_and_is_replaced_whole(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    sandbox = tmp_path / "box"
    sandbox.mkdir()
    (sandbox / NAME).symlink_to(elsewhere)
    (sandbox / f".{NAME}.new").symlink_to(elsewhere)
    file = VarsFile(str(sandbox))
    file.write({"cpu": 1.0})
    assert elsewhere.read_text() == "mine"
    assert json.loads((sandbox / NAME).read_text()) == {"cpu": 1.0}
    assert stat.S_ISREG(os.lstat(sandbox / NAME).st_mode)
    inode = os.lstat(sandbox / NAME).st_ino
    file.write({"cpu": 1.0})
    assert os.lstat(sandbox / NAME).st_ino == inode  # nothing has changed
    assert os.listdir(sandbox) == [NAME]


def test_where_it_cannot_be_written_it_is_said_once(stage: Callable[[int | None], Stage]) -> None:
    made = stage(MB)
    (made.path / NAME).mkdir()
    made.limits.start()
    made.until(lambda: made.limits.sample, "one look")
    first = made.limits.sample
    made.until(lambda: made.limits.sample is not first, "another")
    assert [text for text in made.said if NAME in text] == [f"{NAME} could not be written: Is a directory"]
