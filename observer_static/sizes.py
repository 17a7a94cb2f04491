"""How long a page can become at most, from what it shows: known before anything is rendered. Pure.

Each part has a length of its own, its markup, and each text is counted escaped, as often as a template may write it.
That the templates keep to this is a test's business, which renders.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, NamedTuple, get_args

from observer_static import pages, parts

#: What every page has: style, script, frame.
PAGE_BYTES: Final = 20_000

#: Markup of each part, and of what a page has besides its parts.
_MARKUP_BYTES: Final[dict[type, int]] = {
    pages.TaskPage: 5000,
    pages.ProcessPage: 5000,
    pages.LogPage: 3000,
    pages.BrowsePage: 2500,
    pages.RawPage: 2500,
    pages.IndexPage: 3500,
    parts.Stamp: 300,
    parts.Link: 60,
    parts.Notice: 120,
    parts.Port: 100,
    parts.Usage: 150,
    parts.Reserved: 300,
    parts.Tick: 160,
    parts.Chart: 1500,
    parts.Bar: 180,
    parts.Lane: 250,
    parts.Timeline: 1200,
    parts.StateChange: 350,
    parts.Health: 600,
    parts.Span: 20,
    parts.Follow: 200,
    parts.Log: 1000,
    parts.Certificate: 1200,
    parts.RunRow: 800,
    parts.ProcessRow: 850,
    parts.TaskRow: 1300,
    parts.Entry: 400,
}
#: Pages name what they are about in a title, a heading, a link and a label; parts write each text once.
_TIMES: Final[dict[type, int]] = dict.fromkeys(get_args(pages.Page), 4) | {
    pages.ProcessPage: 1,
    pages.RawPage: 1,
    parts.TaskRow: 2,
}

#: What becomes longer on a page than UTF-8: lone surrogates and what turns text around.
_LONGER: Final = re.compile("[\0\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

#: What makes a text longer on a page than it is; a search is quicker than counting as long as a text is short.
_is_special: Final = re.compile("[&<>\"'\0\x80-\U0010ffff]").search
_LONG: Final = 300


def text_bytes(text: str) -> int:
    """The most that *text* takes on a page, once."""
    if len(text) < _LONG and _is_special(text) is None:
        return len(text)
    count = text.count
    # What escaping adds: &amp; &lt; &gt; &#34; &#39;
    added = 4 * (count("&") + count('"') + count("'")) + 3 * (count("<") + count(">"))
    if text.isascii() and "\0" not in text:
        return len(text) + added
    return len(text.encode("utf-8", "replace")) + added + 7 * len(_LONGER.findall(text))


def page_bytes(page: pages.Page) -> int:
    """The most that *page* takes when it is rendered."""
    total = PAGE_BYTES + part_bytes(page)
    if isinstance(page, pages.ProcessPage):  # what its row is to it, a page is to itself; and both logs name it
        total += 6 * text_bytes(page.row.name) + text_bytes(page.row.words)
    if not isinstance(page, (pages.TaskPage, pages.IndexPage)):
        total += 4 * text_bytes(page.task.text)
    if isinstance(page, pages.LogPage):
        total += 6 * text_bytes(page.process.text)
    return total


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
            is_plain = len(value) < _LONG and _is_special(value) is None
            total += cost.times * (len(value) if is_plain else text_bytes(value))
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
    cost = _COSTS[kind] = _Cost(_MARKUP_BYTES.get(kind, 0), _TIMES.get(kind, 1), values)
    return cost
