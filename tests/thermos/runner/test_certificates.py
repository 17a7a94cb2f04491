"""What is told of how a run ended."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.box import IS_ROOT, Box, process, until
from thermos.records import DeathCertificate
from thermos.states import ProcessState, TaskState

P = ProcessState

PYTHON = f"exec {sys.executable} -S -E -c"


def certificate(box: Box, name: str = "p") -> DeathCertificate:
    found = box.last(name).certificate
    assert found is not None, box.story()
    return found


def test_a_run_that_went_well_tells_what_it_used_and_nothing_of_stderr(box: Box) -> None:
    assert box.run([process("p", "echo words >&2; sleep 0.3")]) == 0
    run, found = box.last("p"), certificate(box)
    assert (run.return_code, found.signal, found.core_dumped, found.oom_killed) == (0, None, None, None)
    assert (found.stderr_tail, found.stderr_note, found.killed_by) == (None, None, None)
    assert found.run_s is not None
    assert 0.3 <= found.run_s < 10
    assert run.start_time is not None
    assert run.stop_time is not None
    assert abs(run.stop_time - run.start_time - found.run_s) < 0.001


def test_an_exit_code_and_the_last_words(box: Box) -> None:
    assert box.run([process("p", "for n in $(seq 50); do echo line $n >&2; done; exit 7")]) == 0
    found = certificate(box)
    assert (box.last("p").return_code, found.signal, found.core_dumped) == (7, None, None)
    assert found.stderr_tail == "".join(f"line {number}\n" for number in range(31, 51))
    assert found.stderr_note is None


def test_the_last_words_are_two_kilobytes_at_most_and_whole_lines(box: Box) -> None:
    assert box.run([process("p", "for n in $(seq 10); do printf '%0300d\\n' $n >&2; done; exit 1")]) == 0
    tail = certificate(box).stderr_tail
    assert tail is not None
    assert tail == "".join(f"{number:0300}\n" for number in range(5, 11))
    assert len(tail.encode()) <= 2048


def test_last_words_of_one_endless_line_and_of_no_text(box: Box) -> None:
    long = process("long", "head -c 10000 /dev/zero | tr '\\0' x >&2; exit 1")
    bytes_ = process("bytes", "printf '\\377\\000\\033[2J end' >&2; exit 1")
    silent = process("silent", "exit 1")
    assert box.run({"processes": [long, bytes_, silent], "max_failures": 0}) == 0
    assert certificate(box, "long").stderr_tail == "x" * 2048
    assert certificate(box, "bytes").stderr_tail == "\ufffd\0\x1b[2J end"
    assert certificate(box, "silent").stderr_tail == ""


@pytest.mark.parametrize("destination", ["console", "none"])
def test_what_goes_to_no_file_is_not_captured_and_says_so(box: Box, destination: str) -> None:
    assert box.run([process("p", "echo words >&2; exit 1", logger={"destination": destination})]) == 0
    found = certificate(box)
    assert found.stderr_tail is None
    assert found.stderr_note == "not captured: it does not go to a file"


@pytest.mark.parametrize("destination", ["file", "both"])
def test_last_words_of_a_rotating_log_reach_back_over_a_rotation(box: Box, destination: str) -> None:
    logger = {"destination": destination, "mode": "rotate", "rotate": {"log_size": 100, "backups": 3}}
    cmdline = "for n in $(seq 5); do printf '%049d\\n' $n >&2; sleep 0.05; done; printf '%049d\\n' 6 >&2; exit 1"
    assert box.run([process("p", cmdline, logger=logger)]) == 0
    tail = certificate(box).stderr_tail
    assert tail is not None
    assert f"{6:049}\n" in tail


def test_a_signal_and_a_core(box: Box) -> None:
    def allow_cores() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))

    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    task = [
        process("term", "[ -e a ] && exit; touch a; kill -TERM $$"),
        process("core", "[ -e b ] && exit; touch b; kill -SEGV $$"),
    ]
    assert box.run(task, prepare=allow_cores) == 0
    term, core = (box.state.processes[name].runs[0] for name in ("term", "core"))
    assert term.certificate is not None
    assert core.certificate is not None
    assert (term.state, term.return_code, term.certificate.signal) == (P.KILLED, -15, signal.SIGTERM)
    assert (core.state, core.return_code, core.certificate.signal) == (P.KILLED, -11, signal.SIGSEGV)
    assert term.certificate.core_dumped is False
    if not pattern.startswith("|"):
        assert core.certificate.core_dumped is (len(list(Path(box.sandbox).glob("*core*"))) > 0)


def test_memory_and_processor_time(box: Box) -> None:
    memory = process("memory", f"{PYTHON} 'x = bytearray(60 << 20); x[::4096] = b\"x\" * len(x[::4096])'")
    below = process("below", f"{PYTHON[5:]} 'x = b\"x\" * (40 << 20)'; true")
    busy = process("busy", f"{PYTHON} 'import time\nwhile time.process_time() < 0.3: pass'")
    assert box.run([memory, below, busy]) == 0
    assert 60 << 20 <= (certificate(box, "memory").peak_rss_bytes or 0) < 90 << 20
    assert 40 << 20 <= (certificate(box, "below").peak_rss_bytes or 0) < 70 << 20
    found = certificate(box, "busy")
    assert found.user_cpu_s is not None
    assert found.system_cpu_s is not None
    assert 0.3 <= found.user_cpu_s + found.system_cpu_s < 3


@pytest.fixture(name="limited")
def _limited() -> Iterator[Path]:
    """A memory control group of 48 MB."""
    mount = Path("/sys/fs/cgroup/memory")
    if not IS_ROOT or not (mount / "memory.limit_in_bytes").exists():
        pytest.skip("no version 1 memory controller that we may use here")
    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line)
    group = mount / own.split(":", 2)[2].lstrip("/") / f"thermos-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(48 << 20))
    except OSError as error:
        pytest.skip(f"no memory control group can be made here: {error}")
    yield group
    until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
    group.rmdir()


def test_a_victim_of_the_oom_killer_is_told_apart(box: Box, limited: Path) -> None:
    def enter() -> None:
        (limited / "cgroup.procs").write_text(str(os.getpid()))

    eats = f"{PYTHON[5:]} 'x = bytearray(200 << 20); x[::4096] = b\"x\" * len(x[::4096])'"
    task = {
        "processes": [
            process("victim", f"[ -e once ] && exit 0; touch once; exec {eats}"),
            process("child", f"{eats}; exit $?"),
            process("killed", "[ -e twice ] && exit 0; touch twice; kill -9 $$"),
        ],
        "constraints": [{"order": ["killed", "victim", "child"]}],
        "max_failures": 0,
    }
    assert box.run(task, prepare=enter, timeout_s=60) == 0, box.story()
    runs = {name: box.state.processes[name].runs[0] for name in ("victim", "child", "killed")}
    told = {name: run.certificate.oom_killed for name, run in runs.items() if run.certificate is not None}
    assert told == {"victim": True, "child": True, "killed": False}
    assert (runs["victim"].return_code, runs["child"].return_code) == (-9, 137)


def test_the_runner_is_told_of_who_asked(box: Box) -> None:
    """A kill from the task's own process is told with its pid and words."""
    cmdline = "kill -USR1 $(ps -o ppid= -p $PPID); echo $$ >asked; exec sleep 600"
    assert box.run([process("p", cmdline)]) == 0
    pid = box.until_file("asked").strip()
    reason = box.state.statuses[-1].reason
    assert box.task_state is TaskState.KILLED
    assert reason is not None
    assert reason.startswith(f"SIGUSR1 from pid {pid} ")
    assert reason.endswith(f" of uid {os.getuid()}")


def test_a_link_in_the_place_of_stderr_is_not_read(box: Box) -> None:
    """The certificate is written by root, and the link is to what its planter could not read."""
    secret = Path(box.path, "secret")
    secret.write_text("secret\n")
    hard = process("hard", f"ln -f {secret} .logs/hard/0/stderr; exit 1")
    soft = process("soft", f"ln -sf {secret} .logs/soft/0/stderr; exit 1")
    fifo = process("fifo", "rm .logs/fifo/0/stderr; mkfifo .logs/fifo/0/stderr; exit 1")
    gone = process("gone", "rm .logs/gone/0/stderr; exit 1")
    assert box.run({"processes": [hard, soft, fifo, gone], "max_failures": 0}) == 0
    for name in ("hard", "soft", "fifo", "gone"):
        found = certificate(box, name)
        assert (found.stderr_tail, (found.stderr_note or "")[:14]) == (None, "not captured: "), name
