"""The messages of ``grpc.health.v1.Health/Check``: bytes to values and back.

A message is an HTTP/2 body of one byte (1: compressed), its length in four bytes, big-endian, and Protocol Buffers.
The request has one field, the name of a service; the answer has one, how that service is.
"""

from __future__ import annotations

from typing import Final

PATH: Final = "/grpc.health.v1.Health/Check"
SERVING: Final = 1
#: ``HealthCheckResponse.ServingStatus``.
STATUSES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
#: How a call ended: the ``grpc-status`` of its trailers.
CODES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip

_PREFIX_BYTES: Final = 5
#: Tag of field 1 as text, and as a number.
_SERVICE: Final = 0x0A
_STATUS: Final = 0x08
_MAX_VARINT_BYTES: Final = 10


class BadAnswer(ValueError):
    """What came is no answer of a health service; says why."""


def request(service: str) -> bytes:
    """The body that asks about *service*; empty: about the server."""
    name = service.encode()
    message = bytes([_SERVICE]) + _varint(len(name)) + name if name else b""
    return _message(message)


def answer(status: int) -> bytes:
    """The body that says *status*."""
    return _message(bytes([_STATUS]) + _varint(status) if status else b"")


def read_answer(body: bytes) -> int:
    """The status that *body* says. Raises BadAnswer."""
    if len(body) < _PREFIX_BYTES:
        raise BadAnswer(f"its answer has {len(body)} bytes, too few for a message")
    if body[0]:
        raise BadAnswer("its answer is compressed, though nobody asked for that")
    message = body[_PREFIX_BYTES:]
    if int.from_bytes(body[1:_PREFIX_BYTES], "big") != len(message):
        raise BadAnswer("the length of its answer is not the one it says")
    status = at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _read_varint(message, at)
            if tag == _STATUS:
                status = value
        elif kind == 2:
            size, at = _read_varint(message, at)
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise BadAnswer(f"its answer holds a field of the unknown kind {kind}")
        if at > len(message):
            raise BadAnswer("its answer ends within a field")
    return status


def _message(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(_MAX_VARINT_BYTES):
        if at + shift >= len(message):
            raise BadAnswer("its answer ends within a number")
        byte = message[at + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    raise BadAnswer("its answer holds a number that does not end")
