"""Waiting for files to change: one inotify instance, through ctypes; where there is none, slow polling.

A user has 128 instances for the whole host (``fs.inotify.max_user_instances``), so only programs that a person
or an operator starts use one. Events only say "look again": whoever waits here looks at the files themselves.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from typing import Final, NamedTuple

IN_MODIFY: Final = 0x002  # linux/inotify.h
IN_ATTRIB: Final = 0x004
IN_CLOSE_WRITE: Final = 0x008
IN_MOVED_FROM: Final = 0x040
IN_MOVED_TO: Final = 0x080
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x1000000
IN_MASK_ADD: Final = 0x20000000
#: What changes what a directory holds, or a file in it.
CHANGES: Final = IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF
#: How long one wait lasts where there is no inotify.
POLL_S: Final = 2.0

_EVENT: Final = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, len
_BUFFER_BYTES: Final = 64 << 10


class Event(NamedTuple):
    """Something changed: the watch it belongs to, IN_ bits, and the name within a watched directory."""

    watch: int
    mask: int
    name: str


class Watcher:
    """Waits for changes below the paths it was told to watch.

    ``fallback`` is None, or why there is no inotify: ``wait`` then returns after *poll_s* at the latest.
    """

    def __init__(self, poll_s: float = POLL_S) -> None:
        self.fallback: str | None = None
        self._poll_s = poll_s
        self._fd = -1
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._check(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        except (OSError, AttributeError) as error:
            self.fallback = f"no inotify ({getattr(error, 'strerror', None) or error})"

    def watch(self, path: str | int, mask: int = CHANGES) -> int | None:
        """Watch *path* (or an open descriptor) and return the watch's number. None: it cannot be watched."""
        if self._fd < 0:
            return None
        try:
            return self.add(path, mask)
        except FileNotFoundError:
            return None
        except OSError as error:
            name = f"/proc/self/fd/{path}" if isinstance(path, int) else path
            self.fallback = f"inotify cannot watch {name} ({error.strerror})"
            return None

    def add(self, path: str | int, mask: int) -> int:
        """Watch *path* (or an open descriptor) and return the watch's number. Raises OSError; polls for no reason."""
        name = f"/proc/self/fd/{path}" if isinstance(path, int) else path
        return self._check(self._libc.inotify_add_watch(self._fd, os.fsencode(name), mask))

    def unwatch(self, watch: int) -> None:
        """Watch it no longer; nothing if it is gone already."""
        if self._fd >= 0:
            self._libc.inotify_rm_watch(self._fd, watch)

    def wait(self, timeout_s: float | None = None, *also: int) -> list[Event]:
        """What has changed, waiting for it for *timeout_s* at most (None: for ever); [] on a timeout.

        Returns early when one of the descriptors *also* can be read.
        """
        if self.fallback is not None:
            timeout_s = self._poll_s if timeout_s is None else min(timeout_s, self._poll_s)
        fds = [*([self._fd] if self._fd >= 0 else []), *also]
        if not fds:
            time.sleep(timeout_s if timeout_s is not None else self._poll_s)
            return []
        poll = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN)
        ready = poll.poll(None if timeout_s is None else timeout_s * 1000)
        return self._read() if any(fd == self._fd for fd, _ in ready) else []

    def _read(self) -> list[Event]:
        try:
            data = os.read(self._fd, _BUFFER_BYTES)
        except BlockingIOError:
            return []
        events = []
        offset = 0
        while offset < len(data):
            watch, mask, _, size = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = data[offset : offset + size].rstrip(b"\0")
            offset += size
            events.append(Event(watch, mask, os.fsdecode(name)))
        return events

    def close(self) -> None:
        """Give the instance back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def _check(result: int) -> int:
        if result < 0:
            errno = ctypes.get_errno()
            raise OSError(errno, os.strerror(errno))
        return result
