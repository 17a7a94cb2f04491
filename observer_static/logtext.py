"""Bytes of a log as pieces of text with classes: as a terminal would show them, and nothing that could do harm.

A log is written by whoever the task runs for. Of its control sequences (ECMA-48) only colours and weights (SGR)
have an effect; all others are dropped whole, and so are the strings OSC, DCS, SOS, PM and APC, each of which ends
with its line at the latest. A carriage return, a backspace and "erase in line" do to their line what they would do
on a terminal, so that of a progress bar the last state is left. Other control characters, and characters that turn
text around or end a line unseen, are shown as what they are.

Everything here is linear in the length of the input, whatever it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from observer_static.parts import Span
from observer_static.sgr import CLASSES, MAX_CHARS, PLAIN, classes_of, dressed

__all__ = [
    "CLASSES",
    "Shown",
    "binary_note",
    "is_binary",
    "show",
    "spans",
    "start_of_tail",
    "visible_name",
    "whole_characters",
]

#: What a span costs in a page beside its text: ``<span class="fg12 bg3 b"></span>``, about.
_SPAN_BYTES: Final = 30
#: Room for spans that any log has, however short.
_FREE_BYTES: Final = 2000
#: Characters shown by name, ``\\u202e``, which takes twice their room; from then on as U+FFFD.
_MAX_NAMED: Final = 500
#: Where the line of a tail that was cut anywhere is looked for.
NEAR_BYTES: Final = 4096
#: A tail is binary when one byte in so many is no text.
_BINARY_SHARE: Final = 10

_BIDI: Final = "\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
#: No text without one of these needs more than a look.
_SUSPECT: Final = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}]")
_MOVES: Final = re.compile(r"[\r\x08]|(?:\x1b\[|\x9b)[0-9;]*[KG]")
#: A line's sequences: 1: SGR's parameters; 2: CSI G's or K's; 3: which of them; 4: anything else that is not shown
#: as it is. No alternative can match the same text in two ways, so none is tried twice.
_TOKEN: Final = re.compile(
    r"(?:\x1b\[|\x9b)(?:([0-9;:]*)m|([0-9;]{0,8})([GK])|[0-?]*[ -/]*[@-~]?)"
    r"|("
    r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\r\x18\x1a]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|\r+|\x08+|\x00+"
    rf"|[\x01-\x07\x0b-\x1f\x7f-\x9f{_BIDI}]"
    r")"
)
#: The same in bytes, for finding a place to start that is in none.
_SEQUENCE: Final = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]?|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?")
#: A sequence that began before a tail is over after so many bytes, but for the strings.
_BEHIND_BYTES: Final = 64
#: C0 that says nothing when it is shown: bell, and the switches between character sets.
_SILENT: Final = "\x07\x0e\x0f"


class Shown(NamedTuple):
    """A log as it is to be shown."""

    spans: tuple[Span, ...]
    #: What was left out; None: nothing.
    note: str | None


_NEXT_LINE: Final = "\x85"


def spans(data: bytes) -> tuple[Span, ...]:
    """*data* as pieces of text; see :func:`show`."""
    return show(data).spans


def show(data: bytes) -> Shown:
    """*data* as pieces of text that differ from their neighbours in their look, and what was left out of them."""
    text = data.decode("utf-8", "replace")
    if not _SUSPECT.search(text):
        return Shown((Span(text=text, classes=""),) if text else (), None)
    screen = _Screen()
    lines = text.replace(_NEXT_LINE, "\n").split("\n")
    last = len(lines) - 1
    for number, line in enumerate(lines):
        line = line.rstrip("\r")  # of most lines that hold one it is the end: they need no cells
        if not _SUSPECT.search(line):
            screen.put(line)
        elif _MOVES.search(line):
            _overwritten(screen, line)
        else:
            _plainly(screen, line)
        if number != last:
            screen.put("\n")
    return _bounded(screen.pieces(), len(data))


class _Screen:
    """Text that is put behind text, each with the look that holds at that moment."""

    def __init__(self) -> None:
        self.look = PLAIN
        self.classes = ""
        self._pieces: list[tuple[list[str], str]] = []
        self._texts: list[str] = []
        self._classes = ""
        self._named = 0

    def put(self, text: str) -> None:
        self.put_as(text, self.classes)

    def put_as(self, text: str, classes: str) -> None:
        if not text:
            return
        if text == "\n":
            classes = self._classes  # a line end has no look: one span may go over many lines
        if classes != self._classes or not self._pieces:
            self._texts = []
            self._pieces.append((self._texts, classes))
            self._classes = classes
        self._texts.append(text)

    def dress(self, parameters: str) -> None:
        self.look = dressed(self.look, parameters[:MAX_CHARS])
        self.classes = classes_of(self.look)

    def visible(self, found: str) -> str:
        """What is shown in the place of *found*: a picture, a name, or nothing."""
        first = found[0]
        if first == "\x7f":
            return "\u2421"
        if first < " ":
            return "" if first == "\x1b" or first in _SILENT else chr(0x2400 + ord(first))
        if first <= "\x9f":
            return ""
        self._named += 1
        return f"\\u{ord(first):04x}" if self._named <= _MAX_NAMED else "\ufffd"

    def pieces(self) -> list[tuple[str, str]]:
        return [("".join(texts), classes) for texts, classes in self._pieces]


def _tokens(line: str) -> Iterator[re.Match[str]]:
    """The sequences of *line*. Finding where one may begin is a third of the time of trying all of them everywhere."""
    suspect = _SUSPECT.search(line)
    while suspect is not None:
        token = _TOKEN.match(line, suspect.start())
        assert token is not None  # there is one for every suspect
        yield token
        suspect = _SUSPECT.search(line, token.end())


def _plainly(screen: _Screen, line: str) -> None:
    """Put a line in which nothing goes back."""
    at = 0
    for token in _tokens(line):
        start, end = token.span()
        if start > at:
            screen.put(line[at:start])
        at = end
        if token[1] is not None:
            screen.dress(token[1])
        elif token[4] is not None:
            screen.put(screen.visible(token[4]))
    screen.put(line[at:])


def _overwritten(screen: _Screen, line: str) -> None:
    """Put a line as it is left after what goes back in it has been written over."""
    texts: list[str] = []
    looks: list[str] = []
    column = 0

    def write(text: str) -> None:
        nonlocal column
        end = column + len(text)
        texts[column:end] = text
        looks[column:end] = [screen.classes] * len(text)
        column = end

    at = 0
    for token in _tokens(line):
        start, at_next = token.span()
        if start > at:
            write(line[at:start])
        at = at_next
        if token[1] is not None:
            screen.dress(token[1])
        elif token[3] == "K":
            if token[2] in ("", "0"):
                del texts[column:], looks[column:]
            elif token[2] == "2":
                texts, looks, column = [], [], 0
        elif token[3] == "G":
            if token[2] in ("", "0", "1"):
                column = 0
        elif token[4] is not None:
            if token[4][0] == "\r":
                column = 0
            elif token[4][0] == "\b":
                column = max(column - len(token[4]), 0)
            else:
                write(screen.visible(token[4]))
    if at < len(line):
        write(line[at:])
    begin = 0
    for here in range(1, len(looks) + 1):
        if here == len(looks) or looks[here] != looks[begin]:
            screen.put_as("".join(texts[begin:here]), looks[begin])
            begin = here


def visible_name(name: str) -> str:
    """*name* of a file with everything escaped that would not show as it is; bytes that are no UTF-8 as ``\\xff``."""
    if name.isprintable():
        return name
    return "".join(_visible_in_name(ch) for ch in name)


def _visible_in_name(ch: str) -> str:
    if ch.isprintable():
        return ch
    return f"\\x{ord(ch) - 0xDC00:02x}" if "\udc80" <= ch <= "\udcff" else ascii(ch)[1:-1]


def _bounded(pieces: list[tuple[str, str]], size_bytes: int) -> Shown:
    """*pieces* as spans; where their marks would make it half as long again as the log was, the oldest go plain."""
    text_bytes = sum(len(text.encode()) for text, _ in pieces)
    room = max(size_bytes + size_bytes // 2 - text_bytes, 0) + _FREE_BYTES
    marked = room // _SPAN_BYTES
    note = None
    for cut in range(len(pieces) - 1, -1, -1):
        if pieces[cut][1]:
            marked -= 1
            if marked < 0:
                pieces = [("".join(text for text, _ in pieces[: cut + 1]), ""), *pieces[cut + 1 :]]
                note = "colours change too often: the older part is shown without them"
                break
    return Shown(tuple(Span(text=text, classes=classes) for text, classes in _merged(pieces)), note)


def _merged(pieces: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if len(pieces) > 1 and pieces[0][1] == pieces[1][1]:
        return [(pieces[0][0] + pieces[1][0], pieces[0][1]), *pieces[2:]]
    return pieces


# -- Tails and what is no text ----------------------------------------------------------------------------------------


def start_of_tail(data: bytes) -> int:
    """Where to begin with *data*, which was cut out of a log anywhere.

    At a line if one begins near, else at a character that is in no control sequence, as far as can be told.
    """
    head = data[:NEAR_BYTES]
    line = head.find(b"\n") + 1 or head.rfind(b"\r") + 1  # in a progress bar, a return is as good as a line end
    if line:
        return line
    at = _BEHIND_BYTES if b"\x1b" in head and len(data) > NEAR_BYTES else 0
    for sequence in _SEQUENCE.finditer(head):
        if sequence.start() >= at:
            break
        at = max(at, sequence.end())
    for byte in head[at : at + 3]:  # the rest of a character
        if not 0x80 <= byte <= 0xBF:
            break
        at += 1
    return at


def whole_characters(data: bytes) -> int:
    """How much of *data* to show when more may follow: all, but for the beginning of a character at its end."""
    for back in range(1, min(len(data), 3) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if back < needed and byte < 0xF8 else len(data)
        if byte < 0x80:
            break
    return len(data)


def is_binary(data: bytes) -> bool:
    """Whether *data* is no text in UTF-8; the hole that a truncated log begins with does not make it so."""
    rest = data.lstrip(b"\0")
    if not rest:
        return bool(data)
    controls = len(rest) - len(rest.translate(None, _NOT_TEXT))
    broken = rest.decode("utf-8", "replace").count("\ufffd") - rest.count("\ufffd".encode())
    return (controls + broken) * _BINARY_SHARE > len(rest)


#: C0 and DEL without those that logs are made with: bell, backspace, tab, line feed, form feed, return, escape.
_NOT_TEXT: Final = bytes({*range(0x20), 0x7F} - {7, 8, 9, 10, 12, 13, 27})

_MAGIC: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
    (b"\x7fELF", "an ELF program"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
)
_HEX_BYTES: Final = 16


def binary_note(data: bytes, from_byte: int) -> str:
    """What to say of binary *data*, which begins at *from_byte* of its file, instead of showing it."""
    if not data.strip(b"\0"):
        return "nothing but zero bytes"
    what = next((f", {name}" for magic, name in _MAGIC if data.startswith(magic)), "") if not from_byte else ""
    return f"not shown: binary or not in UTF-8{what}; from byte {from_byte}: {data[:_HEX_BYTES].hex(' ')} …"
