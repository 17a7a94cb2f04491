"""The file that says what an executor knows of its task's health."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thermos.formats.health_file import MAX_BYTES, MAX_CHARS, Health, Verdict, decode, encode

GOLDEN = Path(__file__).parents[2] / "golden" / "health" / "v1"
KNOWN = {
    "healthy": Health(Verdict.HEALTHY, "All health checks succeed. Ready.", 1795182213.25),
    "unhealthy": Health(Verdict.UNHEALTHY, "GET /health gave 503: \u20ac", 1795182213),
    "undecided": Health(Verdict.UNDECIDED, "Waits for startup probe 'up'.", 1795182213.0),
    "unchecked": Health(Verdict.UNCHECKED, "", None),
}


def test_every_golden_file_is_still_read_and_is_what_is_written() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {verdict.value for verdict in Verdict} == set(KNOWN)
    for name, health in KNOWN.items():
        data = (GOLDEN / f"{name}.json").read_bytes()
        assert decode(data) == health
        assert encode(health) == data


def test_the_longest_words_fit() -> None:
    longest = encode(Health(Verdict.UNHEALTHY, "\U0001f4a5" * MAX_CHARS * 2, 1e17))
    assert len(longest) <= MAX_BYTES
    assert decode(longest).text == "\U0001f4a5" * MAX_CHARS


SOUND = json.loads(encode(KNOWN["healthy"]))


@pytest.mark.parametrize(
    "value",
    [
        [], "x", None, 1, {**SOUND, "version": 2}, {**SOUND, "verdict": "fine"}, {**SOUND, "verdict": ["healthy"]},
        {**SOUND, "text": 1}, {**SOUND, "since_s": "now"}, {**SOUND, "since_s": True},
        {**SOUND, "since_s": float("inf")}, {**SOUND, "since_s": float("nan")}, {**SOUND, "since_s": 10**400},
    ],
)  # fmt: skip
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        decode(json.dumps(value).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, encode(KNOWN["healthy"])[:-5]])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)
