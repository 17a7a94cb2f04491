"""How a runner comes to life: as a Python without site packages and without environment variables of Python.

That halves its memory, and that of every coordinator it forks (``-S -E``). ``thermos_runner`` starts as a
console script does and becomes this; the executor and ``thermos run`` start it so at once.
"""

from __future__ import annotations

import os
import sys


def argv(arguments: list[str]) -> list[str]:
    """The words that start a runner with *arguments*."""
    return [sys.executable, "-S", "-E", os.path.abspath(__file__), *arguments]


def console() -> None:
    """Become a runner. Never returns."""
    words = argv(sys.argv[1:])
    os.execv(words[0], words)


if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from thermos.runner.main import main

    sys.exit(main(sys.argv[1:]))
