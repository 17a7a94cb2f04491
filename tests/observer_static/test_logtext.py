"""Logs as text with classes: what a terminal would show, and nothing else."""

from __future__ import annotations

import itertools
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from observer_static.logtext import CLASSES, is_binary, show, spans, start_of_tail

KIB_256 = 256 << 10
#: Far beyond what any input takes here (0.2 s), far below what anything quadratic would.
LINEAR_S = 3.0


def seen(data: bytes | str) -> list[tuple[str, str]]:
    found = spans(data.encode() if isinstance(data, str) else data)
    return [(span.text, span.classes) for span in found]


def text_of(data: bytes | str) -> str:
    return "".join(text for text, _ in seen(data))


# -- Everything else that a terminal would obey -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[2J",
        "\x1b[H",
        "\x1b[?25l",
        "\x1b[?1049h",
        "\x1b[5n",
        "\x1b[1;1;1;1r",
        "\x1b[ q",
        "\x1b[!p",
        "\x1b[>0;276;0c",
        "\x1b[31;42!m",
        "\x1b[?31m",
        "\x1b[3A",
        "\x1b[999999D",
        "\x1b[",
        "\x1b[31",
        "\x1b",
        "\x1bc",
        "\x1b(B",
        "\x1b#8",
        "\x1b=",
        "\x1b]0;title\x07",
        "\x1b]0;title\x1b\\",
        "\x1b]0;title\x9c",
        "\x1b]52;c;ZWNobyBoYWNrZWQK\x07",
        "\x1b]52;c;ZWNobyBoYWNrZWQK",
        "\x1bP1$r0m\x1b\\",
        "\x1bP+q544e\x1b\\",
        "\x1b_Gf=24;AAAA\x1b\\",
        "\x1b^private\x1b\\",
        "\x1bXstring\x1b\\",
        "\x1bPtmux;\x1b\x1b]0;x\x07\x1b\\",
        "\x9b2J",
        "\x9d0;title\x07",
        "\x9d0;title\x9c",
        "\x90q\x9c",
        "\x9fapc\x9c",
        "\x9epm\x9c",
        "\x98sos\x9c",
        "\x84",
        "\x8e",
        "\x9c",
        "\x07",
        "\x0e\x0f",
    ],
)
def test_a_sequence_is_dropped_whole(sequence: str) -> None:
    assert seen(f"a{sequence}\nb") == [("a\nb", "")]


@pytest.mark.parametrize("sequence", ["\x1b]0;", "\x9d0;", "\x1bP", "\x1b_", "\x1b^", "\x1bX"])
def test_a_string_ends_with_its_line(sequence: str) -> None:
    assert text_of(f"a{sequence}hidden\nb") == "a\nb"
    assert text_of(f"a{sequence}hidden\rb") == "b"


def test_of_a_hyperlink_the_text_is_left() -> None:
    assert text_of("see \x1b]8;;javascript:alert(1)\x1b\\the docs\x1b]8;;\x1b\\ now") == "see the docs now"
    assert text_of("see \x1b]8;id=1;https://x.example\x07the docs\x1b]8;;\x07 now") == "see the docs now"


@pytest.mark.parametrize(
    "line, left",
    [
        ("10%\r50%\r100%", "100%"),
        ("100%\r5%", "5%0%"),
        ("10%\r\x1b[K5%", "5%"),
        ("10%\x1b[1G\x1b[0K5%", "5%"),
        ("10%\x1b[2K\rdone", "done"),
        ("10%\x1b[G5", "50%"),
        ("abc\x1b[1K", "abc"),
        ("abc\x1b[5Gd", "abcd"),
        ("done\r", "done"),
        ("done\r\r\r", "done"),
        ("\rdone", "done"),
        ("|\b/\b-\b\\", "\\"),
        ("_\bu_\bn", "un"),
        ("a\ba", "a"),
        ("ab\b\b\b\bc", "cb"),
        ("ab\b", "ab"),
        ("äöü\rx", "xöü"),
        ("a\tb\rc", "c\tb"),
        ("a\x1b]0;t\x07b\rc", "cb"),
        ("one\rtw\x00", "tw␀"),
    ],
)
def test_a_line_is_left_as_a_terminal_would_leave_it(line: str, left: str) -> None:
    assert text_of(f"before\n{line}\nafter\n") == f"before\n{left}\nafter\n"
    assert text_of(f"before\n{line}\r\nafter\r\n") == f"before\n{left}\nafter\n"
    assert text_of(line) == left


def test_what_is_written_over_has_the_new_look() -> None:
    assert seen("\x1b[31mred\r\x1b[32mgr") == [("gr", "fg2"), ("d", "fg1")]


@pytest.mark.parametrize(
    "found, shown",
    [
        ("\x00", "␀"),
        ("\x00" * 50, "␀"),
        ("\x01", "␁"),
        ("\x04", "␄"),
        ("\x0b", "␋"),
        ("\x0c", "␌"),
        ("\x1a", "␚"),
        ("\x7f", "␡"),
        ("\x85", "\n"),
        ("\u202e", "\\u202e"),
        ("\u202a", "\\u202a"),
        ("\u2066", "\\u2066"),
        ("\u2069", "\\u2069"),
        ("\u200f", "\\u200f"),
        ("\u061c", "\\u061c"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ],
)
def test_what_would_not_be_seen_is(found: str, shown: str) -> None:
    assert text_of(f"a{found}b") == f"a{shown}b"


@pytest.mark.parametrize(
    "data, shown",
    [
        (b"a\xffb", "a�b"),
        (b"\x80\x80a", "��a"),
        (b"a\xe2\x82", "a�"),
        (b"\xed\xa0\x80a", "���a"),
        (b"\xc0\xafa", "��a"),
        ("\ufffe\U0001f600".encode(), "\ufffe\U0001f600"),
        (b"\x9b31ma", "�31ma"),
    ],
)
def test_bytes_that_are_no_utf8(data: bytes, shown: str) -> None:
    assert text_of(data) == shown


def test_markup_is_only_text() -> None:
    hostile = "</script><script>alert(1)</script> <!-- ]]> &amp; \"' {{ 7*7 }}"
    assert seen(hostile) == [(hostile, "")]


def test_nothing_is_nothing() -> None:
    assert spans(b"") == ()
    assert spans(b"\x1b[31m\x1b[0m") == ()


# -- Properties -------------------------------------------------------------------------------------------------------

_SEQUENCES = [
    b"\x1b[31m",
    b"\x1b[1;38;5;200m",
    b"\x1b[0m",
    b"\x1b[K",
    b"\x1b]8;;x\x07",
    b"\x1b\\",
    b"\x1bP",
    b"\xc2\x9b",
]
_PARTS = [
    b"\x1b",
    b"[",
    b"]",
    b"\x1b[",
    b"31",
    b";",
    b":",
    b"m",
    b"K",
    b"G",
    b"\r",
    b"\n",
    b"\r\n",
    b"\b",
    b"\0",
    b"\x07",
]
_OTHERS = ["\u202e".encode(), "\u2028".encode(), b"\xff", b"\xe2", b"a", b"bc", "ä€😀".encode(), b"\t", b"<b>", b"\x9c"]
_PIECES = st.sampled_from([*_SEQUENCES, *_PARTS, *_OTHERS])
_LOGS = st.one_of(st.binary(max_size=300), st.lists(_PIECES, max_size=60).map(b"".join))
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NO_CONTROLS = st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters="\n\t")).filter(
    lambda text: not _UNSAFE.search(text)
)


@given(_NO_CONTROLS)
def test_text_without_controls_is_left_alone(text: str) -> None:
    assert seen(text) == ([(text, "")] if text else [])


@given(_LOGS)
@example(b"\x1b[31m" * 40 + b"a\x01" * 200)
def test_whatever_comes_what_is_shown_is_safe_and_no_longer(data: bytes) -> None:
    found = spans(data)
    text = "".join(span.text for span in found)
    assert not _UNSAFE.search(text)
    assert len(text) <= 2 * len(data)
    for span in found:
        assert span.text
        assert set(span.classes.split()) <= CLASSES
    for one, next_one in itertools.pairwise(found):
        assert one.classes != next_one.classes, "equal neighbours are one"


@given(_LOGS, st.integers(0, 300))
def test_a_tail_cut_anywhere_is_safe_too(data: bytes, at: int) -> None:
    tail = data[at:]
    start = start_of_tail(tail)
    assert 0 <= start <= len(tail)
    assert not _UNSAFE.search("".join(span.text for span in spans(tail[start:])))


@given(st.lists(st.sampled_from([b"ab", b"\x1b[31m", b"\x1b[0m", b"\x1b]0;t\x07", b"\r", b"\xc3\xa4"])).map(b"".join))
def test_lines_stand_alone(data: bytes) -> None:
    """No line changes the text of another: what a sequence swallows ends with its line."""
    assert text_of(data + b"\nnext") == text_of(data) + "\nnext"


# -- Bounds -----------------------------------------------------------------------------------------------------------

WORST = {
    "escapes": b"\x1b" * KIB_256,
    "open csi": b"\x1b[" * KIB_256,
    "open csi with digits": b"\x1b[" + b"1" * KIB_256,
    "csi with parameters": b"\x1b[" + b"1;" * KIB_256,
    "digits of one parameter": b"\x1b[" + b"1" * (KIB_256 - 3) + b"m",
    "open osc": b"\x1b]" * KIB_256,
    "one open osc": b"\x1b]" + b"x" * KIB_256,
    "osc in lines": b"\x1b]x\n" * KIB_256,
    "intermediates": b"\x1b" + b" " * KIB_256,
    "c1 csi": b"\xc2\x9b" * KIB_256,
    "returns": b"\r" * KIB_256,
    "returns and a line end": b"\r" * (KIB_256 - 1) + b"\n",
    "text and returns": b"a\r" * KIB_256,
    "long line and returns": b"x" * (KIB_256 // 2) + b"\ra" * KIB_256,
    "backspaces": b"a\b" * KIB_256,
    "erasing": b"x" * (KIB_256 // 2) + b"\x1b[2Ka" * KIB_256,
    "erasing to the end": b"x" * (KIB_256 // 2) + b"\r\x1b[Ka" * KIB_256,
    "colours": b"\x1b[31ma\x1b[32mb" * KIB_256,
    "short colours": b"\x1b[1ma\x1b[mb" * KIB_256,
    "colours and returns": b"\x1b[31ma\r\x1b[32mb" * KIB_256,
    "all colours": b"".join(b"\x1b[38;2;%d;%d;%dmx" % (n % 256, n // 9 % 256, n // 99) for n in range(20_000)),
    "zeros": b"\0" * KIB_256,
    "controls": b"\x01\x02" * KIB_256,
    "no utf-8": b"\xff" * KIB_256,
    "overrides": "\u202e".encode() * KIB_256,
    "overrides and isolates": "\u202e\u2066".encode() * KIB_256,
    "line ends": b"\n" * KIB_256,
}


@pytest.mark.parametrize("name", WORST)
def test_no_log_takes_long_or_makes_a_page_grow(name: str) -> None:
    data = WORST[name][:KIB_256]
    begun = time.perf_counter()
    found = spans(data)
    is_bad = is_binary(data)
    assert time.perf_counter() - begun < LINEAR_S
    assert all(one.classes != next_one.classes for one, next_one in itertools.pairwise(found))
    if not is_bad:  # what is binary is not shown
        marks = sum(len(f'<span class="{span.classes}"></span>') for span in found if span.classes)
        assert sum(len(span.text.encode()) for span in found) + marks <= 1.5 * len(data) + 4096


def test_with_too_many_colours_the_newest_part_keeps_them() -> None:
    shown = show(WORST["short colours"][:KIB_256])
    assert shown.note is not None and "colours" in shown.note
    assert shown.spans[0].classes == "" and len(shown.spans[0].text) > 1
    assert {span.classes for span in shown.spans[-2:]} == {"b", ""}


def test_a_log_with_as_many_colours_as_logs_have_keeps_them_all() -> None:
    line = b"2024-01-01 12:00:00 \x1b[32mINFO\x1b[0m request 17 handled in 12 ms, GET /index.html\n"
    shown = show(line * (KIB_256 // len(line)))
    assert shown.note is None
    assert shown.spans[0].classes == "" and shown.spans[1].classes == "fg2"
