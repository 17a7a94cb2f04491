"""Log files: the last lines, through rotation, compression and truncation; no link is followed."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermos.cli.logfiles import GrowingLog, close_all, find_start, open_pieces, runs_with_logs


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield tmp_path, fd
    os.close(fd)


def last(dir_fd: int, count: int | None) -> bytes:
    pieces = open_pieces(dir_fd, "stdout")
    first, offset = find_start(pieces, count)
    data = b"".join(
        block for index in range(first, len(pieces)) for block in pieces[index].read(offset if index == first else 0)
    )
    close_all(pieces)
    return data


def rotate(path: Path, backups: int = 9, compress: bool = False) -> None:
    """As our runner does."""
    for number in range(backups, 0, -1):
        for suffix in ("", ".gz"):
            source = path / (f"stdout.{number - 1}{suffix}" if number > 1 else f"stdout{suffix}")
            if source.exists():
                source.rename(path / f"stdout.{number}{suffix}")
    if compress:
        aside = path / "stdout.1"
        (path / "stdout.1.gz").write_bytes(gzip.compress(aside.read_bytes()))
        aside.unlink()
    (path / "stdout").write_bytes(b"")


def add(path: Path, text: bytes) -> None:
    with (path / "stdout").open("ab") as file:
        file.write(text)


@given(
    texts=st.lists(
        st.lists(st.sampled_from([b"a\n", b"bb\n", b"\n", b"long" * 9 + b"\n"]), max_size=5), min_size=1, max_size=4
    ),
    end=st.sampled_from([b"", b"no end"]),
    count=st.integers(0, 12),
    packed=st.booleans(),
)
def test_the_last_lines_are_those_of_all_files_together(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[bytes]], end: bytes, count: int, packed: bool
) -> None:
    path = tmp_path_factory.mktemp("logs")
    for number, lines in enumerate(texts):
        if number:
            rotate(path, compress=packed)
        add(path, b"".join(lines))
    add(path, end)
    whole = b"".join(b"".join(lines) for lines in texts) + end
    lines = whole.splitlines(keepends=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not texts[-1] and not end and count:
            return  # an empty live file: whether the last line has ended is not looked for further back
        assert last(fd, count) == b"".join(lines[len(lines) - count :] if count < len(lines) else lines) * bool(count)
        assert last(fd, None) == whole
    finally:
        os.close(fd)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_nothing_is_lost_over_rotations(directory: tuple[Path, int], rotations: int, compress: bool) -> None:
    path, fd = directory
    add(path, b"one\n")
    log = GrowingLog(fd, "stdout")
    assert b"".join(log.start(None)) == b"one\n"
    add(path, b"two\n")
    expected = b"two\n"
    for number in range(rotations):
        rotate(path, compress=compress)
        add(path, b"after %d\n" % number)
        expected += b"after %d\n" % number
    assert b"".join(log.more()) == expected
    assert not log.has_gap
    add(path, b"more\n")
    assert b"".join(log.more()) == b"more\n"
    log.close()


def test_a_writer_that_keeps_rotating_loses_nothing(directory: tuple[Path, int]) -> None:
    path, fd = directory
    add(path, b"")
    log = GrowingLog(fd, "stdout")
    seen = b"".join(log.start(None))
    written = b""
    for number in range(300):
        line = b"%d\n" % number
        add(path, line)
        written += line
        if number % 3 == 0:
            rotate(path, backups=4, compress=number % 2 == 0)
        if number % 5 == 0:
            seen += b"".join(log.more())
    seen += b"".join(log.more())
    assert seen == written
    log.close()


def test_what_was_rotated_away_is_a_gap_and_told(directory: tuple[Path, int]) -> None:
    path, fd = directory
    add(path, b"one\n")
    log = GrowingLog(fd, "stdout")
    list(log.start(None))
    for number in range(5):
        rotate(path, backups=2)
        if (path / "stdout.3").exists():
            (path / "stdout.3").unlink()
        add(path, b"%d\n" % number)
    assert b"".join(log.more()).endswith(b"3\n4\n")
    assert log.has_gap
    log.close()


def test_a_truncated_file_is_read_anew(directory: tuple[Path, int]) -> None:
    path, fd = directory
    add(path, b"one\ntwo\n")
    log = GrowingLog(fd, "stdout")
    list(log.start(None))
    (path / "stdout").write_bytes(b"new\n")
    assert b"".join(log.more()) == b"new\n"
    log.close()


def test_a_file_that_comes_later(directory: tuple[Path, int]) -> None:
    path, fd = directory
    log = GrowingLog(fd, "stdout")
    assert list(log.start(10)) == []
    assert list(log.more()) == []
    add(path, b"here\n")
    assert b"".join(log.more()) == b"here\n"
    log.close()


def test_only_regular_files_and_no_links(directory: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory) -> None:
    path, fd = directory
    secret = tmp_path_factory.mktemp("other") / "secret"
    secret.write_text("secret\n")
    (path / "stdout").symlink_to(secret)
    os.mkfifo(path / "stdout.1")
    (path / "stdout.2").mkdir()
    assert last(fd, None) == b""


def test_broken_gzip_shows_what_it_holds(directory: tuple[Path, int]) -> None:
    path, fd = directory
    packed = gzip.compress(os.urandom(300_000) + b"\nend\n", 0)
    (path / "stdout.1.gz").write_bytes(packed[: len(packed) // 2])
    add(path, b"live\n")
    assert len(last(fd, None)) > 100_000
    (path / "stdout.1.gz").write_bytes(packed[:1000] + bytes(1000) + packed[2000:] + b"no gzip")
    assert last(fd, None).endswith(b"live\n")
    (path / "stdout.1.gz").write_bytes(b"no gzip at all")
    assert last(fd, None) == b"live\n"
    assert last(fd, None).endswith(b"live\n")


def test_runs_are_numbers_and_links_do_not_lead_out(directory: tuple[Path, int]) -> None:
    path, fd = directory
    for name in ("0", "10", "9", "x", "-1"):
        (path / "p" / name).mkdir(parents=True)
    (path / "q").symlink_to("/etc")
    assert runs_with_logs(fd, "p") == [0, 9, 10]
    assert runs_with_logs(fd, "q") == runs_with_logs(fd, "../..") == runs_with_logs(fd, "absent") == []
