"""What the original `aurora` and `aurora_admin` sent in one session, header by header, is answered as they expect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response

from scheduler.api.app import create_app
from scheduler.core.update_request import UNCHANGED
from scheduler.wire import thrift
from scheduler.wire.thrift import Protocol
from tests.support.engine_backend import EngineBackend
from thermos.formats.aurora_api import ResponseCode, ResponseDetail

REQUESTS = Path(__file__).parents[4] / "shared" / "golden" / "requests"

pytestmark = pytest.mark.skipif(not REQUESTS.is_dir(), reason="needs the golden data beside the checkout")


def headers_of(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines()[1:]:
        name, _, value = line.partition(": ")
        if name not in ("Content-Length", "Accept-Encoding"):
            yield name, value


def test_a_session() -> None:
    http = Client(create_app(EngineBackend()), Response)
    answered = 0
    for path in sorted(REQUESTS.glob("*.readable.json")):
        readable = json.loads(path.read_text("utf-8"))
        name = path.name.removesuffix(".readable.json")
        headers = dict(headers_of((REQUESTS / f"{name}.headers.txt").read_text()))
        answer = http.post("/api", data=(REQUESTS / f"{name}.bin").read_bytes(), headers=headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, Protocol.BINARY.value), name
        response = thrift.decode_reply(answer.data, readable["method"], readable["seqid"], Protocol.BINARY)
        # Whoever recorded it made the replies up: the job is as the update wants it, and so there is none to pause.
        if readable["method"] == "startJobUpdate":
            assert response.response_code is ResponseCode.OK
            assert (response.result, response.details) == (None, (ResponseDetail(UNCHANGED),))
            continue
        if readable["method"] == "pauseJobUpdate":
            assert response.response_code is ResponseCode.INVALID_REQUEST
            continue
        assert response.response_code is ResponseCode[readable["reply"]["responseCode"]], (name, response.details)
        found = response.result
        member = next((field for field in (found or ()) if field is not None), None)
        assert (member is not None) == bool(readable["reply"].get("result")), name
        answered += 1
    assert answered >= 20
