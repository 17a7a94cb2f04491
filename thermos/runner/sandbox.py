"""The directory that a task's processes run in."""

from __future__ import annotations

import os
import stat

from thermos.errors import NotPermitted
from thermos.formats import paths
from thermos.host import beneath


def check(path: str) -> None:
    """Nothing, if *path* is a directory we may write to, or can be made. Raises NotPermitted; makes nothing."""
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    info = os.stat(there, follow_symlinks=there != path)
    if stat.S_ISLNK(info.st_mode):
        raise NotPermitted(f"the sandbox {path} is a link; give the directory that it leads to")
    if not stat.S_ISDIR(info.st_mode):
        raise NotPermitted(f"the sandbox {path} cannot be used: {there} is not a directory")
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        raise NotPermitted(f"the sandbox {path} cannot be used: uid {os.geteuid()} may not write to directory {there}")


def open_or_make(path: str, task_id: str, uid: int, gid: int) -> int:
    """A descriptor of the sandbox; one that we make is the user's, and marked as made for this task."""
    made = False
    if not os.path.isdir(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mkdir(path, 0o755)
        made = True
    fd = beneath.open_dir(path)
    if made:
        marker = os.open(paths.SANDBOX_MARKER, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=fd)
        os.write(marker, f"{task_id}\n".encode())
        os.close(marker)
        if uid != os.geteuid():
            os.fchown(fd, uid, gid)
    return fd
