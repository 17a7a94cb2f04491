"""The task's pages in its Mesos sandbox, written by a child when something changed.

Jinja and all that pages need stay out of the executor, and so do root's rights out of the writing: the child opens
the checkpoint, becomes the sandbox's owner, and writes as him. It stays for a while, since changes come in swarms,
and ends when there are none.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from thermos.executor.health_record import HealthRecord
from thermos.formats import health_file
from thermos.formats.health_file import Health
from thermos.host.forking import fork
from thermos.host.linux import set_name
from thermos.host.loop import Loop

#: Changes within so long become one writing.
SETTLE_S: Final = 0.25
#: The child ends after so long without anything to write.
IDLE_S: Final = 5.0
#: One writing takes no longer; the child is killed then, and the next change tries anew.
WRITE_S: Final = 60.0
#: A killed child is waited for no longer: one that hangs in its disk ends when that answers.
REAP_S: Final = 1.0
_MESSAGE_BYTES: Final = 64 << 10
#: To the child, where nothing is known of the task's health.
_NOT_TOLD: Final = b"-"


@dataclass(frozen=True, kw_only=True)
class PagesOrder:
    """What pages are of, and where they go."""

    #: The Mesos sandbox: the pages' directory, and the task's own page, lie in it.
    directory: str
    root: str
    task_id: str
    task_json: str
    agent: str | None
    hostname: str
    #: Whose they are (uid, gid); None: ours.
    owner: tuple[int, int] | None


class Pages:
    """Keeps the pages up to date, and the file beside the checkpoint that tells others of the task's health.

    *complain* hears why they could not be written, once for each reason.
    """

    def __init__(self, loop: Loop, order: PagesOrder, complain: Callable[[str], object]) -> None:
        self._loop = loop
        self._order = order
        self._complain = complain
        self._health: Health | None = None
        self._record = HealthRecord(order.root, order.task_id)
        self._pid = 0
        self._socket: socket.socket | None = None
        #: The child writes.
        self.is_busy = False
        self._is_stale = False
        self._is_second_try = False
        self._finished: Callable[[], object] | None = None
        self._last_complaint = ""
        self._health_complaint = ""

    # -- From the executor -----------------------------------------------------------------------------------------

    def changed(self, health: Health | None = None) -> None:
        """Something is different: write them soon."""
        if health is not None:
            self._health = health
        self._record_health()
        if not self._is_stale:
            self._is_stale = True
            self._loop.call_later((self, "settle"), SETTLE_S, self._write)

    def finish(self, done: Callable[[], object]) -> None:
        """Write them once more, then call *done*; in bounded time."""
        self._finished = done
        self._loop.call_later((self, "finish"), WRITE_S, self._give_up)
        self._is_stale = True
        self._loop.cancel((self, "settle"))
        self._write()

    def close(self) -> None:
        """End the child."""
        for key in ("settle", "finish", "late"):
            self._loop.cancel((self, key))
        self._drop()
        self._record.close()

    def _record_health(self) -> None:
        if self._health is None:
            return
        try:
            self._record.write(self._health)
        except FileNotFoundError:
            pass  # the runner has not made the checkpoint yet: with its next change
        except OSError as error:
            reason = error.strerror or str(error)
            if reason != self._health_complaint:
                self._health_complaint = reason
                self._complain(f"what health checks say could not be written beside the checkpoint: {reason}")

    # -- The child, from here --------------------------------------------------------------------------------------

    def _write(self) -> None:
        if self.is_busy:
            return  # its answer brings us back
        self._is_stale = False
        try:
            if self._socket is None:
                self._start()
            assert self._socket is not None
            self._socket.send(health_file.encode(self._health) if self._health is not None else _NOT_TOLD)
        except BrokenPipeError:  # it has just left, having had nothing to do
            self._died()
            return
        except OSError as error:
            self._failed(f"their writer cannot be started: {error.strerror}")
            return
        self.is_busy = True
        self._loop.call_later((self, "late"), WRITE_S, self._too_late)

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = fork()
        if not self._pid:
            ours.close()
            _be_writer(self._order, theirs)
        theirs.close()
        ours.setblocking(False)
        self._socket = ours
        self._loop.watch(ours.fileno(), self._answered)

    def _answered(self) -> None:
        assert self._socket is not None
        try:
            answer = self._socket.recv(_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            answer = b""
        was_busy, self.is_busy = self.is_busy, False
        self._loop.cancel((self, "late"))
        if not answer and was_busy:
            self._died()
            return
        if not answer:  # it has ended: idle
            self._drop()
        elif answer != b"ok":
            self._tell(answer.decode("utf-8", "replace"))
        self._is_second_try = False
        if self._is_stale:
            self._write()
        elif was_busy:
            self._settled()

    def _died(self) -> None:
        """What it was asked for is asked of another, once: it may have been about to leave, or have been in the way."""
        self._drop()
        if self._is_second_try:
            self._is_second_try = False
            self._failed("their writer died")
        else:
            self._is_second_try = True
            self._write()

    def _too_late(self) -> None:
        self.is_busy = False
        self._drop()
        self._failed(f"writing them took longer than {WRITE_S:.0f} s")

    def _failed(self, reason: str) -> None:
        self._tell(reason)
        self._settled()

    def _tell(self, reason: str) -> None:
        if reason != self._last_complaint:
            self._last_complaint = reason
            self._complain(f"the task's pages could not be written: {reason}")

    def _settled(self) -> None:
        finished, self._finished = self._finished, None
        if finished is not None:
            self._loop.cancel((self, "finish"))
            finished()

    def _give_up(self) -> None:
        self._is_stale = False
        self._settled()

    def _drop(self) -> None:
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._pid:
            fd = os.pidfd_open(self._pid)
            try:
                os.kill(self._pid, signal.SIGKILL)  # ours, and not reaped yet
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                if poll.poll(REAP_S * 1000):
                    os.waitpid(self._pid, 0)
            finally:
                os.close(fd)
            self._pid = 0


# -- In the child -----------------------------------------------------------------------------------------------------


def _be_writer(order: PagesOrder, channel: socket.socket) -> NoReturn:
    """Write whenever it is asked for; end when idle, or with the executor."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, 1 << 20)
        os.nice(10)
        set_name("thermos-pages")
        from thermos.executor.page_writer import Writer

        writer: Writer | None = None
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        while poll.poll(IDLE_S * 1000):
            asked = channel.recv(_MESSAGE_BYTES)
            if not asked:
                break
            try:
                if writer is None:
                    writer = Writer(order)
                writer.write(health_file.decode(asked) if asked != _NOT_TOLD else None, time.time())
                answer = b"ok"
            except Exception as error:  # noqa: BLE001  told to the executor, whatever it is
                answer = f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:2000]
            channel.send(answer)
    finally:
        os._exit(0)


def is_ours(fd: int) -> bool:
    """Whether the file is a page that we wrote: nothing else of that name is ever replaced."""
    info = os.fstat(fd)
    return stat.S_ISREG(info.st_mode) and b'content="thermos' in os.pread(fd, 4096, 0)
