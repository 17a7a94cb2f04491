"""A directory of pages, each of which is written whole or not at all, and never outside.

A directory of pages carries a marker that names every page made there; only what it names is ever removed.
Pages are reached from the directory's descriptor, following no link, written under another name and renamed. They
are not synced: after a power loss what the marker says of them no longer fits, and they are written again.

Marker: a line for people, one with what all pages were made from (``= DIGEST``, if that is known), then one for each
page: digest of what was shown (``-``: unknown), size, mtime in nanoseconds, path. The last line of a path counts; a
torn one does not.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from observer_static.pages import File
from thermos.errors import ExitCode, ThermosError
from thermos.host.beneath import open_beneath, open_dir

#: Names the pages of the directory it lies in.
MARKER: Final = ".thermos-site"

_HEAD: Final = b"# Pages of thermos. This file names them; nothing else in this directory is ever removed.\n"
_TEMPORARY: Final = ".new-"
#: A temporary file that is older than this belongs to nobody any more.
_ABANDONED_S: Final = 60.0
_MAX_MARKER_BYTES: Final = 16 << 20
_PATH: Final = re.compile(r"(?:[A-Za-z0-9_~][A-Za-z0-9_.+=,@~-]*/){0,8}[A-Za-z0-9_~][A-Za-z0-9_.+=,@~-]*\.html")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotOurs(ThermosError):
    """A directory holds something else than our pages, so none are written there."""

    exit_code = ExitCode.REFUSED


class Made(NamedTuple):
    """A page as the marker knows it."""

    digest: str
    size_bytes: int
    mtime_ns: int


class Modes(NamedTuple):
    """Modes of what is made, and the group it is given to (-1: the writer's own)."""

    directory: int = 0o700
    file: int = 0o600
    group: int = -1

    def give(self, fd: int, mode: int) -> None:
        """Have *fd* be so, whatever the umask. Raises OSError."""
        os.fchmod(fd, mode)
        if self.group != -1:
            os.fchown(fd, -1, self.group)


#: The owner's alone.
PRIVATE: Final = Modes()


class PageDir:
    """A directory of pages, held by its descriptor; a context manager. Raises OSError, NotOurs.

    ``made`` is what the marker says of pages, ``made_from`` of what they show (empty: not known); :meth:`finish`
    brings the marker up to date.
    """

    def __init__(self, fd: int, modes: Modes = PRIVATE, is_new: bool = False) -> None:
        self.fd = fd
        self._modes = modes
        self._token = secrets.token_hex(4)
        self._dirs: dict[str, int] = {"": fd}
        #: Directories made just now: nothing in them needs comparing.
        self._new_dirs = {""} if is_new else set()
        self._marker_fd = -1
        self._is_marker_stale = False
        self.made: dict[str, Made] = {}
        self.made_from = ""
        self._marked_from = ""
        try:
            if not is_new:
                self._read_marker()
            else:
                modes.give(fd, modes.directory)
        except BaseException:
            os.close(fd)
            raise

    def __enter__(self) -> PageDir:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the directory go; what lies there stays."""
        for fd in (*self._dirs.values(), self._marker_fd):
            if fd >= 0:
                os.close(fd)
        self._dirs.clear()
        self._marker_fd = -1

    # -- What is there ---------------------------------------------------------------------------------------------

    def _read_marker(self) -> None:
        try:
            fd = os.open(MARKER, _READ, dir_fd=self.fd)
        except FileNotFoundError:
            names = os.listdir(self.fd)
            if any(not name.startswith(_TEMPORARY) for name in names):
                raise NotOurs(
                    f"{_path_of(self.fd)} is not empty and holds no {MARKER}: it is not a directory of pages"
                ) from None
            return
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise NotOurs(f"{MARKER} in {_path_of(self.fd)} is no regular file")
            data = os.read(fd, _MAX_MARKER_BYTES)
        finally:
            os.close(fd)
        for line in data.decode("ascii", "replace").split("\n")[:-1]:
            words = line.split(" ", 3)
            if len(words) == 2 and words[0] == "=":
                self.made_from = self._marked_from = words[1]
            if len(words) == 4 and words[1].isdecimal() and words[2].isdecimal() and _PATH.fullmatch(words[3]):
                self.made[words[3]] = Made(words[0], int(words[1][:20]), int(words[2][:20]))

    def is_as_made(self, path: str, digest: str) -> bool:
        """Whether the page at *path* shows what *digest* stands for, and nobody touched it since."""
        made = self.made.get(path)
        return made is not None and made.digest == digest and self.is_untouched(path)

    def is_untouched(self, path: str) -> bool:
        """Whether the page at *path* is there as it was made."""
        made = self.made.get(path)
        if made is None:
            return False
        try:
            parent, name = self._parent(path, is_made=False)
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError:
            return False
        return stat.S_ISREG(info.st_mode) and (info.st_size, info.st_mtime_ns) == made[1:]

    # -- Changing it -----------------------------------------------------------------------------------------------

    def write(self, file: File, digest: str = "-") -> bool:
        """Put *file* there; False if it was there already, as it is. Raises OSError, and ValueError for its path."""
        if _PATH.fullmatch(file.path) is None:
            raise ValueError(f"{file.path!r} is no path of a page")
        if file.path not in self.made:  # before anything is there, so that nothing is that nobody removes
            self._mark(f"- 0 0 {file.path}\n".encode())
        parent, name = self._parent(file.path, is_made=True)
        if file.path.rpartition("/")[0] not in self._new_dirs:
            old = self._same_file(parent, name, file.content)
            if old is not None:
                self._note(file.path, Made(digest, old.st_size, old.st_mtime_ns))
                return False
        info = self._replace(parent, name, file.content)
        self._note(file.path, Made(digest, info.st_size, info.st_mtime_ns))
        return True

    def remove(self, path: str) -> bool:
        """Take the page away, and the directories that it leaves empty; only what the marker names."""
        if path not in self.made:
            return False
        is_removed = False
        try:
            parent, name = self._parent(path, is_made=False)
            if stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=parent)
                is_removed = True
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EXDEV):  # somebody put a link there: nothing of ours
                raise
        del self.made[path]
        self._is_marker_stale = True
        self._remove_empty(path.rpartition("/")[0])
        return is_removed

    def clear(self) -> bool:
        """Remove every page of ours and the marker; whether the directory is empty now. Raises OSError."""
        self.tidy(0.0)
        for path in list(self.made):
            self.remove(path)
        try:
            os.unlink(MARKER, dir_fd=self.fd)
        except FileNotFoundError:
            pass
        self._is_marker_stale = False
        return not os.listdir(self.fd)

    def tidy(self, older_than_s: float = _ABANDONED_S) -> None:
        """Remove temporary files that a writer left when it was killed. Raises OSError."""
        latest = time.time() - older_than_s
        for directory in {"", *(path.rpartition("/")[0] for path in self.made)}:
            try:
                fd = self._dir(directory, is_made=False)
            except OSError:
                continue
            for name in os.listdir(fd):
                if name.startswith(_TEMPORARY):
                    try:
                        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
                        if stat.S_ISREG(info.st_mode) and info.st_mtime <= latest:
                            os.unlink(name, dir_fd=fd)
                    except FileNotFoundError:
                        continue

    def adopt(self, made: Mapping[str, Made]) -> None:
        """Know of pages that another process wrote here."""
        for path, one in made.items():
            self._note(path, one)

    def claim(self) -> None:
        """Say that this is a directory of pages before there is one."""
        if not self.made:
            self._mark(b"")

    def settle(self) -> None:
        """Give the directories that are there their modes, which may be others than when they were made."""
        for directory in {"", *(path.rpartition("/")[0] for path in self.made)}:
            while True:
                try:
                    fd = self._dir(directory, is_made=False)
                except OSError:
                    break
                info = os.fstat(fd)
                if stat.S_IMODE(info.st_mode) != self._modes.directory or self._modes.group not in (-1, info.st_gid):
                    self._modes.give(fd, self._modes.directory)
                if not directory:
                    break
                directory = directory.rpartition("/")[0]

    def finish(self) -> None:
        """Write the marker anew if what it says is no longer so. Raises OSError."""
        if self._is_marker_stale or self.made_from != self._marked_from or not self.made:
            head = _HEAD + f"= {self.made_from}\n".encode() if self.made_from else _HEAD
            lines = [f"{made.digest} {made.size_bytes} {made.mtime_ns} {path}\n" for path, made in self.made.items()]
            self._replace(self.fd, MARKER, head + "".join(lines).encode())
            self._marked_from = self.made_from
            if self._marker_fd >= 0:
                os.close(self._marker_fd)
                self._marker_fd = -1
            self._is_marker_stale = False

    # -- How -------------------------------------------------------------------------------------------------------

    def _note(self, path: str, made: Made) -> None:
        if self.made.get(path) != made:
            self.made[path] = made
            self._is_marker_stale = True

    def _mark(self, line: bytes) -> None:
        if self._marker_fd < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._marker_fd = os.open(MARKER, flags, self._modes.file, dir_fd=self.fd)
            if os.fstat(self._marker_fd).st_size == 0:
                self._modes.give(self._marker_fd, self._modes.file)
                line = _HEAD + line
        if line and os.write(self._marker_fd, line) != len(line):
            self._is_marker_stale = True  # a torn line would spoil the next one
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _same_file(self, parent: int, name: str, content: bytes) -> os.stat_result | None:
        """The stat of that file if it is a regular one of ours that holds just *content*, else None."""
        try:
            fd = os.open(name, _READ, dir_fd=parent)
        except OSError:
            return None
        try:
            info = os.fstat(fd)
            is_ours = stat.S_IMODE(info.st_mode) == self._modes.file and self._modes.group in (-1, info.st_gid)
            if not stat.S_ISREG(info.st_mode) or not is_ours or info.st_nlink != 1 or info.st_size != len(content):
                return None
            return info if os.read(fd, len(content) + 1) == content else None
        finally:
            os.close(fd)

    def _replace(self, parent: int, name: str, content: bytes) -> os.stat_result:
        temporary = _TEMPORARY + self._token
        fd = os.open(temporary, _NEW, self._modes.file, dir_fd=parent)
        try:
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(fd, rest) :]
                self._modes.give(fd, self._modes.file)
                info = os.fstat(fd)
            finally:
                os.close(fd)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            try:
                os.unlink(temporary, dir_fd=parent)
            except OSError:
                pass  # what stopped us matters more
            raise
        return info

    def _parent(self, path: str, is_made: bool) -> tuple[int, str]:
        directory, _, name = path.rpartition("/")
        return self._dir(directory, is_made), name

    def _dir(self, path: str, is_made: bool) -> int:
        """A descriptor of the directory *path* below, made first if *is_made*."""
        fd = self._dirs.get(path)
        if fd is not None:
            return fd
        above, _, name = path.rpartition("/")
        parent = self._dir(above, is_made)
        is_new = False
        if is_made:
            try:
                os.mkdir(name, self._modes.directory, dir_fd=parent)
                is_new = True
            except FileExistsError:
                pass
        fd = open_beneath(parent, name, _DIRECTORY)
        self._dirs[path] = fd
        if is_new:
            self._modes.give(fd, self._modes.directory)
            self._new_dirs.add(path)
        return fd

    def _remove_empty(self, directory: str) -> None:
        while directory:
            above, _, name = directory.rpartition("/")
            try:
                os.rmdir(name, dir_fd=self._dir(above, is_made=False))
            except OSError:
                return  # not empty, most of all
            fd = self._dirs.pop(directory, -1)
            if fd >= 0:
                os.close(fd)
            self._new_dirs.discard(directory)
            directory = above


def _path_of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


def open_pages(directory: str | int, below: str = "", modes: Modes = PRIVATE) -> PageDir:
    """The pages in *directory* (a path, whose last part may be no link, or a descriptor), or *below* it.

    It is made where it is missing. Raises OSError, NotOurs.
    """
    is_new = False
    if isinstance(directory, str):
        if not below:
            try:
                os.makedirs(os.path.dirname(os.path.abspath(directory)), 0o755, exist_ok=True)
                os.mkdir(directory, modes.directory)
                is_new = True
            except FileExistsError:
                pass
        fd = open_dir(directory)
    else:
        fd = os.dup(directory)
    for part in below.split("/") if below else ():
        parent = fd
        try:
            is_new = False
            try:
                os.mkdir(part, modes.directory, dir_fd=parent)
                is_new = True
            except FileExistsError:
                pass
            fd = open_beneath(parent, part, _DIRECTORY)
        finally:
            os.close(parent)
        if is_new:
            modes.give(fd, modes.directory)
    return PageDir(fd, modes, is_new)
