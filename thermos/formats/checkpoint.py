"""Checkpoint streams: what runner and coordinators write under ``checkpoints/TASK_ID/``.

A stream is a sequence of frames: the payload's length (4 bytes, unsigned, big-endian), then the payload, a
``RunnerCkpt`` in Thrift's binary protocol. No magic, no trailer. Source: Aurora (``thermos_internal.thrift``,
``twitter.common.recordio`` 0.3.7); field ids below 100 are its, those from 100 up are ours.

The union's last field, 100, is a CRC-32C over all bytes of the frame before that field, the length included,
as a signed i32. A frame without one is legal: the original writes such, and may append to our streams.

A last frame that is incomplete was torn by a crash: whoever owns the stream cuts it off. Anything else that
cannot be read is damage, after which nothing is believed. So is a last frame whose record ends before its
length says: that length is wrong, and good frames may follow. Zeros from some sector on to the end are what a
loss of power leaves of a write that was never synced: a last frame that reaches into them is torn, too.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError
from typing import Any, Final, NamedTuple

from thermos.formats.crc32c import crc32c
from thermos.formats.thrift_binary import (
    BOOL,
    DOUBLE,
    I32,
    I64,
    MAP,
    STOP,
    STRING,
    STRUCT,
    Field,
    StructType,
    ThriftError,
    decode_struct,
    encode_struct,
    skip,
)
from thermos.records import DeathCertificate, Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

#: Version of our extensions. A reader refuses a stream whose header names a higher one.
VERSION: Final = 1
#: Longest payload: ``MAXIMUM_RECORD_SIZE`` of twitter.common.recordio 0.3.7.
MAX_PAYLOAD_BYTES: Final = 64 << 20

HEADER: Final = StructType(
    RunnerHeader,
    [
        Field(1, "task_id", STRING),
        Field(2, "launch_time_ms", I64),
        Field(3, "sandbox", STRING),
        Field(4, "hostname", STRING),
        Field(5, "user", STRING),
        Field(6, "ports", MAP),
        Field(7, "log_dir", STRING),
        Field(8, "uid", I32),
        Field(100, "format_version", I32),
        Field(101, "cookie", STRING),
        Field(102, "cgroup", STRING),
    ],
)
CERTIFICATE: Final = StructType(
    DeathCertificate,
    [
        Field(1, "signal", I32),
        Field(2, "core_dumped", BOOL),
        Field(3, "oom_killed", BOOL),
        Field(4, "peak_rss_bytes", I64),
        Field(5, "user_cpu_s", DOUBLE),
        Field(6, "system_cpu_s", DOUBLE),
        Field(7, "run_s", DOUBLE),
        Field(8, "stderr_tail", STRING),
        Field(9, "stderr_note", STRING),
        Field(10, "killed_by", STRING),
    ],
)
PROCESS_STATUS: Final = StructType(
    ProcessStatus,
    [
        Field(1, "seq", I64),
        Field(3, "process", STRING),
        Field(5, "state", I32, convert=ProcessState),
        Field(6, "start_time", DOUBLE),
        Field(7, "pid", I32),
        Field(8, "stop_time", DOUBLE),
        Field(9, "return_code", I32),
        Field(10, "coordinator_pid", I32),
        Field(11, "fork_time", DOUBLE),
        Field(100, "coordinator_start_ticks", I64),
        Field(101, "pid_start_ticks", I64),
        Field(102, "certificate", STRUCT, CERTIFICATE),
        Field(103, "reason", STRING),
    ],
)
TASK_STATUS: Final = StructType(
    TaskStatus,
    [
        Field(1, "state", I32, convert=TaskState),
        Field(2, "timestamp_ms", I64),
        Field(3, "runner_pid", I32),
        Field(4, "runner_uid", I32),
        Field(100, "boot_id", STRING),
        Field(101, "pid_namespace", I64),
        Field(102, "runner_start_ticks", I64),
        Field(103, "reason", STRING),
        Field(104, "forced_end", I32, convert=TaskState),
        Field(105, "deadline_ms", I64),
    ],
)
NOTE: Final = StructType(
    Note,
    [
        Field(1, "timestamp_ms", I64),
        Field(2, "kind", STRING),
        Field(3, "process", STRING),
        Field(4, "text", STRING),
    ],
)
#: The union's fields: id → struct.
UNION: Final[dict[int, StructType]] = {1: HEADER, 2: PROCESS_STATUS, 3: TASK_STATUS, 101: NOTE}
CHECKSUM_ID: Final = 100

_IDS: Final[dict[type, int]] = {RunnerHeader: 1, ProcessStatus: 2, TaskStatus: 3, Note: 101}
#: Fields without which a record says nothing, by position: absent in none that the original wrote.
_NEEDED: Final[dict[int, tuple[str, ...]]] = {
    1: ("task_id", "launch_time_ms"),
    2: ("seq", "process", "state"),
    3: ("state", "timestamp_ms"),
    101: ("timestamp_ms", "kind", "text"),
}
#: Smallest unit in which a file system loses what was written.
_SECTOR_BYTES: Final = 512
#: No whole frame ends with as many zeros: they were never written.
_MANY_ZEROS: Final = 32
_LENGTH = Struct(">I")
_FIELD = Struct(">bh")
_CHECKSUM = Struct(">bhib")
_CHECKSUM_BYTES: Final = _CHECKSUM.size  # field head, checksum, STOP


class Damage(NamedTuple):
    """Where a stream stops making sense. ``torn``: its last frame is only incomplete, as crashes leave it."""

    offset: int
    detail: str
    torn: bool


class Entry(NamedTuple):
    """A record and the offset of its frame. ``record`` is None for one of a kind unknown to this version."""

    offset: int
    record: Record | None


class Stream(NamedTuple):
    """What a stream holds: its records in order, the bytes they take, and what is wrong behind them."""

    entries: list[Entry]
    good_bytes: int
    damage: Damage | None

    @property
    def records(self) -> list[Record]:
        """The records alone."""
        return [entry.record for entry in self.entries if entry.record is not None]


class FrameError(ValueError):
    """A frame is complete but makes no sense."""


def encode(record: Record) -> bytes:
    """The frame of *record*, with its checksum."""
    union_id = _IDS[type(record)]
    body = _FIELD.pack(STRUCT, union_id) + encode_struct(UNION[union_id], record)
    head = _LENGTH.pack(len(body) + _CHECKSUM_BYTES) + body
    checksum = crc32c(head)
    signed = checksum - (1 << 32) if checksum >> 31 else checksum
    return head + _CHECKSUM.pack(I32, CHECKSUM_ID, signed, STOP)


def decode_payload(frame: bytes) -> Record | None:
    """The record in *frame* (length prefix included); None for a kind unknown here. Raises FrameError."""
    offset = 4
    record: Any = None
    try:
        while (kind := frame[offset]) != STOP:
            union_id = _FIELD.unpack_from(frame, offset)[1]
            if union_id == CHECKSUM_ID and kind == I32:
                stored = int.from_bytes(frame[offset + 3 : offset + 7], "big")
                actual = crc32c(frame[:offset])
                if stored != actual:
                    raise FrameError(f"checksum is {stored:08x}, should be {actual:08x}")
                offset += 7
                if frame[offset] != STOP:
                    raise FrameError("a field follows the checksum, which must be the last")
                break
            if kind != STRUCT:  # or a damaged id would turn a checksum into a field to be skipped
                raise FrameError(f"field {union_id} of the record is of Thrift type {kind}, not a struct")
            struct = UNION.get(union_id)
            if struct is None or record is not None:
                offset = skip(kind, frame, offset + 3)
                continue
            record, offset = decode_struct(struct, frame, offset + 3)
            for name in _NEEDED[union_id]:
                if getattr(record, name) is None:
                    raise FrameError(f"{struct.name} without {name}")
        if offset + 1 != len(frame):
            raise FrameError(f"{len(frame) - offset - 1} bytes follow the record within its frame")
    except ThriftError as error:
        raise FrameError(str(error)) from None
    except (IndexError, ValueError, StructError) as error:
        if isinstance(error, FrameError):
            raise
        raise FrameError(f"the record does not end within its frame ({error})") from None
    return record  # type: ignore[no-any-return]


def _is_whole(start: bytes) -> bool:
    """Whether the union in *start*, of which a frame's length says there is more, ends within it."""
    offset = 4
    try:
        while (kind := start[offset]) != STOP:
            offset = skip(kind, start, offset + 3)
    except (ThriftError, IndexError, StructError):
        return False
    return True


class Decoder:
    """Frames in, records out, any chunking; remembers the offset it has reached."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset  # of the first byte not yet decoded
        self.damage: Damage | None = None
        self._rest = b""
        self._dropped_bytes = 0  # fed after damage
        self._dropped_zeros = True  # whether they were nothing else

    @property
    def fed_to(self) -> int:
        """Offset behind the last byte that was fed."""
        return self.offset + len(self._rest) + self._dropped_bytes

    def feed(self, data: bytes) -> list[Entry]:
        """The records that *data* completes. After damage nothing comes any more; see ``damage``."""
        entries: list[Entry] = []
        if self.damage is not None:
            self._dropped_bytes += len(data)
            self._dropped_zeros = self._dropped_zeros and not data.strip(b"\0")
            return entries
        data = self._rest + data if self._rest else data
        position, end = 0, len(data)
        while end - position >= 4:
            size = _LENGTH.unpack_from(data, position)[0]
            if size > MAX_PAYLOAD_BYTES:
                detail = f"a frame of {size} bytes is longer than the {MAX_PAYLOAD_BYTES} allowed"
                self.damage = Damage(self.offset, detail, torn=False)
                break
            behind = position + 4 + size
            if behind > end:
                break
            try:
                record = decode_payload(data[position:behind])
            except FrameError as error:
                self.damage = Damage(self.offset, str(error), torn=False)
                break
            entries.append(Entry(self.offset, record))
            self.offset += behind - position
            position = behind
        self._rest = data[position:]
        return entries

    def finish(self) -> Damage | None:
        """What is wrong at the end of the stream: damage, a torn last frame, or nothing."""
        if self.damage is not None and self._ends_in_zeros():
            return Damage(self.offset, "the stream ends in zeros: power was lost while it was written", torn=True)
        if self.damage is None and self._rest:
            have = len(self._rest)
            if have < 4:
                detail = f"the stream ends within a frame's length ({have} of 4 bytes)"
                return Damage(self.offset, detail, torn=True)
            want = _LENGTH.unpack_from(self._rest)[0]
            if _is_whole(self._rest):
                detail = f"a frame's length is {want}, but its record ends before that"
                return Damage(self.offset, detail, torn=False)
            detail = f"the stream ends within a frame ({have - 4} of {want} bytes)"
            return Damage(self.offset, detail, torn=True)
        return self.damage

    def _ends_in_zeros(self) -> bool:
        """Whether the damaged frame reaches into zeros that begin with a sector and end with the stream."""
        written = len(self._rest.rstrip(b"\0"))
        zeros = len(self._rest) - written + self._dropped_bytes
        if not self._dropped_zeros or (written and zeros < _MANY_ZEROS):
            return False
        sector = -(-(self.offset + written) // _SECTOR_BYTES) * _SECTOR_BYTES
        end = self.offset + 4 + _LENGTH.unpack_from(self._rest)[0]
        return written == 0 or sector < end


def decode(data: bytes) -> Stream:
    """All that a whole stream holds; never raises."""
    decoder = Decoder()
    entries = decoder.feed(data)
    return Stream(entries, decoder.offset, decoder.finish())
