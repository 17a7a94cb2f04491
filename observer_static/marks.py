"""Parts of pages as markup, where a template would be slow or hard to read. All text is escaped here.

Each is a filter of the templates under its own name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Final

from markupsafe import Markup, escape

from observer_static.filters import UNKNOWN, badge, between, moment, percent, state_class, to
from observer_static.parts import Bar, Chart, Entry, Port, ProcessRow, RunRow, TaskRow

_OVER: Final = frozenset({"SUCCESS", "FAILED", "KILLED", "LOST"})
#: Groups of processes, what fails first, with the state whose colour and shape they bear.
_GROUPS: Final = {
    "failed": "FAILED", "killed": "KILLED", "running": "RUNNING", "waiting": "WAITING", "success": "SUCCESS",
}  # fmt: skip
_NOTHING: Final = Markup("")
_NO_RUN: Final = Markup('<b class="s WAITING">no run yet</b>')

#: Top and height of a bar in a lane of 24: states differ in more than colour.
_HEIGHTS: Final = {"FAILED": (4, 16), "RUNNING": (7, 10), "FORKED": (7, 10), "SUCCESS": (9, 6), "KILLED": (6, 12)}
_HEIGHT: Final = (7, 10)


def sentence(text: str) -> str:
    """*text* with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def yes_no(value: bool | None) -> str | Markup:
    """``yes`` or ``no``, where that is known."""
    if value is None:
        return UNKNOWN
    return "yes" if value else "no"


def streams(row: ProcessRow | RunRow) -> Markup:
    """Both streams of a run, as far as they lead somewhere."""
    return Markup(" ").join(to(found.text, found.href) for found in (row.stdout, row.stderr) if found.href is not None)


# -- The index --------------------------------------------------------------------------------------------------------


def is_wrong(row: TaskRow) -> bool:
    """Whether something is wrong with a task."""
    return row.notice is not None or row.is_healthy is False


def wrong(rows: Iterable[TaskRow]) -> list[TaskRow]:
    """The tasks with which something is wrong."""
    return [row for row in rows if is_wrong(row)]


def ports(found: Sequence[Port], task_href: str | None) -> Markup:
    """The ports named http and admin, as links; that there are others leads to the task."""
    if not found:
        return _NOTHING
    named = [to(port.name, port.href) for port in found if port.name in ("http", "admin")]
    if len(named) < len(found):
        named.append(to(f"+{len(found) - len(named)}", task_href))
    return Markup(" ").join(named)


# -- Processes and runs -----------------------------------------------------------------------------------------------


def chips(rows: Iterable[ProcessRow]) -> Markup:
    """How many processes are in each group, what failed first."""
    counts = Counter(row.group for row in rows)
    order = {group: place for place, group in enumerate(_GROUPS)}
    parts = [
        f'<span class="s {state_class(_GROUPS.get(group, "LOST"))}">{count} {escape(group)}</span>'
        for group, count in sorted(counts.items(), key=lambda item: order.get(item[0], len(order)))
    ]
    return Markup(" ".join(parts))


def measured(rows: Iterable[ProcessRow]) -> bool:
    """Whether it is known of any process what it uses."""
    return any(row.usage is not None for row in rows)


def process_badge(row: ProcessRow) -> Markup:
    """The state of a process's newest run."""
    return badge(row.state) if row.state is not None else _NO_RUN


def run_count(row: ProcessRow) -> Markup | str:
    """The number of the newest run, and how many failed of how many may."""
    if row.run is None:
        return ""
    if not row.failures:
        return f"{row.run}"
    most = f" of {row.max_failures}" if row.max_failures else ""
    return Markup(f"{row.run} <small>{row.failures}{most} failed</small>")


def exit_code(row: ProcessRow | RunRow) -> Markup | str:
    """An exit code; unknown only where a run is over that must have had one."""
    if row.return_code is not None:
        return f"{row.return_code}"
    return UNKNOWN if row.state in ("SUCCESS", "FAILED") else ""


def started(row: ProcessRow | RunRow) -> Markup:
    """When a run began; nothing if it has not yet."""
    if row.start_s is None and row.state in (None, "WAITING", "FORKED"):
        return _NOTHING
    return moment(row.start_s)


def took(row: ProcessRow | RunRow, now_s: float) -> Markup | str:
    """How long a run took, or has taken at *now_s* if it goes on."""
    if row.state == "RUNNING":
        return between(row.start_s, now_s)
    return between(row.start_s, row.stop_s) if row.state in _OVER else ""


def bars(found: Iterable[Bar], width: float) -> Markup:
    """A lane's runs: as high as their state matters, each with its sentence as its title."""
    parts = []
    for bar in found:
        top, height = _HEIGHTS.get(bar.state, _HEIGHT)
        wide = percent(bar.width, width) if isfinite(bar.width) else "0%"
        parts.append(
            f'<rect class="{state_class(bar.state)}" x="{percent(bar.x, width)}" y="{top}" width="{wide}" '
            f'height="{height}"><title>{escape(bar.text)}</title></rect>'
        )
    return Markup("".join(parts))


def brief(chart: Chart) -> str:
    """What a chart says, without its title and times, which stand beside it."""
    return sentence(chart.summary.partition(": ")[2] or chart.summary)


# -- The sandbox ------------------------------------------------------------------------------------------------------


def entry_name(entry: Entry) -> Markup:
    """A name with its place in the tree, a directory's with a slash, a link's with where it points."""
    indent = "\u2003\u2003" * min(max(entry.depth, 0), 40)
    slash = "/" if entry.kind == "directory" else ""
    target = f' <span class="dim">→ {escape(entry.target)}</span>' if entry.target is not None else ""
    kind = f' <span class="dim">{escape(entry.kind)}</span>' if entry.kind in ("fifo", "socket", "device") else ""
    return Markup(f"{indent}{to(entry.name + slash, entry.href)}{target}{kind}")


#: All of them, as templates name them.
MARKS: Final = {
    "bars": bars, "brief": brief, "chips": chips, "entry_name": entry_name, "exit_code": exit_code,
    "is_wrong": is_wrong, "measured": measured, "ports": ports, "process_badge": process_badge,
    "run_count": run_count, "sentence": sentence, "started": started, "streams": streams, "took": took,
    "wrong": wrong, "yes_no": yes_no,
}  # fmt: skip
