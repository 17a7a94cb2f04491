"""What an executor says of its task's health, for whoever looks at the host.

Layout, ours: one JSON object at ``paths.health_file``, replaced as a whole, and locked by the executor as long as it
lives (a lock of fcntl(2) on the file as it was written last)::

    {"version": 1, "verdict": "healthy", "text": "…", "since_s": 1795182213.0}

``verdict`` is a value of :class:`Verdict`. ``since_s`` is wall time; null: not known. A reader that does not know
the version, or finds anything else, knows nothing.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Final, NamedTuple

VERSION: Final = 1
#: A file longer than this is none of ours.
MAX_BYTES: Final = 32 << 10
#: The words are cut here: in JSON a character takes twelve bytes at most.
MAX_CHARS: Final = 2000


class Verdict(Enum):
    """What health checks have come to."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNDECIDED = "undecided"
    #: Nothing checks this task.
    UNCHECKED = "unchecked"


class Health(NamedTuple):
    """A verdict, its reason in words, and since when it holds (wall time; None: not known)."""

    verdict: Verdict
    text: str
    since_s: float | None


def encode(health: Health) -> bytes:
    """The file's content."""
    value = {
        "version": VERSION,
        "verdict": health.verdict.value,
        "text": health.text[:MAX_CHARS],
        "since_s": health.since_s,
    }
    return json.dumps(value).encode("ascii") + b"\n"


def decode(data: bytes) -> Health:
    """What *data* says. Raises ValueError: it is no such file, or of a version that is not known."""
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict) or value.get("version") != VERSION:
        raise ValueError("not a health file of a known version")
    text, since_s = value.get("text"), value.get("since_s")
    if not isinstance(text, str):
        raise ValueError("text is no text")
    if since_s is not None and (type(since_s) not in (int, float) or not abs(since_s) < 1e18):
        raise ValueError("since_s is no time")
    return Health(Verdict(value.get("verdict")), text[:MAX_CHARS], float(since_s) if since_s is not None else None)
