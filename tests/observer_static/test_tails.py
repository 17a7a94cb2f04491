"""The end of a log, whatever lies in its place."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from observer_static.facts import TaskFacts
from observer_static.options import Options
from observer_static.reach import Claim, own_claim
from observer_static.tails import LOG_BYTES, MAX_ROTATED, LogTail, open_logs, read_log, to_log
from tests.support.box import IS_ROOT, SOON_S, until
from thermos.core.state import RunnerState
from thermos.records import RunnerHeader

pytestmark = pytest.mark.process  # not that any is started: nothing may be left open

OPTIONS = Options(writer="test", version="0", hostname="here")


def header_of(sandbox: Path | str | None, log_dir: Path | str | None = None) -> RunnerHeader:
    return RunnerHeader(
        "t", 0, str(sandbox) if sandbox is not None else None, log_dir=str(log_dir) if log_dir is not None else None
    )


def facts_of(header: RunnerHeader | None, is_active: bool = True) -> TaskFacts:
    state = RunnerState()
    if header is not None:
        state.apply(header)
    return TaskFacts("/root", "t", is_active, state, None, None, None, (), None, None)


def read(
    header: RunnerHeader | None, process: str = "web", run: int = 0, stream: str = "stdout", log_bytes: int = LOG_BYTES
) -> LogTail:
    logs = open_logs(header, own_claim())
    if logs is None:
        return read_log(None, process, run, stream, log_bytes)
    with logs:
        return read_log(logs, process, run, stream, log_bytes)


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    path = tmp_path / "sandbox"
    (path / ".logs" / "web" / "0").mkdir(parents=True)
    return path


@pytest.fixture
def stdout(sandbox: Path) -> Path:
    """Where the process's stdout lies, or would."""
    return sandbox / ".logs" / "web" / "0" / "stdout"


# -- What is there ----------------------------------------------------------------------------------------------------


def test_a_short_log_is_read_whole(sandbox: Path, stdout: Path) -> None:
    stdout.write_bytes(b"one\ntwo\n")
    assert read(header_of(sandbox)) == LogTail(8, 0, b"one\ntwo\n", (), None, f"{sandbox}/.logs/web/0", ".logs/web/0")


def test_an_empty_log_is_no_missing_one(sandbox: Path, stdout: Path) -> None:
    stdout.touch()
    tail = read(header_of(sandbox))
    assert (tail.size_bytes, tail.data, tail.note) == (0, b"", None)


def test_the_end_of_a_long_log_begins_at_a_line(sandbox: Path, stdout: Path) -> None:
    lines = [b"line %06d\n" % number for number in range(100_000)]
    stdout.write_bytes(b"".join(lines))
    tail = read(header_of(sandbox), log_bytes=1000)
    assert tail.size_bytes == 1_200_000
    assert tail.data == b"".join(lines[-len(tail.data) // 12 :])
    assert 1000 - 12 <= len(tail.data) <= 1000
    assert tail.from_byte == tail.size_bytes - len(tail.data)


def test_the_end_of_an_endless_line_begins_at_a_character(sandbox: Path, stdout: Path) -> None:
    stdout.write_bytes("€".encode() * 100_000)
    for log_bytes in (10_000, 10_001, 10_002):
        tail = read(header_of(sandbox), log_bytes=log_bytes)
        assert set(tail.data.decode()) == {"€"}
        assert log_bytes - 3 <= len(tail.data) <= log_bytes


def test_a_character_that_is_being_written_waits_for_its_end(sandbox: Path, stdout: Path) -> None:
    stdout.write_bytes("price: 5 €".encode()[:-1])
    assert read(header_of(sandbox)).data == b"price: 5 "
    stdout.write_bytes(b"latin \xe9 and no more")
    assert read(header_of(sandbox)).data == b"latin \xe9 and no more"


def test_no_room_at_all_leaves_size_and_a_note(sandbox: Path, stdout: Path) -> None:
    stdout.write_bytes(b"one\n")
    tail = read(header_of(sandbox), log_bytes=0)
    assert (tail.size_bytes, tail.data, tail.note) == (4, b"", "left out to save space")
    stdout.write_bytes(b"")
    assert read(header_of(sandbox), log_bytes=0).note is None


def test_a_huge_sparse_log_costs_one_read(sandbox: Path, stdout: Path) -> None:
    size = 1 << 40
    with stdout.open("wb") as file:
        try:
            file.truncate(size)
            file.seek(size - len(b"\nthe end\n"))
        except OSError:
            pytest.skip("no file of 1 TiB here")
        file.write(b"\nthe end\n")
    begun = time.perf_counter()
    tail = read(header_of(sandbox))
    assert time.perf_counter() - begun < 1
    assert tail.size_bytes == size
    assert tail.data.endswith(b"\0\nthe end\n")
    assert len(tail.data) == LOG_BYTES
    log = to_log(tail, "stdout", OPTIONS, facts_of(header_of(sandbox)))
    assert "".join(span.text for span in log.spans) == "␀\nthe end\n"


def test_logs_outside_of_the_sandbox_are_read_too(tmp_path: Path, sandbox: Path) -> None:
    run = tmp_path / "elsewhere" / "web" / "0"
    run.mkdir(parents=True)
    (run / "stdout").write_text("elsewhere\n")
    header = header_of(sandbox, tmp_path / "elsewhere")
    tail = read(header)
    assert (tail.data, tail.in_sandbox) == (b"elsewhere\n", None)
    assert to_log(tail, "stdout", OPTIONS, facts_of(header)).raw.href == f"file://{run}/stdout"


# -- What is odd ------------------------------------------------------------------------------------------------------


def make_nothing(path: Path) -> None:
    pass


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_directory(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def make_dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def make_link_to_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "make, note",
    [
        (make_nothing, "the file is not there"),
        (make_fifo, "not shown: it is a FIFO, not a file"),
        (make_directory, "not shown: it is a directory, not a file"),
        (make_link, "not shown: it is a link, which is not followed"),
        (make_dangling, "not shown: it is a link, which is not followed"),
        (make_link_to_zero, "not shown: it is a link, which is not followed"),
    ],
)
def test_what_lies_in_the_place_of_a_log(make: Callable[[Path], None], note: str, sandbox: Path, stdout: Path) -> None:
    make(stdout)
    tail = read(header_of(sandbox))
    assert (tail.size_bytes, tail.data, tail.note) == (None, b"", note)
    log = to_log(tail, "stdout", OPTIONS, facts_of(header_of(sandbox)))
    assert (log.size_bytes, log.spans, log.note, log.raw.href, log.follow) == (None, (), note, None, None)


@pytest.mark.parametrize("depth", range(1, 5))
def test_a_link_in_the_place_of_any_directory(depth: int, tmp_path: Path, sandbox: Path, stdout: Path) -> None:
    """``sandbox/.logs/web/0``: each of them is moved away, and a link to where it went put in its place."""
    stdout.write_text("secret\n")
    place = [sandbox, *(sandbox / part for part in (".logs", ".logs/web", ".logs/web/0"))][depth - 1]
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "moved")
    tail = read(header_of(sandbox))
    assert tail.data == b"" and tail.size_bytes is None
    assert tail.note is not None and "link" in tail.note


@pytest.mark.skipif(not IS_ROOT, reason="only root can make files of other users")
def test_a_hard_link_to_a_strangers_file(tmp_path: Path, sandbox: Path, stdout: Path) -> None:
    other = tmp_path / "strangers"
    other.write_text("secret\n")
    os.chown(other, 4711, 4711)
    os.link(other, stdout)
    note = read(header_of(sandbox)).note
    assert note == "not shown: it is a hard link to a file of uid 4711"


@pytest.mark.process
@pytest.mark.skipif(not IS_ROOT, reason="root reads everything, so must become somebody else")
def test_a_log_that_the_observer_may_not_read(sandbox: Path, stdout: Path) -> None:
    stdout.write_text("secret\n")
    header = header_of(sandbox)
    logs = open_logs(header, own_claim())
    assert logs is not None
    stdout.chmod(0)
    with logs:
        os.seteuid(65534)
        try:
            note = read_log(logs, "web", 0, "stdout").note
        finally:
            os.seteuid(0)
    assert note is not None and "Permission denied" in note


@pytest.mark.parametrize(
    "process", ["", ".", "..", "../../etc", "/etc", "a/b", "web/../web", "nul\0", "\ud800", "x" * 256, "web/"]
)
def test_names_of_processes_that_are_no_file_names(process: str, sandbox: Path, stdout: Path) -> None:
    stdout.write_text("one\n")
    tail = read(header_of(sandbox), process)
    assert (tail.data, tail.note) == (b"", "the process has a name that no file can have")


@pytest.mark.parametrize("run", [-1, 1, 10**30])
def test_runs_that_are_not_there(run: int, sandbox: Path, stdout: Path) -> None:
    stdout.write_text("one\n")
    tail = read(header_of(sandbox), run=run)
    assert tail.data == b"" and tail.note is not None


@pytest.mark.parametrize(
    "log_dir, words",
    [
        ("/nowhere/at/all", "is not there"),
        ("relative", "not absolute and plain"),
        ("/tmp/../etc", "not absolute and plain"),
        ("/nul\0", "no file can have"),
        ("/etc/passwd", "not below a directory"),
        ("SANDBOX/../../etc", "not absolute and plain"),
        ("SANDBOX/no", "is not there"),
    ],
)
def test_log_directories_that_are_none(log_dir: str, words: str, sandbox: Path) -> None:
    tail = read(header_of(sandbox, log_dir.replace("SANDBOX", str(sandbox))))
    assert tail.note is not None and words in tail.note
    assert tail.data == b""


@pytest.mark.parametrize("header", [None, header_of(None)])
def test_a_header_that_does_not_say(header: RunnerHeader | None) -> None:
    assert read(header).note == "the checkpoint does not say where logs lie"


def test_a_sandbox_that_is_gone(tmp_path: Path) -> None:
    assert read(header_of(tmp_path / "gone")).note == "the directory of logs is not there"


@pytest.mark.skipif(not IS_ROOT, reason="tells root's claims from a user's")
def test_a_forged_log_directory_shows_nothing_that_its_author_could_not_see(tmp_path: Path) -> None:
    """pytest's directory is closed to others: a user who names it is not let through it by root."""
    run = tmp_path / "web" / "0"
    run.mkdir(parents=True)
    (run / "stdout").write_text("root's\n")
    for claim, is_shown in ((Claim(0), True), (Claim(4711), False), (Claim(None), False)):
        logs = open_logs(header_of(None, tmp_path), claim)
        assert logs is not None
        with logs:
            assert (read_log(logs, "web", 0, "stdout").data == b"root's\n") is is_shown


# -- Rotated files ----------------------------------------------------------------------------------------------------


def test_rotated_files_are_listed_newest_first(sandbox: Path, stdout: Path) -> None:
    stdout.write_text("live\n")
    for name in (
        "stdout.2.gz",
        "stdout.1",
        "stdout.10.gz",
        "stdout.3",
        "stdout.3.gz",
        "stdout.0",
        "stdout.x",
        "stderr.1",
    ):
        (stdout.parent / name).write_bytes(gzip.compress(b"old"))
    for number in range(20, 40):  # being compressed: both are there for a moment
        (stdout.parent / f"stdout.{number}").touch()
        (stdout.parent / f"stdout.{number}.gz").touch()
    (stdout.parent / "stdout.4").symlink_to("/etc/passwd")
    (stdout.parent / "stdout.5").mkdir()
    (stdout.parent / "stdout.6\n").touch()
    (stdout.parent / "stdout.٧").touch()
    tail = read(header_of(sandbox))
    compressed = [f"stdout.{number}" for number in range(20, 40)]
    assert tail.rotated == ("stdout.1", "stdout.2.gz", "stdout.3", "stdout.10.gz", *compressed)
    log = to_log(tail, "stdout", OPTIONS, facts_of(header_of(sandbox)))
    assert [link.href for link in log.rotated] == [f"file://{stdout.parent}/{name}" for name in tail.rotated]


def test_rotated_files_without_a_live_one(sandbox: Path, stdout: Path) -> None:
    (stdout.parent / "stdout.1").touch()
    tail = read(header_of(sandbox))
    assert (tail.rotated, tail.note) == (("stdout.1",), "the file is not there")


def test_a_flood_of_files_is_not_listed(sandbox: Path, stdout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout.write_text("live\n")
    for number in range(1, 301):
        (stdout.parent / f"stdout.{number}").touch()
    tail = read(header_of(sandbox))
    assert len(tail.rotated) == MAX_ROTATED
    assert tail.note == "200 older rotated files are not listed"
    monkeypatch.setattr("observer_static.tails.MAX_NAMES", 150)
    tail = read(header_of(sandbox))
    assert len(tail.rotated) <= 100
    assert tail.note is not None and "too many files" in tail.note


# -- Files that move --------------------------------------------------------------------------------------------------


DISTURBER = """
import os, sys
path, started = sys.argv[1:3]
open(started, "w").close()
while True:
    os.truncate(path, 8)
    os.truncate(path, 32768)
    os.replace(path, path + ".1")
    os.replace(path + ".1", path)
"""


def test_a_log_that_is_replaced_and_cut_short_at_full_speed_is_read_without_a_fault(
    sandbox: Path, stdout: Path, tmp_path: Path
) -> None:
    """Every answer is one that some state of the file gives: what is shown ends where it says."""
    stdout.write_bytes(b"aaaaaaa\n" * 4096)
    started = tmp_path / "started"
    words = [sys.executable, "-S", "-E", "-c", DISTURBER, str(stdout), str(started)]
    disturber = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    notes: set[str | None] = set()
    cut = "it was cut short while it was read"
    try:
        until(started.exists, "the disturber's start")
        begun = time.monotonic()
        while (took_s := time.monotonic() - begun) < 1 or (took_s < SOON_S and cut not in notes):
            tail = read(header_of(sandbox))
            assert tail.size_bytes is None or tail.from_byte + len(tail.data) == tail.size_bytes
            to_log(tail, "stdout", OPTIONS, facts_of(header_of(sandbox)))
            notes.add(tail.note)
    finally:
        disturber.kill()
        disturber.wait()
    assert {None, "the file is not there", cut} >= notes
    assert cut in notes, "it never was: this test saw nothing"
