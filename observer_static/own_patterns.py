"""What an operator's own patterns find in a text, in a time that nobody's text can stretch.

Any user writes the commands that these patterns are tried on, and with a backtracking pattern a line of forty letters
can take a lifetime. So they are not Python's ``re``, which can be stopped by nothing, but the library ``regex``, which
stops at a time limit. What may not be looked through for want of time counts as a secret, all of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from thermos.errors import ExitCode, ThermosError

if TYPE_CHECKING:
    import regex

#: What a sound pattern may take for a text: so much at all, and so much for each character. Few take a tenth of it.
_FAIR_S: Final = 50e-6
_FAIR_PER_CHAR_S: Final = 0.2e-6
#: What one pattern may take beyond that, for one text and for all of them together.
LIMIT_S: Final = 0.1
LIMIT_IN_ALL_S: Final = 5.0

log = logging.getLogger("thermos_observer")


class PatternInvalid(ThermosError):
    """What was given to look for is no regular expression."""

    exit_code = ExitCode.USAGE


class TooSlow(Exception):
    """A pattern did not come to an end in its time."""


class _Pattern:
    def __init__(self, pattern: str) -> None:
        import regex  # 18 ms, for who has patterns of their own

        try:
            self.compiled: regex.Pattern[str] = regex.compile(pattern)
        except regex.error as error:
            raise PatternInvalid(f"{pattern!r} is no regular expression ({error})") from None
        self.group = 1 if self.compiled.groups else 0
        #: Processor time taken beyond what is fair.
        self.excess_s = 0.0
        self.is_told = False

    @property
    def is_given_up(self) -> bool:
        return self.excess_s > LIMIT_IN_ALL_S

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where the secrets are. Raises TooSlow."""
        if self.is_given_up:
            raise TooSlow
        fair_s = _FAIR_S + _FAIR_PER_CHAR_S * len(text)
        # Of this thread alone: the machine may be busy.
        begin_s = time.thread_time()
        try:
            return [match.span(self.group) for match in self.compiled.finditer(text, timeout=fair_s + LIMIT_S)]
        except (TimeoutError, MemoryError):
            self._tell()
            raise TooSlow from None
        finally:
            self.excess_s += max(time.thread_time() - begin_s - fair_s, 0.0)

    def _tell(self) -> None:
        if not self.is_told:
            self.is_told = True
            log.warning(
                "--redact %r takes too long with what some task says: such a text is made unreadable as a whole. A "
                "pattern in which a repetition stands within another can be the cause",
                self.compiled.pattern,
            )


class OwnPatterns:
    """An operator's patterns: of what one matches, the first group is the secret, or all. Raises PatternInvalid."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [_Pattern(pattern) for pattern in patterns]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(begin, end) of each secret in *text*. Raises TooSlow: it could not be looked through in time."""
        return [span for pattern in self._patterns for span in pattern.spans(text)]

    @property
    def notices(self) -> tuple[str, ...]:
        """In words: which patterns were given up, so that nothing is readable."""
        return tuple(
            f"--redact {pattern.compiled.pattern!r} took too long again and again and was given up: all commands and "
            "definitions are made unreadable until the observer is started without it"
            for pattern in self._patterns
            if pattern.is_given_up
        )
