"""Values as pages show them: none raises, none shows as 0 what is not known, no address leads where it must not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from markupsafe import Markup, escape

from observer_static import filters
from observer_static.filters import UNKNOWN
from observer_static.parts import Link, Span, Tick
from tests.observer_static.samples import TASK_PAGE

ODD = (None, math.nan, math.inf, -math.inf, 1e300, -1e300, 1e18, -1.0, -0.0, 0, 0.0, 1e-9, 10**40, 253402300800.0)
OF_ONE: tuple[Callable[[float | None], object], ...] = (
    filters.moment, filters.iso, filters.duration, filters.size, filters.cores, filters.number,
)  # fmt: skip
NOT_KNOWN = (None, math.nan, math.inf, -math.inf)


@pytest.mark.parametrize("show", OF_ONE, ids=lambda show: show.__name__)
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_no_number_raises_or_takes_the_page(show: Callable[[float | None], object], value: float | None) -> None:
    assert len(str(show(value))) < 80


@pytest.mark.parametrize("show", OF_ONE, ids=lambda show: show.__name__)
@pytest.mark.parametrize("value", NOT_KNOWN, ids=repr)
def test_what_is_not_known_shows_no_number(show: Callable[[float | None], object], value: float | None) -> None:
    assert not re.search("[0-9]", str(show(value)))


@pytest.mark.parametrize("one", ODD, ids=repr)
@pytest.mark.parametrize("other", ODD, ids=repr)
def test_no_two_numbers_raise(one: float | None, other: float | None) -> None:
    filters.between(one, other)
    filters.share(one, other)
    if one is not None and other is not None:
        assert re.fullmatch(r"[0-9.e+-]+%", filters.percent(one, other))
        filters.anchor(Tick(at=one, text=""), other)


@pytest.mark.parametrize(
    "at_s, text",
    [
        (0, "1970-01-01 00:00:00"),
        (-1, "1969-12-31 23:59:59"),
        (1795225211.9, "2026-11-21 01:40:11"),
        (253402300799.0, "9999-12-31 23:59:59"),
    ],
)
def test_moment_is_utc_for_people_and_for_machines(at_s: float, text: str) -> None:
    assert filters.moment(at_s) == f'<time datetime="{text.replace(" ", "T")}Z">{text}</time>'
    assert filters.iso(at_s) == f"{text.replace(' ', 'T')}Z"


def test_a_time_that_no_calendar_knows_is_unknown() -> None:
    assert filters.moment(1e300) is filters.moment(253402300800.0) is filters.moment(-1e12) is UNKNOWN


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 s"),
        (0.0001, "1 ms"),
        (0.25, "250 ms"),
        (4.21, "4.2 s"),
        (5, "5 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (7200, "2 h"),
        (90_000, "1 d 1 h"),
        (-3, "−3 s"),
        (1e18, "more than 99999 d"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert filters.duration(seconds) == text


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1 << 20, "1 MiB"),
        (1_288_490_189, "1.2 GiB"),
        (-2048, "-2 KiB"),
        (1 << 60, "1 EiB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert filters.size(count) == text


def test_cores_and_counts() -> None:
    assert filters.cores(0.1234) == "0.123"
    assert filters.cores(0) == "0.000"
    assert filters.number(1234567) == "1\u202f234\u202f567"
    assert filters.between(10, 14.2) == "4.2 s"


@pytest.mark.parametrize(
    "part, whole, hundredths", [(1, 2, 50), (0, 2, 0), (5, 2, 250), (1e9, 1, 999), (1, 0, None), (1, -1, None)]
)
def test_share(part: float, whole: float, hundredths: int | None) -> None:
    assert filters.share(part, whole) == hundredths


@pytest.mark.parametrize(
    "address",
    [
        "index.html", "../a/b.html", "#stdout", "log/a%20b/1.html#stdout", "http://host:1/", "HTTPS://host/",
        "file:///var/log", "/download/a/b", "?x=javascript:1",
    ],
)  # fmt: skip
def test_addresses_that_stay(address: str) -> None:
    assert filters.href(address) == address


@pytest.mark.parametrize(
    "address",
    [
        None, "", "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)",
        "java\nscript:alert(1)", "\x01javascript:alert(1)", "data:text/html,x", "vbscript:x", "blob:x", "mailto:x",
        "//evil.example/", "\\\\evil.example\\x", "/\\evil.example", "file://evil.example/x", "file:x", "http:evil",
        "a\udcffb", "\udc80\udc80evil.example", "about:blank", "a:b", "view-source:http://x", "in\x7fdex", "a b",
    ],
)  # fmt: skip
def test_addresses_that_go(address: str | None) -> None:
    assert filters.href(address) is None
    assert filters.to("text", address) == "text"


def test_links_escape_both_their_parts() -> None:
    assert filters.link(Link(text="<b>", href='a"b')) == '<a href="a&#34;b">&lt;b&gt;</a>'
    assert filters.link(Link(text="<b>", href=None)) == "&lt;b&gt;"


@pytest.mark.parametrize("state", [None, "", "NEW", '"><script>', "FAILED x"])
def test_a_state_of_others_gets_a_class_of_ours(state: str | None) -> None:
    expected = escape(state) if state is not None else "unknown"
    assert filters.badge(state) == Markup('<b class="s {}">{}</b>').format(
        "NONE" if state is None else "LOST", expected
    )


def test_spans_escape_text_and_classes() -> None:
    shown = filters.spans([Span(text="<i>", classes=""), Span(text="&", classes='b" onclick="x')])
    assert shown == '&lt;i&gt;<span class="b&#34; onclick=&#34;x">&amp;</span>'


@pytest.mark.parametrize("sizes", [[3], [2000], [2001], [6700], [1999, 1, 1], [800, 800, 800, 3600], [1] * 4800])
@pytest.mark.parametrize("classes", ["", "fg1 b"])
def test_a_long_log_stands_in_blocks_of_whole_lines(sizes: list[int], classes: str) -> None:
    pieces = [Span(text=f"<{n}>\n" * size, classes=classes) for n, size in enumerate(sizes)]
    shown = filters.spans(pieces)
    text = re.sub("<[^>]*>", "", shown)
    assert text == str(escape("".join(piece.text for piece in pieces)))
    assert shown.count("<span") == shown.count("</span>")
    blocks = shown.split('</span><span class="c">')
    assert len(blocks) == max(-(-sum(sizes) // filters.BLOCK_LINES), 1)
    assert all(block.count("\n") == filters.BLOCK_LINES for block in blocks[:-1])
    assert shown.startswith('<span class="c">') == (len(blocks) > 1)


def test_a_reservation_off_the_picture_is_not_drawn() -> None:
    chart = TASK_PAGE.charts[0]
    assert chart.limit_y is not None and filters.has_limit(chart)
    for limit in (None, -1.0, math.nan, math.inf, chart.height + 1.0):
        assert not filters.has_limit(replace(chart, limit_y=limit))
