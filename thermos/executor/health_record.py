"""Leaves the verdict of a task's health checks beside its checkpoint, where observers and ``thermos page`` read it.

It is not needed to go on after a crash, so it is not synced; who reads it asks for our lock to know whether it still
holds.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final

from thermos.formats import health_file, paths
from thermos.host.beneath import open_beneath, open_dir

_NEW: Final = f".{paths.HEALTH}.new"


class HealthRecord:
    """The file of one task; it is replaced whole. The sandbox may be a user's: nothing of his is followed."""

    def __init__(self, root: str, task_id: str) -> None:
        self._root = root
        self._below = paths.checkpoint_dir(root, task_id)[len(root) + 1 :]
        self._written = b""
        #: Open as long as we live: the lock on it says that we do.
        self._fd = -1

    def write(self, health: health_file.Health) -> None:
        """Have it say *health*, if it does not yet. Raises OSError."""
        data = health_file.encode(health)
        if data == self._written:
            return
        root = open_dir(self._root)
        try:
            directory = open_beneath(root, self._below, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        finally:
            os.close(root)
        try:
            self._replace(directory, data)
        finally:
            os.close(directory)
        self._written = data

    def _replace(self, directory: int, data: bytes) -> None:
        try:
            os.unlink(_NEW, dir_fd=directory)
        except FileNotFoundError:
            pass
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(_NEW, flags, 0o644, dir_fd=directory)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # which no child of ours inherits
            if os.write(fd, data) != len(data):
                raise OSError("there is no room for all of it")
            os.rename(_NEW, paths.HEALTH, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.close(fd)
            raise
        old, self._fd = self._fd, fd
        if old >= 0:
            os.close(old)

    def close(self) -> None:
        """Let it go: what it says is the last that was known."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
