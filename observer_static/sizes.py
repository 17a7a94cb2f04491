"""How long a page can become at most, from what it shows: known before anything is rendered. Pure.

Each part has a length of its own, its markup, and each text is counted escaped, as often as a template may write it.
That the templates keep to this is a test's business, which renders.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, NamedTuple

from observer_static import pages

#: A page without content: style, script, frame.
PAGE_BYTES: Final = 20_000

#: Markup of each part.
_MARKUP_BYTES: Final[dict[type, int]] = {
    pages.Stamp: 300,
    pages.Link: 120,
    pages.Notice: 120,
    pages.Port: 120,
    pages.Usage: 900,
    pages.Reserved: 300,
    pages.Tick: 160,
    pages.Chart: 1500,
    pages.Bar: 260,
    pages.Lane: 400,
    pages.Timeline: 1200,
    pages.StateChange: 350,
    pages.Health: 400,
    pages.Span: 20,
    pages.Follow: 200,
    pages.Log: 1200,
    pages.Certificate: 1200,
    pages.RunRow: 900,
    pages.ProcessRow: 1300,
    pages.TaskRow: 1300,
    pages.Entry: 700,
}
#: A text may stand in a title, a heading, a link and a label.
_TIMES: Final = 3
#: Parts whose texts are written once.
_ONCE: Final = frozenset({pages.Span, pages.RawPage, pages.Chart, pages.Notice, pages.Tick})

#: What becomes longer on a page than UTF-8: lone surrogates and what turns text around.
_LONGER: Final = re.compile("[\0\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def text_bytes(text: str) -> int:
    """The most that *text* takes on a page, once."""
    count = text.count
    # What escaping adds: &amp; &lt; &gt; &#34; &#39;
    added = 4 * (count("&") + count('"') + count("'")) + 3 * (count("<") + count(">"))
    if text.isascii() and "\0" not in text:
        return len(text) + added
    return len(text.encode("utf-8", "replace")) + added + 7 * len(_LONGER.findall(text))


def page_bytes(page: pages.Page) -> int:
    """The most that *page* takes when it is rendered."""
    return PAGE_BYTES + part_bytes(page)


def part_bytes(part: Any) -> int:
    """The most that *part*, a dataclass of pages, a tuple of them, or a text, takes."""
    kind = type(part)
    if kind in _NUMBERS:
        return 0
    if kind is str:
        return text_bytes(part)
    if kind is tuple:
        return 40 * len(part) + sum(map(part_bytes, part))
    cost = _COSTS.get(kind)
    if cost is None:
        if isinstance(part, str):  # of a subclass
            return text_bytes(part)
        cost = _cost(kind)
    total = cost.markup
    for value in cost.values(part):
        kind = type(value)
        if kind is str:
            total += cost.times * text_bytes(value)
        elif kind not in _NUMBERS:
            total += (cost.times if isinstance(value, str) else 1) * part_bytes(value)
    return total


class _Cost(NamedTuple):
    """What counting the parts of one kind takes; found out once, since there are hundreds of thousands of parts."""

    markup: int
    times: int
    values: Callable[[Any], tuple[Any, ...]]


_NUMBERS: Final = frozenset({type(None), bool, int, float})
_COSTS: Final[dict[type, _Cost]] = {}


def _cost(kind: type) -> _Cost:
    names = [field.name for field in dataclasses.fields(kind)]
    values = attrgetter(*names) if len(names) > 1 else lambda part: (getattr(part, names[0]),)
    cost = _COSTS[kind] = _Cost(_MARKUP_BYTES.get(kind, 0), 1 if kind in _ONCE else _TIMES, values)
    return cost
