"""How long the instances of a job have been up, and spans of time on the command line.

Source: ``aurora/client/api/sla.py`` and ``twitter/common/quantity``.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from thermos.formats.aurora_api import ScheduledTask, ScheduleStatus

#: Letter, name in the plural as it is shown, seconds; the largest first.
_UNITS: Final = (("d", "days", 86400), ("h", "hrs", 3600), ("m", "mins", 60), ("s", "secs", 1))
_SPAN: Final = re.compile("".join(f"(?:([0-9]{{1,9}}){letter})?" for letter, _, _ in _UNITS))


class Span(NamedTuple):
    """A span of time, shown in the smallest unit that it was given in: ``2d6h`` is ``54 hrs``."""

    seconds: int
    unit: str
    unit_s: int

    def __str__(self) -> str:
        return f"{self.seconds // self.unit_s} {self.unit}"


def span(text: str) -> Span:
    """*text*, such as ``1d3h45m``, as a span. For argparse."""
    found = _SPAN.fullmatch(text.strip())
    if not text.strip() or found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no span of time: write XdYhZmWs, such as 5m or 1d3h")
    given = [
        (int(number), name, size) for number, (_, name, size) in zip(found.groups(), _UNITS, strict=True) if number
    ]
    _, unit, unit_s = given[-1]
    return Span(sum(number * size for number, _, size in given), unit, unit_s)


def spans(text: str) -> list[Span]:
    """Several spans with commas between them. For argparse."""
    return [span(part) for part in text.split(",")]


def percentiles(text: str) -> list[float]:
    """Several percentiles with commas between them. For argparse."""
    found = []
    for part in text.split(","):
        try:
            number = float(part)
        except ValueError:
            number = math.nan
        if not 0 < number < 100:
            raise argparse.ArgumentTypeError(f"'{part}' is no percentile: write numbers above 0 and below 100")
        found.append(number)
    return found


def uptimes_s(tasks: Iterable[ScheduledTask], now_s: float) -> list[int]:
    """How long ago each task began to be RUNNING; those that never were are left out. Sorted."""
    found = []
    for task in tasks:
        since_ms = [event.timestamp for event in task.task_events or () if event.status is ScheduleStatus.RUNNING]
        if since_ms and since_ms[0] is not None:
            found.append(max(0, math.floor(now_s - since_ms[0] / 1000)))
    return sorted(found)


def share_up(uptimes: Sequence[int], seconds: float, total: int | None = None) -> float:
    """Percent of *total* tasks (not given: of these) that have been up for at least *seconds*."""
    of = len(uptimes) if total is None else total
    return 100.0 * sum(uptime >= seconds for uptime in uptimes) / of if of else 0.0


def at_percentile(uptimes: Sequence[int], percentile: float) -> int:
    """The uptime that *percentile* percent of the tasks reach; *uptimes* are sorted."""
    index = len(uptimes) - math.floor(percentile / 100.0 * len(uptimes)) - 1
    return uptimes[index] if 0 <= index < len(uptimes) else 0


def wait_s(uptimes: Sequence[int], percentage: float, seconds: float, total: int) -> float | None:
    """How long until *percentage* percent of *total* tasks have been up for *seconds*; None: never, with these tasks.

    *uptimes* are sorted, of the tasks that are there.
    """
    if share_up(uptimes, seconds, total) >= percentage:
        return 0
    index = len(uptimes) - math.ceil(total * percentage / 100.0)
    return seconds - uptimes[index] if 0 <= index < len(uptimes) else None
