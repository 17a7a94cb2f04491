"""When a cron job is to run: its schedule, read as Aurora reads it, and the times that it means.

The grammar is that of Aurora's ``CrontabEntry``: five fields of numbers, names of months and days, lists, ranges and
steps, not both a day of the month and a day of the week. What other crontabs take beside that is refused. The times are
cronsim's, which has the rules of Debian's cron for days on which clocks are changed: a job of fixed times runs once for
each of them, at the end of the gap if there is no such time, and at the first of two equal ones; a job whose minutes or
hours begin with ``*`` runs by the time that passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

from cronsim import CronSim

from thermos.errors import ExitCode, ThermosError

#: Triggers that passed are counted one by one up to so many; a job of every minute has 1440 a day.
MOST_COUNTED: Final = 10_000
#: Longer than every schedule that people write; a list may name each minute.
MAX_LENGTH: Final = 1000


class ScheduleInvalid(ThermosError):
    """The schedule cannot be taken; *problems* has everything that is wrong with it."""

    exit_code = ExitCode.INVALID_TASK

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    #: Of the first number on.
    names: tuple[str, ...] = ()

    @property
    def all(self) -> frozenset[int]:
        return frozenset(range(self.first, self.last + 1))


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")),
    _Field("day of week", 0, 6, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")),
)
_DAYS_IN_MONTH: Final = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_TERM: Final = re.compile(r"(?:\*|([A-Z0-9]+)(?:-([A-Z0-9]+))?)(?:/([0-9]{1,9}))?")


class Schedule(NamedTuple):
    """When a job runs. The sets are of the numbers that its fields stand for."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    #: Sunday is 0.
    weekdays: frozenset[int]


@lru_cache(maxsize=10_000)
def parse(text: str) -> Schedule:
    """The schedule that *text* describes. Raises ScheduleInvalid with all problems, each with its field."""
    given = text.upper().split()
    if len(text) > MAX_LENGTH:
        raise ScheduleInvalid((f"a cron schedule has at most {MAX_LENGTH} characters, not {len(text)}",))
    shown = f"the cron schedule {text!r}"
    if len(given) != len(_FIELDS):
        names = ", ".join(field.name for field in _FIELDS)
        raise ScheduleInvalid((f"{shown} has {len(given)} fields, and should have {len(_FIELDS)}: {names}",))
    problems: list[str] = []
    sets = [
        frozenset(_numbers(words, field, f"{shown}, {field.name}", problems))
        for words, field in zip(given, _FIELDS, strict=True)
    ]
    schedule = Schedule(text, *sets)
    if not problems:
        problems += _contradictions(schedule, shown)
    if problems:
        raise ScheduleInvalid(tuple(problems))
    return schedule


def _numbers(words: str, field: _Field, where: str, problems: list[str]) -> Iterator[int]:
    for word in words.split(","):
        match = _TERM.fullmatch(word)
        if match is None:
            problems.append(f"{where}: {word!r} is no number, range or step{_and_names(field)}")
            continue
        first, last, step = match.groups()
        if first is not None and last is None:
            if step is not None:
                problems.append(f"{where}: a step is of * or of a range, not of {first!r}")
            else:
                yield from _number(first, field, where, problems)
            continue
        begin, end = [field.first], [field.last]
        if first is not None:
            begin, end = _number(first, field, where, problems), _number(last, field, where, problems)
        if step is not None and int(step) == 0:
            problems.append(f"{where}: the step of {word!r} must be positive")
        elif begin and end:
            if begin[0] > end[0]:
                problems.append(f"{where}: the range {word!r} ends before it begins")
            yield from range(begin[0], end[0] + 1, int(step or 1))


def _number(word: str, field: _Field, where: str, problems: list[str]) -> list[int]:
    """The number that *word* is or names; none if it is not one of the field's."""
    if word in field.names:
        return [field.first + field.names.index(word)]
    if not word.isdecimal():
        problems.append(f"{where}: {word!r} is no number{_and_names(field)}")
    elif len(word) > 9 or not field.first <= int(word) <= field.last:
        sunday = "; Sunday is 0" if word == "7" and field.last == 6 else ""
        problems.append(f"{where}: {word} is not within {field.first}-{field.last}{sunday}")
    else:
        return [int(word)]
    return []


def _and_names(field: _Field) -> str:
    return f", nor one of {field.names[0]}-{field.names[-1]}" if field.names else ""


def _contradictions(schedule: Schedule, shown: str) -> Iterator[str]:
    has_days = schedule.days != _FIELDS[2].all
    if has_days and schedule.weekdays != _FIELDS[4].all:
        yield f"{shown} names both a day of month and a day of week: one of them must be *"
    elif has_days and min(schedule.days) > max(_DAYS_IN_MONTH[month] for month in schedule.months):
        yield f"{shown}, day of month: none of its months has a day {min(schedule.days)}, so it would never run"


# -- times -------------------------------------------------------------------------------------------------------------


def _plain(schedule: Schedule) -> str:
    """The same in words that have but one meaning: cronsim takes ``0-0/2`` for every other from 0 on, and days ``1-31``
    for a restriction. A star at the beginning of minutes and hours stays, since it says what becomes of a gap."""
    words = []
    for field, given, numbers in zip(_FIELDS, schedule.text.split(), schedule[1:], strict=True):
        listed = ",".join(map(str, sorted(numbers)))
        star = given.partition(",")[0] if given.startswith("*") and field.last in (59, 23) else None
        words.append("*" if numbers == field.all and (star or field.last not in (59, 23)) else listed)
        if star is not None and words[-1] != "*":
            words[-1] = f"{star},{listed}"
    return " ".join(words)


def _times(schedule: Schedule, after_ms: int, zone: tzinfo) -> Iterator[int]:
    """Its times after *after_ms*, ascending."""
    begin = datetime.fromtimestamp(after_ms // 1000, zone)
    last_ms = after_ms
    for at in CronSim(_plain(schedule), begin):
        # What begins within the hour that comes twice is told of its first pass, too.
        at_ms = round(at.timestamp()) * 1000
        if at_ms > last_ms:
            last_ms = at_ms
            yield at_ms


def next_ms(schedule: Schedule, after_ms: int, zone: tzinfo) -> int | None:
    """The first of its times after *after_ms*, wall time; None: none within 50 years."""
    return next(_times(schedule, after_ms, zone), None)


def next_run_ms(text: str | None, after_ms: int, zone: tzinfo) -> int | None:
    """``next_ms`` of the schedule *text*; None, too, where that is none."""
    try:
        return next_ms(parse(text or ""), after_ms, zone)
    except ScheduleInvalid:
        return None


class Passed(NamedTuple):
    """Times of a schedule that are over."""

    #: How many; where they are more than ``MOST_COUNTED``, that.
    number: int
    #: The last of them, and the one before it; None: there is none.
    last_ms: int | None
    before_ms: int | None


def passed(schedule: Schedule, after_ms: int, until_ms: int, zone: tzinfo) -> Passed:
    """Its times after *after_ms*, up to and with *until_ms*."""
    count = 0
    last_ms: int | None = None
    before_ms: int | None = None
    for at_ms in _times(schedule, after_ms, zone):
        if at_ms > until_ms:
            break
        count += 1
        before_ms, last_ms = last_ms, at_ms
        if count == MOST_COUNTED:
            # So many only of a short schedule: its last ones are near the end.
            return Passed(count, *_last(schedule, at_ms, until_ms, zone))
    return Passed(count, last_ms, before_ms)


def _last(schedule: Schedule, after_ms: int, until_ms: int, zone: tzinfo) -> tuple[int | None, int | None]:
    """The last time of *schedule* within this, and the one before, looked for from the end: ever further back."""
    back_ms = 120_000
    while True:
        begin_ms = max(after_ms - 1, until_ms - back_ms)
        found: tuple[int | None, int | None] = (None, None)
        for at_ms in _times(schedule, begin_ms, zone):
            if at_ms > until_ms:
                break
            found = (at_ms, found[0])
        if found[1] is not None or begin_ms < after_ms:
            return found
        back_ms *= 2
