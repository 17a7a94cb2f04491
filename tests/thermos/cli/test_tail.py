"""``thermos tail``: what is there, what comes, and when it ends."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.thermos.cli.command import environment, header, run_records, success, task_status, thermos, write_task
from thermos.errors import ExitCode
from thermos.formats import checkpoint
from thermos.records import Record
from thermos.states import ProcessState, TaskState


class TaskAt:
    """A hand-made task with logs, whose records can be added as a runner would."""

    def __init__(self, tmp_path: Path, task_id: str = "t") -> None:
        self.root = tmp_path / "root"
        self.logs = tmp_path / "sandbox" / ".logs"
        self.task_id = task_id
        self.stream: Path | None = None
        self._owner: int | None = None

    def write(self, records: list[Record], is_active: bool = True, task_json: str = "{}") -> None:
        self.stream = write_task(self.root, self.task_id, records, is_active, task_json)

    def begin(self, *processes: str, more: list[Record] | None = None, task_json: str = "{}") -> None:
        """An active task whose processes run, with a runner that lives."""
        records: list[Record] = [task_status(TaskState.ACTIVE), header(self.task_id, log_dir=str(self.logs))]
        for process in processes:
            records += run_records(process, None)
        self.write([*records, *(more or [])], task_json=task_json)
        assert self.stream is not None
        self._owner = os.open(self.stream, os.O_RDWR)
        fcntl.flock(self._owner, fcntl.LOCK_EX)
        fcntl.fcntl(self._owner, fcntl.F_OFD_SETLK, OWNER)

    def add(self, *records: Record) -> None:
        assert self._owner is not None
        os.lseek(self._owner, 0, os.SEEK_END)
        os.write(self._owner, b"".join(checkpoint.encode(record) for record in records))

    def die(self) -> None:
        """The runner ends without a word."""
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    def log(self, process: str, text: bytes, run: int = 0, stream: str = "stdout") -> None:
        path = self.logs / process / str(run)
        path.mkdir(parents=True, exist_ok=True)
        with (path / stream).open("ab") as file:
            file.write(text)

    def tail(self, *args: object) -> subprocess.CompletedProcess[str]:
        return thermos("--root", self.root, "tail", *args)


#: struct flock of a write lock on the whole file.
OWNER = __import__("struct").pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


@pytest.fixture
def task(tmp_path: Path) -> Iterator[TaskAt]:
    made = TaskAt(tmp_path)
    yield made
    made.die()


@pytest.fixture
def follow(task: TaskAt) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*args: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "thermos.cli", "--root", str(task.root), "tail", *map(str, args)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment()
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def end(process: str, seq: int = 3, state: ProcessState = ProcessState.SUCCESS, code: int | None = 0) -> Record:
    return run_records(process, state, seq=seq - 3, code=code)[-1]


def test_a_finished_task_shows_its_last_lines_once(task: TaskAt) -> None:
    task.write(success("t", log_dir=str(task.logs)), is_active=False)
    task.log("hello", b"".join(b"%d\n" % number for number in range(30)))
    assert task.tail("t").stdout.split() == [str(number) for number in range(20, 30)]
    assert task.tail("-n", "2", "t", "hello").stdout == "28\n29\n"
    assert task.tail("-n", "0", "t").stdout == ""
    assert len(task.tail("-n", "all", "t").stdout.split()) == 30


def test_stderr(task: TaskAt) -> None:
    task.write(success("t", log_dir=str(task.logs)), is_active=False)
    task.log("hello", b"oops\n", stream="stderr")
    task.log("hello", b"fine\n")
    assert task.tail("--stderr", "t").stdout == "oops\n"


def test_control_sequences_are_removed_unless_raw(task: TaskAt) -> None:
    task.write(success("t", log_dir=str(task.logs)), is_active=False)
    evil = b"a\x1b]52;c;aGk=\x07b\x1b]0;title\x07c\rd\xff\n"
    task.log("hello", evil)
    assert task.tail("t").stdout == "abc\nd\\xff\n"
    command = [sys.executable, "-m", "thermos.cli", "tail", "--root", str(task.root), "--raw", "t"]
    assert subprocess.run(command, env=environment(), capture_output=True, check=True).stdout == evil


def test_the_newest_run_is_shown(task: TaskAt) -> None:
    task.write(success("t", log_dir=str(task.logs)), is_active=False)
    for run in (2, 10, 9):
        task.log("hello", b"run %d\n" % run, run=run)
    assert task.tail("t").stdout == "run 10\n"


def test_rotated_files_belong_to_the_last_lines(task: TaskAt) -> None:
    task.write(success("t", log_dir=str(task.logs)), is_active=False)
    task.log("hello", b"old\n", stream="stdout.1")
    task.log("hello", b"new\n")
    assert task.tail("-n", "2", "t").stdout == "old\nnew\n"


def test_no_link_out_of_the_log_directory_is_followed(task: TaskAt, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    task.write(success("t", log_dir=str(task.logs)), is_active=False)
    (task.logs / "hello" / "0").mkdir(parents=True)
    (task.logs / "hello" / "0" / "stdout").symlink_to(secret)
    assert "secret" not in task.tail("t").stdout
    (task.logs / "hello" / "0" / "stdout").unlink()
    (task.logs / "hello" / "0").rmdir()
    (tmp_path / "stdout").write_text("secret\n")
    (task.logs / "hello" / "0").symlink_to(tmp_path)
    assert "secret" not in task.tail("t").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent"], "no task 'absent'"),
        (["t", "absent"], "no process is called 'absent'; it has web, worker"),
        (["t", "w"], "several processes match 'w'"),
        (["t"], "several processes: name one of web, worker"),
    ],
)
def test_errors_are_one_line_and_exit_1(task: TaskAt, arguments: list[str], says: str) -> None:
    task.begin("web", "worker")
    task.log("web", b"")
    done = task.tail(*arguments)
    assert done.returncode == ExitCode.NOT_FOUND
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_task_without_processes(task: TaskAt) -> None:
    task.begin()
    done = task.tail("t")
    assert (done.returncode, "no processes" in done.stderr) == (ExitCode.NOT_FOUND, True)


def test_a_running_run_is_followed_to_its_end(task: TaskAt, follow: Callable[..., subprocess.Popen[bytes]]) -> None:
    task.begin("p")
    task.log("p", b"one\n")
    process = follow("t")
    assert line(process) == b"one\n"
    task.log("p", b"two\n")
    assert line(process) == b"two\n"
    task.log("p", b"three, no end")
    task.add(end("p"))
    out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == (b"three, no end", b"", 0)


def test_following_goes_on_with_the_next_run_and_ends_with_the_task(
    task: TaskAt, follow: Callable[..., subprocess.Popen[bytes]]
) -> None:
    task.begin("p")
    task.log("p", b"first\n")
    process = follow("-f", "t")
    assert line(process) == b"first\n"
    task.add(end("p", state=ProcessState.LOST, code=None))
    task.log("p", b"second\n", run=1)
    task.add(*run_records("p", None, seq=4))
    assert line(process) == b"second\n"
    task.add(end("p", seq=7), task_status(TaskState.CLEANING), task_status(TaskState.FINALIZING))
    task.add(task_status(TaskState.SUCCESS))
    assert process.communicate(timeout=20) == (b"", b"")


def test_following_ends_when_the_process_will_not_run_again(
    task: TaskAt, follow: Callable[..., subprocess.Popen[bytes]]
) -> None:
    definition = {"name": "t", "processes": [{"name": name, "cmdline": "true"} for name in ("p", "q")]}
    task.begin("p", "q", task_json=json.dumps(definition))
    task.log("p", b"x\n")
    process = follow("-f", "t", "p")
    assert line(process) == b"x\n"
    task.add(end("p"))
    assert process.communicate(timeout=20) == (b"", b"")


def test_several_processes_have_their_names_in_front(
    task: TaskAt, follow: Callable[..., subprocess.Popen[bytes]]
) -> None:
    task.begin("web", "worker")
    task.log("web", b"w1\n")
    task.log("worker", b"k1\npart")
    process = follow("--follow", "t")
    assert {line(process), line(process)} == {b"web    | w1\n", b"worker | k1\n"}
    task.log("web", b"w2\n")
    assert line(process) == b"web    | w2\n"
    task.log("worker", b"ial\n")
    assert line(process) == b"worker | partial\n"


def test_following_through_rotation(task: TaskAt, follow: Callable[..., subprocess.Popen[bytes]]) -> None:
    task.begin("p")
    task.log("p", b"1\n")
    process = follow("t")
    assert line(process) == b"1\n"
    live = task.logs / "p" / "0" / "stdout"
    for number in range(2, 30):
        for old in range(4, 0, -1):
            path = live.with_name(f"stdout.{old}")
            if path.exists():
                path.rename(live.with_name(f"stdout.{old + 1}"))
        live.rename(live.with_name("stdout.1"))
        task.log("p", b"%d\n" % number)
        assert line(process) == b"%d\n" % number


def test_a_dead_runner_ends_it_once_the_coordinator_says_so(
    task: TaskAt, follow: Callable[..., subprocess.Popen[bytes]]
) -> None:
    task.begin("p")
    task.log("p", b"x\n")
    process = follow("-f", "t")
    assert line(process) == b"x\n"
    task.die()
    assert task.stream is not None
    task.log("p", b"y\n")
    assert line(process) == b"y\n"
    records = run_records("p", ProcessState.SUCCESS, code=0)[1:]
    task.stream.with_name("coordinator.p").write_bytes(b"".join(checkpoint.encode(record) for record in records))
    out, err = process.communicate(timeout=20)
    assert out == b""
    assert b"the runner of t is dead" in err


def test_no_follow_stops_though_it_runs(task: TaskAt) -> None:
    task.begin("p")
    task.log("p", b"x\n")
    assert task.tail("--no-follow", "t").stdout == "x\n"


def test_since_shows_all_runs_that_wrote_lately(task: TaskAt) -> None:
    task.write(success("t", log_dir=str(task.logs)), is_active=False)
    for run in range(3):
        task.log("hello", b"run %d\n" % run, run=run)
    os.utime(task.logs / "hello" / "0" / "stdout", (1, 1))
    assert task.tail("--since", "10m", "t").stdout == "run 1\nrun 2\n"
    done = task.tail("--since", "soon", "t")
    assert (done.returncode, "'soon' is no span of time" in done.stderr) == (ExitCode.USAGE, True)


def test_runs_that_end_within_a_line_are_kept_apart(task: TaskAt) -> None:
    task.write(success("t", log_dir=str(task.logs)), is_active=False)
    for run in range(3):
        task.log("hello", b"no end %d" % run, run=run)
    assert task.tail("--since", "1h", "t").stdout == "no end 0\nno end 1\nno end 2"


def test_a_log_directory_that_cannot_be_one(task: TaskAt) -> None:
    for log_dir in ("/a\0b", "/absent", "relative"):
        task.write(success("t", log_dir=log_dir), is_active=False)
        done = task.tail("t")
        assert (done.returncode, done.stderr.count("\n")) == (ExitCode.NOT_FOUND, 1)


def test_json_is_one_object_for_each_line(task: TaskAt) -> None:
    task.write(success("t", log_dir=str(task.logs)), is_active=False)
    task.log("hello", b"a\x1b[1m\nb\n")
    answers = [json.loads(text) for text in task.tail("--json", "t").stdout.splitlines()]
    assert answers[0] == {"schema": 1, "task_id": "t", "process": "hello", "run": 0, "stream": "stdout", "line": "a"}
    assert [answer["line"] for answer in answers] == ["a", "b"]
    task.log("hello", b"no end")
    assert json.loads(task.tail("--json", "-n", "1", "t").stdout)["line"] == "no end"
