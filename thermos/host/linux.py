"""System calls that Python's os module lacks, through ctypes; nothing is decided here.

Numbers are those of x86-64 and aarch64's generic table where they agree (all of 2019 and later do).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from typing import Final

from thermos.errors import UnsupportedSystem

_libc = ctypes.CDLL(None, use_errno=True)
#: For the calls of a coordinator, whose every page is its own: no errno to swap, arguments made before the fork.
_lean = ctypes.CDLL(None)

PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15  # linux/prctl.h
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
FALLOC_FL_KEEP_SIZE: Final = 0x01  # linux/falloc.h
SFD_NONBLOCK: Final = os.O_NONBLOCK
SFD_CLOEXEC: Final = os.O_CLOEXEC
_SYS_OPENAT2: Final = 437  # the same on every architecture
RESOLVE_NO_MAGICLINKS: Final = 0x02  # linux/openat2.h
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
_OPEN_HOW: Final = struct.Struct("QQQ")  # struct open_how: flags, mode, resolve
#: struct signalfd_siginfo: signo, errno, code, pid, uid; 128 bytes in all.
_SIGINFO: Final = struct.Struct("IiiII108x")

#: pidfd_open came with 5.3, waiting for one and openat2 with 5.6.
LEAST_KERNEL: Final = (5, 6)


def _check(result: int, what: str) -> int:
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")
    return result


def require_kernel() -> None:
    """Nothing, on a Linux that is new enough. Raises UnsupportedSystem."""
    name = os.uname()
    release = name.release
    numbers = []
    for part in release.split(".")[:2]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]  # of "6-rc1", "10+"
        numbers.append(int(digits) if digits else 0)
    if name.sysname != "Linux" or tuple(numbers) < LEAST_KERNEL:
        wanted = ".".join(map(str, LEAST_KERNEL))
        raise UnsupportedSystem(f"this system is {name.sysname} {release}; Linux {wanted} or later is needed")


def become_subreaper() -> None:
    """Orphans below this process become its children, not init's. Raises OSError."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


_SUBREAPER_ARGUMENTS: Final = tuple(ctypes.c_long(number) for number in (PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
_NAME: Final = ctypes.create_string_buffer(b"thermos-coord")
_NAME_ARGUMENTS: Final = (ctypes.c_long(PR_SET_NAME), _NAME, *_SUBREAPER_ARGUMENTS[2:])
_prctl = _lean.prctl


def become_coordinator() -> None:
    """Be named ``thermos-coord``, and the sub-reaper of what is below; cheaply, it cannot fail here."""
    _prctl(*_NAME_ARGUMENTS)
    _prctl(*_SUBREAPER_ARGUMENTS)


def die_with_parent() -> None:
    """Have the kernel send us SIGKILL when our parent dies; stays so after exec, unless that changes the user."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def forbid_new_privileges() -> None:
    """No program that this process or its children start gains rights any more. Raises OSError."""
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def set_name(name: str) -> None:
    """Name this process in ps and top; 15 bytes are kept."""
    _libc.prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def reserve(fd: int, offset: int, length: int) -> bool:
    """Whether *length* bytes behind *offset* are now sure to have room; the file does not grow.

    False where the file system cannot do it. Raises OSError: no room.
    """
    result = _libc.fallocate(fd, FALLOC_FL_KEEP_SIZE, ctypes.c_long(offset), ctypes.c_long(length))
    if result < 0:
        errno = ctypes.get_errno()
        if errno in (95, 38):  # EOPNOTSUPP, ENOSYS
            return False
        raise OSError(errno, f"fallocate: {os.strerror(errno)}")
    return True


def signal_fd(signals: Iterable[int]) -> int:
    """A descriptor on which *signals*, which the caller blocks, can be read. Raises OSError."""
    mask = 0
    for signum in signals:
        mask |= 1 << (signum - 1)
    raw = ctypes.c_uint64(mask)
    # The C library's sigset_t is larger than the kernel's; signalfd() reads as much as it needs.
    buffer = ctypes.create_string_buffer(128)
    ctypes.memmove(buffer, ctypes.byref(raw), 8)
    return _check(_libc.signalfd(-1, buffer, SFD_NONBLOCK | SFD_CLOEXEC), "signalfd")


def read_signals(fd: int) -> list[tuple[int, int, int]]:
    """(signal, sender's pid, sender's uid) of each signal that has arrived; pid 0: the kernel."""
    try:
        data = os.read(fd, _SIGINFO.size * 64)
    except BlockingIOError:
        return []
    return [(signo, pid, uid) for signo, _, _, pid, uid in _SIGINFO.iter_unpack(data)]


def filesystem_type(fd: int) -> int:
    """``f_type`` of the file system in which *fd* lies; what the numbers mean, statfs(2) says. Raises OSError."""
    buffer = ctypes.create_string_buffer(256)  # struct statfs is 120 bytes; its first word is the type
    _check(_libc.fstatfs(fd, buffer), "fstatfs")
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFFFFFF


def openat2(dir_fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
    """A descriptor of *path* below *dir_fd*, resolved as *resolve* allows. Raises OSError."""
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path)
    result = _libc.syscall(
        ctypes.c_long(_SYS_OPENAT2),
        ctypes.c_int(dir_fd),
        ctypes.c_char_p(name),
        how,
        ctypes.c_size_t(len(how)),
    )
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), path)
    return int(result)
