"""The executor's log: bounded, whatever happens to it, and never a reason to end."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from thermos.executor import log as logs
from thermos.executor.log import MAX_BYTES, NAME, Log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(str(tmp_path))
    yield made
    made.close()


def test_lines_have_time_and_level(log: Log, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log.info("one")
    log.warning("two\nlines")
    log.error("three\x1b[31m\u202e")
    lines = (tmp_path / NAME).read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines if not line.startswith(" ")] == [
        "I one", "W two", "E three\\x1b[31m\\u202e",
    ]  # fmt: skip
    assert lines[2] == "    lines"
    assert capfd.readouterr().err == (tmp_path / NAME).read_text()


def test_it_has_an_upper_size(log: Log, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(6000):
        log.info(f"{number} {'x' * 990}")
    now, before = tmp_path / NAME, tmp_path / f"{NAME}.1"
    assert now.stat().st_size <= MAX_BYTES
    assert MAX_BYTES - 2000 < before.stat().st_size <= MAX_BYTES
    assert sorted(os.listdir(tmp_path)) == [NAME, f"{NAME}.1"]
    assert " 5999 " in now.read_text()
    said = capfd.readouterr().err
    assert len(said) < MAX_BYTES + 3000  # Mesos' copy, which nobody cuts
    assert said.endswith(f"(enough here: it goes on in {NAME})\n")


def test_it_goes_on_where_another_left_it(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"x" * (MAX_BYTES - 10))
    log = Log(str(tmp_path))
    log.info("more")
    log.close()
    assert (tmp_path / f"{NAME}.1").stat().st_size == MAX_BYTES - 10
    assert (tmp_path / NAME).read_text().endswith(" I more\n")


@pytest.mark.parametrize("kind", ["directory", "link", "fifo", "hard link"])
def test_what_lies_in_its_place_is_not_written_to(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    box = tmp_path / "box"
    box.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    if kind == "directory":
        (box / NAME).mkdir()
    elif kind == "link":
        (box / NAME).symlink_to(elsewhere)
    elif kind == "fifo":
        os.mkfifo(box / NAME)
    else:
        (box / NAME).hardlink_to(elsewhere)
    log = Log(str(box))
    log.info("said all the same")
    log.close()
    assert elsewhere.read_text() == "mine"
    assert "said all the same" in capfd.readouterr().err


def test_a_directory_that_is_gone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(str(tmp_path / "nowhere"))
    log.info("said all the same")
    log.close()
    assert "said all the same" in capfd.readouterr().err


def test_one_that_cannot_be_put_aside_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 4000)
    (tmp_path / f"{NAME}.1" / "full").mkdir(parents=True)
    log = Log(str(tmp_path))
    for number in range(100):
        log.info(f"{number} {'x' * 90}")
    log.close()
    assert 0 < (tmp_path / NAME).stat().st_size <= 4000
    assert " 99 " in (tmp_path / NAME).read_text()


def test_one_that_was_taken_away_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 4000)
    log = Log(str(tmp_path))
    log.info("first")
    (tmp_path / NAME).unlink()
    for number in range(100):
        log.info(f"{number} {'x' * 90}")
    log.close()
    assert " 99 " in (tmp_path / NAME).read_text()


def test_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from thermos.executor.log import Log\n"
        "log = Log(sys.argv[1])\n"
        "for number in range(500): log.info(f'{number} ' + 'x' * 990)\n"
        "print('done')\n"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))  # a file may grow no further: EFBIG

    words = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=limit)
    assert done.stdout == "done\n"
    assert done.returncode == 0
    assert (tmp_path / NAME).stat().st_size <= 1 << 16


def test_without_stderr_nothing_is_raised(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as broken:
        monkeypatch.setattr("sys.stderr", broken)
        log.info("one")
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), broken.fileno())
    assert "one" in (tmp_path / NAME).read_text()
