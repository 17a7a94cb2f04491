"""CRC-32C (Castagnoli), as in RFC 3720 appendix B.4; Python's zlib has only the other polynomial."""

from __future__ import annotations

from typing import Final

#: The polynomial 0x1EDC6F41, bits reversed.
_POLYNOMIAL: Final = 0x82F63B78


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ _POLYNOMIAL if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_TABLE: Final = _table()


def crc32c(data: bytes, seed: int = 0) -> int:
    """The checksum of *data*, 0 … 2³²−1; *seed* is the checksum of what came before it."""
    crc = seed ^ 0xFFFFFFFF
    table = _TABLE
    for byte in data:
        crc = crc >> 8 ^ table[crc & 0xFF ^ byte]
    return crc ^ 0xFFFFFFFF
