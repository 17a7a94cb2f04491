"""What the kernel has counted for a task's control group, version 1 or 2, where the task has one."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from thermos.host import cgroup
from thermos.records import RunnerHeader

#: Control files are a few lines long; ``memory.stat`` is the longest.
_FILE_BYTES: Final = 64 << 10


class Mounts(NamedTuple):
    """Where the control group file systems are mounted."""

    unified: str | None
    #: Controller → mount point, of version 1.
    controllers: dict[str, str]


class Charged(NamedTuple):
    """What a group is charged with. None: its files do not say."""

    cpu_s: float | None = None
    user_cpu_s: float | None = None
    system_cpu_s: float | None = None
    #: Without the part of the page cache that is to go first, as the kubelet counts it ("working set").
    ram_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None


def mounts() -> Mounts:
    """Where control groups are mounted; empty where nothing can be read."""
    unified: str | None = None
    controllers: dict[str, str] = {}
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields, _, tail = line.rstrip("\n").partition(" - ")
                words = tail.split(" ")
                mount = fields.split()[4]
                if words[0] == "cgroup2" and unified is None:
                    unified = mount
                elif words[0] == "cgroup":
                    for option in words[2].split(","):
                        controllers.setdefault(option, mount)
    except (OSError, IndexError):
        pass
    return Mounts(unified, controllers)


def group_of(header: RunnerHeader | None, where: Mounts) -> tuple[str, str] | None:
    """(mount, path below it) of the group that *header* names; None: it names none that could be a task's.

    A record is a claim: the path must lie below a mount of control groups, in a directory of ours, without ``..``.
    """
    path = header.cgroup if header is not None else None
    if path is None or "\0" in path:
        return None
    for mount in filter(None, [where.unified, *where.controllers.values()]):
        if path.startswith(f"{mount}/"):
            relative = path[len(mount) + 1 :]
            parts = relative.split("/")
            if any(part in ("", ".", "..") for part in parts) or cgroup.PARENT_NAME not in parts[-2:-1]:
                continue
            return mount, relative
    return None


def read(mount: str, relative: str, where: Mounts) -> Charged:
    """What the group at *relative* below *mount* is charged with; what is not there stays None."""
    return _read_v2(f"{mount}/{relative}") if mount == where.unified else _read_v1(relative, where)


def members(mount: str, relative: str) -> list[int]:
    """Pids in the group and in those below it."""
    return cgroup.members(f"{mount}/{relative}")


# -- version 2 ------------------------------------------------------------------------------------------------------


def _read_v2(path: str) -> Charged:
    cpu = _table(f"{path}/cpu.stat")
    io = _read_file(f"{path}/io.stat")
    return Charged(
        cpu_s=_micro(cpu.get("usage_usec")),
        user_cpu_s=_micro(cpu.get("user_usec")),
        system_cpu_s=_micro(cpu.get("system_usec")),
        ram_bytes=_working_set(_number(f"{path}/memory.current"), _table(f"{path}/memory.stat").get("inactive_file")),
        read_bytes=_io_v2(io, "rbytes"),
        written_bytes=_io_v2(io, "wbytes"),
    )


def _micro(number: int | None) -> float | None:
    return number / 1e6 if number is not None else None


def _io_v2(text: str | None, name: str) -> int | None:
    """The sum over all devices of ``MAJ:MIN rbytes=1 wbytes=2 …``; a group that did none has an empty file."""
    if text is None:
        return None
    total = 0
    for word in text.split():
        key, _, value = word.partition("=")
        if key == name and value.isdigit():
            total += int(value)
    return total


# -- version 1 ------------------------------------------------------------------------------------------------------


def _read_v1(relative: str, where: Mounts) -> Charged:
    cpuacct = where.controllers.get("cpuacct")
    memory = where.controllers.get("memory")
    blkio = where.controllers.get("blkio")
    cpu_ns = user = system = used = cached = read_bytes = written_bytes = None
    if cpuacct is not None:
        cpu_ns = _number(f"{cpuacct}/{relative}/cpuacct.usage")
        # In nanoseconds too, where the kernel has them; cpuacct.stat counts ticks.
        user = _number(f"{cpuacct}/{relative}/cpuacct.usage_user")
        system = _number(f"{cpuacct}/{relative}/cpuacct.usage_sys")
    if memory is not None:
        used = _number(f"{memory}/{relative}/memory.usage_in_bytes")
        cached = _table(f"{memory}/{relative}/memory.stat").get("total_inactive_file")
    if blkio is not None:
        text = _read_file(f"{blkio}/{relative}/blkio.throttle.io_service_bytes_recursive")
        read_bytes, written_bytes = _io_v1(text, "Read"), _io_v1(text, "Write")
    return Charged(
        cpu_s=_nano(cpu_ns),
        user_cpu_s=_nano(user),
        system_cpu_s=_nano(system),
        ram_bytes=_working_set(used, cached),
        read_bytes=read_bytes,
        written_bytes=written_bytes,
    )


def _nano(number: int | None) -> float | None:
    return number / 1e9 if number is not None else None


def _io_v1(text: str | None, name: str) -> int | None:
    """The sum over all devices of lines ``MAJ:MIN Read 4096``."""
    if text is None:
        return None
    lines = (line.split() for line in text.splitlines())
    return sum(int(words[2]) for words in lines if len(words) == 3 and words[1] == name and words[2].isdigit())


# -- control files --------------------------------------------------------------------------------------------------


def _working_set(used: int | None, cached: int | None) -> int | None:
    return max(used - (cached or 0), 0) if used is not None else None


def _read_file(path: str) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None
    try:
        return os.read(fd, _FILE_BYTES).decode("ascii", "replace")
    except OSError:
        return None
    finally:
        os.close(fd)


def _number(path: str) -> int | None:
    text = _read_file(path)
    return int(text) if text is not None and text.strip().isdigit() else None


def _table(path: str) -> dict[str, int]:
    """``name number`` lines."""
    found = {}
    for line in (_read_file(path) or "").splitlines():
        name, _, number = line.partition(" ")
        if number.isdigit():
            found[name] = int(number)
    return found
