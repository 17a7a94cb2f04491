"""Does something in a child that has become another user for good, and hands back its result."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from thermos.errors import ExitCode, Internal, ThermosError
from thermos.host.linux import die_with_parent, forbid_new_privileges

#: What a child may report; more is none of ours.
_MAX_REPORT_BYTES: Final = 64 << 10


def run_as(
    owner: tuple[int, int], work: Callable[[], Sequence[int]], keep_fds: Sequence[int], timeout_s: float
) -> list[int]:
    """The numbers that *work* returns, done in a child that is *owner* (uid, gid), with no other groups.

    The child keeps only *keep_fds* and the standard streams, and is killed after *timeout_s*. Raises OSError, the
    child's or ETIMEDOUT, and Internal for what else went wrong in it.
    """
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(ours)
        _be_child(owner, work, keep_fds, theirs)
    os.close(theirs)
    try:
        report = _read_all(ours, time.monotonic() + timeout_s)
        if report is None:
            os.kill(child, signal.SIGKILL)  # unreaped, so it is no stranger
    finally:
        os.close(ours)
        _reap(child)
    if report is None:
        raise OSError(errno.ETIMEDOUT, f"writing pages as uid {owner[0]} took longer than {timeout_s:g} s")
    try:
        told = json.loads(report)
    except ValueError:
        raise Internal(f"the writer of pages as uid {owner[0]} ended without a report") from None
    if "numbers" in told:
        return [int(number) for number in told["numbers"]]
    if told["errno"] is not None:
        raise OSError(told["errno"], told["text"])
    if told["exit_code"] is not None:
        error = ThermosError(told["text"])
        error.exit_code = next(code for code in ExitCode if code == told["exit_code"])
        raise error
    raise Internal(told["text"])


def _read_all(fd: int, deadline_s: float) -> bytes | None:
    """What comes through the pipe until its other end is closed; None: not before the deadline."""
    data = b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while len(data) <= _MAX_REPORT_BYTES:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            return None
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            return data
        data += chunk
    return None


def _reap(child: int) -> None:
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # the caller has told the kernel to reap its children


def _be_child(
    owner: tuple[int, int], work: Callable[[], Sequence[int]], keep_fds: Sequence[int], report_fd: int
) -> NoReturn:
    """Never returns, whatever happens: the parent's stack lies above."""
    told: dict[str, object]
    try:
        _forget_parent({0, 1, 2, report_fd, *keep_fds})
        become(owner)
        told = {"numbers": list(work())}
    except OSError as error:
        told = {"errno": error.errno or errno.EIO, "text": error.strerror or str(error)}
        if error.filename is not None:
            told["text"] = f"{error.filename}: {told['text']}"
    except ThermosError as error:
        told = {"errno": None, "exit_code": int(error.exit_code), "text": str(error)}
    except BaseException as error:  # noqa: BLE001 - becomes the parent's error
        told = {"errno": None, "exit_code": None, "text": f"{type(error).__name__}: {error}"}
    try:
        os.write(report_fd, json.dumps(told).encode()[:_MAX_REPORT_BYTES])
    finally:
        os._exit(0)


def _forget_parent(keep: set[int]) -> None:
    """Have none of its signal handlers and no descriptor but *keep*."""
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    low = 0
    for fd in sorted(keep):
        if low < fd:  # closerange(0, 0) closes everything
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def become(owner: tuple[int, int]) -> None:
    """Be *owner* (uid, gid) in every respect, and never more again. Raises OSError."""
    uid, gid = owner
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid) or os.getgroups():
        raise OSError(errno.EPERM, f"could not become uid {uid}")
    forbid_new_privileges()
    die_with_parent()  # the change of user has undone it, if it was asked for before
