"""Where the output of a process goes: its own files, files that rotate, the console, or nowhere.

Plain files are the child's own descriptors, which costs nothing. Only rotation and ``both`` read a pipe. A log
that cannot be opened or written never stops the process: what is wrong is told once, and output is dropped.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from typing import Final

from thermos.host.beneath import make_dirs, open_regular
from thermos.schema import Logger

#: A line longer than this is cut when its file is full: somebody may write gigabytes with no line end.
LONGEST_LINE_BYTES: Final = 64 << 10
#: Read from a pipe at once (a pipe holds 64 KiB).
CHUNK_BYTES: Final = 64 << 10
#: What a death certificate may hold of stderr.
TAIL_LINES: Final = 20
TAIL_BYTES: Final = 2048

STREAMS: Final = ("stdout", "stderr")
_LOG_FLAGS: Final = os.O_RDWR | os.O_APPEND


class RotatingFile:
    """A log file that is put aside when it has reached its size: ``stdout`` is always the live one."""

    def __init__(self, dir_fd: int, name: str, limit_bytes: int, backups: int, owner: tuple[int, int] | None) -> None:
        self.name = name
        self.dropped_bytes = 0
        self.trouble: OSError | None = None
        #: A file just put aside that may be compressed now; the caller takes it.
        self.put_aside: str | None = None
        self._dir_fd = dir_fd
        self._limit = limit_bytes
        self._backups = backups
        self._owner = owner
        self.fd = open_log(dir_fd, name, owner)
        self._size = os.fstat(self.fd).st_size

    def write(self, data: bytes) -> None:
        """Add *data*; a file is put aside at the end of a line. Raises nothing: see ``trouble``."""
        while data:
            room = self._limit - self._size
            if len(data) < room:
                self._put(data)
                return
            cut = data.rfind(b"\n", 0, max(room, 0)) + 1 or data.find(b"\n", max(room, 0)) + 1
            if not cut:
                # The line has not ended yet: let it run over, but not for ever.
                if self._size < self._limit + LONGEST_LINE_BYTES:
                    self._put(data)
                    return
                cut = len(data)
            self._put(data[:cut])
            data = data[cut:]
            if self._size >= self._limit or data:
                self._rotate()

    def _put(self, data: bytes) -> None:
        self._size += len(data)
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except OSError as error:
            self.trouble = error
            self.dropped_bytes += len(data)

    def _rotate(self) -> None:
        fd = self._dir_fd
        try:
            if self._backups <= 0:
                os.ftruncate(self.fd, 0)
                self._size = 0
                return
            new = f".{self.name}.new"
            fresh = make_fresh(fd, new, self._owner)
            for suffix in ("", ".gz"):
                _unlink(f"{self.name}.{self._backups}{suffix}", fd)
                for number in range(self._backups, 1, -1):
                    _rename(f"{self.name}.{number - 1}{suffix}", f"{self.name}.{number}{suffix}", fd)
            self._keep_as_first(fd)
            os.rename(new, self.name, src_dir_fd=fd, dst_dir_fd=fd)
        except OSError as error:
            self.trouble = error
            self._size = 0  # try again when as much has been written once more
            return
        os.close(self.fd)
        self.fd = fresh
        self._size = 0
        self.put_aside = f"{self.name}.1"

    def _keep_as_first(self, fd: int) -> None:
        """Give the live file its second name, so that the fresh one takes its first at one blow."""
        try:
            os.link(self.name, f"{self.name}.1", src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
        except OSError:  # a file system without hard links: for a moment there is no live file
            _rename(self.name, f"{self.name}.1", fd)


def _unlink(name: str, dir_fd: int) -> None:
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        pass


def _rename(source: str, target: str, dir_fd: int) -> None:
    try:
        os.rename(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except FileNotFoundError:
        pass


def open_log(dir_fd: int, name: str, owner: tuple[int, int] | None) -> int:
    """A descriptor that appends to *name*, made for *owner* (uid, gid) if it is missing. Raises OSError.

    A file that is there already must have no second name: that of a file elsewhere, which is not ours to write.
    """
    try:
        fd = open_regular(dir_fd, name, _LOG_FLAGS | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        fd = open_regular(dir_fd, name, _LOG_FLAGS)
        if os.fstat(fd).st_nlink > 1:
            os.close(fd)
            raise OSError(errno.EMLINK, "it is a hard link", name) from None
        return fd
    if owner is not None:
        os.fchown(fd, *owner)
    return fd


def make_fresh(dir_fd: int, name: str, owner: tuple[int, int] | None) -> int:
    """A descriptor that appends to a new file *name*, in the place of whatever has that name. Raises OSError."""
    _unlink(name, dir_fd)
    fd = open_regular(dir_fd, name, _LOG_FLAGS | os.O_CREAT | os.O_EXCL, 0o644)
    if owner is not None:
        os.fchown(fd, *owner)
    return fd


def needs_pump(logger: Logger) -> bool:
    """Whether output must be copied: a file or the console alone is the command's own descriptor."""
    return logger.destination == "both" or (logger.destination == "file" and logger.mode == "rotate")


class Sinks:
    """Where one run's stdout and stderr go, made ready before its command starts."""

    def __init__(
        self,
        logger: Logger,
        compress: bool,
        sandbox_fd: int,
        directory: str,
        owner: tuple[int, int] | None,
    ) -> None:
        #: What the child gets as its stdout and stderr.
        self.child_fds: list[int] = []
        #: (our end of a pipe, file or None, console descriptor or None) of each stream that must be copied.
        self.pumps: list[tuple[int, RotatingFile | None, int | None]] = []
        self.troubles: list[str] = []
        self.compress = compress
        self.dir_fd: int | None = None
        self._close_in_parent: list[int] = []
        destination = logger.destination
        if destination in ("file", "both"):
            try:
                self.dir_fd = make_dirs(sandbox_fd, directory, 0o755, owner)
            except OSError as error:
                self.troubles.append(f"log directory {directory}: {error.strerror or error}; output is dropped")
        for number, name in enumerate(STREAMS, start=1):
            if destination == "console":
                self.child_fds.append(number)
            elif destination == "none" or (self.dir_fd is None and destination == "file"):
                self.child_fds.append(self._null())
            elif destination == "file" and logger.mode == "standard":
                self._plain(name, owner)
            else:
                self._pumped(name, number if destination == "both" else None, logger, owner)
        if not self.pumps and self.dir_fd is not None:
            os.close(self.dir_fd)
            self.dir_fd = None

    @property
    def own_fds(self) -> list[int]:
        """Those descriptors for the child that were opened for it."""
        return self._close_in_parent

    def _null(self) -> int:
        fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._close_in_parent.append(fd)
        return fd

    def _plain(self, name: str, owner: tuple[int, int] | None) -> None:
        assert self.dir_fd is not None
        try:
            fd = open_log(self.dir_fd, name, owner)
        except OSError as error:
            self.troubles.append(f"log {name}: {error.strerror or error}; output is dropped")
            self.child_fds.append(self._null())
            return
        self.child_fds.append(fd)
        self._close_in_parent.append(fd)

    def _pumped(self, name: str, console: int | None, logger: Logger, owner: tuple[int, int] | None) -> None:
        file: RotatingFile | None = None
        if self.dir_fd is not None:
            limit, backups = sys.maxsize, 0
            if logger.mode == "rotate":
                policy = logger.rotate
                limit = policy.log_size if policy is not None else 100 << 20
                backups = policy.backups if policy is not None else 5
            try:
                file = RotatingFile(self.dir_fd, name, limit, backups, owner)
            except OSError as error:
                self.troubles.append(f"log {name}: {error.strerror or error}; output is dropped")
        ours, childs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(ours, False)
        self.child_fds.append(childs)
        self._close_in_parent.append(childs)
        self.pumps.append((ours, file, console))

    def close_childs(self) -> None:
        """Close what only the child needs."""
        for fd in self._close_in_parent:
            os.close(fd)
        self._close_in_parent = []

    def pump(self, fd: int) -> bool:
        """Copy what lies in one pipe. False when it has ended."""
        _, file, console = next(entry for entry in self.pumps if entry[0] == fd)
        try:
            data = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        if console is not None:
            try:
                os.write(console, data)
            except OSError:
                pass  # a console that is gone is nobody's loss
        if file is not None:
            before = file.trouble
            file.write(data)
            if file.trouble is not None and before is None:
                self.troubles.append(f"log {file.name}: {file.trouble.strerror}; output is dropped until there is room")
        return True


def read_tail(dir_fd: int, names: Iterable[str]) -> str:
    """The last lines of files below *dir_fd*, newest first: TAIL_LINES and TAIL_BYTES at most. Raises OSError.

    Older ones may be missing. A hard link is not read: it may be a file that its planter could not read himself.
    """
    data = b""
    is_cut = False
    for number, name in enumerate(names):
        try:
            fd = open_regular(dir_fd, name, os.O_RDONLY)
        except OSError:
            if number:
                break
            raise
        try:
            info = os.fstat(fd)
            if info.st_nlink > 1:
                raise OSError(errno.EMLINK, "it is a hard link", name)
            room = TAIL_BYTES - len(data)
            data = os.pread(fd, room, max(info.st_size - room, 0)) + data
        finally:
            os.close(fd)
        is_cut = info.st_size > room
        if is_cut:
            break
    lines = data.split(b"\n")
    if is_cut and len(lines) > 1:
        lines = lines[1:]  # the first one is not whole
    tail = lines[-TAIL_LINES - 1 :] if lines[-1] == b"" else lines[-TAIL_LINES:]
    return b"\n".join(tail).decode("utf-8", "replace")


def compress(source: int, target: int) -> None:
    """Write what *source* holds to *target*, compressed. Runs in a child of its own. Raises OSError."""
    import gzip

    os.nice(19)
    with (
        os.fdopen(source, "rb") as plain,
        os.fdopen(target, "wb") as raw,
        gzip.GzipFile("", "wb", 6, raw) as packed,
    ):
        while chunk := plain.read(1 << 18):
            packed.write(chunk)
