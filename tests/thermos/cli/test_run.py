"""``thermos run``, ``simplerun`` and ``kill`` with the real runner."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.thermos.cli.command import environment, thermos, write_task
from thermos.checkpoints import is_owned, read_task
from thermos.cli.run import default_sandbox
from thermos.errors import ExitCode
from thermos.states import ProcessState, TaskState


class Bench:
    """A root of its own, configurations, and the end of whatever was left running in it."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path
        self.root = tmp_path / "root"
        self.started: list[subprocess.Popen[str]] = []

    def config(self, text: str) -> Path:
        path = self.path / "task.thermos"
        path.write_text(text)
        return path

    def command(self, *args: object) -> list[str]:
        return [sys.executable, "-m", "thermos.cli", "--root", str(self.root), *map(str, args)]

    def env(self) -> dict[str, str]:
        return environment({"XDG_STATE_HOME": str(self.path / "state"), "TMPDIR": str(self.path)})

    def thermos(self, *args: object) -> subprocess.CompletedProcess[str]:
        return thermos("--root", self.root, *args, env=self.env())

    def run(self, text: str, *args: object) -> subprocess.CompletedProcess[str]:
        return self.thermos("run", "--sandbox", self.path / "sandbox", *args, self.config(text))

    def start(self, *args: object) -> subprocess.Popen[str]:
        """In a process group of its own, as a shell starts it."""
        process = subprocess.Popen(
            self.command(*args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env(),
            text=True,
            process_group=0,
        )
        self.started.append(process)
        return process

    def state(self, task_id: str) -> TaskState | None:
        return read_task(str(self.root), task_id).state.task_state

    def wait_until_running(self, task_id: str, process: str) -> None:
        def runs() -> bool:
            history = read_task(str(self.root), task_id).state.processes.get(process)
            return history is not None and history.last.state is ProcessState.RUNNING

        wait_until(runs)

    def end(self) -> None:
        active = self.root / "tasks" / "active"
        if active.is_dir() and any(active.iterdir()):
            self.thermos("kill", "--force", "--yes", ".")
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.end()


ONE = "export(Task(name='one', processes=[Process(name='p', cmdline={cmdline!r})]))"


def one(cmdline: str) -> str:
    return ONE.format(cmdline=cmdline)


# -- run ---------------------------------------------------------------------------------------------------------


def test_a_task_that_goes_well(bench: Bench) -> None:
    done = bench.run(one("echo hello"), "--task_id", "t1")
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    lines = [re.sub(r"^\d\d:\d\d:\d\d|\d+( ms| s)|pid \d+", "", line) for line in done.stdout.splitlines()]
    assert [line.strip() for line in lines] == [
        "task ACTIVE", "p RUNNING", "p SUCCESS", "task CLEANING", "task FINALIZING", "task SUCCESS",
        "PROCESS  RUNS  STATE    RC  DURATION", "p        1     SUCCESS  0", "t1: SUCCESS",
    ]  # fmt: skip
    assert (bench.path / "sandbox" / ".logs" / "p" / "0" / "stdout").read_text() == "hello\n"
    assert bench.thermos("tail", "t1").stdout == "hello\n"


def test_a_task_that_fails_says_why_and_where_to_look(bench: Bench) -> None:
    done = bench.run(one("no-such-command"), "--task_id", "t1")
    assert done.returncode == ExitCode.TASK_FAILED
    assert re.search(r"^p +1 +FAILED +127 .*exit code 127: the shell did not find a command", done.stdout, re.MULTILINE)
    assert f"`thermos --root {bench.root} why t1` explains" in done.stdout
    why = bench.thermos("why", "t1").stdout
    assert "failed for good: exit code 127" in why
    assert "no-such-command: command not found" in why


def test_a_task_id_is_made_of_the_name_and_the_time(bench: Bench) -> None:
    bench.run(one("true"))
    (task_id,) = os.listdir(bench.root / "tasks" / "finished")
    assert re.fullmatch(r"one-\d{8}-\d{6}\.\d{6}", task_id)


def test_each_task_has_a_sandbox_of_its_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(bench.path / "state"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_sandbox("t1") == "/var/lib/thermos/sandboxes/t1"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_sandbox("t1") == f"{bench.path}/state/thermos/sandboxes/t1"
    monkeypatch.undo()
    if os.geteuid() == 0:
        return  # what follows would write to the system's own directory
    assert bench.thermos("run", "--task_id", "t1", bench.config(one("true"))).returncode == ExitCode.OK
    marker = bench.path / "state" / "thermos" / "sandboxes" / "t1" / ".thermos-sandbox"
    assert marker.read_text() == "t1\n"


def test_quiet(bench: Bench) -> None:
    done = bench.run(one("false"), "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.TASK_FAILED, "", "")


def test_all_problems_at_once(bench: Bench) -> None:
    done = bench.run(one("{{thermos.ports[http]}} {{thermos.ports[admin]}}"), "-P", "bad", "--task_id", "a b")
    assert done.returncode == ExitCode.INVALID_TASK
    for part in ("http", "admin", "'bad'", "blanks"):
        assert part in done.stderr
    assert not bench.root.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "two"], "'two'"),
        (["-E", "x"], "NAME=VALUE"),
        (["-P", "http:99999"], "65535"),
        (["-P", "http:1", "-P", "http:2"], "twice"),
        (["--user", "nobody-of-this-name"], "nobody-of-this-name"),
    ],
)
def test_what_cannot_be_run_is_said(bench: Bench, arguments: list[str], says: str) -> None:
    done = bench.run(one("true"), *arguments)
    assert done.returncode == (ExitCode.UNKNOWN_USER if "--user" in arguments else ExitCode.INVALID_TASK)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_an_absent_file(bench: Bench) -> None:
    done = bench.thermos("run", bench.path / "absent.thermos")
    assert done.returncode == ExitCode.INVALID_TASK
    assert "absent.thermos" in done.stderr


def test_ports_and_bindings(bench: Bench) -> None:
    text = one("echo {{greeting}} {{thermos.ports[http]}}")
    bench.run(text, "-P", "http:8080", "-E", "greeting=hello", "--task_id", "t1")
    assert bench.thermos("tail", "t1").stdout == "hello 8080\n"
    assert "ports: http -> 8080" in bench.thermos("status", "-v2", "t1").stdout


def test_the_task_id_of_a_task_that_is_over(bench: Bench) -> None:
    bench.run(one("true"), "--task_id", "t1")
    done = bench.run(one("true"), "--task_id", "t1")
    assert done.returncode == ExitCode.TERMINAL_TASK
    assert "t1 is over" in done.stderr


def test_ctrl_c_ends_the_task_gracefully(bench: Bench) -> None:
    text = """
p = Process(name='p', cmdline='trap "echo asked; exit 0" TERM; echo ready; while :; do sleep 0.05; done')
last = Process(name='last', cmdline='echo last', final=True)
export(Task(name='one', processes=[p, last]))
"""
    process = bench.start("run", "--sandbox", bench.path / "sandbox", "--task_id", "t1", bench.config(text))
    log = bench.path / "sandbox" / ".logs" / "p" / "0" / "stdout"
    wait_until(lambda: log.exists() and "ready" in log.read_text())
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (ExitCode.TASK_KILLED, "")
    assert "asked" in log.read_text()
    assert re.search(r"^last +1 +SUCCESS", out, re.MULTILINE)
    assert "task CLEANING: SIGINT" in out


def test_a_second_ctrl_c_ends_it_at_once(bench: Bench) -> None:
    process = bench.start(
        "run", "--sandbox", bench.path / "s", "--task_id", "t1",
        bench.config(one("trap '' TERM; touch ready; sleep 1000")),
    )  # fmt: skip
    wait_until((bench.path / "s" / "ready").exists)
    os.killpg(process.pid, signal.SIGINT)
    wait_until(lambda: bench.state("t1") is TaskState.CLEANING)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=15)
    assert process.returncode == ExitCode.TASK_KILLED


def test_sigterm_to_the_command_ends_the_task(bench: Bench) -> None:
    process = bench.start("run", "--sandbox", bench.path / "s", "--task_id", "t1", bench.config(one("sleep 1000")))
    bench.wait_until_running("t1", "p")
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == ExitCode.TASK_KILLED


def test_a_reader_that_goes_away_does_not_end_the_task(bench: Bench) -> None:
    text = "export(Task(name='m', processes=[Process(name='p%d' % n, cmdline='sleep 0.3') for n in range(5)]))"
    process = bench.start("run", "--sandbox", bench.path / "s", "--task_id", "t1", bench.config(text))
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    process.communicate(timeout=30)
    assert process.returncode == ExitCode.OK
    assert bench.state("t1") is TaskState.SUCCESS


def make_report_small(pid: int) -> None:
    """Give the pipe on which the command *pid* hears from its runner room for few records."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        if int(path.name) > 2 and os.readlink(path).startswith("pipe:"):
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 16384)  # of what it holds nothing is lost
            os.close(fd)


def test_a_daemon_goes_on_when_the_command_has_returned(bench: Bench) -> None:
    text = """
a, b = Process(name='a', cmdline='sleep 0.5'), Process(name='b', cmdline='true')
export(Task(name='two', processes=[a, b], constraints=order(a, b)))
"""
    bench.thermos("run", "--daemon", "--sandbox", bench.path / "s", "--task_id", "t1", bench.config(text))
    wait_until(lambda: "b" in read_task(str(bench.root), "t1").state.processes)
    wait_until(lambda: read_task(str(bench.root), "t1").state.processes["b"].last.state.is_terminal)
    (run,) = read_task(str(bench.root), "t1").state.processes["b"].runs
    assert run.state is ProcessState.SUCCESS


def test_a_command_that_was_too_slow_for_its_runner_catches_up(bench: Bench) -> None:
    """The runner does not wait for who reads its report; the rest is in its stream."""
    text = "export(Task(name='m', max_concurrency=20, processes=["
    text += "Process(name='p%03d' % n + 'x' * 150, cmdline='true') for n in range(100)]))"
    process = bench.start("run", "--sandbox", bench.path / "s", "--task_id", "t1", bench.config(text))
    wait_until(lambda: bench.state("t1") is TaskState.ACTIVE)
    process.send_signal(signal.SIGSTOP)
    make_report_small(process.pid)
    wait_until(lambda: bench.state("t1") is TaskState.SUCCESS, 15.0)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (ExitCode.OK, "")
    assert len(re.findall(r"^\S+  p\d\d\dx+ SUCCESS", out, re.MULTILINE)) == 100
    assert "task SUCCESS" in out


def test_a_killed_runner_is_told_and_the_task_goes_on_when_it_is_started_again(bench: Bench) -> None:
    arguments = ["run", "--sandbox", bench.path / "s", "--task_id", "t1", bench.config(one("sleep 2; echo done"))]
    process = bench.start(*arguments)
    bench.wait_until_running("t1", "p")
    runner_pid = read_task(str(bench.root), "t1").state.statuses[-1].runner_pid
    os.kill(runner_pid, signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERNAL
    assert "was ended by SIGKILL" in err
    again = bench.thermos(*arguments)
    assert again.returncode == ExitCode.OK, again.stderr
    assert "p SUCCESS" in again.stdout
    assert re.search(r"^p +1 +SUCCESS", again.stdout, re.MULTILINE)


def test_daemon_prints_the_id_and_returns_when_the_task_is_recorded(bench: Bench) -> None:
    config = bench.config(one("sleep 1000"))
    done = bench.thermos("run", "--daemon", "--sandbox", bench.path / "s", "--task_id", "t1", config)
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.OK, "t1\n", "")
    assert bench.state("t1") is TaskState.ACTIVE
    again = bench.thermos("run", "--daemon", "--sandbox", bench.path / "s", "--task_id", "t1", config)
    assert again.returncode != ExitCode.OK
    assert "--daemon" in again.stderr


# -- simplerun ---------------------------------------------------------------------------------------------------


def test_simplerun(bench: Bench) -> None:
    done = bench.thermos("simplerun", "--task_id", "t1", "--", "echo", "-n", "hello", "--", "you")
    assert done.returncode == ExitCode.OK
    assert done.stdout.startswith("Running command: 'echo -n hello -- you'\n")
    assert bench.thermos("tail", "t1").stdout == "hello -- you"
    assert (bench.path / "root" / "tasks" / "finished" / "t1").exists()


def test_simplerun_bindings_count_which_the_original_ignored(bench: Bench) -> None:
    done = bench.thermos(
        "simplerun", "--task_id", "t1", "--name", "n", "-E", "who=you", "-P", "x:5", "echo {{who}} {{thermos.ports[x]}}"
    )
    assert done.returncode == ExitCode.OK
    assert bench.thermos("tail", "t1", "n").stdout == "you 5\n"


def test_simplerun_without_a_command_line(bench: Bench) -> None:
    done = bench.thermos("simplerun", "--name", "x")
    assert (done.returncode, "no command line" in done.stderr) == (ExitCode.INVALID_TASK, True)


def test_what_simplerun_leaves_can_be_collected(bench: Bench) -> None:
    bench.thermos("simplerun", "--task_id", "t1", "true")
    before = set(os.listdir(bench.path))
    bench.thermos("gc", "--force", "t1")
    gone = before - set(os.listdir(bench.path))
    assert [name.startswith("thermos-") for name in gone] == [True]


# -- kill --------------------------------------------------------------------------------------------------------


def start_daemon(bench: Bench, task_id: str, cmdline: str) -> None:
    done = bench.thermos("simplerun", "--daemon", "--task_id", task_id, "--", cmdline)
    assert done.returncode == 0, done.stderr
    bench.wait_until_running(task_id, "simple")


def test_kill_is_graceful(bench: Bench) -> None:
    start_daemon(bench, "t1", f'trap "exit 0" TERM; touch {bench.path}/ready; while :; do sleep 0.05; done')
    wait_until((bench.path / "ready").exists)
    done = bench.thermos("kill", "t1")
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.OK, "Killing t1...done.\n", "")
    assert bench.state("t1") is TaskState.KILLED
    assert re.search(r"SIGUSR1 from pid .* kill t1 of uid", bench.thermos("why", "t1").stdout)


def test_kill_takes_active_tasks_that_match_from_the_first_character(bench: Bench) -> None:
    for task_id in ("web-1", "web-2", "db"):
        start_daemon(bench, task_id, "sleep 1000")
    done = bench.thermos("kill", "eb", "x", "--exact", "web")
    assert (done.returncode, done.stdout) == (ExitCode.OK, "")
    assert "nothing was done" in done.stderr
    done = bench.thermos("kill", "web")
    assert done.stdout == "Killing web-1...done.\nKilling web-2...done.\n"
    assert bench.state("db") is TaskState.ACTIVE
    assert bench.thermos("kill", "web").stdout == ""
    assert bench.thermos("kill", "--exact", "db").stdout == "Killing db...done.\n"


def test_kill_without_arguments_does_nothing_and_says_so(bench: Bench) -> None:
    done = bench.thermos("kill")
    assert (done.returncode, done.stdout) == (ExitCode.OK, "")
    assert "nothing was done" in done.stderr


def test_a_timeout_is_a_number_of_seconds() -> None:
    for text in ("soon", "-1", "nan", "inf"):
        assert thermos("kill", f"--timeout={text}", "t").returncode == ExitCode.USAGE


def test_a_timeout_is_told(bench: Bench) -> None:
    start_daemon(bench, "t1", f"trap '' TERM; touch {bench.path}/ready; sleep 1000")
    wait_until((bench.path / "ready").exists)
    done = bench.thermos("kill", "--timeout", "0.2", "t1")
    assert (done.returncode, done.stdout) == (ExitCode.TIMED_OUT, "Killing t1...not yet.\n")
    done = bench.thermos("kill", "--force", "t1")
    assert (done.returncode, done.stdout) == (ExitCode.OK, "Killing t1...done.\n")
    assert bench.state("t1") is TaskState.KILLED


def test_a_task_whose_runner_is_dead_is_ended(bench: Bench) -> None:
    start_daemon(bench, "t1", "sleep 1000")
    state = read_task(str(bench.root), "t1").state
    pid = state.processes["simple"].last.pid
    os.kill(state.statuses[-1].runner_pid, signal.SIGKILL)
    wait_until(lambda: is_owned(str(bench.root / "checkpoints" / "t1" / "runner")) is False)
    assert "DEAD" in bench.thermos("why", "t1").stdout
    assert bench.thermos("kill", "t1").stdout == "Killing t1...done.\n"
    assert bench.state("t1") is TaskState.KILLED
    assert pid is not None
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_task_that_cannot_be_ended_is_told_and_the_others_go_on(bench: Bench) -> None:
    write_task(bench.root, "a-broken", None, is_active=True)
    start_daemon(bench, "b-fine", "sleep 1000")
    done = bench.thermos("kill", ".*")
    assert "Killing a-broken...failed.\nKilling b-fine...done.\n" in done.stdout
    assert "there is no checkpoint of task a-broken" in done.stderr
    assert done.returncode == ExitCode.NOT_FOUND
    assert "Traceback" not in done.stderr
    (bench.root / "tasks" / "active" / "a-broken").unlink()


@pytest.mark.parametrize(("answer", "ends"), [("y", True), ("n", False)])
def test_on_a_terminal_more_than_one_task_is_asked_for(bench: Bench, answer: str, ends: bool) -> None:
    for task_id in ("t1", "t2"):
        start_daemon(bench, task_id, "sleep 1000")
    parent, child = pty.openpty()
    process = subprocess.Popen(bench.command("kill", "t"), stdin=child, stdout=child, stderr=child, env=bench.env())
    os.close(child)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(parent, 4096)
    assert b"  t1\r\n  t2\r\nKill 2 tasks?" in shown
    os.write(parent, answer.encode() + b"\n")
    try:
        while data := os.read(parent, 4096):
            shown += data
    except OSError:  # EIO: the other side is closed
        pass
    os.close(parent)
    assert process.wait(timeout=30) == ExitCode.OK
    assert (bench.state("t1") is TaskState.KILLED) is ends
    assert (b"nothing was done" in shown) is not ends
