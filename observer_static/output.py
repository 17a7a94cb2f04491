"""The directory of a host's site: fit for it, held, and this observer's alone while it runs."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Sequence
from typing import Final

from observer_static.pagedir import Modes, NotOurs
from thermos.errors import NotPermitted, TaskOwned
from thermos.formats.paths import SANDBOX_MARKER
from thermos.host.beneath import open_dir

_MESOS_RUN: Final = re.compile(r"(.*/(?:slaves|agents)/[^/]+/frameworks/[^/]+/executors/[^/]+/runs/[^/]+)(?:/.*)?")
_OTHERS_WRITE: Final = stat.S_IWOTH


class Output:
    """A directory held by its descriptor and locked; ``close`` lets it go."""

    def __init__(self, path: str, modes: Modes, roots: Sequence[str] = ()) -> None:
        """Make it where it is missing, and look whether pages may be written there.

        *roots*: the checkpoint roots that are known. Raises OSError, NotOurs: not a place for pages; NotPermitted:
        others may change what lies there; TaskOwned: another observer writes there.
        """
        self.path = os.path.abspath(path)
        self.modes = modes
        self.fd = -1
        _check_place(os.path.realpath(self.path), roots)
        try:
            self._open()
        except (NotADirectoryError, FileExistsError) as error:
            what = error.filename if isinstance(error.filename, str) else self.path
            raise NotOurs(f"{what} is no directory, or a link to one: name another --output") from None

    def _open(self) -> None:
        os.makedirs(os.path.dirname(self.path), 0o755, exist_ok=True)
        try:
            os.mkdir(self.path, self.modes.directory)
        except FileExistsError:
            pass
        fd = open_dir(self.path)
        try:
            _check_safe(self.path, fd)
            _lock(self.path, fd)
            self.modes.give(fd, self.modes.directory)
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd

    def is_there(self) -> bool:
        """Whether the directory that is held still lies at its path."""
        try:
            return os.path.samestat(os.stat(self.path, follow_symlinks=False), os.fstat(self.fd))
        except OSError:
            return False

    def reopen(self) -> None:
        """Make it anew after it was removed or replaced. Raises as the constructor does."""
        self.close()
        self._open()

    def close(self) -> None:
        """Let the directory go; what lies there stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _check_place(path: str, roots: Sequence[str]) -> None:
    """Nothing, unless *path*, which has no links in it, lies where tasks keep their own files. Raises NotOurs."""
    for root in map(os.path.realpath, roots):
        if path == root or path.startswith(root.rstrip("/") + "/"):
            raise NotOurs(f"{path} lies in the checkpoint root {root}: pages must lie elsewhere")
    match = _MESOS_RUN.fullmatch(path)
    if match is not None:
        raise NotOurs(f"{path} lies in a task's sandbox, {match[1]}: pages of a host must lie elsewhere")
    above = path
    while above != "/":
        if os.path.lexists(f"{above}/{SANDBOX_MARKER}"):
            raise NotOurs(f"{path} lies in a task's sandbox, {above}: pages of a host must lie elsewhere")
        above = os.path.dirname(above)


def _check_safe(path: str, fd: int) -> None:
    """Nothing, if nobody but us and root can change what *path* holds, or what it is. Raises NotPermitted."""
    info = os.fstat(fd)
    if info.st_uid != os.geteuid():
        raise NotPermitted(f"{path} belongs to uid {info.st_uid}, not to uid {os.geteuid()}: name another --output")
    if info.st_mode & (stat.S_IWGRP | _OTHERS_WRITE):
        raise NotPermitted(
            f"{path} may be written by others (mode {stat.S_IMODE(info.st_mode):04o}): take that away, "
            "or name another --output"
        )
    above = os.path.dirname(os.path.realpath(path))
    while True:
        info = os.stat(above)
        if info.st_uid not in (0, os.geteuid()):
            raise NotPermitted(f"{above}, above {path}, belongs to uid {info.st_uid}: name another --output")
        if info.st_mode & _OTHERS_WRITE and not info.st_mode & stat.S_ISVTX:
            raise NotPermitted(f"{above}, above {path}, may be written by everybody: name another --output")
        if above == "/":
            return
        above = os.path.dirname(above)


def _lock(path: str, fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise TaskOwned(f"another thermos_observer keeps {path} up to date") from None
        # No locks on directories here (some network file systems): two observers would only waste their time.
