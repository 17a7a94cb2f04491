"""What a command touches besides files and the scheduler: time, environment, browser, other programs.

All of it is handed in, so that tests need neither time nor a browser.
"""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


def _run(command: Sequence[str]) -> int:
    """Run *command* with our own stdin, stdout and stderr; its exit code, as a shell counts."""
    code = subprocess.run(command).returncode
    return code if code >= 0 else 128 - code


def _capture(command: Sequence[str]) -> tuple[int, str]:
    """Run *command* without input; its exit code, and what it printed to stdout and stderr."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="backslashreplace"
    )
    return done.returncode, done.stdout


@dataclass(frozen=True)
class World:
    """The real one, unless a test says otherwise."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    #: Seconds, for waiting: never set back.
    mono_s: Callable[[], float] = time.monotonic
    #: Seconds since 1970.
    wall_s: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    open_page: Callable[[str], object] = webbrowser.open_new_tab
    run: Callable[[Sequence[str]], int] = _run
    capture: Callable[[Sequence[str]], tuple[int, str]] = _capture
    #: Login name: who creates a job.
    user: Callable[[], str] = getpass.getuser


def say(text: str) -> None:
    """One line on stderr: talk, never a result."""
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)
