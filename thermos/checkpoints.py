"""Reading the checkpoints of a root: what tasks there are and what became of them.

Readers take no lock, write nothing, and survive whatever lies there: what cannot be read is a finding.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from thermos.core.state import RunnerState, is_repeat
from thermos.errors import IllegalMove
from thermos.formats import checkpoint, paths

#: A stream longer than this is read only this far: 10⁷ records are no task but an attack on its readers.
MAX_STREAM_BYTES: Final = 1 << 30
#: No more findings than this are told of one stream.
MAX_FINDINGS: Final = 100
_CHUNK_BYTES: Final = 1 << 20
#: So many bytes before where a reading ended are compared before it goes on: the end of a record, with its checksum.
_SAME_BYTES: Final = 64


@dataclass(frozen=True)
class Finding:
    """Something wrong in a file, told without giving up on the rest."""

    path: str
    offset: int | None
    detail: str

    def __str__(self) -> str:
        where = self.path if self.offset is None else f"{self.path} at byte {self.offset}"
        return f"{where}: {self.detail}"


@dataclass
class TaskCheckpoint:
    """One task as its runner's stream tells it; ``findings`` says what could not be read."""

    root: str
    task_id: str
    state: RunnerState
    findings: list[Finding] = field(default_factory=list)
    mtime_s: float | None = None
    exists: bool = True
    #: Uid of who alone can have written the stream that was read; None: not read, or not to be told.
    author_uid: int | None = None


def list_tasks(root: str) -> Iterator[tuple[str, str]]:
    """(``active`` or ``finished``, task id) of every task file under *root*; a root that is absent has none.

    Below *root* no link is followed.
    """
    for where in (paths.ACTIVE, paths.FINISHED):
        try:
            fd = _open_dir_below(root, [paths.TASKS, where])
        except (OSError, ValueError):  # ValueError: a NUL in the root's path
            continue
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                        yield where, entry.name
        except OSError:
            continue
        finally:
            os.close(fd)


def read_stream(path: str, dir_fd: int | None = None) -> tuple[bytes, os.stat_result]:
    """The bytes of a stream and its stat. Raises OSError; refuses what is no regular file, and links."""
    fd = _open_regular(path, dir_fd)
    try:
        return b"".join(_chunks(fd)), os.fstat(fd)
    finally:
        os.close(fd)


def _open_regular(path: str, dir_fd: int | None = None) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path} is not a regular file")
    return fd


def _open_below(root: str, path: str) -> int:
    """The regular file *path*, which starts with *root*; no part of it below *root* may be a link or ``..``."""
    parts = path[len(root) + 1 :].split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = below
        return _open_regular(parts[-1], fd)
    finally:
        os.close(fd)


def _open_dir_below(root: str, parts: list[str]) -> int:
    """The directory *parts* below *root*, to be listed; none of them may be a link."""
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        kind = os.O_RDONLY if part is parts[-1] else os.O_PATH
        try:
            below = os.open(part, kind | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def _chunks(fd: int, most_bytes: int = MAX_STREAM_BYTES) -> Iterator[bytes]:
    left = most_bytes
    while left and (chunk := os.read(fd, min(left, _CHUNK_BYTES))):
        yield chunk
        left -= len(chunk)


def fold(stream: checkpoint.Stream, path: str, state: RunnerState, findings: list[Finding]) -> None:
    """Fold a stream into *state*; what does not fit becomes a finding, and what follows a gap is not believed."""
    if not _fold_entries(stream.entries, path, state, findings):
        return
    if stream.damage is not None:
        findings.append(Finding(path, stream.damage.offset, stream.damage.detail))
    version = state.header.format_version if state.header is not None else None
    if version is not None and version > checkpoint.VERSION:
        findings.append(
            Finding(
                path,
                None,
                f"written by a newer version (format {version}, this one knows {checkpoint.VERSION})",
            )
        )


def _fold_entries(entries: list[checkpoint.Entry], path: str, state: RunnerState, findings: list[Finding]) -> bool:
    """Fold *entries* in; False: what follows them is not believed."""
    for entry in entries:
        if entry.record is None:
            continue
        if is_repeat(state, entry.record):
            if len(findings) < MAX_FINDINGS:
                findings.append(Finding(path, entry.offset, "a record that was there before; skipped"))
            continue
        try:
            state.apply(entry.record)
        except IllegalMove as error:
            findings.append(Finding(path, entry.offset, f"{error}; the rest is not believed"))
            return False
    return True


def read_task(root: str, task_id: str, keep_runs: int | None = None) -> TaskCheckpoint:
    """The task as far as its runner's stream can be read; never raises for what lies on disk."""
    return TaskReading(root, task_id, keep_runs).read()


class TaskReading:
    """A task's stream, read again and again: each time from where the last reading ended.

    The state that ``read`` gives is one and the same, and grows. A stream that was replaced, or cut and written
    anew, is read from its beginning, into a new one.
    """

    def __init__(self, root: str, task_id: str, keep_runs: int | None = None) -> None:
        self._root = root
        self._task_id = task_id
        self._keep_runs = keep_runs
        self._path = paths.runner_checkpoint(root, task_id)
        self._file: tuple[int, int] | None = None
        self._begin()

    def _begin(self) -> None:
        self._state = RunnerState(self._keep_runs)
        self._findings: list[Finding] = []
        #: Behind the last whole record, and the bytes before that: they tell whether it is still the same stream.
        self.offset = 0
        self._before = b""
        self._is_over = False  # what follows is not believed

    def read(self) -> TaskCheckpoint:
        """The task as far as it can be read now; never raises for what lies on disk."""
        try:
            fd = _open_below(self._root, self._path)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the task id
            self._begin()
            task = TaskCheckpoint(self._root, self._task_id, self._state)
            task.exists = not isinstance(error, FileNotFoundError)
            task.findings.append(Finding(self._path, None, getattr(error, "strerror", None) or str(error)))
            return task
        try:
            return self._read(fd)
        finally:
            os.close(fd)

    def _read(self, fd: int) -> TaskCheckpoint:
        decoder = checkpoint.Decoder(self.offset)
        findings: list[Finding] = []
        task = TaskCheckpoint(self._root, self._task_id, self._state)
        try:
            info = os.fstat(fd)
            if not self._goes_on(fd, info):
                self._begin()
                self._file = info.st_dev, info.st_ino
                decoder, task.state = checkpoint.Decoder(), self._state
            task.mtime_s = info.st_mtime
            # A second name may have been given to somebody else's file; what all may write is nobody's word.
            if info.st_nlink == 1 and not info.st_mode & stat.S_IWOTH:
                task.author_uid = info.st_uid
            os.lseek(fd, self.offset, os.SEEK_SET)
            for chunk in () if self._is_over else _chunks(fd, MAX_STREAM_BYTES - self.offset):
                # Not kept: neither a long stream nor a huge sparse file takes memory.
                if not _fold_entries(decoder.feed(chunk), self._path, self._state, self._findings):
                    self._is_over = True
                    break
                if decoder.damage is not None:
                    break
        except OSError as error:
            findings.append(Finding(self._path, decoder.fed_to, error.strerror or str(error)))
        self._remember(fd, decoder)
        if decoder.fed_to >= MAX_STREAM_BYTES:
            detail = f"more than {MAX_STREAM_BYTES} bytes; the rest was not read"
            findings.append(Finding(self._path, decoder.offset, detail))
        elif not self._is_over:
            fold(checkpoint.Stream([], decoder.offset, decoder.finish()), self._path, self._state, findings)
        task.findings = [*self._findings, *findings]
        if self._state.header is None and not task.findings:
            task.findings.append(Finding(self._path, None, "holds no header yet"))
        return task

    def _goes_on(self, fd: int, info: os.stat_result) -> bool:
        """Whether what was read before still stands there."""
        if self._file != (info.st_dev, info.st_ino) or info.st_size < self.offset:
            return False
        return os.pread(fd, len(self._before), self.offset - len(self._before)) == self._before

    def _remember(self, fd: int, decoder: checkpoint.Decoder) -> None:
        self.offset = decoder.offset
        try:
            self._before = os.pread(fd, min(_SAME_BYTES, self.offset), max(self.offset - _SAME_BYTES, 0))
        except OSError:
            self._file = None  # read all of it the next time


_FLOCK = struct.Struct("hhqqi4x")  # struct flock: l_type, l_whence, l_start, l_len, l_pid


def is_owned(path: str) -> bool | None:
    """Whether the owner of the stream at *path* lives: asks for its lock, takes nothing. None: cannot be told.

    Our runners hold a lock that can be asked for; the original's only one that the kernel's list of locks tells of.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return has_owner(fd)
    finally:
        os.close(fd)


def has_owner(fd: int) -> bool | None:
    """The same of a stream that is open already."""
    try:
        ask = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, ask)
        return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK) or _is_flocked(os.fstat(fd))
    except OSError:
        return None


def _is_flocked(info: os.stat_result) -> bool:
    """Whether a flock on that file stands in /proc/locks (proc(5)): ``1: FLOCK  ADVISORY  WRITE PID MAJ:MIN:INODE``."""
    file = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as locks:
            return any(words[1] == "FLOCK" and words[5] == file for words in map(str.split, locks) if len(words) > 5)
    except OSError:
        return False
