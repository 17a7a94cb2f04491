"""Spans of time on a command line."""

from __future__ import annotations

import argparse
import re
from typing import Final

_SPAN: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


def span_s(text: str) -> float:
    """Seconds in a span like ``2d5h``, ``10m`` or ``90``. Raises argparse.ArgumentTypeError."""
    match = _SPAN.fullmatch(text)
    if not text or match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time: write 2d5h, 10m or 90s")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
