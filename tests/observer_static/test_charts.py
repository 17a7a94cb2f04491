"""Charts and the timeline: small however much there is, and nothing that is not known is drawn as 0."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_static.charts import LATEST_S, MAX_LANES, LaneRuns, sane_time, timeline, usage_charts
from observer_static.history import UsagePoint
from observer_static.parts import Reserved
from thermos.core.state import Run
from thermos.states import ProcessState

NOTHING = Reserved(cpu=None, ram_bytes=None, disk_bytes=None)
AT_S = 1795182213.0


def points(*cpu: float | None) -> list[UsagePoint]:
    return [UsagePoint(AT_S + 10 * number, value, None, None) for number, value in enumerate(cpu)]


def test_a_chart() -> None:
    (chart,) = usage_charts(points(0.0, 0.5, 1.0), Reserved(cpu=2.0, ram_bytes=None, disk_bytes=None))
    assert chart.title == "CPU"
    assert chart.line == "M0.0 120.0 L300.0 90.0 L600.0 60.0"
    assert chart.area == "M0.0 120.0 L300.0 90.0 L600.0 60.0 L600.0 120 L0.0 120 Z"
    assert chart.limit_y == 0.0
    assert [tick.text for tick in chart.y_ticks] == ["0 cores", "1 core", "2 cores"]
    assert [tick.text for tick in chart.x_ticks] == ["13:43:35", "13:43:40", "13:43:45", "13:43:50"]
    assert chart.summary == (
        "CPU from 2026-11-20 13:43:33 UTC to 2026-11-20 13:43:53 UTC: 1 core at the end, 1 core at most; "
        "2 cores are reserved."
    )


def test_a_reservation_far_above_is_off_the_picture() -> None:
    (chart,) = usage_charts(points(0.1, 0.1), Reserved(cpu=64.0, ram_bytes=None, disk_bytes=None))
    assert chart.limit_y is None and "64 cores are reserved" in chart.summary


def test_what_is_not_known_is_a_gap() -> None:
    (chart,) = usage_charts(points(1.0, 1.0, None, 1.0, math.nan, 1.0), NOTHING)
    assert chart.line.count("M") == 3
    assert "0.0 120.0" not in chart.line, "nothing is drawn at 0"


@pytest.mark.parametrize("values", [(), (1.0,), (None, None, 1.0), (math.nan, math.inf, -1.0)])
def test_fewer_than_two_measurements_are_no_chart(values: tuple[float | None, ...]) -> None:
    assert usage_charts(points(*values), NOTHING) == ()


def test_ten_thousand_points_are_a_short_line() -> None:
    found = usage_charts([UsagePoint(AT_S + n, n % 7, n, n) for n in range(10_000)], NOTHING)
    assert [chart.title for chart in found] == ["CPU", "Memory", "Disk"]
    assert all(len(chart.line) < 6000 for chart in found)
    assert "L600.0" in found[1].line or "L599" in found[1].line


@given(st.lists(st.builds(UsagePoint, st.floats(), st.floats(), st.floats(), st.floats()), max_size=9))
def test_charts_of_anything(history: list[UsagePoint]) -> None:
    for chart in usage_charts(history, Reserved(cpu=1e300, ram_bytes=0, disk_bytes=10**30)):
        assert "nan" not in chart.line + chart.area and "inf" not in chart.line + chart.area


def run(number: int, state: ProcessState, start: float | None, stop: float | None) -> Run:
    made = Run(number, number, None)
    made.state, made.start_time, made.stop_time = state, start, stop
    return made


def test_a_timeline() -> None:
    drawn = timeline(
        [
            LaneRuns("a", "a.html", [run(0, ProcessState.SUCCESS, AT_S, AT_S + 50)], 1),
            LaneRuns("b", None, [run(0, ProcessState.RUNNING, AT_S + 50, None)], 1),
        ],
        AT_S + 100,
        False,
    )
    assert drawn is not None
    assert (drawn.begin_s, drawn.end_s) == (AT_S, AT_S + 100)
    (a,), (b,) = drawn.lanes[0].bars, drawn.lanes[1].bars
    assert (a.x, a.width, a.state, a.href) == (0.0, 500.0, "SUCCESS", "a.html")
    assert a.text == "Run 0: SUCCESS, from 2026-11-20 13:43:33 UTC, for 50 s"
    assert (b.x, b.width, b.state, b.href) == (500.0, 500.0, "RUNNING", None)
    assert drawn.summary.startswith("2 runs of 2 processes from 2026-11-20 13:43:33 UTC")


def test_a_run_whose_task_is_over_does_not_go_on_until_now() -> None:
    lanes = [LaneRuns("a", None, [run(0, ProcessState.RUNNING, AT_S, None)], 1)]
    drawn = timeline(lanes, AT_S + 1000, True)
    assert drawn is not None and drawn.end_s == AT_S + 1


def test_many_runs_are_merged_and_a_long_one_is_not() -> None:
    runs = [
        run(n, ProcessState.FAILED if n % 9 else ProcessState.SUCCESS, AT_S + n, AT_S + n + 0.5) for n in range(50_000)
    ]
    runs.append(run(50_000, ProcessState.SUCCESS, AT_S + 50_000, AT_S + 100_000))
    drawn = timeline([LaneRuns("a", None, runs, 60_000)], AT_S, True)
    assert drawn is not None
    bars = drawn.lanes[0].bars
    assert 100 < len(bars) <= 402
    assert drawn.lanes[0].left_out == 60_000 - len(bars)
    assert (bars[-1].state, bars[-1].x) == ("SUCCESS", 500.0)
    assert re.fullmatch(r"Runs 0 to \d+: \d+ FAILED, \d+ SUCCESS, from .*, within .*", bars[0].text)
    assert bars[0].state == "FAILED"


def test_there_are_not_too_many_lanes_nor_bars() -> None:
    runs = [run(n, ProcessState.SUCCESS, AT_S + n, AT_S + n + 1) for n in range(100)]
    drawn = timeline([LaneRuns(str(n), None, runs, 100) for n in range(1000)], AT_S, True)
    assert drawn is not None
    assert len(drawn.lanes) == MAX_LANES and "200 of 1000" in drawn.summary
    assert sum(len(lane.bars) for lane in drawn.lanes) <= 1200


def test_runs_without_a_time_are_not_drawn() -> None:
    assert timeline([LaneRuns("a", None, [run(0, ProcessState.WAITING, None, None)], 1)], AT_S, False) is None
    assert timeline([], AT_S, False) is None


@given(
    st.lists(st.tuples(st.sampled_from(ProcessState), st.floats() | st.none(), st.floats() | st.none()), max_size=9),
    st.booleans(),
)
def test_timelines_of_anything(found: list[tuple[ProcessState, float | None, float | None]], is_over: bool) -> None:
    runs = [run(number, *each) for number, each in enumerate(found)]
    drawn = timeline([LaneRuns("a", None, runs, len(runs))], AT_S, is_over)
    if drawn is not None:
        assert 0 < drawn.begin_s < drawn.end_s <= LATEST_S + 1
        for bar in drawn.lanes[0].bars:
            assert 0 <= bar.x <= drawn.width and 1 <= bar.width <= drawn.width + 1
        assert all(0 <= tick.at <= drawn.width for tick in drawn.ticks)


def test_sane_times() -> None:
    assert [sane_time(at_s) for at_s in (None, math.nan, math.inf, -1.0, 0.0, 1e15)] == [None] * 6
    assert sane_time(5) == 5.0
