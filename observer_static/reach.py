"""What may be opened of what a record names: only what the task's user could read himself.

A checkpoint says where a sandbox and its logs lie. Its author may have written anything there, and whoever owns the
sandbox may put anything into it, also while we look. The observer may be root, or any user who can read more than
that author. So the rule is, whoever we are:

* A header is as credible as the owner of the file it stands in. One of root's or of our own is believed: the
  directory it names is opened. One of another user's is his claim alone: every directory above what it names must
  let him through.
* Below that directory no link is followed, nothing leads up again, every directory on the way must let the
  task's user in, and what is opened is a regular file that is his, or that everybody may read and that has no
  second name. (A hard link may be the file of somebody else, in a directory that he cannot enter.) Groups are not
  looked at: what only a group may read is not shown.
* The task's user is the one the header names if the header is believed, else the header's author. Where the name
  says nothing here, or root, it is the owner of the sandbox. Our own tasks, when we are not root, have no such
  limit: the kernel's suffices.

A file is looked at before it is opened (``O_PATH``): neither a FIFO nor a device is ever opened.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Sequence
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple

from thermos.formats import paths

if TYPE_CHECKING:
    from observer_static.facts import TaskFacts

_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Without O_NONBLOCK, a lease that the file's owner has taken (fcntl(2)) would hold us up for 45 s.
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
#: A path deeper than this is nobody's log.
_MAX_PARTS: Final = 128
#: More directories than this above a sandbox are not walked up.
_MAX_ABOVE: Final = 4096

_KINDS: Final = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_WORDS: Final = {
    "directory": "a directory, not a file",
    "link": "a link, which is not followed",
    "fifo": "a FIFO, not a file",
    "socket": "a socket, not a file",
    "device": "a device, not a file",
}


class NotShown(Exception):
    """It is not opened; the text says why, in words that follow "it is"."""

    def __init__(self, reason: str, is_gone: bool = False) -> None:
        super().__init__(reason)
        #: There is nothing of that name.
        self.is_gone = is_gone


class Claim(NamedTuple):
    """Who says where a task's files lie, and whose they are."""

    #: Uid of the author of the checkpoint that says it; None: it cannot be told, and is not believed.
    by: int | None
    #: The task's user as the header says it.
    user: str | None = None


def claim_of(facts: TaskFacts) -> Claim:
    """Who vouches for the header of that task: the author of the very file it was read from."""
    header = facts.state.header
    return Claim(facts.author_uid, header.user if header is not None else None)


def own_claim() -> Claim:
    """The claim of a caller who vouches for the path himself."""
    return Claim(os.geteuid())


def kind_of(mode: int) -> str:
    """``file``, ``directory``, ``link``, ``fifo``, ``socket`` or ``device``."""
    return _KINDS.get(stat.S_IFMT(mode), "device")


def parts_of(relative: str) -> tuple[str, ...]:
    """The names that *relative* is made of. Raises NotShown for what does not simply lead down."""
    if relative == "":
        return ()
    parts = tuple(relative.split("/"))
    if len(parts) > _MAX_PARTS:
        raise NotShown("too deep")
    for part in parts:
        check_name(part)
    return parts


@lru_cache(512)
def check_name(name: str) -> str:
    """*name*, if it can be the name of a file. Raises NotShown."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise NotShown("under a name that no file can have")
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:
        raise NotShown("under a name that no file can have") from None
    if size > paths.NAME_MAX_BYTES:
        raise NotShown("under a name longer than a file's can be")
    return name


def below(path: str, directory: str) -> str | None:
    """*path* as seen from *directory*, by its text alone; None: it does not lie below it."""
    start = directory.rstrip("/") + "/"
    if not directory or not path.startswith(start):
        return None
    relative = path[len(start) :].rstrip("/")
    try:
        return relative if parts_of(relative) else None
    except NotShown:
        return None


@lru_cache(256)
def _uid_of(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        return int(user) if user.isascii() and user.isdigit() and len(user) < 10 else None


class Place:
    """A directory that a record names, held open, and the rights with which is read below it."""

    def __init__(self, fd: int, uid: int | None) -> None:
        self.fd = fd
        #: The task's user; None: whatever the kernel lets us read may be read.
        self.uid = uid

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def may_enter(self, info: os.stat_result) -> bool:
        """Whether the task's user could reach what is in that directory."""
        return self.uid is None or self.uid in (0, info.st_uid) or bool(info.st_mode & stat.S_IXOTH)

    def may_list(self, info: os.stat_result) -> bool:
        """Whether he could see the names in that directory, and reach what is there."""
        wanted = stat.S_IXOTH | stat.S_IROTH
        return self.uid is None or self.uid in (0, info.st_uid) or info.st_mode & wanted == wanted

    def may_read(self, info: os.stat_result) -> bool:
        """Whether that is a regular file that he could read, and no stranger's under a second name."""
        if not stat.S_ISREG(info.st_mode):
            return False
        if self.uid is None or self.uid == info.st_uid:
            return True
        return info.st_nlink == 1 and (self.uid == 0 or bool(info.st_mode & stat.S_IROTH))

    def open_dir(self, parts: Sequence[str]) -> int:
        """A descriptor of the directory that *parts* lead to, none of them a link. Raises NotShown."""
        return _walk(self, self.fd, parts)

    def open_file(self, parts: Sequence[str]) -> int:
        """A descriptor to read the regular file that *parts* lead to. Raises NotShown."""
        if not parts:
            raise NotShown(_WORDS["directory"])
        dir_fd = self.open_dir(parts[:-1])
        try:
            return self.open_in(dir_fd, parts[-1])
        finally:
            os.close(dir_fd)

    def open_in(self, dir_fd: int, name: str) -> int:
        """A descriptor to read the regular file *name* of the directory *dir_fd*, one of ours. Raises NotShown."""
        look = _open(check_name(name), _LOOK, dir_fd)
        try:
            info = os.fstat(look)
            if not stat.S_ISREG(info.st_mode):
                raise NotShown(_WORDS[kind_of(info.st_mode)])
            if not self.may_read(info):
                if info.st_nlink > 1:
                    raise NotShown(f"a hard link to a file of uid {info.st_uid}")
                raise NotShown(f"a file of uid {info.st_uid} that the task's user may not read")
            # The very file that was looked at: its name may lead elsewhere by now.
            return _open(f"/proc/self/fd/{look}", _READ, None)
        finally:
            os.close(look)


def _walk(place: Place, start: int, parts: Sequence[str]) -> int:
    fd = os.dup(start)
    try:
        for part in parts:
            next_fd = _open(check_name(part), _DIRECTORY, fd)
            os.close(fd)
            fd = next_fd
            if not place.may_enter(os.fstat(fd)):
                raise NotShown("in a directory that the task's user may not enter")
        return fd
    except NotShown:
        os.close(fd)
        raise


def _open(path: str, flags: int, dir_fd: int | None) -> int:
    try:
        return os.open(path, flags, dir_fd=dir_fd)
    except FileNotFoundError:
        raise NotShown("not there", is_gone=True) from None
    except NotADirectoryError:
        raise NotShown("not below a directory, or a link that is not followed") from None
    except BlockingIOError:
        raise NotShown("leased by a program that has it open (fcntl F_SETLEASE)") from None
    except OSError as error:
        raise NotShown(f"not readable: {error.strerror}") from None
    except ValueError:  # a NUL
        raise NotShown("under a name that no file can have") from None


def open_place(path: str, claim: Claim, owner_uid: int | None = None) -> Place:
    """The directory *path*, whose last part is no link, opened as the rule above says. Raises NotShown.

    *owner_uid*: who owns the sandbox, where that is not *path* itself.
    """
    if not path.startswith("/") or ".." in path.split("/"):
        raise NotShown("under a path that is not absolute and plain")
    fd = _open(path.rstrip("/") or "/", _DIRECTORY, None)
    try:
        info = os.fstat(fd)
        us = os.geteuid()
        if claim.by is not None and claim.by in (0, us):
            return Place(fd, _user(claim, us, info.st_uid if owner_uid is None else owner_uid))
        # -1 owns nothing: an author that cannot be told sees what everybody may see.
        place = Place(fd, -1 if claim.by is None else claim.by)
        if not _is_reachable(place, fd):
            raise NotShown("a directory that the author of the checkpoint may not enter")
        return place
    except (NotShown, OSError) as error:
        os.close(fd)
        if isinstance(error, NotShown):
            raise
        raise NotShown(f"not readable: {error.strerror}") from None


def _user(claim: Claim, us: int, owner_uid: int) -> int | None:
    if us != 0 and claim.by == us:
        return None
    named = _uid_of(claim.user) if claim.user else None
    return named or owner_uid


def _is_reachable(place: Place, start: int) -> bool:
    """Whether the place's user could come from the root to the directory *start* by where it really lies."""
    fd = os.dup(start)
    try:
        for _ in range(_MAX_ABOVE):
            info = os.fstat(fd)
            if not place.may_enter(info):
                return False
            above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = above
            upper = os.fstat(fd)
            if (upper.st_dev, upper.st_ino) == (info.st_dev, info.st_ino):
                return True
        return False
    finally:
        os.close(fd)
