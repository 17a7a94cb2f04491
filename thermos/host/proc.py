"""What /proc says of processes. A process is (pid, start time): a pid alone may be a stranger's by now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple


class Stat(NamedTuple):
    """A line of ``/proc/PID/stat``; numbers of fields as in proc(5)."""

    pid: int
    state: str  # 3: R, S, D, Z, …
    ppid: int  # 4
    pgrp: int  # 5
    session: int  # 6
    start_ticks: int  # 22


def read_stat(pid: int) -> Stat | None:
    """The process *pid* as it is now; None if there is none (any more)."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _parse(os.read(fd, 4096))
    except (OSError, ValueError, IndexError):
        return None
    finally:
        os.close(fd)


def _parse(data: bytes) -> Stat:
    # The command's name stands in parentheses and may hold any character, so the last one closes it.
    end = data.rindex(b")")
    rest = data[end + 2 :].split()
    pid = int(data[: data.index(b" ")])
    return Stat(pid, rest[0].decode(), int(rest[1]), int(rest[2]), int(rest[3]), int(rest[19]))


def start_ticks(pid: int) -> int | None:
    """Start time of *pid* in clock ticks since boot; None if it is gone."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        data = os.read(fd, 4096)
        os.close(fd)
    except OSError:
        return None
    return int(data[data.rindex(b")") + 2 :].split(b" ", 20)[19])


def is_alive(pid: int, ticks: int | None) -> bool:
    """True while process *pid* that started at *ticks* is there and not a zombie."""
    stat = read_stat(pid)
    return stat is not None and stat.state not in ("Z", "X") and (ticks is None or stat.start_ticks == ticks)


def snapshot() -> Iterator[Stat]:
    """Every process there is, in one pass over /proc."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = read_stat(int(name))
            if stat is not None:
                yield stat


def children(pid: int) -> list[int]:
    """Pids of the direct children of *pid*, zombies included; of all its threads."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return [stat.pid for stat in snapshot() if stat.ppid == pid]
    except OSError:
        return []


def environ_value(pid: int, name: bytes) -> bytes | None:
    """The environment variable *name* that *pid* was started with; None also where we may not look."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            data = b"\0" + file.read(1 << 20)
    except OSError:
        return None
    at = data.find(b"\0" + name + b"=")
    if at < 0:
        return None
    return data[at + len(name) + 2 :].split(b"\0", 1)[0]


def uid_of(pid: int) -> int | None:
    """The user that *pid* runs as: the real uid; None if it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"Uid:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return None


def describe(pid: int) -> str:
    """A few words for people: pid, state and command line of *pid*."""
    stat = read_stat(pid)
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(200).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        words = ""
    return f"{pid} ({stat.state if stat is not None else 'gone'}) {words}".rstrip()


def boot_id() -> str | None:
    """Tells this boot from every other."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def pid_namespace() -> int | None:
    """Tells this pid namespace from every other of this boot: an inode."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def boot_time_s() -> float:
    """Wall time of the boot, to a second: start ticks count from it."""
    with open("/proc/stat", "rb") as file:
        for line in file:
            if line.startswith(b"btime "):
                return float(line.split()[1])
    return 0.0


def start_time_s(ticks: int) -> float:
    """Wall time at which a process with start time *ticks* began, to about a second."""
    return boot_time_s() + ticks / os.sysconf("SC_CLK_TCK")
