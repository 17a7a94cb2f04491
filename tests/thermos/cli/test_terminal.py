"""Output of processes is safe to look at, however it is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermos.cli.terminal import Cleaner, clean_bytes, clean_text


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"plain\ttext\n", "plain\ttext\n"),
        ("grüße 世界\n".encode(), "grüße 世界\n"),
        (b"a\x1b]52;c;cm0gLXJmIC8=\x07b\n", "ab\n"),  # sets the clipboard
        (b"a\x1b]52;c;cm0gLXJmIC8=\x1b\\b\n", "ab\n"),
        (b"\x1b]0;a title\x07b\n", "b\n"),
        (b"\x1b[31mred\x1b[0m\n", "red\n"),
        (b"\x1b[2J\x1b[1;1Hcleared\n", "cleared\n"),
        (b"secret\rpublic\n", "secret\npublic\n"),  # would write over the line
        (b"dos\r\n", "dos\n"),
        (b"dos\r\r\n", "dos\n"),
        (b"bell\x07 back\x08space nul\0 del\x7f\n", "bell backspace nul del\n"),
        (b"\xff\xfe\n", "\\xff\\xfe\n"),
        (b"half \xc3\n", "half \\xc3\n"),
        ("c1 \x9b31m csi \x9d0;t\x9c osc\n".encode(), "c1  csi  osc\n"),
        (b"\x1bP1$r\x1b\\dcs \x1b_apc\x1b\\ \x1b^pm\x1b\\\n", "dcs  \n"),
        (b"\x1bc\x1b(0reset\n", "reset\n"),
        (b"\x1b]0;never ends\nthe next line stays\n", "\nthe next line stays\n"),
        ("abc \u202e drow\n".encode(), "abc \\u202e drow\n"),  # turns the text around
        (b"cut in the middle \x1b[3", "cut in the middle "),
    ],
)
def test_clean(written: bytes, shown: str) -> None:
    assert clean_bytes(written) == shown


@given(
    st.lists(
        st.sampled_from([b"\x1b", b"]", b"[", b"5", b";", b"m", b"\x07", b"\\", b"\r", b"\n", b"a", b"\xc2", b"\x9b"])
    )
)
def test_nothing_gets_through_and_pieces_do_not_matter(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    cleaner = Cleaner()
    pieces = "".join(cleaner.feed(part) for part in parts) + cleaner.feed(b"", final=True)
    assert pieces == clean_bytes(whole)
    assert all(ch in "\t\n" or ch.isprintable() for ch in pieces)


def test_a_sequence_that_never_ends_is_not_waited_for() -> None:
    cleaner = Cleaner()
    shown = "".join(cleaner.feed(b"x" * 1000) for _ in range(3)) + cleaner.feed(b"\x1b]0;" + b"y" * 10_000)
    shown += cleaner.feed(b"z\n")
    assert shown.endswith("z\n")
    assert "\x1b" not in shown


def test_text_of_records() -> None:
    assert clean_text("one\ntwo\x1b[31m\ud800") == "one\ntwo\\ud800"
