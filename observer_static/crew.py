"""A second process for the first writing of a large site: it takes numbered jobs from the same pile as the first."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import select
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

from observer_static.pagedir import Made
from thermos.host.linux import die_with_parent

_TICKET: Final = struct.Struct("=i")
#: As large as an unprivileged user may make a pipe (/proc/sys/fs/pipe-max-size, its default).
_PIPE_BYTES: Final = 1 << 20


class Crew:
    """One helper, forked from here, and the pile of jobs; each is done by one of the two processes."""

    def __init__(self, numbers: Sequence[int], tickets_fd: int, report_fd: int, pid: int) -> None:
        self.numbers = tuple(numbers)
        self.has_tickets = True
        self._tickets_fd = tickets_fd
        self._report_fd = report_fd
        self.pid = pid
        self.fd = os.pidfd_open(pid)

    @classmethod
    def hire(
        cls, numbers: Sequence[int], do: Callable[[int], None], made: Callable[[], Mapping[str, Made]]
    ) -> Crew | None:
        """Fork a helper that calls *do* for jobs of *numbers*, and in the end reports what *made* says.

        None: there are too many jobs, or there can be no more processes.
        """
        data = b"".join(map(_TICKET.pack, numbers))
        if len(data) > _PIPE_BYTES:
            return None
        report_fd = os.memfd_create("thermos-pages", os.MFD_CLOEXEC)
        take_fd, put_fd = os.pipe2(os.O_CLOEXEC)
        try:
            if len(data) > 1 << 16:
                fcntl.fcntl(put_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            os.write(put_fd, data)
            os.close(put_fd)
            gc.freeze()  # what is there now lives on in both: do not write to it
            pid = os.fork()
        except OSError:
            os.close(take_fd)
            os.close(report_fd)
            return None
        if pid == 0:
            _help(take_fd, report_fd, do, made)
        return cls(numbers, take_fd, report_fd, pid)

    def take(self) -> int | None:
        """The next job; None: all are taken."""
        number = _take(self._tickets_fd)
        self.has_tickets = number is not None
        return number

    def has_ended(self) -> bool:
        """Whether the helper is done, or dead."""
        return bool(select.select([self.fd], [], [], 0)[0])

    def result(self) -> dict[str, Made] | None:
        """What the helper reports, once it has ended: waits for that. None: it did not come to its end."""
        _, status = os.waitpid(self.pid, 0)
        try:
            if status != 0:
                return None
            os.lseek(self._report_fd, 0, os.SEEK_SET)
            with os.fdopen(self._report_fd, "rb", closefd=False) as report:
                return {path: Made(*made) for path, made in json.load(report).items()}
        finally:
            self._close()

    def dismiss(self) -> None:
        """End the helper: what it has written is whole."""
        os.kill(self.pid, signal.SIGKILL)  # unreaped, so it is no stranger
        os.waitpid(self.pid, 0)
        self._close()

    def _close(self) -> None:
        gc.unfreeze()
        for fd in (self.fd, self._tickets_fd, self._report_fd):
            os.close(fd)


def _take(fd: int) -> int | None:
    data = os.read(fd, _TICKET.size)  # a pipe gives all four bytes to one of us
    return int(_TICKET.unpack(data)[0]) if data else None


def _help(take_fd: int, report_fd: int, do: Callable[[int], None], made: Callable[[], Mapping[str, Made]]) -> NoReturn:
    """Never returns: the first process's stack lies above."""
    code = 1
    try:
        die_with_parent()
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)  # the first process ends us
        before = dict(made())
        while (number := _take(take_fd)) is not None:
            do(number)
        report = {path: one for path, one in made().items() if before.get(path) != one}
        os.write(report_fd, json.dumps(report).encode())
        code = 0
    finally:
        os._exit(code)
