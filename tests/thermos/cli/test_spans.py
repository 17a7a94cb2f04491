"""Spans of time on a command line."""

from __future__ import annotations

import argparse

import pytest

from thermos.cli.spans import span_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("90s", 90), ("10m", 600), ("2h30m", 9000), ("2d5h", 190800), ("1d1s", 86401)],
)
def test_spans(text: str, seconds: int) -> None:
    assert span_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "5h2d", "1.5h", "10 m", "m"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="span"):
        span_s(text)
