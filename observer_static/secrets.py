"""Values that look like secrets, made unreadable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

DEFAULTS: Final[tuple[str, ...]] = ()


class Redactor:
    """Makes values unreadable that look like secrets."""

    def __init__(self, patterns: Sequence[str] = DEFAULTS, off: bool = False) -> None:
        self._patterns = tuple(patterns)
        self._off = off

    def text(self, text: str) -> tuple[str, int]:
        """*text*, and how many values of it were made unreadable."""
        return text, 0

    def json(self, value: Any) -> tuple[Any, int]:
        """Parsed JSON, and how many values of it were made unreadable."""
        return value, 0

    def line(self, text: str) -> str:
        """*text*, such as a line of a log, without its secrets."""
        return self.text(text)[0]
