"""The executor's own log: a file in the sandbox that never grows beyond its limit."""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import Final

NAME: Final = "thermos_executor.log"
#: The file, and the one put aside before it, have at most so much each; stderr gets as much, and then no more.
MAX_BYTES: Final = 1 << 20
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Log:
    """Lines with their time, in the file and on stderr, which Mesos keeps as well. It never raises: a full disk must

    not end a task. The sandbox may be a user's who means no good: no link is followed, and no FIFO waited for.
    """

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, NAME)
        self._size = 0
        self._fd = -1
        self._stderr_bytes = 0
        self._open()

    def info(self, text: str) -> None:
        """Something that went as it should."""
        self._write("I", text)

    def warning(self, text: str) -> None:
        """Something that may pass."""
        self._write("W", text)

    def error(self, text: str) -> None:
        """Something that somebody must look at."""
        self._write("E", text)

    def _open(self) -> None:
        try:
            self._fd = os.open(self._path, _FLAGS, 0o600)
        except OSError:
            return
        info = os.fstat(self._fd)
        self._size = info.st_size
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
            self.close()

    def _write(self, level: str, text: str) -> None:
        now_s = time.time()
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s)) + f".{int(now_s * 1000) % 1000:03d}Z"
        shown = "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)
        data = f"{when} {level} {shown.replace(chr(10), chr(10) + '    ')}\n".encode("utf-8", "replace")
        self._to_stderr(data)
        if self._fd >= 0:
            self._to_file(data)

    def _to_stderr(self, data: bytes) -> None:
        if self._stderr_bytes > MAX_BYTES:
            return
        self._stderr_bytes += len(data)
        if self._stderr_bytes > MAX_BYTES:
            data += f"(enough here: it goes on in {NAME})\n".encode()
        try:
            sys.stderr.buffer.write(data)
            sys.stderr.buffer.flush()
        except (OSError, ValueError):  # ValueError: it is closed
            pass

    def _to_file(self, data: bytes) -> None:
        try:
            if self._size + len(data) > MAX_BYTES:
                self._rotate()
            self._size += os.write(self._fd, data)
        except OSError:
            pass

    def _rotate(self) -> None:
        """Put the file aside; where that cannot be, begin it anew."""
        try:
            os.replace(self._path, f"{self._path}.1")
        except FileNotFoundError:
            pass  # somebody has taken it away
        except OSError:
            os.ftruncate(self._fd, 0)
            self._size = 0
            return
        self.close()
        self._open()

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
