"""What is executed for a process, as whom, and with which environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from thermos.errors import NotPermitted, UnknownUser
from thermos.formats.paths import PROFILE_NAME

BASH: Final = "/bin/bash"
#: Names the task and the process in the environment of all that a task starts; how strays are found.
COOKIE_NAME: Final = "THERMOS_COOKIE"


@dataclass(frozen=True)
class User:
    """A user of this host, with all that is needed to become it."""

    name: str
    uid: int
    gid: int
    home: str
    groups: tuple[int, ...] = field(default=())


def current_user() -> User:
    """The user this program runs as; a uid without a name gets one made of its number."""
    import pwd

    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return User(str(uid), uid, os.getegid(), os.environ.get("HOME", "/"), tuple(os.getgroups()))
    return User(entry.pw_name, uid, os.getegid(), entry.pw_dir, tuple(os.getgroups()))


def find_user(name: str | None) -> User:
    """The user called *name*; None: the current one. Raises UnknownUser, NotPermitted."""
    me = current_user()
    if name is None or name == me.name:
        return me
    import pwd

    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise UnknownUser(f"there is no user {name!r} on this host; create it, or name another one to run as") from None
    if me.uid != 0:
        raise NotPermitted(f"only root can run a task as another user: this is {me.name!r}, asked for was {name!r}")
    groups = os.getgrouplist(name, entry.pw_gid)
    return User(name, entry.pw_uid, entry.pw_gid, entry.pw_dir, tuple(groups))


def environment(
    user: User,
    home: str,
    cookie: str,
    preserved: Mapping[str, str] | None,
    path: str | None,
    profile: str | None,
) -> dict[str, str]:
    """The environment of a process: as Aurora's (§ environment of ``thermos/core/process.py``), and our cookie."""
    result = dict(preserved) if preserved is not None else {}
    result.update(HOME=home, LOGNAME=user.name, USER=user.name)
    if path is not None:
        result["PATH"] = path
    if profile is not None:
        result["BASH_ENV"] = profile
    result[COOKIE_NAME] = cookie
    return result


def profile_path(sandbox_fd: int, seen_as: str) -> str | None:
    """Path of the profile that bash reads first, as the process sees it; None if there is none now."""
    try:
        os.stat(PROFILE_NAME, dir_fd=sandbox_fd)
    except OSError:
        return None
    return f"{seen_as.rstrip('/')}/{PROFILE_NAME}"


def shell_argv(cmdline: str) -> list[str]:
    """The words that run *cmdline*."""
    return [BASH, "-c", cmdline]
