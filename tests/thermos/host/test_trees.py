from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.box import Box, box, process, until, with_words
from tests.support.measuring import by_hand, measured, tree, ungrouped
from thermos.host import proc, trees
from thermos.host.trees import Host
from thermos.host.usage import Sampler
from thermos.records import TaskStatus


@pytest.fixture
def a_box() -> Iterator[Box]:
    with box() as made:
        yield made


def test_parse_agrees_with_psutil() -> None:
    row = trees.parse(Path(f"/proc/{os.getpid()}/stat").read_bytes())
    me = psutil.Process()
    assert (row.pid, row.ppid, row.session) == (os.getpid(), os.getppid(), os.getsid(0))
    assert (row.nice, row.threads) == (me.nice(), me.num_threads())
    assert row.start_ticks == proc.start_ticks(os.getpid())
    assert row.vms_bytes == pytest.approx(me.memory_info().vms, rel=0.2)
    assert row.rss_bytes == pytest.approx(me.memory_info().rss, rel=0.2)


def test_a_command_cannot_forge_its_line(tmp_path: Path) -> None:
    named = tmp_path / "x) Z 1 1 1 ("
    shutil.copy("/bin/sleep", named)
    child = subprocess.Popen([str(named), "1000"])
    try:
        until(lambda: Path(f"/proc/{child.pid}/comm").read_text().startswith("x)"), "the name is the file's")
        row = trees.parse(Path(f"/proc/{child.pid}/stat").read_bytes())
        assert (row.ppid, row.is_dead, row.start_ticks) == (os.getpid(), False, proc.start_ticks(child.pid))
    finally:
        child.kill()
        child.wait()


# -- trees ----------------------------------------------------------------------------------------------------------


def test_what_leaves_its_session_and_its_parent_is_still_the_process_s(a_box: Box) -> None:
    word = f"{os.getpid()}.5"
    a_box.start(
        [
            process("escape", f"(setsid sleep 3{word} & ) ; setsid sleep 4{word} & sleep 5{word} & echo on > on; wait"),
            process("quiet", "sleep 1000"),
        ]
    )
    a_box.until_file("on")
    a_box.until_running("escape", "quiet")
    until(lambda: all(with_words(f"{n}{word}") for n in (3, 4, 5)), "all three sleep")
    state = ungrouped(a_box)
    sleepers = {pid for n in (3, 4, 5) for pid in with_words(f"sleep\0{n}{word}")}
    assert len(sleepers) == 3
    assert sleepers <= tree(state, "escape")
    assert not sleepers & tree(state, "quiet")
    usage = measured(Sampler(), state)
    assert usage.processes["escape"].processes == 5
    assert usage.task.processes == 5 + 2


def test_a_session_outlives_its_coordinator(tmp_path: Path) -> None:
    inner = "sleep 1000 & (sleep 1001 & ) ; echo on > on; wait"
    coordinator = subprocess.Popen(
        ["bash", "-c", f"bash -c '{inner}' & echo $! > pid; wait"], cwd=tmp_path, start_new_session=True
    )
    try:
        until((tmp_path / "on").exists, "the shell has started all")
        shell = int((tmp_path / "pid").read_text())
        state = by_hand(coordinator.pid, shell)
        assert len(tree(state, "work")) == 4
        coordinator.kill()
        coordinator.wait()
        assert len(tree(state, "work")) == 3  # also the one whose parent is gone
    finally:
        for row in Host().rows.values():
            if row.session == coordinator.pid:
                os.kill(row.pid, signal.SIGKILL)


def test_a_shell_s_session_may_be_a_stranger_s(tmp_path: Path) -> None:
    """Someone's terminal: its leader is no coordinator of ours, and its other members are not this run's."""
    line = "sleep 1000 & bash -c 'sleep 1001 & wait' & echo $! > pid; wait"
    leader = subprocess.Popen(["bash", "-c", line], cwd=tmp_path, start_new_session=True)
    try:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the shell has started")
        shell = int((tmp_path / "pid").read_text())
        until(lambda: proc.children(shell), "its child")
        assert tree(by_hand(None, shell), "work") == {shell, *proc.children(shell)}
    finally:
        for row in Host().rows.values():
            if row.session == leader.pid:
                os.kill(row.pid, signal.SIGKILL)
        leader.wait()


# -- pids are claims -------------------------------------------------------------------------------------------------


def test_a_pid_of_another_start_time_is_a_strangers(a_box: Box) -> None:
    a_box.start([process("work", "sleep 1000")])
    a_box.until_running("work")
    state = ungrouped(a_box)
    run = state.processes["work"].last
    assert run.pid_start_ticks is not None and run.coordinator_start_ticks is not None
    run.pid_start_ticks -= 1
    assert measured(Sampler(), state).processes["work"].processes == 2  # the coordinator is who it was
    run.coordinator_start_ticks -= 1
    usage = measured(Sampler(), state)
    assert usage.processes == {} and usage.task.processes == 0


def test_pids_of_another_boot_are_strangers(a_box: Box) -> None:
    a_box.start([process("work", "sleep 1000")])
    a_box.until_running("work")
    state = ungrouped(a_box)
    run = state.processes["work"].last
    assert run.boot is not None
    run.boot = run.boot._replace(boot_id="00000000-0000-0000-0000-000000000000")
    usage = measured(Sampler(), state)
    assert usage.processes == {} and usage.task.processes == 0


def test_pids_of_a_namespace_that_is_not_to_be_seen_are_unknown(a_box: Box) -> None:
    a_box.start([process("work", "sleep 1000")])
    a_box.until_running("work")
    state = ungrouped(a_box)
    run = state.processes["work"].last
    assert run.boot is not None
    run.boot = run.boot._replace(pid_namespace=1)
    usage = measured(Sampler(), state)
    assert usage.processes == {}
    assert usage.task[1:] == (None,) * 15


def test_records_of_the_original_are_believed_by_their_time(a_box: Box) -> None:
    a_box.start([process("work", "sleep 1000")])
    a_box.until_running("work")
    state = ungrouped(a_box)
    run = state.processes["work"].last
    run.boot = TaskStatus(run.boot.state, 0, 1, 0) if run.boot is not None else None
    run.pid_start_ticks = run.coordinator_start_ticks = None
    assert measured(Sampler(), state).processes["work"].processes == 2
    assert run.start_time is not None and run.fork_time is not None
    run.start_time -= 60
    run.fork_time -= 60
    assert measured(Sampler(), state).processes == {}


@pytest.mark.parametrize("pid", [-1, 0, 1, 2**31 - 1, 2**70])
def test_hostile_pids(a_box: Box, pid: int) -> None:
    a_box.start([process("work", "sleep 1000")])
    a_box.until_running("work")
    state = ungrouped(a_box)
    run = state.processes["work"].last
    run.pid = run.coordinator_pid = pid
    run.pid_start_ticks = run.coordinator_start_ticks = proc.start_ticks(1)
    assert measured(Sampler(), state).processes == {}


def test_a_coordinator_leads_its_session(a_box: Box) -> None:
    """One that does not is a process that somebody else named: its whole tree would be this task's."""
    a_box.start([process("work", "sleep 1000")])
    a_box.until_running("work")
    state = ungrouped(a_box)
    run = state.processes["work"].last
    run.coordinator_pid, run.coordinator_start_ticks = run.pid, run.pid_start_ticks
    run.pid = None
    assert measured(Sampler(), state).processes == {}


def test_pid_namespaces(a_box: Box) -> None:
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]
    if subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("no PID namespaces here")
    word = f"7{os.getpid()}.25"
    a_box.start([process("work", f"setsid sleep {word} & sleep 1000")], before=words)
    a_box.until_running("work")
    until(lambda: with_words(f"sleep\0{word}"), "the sleeper")
    state = ungrouped(a_box)
    run = state.processes["work"].last
    assert run.pid is not None and run.boot is not None
    assert run.boot.pid_namespace != proc.pid_namespace()
    pids = tree(state, "work")
    assert run.pid not in pids
    assert with_words(f"sleep\0{word}")[0] in pids
    assert measured(Sampler(), state).processes["work"].processes == len(pids) == 4
