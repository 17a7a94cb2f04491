"""Deleting a task's sandbox, logs and checkpoint: through directory descriptors, following no link.

The task's user may own the sandbox and swap any part of it while we are at it. So nothing is deleted by path:
each directory is held open, its entries are removed relative to it, and another file system is not entered.
"""

from __future__ import annotations

import os
import stat
from typing import Final, NamedTuple

from thermos.checkpoints import is_owned, read_task
from thermos.cli.find import Found
from thermos.formats import paths
from thermos.host.beneath import open_dir, open_regular

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Directories nested deeper are moved up before they are emptied: each level holds a descriptor.
_DEEPEST: Final = 64
_BLOCK_BYTES: Final = 512  # of st_blocks, stat(2)
#: How the names of the directories begin that ``thermos simplerun`` makes around its sandboxes.
TEMPORARY_PREFIX: Final = "thermos-"


class Sizes(NamedTuple):
    """What a task takes on disk, in bytes."""

    data: int
    logs: int
    metadata: int


class What(NamedTuple):
    """What is to be deleted."""

    data: bool
    logs: bool
    metadata: bool


class Owned(Exception):
    """Why something is kept."""


def open_sandbox(task: Found) -> tuple[int, str, str | None]:
    """(descriptor of the sandbox, its path, the log directory below it or None).

    Only of a sandbox that our runner made for this very task: its marker says so, and belongs to who owns the
    checkpoint, so that nobody's checkpoint can name somebody else's directory. Raises Owned with the reason.
    """
    header = read_task(task.root, task.task_id, keep_runs=1).state.header
    if header is None or not header.sandbox:
        raise Owned("its checkpoint does not say where its sandbox is")
    try:
        owner_uid = os.lstat(paths.runner_checkpoint(task.root, task.task_id)).st_uid
        fd = open_dir(header.sandbox)
    except FileNotFoundError:
        raise Owned("") from None  # gone already
    except (OSError, ValueError) as error:
        raise Owned(f"{header.sandbox}: {getattr(error, 'strerror', None) or error}") from None
    try:
        _check_marker(fd, header.sandbox, task.task_id, owner_uid)
    except Owned:
        os.close(fd)
        raise
    log_dir = header.log_dir or paths.default_log_dir(header.sandbox)
    relative = os.path.relpath(log_dir, header.sandbox)
    return fd, header.sandbox, None if relative.startswith("..") or relative == "." else relative


def _check_marker(fd: int, path: str, task_id: str, owner_uid: int) -> None:
    try:
        marker = open_regular(fd, paths.SANDBOX_MARKER, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise Owned(f"{path} has no {paths.SANDBOX_MARKER}: it was not made for this task") from None
    try:
        first = os.read(marker, 4096).split(b"\n")[0]
        uid = os.fstat(marker).st_uid
    finally:
        os.close(marker)
    if first != os.fsencode(task_id):
        raise Owned(f"{path} was made for task {os.fsdecode(first)!r}")
    if uid != owner_uid:
        raise Owned(f"the marker in {path} belongs to uid {uid}, the checkpoint to uid {owner_uid}")


def measure(task: Found) -> tuple[Sizes, str | None]:
    """What *task* takes, and why its sandbox would be kept (None: it would not, or there is none)."""
    metadata = _file_bytes(paths.task_path(task.root, task.task_id, paths.FINISHED))
    metadata += _tree_bytes_at(paths.checkpoint_dir(task.root, task.task_id))
    try:
        fd, _, log_dir = open_sandbox(task)
    except Owned as reason:
        return Sizes(0, 0, metadata), str(reason) or None
    try:
        logs = _tree_bytes_below(fd, log_dir)
        return Sizes(max(_tree_bytes(fd) - logs, 0), logs, metadata), None
    finally:
        os.close(fd)


def _file_bytes(path: str) -> int:
    try:
        return os.lstat(path).st_blocks * _BLOCK_BYTES
    except OSError:
        return 0


def _tree_bytes_at(path: str) -> int:
    try:
        fd = open_dir(path)
    except OSError:
        return 0
    try:
        return _tree_bytes(fd)
    finally:
        os.close(fd)


def _tree_bytes_below(fd: int, relative: str | None) -> int:
    if relative is None:
        return 0
    try:
        below = os.open(relative, _DIRECTORY, dir_fd=fd)
    except OSError:
        return 0
    try:
        return _tree_bytes(below)
    finally:
        os.close(below)


def _tree_bytes(fd: int, device: int | None = None, depth: int = 0) -> int:
    """What lies below *fd* on its file system. What is nested deeper than anybody nests is not counted."""
    if device is None:
        device = os.fstat(fd).st_dev
    total = 0
    with os.scandir(fd) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        try:
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            total += info.st_blocks * _BLOCK_BYTES
            if not stat.S_ISDIR(info.st_mode) or info.st_dev != device or depth >= _DEEPEST:
                continue
            below = os.open(name, _DIRECTORY, dir_fd=fd)
        except OSError:
            continue
        try:
            total += _tree_bytes(below, device, depth + 1)
        finally:
            os.close(below)
    return total


class _Eraser:
    """Empties one directory; ``kept`` names what had to stay, with the reason."""

    def __init__(self, fd: int, path: str) -> None:
        self.kept: list[str] = []
        self._fd = fd
        self._path = path
        self._device = os.fstat(fd).st_dev
        self._moved = 0

    def empty(self, spare: frozenset[str] = frozenset()) -> None:
        """Delete everything but the entries in *spare*."""
        before = -1
        while before != self._moved:  # what was moved up is there now
            before = self._moved
            self._empty(self._fd, self._path, 0, spare)

    def _empty(self, fd: int, path: str, depth: int, spare: frozenset[str]) -> None:
        with os.scandir(fd) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            if name in spare:
                continue
            try:
                self._remove(fd, f"{path}/{name}", name, depth)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.kept.append(f"{path}/{name}: {error.strerror or error}")

    def _remove(self, fd: int, path: str, name: str, depth: int) -> None:
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if not stat.S_ISDIR(info.st_mode):
            os.unlink(name, dir_fd=fd)
            return
        below = os.open(name, _DIRECTORY, dir_fd=fd)
        try:
            if os.fstat(below).st_dev != self._device:
                self.kept.append(f"{path}: another file system is mounted there")
                return
            if depth >= _DEEPEST:
                self._moved += 1
                os.rename(name, f".thermos-gc.{os.getpid()}.{self._moved}", src_dir_fd=fd, dst_dir_fd=self._fd)
                return
            self._empty(below, path, depth + 1, frozenset())
        finally:
            os.close(below)
        if not any(kept.startswith(f"{path}/") for kept in self.kept):
            os.rmdir(name, dir_fd=fd)


def erase(task: Found, what: What) -> list[str]:
    """Delete what is asked of *task*; what was kept all the same, with the reason."""
    if is_owned(paths.runner_checkpoint(task.root, task.task_id)):
        return ["its runner lives"]
    kept: list[str] = []
    if what.data or what.logs:
        try:
            sandbox = open_sandbox(task)
        except Owned as reason:
            kept += [str(reason)] if str(reason) else []
        else:
            kept += _erase_sandbox(*sandbox, what)
            if kept:
                return kept  # its checkpoint says where the rest lies
    if what.metadata:
        kept += _erase_metadata(task)
    return kept


def _erase_sandbox(fd: int, path: str, log_dir: str | None, what: What) -> list[str]:
    try:
        if not what.data:
            return _erase_logs(fd, path, log_dir)
        eraser = _Eraser(fd, path)
        spare = {paths.SANDBOX_MARKER}
        if not what.logs and log_dir is not None:
            spare.add(log_dir.split("/")[0])
        eraser.empty(frozenset(spare))
        if not what.logs or eraser.kept:
            return eraser.kept
        os.unlink(paths.SANDBOX_MARKER, dir_fd=fd)  # last: until then it can be gone on with
        return _remove_directory(fd, path)
    finally:
        os.close(fd)


def _erase_logs(fd: int, path: str, log_dir: str | None) -> list[str]:
    if log_dir is None:
        return ["its log directory is outside its sandbox"]
    try:
        below = os.open(log_dir, _DIRECTORY, dir_fd=fd)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{path}/{log_dir}: {error.strerror}"]
    try:
        eraser = _Eraser(below, f"{path}/{log_dir}")
        eraser.empty()
        return eraser.kept
    finally:
        os.close(below)


def _remove_directory(fd: int, path: str) -> list[str]:
    """Remove the empty directory that *fd* is, if *path* still names it."""
    parent, name = os.path.split(path.rstrip("/"))
    try:
        parent_fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return [f"{path}: {error.strerror}"]
    try:
        there, ours = os.stat(name, dir_fd=parent_fd, follow_symlinks=False), os.fstat(fd)
        if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
            os.rmdir(name, dir_fd=parent_fd)
    except OSError as error:
        return [f"{path}: {error.strerror}"]
    finally:
        os.close(parent_fd)
    if os.path.basename(parent).startswith(TEMPORARY_PREFIX):
        try:
            os.rmdir(parent)  # made by `thermos simplerun` around the sandbox
        except OSError:
            pass
    return []


def _erase_metadata(task: Found) -> list[str]:
    path = paths.checkpoint_dir(task.root, task.task_id)
    kept: list[str] = []
    try:
        fd = open_dir(path)
        try:
            eraser = _Eraser(fd, path)
            eraser.empty()
            kept = eraser.kept or _remove_directory(fd, path)
        finally:
            os.close(fd)
    except FileNotFoundError:
        pass
    except OSError as error:
        return [f"{path}: {error.strerror}"]
    if kept:
        return kept
    file = paths.task_path(task.root, task.task_id, paths.FINISHED)
    try:
        os.unlink(file)  # last: until then the task is listed, and can be gone on with
    except FileNotFoundError:
        pass
    except OSError as error:
        return [f"{file}: {error.strerror}"]
    return []
