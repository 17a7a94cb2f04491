"""Stopping a process at each of its system calls, through ptrace: enough of it to kill one at a chosen point.

Architecture-neutral: what a stop is about comes from PTRACE_GET_SYSCALL_INFO (Linux 5.3). Only the numbers of
system calls differ; those that matter here are listed for x86-64 and for the generic table (aarch64, riscv64).
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from typing import Final, NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

# linux/ptrace.h
_CONT: Final = 7
_SYSCALL: Final = 24
_DETACH: Final = 17
_SETOPTIONS: Final = 0x4200
_GETEVENTMSG: Final = 0x4201
_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_LISTEN: Final = 0x4208
_GET_SYSCALL_INFO: Final = 0x420E
_O_TRACESYSGOOD: Final = 0x1
_O_TRACEFORK: Final = 0x2
_O_EXITKILL: Final = 0x100000
_EVENT_FORK: Final = 1
_EVENT_STOP: Final = 128
_OP_ENTRY: Final = 1
_OP_EXIT: Final = 2
_WALL: Final = 0x40000000
#: struct ptrace_syscall_info: op, arch, instruction and stack pointer; then, at an entry, number and arguments.
_INFO: Final = struct.Struct("=B3xIQQ")
_ENTRY: Final = struct.Struct("=Q6Q")

#: Calls after which a death changes nothing that another process could see, so that no kill is tried there: they
#: touch only the caller's own memory, its view of time, its own signal handlers and mask, or tell it who it is.
_UNSEEN: Final = {
    "x86_64": {
        "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14,
        "rt_sigreturn": 15, "mremap": 25, "madvise": 28, "getpid": 39, "gettimeofday": 96, "getuid": 102,
        "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110, "getgroups": 115, "sigaltstack": 131,
        "arch_prctl": 158, "gettid": 186, "futex": 202, "set_tid_address": 218, "clock_gettime": 228,
        "set_robust_list": 273, "getrandom": 318, "rseq": 334,
    },
    "generic": {
        "mmap": 222, "mprotect": 226, "munmap": 215, "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135,
        "rt_sigreturn": 139, "mremap": 216, "madvise": 233, "getpid": 172, "gettimeofday": 169, "getuid": 174,
        "getgid": 176, "geteuid": 175, "getegid": 177, "getppid": 173, "getgroups": 158, "sigaltstack": 132,
        "gettid": 178, "futex": 98, "set_tid_address": 96, "clock_gettime": 113, "set_robust_list": 99,
        "getrandom": 278, "rseq": 293,
    },
}  # fmt: skip
_TABLE: Final = "x86_64" if os.uname().machine == "x86_64" else "generic"
UNSEEN: Final = frozenset(_UNSEEN[_TABLE].values())
#: Waiting for something to happen.
EPOLL_WAIT: Final = frozenset({232, 281}) if _TABLE == "x86_64" else frozenset({22})

#: Making a stream durable.
FDATASYNC: Final = frozenset({75}) if _TABLE == "x86_64" else frozenset({83})


class Stop(NamedTuple):
    """A system call that has returned (``result``), or is about to begin (``result`` None)."""

    number: int
    result: int | None


class TraceRefused(Exception):
    """This host does not let us trace a child of ours."""


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    result = int(_libc.ptrace(request, pid, address, data))
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    return result


def _options(stop_at_fork: bool) -> int:
    return _O_TRACESYSGOOD | _O_EXITKILL | (_O_TRACEFORK if stop_at_fork else 0)


class Tracee:
    """A process that stops at its system calls. What it forks runs free."""

    def __init__(self, pid: int) -> None:
        """*pid* is traced by us already, and stopped."""
        self.pid = pid
        #: The wait status, once it has ended.
        self.ended: int | None = None
        self._number = -1
        self._arguments: list[int] = []

    @classmethod
    def start(cls, argv: list[str], stderr_path: str, *, stop_at_fork: bool = False) -> Tracee:
        """Start *argv*, traced; what it prints goes to *stderr_path*. Raises TraceRefused."""
        gate_read, gate_write = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, [])
                output = os.open(stderr_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(output, 1)
                os.dup2(output, 2)
                os.close(gate_write)
                os.read(gate_read, 1)
                os.closerange(3, 64)
                os.execv(argv[0], argv)
            finally:
                os._exit(127)
        os.close(gate_read)
        try:
            _ptrace(_SEIZE, pid, 0, _options(stop_at_fork))
            _ptrace(_INTERRUPT, pid)
            os.waitpid(pid, _WALL)
            os.write(gate_write, b"g")
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TraceRefused(f"ptrace: {error.strerror}") from None
        finally:
            os.close(gate_write)
        return cls(pid)

    def next(self) -> Stop | None:
        """Let it run to its next stop; None: it has ended."""
        request, signum = _SYSCALL, 0
        while True:
            event, stop = self._resume(request, signum)
            request, signum = _SYSCALL, 0
            if event is None:
                return None
            if stop == signal.SIGTRAP | 0x80:
                found = self._syscall()
                if found is not None:
                    return found
            elif event == _EVENT_STOP:
                # A group stop (SIGSTOP and its like) stays in force until SIGCONT.
                request = _LISTEN if stop in (signal.SIGSTOP, signal.SIGTSTP) else _SYSCALL
            elif event == 0:
                signum = stop

    def next_fork(self, *, stop_at_fork: bool = False) -> Tracee | None:
        """Let it run until it forks, and then go: the child, stopped and traced. None: it has ended.

        It must have been started so as to stop at forks; *stop_at_fork*: so will the child.
        """
        signum = 0
        while True:
            event, stop = self._resume(_CONT, signum)
            if event is None:
                return None
            signum = stop if event == 0 else 0
            if event == _EVENT_FORK:
                child = ctypes.c_ulong()
                _ptrace(_GETEVENTMSG, self.pid, 0, ctypes.addressof(child))
                os.waitpid(child.value, _WALL)
                _ptrace(_SETOPTIONS, child.value, 0, _options(stop_at_fork))  # else those of its parent
                _ptrace(_DETACH, self.pid)
                return Tracee(child.value)

    def text_at(self, argument: int) -> bytes:
        """What *argument* of the call just entered points to, up to a NUL; empty if it points nowhere."""
        try:
            with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
                return os.pread(memory.fileno(), 256, self._arguments[argument]).split(b"\0", 1)[0]
        except (OSError, OverflowError):
            return b""

    def detach(self) -> None:
        """Let it go on by itself."""
        _ptrace(_DETACH, self.pid)

    def kill(self) -> None:
        """SIGKILL it, and return when it is dead."""
        if self.ended is not None:
            return
        os.kill(self.pid, signal.SIGKILL)
        while self.ended is None:
            _, status = os.waitpid(self.pid, _WALL)
            if not os.WIFSTOPPED(status):
                self.ended = status

    def _resume(self, request: int, signum: int) -> tuple[int | None, int]:
        """(event, stop signal) of the next stop; event None: it has ended."""
        try:
            _ptrace(request, self.pid, 0, signum)
        except ProcessLookupError:
            pass  # it was killed while it was stopped: waitpid tells
        _, status = os.waitpid(self.pid, _WALL)
        if not os.WIFSTOPPED(status):
            self.ended = status
            return None, 0
        return status >> 16, os.WSTOPSIG(status)

    def _syscall(self) -> Stop | None:
        buffer = ctypes.create_string_buffer(128)
        _ptrace(_GET_SYSCALL_INFO, self.pid, len(buffer), ctypes.addressof(buffer))
        op = _INFO.unpack_from(buffer.raw)[0]
        if op == _OP_ENTRY:
            self._number, *self._arguments = _ENTRY.unpack_from(buffer.raw, _INFO.size)
            return Stop(self._number, None)
        if op == _OP_EXIT:
            return Stop(self._number, struct.unpack_from("=q", buffer.raw, _INFO.size)[0])
        return None
