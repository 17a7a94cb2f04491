"""What all measurements share: rows of the table, tasks, runners that are always ended, peers, /proc."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from thermos.formats import checkpoint, paths
from thermos.records import ProcessStatus, Record
from thermos.states import ProcessState

#: Nothing measured here may take longer; what does is ended and told.
LIMIT_S: Final = 180.0
#: As large as anybody may make a pipe (/proc/sys/fs/pipe-max-size, its default).
PIPE_BYTES: Final = 1 << 20
SCRIPTS: Final = Path(sys.executable).parent


@dataclass(frozen=True)
class Row:
    """One line of the table. *target*: what ours should not exceed. *peer*: somebody else's, in the same run."""

    name: str
    ours: float
    unit: str
    target: float | None = None
    peer: str = ""
    peer_value: float | None = None
    note: str = ""
    #: True where more is better (a rate): then *target* is what ours should reach.
    is_rate: bool = False

    @property
    def ratio(self) -> float | None:
        """Ours in terms of the peer's."""
        return self.ours / self.peer_value if self.peer_value else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None: there is none."""
        if self.target is None:
            return None
        return self.ours >= self.target if self.is_rate else self.ours <= self.target


class Skipped(Exception):
    """A measurement cannot be made here; says why."""


@dataclass
class Bench:
    """What a measurement is given: how thorough to be, and a directory that is removed behind it."""

    quick: bool
    directory: Path
    log: Callable[[str], None] = field(default=lambda text: print(f"  {text}", file=sys.stderr, flush=True))

    def pick(self, full: int, quick: int) -> int:
        """*full*, or *quick* if little time is to be spent."""
        return quick if self.quick else full

    def fresh(self, name: str) -> Path:
        """A new, empty directory."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.directory))


def environment() -> dict[str, str]:
    """The environment of measured programs: without what an ordinary user's Python does not have set."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")}


def script(name: str) -> str:
    """Path of a program of ours, or of the system's. Raises Skipped."""
    ours = SCRIPTS / name
    if ours.exists():
        return str(ours)
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise Skipped(f"{name} is not installed")
    return found


def time_s(argv: Sequence[str], cwd: Path | None = None, expect: int = 0) -> float:
    """How long the program takes from its start to its end. Raises RuntimeError on another exit code."""
    start = time.perf_counter()
    done = subprocess.run(argv, cwd=cwd, env=environment(), capture_output=True, timeout=LIMIT_S, check=False)
    taken = time.perf_counter() - start
    if done.returncode != expect:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
    return taken


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def best(values: Sequence[float]) -> str:
    """The least one, as a note: what the machine can do when nobody else uses it."""
    return f"best {min(values):.3f} s"


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that *percent* of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


# --- Tasks ----------------------------------------------------------------------------------------------------


def process(name: str, command: str, **extra: Any) -> dict[str, Any]:
    """A process as JSON."""
    return {
        "name": name,
        "cmdline": command,
        "max_failures": 1,
        "min_duration": 1,
        "daemon": False,
        "ephemeral": False,
        "final": False,
        **extra,
    }


def task(name: str, processes: list[dict[str, Any]], orders: list[list[str]] | None = None) -> dict[str, Any]:
    """A task as JSON."""
    return {
        "name": name,
        "processes": processes,
        "constraints": [{"order": order} for order in orders or []],
        "max_concurrency": 0,
        "max_failures": 1,
        "finalization_wait": 30,
        "resources": {"cpu": 1.0, "ram": 1 << 20, "disk": 1 << 20, "gpu": 0},
    }


def sleepers(count: int, seconds: str = "1000000") -> dict[str, Any]:
    """A task of *count* processes that do nothing for a long time."""
    return task("sleepers", [process(f"p{n}", f"exec sleep {seconds}") for n in range(count)])


def runner_argv(directory: Path, definition: Mapping[str, Any], task_id: str = "t") -> list[str]:
    """What starts a runner of its own on *definition*, with everything below *directory*."""
    path = directory / f"{task_id}.json"
    path.write_text(json.dumps(definition))
    return [
        script("thermos_runner"),
        f"--thermos_json={path}",
        f"--sandbox={directory / 'sandbox' / task_id}",
        f"--checkpoint_root={directory / 'root'}",
        f"--task_id={task_id}",
    ]


class Runner:
    """A runner that was started here, and the records it reports."""

    def __init__(self, argv: Sequence[str], directory: Path, task_id: str = "t") -> None:
        self.path = Path(paths.runner_checkpoint(str(directory / "root"), task_id))
        self.argv = list(argv)
        self._report, theirs = os.pipe2(os.O_CLOEXEC)
        # A runner waits for no reader: it ends its report to one that lets the pipe run full.
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.errors = directory / "stderr"
        with self.errors.open("ab") as errors:
            self.started_s = time.perf_counter()
            self.process = subprocess.Popen(
                [*argv, f"--report_fd={theirs}"],
                env=environment(),
                pass_fds=[theirs],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        os.close(theirs)
        self._decoder = checkpoint.Decoder()
        self.pid = self.process.pid

    @property
    def report_fd(self) -> int:
        """Becomes readable when records were written."""
        return self._report

    def records(self, limit_s: float = LIMIT_S) -> Iterator[tuple[float, Record]]:
        """(when it came, record) of all that is reported, to the end of the runner."""
        deadline = time.perf_counter() + limit_s
        while True:
            left_s = deadline - time.perf_counter()
            if left_s <= 0 or not select.select([self._report], [], [], left_s)[0]:
                raise TimeoutError(f"no more records after {limit_s:g} s; {self.complaint()}")
            data = os.read(self._report, 1 << 16)
            now = time.perf_counter()
            if not data:
                return
            for entry in self._decoder.feed(data):
                if entry.record is not None:
                    yield now, entry.record

    def wait_running(self, count: int) -> tuple[float, list[ProcessStatus]]:
        """When the last of *count* processes was reported RUNNING, and those records."""
        running: list[ProcessStatus] = []
        for now, record in self.records():
            if isinstance(record, ProcessStatus) and record.state is ProcessState.RUNNING:
                running.append(record)
                if len(running) == count:
                    return now, running
        raise RuntimeError(f"the runner ended with {len(running)} of {count} processes; {self.complaint()}")

    def complaint(self) -> str:
        """What the runner printed."""
        return f"runner says: {self.errors.read_text(errors='replace')[-500:]!r}"

    def kill(self) -> None:
        """kill -9, of the runner alone."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the task, however it is: ask, then kill by pid what its records name and is still the same."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR2)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
        os.close(self._report)
        self.sweep()

    def sweep(self) -> None:
        """SIGKILL every coordinator and shell in the records that lives and started when they say."""
        if not self.path.exists():
            return
        for record in checkpoint.decode(self.path.read_bytes()).records:
            if not isinstance(record, ProcessStatus):
                continue
            for pid, ticks in (
                (record.coordinator_pid, record.coordinator_start_ticks),
                (record.pid, record.pid_start_ticks),
            ):
                if pid is not None and ticks is not None and start_ticks(pid) == ticks:
                    kill_quietly(pid)


@contextmanager
def running(argv: Sequence[str], directory: Path, task_id: str = "t") -> Iterator[Runner]:
    """A runner that is ended, with all it started, whatever happens."""
    runner = Runner(argv, directory, task_id)
    try:
        yield runner
    finally:
        runner.close()


# --- Peers ----------------------------------------------------------------------------------------------------


@contextmanager
def peer(
    argv: Sequence[str], directory: Path, stop: signal.Signals = signal.SIGTERM
) -> Iterator[subprocess.Popen[bytes]]:
    """Another supervisor; ended with *stop*, and then everything it had started, by pid."""
    with (directory / "peer.log").open("ab") as log:
        child = subprocess.Popen(
            argv, cwd=directory, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield child
    finally:
        below = [(pid, start_ticks(pid)) for pid in descendants(child.pid)]
        child.send_signal(stop)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for pid, ticks in below:
            if ticks is not None and start_ticks(pid) == ticks:
                kill_quietly(pid)


def supervisord(directory: Path, count: int, seconds: str) -> list[str]:
    """What starts supervisord with *count* sleeping programs. Raises Skipped."""
    program = script("supervisord")
    lines = [
        "[supervisord]",
        "nodaemon=true",
        f"logfile={directory}/supervisord.log",
        f"pidfile={directory}/supervisord.pid",
        f"childlogdir={directory}",
        "user=root" if os.geteuid() == 0 else "",
    ]
    for n in range(count):
        lines += [
            f"[program:p{n}]",
            f"command=bash -c 'exec sleep {seconds}'",
            "startsecs=0",
            f"stdout_logfile={directory}/p{n}.out",
            f"stderr_logfile={directory}/p{n}.err",
        ]
    (directory / "supervisord.conf").write_text("\n".join(lines) + "\n")
    return [program, "-c", str(directory / "supervisord.conf")]


def s6(directory: Path, count: int, seconds: str) -> list[str]:
    """What starts s6-svscan with *count* sleeping services. Raises Skipped."""
    program = script("s6-svscan")
    scan = directory / "scan"
    for n in range(count):
        service = scan / f"p{n}"
        service.mkdir(parents=True)
        run = service / "run"
        run.write_text(f"#!/bin/bash\nexec sleep {seconds}\n")
        run.chmod(0o755)
    return [program, "-c", str(count + 10), str(scan)]


# --- /proc ----------------------------------------------------------------------------------------------------


def start_ticks(pid: int) -> int | None:
    """Start time of a process, in clock ticks since boot; None: it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def kill_quietly(pid: int) -> None:
    """SIGKILL, unless it is gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def children(pid: int) -> list[int]:
    """Children of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    found = []
    new = [pid]
    while new:
        below = children(new.pop())
        found += below
        new += below
    return found


def count_commands(words: str) -> int:
    """How many processes have exactly this command line, words joined by blanks."""
    wanted = words.replace(" ", "\0").encode() + b"\0"
    count = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    count += file.read() == wanted
            except OSError:
                continue
    return count


def wait_commands(words: str, count: int, limit_s: float = LIMIT_S) -> float:
    """When *count* processes had that command line; looks every 20 ms. Raises TimeoutError."""
    deadline = time.perf_counter() + limit_s
    while count_commands(words) < count:
        if time.perf_counter() > deadline:
            raise TimeoutError(f"fewer than {count} processes `{words}` after {limit_s:g} s")
        time.sleep(0.02)
    return time.perf_counter()


@dataclass(frozen=True)
class Memory:
    """Of one process, in bytes: its share of all pages, and the pages that it alone has."""

    pss: int
    private: int


def memory(pid: int) -> Memory:
    """From smaps_rollup. Raises OSError."""
    values: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        values[name] = int(rest.split()[0]) << 10
    return Memory(values["Pss"], values["Private_Clean"] + values["Private_Dirty"])


@dataclass(frozen=True)
class Activity:
    """Of one process, ever: how often it was switched to, and processor time."""

    switches: int
    cpu_s: float


def activity(pid: int) -> Activity:
    """From status and schedstat. Raises OSError."""
    switches = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if "ctxt_switches" in line:
            switches += int(line.split()[1])
    return Activity(switches, int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9)
