"""How the values of flags are written: durations, sizes, words, numbers and where each begins and ends."""

from __future__ import annotations

import argparse
import math
import re
from datetime import UTC, tzinfo
from types import MappingProxyType
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from thermos.formats.mesos_v1 import duration_s

#: Shorter ways to write a duration, as Prometheus and others have them.
_SHORT: Final = MappingProxyType({"s": "secs", "m": "mins", "h": "hrs", "d": "days", "w": "weeks"})
_MEGABYTES: Final = MappingProxyType({"KB": 1 / 1024, "MB": 1, "GB": 1024, "TB": 1024 * 1024})
#: No longer duration means anything; Mesos, the store and Python's timers each have a limit above it.
LONGEST_S: Final = 36500 * 86400.0


def duration(text: str) -> float:
    """Seconds of ``5mins``, ``30secs``, ``1hrs``, or ``5m``, ``30s``, ``1h``."""
    match = re.fullmatch(r"([0-9.]+)([smhdw])", text)
    try:
        return duration_s(match[1] + _SHORT[match[2]] if match else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def megabytes(text: str) -> int:
    """Megabytes of ``128MB`` or ``1GB``."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?) ?([KMGT]B)", text.upper())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: it should be like 128MB or 1GB")
    return int(float(match[1]) * _MEGABYTES[match[2]])


def whole(text: str) -> int:
    """A whole number."""
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def number(text: str) -> float:
    """A number, with a fraction or without."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return value


def truth(text: str) -> bool:
    """A yes or no."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} should be true or false")
    return text.lower() == "true"


def words(text: str) -> tuple[str, ...]:
    """Words with commas between them."""
    return tuple(word for word in re.split(r"[,\s]+", text.strip("[] ")) if word)


def set_of_words(text: str) -> frozenset[str]:
    """Words with commas between them, of which the order does not matter."""
    return frozenset(words(text))


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """``name=value`` with commas between them."""
    found = []
    for word in words(text):
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise argparse.ArgumentTypeError(f"{word!r} should be like name=value")
        found.append((name, value))
    return tuple(found)


def time_zone(text: str) -> tzinfo:
    """A time zone by its name in the IANA database, such as ``Europe/Berlin``."""
    if text in ("GMT", "UTC"):
        return UTC
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise argparse.ArgumentTypeError(f"there is no time zone {text!r}; names are like Europe/Berlin") from None


class Wrong(NamedTuple):
    """In the place of a value that cannot be read: what is wrong with it."""

    problem: str


def shown_duration(seconds: float) -> str:
    """As it is written on the command line: ``5mins``."""
    for size_s, unit in ((86400, "days"), (3600, "hrs"), (60, "mins"), (1, "secs")):
        if seconds >= size_s and seconds % size_s == 0:
            return f"{seconds / size_s:g}{unit}"
    return f"{seconds * 1000:g}ms"


def range_problem(value: float, least: float, most: float, is_duration: bool) -> str | None:
    """What is wrong with a number that should be between the two; None: nothing."""
    if least <= value <= most:
        return None
    low, high = (shown_duration(bound) if is_duration else str(bound) for bound in (least, most))
    return f"should be {low} to {high}"
