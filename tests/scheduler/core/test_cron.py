"""Cron schedules: what is taken and what is not, and the times that they mean, on days of any length."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core import cron

BERLIN = ZoneInfo("Europe/Berlin")
CAIRO = ZoneInfo("Africa/Cairo")


def ms(text: str, zone: ZoneInfo | None = None, fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone or UTC, fold=fold).timestamp() * 1000)


def times(text: str, after: str, count: int, zone: ZoneInfo | None = None) -> list[str]:
    """The next times, in the zone, with its offset."""
    found = []
    at_ms: int | None = ms(after, zone)
    for _ in range(count):
        assert at_ms is not None
        at_ms = cron.next_ms(cron.parse(text), at_ms, zone or UTC)
        if at_ms is None:
            break
        found.append(datetime.fromtimestamp(at_ms / 1000, zone or UTC).isoformat(timespec="minutes"))
    return found


# -- what is taken -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "* * * * *", "0 3 * * *", "*/5 * * * *", "0,30 8-17 * * MON-FRI", "0 0 1 * *", "0 0 1-31 * SUN",
        "10-50/20 * * * *", "0 0 * JAN,MAR-JUN *", "0 0 * * 0-6", "05 00 01 01 *", "0 0 29 2 *", "0 0 * jan sat",
        "  1  2   * * 3 ", "1,* * * * *", "0 0 */2 * *", "0 0 * * */2",
    ],
)  # fmt: skip
def test_what_aurora_takes_is_taken(text: str) -> None:
    schedule = cron.parse(text)
    assert schedule.text == text
    assert cron.next_ms(schedule, 0, UTC) is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has 0 fields"),
        ("@daily", "has 1 fields"),
        ("0 0 0 * * *", "has 6 fields, and should have 5: minute, hour, day of month, month, day of week"),
        ("60 * * * *", "minute: 60 is not within 0-59"),
        ("* 24 * * *", "hour: 24 is not within 0-23"),
        ("* * 0 * *", "day of month: 0 is not within 1-31"),
        ("* * * 13 *", "month: 13 is not within 1-12"),
        ("* * * * 7", "day of week: 7 is not within 0-6; Sunday is 0"),
        ("* * * * MON-7", "day of week: 7 is not within"),
        ("* * * * MO", "day of week: 'MO' is no number, nor one of SUN-SAT"),
        ("* * * * MON#2", "day of week: 'MON#2' is no number, range or step, nor one of SUN-SAT"),
        ("* * * * 5L", "day of week: '5L' is no number"),
        ("* * L * *", "day of month: 'L' is no number"),
        ("* * LW * *", "day of month: 'LW' is no number"),
        ("* * 15W * *", "day of month: '15W' is no number"),
        ("* * ? * *", "day of month: '?' is no number"),
        ("JAN * * * *", "minute: 'JAN' is no number"),
        ("* * * JAM *", "month: 'JAM' is no number, nor one of JAN-DEC"),
        ("5/10 * * * *", "minute: a step is of * or of a range, not of '5'"),
        ("*/0 * * * *", "minute: the step of '*/0' must be positive"),
        ("30-10 * * * *", "minute: the range '30-10' ends before it begins"),
        ("* * * * FRI-MON", "day of week: the range 'FRI-MON' ends before it begins"),
        ("1,,2 * * * *", "minute: '' is no number"),
        ("-5 * * * *", "minute: '-5' is no number"),
        ("1-2-3 * * * *", "minute: '1-2-3' is no number"),
        ("٣ * * * *", "minute: '٣' is no number"),
        ("9999999999999999999999 * * * *", "is not within 0-59"),
        ("0 0 1 * MON", "names both a day of month and a day of week"),
        ("0 0 31 2,4 *", "day of month: none of its months has a day 31"),
        ("*," * 600 + "* * * * *", "at most 1000 characters"),
    ],
)
def test_anything_else_is_refused_and_the_field_is_named(text: str, problem: str) -> None:
    with pytest.raises(cron.ScheduleInvalid) as caught:
        cron.parse(text)
    assert problem in str(caught.value)


def test_all_problems_are_said_at_once() -> None:
    with pytest.raises(cron.ScheduleInvalid) as caught:
        cron.parse("60 x * * 7")
    assert [problem.split(", ", 1)[1] for problem in caught.value.problems] == [
        "minute: 60 is not within 0-59",
        "hour: 'X' is no number",
        "day of week: 7 is not within 0-6; Sunday is 0",
    ]


# -- times -------------------------------------------------------------------------------------------------------------


def test_times() -> None:
    assert times("*/20 * * * *", "2026-01-01T00:00", 3) == [
        "2026-01-01T00:20+00:00", "2026-01-01T00:40+00:00", "2026-01-01T01:00+00:00",
    ]  # fmt: skip
    assert times("0 0 29 2 *", "2026-01-01T00:00", 2) == ["2028-02-29T00:00+00:00", "2032-02-29T00:00+00:00"]
    # A range of all days is no day of month: Mondays it is, and not every day.
    assert times("0 12 1-31 * MON", "2026-11-29T00:00", 2) == ["2026-11-30T12:00+00:00", "2026-12-07T12:00+00:00"]


def test_a_trigger_is_after_the_last_one_by_any_part_of_a_second() -> None:
    schedule = cron.parse("0 12 * * *")
    noon = ms("2026-01-01T12:00")
    assert cron.next_ms(schedule, noon - 1, UTC) == noon
    assert cron.next_ms(schedule, noon, UTC) == noon + 86_400_000
    assert cron.next_ms(schedule, noon + 999, UTC) == noon + 86_400_000


def test_when_clocks_go_forward_what_falls_into_the_gap_runs_once_at_its_end() -> None:
    """In Berlin on 2026-03-29, 02:00 is followed by 03:00."""
    day = "2026-03-29T00:30"
    assert times("30 2 * * *", day, 2, BERLIN) == ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]
    assert times("15,45 2 * * *", day, 2, BERLIN) == ["2026-03-29T03:00+02:00", "2026-03-30T02:15+02:00"]
    assert times("0 2,3 * * *", day, 2, BERLIN) == ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]
    assert times("*/30 * * * *", "2026-03-29T01:00", 3, BERLIN) == [
        "2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00",
    ]  # fmt: skip
    assert times("*/30 2 * * *", day, 1, BERLIN) == ["2026-03-30T02:00+02:00"]
    # In Cairo there was no midnight on 2026-04-24.
    assert times("0 0 * * *", "2026-04-23T12:00", 2, CAIRO) == ["2026-04-24T01:00+03:00", "2026-04-25T00:00+03:00"]


def test_when_clocks_go_back_fixed_times_run_once_and_others_by_the_time_that_passes() -> None:
    """In Berlin on 2026-10-25, 02:00 to 03:00 comes twice."""
    assert times("30 2 * * *", "2026-10-25T00:00", 2, BERLIN) == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]
    assert times("*/30 * * * *", "2026-10-25T01:30", 5, BERLIN) == [
        "2026-10-25T02:00+02:00", "2026-10-25T02:30+02:00", "2026-10-25T02:00+01:00", "2026-10-25T02:30+01:00",
        "2026-10-25T03:00+01:00",
    ]  # fmt: skip
    # Whoever begins to look within the second pass is not told of the first one.
    schedule = cron.parse("45 2 * * *")
    second = ms("2026-10-25T02:30", BERLIN, fold=1)
    assert cron.next_ms(schedule, second, BERLIN) == ms("2026-10-26T02:45", BERLIN)


numbers = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 6)}


@st.composite
def schedules(draw: st.DrawFn) -> str:
    """What may be written, most of it busy enough to be asked about for some days."""

    def field(name: str) -> str:
        first, last = numbers[name]
        number = st.integers(first, last)
        pair = st.tuples(number, number).map(sorted)
        step = st.integers(1, 70)
        term = st.one_of(
            st.just("*"), step.map("*/{}".format), number.map(str), pair.map(lambda two: f"{two[0]}-{two[1]}"),
            st.tuples(pair, step).map(lambda one: f"{one[0][0]}-{one[0][1]}/{one[1]}"),
        )  # fmt: skip
        return ",".join(draw(st.lists(term, min_size=1, max_size=3)))

    days, weekdays = draw(st.sampled_from([(field("day"), "*"), ("*", field("weekday")), ("*", "*")]))
    return f"{field('minute')} {field('hour')} {days} {draw(st.sampled_from(['*', '1-6', '10', '*/2']))} {weekdays}"


@settings(max_examples=60, deadline=None)
@given(schedules(), st.integers(0, 366 * 24 * 60))
def test_times_are_those_whose_numbers_are_in_all_fields(text: str, minute: int) -> None:
    """Looked for minute by minute, where clocks are never changed."""
    try:
        schedule = cron.parse(text)
    except cron.ScheduleInvalid as error:
        assert "never run" in str(error)
        return
    begin = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    wanted = []
    for later in range(1, 2 * 24 * 60 + 1):
        at = begin + timedelta(minutes=later)
        if (
            at.minute in schedule.minutes
            and at.hour in schedule.hours
            and at.day in schedule.days
            and at.month in schedule.months
            and at.isoweekday() % 7 in schedule.weekdays
        ):
            wanted.append(round(at.timestamp() * 1000))
    begin_ms = round(begin.timestamp() * 1000)
    found = []
    at_ms: int | None = begin_ms
    while (at_ms := cron.next_ms(schedule, at_ms or 0, UTC)) is not None and at_ms <= begin_ms + 2 * 86_400_000:
        found.append(at_ms)
        if len(found) == 60:
            break
    assert found == wanted[: len(found)]
    assert len(found) == min(60, len(wanted))


@settings(max_examples=60, deadline=None)
@given(schedules(), st.sampled_from(["2026-03-28T22:00", "2026-10-24T22:00", "2026-04-23T20:00"]), st.data())
def test_the_next_time_is_the_same_from_wherever_one_looks(text: str, begin: str, data: st.DataObject) -> None:
    """Also on the days on which clocks are changed: nothing comes twice, nothing is left out."""
    zone = data.draw(st.sampled_from([BERLIN, CAIRO, ZoneInfo("Australia/Lord_Howe")]))
    try:
        schedule = cron.parse(text)
    except cron.ScheduleInvalid:
        return
    begin_ms = ms(begin)
    between = sorted(data.draw(st.lists(st.integers(1, 12 * 3600), max_size=6)))
    looks = [begin_ms + second * 1000 for second in [*between, 12 * 3600]]
    found: list[int] = []
    since_ms = begin_ms
    for look_ms in looks:
        number, last_ms, _ = cron.passed(schedule, since_ms, look_ms, zone)
        found.append(number)
        if last_ms is not None:
            since_ms = last_ms
    assert sum(found) == cron.passed(schedule, begin_ms, looks[-1], zone).number


def test_what_has_passed_is_counted_and_the_last_two_are_known() -> None:
    schedule = cron.parse("0 * * * *")
    begin = ms("2026-01-01T00:00")
    hour = 3_600_000
    assert cron.passed(schedule, begin, begin + hour - 1, UTC) == (0, None, None)
    assert cron.passed(schedule, begin, begin + hour, UTC) == (1, begin + hour, None)
    assert cron.passed(schedule, begin, begin + 5 * hour + 7, UTC) == (5, begin + 5 * hour, begin + 4 * hour)


def test_of_years_not_every_minute_is_counted() -> None:
    begin = ms("2026-01-01T00:00")
    year = 365 * 86_400_000
    end = begin + year
    assert cron.passed(cron.parse("* * * * *"), begin, end, UTC) == (cron.MOST_COUNTED, end, end - 60_000)
    # Every minute of January, and nothing since.
    last = ms("2026-01-31T23:59")
    assert cron.passed(cron.parse("* * * 1 *"), begin, end - 1, UTC) == (cron.MOST_COUNTED, last, last - 60_000)
