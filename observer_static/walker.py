"""The child that finds out how much disk sandboxes use; a program of its own that imports nothing of ours.

It reads one JSON object from standard input and answers each path with one line, ``[number, bytes or null, why]``,
soon after it is known. It is niced, gives up by itself in time, and whatever goes wrong is an answer without bytes.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

#: An answer is one write of a pipe, which is whole up to 4096 bytes (``PIPE_BUF``).
_WHY_CHARS: Final = 300
#: How many entries between looks at the clock.
_STRIDE: Final = 256
#: Files with several names, remembered so that each counts once.
_MAX_LINKED: Final = 1_000_000
#: A body longer than this is no list of containers.
_MAX_BODY_BYTES: Final = 64 << 20
#: Of the system call ioprio_set, by machine.
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
_IDLE: Final = 3 << 13  # linux/ioprio.h: IOPRIO_CLASS_IDLE
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Answer = tuple[int | None, str | None]


class Incomplete(Exception):
    """Not all of a sandbox could be counted; says why."""


def be_nice() -> None:
    """Take only what processor and disk nobody else wants."""
    os.nice(19)
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        import ctypes

        ctypes.CDLL(None).syscall(number, 1, 0, _IDLE)  # 1: a process; 0: this one


# -- walking ----------------------------------------------------------------------------------------------------------


def used(path: str, max_entries: int, deadline_s: float) -> Answer:
    """Bytes of the blocks of all that lies below the directory *path*; links and other file systems left out."""
    found, why = at_least(path, max_entries, deadline_s)
    return (found, None) if why is None else (None, why)


def at_least(path: str, max_entries: int, deadline_s: float) -> Answer:
    """The same; if not all of it could be counted, what could be, and why not the rest."""
    try:
        fd = os.open(path, _DIRECTORY)
    except (OSError, ValueError) as error:
        return None, getattr(error, "strerror", None) or str(error)
    count = _Count([fd])
    try:
        count.walk(max_entries, deadline_s)
    except Incomplete as error:
        count.missing = str(error)
    except OSError as error:
        count.missing = error.strerror or str(error)
    finally:
        for fd in count.held:
            os.close(fd)
    return count.blocks * 512, count.missing


class _Count:
    """Blocks below the first of *held*, the descriptors of the directories on the way down."""

    def __init__(self, held: list[int]) -> None:
        self.held = held
        self.blocks = 0
        #: Why something was left out.
        self.missing: str | None = None

    def walk(self, max_entries: int, deadline_s: float) -> None:
        """Count them. Raises Incomplete, OSError; what has been counted by then stays."""
        held = self.held
        top = os.fstat(held[0])
        self.blocks = top.st_blocks
        linked: set[int] = set()
        below: list[Iterator[os.DirEntry[str]]] = [os.scandir(held[0])]
        entries = 0
        while below:
            entry = next(below[-1], None)
            if entry is None:
                below.pop()
                if below:
                    os.close(held.pop())
                continue
            entries += 1
            if entries > max_entries:
                raise Incomplete(f"more than {max_entries} files")
            if entries % _STRIDE == 0 and time.monotonic() > deadline_s:
                raise Incomplete(f"took too long; {entries} files were counted")
            try:
                info = os.stat(entry.name, dir_fd=held[-1], follow_symlinks=False)
            except OSError:
                continue  # it is gone
            if info.st_dev != top.st_dev:
                continue
            if stat.S_ISDIR(info.st_mode):
                fd = self._open(entry.name)
                if fd is None:
                    continue
                held.append(fd)
                if os.fstat(fd).st_dev != top.st_dev:  # mounted on since
                    os.close(held.pop())
                    continue
                try:
                    below.append(os.scandir(fd))
                except OSError as error:
                    self.missing = error.strerror or str(error)
                    os.close(held.pop())
                    continue
            elif info.st_nlink > 1:
                if info.st_ino in linked:
                    continue
                if len(linked) >= _MAX_LINKED:
                    raise Incomplete(f"more than {_MAX_LINKED} files with several names")
                linked.add(info.st_ino)
            self.blocks += info.st_blocks

    def _open(self, name: str) -> int | None:
        """The directory *name*; None: it is gone, or something else by now, or closed to us."""
        try:
            return os.open(name, _DIRECTORY, dir_fd=self.held[-1])
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            if error.errno == errno.EMFILE:
                self.missing = "directories are nested too deep"
            else:
                self.missing = f"a directory cannot be read: {error.strerror}"
            return None


def raise_descriptor_limit() -> None:
    """Two descriptors are held for each level."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# -- asking the agent -------------------------------------------------------------------------------------------------


def pick(document: object, path: str) -> object:
    """What *path*, names with dots between them, leads to in *document*; None: nowhere.

    The part of JMESPath that the defaults of the original's flags need.
    """
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def charged(containers: object, sandbox: str, executor_id_path: str, disk_path: str) -> Answer:
    """What the one container whose executor id is a part of the path *sandbox* uses, says the agent."""
    if not isinstance(containers, list):
        return None, "the agent's answer is no list of containers"
    parts = set(sandbox.split("/")) - {""}
    ours = []
    for container in containers:
        executor_id = pick(container, executor_id_path)
        if isinstance(executor_id, str) and executor_id in parts:
            ours.append(container)
    if len(ours) != 1:
        return None, f"the agent knows {len(ours)} containers with this executor id"
    number = pick(ours[0], disk_path)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < 1 << 63:
        return None, f"the agent does not say {disk_path}"
    return int(number), None


def fetch(url: str, timeout_s: float) -> object:
    """The JSON document at *url*. Raises OSError, ValueError and http.client.HTTPException."""
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise ValueError(f"no http URL: {url}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout_s)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("GET", target, headers={"Accept": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise ValueError(f"the agent answered {response.status} {response.reason}")
    body = response.read(_MAX_BODY_BYTES + 1)
    if len(body) > _MAX_BODY_BYTES:
        raise ValueError("the agent's answer is too long")
    return json.loads(body)


# -- the program ------------------------------------------------------------------------------------------------------


def answers(request: dict[str, Any]) -> Iterator[Answer]:
    """One for each path of *request*, in their order."""
    paths: list[str] = request["paths"]
    agent = request.get("agent")
    if agent is None:
        raise_descriptor_limit()
        end_s = time.monotonic() + request["all_s"]
        for path in paths:
            yield used(path, request["max_entries"], min(end_s, time.monotonic() + request["each_s"]))
        return
    # Of the whole exchange, and for good: an agent that sends a byte now and then keeps every other limit.
    signal.setitimer(signal.ITIMER_REAL, agent["timeout_s"])
    containers: object = None
    why = None
    try:
        containers = fetch(agent["url"], agent["timeout_s"])
    except Exception as error:  # noqa: BLE001 - whatever a server may send ends in an answer
        why = f"the agent cannot be asked: {str(error) or type(error).__name__}"
    signal.setitimer(signal.ITIMER_REAL, 0)
    for path in paths:
        if why is not None:
            yield None, why
        else:
            yield charged(containers, path, agent["executor_id_json_path"], agent["disk_usage_json_path"])


def main() -> None:
    """Answer what standard input asks."""
    be_nice()
    with os.fdopen(0, "rb") as file:
        request = json.load(file)
    for number, (used_bytes, why) in enumerate(answers(request)):
        said = why[:_WHY_CHARS] if why is not None else None
        os.write(1, json.dumps([number, used_bytes, said]).encode("ascii") + b"\n")


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    try:
        main()
    except BrokenPipeError:
        pass  # whoever asked is gone
