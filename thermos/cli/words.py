"""How a run ended, in words."""

from __future__ import annotations

import signal
from typing import Final

from thermos.cli.show import duration, size
from thermos.core.explain import Ending, EndKind
from thermos.records import DeathCertificate
from thermos.states import ProcessState

#: What a signal that ended a program usually means.
_SIGNALS: Final = {
    "SIGHUP": "its terminal or session went away",
    "SIGINT": "somebody pressed Ctrl-C",
    "SIGQUIT": "somebody pressed Ctrl-\\",
    "SIGILL": "it met an instruction this processor does not have",
    "SIGABRT": "it gave up by itself: an assertion failed, or memory was corrupt",
    "SIGBUS": "it used memory that is not there: a mapped file was cut, or the disk failed",
    "SIGFPE": "it divided by zero or the like",
    "SIGKILL": "somebody killed it, or the kernel did when memory ran out",
    "SIGSEGV": "it used memory that is not its own: a fault of the program",
    "SIGPIPE": "it wrote to somebody who does not read any more",
    "SIGALRM": "a timer of its own ran out",
    "SIGTERM": "it was asked to end",
    "SIGXCPU": "its limit of processor time was used up",
    "SIGXFSZ": "it wrote a file larger than its limit",
    "SIGSYS": "it made a system call that is forbidden here",
}


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; ``signal 99`` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _because(number: int) -> str:
    meaning = _SIGNALS.get(signal_name(number))
    return f": {meaning}" if meaning is not None else ""


def how_it_ended(ending: Ending, state: ProcessState, reason: str | None = None) -> str:
    """One phrase: the code or signal, and what that usually means."""
    text = _how(ending, state)
    return f"{text} ({reason})" if reason else text


def _how(ending: Ending, state: ProcessState) -> str:
    code, number = ending.code, ending.signal
    match ending.kind:
        case EndKind.SUCCESS:
            return "ended well"
        case EndKind.OUT_OF_MEMORY:
            return f"killed by the kernel: memory ran out{_with_code(code)}"
        case EndKind.LOST:
            return "lost: nobody saw how it ended"
        case EndKind.NEVER_BEGAN:
            return "could not be started"
        case EndKind.NOT_EXECUTABLE:
            return f"exit code {code}: the command was found but could not be executed"
        case EndKind.NOT_FOUND:
            return f"exit code {code}: the shell did not find a command"
        case EndKind.SIGNAL:
            assert number is not None
            if state is ProcessState.KILLED:
                return f"killed with {signal_name(number)}" if number > 1 else "killed"
            return f"ended by {signal_name(number)}{_because(number)}"
        case EndKind.CHILD_SIGNAL:
            assert number is not None
            return f"exit code {code}: a command of it was ended by {signal_name(number)}{_because(number)}"
        case EndKind.CODE:
            return f"exit code {code}"
        case EndKind.UNKNOWN:
            return f"{state.name}; how is not recorded"


def _with_code(code: int | None) -> str:
    return f" (exit code {code})" if code is not None and code >= 0 else ""


def usage(certificate: DeathCertificate | None) -> str:
    """What the run used, as far as is known; empty if nothing is."""
    if certificate is None:
        return ""
    parts = []
    if certificate.run_s is not None:
        parts.append(f"ran {duration(certificate.run_s)}")
    if certificate.user_cpu_s is not None and certificate.system_cpu_s is not None:
        parts.append(f"used {duration(certificate.user_cpu_s + certificate.system_cpu_s)} of processor")
    if certificate.peak_rss_bytes is not None:
        parts.append(f"{size(certificate.peak_rss_bytes)} of memory at most")
    if certificate.core_dumped:
        parts.append("left a core")
    if certificate.killed_by:
        parts.append(f"killed by {certificate.killed_by}")
    return ", ".join(parts)
