"""Opening and making what lies below a directory, following no link on the way.

The task's user may own the sandbox and swap any part of it at any moment, also while we look. So everything
below it is reached from a descriptor of its root, with openat2's RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS.
"""

from __future__ import annotations

import os
import stat

from thermos.host.linux import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2

_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_dir(path: str) -> int:
    """A descriptor of the directory *path*, whose last part may not be a link. Raises OSError."""
    return os.open(path, _DIRECTORY | os.O_NOFOLLOW)


def open_beneath(dir_fd: int, relative: str, flags: int, mode: int = 0) -> int:
    """A descriptor of *relative* below *dir_fd*; no part of it may be a link or lead out. Raises OSError."""
    if "/" not in relative and relative not in ("", ".", ".."):
        # A single name cannot lead anywhere but below, and this way costs a tenth.
        return os.open(relative, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=dir_fd)
    return openat2(dir_fd, relative, flags, mode, _RESOLVE)


def open_regular(dir_fd: int, relative: str, flags: int, mode: int = 0) -> int:
    """Like ``open_beneath``, for regular files only: a FIFO in its place does not block us. Raises OSError."""
    fd = open_beneath(dir_fd, relative, flags | os.O_NONBLOCK, mode)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{relative} is not a regular file")
        os.set_blocking(fd, True)
    except OSError:
        os.close(fd)
        raise
    return fd


def make_dirs(dir_fd: int, relative: str, mode: int = 0o755, owner: tuple[int, int] | None = None) -> int:
    """A descriptor of the directory *relative* below *dir_fd*, made where it is missing.

    What is made gets *mode* and *owner* (uid, gid). Raises OSError, NotADirectoryError for a link among them.
    """
    current = os.dup(dir_fd)
    try:
        for part in relative.split("/"):
            if part in ("", "."):
                continue
            made = False
            try:
                os.mkdir(part, mode, dir_fd=current)
                made = True
            except FileExistsError:
                pass
            below = open_beneath(current, part, os.O_RDONLY | os.O_DIRECTORY)
            os.close(current)
            current = below
            if made and owner is not None:
                os.fchown(current, *owner)
        return current
    except OSError:
        os.close(current)
        raise
