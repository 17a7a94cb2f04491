"""Mesos RecordIO: any chunking, bounded, and never an exception."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermos.formats import recordio
from thermos.formats.recordio import Decoder


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(st.lists(st.binary(max_size=200), max_size=20), st.lists(st.integers(0, 10_000), max_size=40))
def test_what_was_encoded_comes_out_however_it_is_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(recordio.encode, payloads))
    decoder = Decoder()
    found = [payload for chunk in chunks(stream, cuts) for payload in decoder.feed(chunk)]
    assert found == payloads
    assert decoder.finish() is None
    assert (decoder.offset, decoder.pending_bytes) == (len(stream), 0)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_any_bytes_are_either_records_or_an_error_and_chunks_do_not_matter(data: bytes, cuts: list[int]) -> None:
    at_once, in_pieces = Decoder(100), Decoder(100)
    whole = at_once.feed(data)
    pieces = [payload for chunk in chunks(data, cuts) for payload in in_pieces.feed(chunk)]
    assert pieces == whole
    assert at_once.offset == in_pieces.offset
    assert (at_once.error is None) == (in_pieces.error is None)


@pytest.mark.parametrize(
    "stream, payloads, offset, reason",
    [
        (b"x\n", [], 0, "length begins with b'x'"),
        (b"2\nab-1\n", [b"ab"], 4, "length begins with b'-1'"),
        (b"\n", [], 0, "length is empty"),
        (b"2\nab\n", [b"ab"], 4, "length is empty"),
        (b"0\n3\nabc101\n", [b"", b"abc"], 7, "a record of 101 bytes is longer than the 100 allowed"),
        (b"9" * 21, [], 0, "length begins with b'999"),
        (b" 2\nab", [], 0, "length begins with b' 2'"),
        ("²\n".encode(), [], 0, "length begins with"),
        (b"HTTP/1.1 200 OK\r\n", [], 0, "length begins with b'HTTP"),
    ],
)
def test_a_bad_length_is_an_error_at_its_offset(stream: bytes, payloads: list[bytes], offset: int, reason: str) -> None:
    decoder = Decoder(max_frame_bytes=100)
    assert decoder.feed(stream) == payloads
    assert decoder.error is not None
    assert decoder.error.offset == offset
    assert reason in decoder.error.reason
    assert decoder.feed(b"2\nab") == []
    assert decoder.finish() is decoder.error


def test_a_stream_that_ends_within_a_record_says_so() -> None:
    decoder = Decoder()
    assert decoder.feed(b"2\nab5\nabc") == [b"ab"]
    error = decoder.finish()
    assert error is not None
    assert str(error) == "no RecordIO at byte 4 of the stream: the stream ends within a record, of which 5 bytes came"


def test_nothing_is_held_for_a_length_that_is_too_long() -> None:
    decoder = Decoder(max_frame_bytes=1000)
    decoder.feed(b"1001\n" + b"a" * 900)
    assert decoder.pending_bytes == 0


def test_many_small_chunks_of_a_long_record_cost_no_more_than_their_bytes() -> None:
    decoder = Decoder()
    size = 4 << 20
    found = decoder.feed(b"%d\n" % size)
    for _ in range(size // 1024):
        found += decoder.feed(b"a" * 1024)
    assert [len(payload) for payload in found] == [size]
