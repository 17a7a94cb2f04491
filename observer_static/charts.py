"""The geometry of pictures: quantities over time, and all runs of a task on a timeline. Pure.

However much there is to draw, a picture stays small: what falls into one column of a chart is one point, and runs
too close to be told apart are one bar that says how many it stands for.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from observer_static.history import UsagePoint
from observer_static.parts import Bar, Chart, Lane, Reserved, Tick, Timeline
from thermos.core.state import Run
from thermos.states import ProcessState
from thermos.words import duration, moment, size

#: Seconds at the end of the year 9999: what lies beyond is no time.
LATEST_S: Final = 253402300799.0

_CHART_WIDTH: Final = 600
_CHART_HEIGHT: Final = 120
_TIMELINE_WIDTH: Final = 1000
_LANE_HEIGHT: Final = 18
#: Quantities outside of these are no measurement, or as good as 0.
_MOST: Final = 1e18
_LEAST: Final = 1e-6
#: Bars in one picture, and lanes, at most.
MAX_BARS: Final = 400
MAX_LANES: Final = 200
_LEAST_BARS: Final = 4
_MOST_TICKS: Final = 5

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
#: Distances of marks on an axis of time that people read well.
_STEPS_S: Final = (
    1, 2, 5, 10, 15, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR,
    2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY, 90 * _DAY,
    365 * _DAY,
)  # fmt: skip

#: What a bar that stands for several runs looks like: the first of these that one of them has.
_WORST_FIRST: Final = (
    ProcessState.FAILED,
    ProcessState.LOST,
    ProcessState.KILLED,
    ProcessState.RUNNING,
    ProcessState.FORKED,
    ProcessState.WAITING,
    ProcessState.SUCCESS,
)


def sane_time(at_s: float | None) -> float | None:
    """*at_s*, if a calendar knows it and it is not the beginning of time."""
    if at_s is None or not 0 < at_s <= LATEST_S:  # NaN is neither
        return None
    return float(at_s)


# -- Charts -----------------------------------------------------------------------------------------------------------


def usage_charts(history: Sequence[UsagePoint], reserved: Reserved) -> tuple[Chart, ...]:
    """CPU, memory and disk over time; none of what was not measured at least twice."""
    wanted: tuple[tuple[str, Callable[[UsagePoint], float | None], float | None, Callable[[float], str]], ...] = (
        ("CPU", lambda point: point.cpu, reserved.cpu, _cores),
        ("Memory", lambda point: point.ram_bytes, reserved.ram_bytes, _bytes),
        ("Disk", lambda point: point.disk_bytes, reserved.disk_bytes, _bytes),
    )
    charts = (
        _chart(title, [(point.at_s, value(point)) for point in history], limit, form)
        for title, value, limit, form in wanted
    )
    return tuple(chart for chart in charts if chart is not None)


def _cores(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") + (" core" if value == 1 else " cores")


def _bytes(value: float) -> str:
    return size(int(value))


def _chart(
    title: str, points: list[tuple[float, float | None]], limit: float | None, form: Callable[[float], str]
) -> Chart | None:
    points = [(at_s, value) for at_s, value in points if sane_time(at_s) is not None]
    known = [value for _, value in points if _is_quantity(value)]
    if len(known) < 2 or not points[0][0] < points[-1][0]:
        return None
    begin_s, end_s = points[0][0], points[-1][0]
    largest = max(value for value in known if value is not None)
    limit = limit if _is_quantity(limit) and limit else None
    top = _nice_top(max(largest, limit) if limit is not None and limit <= 2 * largest else largest)
    x_of = _CHART_WIDTH / (end_s - begin_s)
    y_of = _CHART_HEIGHT / top
    pieces = _pieces(points, begin_s, x_of)
    line = " ".join(_path(piece, y_of) for piece in pieces)
    area = " ".join(
        f"{_path(piece, y_of)} L{piece[-1][0]:.1f} {_CHART_HEIGHT} L{piece[0][0]:.1f} {_CHART_HEIGHT} Z"
        for piece in pieces
    )
    last = known[-1]
    assert last is not None
    reserved = f"; {form(limit)} are reserved" if limit is not None else ""
    return Chart(
        title=title,
        summary=f"{title} from {moment(begin_s)} to {moment(end_s)}: {form(last)} at the end, "
        f"{form(largest)} at most{reserved}.",
        width=_CHART_WIDTH,
        height=_CHART_HEIGHT,
        line=line,
        area=area,
        limit_y=round(_CHART_HEIGHT - limit * y_of, 1) if limit is not None and limit <= top else None,
        x_ticks=_time_ticks(begin_s, end_s, _CHART_WIDTH),
        y_ticks=tuple(
            Tick(at=round(_CHART_HEIGHT * (1 - share), 1), text=form(top * share)) for share in (0.0, 0.5, 1.0)
        ),
    )


def _is_quantity(value: float | None) -> bool:
    return value is not None and 0 <= value <= _MOST  # NaN is neither


def _nice_top(largest: float) -> float:
    """A round number that is not below *largest*."""
    if largest < _LEAST:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(largest))
    return next((step * unit for step in (1, 2, 5) if step * unit >= largest), 10 * unit)


def _pieces(points: list[tuple[float, float | None]], begin_s: float, x_of: float) -> list[list[tuple[float, float]]]:
    """The line in pieces that have no gap; of what falls into one column, the largest."""
    pieces: list[list[tuple[float, float]]] = []
    is_open = False
    for at_s, value in points:
        if value is None or not _is_quantity(value):
            is_open = False
            continue
        x = (at_s - begin_s) * x_of
        if not is_open:
            pieces.append([(x, value)])
        elif int(pieces[-1][-1][0] / 2) == int(x / 2):
            pieces[-1][-1] = (pieces[-1][-1][0], max(pieces[-1][-1][1], value))
        else:
            pieces[-1].append((x, value))
        is_open = True
    return pieces


def _path(piece: list[tuple[float, float]], y_of: float) -> str:
    points = piece if len(piece) > 1 else [piece[0], (min(piece[0][0] + 1, _CHART_WIDTH), piece[0][1])]
    return "M" + " L".join(f"{x:.1f} {_CHART_HEIGHT - value * y_of:.1f}" for x, value in points)


def _time_ticks(begin_s: float, end_s: float, width: int) -> tuple[Tick, ...]:
    """Marks at round times; texts as short as tells them apart."""
    span_s = end_s - begin_s
    if span_s <= 0:
        return ()
    step_s: float = next((step for step in _STEPS_S if span_s / step <= _MOST_TICKS), 0)
    if not step_s:
        years = math.ceil(span_s / _MOST_TICKS / _STEPS_S[-1])
        step_s = years * _STEPS_S[-1]
    form = "%H:%M:%S" if step_s < _MINUTE else "%H:%M" if step_s < _DAY else "%m-%d" if span_s < 365 * _DAY else "%Y-%m"
    ticks: list[Tick] = []
    at_s = math.ceil(begin_s / step_s) * step_s
    while at_s <= end_s and len(ticks) <= _MOST_TICKS:
        text = time.strftime(form, time.gmtime(at_s)) if at_s <= LATEST_S else ""
        ticks.append(Tick(at=round((at_s - begin_s) / span_s * width, 1), text=text))
        at_s += step_s
    return tuple(ticks)


# -- The timeline -----------------------------------------------------------------------------------------------------


class LaneRuns(NamedTuple):
    """The runs of one process, as the timeline wants them."""

    name: str
    href: str | None
    runs: Sequence[Run]
    #: How many there were; those not in ``runs`` are not drawn.
    total: int


class _Group:
    """Runs that one bar stands for."""

    __slots__ = ("begin_s", "cell", "end_s", "first", "last", "states")

    def __init__(self, run: Run, begin_s: float, end_s: float, cell: int) -> None:
        self.first = self.last = run.number
        self.begin_s = begin_s
        self.end_s = end_s
        self.cell = cell
        self.states = Counter({run.state: 1})

    def add(self, run: Run, end_s: float) -> None:
        self.last = run.number
        self.end_s = max(self.end_s, end_s)
        self.states[run.state] += 1


def timeline(lanes: Sequence[LaneRuns], now_s: float, is_over: bool, max_bars: int = MAX_BARS) -> Timeline | None:
    """All runs as bars, at most about *max_bars* of them; None: there was no run.

    *is_over*: nothing of the task runs any more, so what has no end is drawn as a moment.
    """
    spans = [(lane, _spans(lane.runs, now_s, is_over)) for lane in lanes[:MAX_LANES]]
    spans = [(lane, found) for lane, found in spans if found]
    if not spans:
        return None
    begin_s = min(span[1] for _, found in spans for span in found)
    end_s = max(begin_s + 1.0, *(span[2] for _, found in spans for span in found))
    per_lane = max(max_bars // len(spans), _LEAST_BARS)
    drawn = [_lane(lane, found, begin_s, end_s, per_lane) for lane, found in spans]
    runs = sum(lane.total for lane in lanes)
    more = f" The first {len(drawn)} of {len(lanes)} processes are drawn." if len(lanes) > len(drawn) else ""
    return Timeline(
        width=_TIMELINE_WIDTH,
        lane_height=_LANE_HEIGHT,
        lanes=tuple(drawn),
        ticks=_time_ticks(begin_s, end_s, _TIMELINE_WIDTH),
        begin_s=begin_s,
        end_s=end_s,
        summary=f"{runs} {'run' if runs == 1 else 'runs'} of {len(lanes)} "
        f"{'process' if len(lanes) == 1 else 'processes'} from {moment(begin_s)} to {moment(end_s)}.{more}",
    )


def _spans(runs: Sequence[Run], now_s: float, is_over: bool) -> list[tuple[Run, float, float]]:
    """Each run with its begin and end; without those that have no time at all."""
    found = []
    for run in runs:
        begin_s = sane_time(run.start_time) or sane_time(run.fork_time) or sane_time(run.stop_time)
        if begin_s is None:
            continue
        end_s = sane_time(run.stop_time)
        if end_s is None and not run.state.is_terminal and not is_over:
            end_s = now_s
        found.append((run, begin_s, max(begin_s, end_s if end_s is not None else begin_s)))
    return found


def _lane(lane: LaneRuns, spans: list[tuple[Run, float, float]], begin_s: float, end_s: float, max_bars: int) -> Lane:
    cell_s = (end_s - begin_s) / max_bars
    groups: list[_Group] = []
    left_out = lane.total - len(spans)
    for run, run_begin_s, run_end_s in spans:
        cell = int((run_begin_s - begin_s) / cell_s)
        is_short = run_end_s - run_begin_s < cell_s
        last = groups[-1] if groups else None
        if last is not None and is_short and last.cell == cell:
            last.add(run, run_end_s)
            left_out += 1
        elif len(groups) < 2 * max_bars:
            groups.append(_Group(run, run_begin_s, run_end_s, cell))
        else:  # runs that overlap: nothing that a runner does
            left_out += 1
    x_of = _TIMELINE_WIDTH / (end_s - begin_s)
    return Lane(
        name=lane.name,
        href=lane.href,
        bars=tuple(_bar(group, lane.href, begin_s, x_of) for group in groups),
        left_out=left_out,
    )


def _bar(group: _Group, href: str | None, begin_s: float, x_of: float) -> Bar:
    x = min((group.begin_s - begin_s) * x_of, _TIMELINE_WIDTH - 1.0)
    state = next(state for state in _WORST_FIRST if state in group.states)
    since, length = moment(group.begin_s), duration(group.end_s - group.begin_s)
    if group.states.total() == 1:
        text = f"Run {group.first}: {state.name}, from {since}, for {length}"
    else:
        counts = ", ".join(f"{group.states[state]} {state.name}" for state in _WORST_FIRST if state in group.states)
        text = f"Runs {group.first} to {group.last}: {counts}, from {since}, within {length}"
    return Bar(
        x=round(x, 1),
        width=round(min(max((group.end_s - group.begin_s) * x_of, 1.0), _TIMELINE_WIDTH - x), 1),
        state=state.name,
        text=text,
        href=href,
    )
