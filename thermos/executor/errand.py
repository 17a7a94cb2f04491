"""Something that may block or need other rights, done in a child; the loop hears of its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final

from thermos.host.forking import fork
from thermos.host.linux import die_with_parent
from thermos.host.loop import Loop

_READ_BYTES: Final = 64 << 10
#: No answer is longer.
_ANSWER_BYTES: Final = 64 << 10


class Errand:
    """A child that does *work* and answers with a text; *done* hears it, None if the child died of something.

    *work* runs after a fork: it must not use the loop, and ends with its answer or with an exception, whose text is
    the answer then. It leads a process group, so that what it starts is given up with it; it does not outlive us.
    """

    def __init__(self, loop: Loop, work: Callable[[], str], done: Callable[[str | None], object]) -> None:
        self._loop = loop
        self._done: Callable[[str | None], object] | None = done
        self._answer = b""
        self._fd = -1
        self._pid = 0
        try:
            self._fd, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            self._cannot_start(error)
            return
        parent = os.getpid()
        try:
            self._pid = fork()
        except OSError as error:
            for fd in (self._fd, theirs):
                os.close(fd)
            self._fd = -1
            self._cannot_start(error)
            return
        if not self._pid:
            _run(work, theirs, parent)
        try:
            os.setpgid(self._pid, self._pid)  # it does so itself; here too, so that it is done when we go on
        except (PermissionError, ProcessLookupError):
            pass  # it has ended already
        os.close(theirs)
        loop.watch(self._fd, self._readable)

    def _cannot_start(self, error: OSError) -> None:
        """Answer for a child that there is none of; not before our maker has us in hand."""
        done, self._done = self._done, None
        words = f"no process can be started for it: {error.strerror}"
        self._loop.call_later(self, 0.0, lambda: done(words) if done is not None else None)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        self._answer += data
        if data:
            return
        self._loop.unwatch(self._fd)
        os.close(self._fd)
        self._fd = -1
        _, status = os.waitpid(self._pid, 0)
        done, self._done = self._done, None
        if done is not None:
            done(self._answer.decode("utf-8", "replace") if os.waitstatus_to_exitcode(status) == 0 else None)

    @property
    def is_over(self) -> bool:
        """It is gone; one that was given up may take its time, as where a file server is dead."""
        return self._fd < 0

    def give_up(self) -> None:
        """Kill it and what it started; nobody is told. It is reaped when it is gone."""
        self._loop.cancel(self)
        if self._done is not None:
            self._done = None
            os.killpg(self._pid, signal.SIGKILL)  # ours, and not reaped yet: nobody else has the group


def _run(work: Callable[[], str], answer: int, parent: int) -> None:
    """The child: every way out of it is an exit."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.setpgid(0, 0)
        die_with_parent()
        if os.getppid() != parent:
            return  # it died before we could ask for that
        os.closerange(3, answer)
        os.closerange(answer + 1, 1 << 20)
        try:
            text = work()
        except Exception as error:  # noqa: BLE001  a child's last words, whatever they are about
            text = f"{type(error).__name__}: {error}"
        os.set_blocking(answer, True)
        os.write(answer, text.encode("utf-8", "replace")[:_ANSWER_BYTES])
        code = 0
    finally:
        os._exit(code)
