"""Colours and weights of a log."""

from __future__ import annotations

import re

import pytest

from observer_static.logtext import spans
from observer_static.sgr import CLASSES


def seen(data: bytes | str) -> list[tuple[str, str]]:
    found = spans(data.encode() if isinstance(data, str) else data)
    return [(span.text, span.classes) for span in found]


@pytest.mark.parametrize(
    "sgr, classes",
    [
        ("31", "fg1"),
        ("0", ""),
        ("", ""),
        ("1;31", "fg1 b"),
        ("01;31", "fg1 b"),
        ("31;;32", "fg2"),
        ("97", "fg15"),
        ("107", "bg15"),
        ("1;2;3;4", "b i u d"),
        ("21", "u"),
        ("4:3", "u"),
        ("4;4:0", ""),
        ("31;39", ""),
        ("41;49", ""),
        ("1;2;22", ""),
        ("3;4;23;24", ""),
        ("7", "fg0 bg7"),
        ("7;27", ""),
        ("7;31", "fg0 bg1"),
        ("7;31;44", "fg4 bg1"),
        ("5;8;9;25;28;29;51;999", ""),
        ("38;5;9", "fg9"),
        ("48;5;9", "bg9"),
        ("38;5;196", "fg9"),
        ("38;5;16", "fg0"),
        ("38;5;231", "fg15"),
        ("38;5;244", "fg8"),
        ("38;5;256", ""),
        ("38;2;255;0;0", "fg9"),
        ("38;2;255;0;0;1", "fg9 b"),
        ("38;2;0;205;0", "fg2"),
        ("38;2;300;0;0", ""),
        ("38;2;1", ""),
        ("38;5", ""),
        ("38", ""),
        ("38;7;1", "b"),
        ("38:5:9", "fg9"),
        ("38:2::255:0:0", "fg9"),
        ("38:2:255:0:0", "fg9"),
        ("38:2:1", ""),
        ("38:5:9;1", "fg9 b"),
        ("31;" * 20 + "32", "fg2"),
        ("99999999999999999999", ""),
        ("31;" + "9" * 5000, "fg1"),
    ],
)
def test_sgr(sgr: str, classes: str) -> None:
    assert seen(f"\x1b[{sgr}mx") == [("x", classes)]
    assert seen(f"\x9b{sgr}mx") == [("x", classes)], "the same, begun by the C1 control"


def test_a_look_lasts_over_lines_until_it_is_changed() -> None:
    assert seen("a\x1b[31mb\nc\x1b[0md\n") == [("a", ""), ("b\nc", "fg1"), ("d\n", "")]


def test_lines_of_one_look_are_one_span_whatever_stands_between() -> None:
    line = "\x1b[32mok\x1b[0m\n"
    assert seen(line * 3) == [("ok\nok\nok\n", "fg2")]


@pytest.mark.parametrize("sgr", ["30;40", "31;41", "38;5;1;41", "7;31;41"])
def test_nothing_is_hidden_in_its_ground(sgr: str) -> None:
    ((_, classes),) = seen(f"\x1b[{sgr}mhidden")
    assert re.fullmatch(r"fg\d+", classes)


def test_every_class_can_come_and_no_other() -> None:
    found = set()
    for number in range(16):
        for ground in (38, 48):
            ((_, classes),) = seen(f"\x1b[{ground};5;{number};1;2;3;4mx")
            found |= set(classes.split())
    assert found == CLASSES
