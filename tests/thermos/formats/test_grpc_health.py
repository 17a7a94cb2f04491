"""Messages of gRPC's health protocol: as the official library writes and reads them, and ill-formed ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermos.formats.grpc_health import STATUSES, BadAnswer, answer, read_answer, request


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


@settings(deadline=None)  # what else the machine does is not the question
@given(st.text(max_size=300) | st.just("a" * 200))
def test_the_official_library_reads_what_we_ask(service: str) -> None:
    official = pytest.importorskip("grpc_health.v1.health_pb2", reason="grpcio-health-checking is not installed")
    body = request(service)
    assert body == framed(official.HealthCheckRequest(service=service).SerializeToString())


@pytest.mark.parametrize("status", STATUSES)
def test_we_read_what_the_official_library_answers(status: int) -> None:
    official = pytest.importorskip("grpc_health.v1.health_pb2", reason="grpcio-health-checking is not installed")
    message = official.HealthCheckResponse(status=status)
    assert official.HealthCheckResponse.ServingStatus.Name(status) == STATUSES[status]
    assert read_answer(framed(message.SerializeToString())) == status


@settings(deadline=None)  # what else the machine does is not the question
@given(st.integers(0, (1 << 63) - 1))
def test_a_status_is_read_as_it_was_written(status: int) -> None:
    assert read_answer(answer(status)) == status


def test_fields_of_a_later_version_are_passed_over() -> None:
    later = b"\x12\x03abc" + b"\x1d1234" + b"\x2112345678" + b"\x30\x07" + b"\x08\x01"
    assert read_answer(framed(later)) == 1


@pytest.mark.parametrize(
    "body, told",
    [
        (b"", "0 bytes"),
        (b"\0\0\0\0", "4 bytes"),
        (b"\1\0\0\0\0", "compressed"),
        (b"\0\0\0\0\1", "length"),
        (b"\0\0\0\0\0\0", "length"),
        (framed(b"\x08"), "within a number"),
        (framed(b"\x08\xff"), "within a number"),
        (framed(b"\x08" + b"\xff" * 11), "does not end"),
        (framed(b"\x12\x05a"), "within a field"),
        (framed(b"\x1d12"), "within a field"),
        (framed(b"\x0b"), "unknown kind 3"),
    ],
)
def test_what_is_no_answer_is_told(body: bytes, told: str) -> None:
    with pytest.raises(BadAnswer, match=told):
        read_answer(body)


@settings(deadline=None)  # what else the machine does is not the question
@given(st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_told(body: bytes) -> None:
    for each in (body, framed(body)):
        try:
            assert read_answer(each) >= 0
        except BadAnswer as error:
            assert str(error)
