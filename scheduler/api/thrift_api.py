"""``/api``: Thrift messages over HTTP, as Aurora's server takes and gives them."""

from __future__ import annotations

from typing import Final

from werkzeug.wrappers import Request, Response

from scheduler.api.answers import packed
from scheduler.api.failures import HttpFailure
from scheduler.api.methods import Methods
from scheduler.api.security import User
from scheduler.wire import thrift
from scheduler.wire.thrift import Fault, Protocol

#: Content type → protocol, by Aurora's exact words.
_TAKEN: Final = {
    "": Protocol.JSON,
    "application/x-thrift": Protocol.JSON,
    "application/json": Protocol.JSON,
    Protocol.JSON.value: Protocol.JSON,
    Protocol.BINARY.value: Protocol.BINARY,
}


def taken(content_type: str) -> Protocol:
    """How the body of a request is written. Raises HttpFailure with 415.

    Of parameters only ``charset=utf-8`` is taken, and only with Thrift's own JSON type, as Aurora has it.
    """
    name, _, parameter = content_type.strip().lower().partition(";")
    protocol = _TAKEN.get(name.strip())
    is_utf8 = protocol is Protocol.JSON and name.strip() == Protocol.JSON.value
    is_plain = not parameter or (is_utf8 and parameter.replace('"', "").strip() == "charset=utf-8")
    if protocol is None or not is_plain:
        raise HttpFailure(415, f"Unsupported Content-Type: {content_type[:200]}")
    return protocol


def given(accept: str) -> Protocol:
    """How the answer is to be written: binary only where just that is asked for."""
    return Protocol.BINARY if accept.strip().lower() == Protocol.BINARY.value else Protocol.JSON


def serve(request: Request, methods: Methods, user: User | None) -> Response:
    """Answer a call. Raises HttpFailure."""
    protocol, answer_protocol = taken(request.headers.get("Content-Type", "")), given(request.headers.get("Accept", ""))
    try:
        call = thrift.decode_call(request.get_data(), protocol)
    except thrift.UnknownMethod as error:
        fault = Fault.UNKNOWN_METHOD
        body = thrift.encode_fault(error.name, error.seqid, fault, str(error), answer_protocol)
    except thrift.WireError as error:
        raise HttpFailure(500, f"the body is no call of a method: {error}") from None
    else:
        body = thrift.encode_reply(call.name, call.seqid, methods.call(call, user), answer_protocol)
    return packed(request, Response(body, content_type=answer_protocol.value))
