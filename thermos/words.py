"""How tasks and processes are, how they ended and what they wait for, in words.

The command line and the pages say the same. What comes from records is as it was found: whoever shows it makes it safe.
"""

from __future__ import annotations

import signal
import time
from typing import Final

from thermos.core.explain import Ending, EndKind, Explanation, ProcessView, Stage
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


def duration(seconds: float | None) -> str:
    """A span of time in its two largest units; ``-`` for none."""
    if seconds is None or seconds != seconds or seconds in (float("inf"), float("-inf")):
        return "-"
    if seconds < 0:
        return "-" + duration(-seconds)
    if 0 < seconds < 1:
        return f"{max(round(seconds * 1000), 1)} ms"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    for unit, size, lower, lower_size in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            rest = whole % size // lower_size
            return f"{whole // size} {unit}" + (f" {rest} {lower}" if rest else "")
    return f"{whole} s"


def size(count: int | None) -> str:
    """A number of bytes in the largest binary unit that leaves a whole part; ``-`` for none."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("the last unit returns")


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


class Clock:
    """Moments in words: as seen from *now_s*, or, without one, as they stand on a page that will be read later."""

    def __init__(self, now_s: float | None = None) -> None:
        self._now_s = now_s

    def ended(self, at_s: float) -> str:
        """``5 s ago (Thu Jan  1 …)``, or ``at 1970-01-01 …``."""
        if self._now_s is None:
            return f"at {moment(at_s)}"
        return f"{self.ago(at_s)} ({local(at_s)})"

    def ago(self, at_s: float) -> str:
        """``5 s ago``, or the moment itself."""
        if self._now_s is None:
            return moment(at_s)
        return f"{duration(max(self._now_s - at_s, 0.0))} ago"

    def since(self, at_s: float) -> str:
        """``since 5 s``, or the moment."""
        return f"since {moment(at_s) if self._now_s is None else duration(self._now_s - at_s)}"

    def lasting(self, since_s: float | None) -> str:
        """``for 5 s``, or the moment since when."""
        if since_s is None:
            return "for a moment"
        return f"since {moment(since_s)}" if self._now_s is None else f"for {duration(self._now_s - since_s)}"

    def coming(self, at_s: float) -> str | None:
        """``in 5 s``, or the moment; None: it is past."""
        if self._now_s is None:
            return f"at {moment(at_s)}"
        left_s = at_s - self._now_s
        return f"in {duration(left_s)}" if left_s > 0 else None


def moment(at_s: float) -> str:
    """``1970-01-01 00:00:00 UTC``; an absurd time is said to be unknown."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_s))
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def local(at_s: float | None, absent: str = "None") -> str:
    """Local time in the form of C's asctime, which scripts expect; *absent* for none or an absurd one."""
    if not at_s:
        return absent
    try:
        return time.asctime(time.localtime(at_s))
    except (ValueError, OverflowError, OSError):
        return absent


def task_words(why: Explanation, launched_at_s: float | None, clock: Clock) -> str:
    """How the task is, to follow its name: ``ended FAILED …`` or ``is ACTIVE …``; the state comes first."""
    if why.state is None or why.since_s is None:
        return "nothing readable is recorded of it."
    reason = f": {why.reason}" if why.reason else ""
    if why.state.is_terminal:
        length = why.since_s - launched_at_s if launched_at_s is not None else None
        return f"ended {why.state.name} {clock.ended(why.since_s)}, after {duration(length)}{reason}."
    text = f"is {why.state.name} {clock.since(why.since_s)}{reason}."
    if why.forced_end is not None:
        text += f" It is to end {why.forced_end.name}."
    if why.deadline_s is not None:
        when = clock.coming(why.deadline_s)
        text += f" What is left is killed {when}." if when is not None else " Its time is up."
    return text


def runner_words(pid: int | None, lives: bool | None) -> str:
    """Whether the runner of a task that is under way lives, and what it means if not."""
    if lives:
        return f"Its runner, pid {pid}, lives."
    if lives is None:
        return "Whether its runner lives cannot be told."
    return f"Its runner, pid {pid}, is DEAD: its processes go on, but nobody records or restarts them."


#: Names told one by one; the rest is counted.
_MOST_NAMES: Final = 5


def some_names(names: tuple[str, ...]) -> str:
    """The first few of *names*, and how many more there are."""
    shown = ", ".join(names[:_MOST_NAMES])
    return shown + (f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else "")


def process_words(view: ProcessView, clock: Clock) -> str:
    """What a process does, what it waits for, or how it ended; to follow its name."""
    tries = f", run {view.run}" if view.run else ""
    most = f" of {view.max_failures}" if view.max_failures else ""
    failed = f" (failure {view.failures}{most})" if view.failures else ""
    last = ""
    if view.ending is not None and view.state is not None:
        last = how_it_ended(view.ending, view.state, view.reason)
    match view.stage:
        case Stage.RUNNING | Stage.STARTING | Stage.STOPPING:
            word = {
                Stage.RUNNING: "runs",
                Stage.STARTING: "is being started",
                Stage.STOPPING: "was asked to end, and still runs",
            }[view.stage]
            return f"{word}, {clock.lasting(view.start_time_s)}, pid {view.pid}{tries}{failed}"
        case Stage.BLOCKED:
            return f"waits for {some_names(view.waits_for)}"
        case Stage.NOT_RUN:
            return f"was not run: it waited for {some_names(view.waits_for)}" if view.waits_for else "was not run"
        case Stage.QUEUED:
            return "is ready, and waits for one that runs to end (max_concurrency)"
        case Stage.THROTTLED:
            due = "soon" if view.due_at_s is None else clock.coming(view.due_at_s) or "now"
            return f"runs again {due}; last time: {last}{tries}{failed}"
        case Stage.FAILED:
            return f"failed for good: {last}{tries}{failed}"
        case Stage.AT_THE_END:
            return "runs when the task ends"
        case Stage.FINISHED:
            return "finished"
        case Stage.ENDED:
            return f"{last}{tries}{failed}"
