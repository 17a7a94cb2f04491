"""How a runner comes to life: as a Python without site packages and without environment variables of Python.

That halves its memory, and that of every coordinator it forks (``-S -E``). ``thermos_runner`` starts as a
console script does and becomes this; the executor and ``thermos run`` start it so at once.
"""

from __future__ import annotations

import os
import sys
from signal import SIG_BLOCK, SIGUSR1, SIGUSR2, pthread_sigmask

#: Signals that end a task, and that nothing else of a starting program wants to hear.
HELD_SIGNALS = (SIGUSR1, SIGUSR2)


def argv(arguments: list[str]) -> list[str]:
    """The words that start a runner with *arguments*."""
    return [sys.executable, "-S", "-E", os.path.abspath(__file__), *arguments]


def hold_signals() -> None:
    """Let the signals that end a task wait until the runner reads them.

    One that comes while it loads would end the runner, and not the task, without a word. What the runner starts has no
    signal blocked.
    """
    pthread_sigmask(SIG_BLOCK, HELD_SIGNALS)


def console() -> None:
    """Become a runner. Never returns."""
    hold_signals()
    words = argv(sys.argv[1:])
    os.execv(words[0], words)


if __name__ == "__main__":
    hold_signals()
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from thermos.lean import stand_in_for_inspect

    stand_in_for_inspect()
    from thermos.runner.main import main

    sys.exit(main(sys.argv[1:]))
