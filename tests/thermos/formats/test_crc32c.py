"""The checksum is the one of RFC 3720, by its own examples."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermos.formats.crc32c import crc32c

#: RFC 3720 appendix B.4, which prints each in the order in which its bytes are sent: the lowest first.
RFC_3720 = {
    "32 zeros": (bytes(32), "aa 36 91 8a"),
    "32 ones": (b"\xff" * 32, "43 ab a8 62"),
    "32 incrementing": (bytes(range(32)), "4e 79 dd 46"),
    "32 decrementing": (bytes(reversed(range(32))), "5c db 3f 11"),
    "iSCSI read command": (
        bytes.fromhex(
            "01c00000 00000000 00000000 00000000 14000000 0000040000000014 00000018 28000000 00000000 02000000 00000000"
        ),
        "56 3a 96 d9",
    ),
}


@pytest.mark.parametrize("data, sent", RFC_3720.values(), ids=RFC_3720.keys())
def test_examples_of_rfc_3720(data: bytes, sent: str) -> None:
    assert struct.pack("<I", crc32c(data)) == bytes.fromhex(sent)


def test_the_check_value_of_the_catalogue_of_parametrised_crcs() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_nothing_has_the_checksum_zero() -> None:
    assert crc32c(b"") == 0


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_checksum_can_go_on_where_another_ended(first: bytes, second: bytes) -> None:
    assert crc32c(second, crc32c(first)) == crc32c(first + second)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_flipped_bit_changes_it(data: bytes, draw: st.DataObject) -> None:
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    assert crc32c(bytes(flipped)) != crc32c(data)
