"""The real ``thermos_observer``: started, told, killed, and found out about by what it leaves on disk."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from observer_static.publish import MARKER
from tests.support.box import IS_ROOT, SOON_S, box, process, until
from tests.support.closed import close, powerless, reopen
from tests.support.tasks import BEGIN_S, FakeTask, finished
from thermos import __version__
from thermos.errors import ExitCode
from thermos.states import ProcessState

pytestmark = pytest.mark.process

COMMAND = [sys.executable, "-m", "observer_static.main"]
REPOSITORY = Path(__file__).parent.parent.parent


class Place:
    """A checkpoint root, a site, and observers of it that are ended in the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.site = directory / "site"
        self.notices = directory / "notify"
        self.children: list[subprocess.Popen[bytes]] = []
        self._said: dict[int, Path] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.notices))
        self._socket.settimeout(SOON_S)

    def argv(self, *flags: str) -> list[str]:
        where = [f"--root={self.root}", f"--mesos-root={self.directory}/none", f"--output={self.site}"]
        return [*COMMAND, *where, *flags]

    def start(self, *flags: str, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        said = self.directory / f"said-{len(self.children)}"
        with said.open("wb") as file:
            child = subprocess.Popen(
                [*before, *self.argv(*flags)],
                cwd=REPOSITORY,
                env=os.environ | {"NOTIFY_SOCKET": str(self.notices)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.children.append(child)
        self._said[child.pid] = said
        return child

    def once(self, *flags: str) -> int:
        return self.start("--once", *flags).wait(SOON_S)

    def told(self) -> str:
        """What systemd is told next."""
        try:
            return self._socket.recv(4096).decode()
        except TimeoutError:
            raise AssertionError(f"nothing told; {self.said()}") from None

    def ready(self, *flags: str) -> subprocess.Popen[bytes]:
        """An observer whose first pages are all written."""
        child = self.start(*flags)
        assert self.told().startswith("READY=1\n")
        until(lambda: "all pages are written" in self.said(), self.said)
        return child

    def said(self, child: subprocess.Popen[bytes] | None = None) -> str:
        child = child or self.children[-1]
        return self._said[child.pid].read_text()

    def text(self, page: str) -> str:
        try:
            return (self.site / page).read_text()
        except FileNotFoundError:
            return ""

    def pages(self) -> list[Path]:
        return sorted(self.site.rglob("*.html"))

    def broken(self) -> list[Path]:
        """Pages that are not whole."""
        return [path for path in self.pages() if not path.read_text().rstrip().endswith("</html>")]

    def close(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()
        self._socket.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_version_and_help() -> None:
    said = subprocess.run([*COMMAND, "-V"], cwd=REPOSITORY, capture_output=True, text=True, timeout=SOON_S, check=True)
    assert said.stdout == f"thermos_observer {__version__}\n"
    said = subprocess.run(
        [*COMMAND, "--help"], cwd=REPOSITORY, capture_output=True, text=True, timeout=SOON_S, check=True
    )
    assert "example:\n  thermos_observer --once" in said.stdout
    for flag in (
        "--mesos-root", "--ip", "--port", "--polling_interval_secs", "--disable_task_resource_collection",
        "--task_process_collection_interval_secs", "--task_disk_collection_interval_secs",
        "--enable_mesos_disk_collector", "--agent_api_url", "--executor_id_json_path", "--disk_usage_json_path",
    ):  # fmt: skip
        assert flag in said.stdout


@pytest.mark.parametrize(
    "flags, what",
    [
        (["--serve"], "one of them"),
        (["--port=0"], "one of them"),
        (["--ip=127.0.0.1"], "one of them"),
        (["--allowed_host=agent7"], "give --serve"),
        (["--agent_api_url=xx"], "http://HOST:PORT/PATH"),
        (["--agent_api_url=file:///etc/passwd"], "http://HOST:PORT/PATH"),
        (["--executor_id_json_path=]["], "names with dots"),
        (["--disk_usage_json_path=a..b"], "names with dots"),
        (["--redact=("], "no regular expression"),
        (["--redact=x", "--no-redact"], "contradict"),
        (["--port=70000"], "no port"),
        (["--ip=localhost"], "no IP address"),
        (["--agent_url=javascript:alert(1)"], "http://HOST:PORT"),
        (["--rescan_s=0"], "above 0"),
        (["--task_process_collection_interval_secs=0.0001"], "more than 10000"),
        (["--finished_pages=-1"], "number of tasks"),
        (["--textfile=/tmp/x"], ".prom"),
        (["--textfile=/nonexistent/x.prom"], "no directory /nonexistent"),
        (["--outputs=/tmp/x"], "unrecognized"),
        (["--detector=nonsense"], "no detector"),
    ],
)
def test_a_wrong_command_line_is_explained(place: Place, flags: list[str], what: str) -> None:
    assert place.once(*flags) == ExitCode.USAGE
    assert what in place.said()
    assert not place.site.exists()


@pytest.mark.parametrize("flag", ["--owner", "--group"])
def test_an_unknown_user_or_group_is_told(place: Place, flag: str) -> None:
    assert place.once(flag, "nobody-like-this") == ExitCode.UNKNOWN_USER
    assert "nobody-like-this" in place.said()


@pytest.mark.skipif(bool(os.statvfs("/sys").f_flag & os.ST_RDONLY), reason="needs a file system that lets nobody write")
def test_where_nobody_may_write_the_system_refuses(place: Place) -> None:
    place.site = Path("/sys/site")
    assert place.once() == ExitCode.PERMISSION
    assert "/sys/site" in place.said() and "Traceback" not in place.said()


def test_once_writes_all_pages_and_ends(place: Place) -> None:
    FakeTask(place.root, "task-1", processes=2)
    finished(place.root, 2)
    assert place.once() == ExitCode.OK
    assert "task-1" in place.text("index.html")
    assert "done-001" in place.text("finished.html")
    assert "task-1 says hello from p1" in place.text("task/task-1/process/p1.html")
    assert not place.broken()


def test_a_change_is_written_soon(place: Place) -> None:
    task = FakeTask(place.root, "task-1", processes=2)
    place.ready()
    task.fail("p0")
    until(lambda: "FAILED" in place.text("task/task-1/process/p0.html"), place.said)
    FakeTask(place.root, "task-2")
    until(lambda: "task-2" in place.text("index.html"), place.said)
    task.finish()
    until(lambda: "task-1" in place.text("finished.html"), place.said)
    task.vanish()
    until(lambda: not (place.site / "task" / "task-1").exists(), place.said)
    assert "task-1" not in place.text("finished.html")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_well(place: Place, signum: signal.Signals) -> None:
    FakeTask(place.root, "task-1")
    child = place.ready()
    begin_s = time.monotonic()
    child.send_signal(signum)
    assert child.wait(SOON_S) == 0
    assert time.monotonic() - begin_s < 5  # one second where nothing else runs
    assert place.told() == "STOPPING=1"
    assert "stopped" in place.said()


@pytest.mark.parametrize("closed", ["root/tasks/finished", "root/tasks/active", "root/tasks", "root", "mesos", "above"])
def test_what_may_not_be_read_is_not_nothing(place: Place, closed: str) -> None:
    place.root = place.directory / "above" / "root" if closed == "above" else place.root
    FakeTask(place.root, "task-1")
    finished(place.root, 1)
    in_mesos = place.directory / "mesos/slaves/S/frameworks/F/executors/E/runs/R/checkpoints"
    FakeTask(in_mesos, "task-2")
    where = place.directory / ("mesos/slaves" if closed == "mesos" else closed)
    flags = (f"--mesos-root={place.directory}/mesos",)
    said = f"{where} may not be read: Permission denied"
    with_us = {
        "root/tasks/finished": {"task-1", "task-2"}, "root/tasks/active": {"done-000", "task-2"},
        "mesos": {"done-000", "task-1"},
    }.get(closed, {"task-2"})  # fmt: skip

    close(where)
    child = place.start("--once", *flags, before=powerless())
    assert child.wait(SOON_S) == ExitCode.PERMISSION
    assert said in place.text("index.html") and said in place.text("finished.html") and said in place.said()
    assert {path.name for path in (place.site / "task").iterdir()} == with_us

    child = place.start("--rescan_s=100000", *flags, before=powerless())
    until(lambda: "all pages are written" in place.said(), place.said)
    reopen(where)
    child.send_signal(signal.SIGHUP)
    until(lambda: len([*(place.site / "task").iterdir()]) == 3, place.said)
    until(lambda: "may not be read" not in place.text("index.html") + place.text("finished.html"), place.said)

    child = place.start("--once", f"--output={place.directory}/other", *flags, before=powerless())
    assert child.wait(SOON_S) == ExitCode.OK


def test_a_directory_that_is_closed_later(place: Place) -> None:
    task = FakeTask(place.root, "task-1")
    finished(place.root, 1)
    where = place.root / "tasks" / "finished"
    child = place.start("--rescan_s=100000", before=powerless())
    until(lambda: "all pages are written" in place.said(), place.said)
    close(where)
    task.finish()
    until(lambda: f"{where} may not be read: Permission denied" in place.text("index.html"), place.said)
    assert "task-1" not in place.text("index.html")
    reopen(where)
    child.send_signal(signal.SIGHUP)
    until(lambda: "task-1" in place.text("finished.html"), place.said)
    until(lambda: "may not be read" not in place.text("index.html"), place.said)


def test_a_signal_during_the_first_writing_ends_it_too(place: Place) -> None:
    finished(place.root, 300)
    child = place.start()
    until(lambda: bool(place.pages()), place.said)
    child.send_signal(signal.SIGTERM)
    assert child.wait(SOON_S) == 0
    assert not place.broken()


def test_a_pattern_that_a_command_holds_up_holds_up_nobody(place: Place) -> None:
    pattern = r"(?:a|aa)+$"
    for name, word in (("task-1", "a" * 200 + "!"), ("task-2", "hello")):
        FakeTask(place.root, name, words=f"echo {word}")
    child = place.ready("--serve", "--port=0", f"--redact={pattern}")
    assert "a pattern of --redact takes too long here" in place.text("task/task-1/process/p0.html")
    assert "aaaaaaaa" not in place.text("task/task-1/raw.html") + place.text("task/task-1/index.html")
    assert "echo hello" in place.text("task/task-2/process/p0.html")
    assert "takes too long" in place.said()
    assert b"aaaaaaaa" not in fetched(f"{address_of(place)}/j/task?task_id=task-1")

    for number in range(60):  # so many that the pattern is given up
        FakeTask(place.root, f"more-{number}", words=f"echo {number} " + "a" * 200 + "!")
    until(lambda: "was given up" in place.text("index.html"), place.said)
    FakeTask(place.root, "task-3", words="echo goodbye")
    until(lambda: "takes too long here" in place.text("task/task-3/process/p0.html"), place.said)
    assert "goodbye" not in place.text("task/task-3/process/p0.html")
    child.terminate()
    assert child.wait(SOON_S) == 0


def test_a_signal_ends_it_even_where_it_hangs() -> None:
    hanging = """
import observer_static.loop as loop
loop.STOP_S = 1
with loop.Signals():
    print(flush=True)
    while True:
        pass
"""
    child = subprocess.Popen([sys.executable, "-c", hanging], cwd=REPOSITORY, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline()
        child.terminate()
        assert child.wait(SOON_S) == -signal.SIGALRM
    finally:
        child.kill()
        child.communicate()


def test_a_hangup_makes_it_look_at_everything(place: Place) -> None:
    finished(place.root, 1)
    child = place.ready()
    (place.site / "task" / "done-000" / "index.html").unlink()
    child.send_signal(signal.SIGHUP)
    until(lambda: "done-000" in place.text("task/done-000/index.html"), place.said)
    assert child.poll() is None


def test_a_second_observer_of_a_directory_is_refused(place: Place) -> None:
    place.ready()
    assert place.once() == ExitCode.REFUSED
    assert "another thermos_observer" in place.said()


def test_a_directory_with_other_files_is_refused(place: Place) -> None:
    place.site.mkdir()
    (place.site / "thesis.html").write_text("mine")
    assert place.once() == ExitCode.REFUSED
    assert os.listdir(place.site) == ["thesis.html"]


@pytest.mark.parametrize("output", ["file", "file/site", "link"])
def test_an_output_that_is_no_directory_is_refused(place: Place, output: str) -> None:
    (place.directory / "file").write_text("mine")
    (place.directory / "link").symlink_to(place.directory)
    place.site = place.directory / output
    assert place.once() == ExitCode.REFUSED
    assert "is no directory" in place.said() and "name another --output" in place.said()
    assert (place.directory / "file").read_text() == "mine"


@pytest.mark.parametrize("flag", ["--port=0", "--ip=127.0.0.1"])
def test_where_to_listen_means_to_serve(place: Place, flag: str) -> None:
    FakeTask(place.root, "task-1")
    place.ready(flag, *(["--port=0"] if "ip" in flag else []))
    assert json.loads(fetched(f"{address_of(place)}/j/task_ids/active"))["task_count"] == 1


def test_a_directory_in_a_checkpoint_root_is_refused(place: Place) -> None:
    FakeTask(place.root, "task-1")
    place.site = place.root / "site"
    assert place.once() == ExitCode.REFUSED
    assert "checkpoint root" in place.said()
    assert not place.site.exists()


def work(child: subprocess.Popen[bytes]) -> list[str]:
    """What the kernel counted of each of its threads: time on a processor, time waiting for one, turns on it."""
    return [file.read_text() for file in sorted(Path(f"/proc/{child.pid}/task").glob("*/schedstat"))]


def rests(child: subprocess.Popen[bytes]) -> bool:
    """Whether it did nothing at all while five other programs ran from their beginning to their end."""
    before = work(child)
    for _ in range(5):
        subprocess.run([sys.executable, "-c", "pass"], check=True)
    return work(child) == before


def has_children(child: subprocess.Popen[bytes]) -> bool:
    return any(file.read_text() for file in Path(f"/proc/{child.pid}/task").glob("*/children"))


def address_of(place: Place) -> str:
    address = re.search(r"listening on (\S+)", place.said())
    assert address is not None, place.said()
    return address[1]


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=SOON_S) as answer:
        return bytes(answer.read())


def test_where_nothing_happens_nothing_runs(place: Place) -> None:
    FakeTask(place.root, "task-1", processes=2)
    finished(place.root, 3)
    child = place.ready("--rescan_s=100000")
    until(lambda: rests(child), "it never rests")
    assert rests(child)


def test_after_a_look_it_rests_again(place: Place) -> None:
    task = FakeTask(place.root, "task-1")
    (task.sandbox / "big").write_bytes(b"x" * 50_000)
    child = place.ready("--rescan_s=100000", "--serve", "--port=0")
    fetched(f"{address_of(place)}/metrics")  # which has the disk counted
    until(lambda: not has_children(child), "what counted disk was not waited for")
    until(lambda: rests(child), "it never rests")
    assert re.search(rb"^thermos_tasks_disk_bytes [1-9]", fetched(f"{address_of(place)}/metrics"), re.MULTILINE)


def test_between_two_counts_of_disk_it_rests(place: Place) -> None:
    task = FakeTask(place.root, "task-1")
    (task.sandbox / "big").write_bytes(b"x" * 50_000)
    textfile = place.directory / "thermos.prom"
    child = place.ready("--rescan_s=100000", "--task_disk_collection_interval_secs=10000", f"--textfile={textfile}")
    until(
        lambda: textfile.exists() and re.search(r"^thermos_tasks_disk_bytes [1-9]", textfile.read_text(), re.MULTILINE),
        place.said,
    )
    until(lambda: not has_children(child), "what counted disk was not waited for")
    until(lambda: rests(child), "it never rests")


def test_kill_9_at_any_moment_leaves_whole_pages_and_the_next_start_cleans_up(place: Place) -> None:
    done = finished(place.root, 150)
    task = FakeTask(place.root, "task-1", processes=3)
    chance = random.Random(7)
    for _ in range(8):
        child = place.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.35 + 1.2 * chance.random())
        task.fail("p0")
        task.run("p0")
        child.kill()
        child.wait()
        assert not place.broken()
    done.pop().vanish()
    assert place.once() == ExitCode.OK
    assert not list(place.site.rglob(".new-*"))
    assert len(list((place.site / "task").iterdir())) == 150
    names = {str(path.relative_to(place.site)) for path in place.pages()}
    marked = {
        f"{marker.parent.relative_to(place.site)}/{line.split(' ', 3)[3]}".removeprefix("./")
        for marker in place.site.rglob(MARKER)
        for line in marker.read_text().splitlines()
        if line.count(" ") == 3 and not line.startswith("#")
    }
    assert names == marked
    assert "done-148" in place.text("finished.html") and "done-149" not in place.text("finished.html")


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", path], capture_output=True)
    if mount.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {mount.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.skipif(not IS_ROOT, reason="mounting takes root")
def test_a_full_disk_is_told_once_and_the_next_change_tries_again(place: Place) -> None:
    task = FakeTask(place.root, "task-1")
    with small_disk(place.site, "1m"):
        child = place.ready()
        (place.site / "filler").write_bytes(b"")
        with contextlib.suppress(OSError), (place.site / "filler").open("ab", buffering=0) as filler:
            while filler.write(b"\0" * 4096) == 4096:
                pass
        before = place.text("task/task-1/process/p0.html")
        task.fail("p0")
        until(lambda: "No space left" in place.said(), place.said)
        task.run("p0")
        task.fail("p0")
        FakeTask(place.root, "task-2")
        assert not place.broken()
        assert place.text("task/task-1/process/p0.html") == before
        (place.site / "filler").unlink()
        task.run("p0")
        until(lambda: "task-2" in place.text("index.html"), place.said)
        until(lambda: "are written to" in place.said(), place.said)
        assert place.said().count("No space left") == 1
        assert "FAILED" in place.text("task/task-1/process/p0.html")
        assert not list(place.site.rglob(".new-*"))
        child.terminate()
        assert child.wait(SOON_S) == 0


@pytest.mark.skipif(not IS_ROOT, reason="mounting takes root")
def test_once_on_a_full_disk_says_so_with_its_exit_code(place: Place) -> None:
    finished(place.root, 20)
    with small_disk(place.site, "200k"):
        assert place.once() == ExitCode.NO_SPACE
        assert "No space left" in place.said()
        assert not place.broken()


@pytest.mark.skipif(not IS_ROOT, reason="mounting takes root")
def test_an_output_that_becomes_read_only_is_survived(place: Place) -> None:
    task = FakeTask(place.root, "task-1")
    with small_disk(place.site, "8m"):
        child = place.ready()
        subprocess.run(["mount", "-o", "remount,ro", place.site], check=True)
        task.fail("p0")
        until(lambda: "Read-only" in place.said(), place.said)
        subprocess.run(["mount", "-o", "remount,rw", place.site], check=True)
        task.run("p0")
        until(lambda: "are written to" in place.said(), place.said)
        child.terminate()
        assert child.wait(SOON_S) == 0


def test_an_output_that_is_removed_is_made_anew(place: Place) -> None:
    task = FakeTask(place.root, "task-1")
    finished(place.root, 2)
    place.ready()
    before = place.pages()
    place.site.rename(place.directory / "old")
    task.fail("p0")
    until(lambda: place.pages() == before, place.said)
    assert "was removed or replaced" in place.said()


def told(series: str, process: str, exposition: str) -> float | None:
    """What a series says of a process; None: there is none."""
    pattern = rf'^thermos_process_{series}{{[^}}]*process="{process}",[^}}]*}} (\S+)$'
    found = re.search(pattern, exposition, re.MULTILINE)
    return float(found[1]) if found is not None else None


def memory_of(process: str, exposition: str) -> float:
    """The bytes that a process of the task is said to use; 0: there is no such series."""
    return told("memory_bytes", process, exposition) or 0.0


def test_served_measured_and_counted(place: Place) -> None:
    textfile = place.directory / "thermos.prom"
    with box() as real:
        real.start([process("sleeper", "exec sleep 1000"), process("short", "for i in $(seq 50000); do :; done")])
        real.until_running("sleeper")
        until(lambda: real.states("short")[-1:] == [ProcessState.SUCCESS], real.story)
        place.root = Path(real.root)
        finished(place.root, 2)
        flags = ("--port=0", f"--textfile={textfile}", "--task_process_collection_interval_secs=1")
        child = place.ready("--serve", *flags)
        assert real.task_id.encode() in fetched(f"{address_of(place)}/")
        exposition = fetched(f"{address_of(place)}/metrics").decode()
        assert 'thermos_tasks{active="true",state="ACTIVE"} 1.0' in exposition
        assert memory_of("sleeper", exposition) > 50_000
        assert told("cpu_seconds_total", "short", exposition)  # though it ended before anybody looked
        assert told("runs_total", "p0", exposition) == 1
        assert told("cpu_seconds_total", "p0", exposition) is None  # nobody knows, which is not 0
        until(lambda: textfile.exists() and 'state="SUCCESS"} 2.0' in textfile.read_text(), place.said)
        until(lambda: memory_of("sleeper", textfile.read_text()) > 50_000, place.said)
        child.terminate()
        assert child.wait(SOON_S) == 0


def test_once_measures_for_the_file_of_metrics(place: Place) -> None:
    textfile = place.directory / "thermos.prom"
    with box() as real:
        real.start([process("sleeper", "exec sleep 1000")])
        real.until_running("sleeper")
        place.root = Path(real.root)
        assert place.once(f"--textfile={textfile}") == ExitCode.OK
        assert memory_of("sleeper", textfile.read_text()) > 50_000
        assert place.once(f"--textfile={textfile}", "--disable_task_resource_collection") == ExitCode.OK
        assert memory_of("sleeper", textfile.read_text()) == 0


def test_once_says_when_metrics_could_not_be_written(place: Place) -> None:
    FakeTask(place.root, "task-1")
    textfile = place.directory / "thermos.prom"
    textfile.mkdir()
    assert place.once(f"--textfile={textfile}") == ExitCode.INTERNAL
    assert "metrics cannot be written" in place.said()
    assert "task-1" in place.text("index.html")


def test_metrics_are_in_their_file_when_all_pages_are_written(place: Place) -> None:
    finished(place.root, 201)
    FakeTask(place.root, "task-1")
    textfile = place.directory / "thermos.prom"
    for number in range(2):  # nothing is passed over because its pages are as they should be
        assert place.once(f"--textfile={textfile}") == ExitCode.OK
        assert 'thermos_tasks{active="false",state="SUCCESS"} 201.0' in textfile.read_text()
        assert 'thermos_process_running{process="p0",role="www",task="name-task-1"} 1.0' in textfile.read_text()
        counted = re.search(r"^thermos_observer_pages_written_total (\S+)$", textfile.read_text(), re.MULTILINE)
        assert counted is not None and (float(counted[1]) > 201) == (number == 0)
        textfile.unlink()


@pytest.mark.skipif(not IS_ROOT, reason="mounting takes root")
def test_a_backlog_that_found_no_room_is_worked_off_later(place: Place) -> None:
    finished(place.root, 320)
    task = FakeTask(place.root, "task-1")
    with small_disk(place.site, "12m"):
        child = place.start()
        until(lambda: "No space left" in place.said(), place.said)
        subprocess.run(["mount", "-o", "remount,size=200m", place.site], check=True)
        task.fail("p0")
        until(lambda: "all pages are written" in place.said(), place.said)
        until(lambda: len(os.listdir(place.site / "task")) == 321, place.said)
        until((place.site / "finished" / "1.html").exists, place.said)
        child.terminate()
        assert child.wait(SOON_S) == 0


def test_a_group_may_read_and_nobody_else(place: Place) -> None:
    FakeTask(place.root, "task-1", at_s=BEGIN_S)
    finished(place.root, 201)

    name = grp.getgrgid(os.getgid()).gr_name
    assert place.once(f"--group={name}") == ExitCode.OK
    assert {path.stat().st_mode & 0o777 for path in place.pages()} == {0o640}
    directories = [place.site, *(path for path in place.site.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in directories} == {0o750}
    assert place.once() == ExitCode.OK
    directories = [place.site, *(path for path in place.site.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in directories} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in place.pages()} == {0o600}
