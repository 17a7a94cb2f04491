"""Parts of the scheduler's pages as markup, beside those of the observer's pages. All text is escaped here.

Each is a filter of the templates under its own name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from markupsafe import Markup, escape

from observer_static.filters import href, number, to
from observer_static.parts import Port
from scheduler.pages.parts import StateCount

#: Shape and colour of a state: a class of page.css.
CLASSES: Final = {
    "INIT": "WAITING", "PENDING": "WAITING", "THROTTLED": "WAITING", "ASSIGNED": "FORKED", "STARTING": "FORKED",
    "RUNNING": "RUNNING", "FINISHED": "SUCCESS", "FAILED": "FAILED", "KILLED": "KILLED", "LOST": "LOST",
    "PARTITIONED": "LOST", "RESTARTING": "CLEANING", "PREEMPTING": "CLEANING", "DRAINING": "CLEANING",
    "KILLING": "CLEANING", "SCHEDULED": "CLEANING", "DRAINED": "KILLED",
    # of updates
    "ROLLING_FORWARD": "RUNNING", "ROLLING_BACK": "CLEANING", "ROLL_FORWARD_PAUSED": "WAITING",
    "ROLL_BACK_PAUSED": "WAITING", "ROLL_FORWARD_AWAITING_PULSE": "WAITING", "ROLL_BACK_AWAITING_PULSE": "WAITING",
    "ROLLED_FORWARD": "SUCCESS", "ROLLED_BACK": "KILLED", "ABORTED": "KILLED", "ERROR": "LOST",
    # of their instances
    "UNTOUCHED": "WAITING", "UPDATING": "FORKED", "UPDATED": "SUCCESS", "UPDATE_FAILED": "FAILED",
    "ROLLBACK_FAILED": "FAILED",
}  # fmt: skip
#: Wider lists of ports are for the instance's own page.
_FEW_PORTS: Final = 4


def task_badge(state: str) -> Markup:
    """A state as a word with its colour and shape."""
    return Markup(f'<b class="s {CLASSES.get(state, "LOST")}">{escape(state)}</b>')


def state_chips(counts: Iterable[StateCount]) -> Markup:
    """How many are in each state; each leads to the page that shows only those."""
    parts = []
    for one in counts:
        shown = Markup(
            f'<span class="s {CLASSES.get(one.state, "LOST")}">{number(one.count)} {escape(one.state)}</span>'
        )
        address = href(one.href)
        if address is None:
            parts.append(shown)
        else:
            parts.append(Markup(f'<a href="{escape(address)}"{_CURRENT if one.is_chosen else ""}>{shown}</a>'))
    return Markup(" ").join(parts)


_CURRENT: Final = ' aria-current="true"'


def port_links(found: Iterable[Port], is_all: bool = False) -> Markup:
    """Ports as links; of many the first ones, unless all are wanted."""
    ports = list(found)
    few = ports if is_all or len(ports) <= _FEW_PORTS else ports[: _FEW_PORTS - 1]
    parts = [Markup('<span class="nb">{}</span>').format(to(f"{port.name}:{port.number}", port.href)) for port in few]
    if len(few) < len(ports):
        parts.append(Markup("<span>+{}</span>").format(len(ports) - len(few)))
    return Markup(" ").join(parts)


def sum_of(counts: Iterable[StateCount]) -> int:
    """How many there are in all."""
    return sum(one.count for one in counts)


#: All of them, as templates name them.
MARKS: Final = {"port_links": port_links, "sum_of": sum_of, "state_chips": state_chips, "task_badge": task_badge}
