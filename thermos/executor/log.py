"""The executor's own log: a file in the sandbox that never grows beyond its limit."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

NAME: Final = "thermos_executor.log"
#: The file, and the one put aside before it, have at most so much each.
MAX_BYTES: Final = 1 << 20


class Log:
    """Lines with their time, in the file and on stderr, which Mesos keeps as well. It never raises: a full disk must

    not end a task.
    """

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, NAME)
        self._size = 0
        self._fd = -1
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
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self._path, flags, 0o600)
            self._size = os.fstat(self._fd).st_size
        except OSError:
            self._fd = -1

    def _write(self, level: str, text: str) -> None:
        now_s = time.time()
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s)) + f".{int(now_s * 1000) % 1000:03d}Z"
        shown = "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)
        data = f"{when} {level} {shown.replace(chr(10), chr(10) + '    ')}\n".encode("utf-8", "replace")
        try:
            sys.stderr.buffer.write(data)
            sys.stderr.buffer.flush()
        except OSError:
            pass
        if self._fd < 0:
            return
        try:
            if self._size + len(data) > MAX_BYTES:
                os.replace(self._path, f"{self._path}.1")
                os.close(self._fd)
                self._open()
            self._size += os.write(self._fd, data)
        except OSError:
            pass

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
