"""What a test left behind in this process: descriptors, children, threads."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

#: How long threads and children that are already ending may still take.
GRACE_S = 2.0

#: Opened once by Python or a library for good.
_KEPT_OPEN = ("/dev/urandom", "/dev/null")


@dataclass(frozen=True)
class Held:
    """What this process holds at one moment."""

    descriptors: dict[int, str]
    children: dict[int, str]
    threads: dict[int, str]

    def beyond(self, before: Held) -> list[str]:
        """One line for each thing held now and not *before*."""
        lines = []
        for fd, target in self.descriptors.items():
            if before.descriptors.get(fd) != target and target not in _KEPT_OPEN:
                lines.append(f"descriptor {fd} is left open: {target}")
        for pid, name in self.children.items():
            if pid not in before.children:
                lines.append(f"child {pid} is left running or unreaped: {name}")
        for ident, name in self.threads.items():
            if ident not in before.threads:
                lines.append(f"thread is left running: {name}")
        return lines


def held() -> Held:
    """Look at what this process holds now."""
    return Held(_descriptors(), children(), {t.ident: t.name for t in threading.enumerate() if t.ident})


def leaks(before: Held, grace_s: float = GRACE_S) -> list[str]:
    """Say what is held beyond *before*, once what is already ending had *grace_s* to end."""
    deadline = time.monotonic() + grace_s
    pause = threading.Event()
    found = held().beyond(before)
    if found:
        gc.collect()
    while (found := held().beyond(before)) and time.monotonic() < deadline:
        pause.wait(0.02)
    return found


def end_children(before: Held) -> None:
    """Kill and reap the children that *before* does not have, so that the next test starts clean."""
    for pid in children().keys() - before.children.keys():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def children() -> dict[int, str]:
    """Children of this process, zombies too: pid → name and state, as the kernel has them."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            name, _, rest = Path("/proc", entry, "stat").read_text().rpartition(")")
            state, parent = rest.split()[:2]
            if int(parent) == os.getpid():
                found[int(entry)] = f"{name.partition('(')[2]} (state {state})"
    return found


def _descriptors() -> dict[int, str]:
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor that listed the directory is gone again
            found[int(entry)] = os.readlink(f"/proc/self/fd/{entry}")
    return found
