"""Makes the golden checkpoints of the version that is current: ``python tests/golden/checkpoint/make.py``.

It adds what is missing and never changes a file that is there: streams like these lie on people's disks. A change
of the format that these do not survive is a new version, with a new directory beside this one's.
"""

from __future__ import annotations

import json
import struct
import sys
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from thermos.formats import checkpoint
from thermos.formats.crc32c import crc32c
from thermos.formats.thrift_binary import encode_struct
from thermos.records import DeathCertificate, Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

DIRECTORY: Final = Path(__file__).parent

P = ProcessState
T = TaskState
BOOT: Final = "1f9d1a3c-5b1e-4a39-8f6b-0f5f3f9a7c21"


class Case(NamedTuple):
    """A stream: its records, how each is framed, and bytes that follow them."""

    ours: bool
    records: list[Record]
    tail: bytes = b""


def frame(record: Record, ours: bool) -> bytes:
    """The frame of *record*: ours, or as the original writes it, without a checksum."""
    if ours:
        return checkpoint.encode(record)
    union_id, table = next((i, s) for i, s in checkpoint.UNION.items() if s.factory is type(record))
    payload = struct.pack(">bh", 12, union_id) + encode_struct(table, record) + b"\0"
    return struct.pack(">I", len(payload)) + payload


def stream(case: Case) -> bytes:
    """The bytes of *case*."""
    return b"".join(frame(record, case.ours) for record in case.records) + case.tail


def flipped(data: bytes, offset: int) -> bytes:
    """*data* with the lowest bit of one byte changed."""
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def later_kind() -> bytes:
    """A frame of a kind that this version does not know, as a later one may write it."""
    body = bytes.fromhex("0c00c8 0b0001 00000005 6c61746572 00")
    head = struct.pack(">I", len(body) + 8) + body
    return head + struct.pack(">bhIb", 8, 100, crc32c(head), 0)


def later_field() -> bytes:
    """A TaskStatus with a field that this version does not know."""
    body = bytes.fromhex("0c0003 080001 00000005 0a0002 0000018bcfe569f4 080003 0000102c 080004 00000000")
    body += bytes.fromhex("0f00c8 0b 00000001 00000001 78 00")
    head = struct.pack(">I", len(body) + 8) + body
    return head + struct.pack(">bhIb", 8, 100, crc32c(head), 0)


HEADER: Final = RunnerHeader(
    task_id="www-prod-hello-0",
    launch_time_ms=1700000000123,
    sandbox="/var/lib/thermos/sandboxes/hello",
    hostname="node-17.example.org",
    user="www",
    ports={"http": 31000, "admin": 31001},
    log_dir="/var/lib/thermos/sandboxes/hello/.logs",
    uid=1001,
    format_version=1,
    cookie="0123456789abcdef",
    cgroup="/thermos/www-prod-hello-0",
)
CERTIFICATE: Final = DeathCertificate(
    signal=9,
    core_dumped=False,
    oom_killed=True,
    peak_rss_bytes=536870912,
    user_cpu_s=1.25,
    system_cpu_s=0.5,
    run_s=12.75,
    stderr_tail="Traceback:\n  \x1b[31mMemoryError\x1b[0m\n",
    stderr_note="only its last 2 KiB",
    killed_by="the kernel, for want of memory",
)


def task(state: TaskState, at_ms: int, **extensions: Any) -> TaskStatus:
    return TaskStatus(state, 1700000000000 + at_ms, runner_pid=4140, runner_uid=0, **extensions)


def run(process: str, seq: int, at_s: float, pid: int, end: ProcessState, code: int, **extensions: Any) -> list[Record]:
    """The four records of one run."""
    ours = bool(extensions)
    return [
        ProcessStatus(seq, process, P.WAITING),
        ProcessStatus(
            seq + 1,
            process,
            P.FORKED,
            fork_time=1700000000 + at_s,
            coordinator_pid=pid,
            coordinator_start_ticks=987654 if ours else None,
        ),
        ProcessStatus(
            seq + 2,
            process,
            P.RUNNING,
            start_time=1700000000.25 + at_s,
            pid=pid + 1,
            pid_start_ticks=987660 if ours else None,
        ),
        ProcessStatus(seq + 3, process, end, stop_time=1700000000.5 + at_s, return_code=code, **extensions),
    ]


_OURS: Final = {
    "certificate": CERTIFICATE._replace(signal=None, oom_killed=False, killed_by=None),
    "reason": "exit code 1",
}
_OLD_HEADER: Final = HEADER._replace(format_version=None, cookie=None, cgroup=None)
_BOOT: Final[dict[str, Any]] = {"boot_id": BOOT, "pid_namespace": 4026531836, "runner_start_ticks": 987000}

CASES: Final[dict[str, Case]] = {
    # Every field of every record, and each record with no more than it needs.
    "every-field": Case(
        True,
        [
            HEADER,
            ProcessStatus(
                seq=6,
                process="web",
                state=P.KILLED,
                start_time=1700000001.5,
                pid=4243,
                stop_time=1700000014.25,
                return_code=-9,
                coordinator_pid=4242,
                fork_time=1700000001.25,
                coordinator_start_ticks=987654,
                pid_start_ticks=987660,
                certificate=CERTIFICATE,
                reason="the task was killed",
            ),
            TaskStatus(
                state=T.CLEANING,
                timestamp_ms=1700000013999,
                runner_pid=4140,
                runner_uid=0,
                boot_id=BOOT,
                pid_namespace=4026531836,
                runner_start_ticks=987000,
                reason="asked to by root",
                forced_end=T.KILLED,
                deadline_ms=1700000043999,
            ),
            Note(timestamp_ms=1700000014000, kind="survivor", text="pid 4250 is in state D", process="web"),
        ],
    ),
    "only-what-is-needed": Case(
        True,
        [
            RunnerHeader("t", 1),
            ProcessStatus(0, "p", P.WAITING),
            ProcessStatus(3, "p", P.SUCCESS, certificate=DeathCertificate()),
            TaskStatus(T.ACTIVE, 1, 2, 3),
            Note(1, "kind", "text"),
        ],
    ),
    # What a runner and a coordinator write in the life of a task.
    "runner": Case(
        True,
        [
            task(T.ACTIVE, 200, **_BOOT),
            HEADER,
            *run("web", 0, 1, 4242, P.FAILED, 1, **_OURS),
            Note(1700000002000, "log", "cannot rotate: no space left on device", "web"),
            task(T.ACTIVE, 3000, **_BOOT, reason="taken over"),
            *run("web", 4, 4, 4252, P.SUCCESS, 0, certificate=DeathCertificate(run_s=0.25)),
            task(T.CLEANING, 5000, **_BOOT, deadline_ms=1700000035000),
            task(T.FINALIZING, 5001, **_BOOT),
            *run("tidy up", 0, 6, 4262, P.KILLED, -15, certificate=CERTIFICATE._replace(killed_by="deadline")),
            ProcessStatus(0, "never", P.WAITING),
            ProcessStatus(1, "never", P.FAILED, stop_time=1700000007.5, return_code=1, reason="cannot fork"),
            task(T.SUCCESS, 7000, **_BOOT),
            Note(1700000007100, "survivor", "pid 4270 escaped"),
        ],
    ),
    "coordinator": Case(
        True,
        [record for record in run("web", 0, 1, 4242, P.FAILED, 1, **_OURS) if getattr(record, "state", 0)],
    ),
    "runner-killed": Case(
        True,
        [
            task(T.ACTIVE, 1, **_BOOT),
            HEADER,
            *run("a", 0, 1, 50, P.LOST, 0, reason="nobody saw it end")[:3],
            task(T.CLEANING, 2, **_BOOT, reason="SIGUSR2", forced_end=T.LOST, deadline_ms=1700000060000),
            ProcessStatus(3, "a", P.LOST, reason="nobody saw it end"),
            task(T.LOST, 3, **_BOOT),
        ],
    ),
    # As the original writes: no checksum, none of our fields.
    "original": Case(
        False,
        [
            task(T.ACTIVE, 200),
            _OLD_HEADER,
            *run("web", 0, 1, 4242, P.FAILED, 1),
            *run("web", 4, 4, 4252, P.SUCCESS, 0),
            task(T.ACTIVE, 5000),
            task(T.CLEANING, 5001),
            task(T.FINALIZING, 5002),
            *run("héllo wörld", 0, 6, 4262, P.KILLED, -15),
            task(T.KILLED, 7000),
        ],
    ),
    "original-without-what-came-late": Case(
        False,
        [task(T.ACTIVE, 1), RunnerHeader("old", 1, sandbox="/s", hostname="h", user="u", ports={})],
    ),
    # A stream of ours to which the original appended.
    "ours-then-original": Case(
        True,
        [task(T.ACTIVE, 1, **_BOOT), HEADER],
        frame(task(T.ACTIVE, 2), False) + frame(task(T.LOST, 3), False),
    ),
    # The ends of each type's range, and strings that are awkward.
    "extremes": Case(
        True,
        [
            RunnerHeader(
                task_id="",
                launch_time_ms=-(1 << 63),
                sandbox="日本語 \U0001f600",
                hostname="a\udcffb",  # a file name that is no UTF-8, as Python spells it
                ports={"": (1 << 63) - 1, "é": 0, "z": -1, "a": 1},
                uid=-(1 << 31),
            ),
            ProcessStatus(
                seq=(1 << 63) - 1,
                process="line\nend\ttab\0nul",
                state=P.LOST,
                start_time=float("inf"),
                pid=(1 << 31) - 1,
                stop_time=-0.0,
                return_code=-(1 << 31),
                fork_time=5e-324,
            ),
            TaskStatus(T.LOST, 0, 0, 0, boot_id="", pid_namespace=0, deadline_ms=0),
            Note(0, "", ""),
        ],
    ),
    # What readers must survive.
    "later-version": Case(True, [task(T.ACTIVE, 1)], later_kind() + later_field()),
    "torn-in-length": Case(True, [task(T.ACTIVE, 1), HEADER], frame(task(T.LOST, 2), True)[:3]),
    "torn-in-record": Case(True, [task(T.ACTIVE, 1), HEADER], frame(task(T.LOST, 2), True)[:-1]),
    "wrong-checksum": Case(
        True,
        [task(T.ACTIVE, 1), HEADER],
        flipped(frame(task(T.LOST, 2), True), 20) + frame(task(T.LOST, 3), True),
    ),
    "too-long": Case(True, [task(T.ACTIVE, 1)], struct.pack(">I", (64 << 20) + 1) + b"x" * 20),
    "empty": Case(True, []),
}


def as_json(record: Record | DeathCertificate) -> dict[str, Any]:
    """The fields of *record* that are set, states by name."""
    found: dict[str, Any] = {}
    for name, value in zip(record._fields, record, strict=True):
        if isinstance(value, DeathCertificate):
            found[name] = as_json(value)
        elif value is not None:
            found[name] = value.name if isinstance(value, IntEnum) else value
    return found


def expected(data: bytes) -> dict[str, Any]:
    """What is read of *data*."""
    found = checkpoint.decode(data)
    return {
        "records": [
            {"offset": offset, "type": None}
            if record is None
            else {"offset": offset, "type": type(record).__name__, **as_json(record)}
            for offset, record in found.entries
        ],
        "good_bytes": found.good_bytes,
        "damage": found.damage and {"offset": found.damage.offset, "torn": found.damage.torn},
    }


def main() -> int:
    """Write what is missing; say what is there and would be written otherwise."""
    different = 0
    for name, case in CASES.items():
        directory = DIRECTORY / f"v{checkpoint.VERSION}" / name
        directory.mkdir(parents=True, exist_ok=True)
        data = stream(case)
        text = json.dumps(expected(data), indent=1, allow_nan=True) + "\n"
        for path, content in ((directory / "stream", data), (directory / "expected.json", text.encode())):
            if not path.exists():
                path.write_bytes(content)
            elif path.read_bytes() != content:
                print(f"{path} would be different now; it stays as it is", file=sys.stderr)
                different += 1
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
