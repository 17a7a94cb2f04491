"""Output of processes made safe to look at: bytes in, text without control characters out.

A log is written by whoever the task runs for. On a terminal its escape sequences could set the clipboard (OSC
52) or the title, hide lines or answer as if typed. Sequences are removed whole (ECMA-48: C0, C1, CSI, and the
strings OSC, DCS, SOS, PM, APC); tabs and line ends stay; a lone carriage return, which would write over what
came before, ends the line; bytes that are no UTF-8 and characters that turn text around show as escapes.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

#: A string sequence ends with its line at the latest, so that none can swallow the rest of a log.
_STRING: Final = r"[^\x07\x1b\x9c\n\r\x18\x1a]*"
_CONTROL: Final = re.compile(
    rf"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]){_STRING}(?:\x07|\x1b\\|\x9c)?"  # strings
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI
    r"|\x1b[ -/]*[0-~]?"  # other escapes
    r"|\r+\n|\r+"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]"
)
#: What may be the beginning of a sequence whose rest has not come yet.
_UNFINISHED: Final = re.compile(
    rf"(?:(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]){_STRING}\x1b?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*|\x1b[ -/]*|\r+)\Z"
)
#: A sequence longer than this is not waited for.
_LONGEST: Final = 4096
#: Whether a piece of text needs any of this; most need none.
_SUSPECT: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]"
)


def _replacement(match: re.Match[str]) -> str:
    found = match.group()
    if found[0] == "\r":
        return "\n"
    if found[0] in "\u061c\u200e\u200f\u2028\u2029" or "\u202a" <= found[0] <= "\u2069" or found[0] >= "\ud800":
        return f"\\u{ord(found[0]):04x}"
    return ""


class Cleaner:
    """Cleans a stream that comes in pieces, cut anywhere."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._rest = ""

    def feed(self, data: bytes, final: bool = False) -> str:
        """What *data* adds to the text; *final*: nothing follows."""
        text = self._rest + self._decoder.decode(data, final)
        self._rest = ""
        if not _SUSPECT.search(text):
            return text
        if not final:
            start = max(len(text) - _LONGEST, 0)
            unfinished = _UNFINISHED.search(text, start)
            if unfinished is not None:
                self._rest = text[unfinished.start() :]
                text = text[: unfinished.start()]
        return _CONTROL.sub(_replacement, text)


def clean_bytes(data: bytes) -> str:
    """All of *data*, cleaned."""
    return Cleaner().feed(data, final=True)


def clean_text(text: str) -> str:
    """*text* from a record, cleaned like output; line ends stay."""
    return _CONTROL.sub(_replacement, text) if _SUSPECT.search(text) else text
