from __future__ import annotations

import pytest

from observer_static.history import MAX_SAMPLES, History, UsagePoint


def point(at_s: float) -> UsagePoint:
    return UsagePoint(at_s, 0.5, 2**40 + 1, None)


def test_points_come_back_as_they_were() -> None:
    history = History(20)
    points = [UsagePoint(1.0, None, None, None), UsagePoint(2.5, 0.25, 2**52 + 1, 0), UsagePoint(2.5, 0.0, 0, 7)]
    for one in points:
        history.add(one)
    assert list(history) == points
    assert history.newest == points[-1]
    assert [type(number) for number in list(history)[1]] == [float, float, int, int]


def test_an_hour_is_kept() -> None:
    history = History(20)
    for number in range(1000):
        history.add(point(20.0 * number))
    assert len(history) == 180
    assert [one.at_s for one in history] == [20.0 * number for number in range(820, 1000)]


def test_nothing_older_than_an_hour_is_told() -> None:
    """Looks may be far apart: then the ring holds what is long past."""
    history = History(20)
    for at_s in (0.0, 10.0, 5000.0, 5001.0):
        history.add(point(at_s))
    assert [one.at_s for one in history] == [5000.0, 5001.0]


def test_an_empty_history() -> None:
    assert list(History(20)) == []
    assert History(20).newest is None


def test_the_past_is_refused() -> None:
    history = History(20)
    history.add(point(100.0))
    with pytest.raises(ValueError, match="comes after"):
        history.add(point(99.9))
    assert len(history) == 1


def test_more_points_than_anybody_wants() -> None:
    assert len(History(3600 / MAX_SAMPLES)) == 0
    with pytest.raises(ValueError, match="more than 10000"):
        History(3600 / (MAX_SAMPLES + 1))


@pytest.mark.parametrize("interval_s", [0.0, -1.0, float("nan")])
def test_an_interval_is_above_zero(interval_s: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        History(interval_s)


def test_an_interval_longer_than_what_is_kept() -> None:
    history = History(7200)
    history.add(point(1.0))
    history.add(point(2.0))
    assert [one.at_s for one in history] == [2.0]
