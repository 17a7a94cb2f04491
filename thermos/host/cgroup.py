"""A control group for each task, where this host lets us make one: nothing that a task starts escapes it.

The runner joins the group before it forks, so that all below it are members at no further cost, and leaves it
before it kills it. With a version 2 mount (also the controller-less one of a hybrid host) ``cgroup.kill``
(Linux 5.14) kills it whole, and before that a loop over its members does. Only with version 1 hierarchies, the
``freezer`` holds the members still while they are killed.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from typing import Final

#: Below the group that the runner itself is in.
PARENT_NAME: Final = "thermos"
#: Passes over the members of a group that cannot be killed whole: a fork bomb loses the race well before.
PASSES: Final = 100


def find_base() -> str | None:
    """The directory below which task groups can be made; None: this host offers none."""
    unified: str | None = None
    freezer: str | None = None
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields, _, tail = line.partition(" - ")
                kind, _, options = tail.split(" ", 2)
                mount = fields.split()[4]
                if kind == "cgroup2" and unified is None:
                    unified = mount
                elif kind == "cgroup" and "freezer" in options.split(",") and freezer is None:
                    freezer = mount
        own = _own_groups()
    except (OSError, ValueError):
        return None
    for found, path in ((unified, own.get("")), (freezer, own.get("freezer"))):
        if found is not None and path is not None:
            base = found + path.rstrip("/")
            if os.access(base, os.W_OK) and os.access(f"{base}/cgroup.procs", os.W_OK):
                return base
    return None


def _own_groups() -> dict[str, str]:
    """Controller → path of our group; the version 2 group under the empty name."""
    groups = {}
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for controller in controllers.split(","):
                groups[controller] = path
    return groups


def make(path: str) -> bool:
    """Whether the group *path* is there now, its parents too."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError:
        return False
    return os.path.exists(f"{path}/cgroup.procs")


def join(path: str) -> None:
    """Move this process into the group. Raises OSError."""
    with open(f"{path}/cgroup.procs", "w", encoding="ascii") as file:
        file.write("0")


def members(path: str) -> list[int]:
    """Pids in the group and those below it."""
    found: list[int] = []
    for directory, _, _ in os.walk(path):
        try:
            with open(f"{directory}/cgroup.procs", encoding="ascii") as file:
                found.extend(int(line) for line in file)
        except (OSError, ValueError):
            continue
    return found


def kill(path: str) -> None:
    """SIGKILL all of the group and of those below it. Raises nothing: a group that is gone has no members."""
    try:
        with open(f"{path}/cgroup.kill", "w", encoding="ascii") as file:
            file.write("1")
        return
    except OSError as error:
        if error.errno == errno.ENOENT and not os.path.exists(path):
            return
    state = f"{path}/freezer.state"
    frozen = _write(state, "FROZEN")
    for _ in range(PASSES):
        pids = members(path)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)  # it cannot leave the group and be another's while frozen
            except OSError:
                pass
        if not pids or frozen:
            break
    if frozen:
        _write(state, "THAWED")


def _write(path: str, text: str) -> bool:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return True
    except OSError:
        return False


def remove(path: str) -> bool:
    """Whether the group and those below it are gone; one with members stays."""
    for directory, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def wait_empty(path: str, timeout_s: float) -> None:
    """Return when the group has lost its last member, or after *timeout_s*. Version 1 tells nobody: only the time."""
    poll = select.poll()
    try:
        events = os.open(f"{path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        poll.poll(timeout_s * 1000)
        return
    try:
        # Read before the wait: the kernel reports a change against what was read (fs/kernfs/file.c), so that without
        # it the wait is over at once.
        if b"populated 1" in os.read(events, 4096):
            poll.register(events, select.POLLPRI)
            poll.poll(timeout_s * 1000)
    finally:
        os.close(events)


def leave(path: str) -> bool:
    """Whether this process is out of the group: in the one above the groups of tasks."""
    above = os.path.dirname(os.path.dirname(path))
    try:
        join(above)
    except OSError:
        return False
    return True


def find_oom_counter() -> str | None:
    """The file in which the kernel counts what its OOM killer did to us and ours; None: there is none."""
    try:
        own = _own_groups()
    except OSError:
        return None
    for mount, path, name in (
        ("/sys/fs/cgroup", own.get(""), "memory.events"),
        ("/sys/fs/cgroup/memory", own.get("memory"), "memory.oom_control"),
    ):
        while path is not None:
            file = f"{mount}{path.rstrip('/')}/{name}"
            if oom_kills(file) is not None:
                return file
            path = os.path.dirname(path) if path not in ("/", "") else None
    return None


def oom_kills(counter: str) -> int | None:
    """How often the kernel's OOM killer has struck, says the file *counter*; None: it does not."""
    try:
        with open(counter, "rb") as file:
            for line in file:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None
