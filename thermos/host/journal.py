"""A stream that this process owns: locked, appended to, made durable, with room kept for the next records."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import struct
from typing import Final

from thermos.errors import CheckpointCorrupt, TaskOwned
from thermos.formats import checkpoint
from thermos.host import linux
from thermos.records import Record

_FLOCK: Final = struct.Struct("hhqqi4x")  # struct flock: l_type, l_whence, l_start, l_len, l_pid
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

#: Room kept behind the end: some 200 records, enough to end a task of a hundred processes on a full disk.
RESERVE_BYTES: Final = 32 << 10

#: A record that does not fit on disk is tried again this often; no event tells of room.
RETRY_S: Final = 1.0


class Journal:
    """An append-only stream under its owner's locks.

    Both kinds of lock are held: ``flock``, which the original's tools try, and one on the open file
    description, which a reader can ask for without taking it.
    """

    def __init__(self, fd: int, path: str, reserve_bytes: int = RESERVE_BYTES) -> None:
        self.fd = fd
        self.path = path
        self.size = 0
        #: Bytes of records that did not fit on disk yet; they are written before any other.
        self.held = b""
        #: Why records are held, or room could not be reserved; None while all is well.
        self.trouble: OSError | None = None
        self._reserve_bytes = reserve_bytes
        self._reserved_to = 0
        self._can_reserve = reserve_bytes > 0

    @classmethod
    def open(cls, path: str, dir_fd: int, *, wait_s: float = 0.0) -> Journal:
        """The stream at *path*, whose directory is *dir_fd*; made if missing, owned.

        Raises TaskOwned if another owns it for *wait_s* more.
        """
        journal = cls(open_stream(os.path.basename(path), dir_fd), path)
        try:
            journal.lock(wait_s)
        except BaseException:
            os.close(journal.fd)
            raise
        return journal

    def lock(self, wait_s: float) -> None:
        """Own the stream. Raises TaskOwned if another owns it for *wait_s* more."""
        _lock(self.fd, self.path, wait_s)

    def read(self) -> checkpoint.Stream:
        """All that lies in the stream; a torn last frame is cut off. Raises CheckpointCorrupt on other damage."""
        stream = self._read_from(0)
        if stream.damage is not None:
            if not stream.damage.torn:
                raise CheckpointCorrupt(self.path, stream.damage.offset, stream.damage.detail)
            os.ftruncate(self.fd, stream.good_bytes)
        return stream

    def seek_end(self, sound_to: int) -> checkpoint.Stream:
        """What lies behind *sound_to*, a place between two frames; what cannot be read there is cut off."""
        stream = self._read_from(sound_to)
        if stream.damage is not None:
            os.ftruncate(self.fd, self.size)
        return stream

    def _read_from(self, offset: int) -> checkpoint.Stream:
        if os.fstat(self.fd).st_size == offset:
            self.size = offset
            return checkpoint.Stream([], 0, None)
        data = b""
        while more := os.pread(self.fd, 1 << 20, offset + len(data)):
            data += more
        stream = checkpoint.decode(data)
        self.size = offset + stream.good_bytes
        return stream

    def append(self, records: list[Record]) -> bytes:
        """Write *records*, and what was held back before them, behind the end; the bytes that are on disk now.

        A full disk is no error here: what does not fit is held, and ``trouble`` says why.
        """
        data = self.held + b"".join(map(checkpoint.encode, records))
        if not data:
            return b""
        self._keep_room(len(data))
        written = 0
        try:
            while written < len(data):
                written += os.write(self.fd, data[written:])
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._cut(error)
            self.held = data
            return b""
        self.held = b""
        self.size += written
        return data

    def sync(self) -> None:
        """Return when everything appended is on disk. A disk that fails is ``trouble``, not an error."""
        try:
            os.fdatasync(self.fd)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self.trouble = error

    def trim(self) -> None:
        """Give the reserve back: nothing more will be written."""
        try:
            os.ftruncate(self.fd, self.size)
        except OSError:
            pass  # it stays reserved, which does no harm

    def close(self) -> None:
        """Give the reserve and the locks back."""
        if self._reserved_to > self.size:
            self.trim()
        os.close(self.fd)

    def _keep_room(self, needed: int) -> None:
        if not self._can_reserve or self._reserved_to - self.size - needed > self._reserve_bytes // 2:
            return
        start = self.size
        try:
            self._can_reserve = linux.reserve(self.fd, start, needed + self._reserve_bytes)
            self._reserved_to = start + needed + self._reserve_bytes
            self.trouble = None
        except OSError as error:
            self.trouble = error

    def _cut(self, error: OSError) -> None:
        self.trouble = error
        try:
            os.ftruncate(self.fd, self.size)  # a short write may have left half a frame
            self._reserved_to = 0
        except OSError:
            pass


def open_stream(name: str, dir_fd: int | None = None) -> int:
    """A descriptor of the stream *name*, made if missing. Raises OSError, CheckpointCorrupt: it is no file."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(name, flags, 0o600, dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise CheckpointCorrupt(name, 0, "it is not a regular file")
    return fd


def _lock(fd: int, path: str, wait_s: float) -> None:
    try:
        _take(fd, wait=False)
        return
    except BlockingIOError:
        if wait_s <= 0:
            raise TaskOwned(f"{path} belongs to a process that lives") from None
    previous = signal.signal(signal.SIGALRM, _raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, wait_s)
    try:
        _take(fd, wait=True)
    except TimeoutError:
        raise TaskOwned(f"{path} still belongs to a process that lives after {wait_s:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _take(fd: int, wait: bool) -> None:
    fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    whole_file = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, whole_file)


def _raise_timeout(signum: int, frame: object) -> None:
    raise TimeoutError
