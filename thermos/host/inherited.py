"""What whoever started this program left it: descriptors that are closed or open, signals that are ignored."""

from __future__ import annotations

import os
import signal


def settle() -> None:
    """Make the first three descriptors sure to be open, and all others sure to end at the next exec.

    With one of the first three closed, the next file to be opened takes its number: a checkpoint would be the
    stdout of processes. What else is open here is nobody's business below. Ended children must become zombies,
    or nobody could wait for them: SIGCHLD may be inherited as ignored.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number: this one
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                pass  # the one that the directory was read through
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def ignored_signals() -> tuple[int, ...]:
    """The signals that are ignored now, by us, by Python or by whoever started us: a child would inherit that."""
    return tuple(signum for signum in range(1, signal.NSIG) if _is_ignored(signum))


def _is_ignored(signum: int) -> bool:
    try:
        return signal.getsignal(signum) is signal.SIG_IGN
    except ValueError:
        return False
