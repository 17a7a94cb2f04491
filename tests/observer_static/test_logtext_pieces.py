"""Where a tail begins, what is binary, and how names of files are shown."""

from __future__ import annotations

import os

import pytest

from observer_static import logtext
from observer_static.logtext import is_binary, spans, start_of_tail, visible_name, whole_characters


def text_of(data: bytes) -> str:
    return "".join(span.text for span in spans(data))


# -- Tails ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, left",
    [
        (b"half a line\nwhole", b"whole"),
        (b"half\n", b""),
        (b"10%\r20%\r30", b"30"),
        (b"no line end", b"no line end"),
        (b"\x82\xac and more", b" and more"),
        (b"\x80\x80\x80\x80 and more", b"\x80 and more"),
        (b"", b""),
    ],
)
def test_where_a_tail_begins(data: bytes, left: bytes) -> None:
    assert data[start_of_tail(data) :] == left


def test_a_tail_of_one_endless_line_begins_in_no_sequence() -> None:
    line = b"\x1b[38;5;196mx\x1b[0my" * 1000
    for cut in range(20):
        tail = line[cut:]
        text = text_of(tail[start_of_tail(tail) :])
        assert set(text) == {"x", "y"}, cut


@pytest.mark.parametrize(
    "data, left",
    [
        (b"", b""),
        (b"a", b"a"),
        ("ä€😀".encode(), "ä€😀".encode()),
        (b"a\xc3", b"a"),
        (b"a\xe2\x82", b"a"),
        (b"a\xe2", b"a"),
        (b"a\xf0\x9f\x98", b"a"),
        (b"\xf0", b""),
        (b"a\xff", b"a\xff"),
        (b"a\x80", b"a\x80"),
        (b"\x80\x80\x80\x80", b"\x80\x80\x80\x80"),
    ],
)
def test_where_a_tail_ends(data: bytes, left: bytes) -> None:
    assert data[: whole_characters(data)] == left


# -- Binary -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, verdict",
    [
        (b"", False),
        (b"text\n", False),
        (b"\x1b[31mred\x1b[0m\r50%\r100%\b\x07\f\n", False),
        ("ÄÖÜ äöü ß €".encode() * 10, False),
        ("\ufffd".encode() * 10, False),
        ("Grüße aus Köln, schöne Aussicht auf den Dom".encode("latin-1"), False),
        (b"\0" * 4096 + b"text behind the hole of a truncated log\n", False),
        (b"\0" * 4096, True),
        (b"\x7fELF\x02\x01\x01" + bytes(range(256)), True),
        ("Привет мир".encode("koi8-r"), True),
        ("text in wide characters".encode("utf-16"), True),
        (b"\x1f\x8b\x08" + bytes(range(0, 256, 7)), True),
        (b"one control \x04 in a line of text", False),
        (os.urandom(4096), True),
    ],
)
def test_what_is_binary(data: bytes, verdict: bool) -> None:
    assert is_binary(data) is verdict


def test_of_binary_data_a_few_bytes_are_told_in_hex() -> None:
    note = logtext.binary_note(b"\x7fELF<script>" + b"\x00\xff" * 100, 0)
    assert "an ELF program" in note
    assert "7f 45 4c 46" in note
    assert "<" not in note and len(note) < 200
    assert "ELF" not in logtext.binary_note(b"\x7fELF\0\xff" * 9, 7), "a beginning only at the beginning"
    assert "zero" in logtext.binary_note(b"\0" * 99, 0)


# -- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, shown",
    [
        ("plain.txt", "plain.txt"),
        ("zwei Wörter", "zwei Wörter"),
        ("a\nb", "a\\nb"),
        ("\x1b[31m", "\\x1b[31m"),
        (os.fsdecode(b"\xff\xfe"), "\\xff\\xfe"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_names_show_what_they_are(name: str, shown: str) -> None:
    assert visible_name(name) == shown
