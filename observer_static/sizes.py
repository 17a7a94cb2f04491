"""How long a page can become at most, from what it shows: known before anything is rendered. Pure.

Each part has a length of its own, its markup, and each text is counted escaped, as often as a template may write it.
That the templates keep to this is a test's business, which renders.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Final

from markupsafe import escape

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
    escaped = str(escape(text))
    if escaped.isascii() and "\0" not in escaped:
        return len(escaped)
    return len(escaped.encode("utf-8", "replace")) + 7 * len(_LONGER.findall(escaped))


def page_bytes(page: pages.Page) -> int:
    """The most that *page* takes when it is rendered."""
    return PAGE_BYTES + part_bytes(page)


def part_bytes(part: Any) -> int:
    """The most that *part*, a dataclass of pages, a tuple of them, or a text, takes."""
    if part is None or isinstance(part, (bool, int, float)):
        return 0
    if isinstance(part, str):
        return text_bytes(part)
    if isinstance(part, tuple):
        return 40 * len(part) + sum(map(part_bytes, part))
    kind = type(part)
    times = 1 if kind in _ONCE else _TIMES
    total = _MARKUP_BYTES.get(kind, 0)
    for name in _fields(kind):
        value = getattr(part, name)
        if isinstance(value, str):
            total += times * text_bytes(value)
        elif value is not None:
            total += part_bytes(value)
    return total


_FIELDS: Final[dict[type, tuple[str, ...]]] = {}


def _fields(kind: type) -> tuple[str, ...]:
    found = _FIELDS.get(kind)
    if found is None:
        found = _FIELDS[kind] = tuple(field.name for field in dataclasses.fields(kind))
    return found
