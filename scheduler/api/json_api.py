"""``/apibeta``: the same methods with JSON that people can write, and ``/apihelp``, which says what there is."""

from __future__ import annotations

import json
from html import escape
from typing import NoReturn

from werkzeug.wrappers import Request, Response

from scheduler.api.answers import as_json, html, packed
from scheduler.api.methods import Methods
from scheduler.api.security import User
from scheduler.core.commands import refused
from scheduler.wire.plain_json import parsed, plain
from scheduler.wire.schema import ARGUMENTS, WireError, wire_name
from scheduler.wire.thrift import Call
from thermos.formats.aurora_api import METHODS, RESPONSE, ResponseCode, Service


def serve(request: Request, name: str, methods: Methods, user: User | None) -> Response:
    """Answer a call of the method *name*. Raises HttpFailure."""
    struct = ARGUMENTS.get(name)
    if struct is None:
        return _failed(methods, 404, f"there is no method {name[:100]!r}; /apihelp/index.html has them all")
    try:
        arguments = parsed(struct, _object(request.get_data()))
    except WireError as error:
        return _failed(methods, 400, str(error))
    response = methods.call(Call(name, 0, arguments._asdict()), user)
    return packed(request, as_json(plain(RESPONSE, response)))


def _failed(methods: Methods, status: int, text: str) -> Response:
    response = methods.response(refused(text, code=ResponseCode.ERROR))
    return as_json(plain(RESPONSE, response), status)


def _object(body: bytes) -> object:
    if not body.strip():
        return {}
    try:
        return json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise WireError("the body is nested too deep") from None
    except ValueError as error:
        raise WireError(f"the body is not JSON: {error}") from None


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def help_page() -> Response:
    """All methods, for people."""
    parts = ["<!doctype html><meta charset=utf-8><title>API</title><h1>Methods</h1>",
             "<p>POST a JSON object of a method's arguments to /apibeta/METHOD; ",
             '<a href="/apibeta/openapi.json">/apibeta/openapi.json</a> describes them for programs.']  # fmt: skip
    for service in Service:
        parts.append(f"<h2>{service.value}</h2><ul>")
        for method in METHODS.values():
            if method.service is service:
                names = ", ".join(wire_name(method.name, argument.name) for argument in method.arguments)
                parts.append(f"<li><code>{escape(method.name)}({escape(names)})</code>")
        parts.append("</ul>")
    return html("".join(parts))
