"""A runner that is started again: by name, what it may find and what it does about it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chaos import listens
from tests.support.invariants import violations
from tests.support.lab import Lab, process, task
from tests.support.nursery import Nursery, children, nursery
from tests.support.ptrace import Tracee, TraceRefused
from thermos.formats import checkpoint
from thermos.host import proc
from thermos.records import Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

ENDLESS = "exec sleep 7531"


@pytest.fixture
def place() -> Iterator[Nursery]:
    with nursery() as made:
        yield made


def make(directory: Path, *processes: dict[str, Any], flags: tuple[str, ...] = (), **more: Any) -> Lab:
    return Lab(directory / "lab", task(processes, **more), *flags)


def states(lab: Lab, name: str) -> list[ProcessState]:
    """How each run of a process stands."""
    history = lab.state().processes.get(name)
    return [run.state for run in history.runs] if history is not None else []


def start(lab: Lab, place: Nursery, *more: str, inherit: tuple[int, ...] = (), names: tuple[str, ...] = ("a",)) -> int:
    """Start a runner and wait until all of *names* run; its pid."""
    runner = lab.start(place, *more, inherit=inherit)
    ran = set[str]()

    def do_run() -> bool:
        ran.update(name for name, _ in lab.executions())
        running = (states(lab, name)[-1:] == [ProcessState.RUNNING] for name in names)
        return ran.issuperset(names) and all(running) and listens(runner)

    place.wait_for(do_run, f"{names[0]} to run")
    return runner


def kill(place: Nursery, *pids: int) -> None:
    """SIGKILL, and wait until they are gone."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    place.wait_for(lambda: all(not proc.is_alive(pid, None) for pid in pids), "the end of what was killed")


def kill_all(place: Nursery, but: tuple[int, ...] = ()) -> None:
    """SIGKILL everything that was started here."""
    kill(place, *(pid for pid in place.left() if pid not in but))


def end(lab: Lab, place: Nursery, runner: int, code: int = 0) -> None:
    """SIGUSR1 to a runner that listens, and wait for its end."""
    place.wait_for(lambda: listens(runner), "the runner to listen")
    os.kill(runner, signal.SIGUSR1)
    assert place.wait_end(runner, "the runner") == code, lab.words


def rewrite(lab: Lab, change: Callable[[Record], Record]) -> None:
    """Change each record of the runner's stream, as if it had always been so."""
    data = b"".join(checkpoint.encode(change(record)) for record in lab.records())
    Path(lab.runner_path).write_bytes(data)


def bystander(place: Nursery) -> int:
    """Somebody else's process, in a session of its own."""
    return place.start(["/bin/sleep", "6543"], os.devnull, session=True)


# -- ownership ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_second_runner_is_refused_while_the_first_lives(tmp_path: Path, place: Nursery, is_stopped: bool) -> None:
    lab = make(tmp_path, process("a", ENDLESS))
    first = start(lab, place)
    if is_stopped:
        os.kill(first, signal.SIGSTOP)
    before = lab.bytes_of(lab.runner_path)
    assert lab.run(place) == 103
    assert f"pid {first}, lives" in lab.words
    assert lab.bytes_of(lab.runner_path) == before
    assert states(lab, "a") == [ProcessState.RUNNING]
    os.kill(first, signal.SIGCONT)
    Path(lab.said).unlink()
    end(lab, place, first)
    assert violations(lab, place, TaskState.KILLED) == []


def test_the_lock_of_an_orphan_that_was_never_recorded_is_waited_for(tmp_path: Path, place: Nursery) -> None:
    """The runner died between fork and FORKED: its child holds the lock until it sees that, and never starts."""
    lab = make(tmp_path, process("a"))
    try:
        first = Tracee.start(lab.argv, lab.said, stop_at_fork=True)
    except TraceRefused as error:
        pytest.skip(str(error))
    orphan = first.next_fork()
    assert orphan is not None
    kill(place, first.pid)
    second = lab.start(place)

    def waits_for_lock() -> bool:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        return any("->" in line and f" {second} " in line for line in lines)

    place.wait_for(waits_for_lock, "the second runner to wait for the lock")
    begun = time.monotonic()
    orphan.detach()
    lab.wait_over(place, second)
    assert time.monotonic() - begun < 5
    assert violations(lab, place, TaskState.SUCCESS) == []


# -- damage ------------------------------------------------------------------------------------------------------


def test_a_torn_end_is_cut_off_and_told(tmp_path: Path, place: Nursery) -> None:
    lab = make(tmp_path, process("a", ENDLESS))
    kill(place, start(lab, place))
    whole = lab.bytes_of(lab.runner_path)
    torn = checkpoint.encode(TaskStatus(TaskState.CLEANING, 0, 1, 0))[:-3]
    Path(lab.runner_path).write_bytes(whole + torn)
    runner = lab.start(place)

    def notes() -> list[str]:
        return [record.text for record in lab.records() if isinstance(record, Note) and record.kind == "torn"]

    place.wait_for(notes, "a word about it")
    assert [f"at byte {len(whole)}:" in text for text in notes()] == [True]
    end(lab, place, runner)
    assert states(lab, "a") == [ProcessState.KILLED]
    assert violations(lab, place, TaskState.KILLED, seen=whole) == []


def test_damage_in_the_middle_stops_the_runner_and_changes_nothing(tmp_path: Path, place: Nursery) -> None:
    lab = make(tmp_path, process("a", ENDLESS))
    kill(place, start(lab, place))
    data = bytearray(lab.bytes_of(lab.runner_path))
    at = lab.stream().entries[1].offset
    data[at + 20] ^= 1
    Path(lab.runner_path).write_bytes(data)
    alive = place.left()
    assert lab.run(place) == 107
    assert f"byte {at}" in lab.words
    assert lab.bytes_of(lab.runner_path) == data
    assert place.left() == alive != []
    assert not lab.is_finished


def test_a_newer_format_stops_the_runner_and_changes_nothing(tmp_path: Path, place: Nursery) -> None:
    lab = make(tmp_path, process("a", ENDLESS))
    kill(place, start(lab, place))
    newer = checkpoint.VERSION + 1
    rewrite(lab, lambda r: r._replace(format_version=newer) if isinstance(r, RunnerHeader) else r)
    before = lab.bytes_of(lab.runner_path)
    alive = place.left()
    assert lab.run(place) == 108
    assert lab.bytes_of(lab.runner_path) == before
    assert place.left() == alive != []


def test_a_torn_end_of_a_coordinators_stream(tmp_path: Path, place: Nursery) -> None:
    lab = make(tmp_path, process("a", "[ -e again ] || { touch again; exec sleep 7531; }"))
    start(lab, place)
    place.wait_for(lambda: os.path.exists(f"{lab.sandbox}/again"), "a's first run")
    kill_all(place)
    torn = checkpoint.encode(ProcessStatus(3, "a", ProcessState.SUCCESS, return_code=0))[:-1]
    with open(lab.coordinator_path("a"), "ab") as file:
        file.write(torn)
    lab.run_to_end(place)
    assert states(lab, "a") == [ProcessState.LOST, ProcessState.SUCCESS]
    assert [note.kind for note in lab.state().notes if note.process == "a"] == ["torn"]
    assert violations(lab, place, TaskState.SUCCESS) == []


def test_a_torn_end_is_not_taken_for_a_record_of_who_died_before_it_wrote_one(tmp_path: Path, place: Nursery) -> None:
    """The stream is longer than the runner has read; still nothing ran that its coordinator could tell the end of."""
    lab = make(tmp_path, process("a", "[ -e again ] || { touch again; exec sleep 7531; }"))
    start(lab, place)
    place.wait_for(lambda: os.path.exists(f"{lab.sandbox}/again"), "a's first run")
    kill_all(place)
    with open(lab.coordinator_path("a"), "ab") as file:
        file.write(b"\0\0\0\x30torn")
    try:
        runner = Tracee.start(lab.argv, lab.said, stop_at_fork=True)
    except TraceRefused as error:
        pytest.skip(str(error))
    coordinator = runner.next_fork(stop_at_fork=True)
    starter = coordinator.next_fork() if coordinator is not None else None
    assert starter is not None
    starter.kill()
    lab.wait_over(place, runner.pid)
    assert states(lab, "a") == [ProcessState.LOST, ProcessState.LOST, ProcessState.SUCCESS]
    assert violations(lab, place, TaskState.SUCCESS) == []


def test_a_coordinators_stream_that_makes_no_sense_ends_no_runner(tmp_path: Path, place: Nursery) -> None:
    """Forged by the task's user, perhaps: the run is LOST, told, and run again."""
    lab = make(tmp_path, process("a", "[ -e again ] || { touch again; exec sleep 7531; }"))
    start(lab, place)
    place.wait_for(lambda: os.path.exists(f"{lab.sandbox}/again"), "a's first run")
    kill_all(place)
    with open(lab.coordinator_path("a"), "ab") as file:
        file.write(checkpoint.encode(ProcessStatus(9, "a", ProcessState.SUCCESS, return_code=0)))
    lab.run_to_end(place)
    assert states(lab, "a") == [ProcessState.LOST, ProcessState.SUCCESS]
    assert [note.kind for note in lab.state().notes if note.process == "a"] == ["stream"]
    assert lab.task_state is TaskState.SUCCESS
    assert lab.words == ""
    assert place.left() == []


# -- pids that mean nothing any more -----------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["boot", "pid namespace", "start time"])
def test_whoever_has_the_pids_now_is_left_alone(tmp_path: Path, place: Nursery, other: str) -> None:
    """After a reboot, in another container, or when the kernel has given the numbers to somebody else."""
    lab = make(tmp_path, process("a", "[ -e again ] || { touch again; exec sleep 7531; }"), process("b", ENDLESS))
    start(lab, place, names=("a", "b"))
    place.wait_for(lambda: os.path.exists(f"{lab.sandbox}/again"), "a's first run")
    kill_all(place)
    strangers = [bystander(place) for _ in range(4)]
    pids = iter(strangers)

    def change(record: Record) -> Record:
        if isinstance(record, TaskStatus):
            if other == "boot":
                return record._replace(boot_id="00000000-0000-0000-0000-000000000000")
            return record._replace(pid_namespace=1) if other == "pid namespace" else record
        if not isinstance(record, ProcessStatus):
            return record
        if record.state is ProcessState.FORKED:
            pid = next(pids)
            ticks = (proc.start_ticks(pid) or 0) - (other == "start time")
            return record._replace(coordinator_pid=pid, coordinator_start_ticks=ticks)
        if record.state is ProcessState.RUNNING:
            pid = next(pids)
            ticks = (proc.start_ticks(pid) or 0) - (other == "start time")
            return record._replace(pid=pid, pid_start_ticks=ticks)
        return record

    rewrite(lab, change)
    for name in "ab":
        os.unlink(lab.coordinator_path(name))
    os.unlink(f"{lab.sandbox}/ran")
    runner = start(lab, place, names=("b",))
    assert [states(lab, name)[0] for name in "ab"] == [ProcessState.LOST] * 2
    lost = [r for r in lab.records() if isinstance(r, ProcessStatus) and r.state is ProcessState.LOST]
    assert {r.reason for r in lost} == {"its coordinator died" if other == "start time" else "the host was restarted"}
    place.wait_for(lambda: states(lab, "a")[-1] is ProcessState.SUCCESS, "a's second run")
    end(lab, place, runner)
    assert violations(lab, place, TaskState.KILLED, bystanders=tuple(strangers)) == []


@pytest.mark.timeout(180)
def test_a_forged_pid_is_not_signalled(tmp_path: Path, place: Nursery) -> None:
    """A record names a process that does exist, with its start time, of our user: but it is not in that session."""
    lab = make(tmp_path, process("a", ENDLESS), finalization_wait=1)
    kill(place, start(lab, place))
    stranger = bystander(place)

    def forge(record: Record) -> Record:
        if isinstance(record, ProcessStatus) and record.state is ProcessState.RUNNING:
            return record._replace(pid=stranger, pid_start_ticks=proc.start_ticks(stranger))
        return record

    rewrite(lab, forge)
    Path(lab.coordinator_path("a")).write_bytes(
        b"".join(checkpoint.encode(forge(record)) for record in lab.coordinator_stream("a").records)
    )
    end(lab, place, lab.start(place))
    assert lab.task_state is TaskState.KILLED
    assert place.left() == [stranger]


@pytest.mark.parametrize("flags", [(), ("--no_cgroup",)])
def test_what_a_dead_runner_had_yet_to_kill_is_killed(tmp_path: Path, place: Nursery, flags: tuple[str, ...]) -> None:
    """It had recorded the run as LOST, and died before it killed what was left of it."""
    lab = make(tmp_path, process("a", f"setsid sleep 6321 & {ENDLESS}"), flags=flags)
    runner = start(lab, place)

    def left() -> list[int]:
        return [pid for pid in place.left() if b"6321" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    place.wait_for(left, "what will be left")
    (stray,) = left()
    kill_all(place, but=(stray,))
    with open(lab.runner_path, "ab") as file:
        file.write(checkpoint.encode(ProcessStatus(3, "a", ProcessState.LOST, stop_time=time.time())))
    runner = lab.start(place)
    place.wait_for(lambda: states(lab, "a") == [ProcessState.LOST, ProcessState.RUNNING], "the second run")
    assert not proc.is_alive(stray, None)
    end(lab, place, runner)
    assert violations(lab, place, TaskState.KILLED) == []


# -- many --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_task_of_five_hundred_processes_is_taken_over(tmp_path: Path, place: Nursery) -> None:
    names = tuple(f"p{number}" for number in range(500))
    lab = make(tmp_path, *(process(name, ENDLESS) for name in names))
    first = lab.start(place)
    place.wait_for(lambda: len(lab.executions()) == 500, "500 processes to run", 120)
    kill(place, first)
    taken_over = len(lab.records())
    second = lab.start(place)
    place.wait_for(lambda: len(lab.records()) > taken_over, "the task to be taken over")
    assert len(place.left()) == 1001
    place.wait_for(lambda: listens(second), "the runner to listen")
    os.kill(second, signal.SIGUSR1)
    assert place.wait_end(second, "the runner", 120) == 0
    history = lab.state().processes
    assert {tuple(run.state for run in history[name].runs) for name in names} == {(ProcessState.KILLED,)}
    assert violations(lab, place, TaskState.KILLED) == []


# -- the clock ---------------------------------------------------------------------------------------------------


def test_a_clock_an_hour_back_delays_no_restart(tmp_path: Path, place: Nursery) -> None:
    lab = make(tmp_path, process("a", "exit 1", max_failures=2, min_duration=2))
    runner = lab.start(place)
    place.wait_for(lambda: states(lab, "a")[:1] == [ProcessState.FAILED], "a to fail")
    kill(place, runner)

    def later(record: Record) -> Record:
        if isinstance(record, TaskStatus):
            return record._replace(timestamp_ms=record.timestamp_ms + 3_600_000)
        if isinstance(record, ProcessStatus):
            times = {
                name: getattr(record, name) + 3600
                for name in ("fork_time", "start_time", "stop_time")
                if getattr(record, name) is not None
            }
            return record._replace(**times)
        return record

    rewrite(lab, later)
    begun = time.monotonic()
    lab.run_to_end(place)
    assert time.monotonic() - begun < 2 + 10  # its wait anew, and a slow machine; not an hour
    assert states(lab, "a") == [ProcessState.FAILED] * 2
    assert lab.task_state is TaskState.FAILED


def test_a_clock_an_hour_back_does_not_stretch_the_time_to_clean_up(tmp_path: Path, place: Nursery) -> None:
    lab = make(tmp_path, process("a", "trap '' TERM; while :; do sleep 7531; done"), finalization_wait=2)
    runner = start(lab, place)
    os.kill(runner, signal.SIGUSR1)
    place.wait_for(lambda: lab.task_state is TaskState.CLEANING, "the task to clean up")
    kill(place, runner)

    def later(record: Record) -> Record:
        if isinstance(record, TaskStatus):
            deadline_ms = record.deadline_ms + 3_600_000 if record.deadline_ms is not None else None
            return record._replace(timestamp_ms=record.timestamp_ms + 3_600_000, deadline_ms=deadline_ms)
        return record

    rewrite(lab, later)
    begun = time.monotonic()
    lab.run_to_end(place)
    assert time.monotonic() - begun < 2 + 10
    assert violations(lab, place, TaskState.KILLED) == []


# -- the leash ---------------------------------------------------------------------------------------------------


@pytest.fixture
def leash() -> Iterator[tuple[int, int]]:
    """(the runner's end, the executor's end); the second may be closed by the test."""
    theirs, ours = os.pipe()
    yield theirs, ours
    for fd in (theirs, ours):
        try:
            os.close(fd)
        except OSError:
            pass


def test_when_the_executor_dies_the_task_is_lost(tmp_path: Path, place: Nursery, leash: tuple[int, int]) -> None:
    lab = make(tmp_path, process("a", ENDLESS), process("f", final=True))
    runner = start(lab, place, f"--leash_fd={leash[0]}", inherit=(leash[0],))
    os.close(leash[1])
    assert place.wait_end(runner, "the runner") == 0
    assert [name for name, _ in lab.executions()] == ["a"]  # and no finalizer
    assert violations(lab, place, TaskState.LOST) == []


@pytest.mark.parametrize("first", ["runner", "executor"])
def test_when_executor_and_runner_die_together_coordinators_end_what_they_watch(
    tmp_path: Path, place: Nursery, leash: tuple[int, int], first: str
) -> None:
    """In either order: the runner may live for a moment longer than the executor, and do nothing in it."""
    lab = make(tmp_path, process("a", f"sleep 7531 & setsid sleep 7531 & {ENDLESS}"))
    runner = start(lab, place, f"--leash_fd={leash[0]}", inherit=(leash[0],))
    (coordinator,) = children(runner)
    os.close(leash[0])
    if first == "runner":
        kill(place, runner)
        os.close(leash[1])
    else:
        os.kill(runner, signal.SIGSTOP)
        asleep = proc_times(coordinator)
        os.close(leash[1])
        place.wait_for(lambda: proc_times(coordinator) != asleep, "the coordinator to be woken by the leash", 5)
        kill(place, runner)
    place.wait_for(lambda: not place.left(), "everything to end by itself")
    told = [r.state for r in lab.told_by_coordinators()]
    assert told == [ProcessState.FORKED, ProcessState.RUNNING, ProcessState.KILLED]
    # Started again, under another executor or none: nothing is lost, and the task goes on.
    second = lab.start(place)
    place.wait_for(lambda: len(states(lab, "a")) == 2, "a's second run")
    assert states(lab, "a")[0] is ProcessState.KILLED
    end(lab, place, second)
    assert violations(lab, place, TaskState.KILLED) == []


def proc_times(pid: int) -> str:
    """How often a process has been switched off its processor: it changes when it was woken."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return status.partition("voluntary_ctxt_switches:")[2].split()[0]
