from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.box import Box, box, process, until
from thermos.core.state import RunnerState
from thermos.host import accounting, cgroup
from thermos.host.accounting import Charged, Mounts
from thermos.host.usage import Sampler
from thermos.records import RunnerHeader

V1 = ("cpuacct", "memory", "blkio")


def header(path: str | None) -> RunnerHeader:
    return RunnerHeader("task", 0, cgroup=path)


# -- which group -----------------------------------------------------------------------------------------------------

WHERE = Mounts("/sys/fs/cgroup/unified", {"freezer": "/sys/fs/cgroup/freezer", "memory": "/sys/fs/cgroup/memory"})


@pytest.mark.parametrize(
    "path, group",
    [
        ("/sys/fs/cgroup/unified/thermos/abc", ("/sys/fs/cgroup/unified", "thermos/abc")),
        ("/sys/fs/cgroup/freezer/mesos/x/thermos/abc", ("/sys/fs/cgroup/freezer", "mesos/x/thermos/abc")),
        ("/sys/fs/cgroup/unified", None),
        ("/sys/fs/cgroup/unified/", None),
        ("/sys/fs/cgroup/unified/abc", None),
        ("/sys/fs/cgroup/unified/thermos", None),
        ("/sys/fs/cgroup/unified/thermos/", None),
        ("/sys/fs/cgroup/unified/thermos/..", None),
        ("/sys/fs/cgroup/unified/../unified/thermos/abc", None),
        ("/sys/fs/cgroup/unified/thermos/a/../../thermos/abc", None),
        ("/sys/fs/cgroup/unified/./thermos/abc", None),
        ("/sys/fs/cgroup/unified//thermos/abc", None),
        ("/sys/fs/cgroup/unified2/thermos/abc", None),
        ("/sys/fs/cgroup/unified-x/thermos/abc", None),
        ("/sys/fs/cgroup/unified/thermos/a\0bc", None),
        ("thermos/abc", None),
        ("/etc/thermos/passwd", None),
        ("", None),
        (None, None),
    ],
)
def test_a_recorded_group_is_a_claim(path: str | None, group: tuple[str, str] | None) -> None:
    assert accounting.group_of(header(path), WHERE) == group


def test_no_header_no_group() -> None:
    assert accounting.group_of(None, WHERE) is None


def test_mounts_are_those_of_this_host() -> None:
    where = accounting.mounts()
    found = Path("/proc/self/mountinfo").read_text()
    assert (where.unified is not None) == (" - cgroup2 " in found)
    for mount in where.controllers.values():
        assert f" {mount} " in found


# -- what the files say ----------------------------------------------------------------------------------------------


def test_version_2(tmp_path: Path) -> None:
    group = tmp_path / "thermos/abc"
    group.mkdir(parents=True)
    (group / "cpu.stat").write_text("usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\nnr_periods 0\n")
    (group / "memory.current").write_text("1000000\n")
    (group / "memory.stat").write_text("anon 600000\nfile 400000\ninactive_file 150000\n")
    (group / "io.stat").write_text(
        "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2\n7:0 \n"
    )
    where = Mounts(str(tmp_path), {})
    assert accounting.read(str(tmp_path), "thermos/abc", where) == Charged(3.0, 2.0, 1.0, 850000, 4097, 8194)


def test_version_2_without_controllers(tmp_path: Path) -> None:
    """As on a hybrid host: processor time is counted in any case."""
    (tmp_path / "cpu.stat").write_text("usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\n")
    assert accounting.read(str(tmp_path), ".", Mounts(str(tmp_path), {})) == Charged(3.0, 2.0, 1.0)


def test_version_1(tmp_path: Path) -> None:
    for controller, files in {
        "cpuacct": {"usage": "3000000000\n", "usage_user": "2000000000\n", "usage_sys": "1000000000\n"},
        "memory": {"usage_in_bytes": "1000000\n", "stat": "cache 5\ntotal_inactive_file 150000\n"},
        "blkio": {"throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 1\nTotal 12288\n"},
    }.items():
        group = tmp_path / controller / "thermos/abc"
        group.mkdir(parents=True)
        for name, text in files.items():
            (group / f"{controller}.{name}").write_text(text)
    where = Mounts(None, {name: str(tmp_path / name) for name in (*V1, "freezer")})
    assert accounting.read(str(tmp_path / "freezer"), "thermos/abc", where) == Charged(
        3.0, 2.0, 1.0, 850000, 4096, 8192
    )


@pytest.mark.parametrize("text", ["", "\n", "max\n", "-5\n", "12a\n", "9" * 3 + " 4"])
def test_what_is_no_number_is_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.current").write_text(text)
    (tmp_path / "cpu.stat").write_text(f"usage_usec {text.strip()}\n")
    assert accounting.read(str(tmp_path), ".", Mounts(str(tmp_path), {})) == Charged()


def test_a_link_or_a_fifo_in_the_place_of_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "memory.current")
    (tmp_path / "io.stat").symlink_to("/etc/passwd")
    assert accounting.read(str(tmp_path), ".", Mounts(str(tmp_path), {})) == Charged()


def test_a_group_that_is_gone(tmp_path: Path) -> None:
    assert accounting.read(str(tmp_path), "thermos/gone", Mounts(str(tmp_path), {})) == Charged()
    assert accounting.members(str(tmp_path), "thermos/gone") == []


# -- this host's groups ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def groups(controllers: tuple[str, ...], relative: str) -> Iterator[dict[str, str]]:
    """Version 1 groups of that name; controller → path."""
    where = accounting.mounts().controllers
    made: dict[str, str] = {}
    try:
        for controller in controllers:
            if controller not in where:
                pytest.skip(f"no version 1 {controller} here")
            path = f"{where[controller]}/{relative}"
            if not cgroup.make(path):
                pytest.skip(f"control groups of {controller} cannot be made here")
            made[controller] = path
        yield made
    finally:
        for path in made.values():
            until(lambda path=path: cgroup.remove(path), f"{path} can be removed")  # type: ignore[misc]
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(path))


def test_version_1_of_this_host(tmp_path: Path) -> None:
    """A real process in real groups; all that is known of the task is its group."""
    work = (
        "import os, signal, time\n"
        "x = bytearray(b'x') * (64 << 20)\n"
        "begun_s = time.process_time()\n"
        "while time.process_time() < begun_s + 0.3: pass\n"
        "open('on', 'w').close()\n"
        "signal.pause()"
    )
    with groups(V1, f"thermos/test-{os.getpid()}") as made:
        join = " ".join(f"echo $$ > {path}/cgroup.procs;" for path in made.values())
        child = subprocess.Popen(["sh", "-c", f'{join} exec "$0" -S -c "$1"', sys.executable, work], cwd=tmp_path)
        try:
            until((tmp_path / "on").exists, "the work is done")
            state = RunnerState()
            state.header = header(made["cpuacct"])
            sampler = Sampler[int]()
            first = sampler.sample({0: state})[0]
            usage = sampler.sample({0: state})[0].task
            assert first.processes == {}
            assert first.task.processes == 1
            assert first.task.ram_kind == "cgroup"
            assert (first.task.user_cpu_s or 0) + (first.task.system_cpu_s or 0) >= 0.3
            assert 64 << 20 <= (first.task.ram_bytes or 0) < 128 << 20
            assert first.task.cpu is None
            assert usage.cpu is not None and 0 <= usage.cpu < 1
        finally:
            child.kill()
            child.wait()


def test_what_came_and_went_is_the_group_s(tmp_path: Path) -> None:
    """A process that no measurement saw: only its group knows."""
    with groups(("cpuacct",), f"thermos/test-{os.getpid()}") as made:
        state = RunnerState()
        state.header = header(made["cpuacct"])
        sampler = Sampler[int]()
        first = sampler.sample({0: state})[0].task
        burn = "import time\nbegun_s = time.process_time()\nwhile time.process_time() < begun_s + 0.3: pass"
        join = f'echo $$ > {made["cpuacct"]}/cgroup.procs; exec "$0" -S -c "$1"'
        subprocess.run(["sh", "-c", join, sys.executable, burn], check=True)
        second = sampler.sample({0: state})[0].task
        assert second.processes == 0
        assert second.cpu is not None and second.cpu * (second.at_s - first.at_s) >= 0.29


@pytest.fixture
def a_box() -> Iterator[Box]:
    with box() as made:
        yield made


def test_what_no_process_holds_is_the_task_s(a_box: Box) -> None:
    """A stray in the task's group: the task's, and none of its processes'."""
    a_box.start([process("one", "sleep 1000"), process("two", "sleep 1000")])
    a_box.until_running("one", "two")
    state = a_box.state
    assert state.header is not None
    if state.header.cgroup is None:
        pytest.skip("no control groups can be made here")
    before = Sampler[int]().sample({0: state})[0]
    stray = subprocess.Popen(["sh", "-c", f"echo $$ > {state.header.cgroup}/cgroup.procs; exec sleep 1000"])
    try:
        until(lambda: stray.pid in cgroup.members(str(state.header and state.header.cgroup)), "it is a member")
        after = Sampler[int]().sample({0: state})[0]
        assert after.task.processes == (before.task.processes or 0) + 1
        assert {name: usage.processes for name, usage in after.processes.items()} == {"one": 2, "two": 2}
        # Held by another task, it is that one's.
        other = RunnerState()
        other.header = state.header
        both = Sampler[int]().sample({0: state, 1: other})
        assert both[0].task.processes == after.task.processes
        assert both[1].task.processes == (after.task.processes or 0) - 4
    finally:
        stray.kill()
        stray.wait()
