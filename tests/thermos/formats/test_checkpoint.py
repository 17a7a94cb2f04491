"""Streams: what is written is read; what was damaged is noticed; what was torn keeps all that came before."""

from __future__ import annotations

import struct
import tracemalloc
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thermos.formats import checkpoint
from thermos.formats.checkpoint import MAX_PAYLOAD_BYTES, Decoder, FrameError, decode, decode_payload, encode
from thermos.formats.crc32c import crc32c
from thermos.formats.thrift_binary import encode_struct
from thermos.records import DeathCertificate, Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

texts = st.text(max_size=20)
i32s = st.integers(-(1 << 31), (1 << 31) - 1)
i64s = st.integers(-(1 << 63), (1 << 63) - 1)
reals = st.floats(allow_nan=False)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


headers = st.builds(
    RunnerHeader,
    task_id=texts,
    launch_time_ms=i64s,
    sandbox=maybe(texts),
    hostname=maybe(texts),
    user=maybe(texts),
    ports=maybe(st.dictionaries(texts, i64s, max_size=4)),
    log_dir=maybe(texts),
    uid=maybe(i32s),
    format_version=maybe(i32s),
    cookie=maybe(texts),
    cgroup=maybe(texts),
)
certificates = st.builds(
    DeathCertificate,
    signal=maybe(i32s),
    core_dumped=maybe(st.booleans()),
    oom_killed=maybe(st.booleans()),
    peak_rss_bytes=maybe(i64s),
    user_cpu_s=maybe(reals),
    system_cpu_s=maybe(reals),
    run_s=maybe(reals),
    stderr_tail=maybe(texts),
    stderr_note=maybe(texts),
    killed_by=maybe(texts),
)
process_statuses = st.builds(
    ProcessStatus,
    seq=i64s,
    process=texts,
    state=st.sampled_from(ProcessState),
    start_time=maybe(reals),
    pid=maybe(i32s),
    stop_time=maybe(reals),
    return_code=maybe(i32s),
    coordinator_pid=maybe(i32s),
    fork_time=maybe(reals),
    coordinator_start_ticks=maybe(i64s),
    pid_start_ticks=maybe(i64s),
    certificate=maybe(certificates),
    reason=maybe(texts),
)
task_statuses = st.builds(
    TaskStatus,
    state=st.sampled_from(TaskState),
    timestamp_ms=i64s,
    runner_pid=i32s,
    runner_uid=i32s,
    boot_id=maybe(texts),
    pid_namespace=maybe(i64s),
    runner_start_ticks=maybe(i64s),
    reason=maybe(texts),
    forced_end=maybe(st.sampled_from(TaskState)),
    deadline_ms=maybe(i64s),
)
notes = st.builds(Note, timestamp_ms=i64s, kind=texts, text=texts, process=maybe(texts))
records: st.SearchStrategy[Record] = st.one_of(headers, process_statuses, task_statuses, notes)
streams = st.lists(records, max_size=6)

#: One of each, with every field set: what the tests below cut, flip and pad.
CERTIFICATE = DeathCertificate(9, False, True, 1 << 31, 0.25, 0.5, 1.75, "a\nb\n", "cut", "thermos kill")
SAMPLES: dict[str, Record] = {
    "header": RunnerHeader("t", 1, "/s", "h", "u", {"http": 80, "admin": 81}, "/s/.logs", 0, 1, "c" * 8, "/g"),
    "process": ProcessStatus(3, "p", ProcessState.KILLED, 1.5, 10, 2.5, -9, 9, 1.25, 7, 8, CERTIFICATE, "why"),
    "task": TaskStatus(TaskState.CLEANING, 2, 3, 4, "boot", 5, 6, "why", TaskState.KILLED, 7),
    "note": Note(1, "disk-full", "no room", "p"),
}
STREAM = list(SAMPLES.values())


def framed(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def summed(body: bytes, end: bytes = b"\0") -> bytes:
    """A payload: *body*, the right checksum, *end*."""
    head = struct.pack(">I", len(body) + 7 + len(end)) + body
    return body + struct.pack(">bhI", 8, 100, crc32c(head)) + end


def without_checksum(record: Record) -> bytes:
    """The frame of *record* as the original would write it, were the fields its own."""
    union_id, table = next((i, s) for i, s in checkpoint.UNION.items() if s.factory is type(record))
    return framed(struct.pack(">bh", 12, union_id) + encode_struct(table, record) + b"\0")


def test_each_record_type_is_tried_with_all_its_fields() -> None:
    assert {type(record) for record in STREAM} == {s.factory for s in checkpoint.UNION.values()}
    for record in [*STREAM, CERTIFICATE]:
        assert None not in tuple(record)


@settings(deadline=None)
@given(streams)
def test_what_is_written_is_read(stream: list[Record]) -> None:
    data = b"".join(map(encode, stream))
    assert decode(data) == (
        list(zip(accumulate((len(encode(r)) for r in stream[:-1]), initial=0), stream, strict=False)),
        len(data),
        None,
    )


@settings(deadline=None)
@given(records)
def test_a_record_without_a_checksum_is_read(record: Record) -> None:
    assert decode(without_checksum(record)).records == [record]


@settings(deadline=None)
@given(streams, st.data())
def test_any_chunking_gives_the_same(stream: list[Record], draw: st.DataObject) -> None:
    data = b"".join(map(encode, stream))
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    decoder = Decoder()
    entries = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        entries += decoder.feed(data[start:end])
    assert entries == decode(data).entries
    assert (decoder.offset, decoder.finish()) == (len(data), None)


def test_byte_by_byte_gives_the_same() -> None:
    data = b"".join(map(encode, STREAM))
    decoder = Decoder(offset=1000)
    entries = [entry for byte in data for entry in decoder.feed(bytes([byte]))]
    assert [entry.record for entry in entries] == STREAM
    assert [entry.offset - 1000 for entry in entries] == [entry.offset for entry in decode(data).entries]
    assert decoder.finish() is None


@pytest.mark.parametrize("write", [encode, without_checksum], ids=["ours", "originals"])
def test_every_beginning_gives_a_beginning_and_says_torn(write: Any) -> None:
    frames = [write(record) for record in STREAM]
    data = b"".join(frames)
    ends = list(accumulate(map(len, frames), initial=0))
    for size in range(len(data) + 1):
        whole = max(index for index, end in enumerate(ends) if end <= size)
        stream = decode(data[:size])
        assert stream.records == STREAM[:whole]
        assert stream.good_bytes == ends[whole]
        if size == ends[whole]:
            assert stream.damage is None
        else:
            assert stream.damage is not None
            assert (stream.damage.offset, stream.damage.torn) == (ends[whole], True)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_flipped_byte_of_a_checksummed_frame_is_noticed(name: str) -> None:
    before, frame, behind = encode(STREAM[0]), encode(SAMPLES[name]), encode(STREAM[2])
    for position in range(len(frame)):
        for flip in [*(1 << bit for bit in range(8)), 0xFF, frame[position], 0x55]:
            if flip == 0:
                continue
            damaged = bytearray(frame)
            damaged[position] ^= flip
            stream = decode(before + bytes(damaged) + behind)
            assert stream.records == [STREAM[0]], f"byte {position} ^ {flip:02x}"
            assert stream.good_bytes == len(before)
            # Never "torn": an owner would cut off the good record behind it.
            assert stream.damage is not None
            assert (stream.damage.offset, stream.damage.torn) == (len(before), False), f"{position} ^ {flip:02x}"


@settings(deadline=None)
@given(streams.filter(bool), st.data())
def test_a_flipped_bit_of_a_stream_gives_a_beginning_of_it(stream: list[Record], draw: st.DataObject) -> None:
    data = bytearray(b"".join(map(encode, stream)))
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    data[bit // 8] ^= 1 << bit % 8
    found = decode(bytes(data))
    assert found.damage is not None
    assert found.records == stream[: len(found.records)]
    assert found.damage.offset == found.good_bytes <= bit // 8


def test_after_damage_nothing_is_believed() -> None:
    decoder = Decoder()
    assert decoder.feed(b"\0\0\0\1\xff") == []
    assert decoder.feed(encode(STREAM[0])) == []
    assert decoder.finish() == decoder.damage is not None
    assert decoder.offset == 0


def test_a_frame_of_64_mib_is_read_and_one_byte_more_is_damage() -> None:
    room = MAX_PAYLOAD_BYTES - len(without_checksum(Note(1, "k", ""))) + 4
    largest = without_checksum(Note(1, "k", "x" * room))
    assert len(largest) == 4 + MAX_PAYLOAD_BYTES
    stream = decode(largest)
    assert stream.damage is None
    assert [len(record.text) for record in stream.records if isinstance(record, Note)] == [room]
    damage = decode(struct.pack(">I", MAX_PAYLOAD_BYTES + 1)).damage
    assert damage is not None
    assert (damage.offset, damage.torn) == (0, False)
    assert "67108865" in damage.detail


def test_after_damage_nothing_is_kept() -> None:
    decoder = Decoder()
    decoder.feed(b"\0\0\0\1\xff")
    more = bytes(1 << 20)
    tracemalloc.start()
    try:
        for _ in range(8):
            decoder.feed(more)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(more)


@pytest.mark.parametrize("lost", [4, 5, 64, 512, 5000])
@pytest.mark.parametrize("name", SAMPLES)
def test_zeros_behind_the_last_record_are_a_torn_end(name: str, lost: int) -> None:
    data = encode(STREAM[0]) + encode(SAMPLES[name])
    stream = decode(data + bytes(lost))
    assert stream.records == [STREAM[0], SAMPLES[name]]
    assert stream.damage is not None
    assert (stream.damage.offset, stream.damage.torn) == (len(data), True)


def long_stream() -> tuple[list[Record], bytes, int]:
    """Records, their bytes, and the offset of the last one, which lies across a sector's end."""
    stream: list[Record] = []
    while True:
        data = b"".join(map(encode, stream))
        if 512 - len(data) % 512 in range(60, len(encode(STREAM[1])) - 60):
            return [*stream, STREAM[1]], data + encode(STREAM[1]), len(data)
        stream.append(Note(len(stream), "kind", "x" * 40))


@pytest.mark.parametrize("chunk", [1, 512, 1 << 20])
@pytest.mark.parametrize("more", [0, 1, 4096, 100_000])
def test_a_last_record_whose_sectors_were_lost_is_torn(more: int, chunk: int) -> None:
    records, data, last = long_stream()
    kept = -(-last // 512) * 512
    data = data[:kept] + bytes(len(data) - kept + more)
    decoder = Decoder()
    found = [e.record for i in range(0, len(data), chunk) for e in decoder.feed(data[i : i + chunk])]
    assert found == records[:-1]
    damage = decoder.finish()
    assert damage is not None
    assert (damage.offset, damage.torn) == (last, True)
    assert "power" in damage.detail
    assert decoder.fed_to == len(data)


def test_zeros_that_something_follows_are_damage() -> None:
    _, data, last = long_stream()
    kept = -(-last // 512) * 512
    for behind in (b"\1", encode(STREAM[0])):
        for zeros in (len(data) - kept, 5000):
            whole = data[:kept] + bytes(zeros) + behind
            for chunk in (len(whole), 512):
                decoder = Decoder()
                for start in range(0, len(whole), chunk):
                    decoder.feed(whole[start : start + chunk])
                damage = decoder.finish()
                assert damage is not None
                assert (damage.offset, damage.torn) == (last, False)
    damage = decode(encode(STREAM[0]) + bytes(4) + encode(STREAM[0])).damage
    assert damage is not None
    assert not damage.torn


def test_zeros_that_begin_within_a_sector_were_not_lost_with_it() -> None:
    frame = encode(STREAM[1])
    before = b"".join(encode(Note(n, "kind", "x" * 40)) for n in range(20))
    while len(before) % 512 + len(frame) > 512:
        before += encode(Note(0, "k", ""))
    for good in (b"", before):
        damage = decode(good + frame[:40] + bytes(len(frame) - 40)).damage
        assert damage is not None
        assert (damage.offset, damage.torn) == (len(good), False)


def test_a_damaged_last_record_is_no_torn_one_for_ending_as_records_do() -> None:
    _, data, last = long_stream()
    for where in range(last + 4, len(data) - 9):
        damaged = bytearray(data)
        damaged[where] ^= 1
        damage = decode(bytes(damaged)).damage
        assert damage is not None
        assert (damage.offset, damage.torn) == (last, False)


def test_what_is_fed_after_damage_counts_as_fed() -> None:
    """Who reads on from there would else read the same for ever."""
    decoder = Decoder(100)
    decoder.feed(b"\0\0\0\1\xff")
    assert decoder.fed_to == 105
    decoder.feed(bytes(7))
    assert (decoder.fed_to, decoder.offset) == (112, 100)


@pytest.mark.parametrize("size", [0, 1])
def test_a_frame_too_small_for_any_record_is_damage(size: int) -> None:
    damage = decode(framed(b"\x0c" * size) + b"\1").damage
    assert damage is not None
    assert not damage.torn


def test_a_length_that_lies_is_not_taken_for_a_torn_end() -> None:
    frames = [encode(record) for record in STREAM]
    longer = struct.pack(">I", len(frames[1]) - 4 + (1 << 20)) + frames[1][4:]
    stream = decode(frames[0] + longer + frames[2] + frames[3])
    assert stream.records == STREAM[:1]
    assert stream.damage is not None
    assert (stream.damage.offset, stream.damage.torn) == (len(frames[0]), False)


#: Fields and structs of some later version, or of somebody else's.
UNKNOWN_FIELDS = bytes.fromhex(
    "02 00c8 01"
    "0b 00c9 00000002 fffe"
    "0f 00ca 0c 00000002 0b 0001 00000000 00 00"
    "0d 00cb 0b 0b 00000001 00000001 78 00000001 79"
)


@pytest.mark.parametrize("name", SAMPLES)
def test_unknown_fields_of_a_record_are_skipped(name: str) -> None:
    payload = encode(SAMPLES[name])[4:-8]
    head, body = payload[:3], payload[3:-1]
    assert decode(framed(head + UNKNOWN_FIELDS + body + b"\0\0")).records == [SAMPLES[name]]
    assert decode(framed(head + body + UNKNOWN_FIELDS + b"\0\0")).records == [SAMPLES[name]]


def test_unknown_structs_of_the_union_are_skipped_beside_a_record() -> None:
    record = encode(STREAM[2])[4:-8]
    unknown = b"\x0c\0\xc8" + UNKNOWN_FIELDS + b"\0"
    for payload in (unknown + record, record + unknown):
        assert decode(framed(payload + b"\0")).records == [STREAM[2]]


def test_a_record_of_an_unknown_kind_is_no_damage_and_keeps_its_place() -> None:
    body = struct.pack(">bh", 12, 102) + UNKNOWN_FIELDS + b"\0"
    for frame in (framed(summed(body)), framed(body + b"\0"), framed(b"\0")):
        stream = decode(encode(STREAM[0]) + frame + encode(STREAM[1]))
        assert stream.damage is None
        assert stream.records == STREAM[:2]
        assert [entry.record for entry in stream.entries] == [STREAM[0], None, STREAM[1]]


def test_a_record_of_an_unknown_kind_is_checked_too() -> None:
    body = struct.pack(">bh", 12, 102) + UNKNOWN_FIELDS + b"\0"
    with pytest.raises(FrameError, match="checksum"):
        decode_payload(framed(body + struct.pack(">bhIb", 8, 100, 1, 0)))


@pytest.mark.parametrize(
    "payload, word",
    [
        (summed(encode(STREAM[2])[4:-8], b"\x0c\0\1\0\0"), "follows the checksum"),
        (summed(encode(STREAM[2])[4:-8], b"\x08\0\x64\0\0\0\0\0"), "follows the checksum"),
        (encode(STREAM[2])[4:-8] + b"\x08\0\x65" + bytes(4) + b"\0", "not a struct"),
        (b"\x0b\0\1" + bytes(4) + b"\0", "not a struct"),
        (encode(STREAM[2])[4:-8] + b"\0\0", "1 bytes follow"),
        (encode(STREAM[2])[4:-8], "does not end within"),
        (b"\x0c\0\2\x0a\0\1" + bytes(8) + b"\0\0", "ProcessStatus without process"),
        (b"\x0c\0\2\x08\0\5\0\0\0\x07\0\0", "7 is not a valid ProcessState"),
        (b"\x0c\0\3\0\0", "TaskStatus without state"),
        (b"\x0c\0\3\x08\0\1\0\0\0\x07\0\0", "7 is not a valid TaskState"),
        (b"\x0c\0\1\x0b\0\1\0\0\0\1t\0\0", "RunnerHeader without launch_time_ms"),
        (b"\x0c\0\x65\0\0", "Note without timestamp_ms"),
    ],
)
def test_a_frame_that_makes_no_sense_is_damage_that_says_why(payload: bytes, word: str) -> None:
    with pytest.raises(FrameError, match=word):
        decode_payload(framed(payload))
    damage = decode(framed(payload)).damage
    assert damage is not None
    assert word in damage.detail
    assert not damage.torn


def test_the_first_record_of_a_frame_counts_and_a_second_is_skipped() -> None:
    first, second = (encode(record)[4:-8] for record in STREAM[2:])
    assert decode(framed(first + second + b"\0")).records == [STREAM[2]]


@pytest.mark.parametrize("depth", [20, 100_000])
@pytest.mark.parametrize("inside", [b"\x0c\0\xc8", b"\x0c\0\2"], ids=["unknown", "known"])
def test_deep_nesting_is_damage_and_no_stack_overflow(depth: int, inside: bytes) -> None:
    with pytest.raises(FrameError, match="nested"):
        decode_payload(framed(inside + b"\x0c\0\xc9" * depth + bytes(depth + 2)))


def frame_like(draw: st.DataObject) -> bytes:
    """A frame, most often nearly right: random bytes alone hardly ever get past the first field."""
    data = bytearray(draw.draw(st.one_of(records.map(encode), records.map(without_checksum), st.binary(max_size=64))))
    for _ in range(draw.draw(st.integers(0, 3))):
        where = draw.draw(st.integers(0, len(data)))
        what = draw.draw(st.binary(max_size=4))
        if draw.draw(st.booleans()):
            data[where:where] = what
        else:
            data[where : where + len(what)] = what
    if draw.draw(st.booleans()) and len(data) >= 4:
        data[:4] = struct.pack(">I", len(data) - 4)
    return bytes(data)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_comes_never_raises_and_never_runs_away(draw: st.DataObject) -> None:
    data = b"".join(frame_like(draw) for _ in range(draw.draw(st.integers(0, 4))))
    stream = decode(data)
    assert stream.good_bytes <= len(data)
    assert [entry.offset for entry in stream.entries] == sorted({entry.offset for entry in stream.entries})
    assert (stream.good_bytes == len(data)) == (stream.damage is None)
    again = decode(data[: stream.good_bytes])
    assert (again.entries, again.damage) == (stream.entries, None)
    for record in stream.records:
        assert decode(encode(record)).records == [record] or "nan" in repr(record)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300))
@example(b"\x0d\0\1\x0c\x0c\x7f\xff\xff\xff" + bytes(200))
@example(b"\x0c\0\1\x0f\0\1\x02\x7f\xff\xff\xff" + b"\1" * 200)
def test_any_payload_gives_a_record_or_the_documented_error(payload: bytes) -> None:
    try:
        decode_payload(framed(payload))
    except FrameError as error:
        assert str(error)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x0c\0\xc8\x0b\0\1\x7f\xff\xff\xff",
        b"\x0c\0\1\x0b\0\1\x7f\xff\xff\xff",
        b"\x0c\0\1\x0d\0\6\x0b\x0a\x7f\xff\xff\xff",
        b"\x0c\0\xc8\x0f\0\1\x0c\x7f\xff\xff\xff",
        b"\x0c\0\xc8\x0d\0\1\x02\x02\x7f\xff\xff\xff",
        b"\x0c\0\xc8\x0e\0\1\x0b\x7f\xff\xff\xff",
    ],
    ids=["unknown string", "string", "map", "list", "unknown map", "set"],
)
def test_a_size_that_is_only_claimed_costs_no_memory(payload: bytes) -> None:
    tracemalloc.start()
    try:
        assert decode(framed(payload + bytes(99))).damage is not None
        assert decode(struct.pack(">I", MAX_PAYLOAD_BYTES) + payload).damage is not None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000
