"""Values as pages show them: moments, spans of time, sizes, links. No value of any kind raises or shows as 0.

Each is a filter of the templates under its own name. What gives markup has escaped what it was given.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from functools import lru_cache
from math import isfinite
from typing import Final

from markupsafe import Markup, escape

from observer_static.parts import Chart, Link, Span, Tick

#: What stands where something is not known: in a table, where words would not fit, with the word as its title.
UNKNOWN: Final = Markup('<abbr class="u" title="unknown">–</abbr>')
_WORD: Final = Markup('<span class="u">unknown</span>')

#: Shape and colour of a state are a class of page.css; a state that is none of ours is one of LOST's.
STATES: Final = frozenset({
    "ACTIVE", "CLEANING", "FINALIZING", "SUCCESS", "FAILED", "KILLED", "LOST", "WAITING", "FORKED", "RUNNING",
})  # fmt: skip

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SAFE_SCHEMES: Final = ("http://", "https://", "file:///")
#: What a browser would take out of an address, or turn into a slash, before it looks for the scheme; and what is no
#: text, which the renderer would write with a backslash.
_NOT_IN_HREF: Final = re.compile("[\0-\x20\x7f\\\\\ud800-\udfff]")


def word(shown: str) -> str:
    """*shown*, or ``unknown`` in full where there is room for it."""
    return _WORD if shown is UNKNOWN else shown


# -- Time -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _moment(at_s: int) -> Markup:
    try:
        text = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s))
    except (ValueError, OverflowError, OSError):
        return UNKNOWN
    if len(text) != 19 or text[0] == "-":  # a year that neither people nor <time> can read
        return UNKNOWN
    return Markup(f'<time datetime="{text[:10]}T{text[11:]}Z">{text}</time>')


def moment(at_s: float | None) -> Markup:
    """When, to the second, in UTC: ``2026-11-21 01:40:11``."""
    return _moment(int(at_s)) if at_s is not None and isfinite(at_s) else UNKNOWN


def iso(at_s: float | None) -> str:
    """When, as ISO 8601; empty if not known."""
    shown = moment(at_s)
    return "" if shown is UNKNOWN else shown[16:36]


def duration(seconds: float | None) -> str | Markup:
    """How long, in its two largest units: ``3 min 20 s``."""
    if seconds is None or not isfinite(seconds):
        return UNKNOWN
    sign = ""
    if seconds < 0:
        sign, seconds = "−", -seconds
    if seconds < 1:
        return f"{sign}{max(round(seconds * 1000), 1)} ms" if seconds else "0 s"
    if seconds < 10:
        return f"{sign}{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    if whole < 60:
        return f"{sign}{whole} s"
    for unit, size, lower, lower_size in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            count, rest = divmod(whole, size)
            if count > 99_999:
                return f"{sign}more than 99999 {unit}"
            return (
                f"{sign}{count} {unit} {rest // lower_size} {lower}" if rest >= lower_size else f"{sign}{count} {unit}"
            )
    raise AssertionError("the last unit returns")


def between(start_s: float | None, end_s: float | None) -> str | Markup:
    """How long from *start_s* to *end_s*; a clock that was set back shows as a minus."""
    return duration(end_s - start_s) if start_s is not None and end_s is not None else UNKNOWN


# -- Quantities -------------------------------------------------------------------------------------------------------


def size(count: float | None) -> str | Markup:
    """Bytes in the largest binary unit that leaves a whole part: ``1.2 GiB``."""
    if count is None or not isfinite(count):
        return UNKNOWN
    if -1024 < count < 1024:
        return f"{int(count)} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        value /= 1024
        if -1024 < value < 1024:
            return f"{value:.1f} {unit}".replace(".0 ", " ")
    value /= 1024
    return f"{value:.1f} EiB".replace(".0 ", " ") if abs(value) < 1e6 else f"{value:.1e} EiB"


def cores(count: float | None) -> str | Markup:
    """Processor cores, to a thousandth."""
    if count is None or not isfinite(count):
        return UNKNOWN
    return f"{count:.3f}" if abs(count) < 1e6 else f"{count:.1e}"


def number(count: float | None) -> str | Markup:
    """A count, with thin spaces between thousands."""
    if count is None or not isfinite(count):
        return UNKNOWN
    return f"{int(count):,}".replace(",", "\u202f") if abs(count) < 1e15 else f"{count:.1e}"


def share(part: float | None, whole: float | None) -> int | None:
    """How many hundredths *part* is of *whole*, at most 999; None: not known."""
    if part is None or not whole or not isfinite(part) or not isfinite(whole) or part < 0 or whole < 0:
        return None
    return round(min(100 * part / whole, 999))


# -- Links ------------------------------------------------------------------------------------------------------------


def href(address: str | None) -> str | None:
    """*address* if a page may lead there: relative, or with the scheme http, https or file; else None."""
    if not address or address.startswith("//") or _NOT_IN_HREF.search(address):
        return None
    if _SCHEME.match(address) and not address.lower().startswith(_SAFE_SCHEMES):
        return None
    return address


def to(text: str, address: str | None) -> Markup:
    """*text* leading to *address*; *text* alone if that is nowhere a page may lead."""
    shown = escape(text)
    if address is None or (checked := href(address)) is None:
        return shown
    return Markup(f'<a href="{escape(checked)}">{shown}</a>')


def link(found: Link) -> Markup:
    """A link, or its text alone if it leads nowhere."""
    return to(found.text, found.href)


# -- States -----------------------------------------------------------------------------------------------------------


def state_class(state: str | None) -> str:
    """The class that gives a state its colour and shape: its name, if it is one of ours."""
    if state is None:
        return "NONE"
    return state if state in STATES else "LOST"


@lru_cache(maxsize=64)
def badge(state: str | None) -> Markup:
    """A state as a word with its colour and shape."""
    word = "unknown" if state is None else state
    return Markup(f'<b class="s {state_class(state)}">{escape(word)}</b>')


# -- Logs and pictures ------------------------------------------------------------------------------------------------


def spans(pieces: Iterable[Span]) -> Markup:
    """A log's pieces, each with its look; a long log in blocks, of which a browser lays out those in view only."""
    parts = []
    lines = 0
    for piece in pieces:
        text = str(escape(piece.text))
        lines += text.count("\n")
        if lines > BLOCK_LINES:
            text, lines = _in_blocks(text, piece.classes, lines)
        parts.append(f'<span class="{escape(piece.classes)}">{text}</span>' if piece.classes else text)
    shown = "".join(parts)
    return Markup(f'<span class="c">{shown}</span>' if _NEXT in shown else shown)


#: Lines of a block; what has fewer in all is none.
BLOCK_LINES: Final = 2000
#: Ends a block and begins another.
_NEXT: Final = '</span><span class="c">'


def _in_blocks(text: str, classes: str, lines: int) -> tuple[str, int]:
    """*text* with a new block wherever one is full, and how many lines the last one has; *lines* counts *text*."""
    between = f'</span>{_NEXT}<span class="{escape(classes)}">' if classes else _NEXT
    rest = text.split("\n")
    room = BLOCK_LINES - (lines - (len(rest) - 1))
    blocks = []
    while len(rest) - 1 > room:
        blocks.append("".join(f"{line}\n" for line in rest[:room]))
        rest = rest[room:]
        room = BLOCK_LINES
    return between.join([*blocks, "\n".join(rest)]), len(rest) - 1


def percent(at: float, whole: float) -> str:
    """Where *at* lies on a picture *whole* wide; its ends if it lies outside."""
    if not isfinite(at) or not isfinite(whole) or whole <= 0:
        return "0%"
    return f"{min(max(100 * at / whole, 0), 100):.4g}%"


def anchor(tick: Tick, whole: float) -> str:
    """How a tick's text stands to its place, so that it stays on the picture: ``start``, ``middle`` or ``end``."""
    if not isfinite(tick.at) or whole <= 0 or tick.at < 0.06 * whole:
        return "start"
    return "end" if tick.at > 0.94 * whole else "middle"


def has_limit(chart: Chart) -> bool:
    """Whether the reservation lies on the picture."""
    return chart.limit_y is not None and isfinite(chart.limit_y) and 0 <= chart.limit_y <= chart.height


#: All of them, as templates name them.
FILTERS: Final = {
    "anchor": anchor, "badge": badge, "between": between, "cores": cores, "duration": duration,
    "has_limit": has_limit, "href": href, "iso": iso, "link": link, "moment": moment, "number": number,
    "percent": percent, "share": share, "size": size, "spans": spans, "state_class": state_class, "to": to,
    "word": word,
}  # fmt: skip
