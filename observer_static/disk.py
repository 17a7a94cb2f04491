"""How much disk sandboxes use: counted by a child process, so that nothing here ever waits for a disk or an agent.

One child at a time answers for many sandboxes (:mod:`observer_static.walker`); its answers make ``fd`` readable.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from observer_static import walker

K = TypeVar("K", bound=Hashable)

#: Beyond what a child may take by its own account before it is ended: it may have to wait for a processor.
SLACK_S: Final = 60.0
_CHUNK_BYTES: Final = 64 << 10


@dataclass(frozen=True)
class Walk:
    """Counting blocks, file by file. What exceeds a bound is not known: part of a sum is no sum."""

    #: About 2 µs each.
    max_entries: int = 3_000_000
    #: For one sandbox, and for all that one child is asked for.
    each_s: float = 60.0
    all_s: float = 600.0


@dataclass(frozen=True)
class Agent:
    """Asking the Mesos agent. Defaults are those of the original's flags; paths are names with dots between them."""

    url: str = "http://localhost:5051/containers"
    executor_id_json_path: str = "executor_id"
    disk_usage_json_path: str = "statistics.disk_used_bytes"
    timeout_s: float = 5.0


class Disk(NamedTuple):
    """What a sandbox uses. ``used_bytes`` None: not known, and ``why``."""

    at_s: float
    used_bytes: int | None
    why: str | None


class Collector(Generic[K]):
    """Starts the child, reads its answers, ends it when it takes too long."""

    def __init__(self, source: Walk | Agent | None = None) -> None:
        self._source = source if source is not None else Walk()
        self._epoll = select.epoll()
        self._child: subprocess.Popen[bytes] | None = None
        self._answers_fd = -1
        self._child_fd = -1
        self._rest = b""
        self._keys: list[K] = []
        self._open: set[int] = set()  # numbers of those that have no answer yet
        self._deadline_s = 0.0

    @property
    def fd(self) -> int:
        """Readable when ``read`` has something to do; the same one for good."""
        return self._epoll.fileno()

    @property
    def is_busy(self) -> bool:
        """True while there is a child; also while one that was killed cannot die, as a dead file server has it do."""
        return self._child is not None

    def due_in_s(self, now_s: float) -> float | None:
        """When to call ``read`` though ``fd`` says nothing, counted from *now_s* (monotonic); None: never."""
        return max(self._deadline_s - now_s, 0.0) if self._open else None

    def start(self, wanted: Mapping[K, str]) -> bool:
        """Have the sandboxes *wanted* counted; False: a child is at work already, or there can be none."""
        if self.is_busy or not wanted:
            return False
        self._keys = list(wanted)
        request: dict[str, object] = {"paths": list(wanted.values())}
        if isinstance(self._source, Agent):
            request["agent"] = asdict(self._source)
            limit_s = self._source.timeout_s
        else:
            request |= asdict(self._source)
            limit_s = self._source.all_s + self._source.each_s
        answers_fd, child_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(child_fd, True)
        request_fd = os.memfd_create("thermos-disk")
        try:
            with os.fdopen(os.dup(request_fd), "wb") as file:
                file.write(json.dumps(request).encode("ascii"))
            os.lseek(request_fd, 0, os.SEEK_SET)
            # -I: neither the environment nor this package's directory, whose secrets.py is not the library's.
            words = [sys.executable, "-I", "-S", os.path.abspath(walker.__file__)]
            self._child = subprocess.Popen(
                words, stdin=request_fd, stdout=child_fd, stderr=subprocess.DEVNULL, cwd="/", env={}
            )
        except OSError:
            os.close(answers_fd)
            return False
        finally:
            os.close(request_fd)
            os.close(child_fd)
        self._answers_fd = answers_fd
        # Its end is told by the kernel, not by the end of the pipe: a worker that is forked at the wrong moment holds
        # the other end of that.
        self._child_fd = os.pidfd_open(self._child.pid)
        self._rest = b""
        self._open = set(range(len(self._keys)))
        self._deadline_s = time.monotonic() + limit_s + SLACK_S
        self._epoll.register(answers_fd, select.EPOLLIN)
        self._epoll.register(self._child_fd, select.EPOLLIN)
        return True

    def read(self) -> dict[K, Disk]:
        """The answers that have come. Never blocks."""
        child = self._child
        if child is None:
            return {}
        status = child.poll()  # first: what it has written by then can be read
        found = self._drain()
        if status is not None:
            why = f"the child that counts ended with {status}"
            if isinstance(self._source, Agent) and status == -signal.SIGALRM:
                why = f"the agent did not answer within {self._source.timeout_s:g} s"
            self._let_go()
            found |= self._give_up(why)
        elif self._open and time.monotonic() >= self._deadline_s:
            child.kill()
            found |= self._give_up("took too long")
        return found

    def _drain(self) -> dict[K, Disk]:
        found: dict[K, Disk] = {}
        while self._answers_fd >= 0:
            try:
                data = os.read(self._answers_fd, _CHUNK_BYTES)
            except BlockingIOError:
                return found
            if not data:
                self._forget_answers()
                return found
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                number, used_bytes, why = json.loads(line)
                if number in self._open:  # else it was given up
                    self._open.discard(number)
                    found[self._keys[number]] = Disk(time.time(), used_bytes, why)
        return found

    def _forget_answers(self) -> None:
        """Close the pipe; one whose other end is gone were readable for ever."""
        if self._answers_fd >= 0:
            self._epoll.unregister(self._answers_fd)
            os.close(self._answers_fd)
            self._answers_fd = -1

    def _give_up(self, why: str) -> dict[K, Disk]:
        at_s = time.time()
        unknown = {self._keys[number]: Disk(at_s, None, why) for number in self._open}
        self._open = set()
        return unknown

    def _let_go(self) -> None:
        self._forget_answers()
        self._epoll.unregister(self._child_fd)
        os.close(self._child_fd)
        self._child = None

    def close(self) -> None:
        """End the child, if there is one, and wait for its end a little."""
        if self._child is not None:
            self._child.kill()
            try:
                self._child.wait(1.0)
            except subprocess.TimeoutExpired:
                pass
            self._let_go()
        self._open = set()
        self._epoll.close()
