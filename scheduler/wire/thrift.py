"""Thrift messages of Aurora's API, in the binary and the JSON protocol: bytes in, values out, and back.

A message is an envelope (name of the method, type, sequence number) and one struct. Binary, strict: ``8001 00 type``,
name, sequence number; not strict, as old clients write: name, type, sequence number. Source:
thrift/doc/specs/thrift-rpc.md and thrift-binary-protocol.md. The JSON protocol is :mod:`scheduler.wire.thrift_json`.
What follows the message is passed over, as Aurora's server does.

Nothing that is read is believed: lengths are held against the bytes that are there, depth is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from struct import Struct
from typing import Any, Final, NamedTuple

from scheduler.wire import thrift_json
from scheduler.wire.schema import ARGUMENTS, REPLY, Reply, WireError
from thermos.formats.aurora_api import Response
from thermos.formats.thrift_binary import I32, STRING, Field, StructType, ThriftError, decode_struct, encode_struct

__all__ = [
    "ApplicationError",
    "Call",
    "Fault",
    "Protocol",
    "UnknownMethod",
    "WireError",
    "decode_call",
    "decode_reply",
    "encode_call",
    "encode_fault",
    "encode_reply",
]

CALL: Final = 1
REPLY_TYPE: Final = 2
EXCEPTION: Final = 3
ONEWAY: Final = 4

#: A method's name is no longer.
MAX_NAME_BYTES: Final = 256

_VERSION_1: Final = 0x80010000
_VERSION_MASK: Final = 0xFFFF0000
_U32 = Struct(">I")
_I32 = Struct(">i")


class Protocol(Enum):
    """How messages are written; the value is its media type."""

    BINARY = "application/vnd.apache.thrift.binary"
    JSON = "application/vnd.apache.thrift.json"


class Fault:
    """Numbers of ``TApplicationException``'s types (thrift/lib/py/src/Thrift.py)."""

    UNKNOWN_METHOD: Final = 1
    INTERNAL_ERROR: Final = 6


class Call(NamedTuple):
    """A call of a method. *arguments*: by name, in Python's spelling; None: not given."""

    name: str
    seqid: int
    arguments: Mapping[str, Any]


class UnknownMethod(WireError):
    """A well-formed call of a method that there is not; to be answered with ``encode_fault``."""

    def __init__(self, name: str, seqid: int) -> None:
        self.name = name
        self.seqid = seqid
        super().__init__(f"there is no method {name!r}")


class ApplicationError(WireError):
    """The other side answered with a ``TApplicationException``: it does not know the method, or failed."""

    def __init__(self, kind: int, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class _Fault(NamedTuple):
    message: str | None = None
    type: int | None = None


_FAULT: Final = StructType(_Fault, [Field(1, "message", STRING), Field(2, "type", I32)])


class _Envelope(NamedTuple):
    name: str
    type: int
    seqid: int
    #: Binary: the offset of the struct. JSON: the struct itself.
    body: Any


def encode_call(name: str, seqid: int, arguments: Mapping[str, Any], protocol: Protocol) -> bytes:
    """The message that calls a method. Raises KeyError for a method that there is not."""
    struct = ARGUMENTS[name]
    return _encode(name, CALL, seqid, struct, struct.factory(**_complete(struct, arguments)), protocol)


def decode_call(body: bytes, protocol: Protocol) -> Call:
    """The call that *body* begins with. Raises UnknownMethod, WireError."""
    envelope = _open(body, protocol)
    if envelope.type not in (CALL, ONEWAY):
        raise WireError(f"a message of type {envelope.type} is no call")
    struct = ARGUMENTS.get(envelope.name)
    if struct is None:
        raise UnknownMethod(envelope.name, envelope.seqid)
    values = _decode(struct, body, envelope, protocol)
    return Call(envelope.name, envelope.seqid, values._asdict())


def encode_reply(name: str, seqid: int, response: Response, protocol: Protocol) -> bytes:
    """The message that answers call *seqid* of method *name*."""
    return _encode(name, REPLY_TYPE, seqid, REPLY, Reply(response), protocol)


def encode_fault(name: str, seqid: int, kind: int, message: str, protocol: Protocol) -> bytes:
    """The message that says that a call could not even be tried; *kind*: one of :class:`Fault`."""
    return _encode(name, EXCEPTION, seqid, _FAULT, _Fault(message, kind), protocol)


def decode_reply(body: bytes, name: str, seqid: int, protocol: Protocol) -> Response:
    """What was answered to call *seqid* of method *name*. Raises ApplicationError, WireError."""
    envelope = _open(body, protocol)
    if envelope.type == EXCEPTION:
        fault = _decode(_FAULT, body, envelope, protocol)
        raise ApplicationError(fault.type or 0, fault.message or "the scheduler failed and does not say why")
    if envelope.type != REPLY_TYPE:
        raise WireError(f"a message of type {envelope.type} is no reply")
    if (envelope.name, envelope.seqid) != (name, seqid):
        raise WireError(f"a reply to {envelope.name} {envelope.seqid}, where one to {name} {seqid} is due")
    response = _decode(REPLY, body, envelope, protocol).success
    if not isinstance(response, Response):
        raise WireError(f"the reply to {name} holds no response")
    return response


def _complete(struct: StructType, arguments: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(struct.factory._fields)
    unknown = sorted(arguments.keys() - values.keys())
    if unknown:
        raise KeyError(f"{struct.name} has no {', '.join(unknown)}")
    values.update(arguments)
    return values


def _encode(name: str, kind: int, seqid: int, struct: StructType, value: Any, protocol: Protocol) -> bytes:
    if protocol is Protocol.JSON:
        return thrift_json.encode_message(name, kind, seqid, struct, value)
    raw = name.encode("utf-8", "surrogatepass")
    head = _U32.pack(_VERSION_1 | kind) + _I32.pack(len(raw)) + raw + _I32.pack(seqid)
    return head + encode_struct(struct, value)


def _open(body: bytes, protocol: Protocol) -> _Envelope:
    if protocol is Protocol.JSON:
        return _Envelope(*thrift_json.decode_message(body))
    if len(body) < _I32.size:
        raise WireError(f"{len(body)} bytes are no message")
    first = _U32.unpack_from(body, 0)[0]
    offset = _U32.size
    if first & 0x80000000:
        if first & _VERSION_MASK != _VERSION_1:
            raise WireError(f"a message of Thrift's binary protocol begins with 8001, not with {body[:2].hex()}")
        name, offset = _name(body, offset)
        return _Envelope(name, first & 0xFF, *_seqid(body, offset))
    name, offset = _name(body, 0)
    if offset >= len(body):
        raise WireError("the message ends behind its name")
    return _Envelope(name, body[offset], *_seqid(body, offset + 1))


def _name(body: bytes, offset: int) -> tuple[str, int]:
    start = offset + _I32.size
    if start > len(body):
        raise WireError("the message ends before its name")
    size = _I32.unpack_from(body, offset)[0]
    if not 0 <= size <= MAX_NAME_BYTES or start + size > len(body):
        raise WireError(f"a method's name of {size} bytes: this is no message of Thrift's binary protocol")
    try:
        return body[start : start + size].decode(), start + size
    except UnicodeDecodeError:
        raise WireError("the method's name is not UTF-8") from None


def _seqid(body: bytes, offset: int) -> tuple[int, int]:
    end = offset + _I32.size
    if end > len(body):
        raise WireError("the message ends within its head")
    return _I32.unpack_from(body, offset)[0], end


def _decode(struct: StructType, body: bytes, envelope: _Envelope, protocol: Protocol) -> Any:
    try:
        if protocol is Protocol.JSON:
            return thrift_json.decode_struct(struct, envelope.body)
        return decode_struct(struct, body, envelope.body)[0]
    except ThriftError as error:
        raise WireError(str(error)) from None
