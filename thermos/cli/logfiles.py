"""The log files of a run, rotated ones included, opened beneath the log directory without following links."""

from __future__ import annotations

import os
import re
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Final

from thermos.formats import paths
from thermos.host.beneath import open_beneath, open_dir, open_regular
from thermos.records import RunnerHeader

STREAMS: Final = ("stdout", "stderr")
_BLOCK_BYTES: Final = 1 << 18
#: gzip: window bits that make zlib expect its header.
_GZIP: Final = 31
#: Looks at a directory that is being rotated under us before taking what is there.
_TRIES: Final = 5


def log_dir(header: RunnerHeader | None) -> str | None:
    """Where the task's logs lie; None: its header does not say."""
    if header is None:
        return None
    if header.log_dir:
        return header.log_dir
    return paths.default_log_dir(header.sandbox) if header.sandbox else None


def open_logs(directory: str) -> int:
    """A descriptor of the log directory. Raises OSError."""
    return open_dir(directory)


def runs_with_logs(logs_fd: int, process: str) -> list[int]:
    """Numbers of the runs of *process* that have a log directory, ascending."""
    try:
        fd = open_beneath(logs_fd, process, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return sorted(int(name) for name in os.listdir(fd) if name.isascii() and name.isdigit())
    finally:
        os.close(fd)


class Piece:
    """One file that holds a part of a stream; plain or gzip."""

    def __init__(self, dir_fd: int, name: str) -> None:
        self.name = name
        self.is_gzip = name.endswith(".gz")
        self.fd = open_regular(dir_fd, name, os.O_RDONLY | os.O_CLOEXEC)
        info = os.fstat(self.fd)
        self.identity = (info.st_dev, info.st_ino)
        self.mtime_s = info.st_mtime

    def read(self, offset: int = 0) -> Iterator[bytes]:
        """What it holds from *offset* on; a broken gzip file as far as it goes."""
        if not self.is_gzip:
            while block := os.pread(self.fd, _BLOCK_BYTES, offset):
                offset += len(block)
                yield block
            return
        for block in self._unpack():
            if offset >= len(block):
                offset -= len(block)
                continue
            yield block[offset:]
            offset = 0

    def _unpack(self) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(_GZIP)
        position = 0
        while packed := os.pread(self.fd, _BLOCK_BYTES, position):
            position += len(packed)
            try:
                while packed:
                    yield unpacker.decompress(packed, _BLOCK_BYTES)
                    packed = unpacker.unconsumed_tail
            except zlib.error:
                return

    def find_lines(self, count: int) -> tuple[int | None, int]:
        """(offset behind the *count*-th line end from the end, or None; how many line ends there are, if None)."""
        if self.is_gzip:
            behind: deque[int] = deque(maxlen=count)
            position = total = 0
            for block in self._unpack():
                start = 0
                while (at := block.find(b"\n", start)) >= 0:
                    start = at + 1
                    behind.append(position + start)
                    total += 1
                position += len(block)
            return (behind[0] if total >= count else None), total
        end = os.fstat(self.fd).st_size
        total = 0
        while end > 0:
            start = max(end - _BLOCK_BYTES, 0)
            block = os.pread(self.fd, end - start, start)
            found = block.count(b"\n")
            if total + found >= count:
                at = len(block)
                for _ in range(count - total):
                    at = block.rfind(b"\n", 0, at)
                return start + at + 1, count
            total += found
            end = start
        return None, total

    def holds(self, size: int, crc32: int) -> bool:
        """Whether it is the gzip of *size* bytes with that checksum: its trailer says so (RFC 1952, 2.3.1)."""
        if not self.is_gzip:
            return False
        end = os.fstat(self.fd).st_size
        trailer = os.pread(self.fd, 8, max(end - 8, 0))
        return trailer == crc32.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


def _names(dir_fd: int, stream: str) -> list[str]:
    """The files of *stream*, oldest first, the live one last."""
    pattern = re.compile(rf"{stream}\.([0-9]+)(\.gz)?")
    numbered: dict[int, str] = {}
    live = []
    for name in sorted(os.listdir(dir_fd)):
        if name == stream:
            live.append(name)
        elif match := pattern.fullmatch(name):
            numbered.setdefault(int(match[1]), name)  # sorted: a plain file comes before its .gz
    return [name for _, name in sorted(numbered.items(), reverse=True)] + live


def open_pieces(dir_fd: int, stream: str) -> list[Piece]:
    """All files of *stream*, oldest first; looked at twice, so that a rotation meanwhile leaves no gap."""
    seen: list[tuple[int, int]] | None = None
    for tries_left in range(_TRIES, 0, -1):
        pieces = []
        for name in _names(dir_fd, stream):
            try:
                pieces.append(Piece(dir_fd, name))
            except OSError:
                continue  # gone, or nothing that may be read
        found = [piece.identity for piece in pieces]
        if found == seen or tries_left == 1:
            return pieces
        seen = found
        close_all(pieces)
    raise AssertionError("the last try returns")


def close_all(pieces: list[Piece]) -> None:
    """Give their descriptors back."""
    for piece in pieces:
        piece.close()


def find_start(pieces: list[Piece], count: int | None) -> tuple[int, int]:
    """(index of the piece, offset in it) where the last *count* lines (None: all) of *pieces* begin."""
    if count is None or not pieces:
        return 0, 0
    newest = pieces[-1]
    if count == 0:
        return len(pieces) - 1, os.fstat(newest.fd).st_size
    need = count + _ends_with_line_end(newest)
    for index in range(len(pieces) - 1, -1, -1):
        offset, found = pieces[index].find_lines(need)
        if offset is not None:
            return index, offset
        need -= found
    return 0, 0


def _ends_with_line_end(piece: Piece) -> bool:
    size = os.fstat(piece.fd).st_size
    return not piece.is_gzip and size > 0 and os.pread(piece.fd, 1, size - 1) == b"\n"


class GrowingLog:
    """One stream of one run, read as it grows, through rotation and truncation."""

    def __init__(self, dir_fd: int, stream: str) -> None:
        self.stream = stream
        #: Set once files were put aside and removed before they were read.
        self.has_gap = False
        self._dir_fd = dir_fd
        self._live: Piece | None = None
        self._offset = 0

    def start(self, count: int | None) -> Iterator[bytes]:
        """The last *count* lines (None: all) of what is there; ``more`` goes on behind them."""
        pieces = open_pieces(self._dir_fd, self.stream)
        if pieces and pieces[-1].name == self.stream:
            self._live = pieces[-1]
        first, offset = find_start(pieces, count)
        try:
            for index in range(first, len(pieces)):
                start = offset if index == first else 0
                if pieces[index] is self._live:
                    self._offset = start
                    yield from self._drain(pieces[index])
                else:
                    yield from pieces[index].read(start)
        finally:
            close_all([piece for piece in pieces if piece is not self._live])

    def more(self) -> Iterator[bytes]:
        """What was added since."""
        if self._live is not None:
            yield from self._drain(self._live)
            try:
                info = os.stat(self.stream, dir_fd=self._dir_fd, follow_symlinks=False)
            except OSError:
                return  # between two renames; the next change tells
            if (info.st_dev, info.st_ino) == self._live.identity:
                return
            yield from self._drain(self._live)  # nothing is added to a file that was put aside
        yield from self._go_on()

    def _drain(self, live: Piece) -> Iterator[bytes]:
        size = os.fstat(live.fd).st_size
        if size < self._offset:
            self._offset = 0  # truncated: what is there now is new
        for block in live.read(self._offset):
            self._offset += len(block)
            yield block

    def _go_on(self) -> Iterator[bytes]:
        """All files that came after the one read so far, which is None or was put aside."""
        pieces = open_pieces(self._dir_fd, self.stream)
        if not pieces or pieces[-1].name != self.stream:
            close_all(pieces)
            return
        old = self._live
        newer = 0
        if old is not None:
            newer = self._first_newer(pieces, old)
            old.close()
        self._live, self._offset = pieces[-1], 0
        for index, piece in enumerate(pieces[:-1]):
            if index >= newer:
                yield from piece.read()
            piece.close()
        yield from self._drain(pieces[-1])

    def _first_newer(self, pieces: list[Piece], old: Piece) -> int:
        for index, piece in enumerate(pieces):
            if piece.identity == old.identity:
                return index + 1
        if any(piece.is_gzip for piece in pieces):
            crc, size = 0, 0
            for block in old.read():
                crc, size = zlib.crc32(block, crc), size + len(block)
            for index, piece in enumerate(pieces):
                if piece.holds(size, crc):
                    return index + 1
        self.has_gap = len(pieces) > 1
        return 0

    def close(self) -> None:
        """Give the descriptors back."""
        if self._live is not None:
            self._live.close()
            self._live = None
