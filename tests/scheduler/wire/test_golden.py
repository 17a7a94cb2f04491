"""What the original client sent, and what it was answered, is read as it was meant, and written again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scheduler.wire import plain_json, thrift
from scheduler.wire.schema import ARGUMENTS
from scheduler.wire.thrift import Protocol
from thermos.formats.assigned_task import TASK_CONFIG
from thermos.formats.aurora_api import JOB_CONFIGURATION, RESPONSE
from thermos.formats.thrift_binary import decode_struct, encode_struct

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"
REQUESTS = sorted(GOLDEN.glob("requests/*.readable.json"))
JOBS = sorted(GOLDEN.glob("jobs/**/job.sent.bin"))

pytestmark = pytest.mark.skipif(not REQUESTS, reason="needs the golden data beside the checkout")


def unordered(value: Any) -> Any:
    """Sets lie in any order; and of an executor's data the readable form has a parsed copy."""
    if isinstance(value, dict):
        return {name: unordered(item) for name, item in value.items() if name != "data_parsed"}
    if isinstance(value, list):
        return sorted((unordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def named(path: Path) -> str:
    return path.name.removesuffix(".readable.json")


@pytest.mark.parametrize("path", REQUESTS, ids=named)
def test_a_request_and_its_reply(path: Path) -> None:
    readable = json.loads(path.read_text("utf-8"))
    body = path.with_name(named(path) + ".bin").read_bytes()
    call = thrift.decode_call(body, Protocol.BINARY)
    assert (call.name, call.seqid) == (readable["method"], readable["seqid"])
    struct = ARGUMENTS[call.name]
    arguments = struct.factory(**call.arguments)
    assert unordered(plain_json.plain(struct, arguments)) == unordered(readable["args"])
    assert plain_json.parsed(struct, plain_json.plain(struct, arguments)) == arguments

    reply = path.with_name(named(path) + ".reply.bin").read_bytes()
    response = thrift.decode_reply(reply, call.name, call.seqid, Protocol.BINARY)
    assert unordered(plain_json.plain(RESPONSE, response)) == unordered(readable["reply"])
    assert plain_json.parsed(RESPONSE, plain_json.plain(RESPONSE, response)) == response

    for protocol in Protocol:
        again = thrift.encode_call(call.name, call.seqid, call.arguments, protocol)
        assert thrift.decode_call(again, protocol) == call
        again = thrift.encode_reply(call.name, call.seqid, response, protocol)
        assert thrift.decode_reply(again, call.name, call.seqid, protocol) == response
        assert len(again) == len(reply) or protocol is Protocol.JSON


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.parent.name)
def test_a_job(path: Path) -> None:
    body = path.read_bytes()
    job, end = decode_struct(JOB_CONFIGURATION, body, 0)
    assert end == len(body)
    readable = json.loads(path.with_name("job.sent.readable.json").read_text("utf-8"))
    assert unordered(plain_json.plain(JOB_CONFIGURATION, job)) == unordered(readable)
    assert len(encode_struct(JOB_CONFIGURATION, job)) == len(body)
    assert len(encode_struct(TASK_CONFIG, job.task_config)) < len(body)
