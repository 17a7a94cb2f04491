"""``thermos_observer`` on a host of 1000 finished and 130 active tasks of ten processes, in sandboxes of an agent.

Fifty of the active tasks write while it runs. The checkpoints are real ones, each in a root of its own, with their
sandboxes and logs; their owners' locks are held here, so the runners seem to live.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import status
from benchmarks.harness import (
    LIMIT_S,
    Activity,
    Bench,
    Row,
    activity,
    best,
    environment,
    median,
    memory,
    percentile,
    process,
    script,
    task,
    time_s,
)
from detectors.roots import MesosPathDetector
from detectors.watch import HostWatcher
from observer_static import layout
from observer_static.options import Options
from observer_static.output import Output
from observer_static.pagedir import PRIVATE
from observer_static.site import Site
from observer_static.sources import Sources
from thermos.formats import checkpoint, paths
from thermos.host.inotify import IN_MOVED_TO, Watcher
from thermos.records import ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

PROCESSES: Final = 10
FIRST_S: Final = 5.0
INDEX_S: Final = 0.05
LATENCY_S: Final = 0.25
MEMORY_BYTES: Final = 40 << 20
PAGE_BYTES: Final = 150 << 10
#: What one stream holds, a few lines as most do.
_LOG: Final = b"".join(
    b"2024-05-01 12:00:%02d INFO worker %d: handled a request in %d ms\n" % (n, n, n) for n in range(40)
)
_AT_S: Final = 1714564800.0
_LOCK: Final = struct.Struct("hhqqi4x")  # struct flock


class Fake(NamedTuple):
    """A task on disk, and how its next records go on."""

    task_id: str
    sandbox: Path
    root: Path

    @property
    def stream(self) -> Path:
        """Its runner's stream."""
        return Path(paths.runner_checkpoint(str(self.root), self.task_id))


def records(fake: Fake, count: int, is_over: bool, at_s: float) -> list[Record]:
    """What a runner writes of a task whose first process failed once, and whose others run or have ended."""
    at_ms = int(at_s * 1000)
    pid = os.getpid()
    found: list[Record] = [
        RunnerHeader(
            fake.task_id,
            at_ms,
            str(fake.sandbox),
            "agent-17",
            "www-data",
            {"http": 31000},
            f"{fake.sandbox}/.logs",
            33,
            checkpoint.VERSION,
            "c" * 16,
        ),
        TaskStatus(TaskState.ACTIVE, at_ms, pid, 0, boot_id="b" * 36, pid_namespace=4026531836, runner_start_ticks=5),
    ]
    for n in range(count):
        name = f"process-{n}"
        found += run_records(name, 0, at_s, ProcessState.FAILED if n == 0 else None)
        if n == 0:
            found += run_records(name, 4, at_s + 1, None)
        if is_over:
            seq = 7 if n == 0 else 3
            found.append(ProcessStatus(seq, name, ProcessState.SUCCESS, stop_time=at_s + 60, return_code=0))
    if is_over:
        for state in (TaskState.CLEANING, TaskState.FINALIZING, TaskState.SUCCESS):
            found.append(TaskStatus(state, at_ms + 60_000, pid, 0))
    return found


def run_records(name: str, seq: int, at_s: float, end: ProcessState | None) -> list[Record]:
    """One run of a process, to its *end* or on."""
    found: list[Record] = [
        ProcessStatus(seq, name, ProcessState.WAITING),
        ProcessStatus(seq + 1, name, ProcessState.FORKED, fork_time=at_s, coordinator_pid=200),
        ProcessStatus(seq + 2, name, ProcessState.RUNNING, start_time=at_s, pid=300, pid_start_ticks=6),
    ]
    if end is not None:
        found.append(ProcessStatus(seq + 3, name, end, stop_time=at_s + 0.5, return_code=1))
    return found


def make(work_dir: Path, number: int, is_over: bool, count: int = PROCESSES) -> Fake:
    """A task in a sandbox of an agent, as its runner would have left it by now."""
    task_id = f"www-data-prod-hello-{number}-{'f' if is_over else 'a'}"
    sandbox = work_dir / "slaves" / "agent-1" / "frameworks" / "aurora" / "executors" / f"thermos-{task_id}" / "runs"
    sandbox = sandbox / f"run-{number}"
    fake = Fake(task_id, sandbox, sandbox / "checkpoints")
    where = paths.FINISHED if is_over else paths.ACTIVE
    for state in (paths.ACTIVE, paths.FINISHED):
        Path(paths.task_dir(str(fake.root), state)).mkdir(parents=True)
    fake.stream.parent.mkdir(parents=True)
    at_s = _AT_S + number
    fake.stream.write_bytes(b"".join(map(checkpoint.encode, records(fake, count, is_over, at_s))))
    os.utime(fake.stream, (at_s, at_s))
    commands = [process(f"process-{n}", f"exec ./serve --shard {n} --token s3cr3t") for n in range(count)]
    definition = task("hello", commands)
    definition["resources"]["disk"] = 1 << 30
    Path(paths.task_path(str(fake.root), task_id, where)).write_text(json.dumps(definition))
    for n in range(count):
        for run in range(2 if n == 0 else 1):
            logs = sandbox / ".logs" / f"process-{n}" / str(run)
            logs.mkdir(parents=True)
            (logs / "stdout").write_bytes(_LOG)
            (logs / "stderr").write_bytes(_LOG[:200])
    return fake


@contextmanager
def owned(fakes: list[Fake]) -> Iterator[None]:
    """Hold the locks of their runners."""
    fds = []
    try:
        for fake in fakes:
            fd = os.open(fake.stream, os.O_RDWR | os.O_CLOEXEC)
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            fds.append(fd)
        yield
    finally:
        for fd in fds:
            os.close(fd)


def argv(work_dir: Path, site: Path, *flags: str) -> list[str]:
    """What starts an observer of that agent's tasks alone."""
    none = work_dir.parent / "no-root"
    return [script("thermos_observer"), f"--mesos-root={work_dir}", f"--root={none}", f"--output={site}", *flags]


@contextmanager
def observing(work_dir: Path, site: Path, log: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running observer that has written all pages. Raises TimeoutError."""
    with log.open("wb") as file:
        child = subprocess.Popen(
            argv(work_dir, site, "--rescan_s=100000", *flags),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        deadline = time.perf_counter() + LIMIT_S
        while b"all pages are written" not in log.read_bytes():
            if time.perf_counter() > deadline or child.poll() is not None:
                raise TimeoutError(f"no pages: {log.read_text()[-500:]}")
            time.sleep(0.05)
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def lists_s(work_dir: Path, site: Path) -> float:
    """How long it takes until the lists of a new site name every task: the page of the oldest is written last."""
    shutil.rmtree(site, ignore_errors=True)
    start = time.perf_counter()
    child = subprocess.Popen(argv(work_dir, site, "--once"), env=environment(), stderr=subprocess.DEVNULL)
    last = site / layout.finished_page(1)
    while not last.exists() and child.poll() is None:
        time.sleep(0.005)
    taken = time.perf_counter() - start
    child.wait()
    return taken


class Writers:
    """Tasks that write: in each, now and then, the first process fails and starts again."""

    def __init__(self, fakes: list[Fake], site: Path) -> None:
        self._fakes = fakes
        self._seq = dict.fromkeys(fakes, 7)
        self._watcher = Watcher()
        self._of_watch: dict[int, Fake] = {}
        self._since_s: dict[Fake, float] = {}
        for fake in fakes:
            watch = self._watcher.watch(str(site / layout.task_dir(layout.segment(fake.task_id))), IN_MOVED_TO)
            if watch is None:
                raise RuntimeError(f"cannot watch the pages of {fake.task_id}")
            self._of_watch[watch] = fake
        #: From a change on disk to the page that shows it.
        self.latencies_s: list[float] = []

    def run(self, changes: int, every_s: float) -> None:
        """Make that many changes, one each *every_s*, and wait for their pages."""
        begin_s = time.perf_counter()
        for n in range(changes):
            self._collect_until(begin_s + n * every_s)
            fake = self._fakes[n % len(self._fakes)]
            seq = self._seq[fake]
            at_s = time.time()
            failed = ProcessStatus(seq, "process-0", ProcessState.FAILED, stop_time=at_s, return_code=1)
            data = b"".join(map(checkpoint.encode, [failed, *run_records("process-0", seq + 1, at_s, None)]))
            self._seq[fake] = seq + 4
            self._since_s.setdefault(fake, time.perf_counter())
            with fake.stream.open("ab") as stream:
                stream.write(data)
        deadline_s = time.perf_counter() + LIMIT_S
        while self._since_s:
            self._collect_until(time.perf_counter() + 0.1)
            if time.perf_counter() > deadline_s:
                raise TimeoutError(f"no page shows the last change of {len(self._since_s)} tasks")

    def _collect_until(self, end_s: float) -> None:
        while (left_s := end_s - time.perf_counter()) > 0:
            for event in self._watcher.wait(left_s):
                since_s = self._since_s.pop(self._of_watch[event.watch], None) if event.name == layout.INDEX else None
                if since_s is not None:
                    self.latencies_s.append(time.perf_counter() - since_s)

    def close(self) -> None:
        """Watch no longer."""
        self._watcher.close()


def at_rest(pid: int) -> Activity:
    """Of a process that has nothing more to do. Raises TimeoutError."""
    deadline_s = time.perf_counter() + LIMIT_S
    before = activity(pid)
    while time.perf_counter() < deadline_s:
        time.sleep(1)
        after = activity(pid)
        if after.switches == before.switches:
            return after
        before = after
    raise TimeoutError("the observer does not come to rest")


def after_a_look(work_dir: Path, site: Path, log: Path, rest_s: float) -> int:
    """Wake-ups of an observer that serves and was once asked what tasks use, disk too."""
    with observing(work_dir, site, log, "--serve", "--port=0") as child:
        address = re.search(r"listening on (\S+)", log.read_text())
        if address is None:
            raise RuntimeError(f"it does not listen: {log.read_text()[-500:]}")
        with urllib.request.urlopen(f"{address[1]}/metrics", timeout=LIMIT_S) as answer:
            answer.read()
        before = at_rest(child.pid)
        time.sleep(rest_s)
        return activity(child.pid).switches - before.switches


def index_s(work_dir: Path, site: Path, fakes: list[Fake], count: int) -> list[float]:
    """How long it takes, in a site that is complete, to write the index again after a task came or went."""
    options = Options(writer="bench", version="0", hostname="here", index_href=True)
    found = []
    with (
        HostWatcher(MesosPathDetector(str(work_dir))) as watcher,
        closing(Output(str(site), PRIVATE)) as output,
        Site(output, options, "bench", Sources()) as kept,
    ):
        watcher.scan()
        kept.begin(watcher.tasks)
        kept.write()
        for fake in fakes[:count]:
            active, finished = (
                Path(paths.task_path(str(fake.root), fake.task_id, where)) for where in ("active", "finished")
            )
            os.rename(active, finished)
            changes = watcher.scan()
            kept.apply(changes, watcher.tasks)
            kept.roster.due.clear()  # the task's own pages are another matter
            start = time.perf_counter()
            kept.write()
            found.append(time.perf_counter() - start)
            os.rename(finished, active)
            kept.apply(watcher.scan(), watcher.tasks)
            kept.write()
    return found


def page_bytes(bench: Bench, processes: int) -> int:
    """Size, compressed, of the page of a task of that many processes."""
    directory = bench.fresh("wide")
    fake = make(directory / "mesos", 0, False, processes)
    time_s(argv(directory / "mesos", directory / "site", "--once"))
    page = directory / "site" / layout.task_dir(layout.segment(fake.task_id)) / layout.INDEX
    return len(gzip.compress(page.read_bytes()))


def many(bench: Bench, count: int) -> list[Row]:
    """A root of very many finished tasks: the first site, and the memory that is needed for it."""
    directory = bench.fresh("many")
    root = directory / "root"
    status.fill(root, count)
    site = directory / "site"
    flags = [f"--root={root}", f"--mesos-root={directory}/none", f"--output={site}"]
    words = [script("thermos_observer"), *flags, "--once"]
    child = subprocess.Popen(words, env=environment(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    start = time.perf_counter()
    _, result, used = os.wait4(child.pid, 0)
    taken = time.perf_counter() - start
    if result != 0:
        raise RuntimeError(f"the observer of {count} tasks ended with {result}")
    return [
        Row(f"observer: {count:,} finished tasks, first site", taken, "s"),
        Row(
            f"observer: {count:,} finished tasks, largest memory",
            used.ru_maxrss * 1024,
            "MB",
            note="resident, one process",
        ),
    ]


def measure(bench: Bench) -> list[Row]:
    """The first site, then changes, memory and rest of a running observer."""
    directory = bench.fresh("observer")
    work_dir, site = directory / "mesos", directory / "site"
    over, alive = bench.pick(1000, 100), bench.pick(130, 60)
    bench.log(f"making {over + alive} checkpoint roots")
    for number in range(over):
        make(work_dir, number, True)
    active = [make(work_dir, over + number, False) for number in range(alive)]
    of = f"{over} + {alive} tasks"
    with owned(active):
        first = []
        for _ in range(bench.pick(3, 1)):
            shutil.rmtree(site, ignore_errors=True)
            first.append(time_s(argv(work_dir, site, "--once")))
        listed = [lists_s(work_dir, site) for _ in range(bench.pick(3, 1))]
        pages = sum(1 for _ in site.rglob("*.html"))
        again = time_s(argv(work_dir, site, "--once"))
        rows = [
            Row(f"observer: first site of {of}", median(first), "s", FIRST_S, note=f"{pages:,} pages; {best(first)}"),
            Row(f"observer: first lists of all {of}", median(listed), "s", note=best(listed)),
            Row("observer: the same again, nothing changed", again, "s"),
        ]
        with observing(work_dir, site, directory / "log") as child:
            writers = Writers(active[:50], site)
            try:
                writers.run(bench.pick(1000, 100), 0.02)
            finally:
                writers.close()
            latencies = writers.latencies_s
            busy = memory(child.pid).pss
            before = at_rest(child.pid)
            time.sleep(bench.pick(20, 3))
            after = activity(child.pid)
        rows += [
            Row("observer: change → page, 50 tasks writing, p99", percentile(latencies, 99), "ms", LATENCY_S,
                note=f"median {median(latencies) * 1e3:.0f} ms"),
            Row("observer: memory (PSS)", busy, "MB", MEMORY_BYTES),
            Row("observer: wake-ups when nothing changes", after.switches - before.switches, "", 0),
            Row("observer: wake-ups at rest, serving, after a look at /metrics",
                after_a_look(work_dir, site, directory / "log", bench.pick(20, 3)), "", 0),
        ]  # fmt: skip
        index = index_s(work_dir, site, active, bench.pick(20, 5))
        rows.append(
            Row(
                "observer: index again after one change",
                median(index),
                "ms",
                INDEX_S,
                note=f"worst {max(index) * 1e3:.0f} ms",
            )
        )
    rows.append(Row("observer: page of 100 processes, gzip", page_bytes(bench, 100), "kB", PAGE_BYTES))
    if not bench.quick:
        rows += many(bench, 100_000)
    return rows
