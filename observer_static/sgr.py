"""Colours and weights of a log: what SGR (ECMA-48 8.3.117) sets, as classes of a page.

38 and 48 are as ISO 8613-6 and xterm have them; of 256 or 16 million colours, the nearest of sixteen is taken.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

#: What text can look like: colours and grounds, bold, italic, underlined, dim.
CLASSES: Final[frozenset[str]] = frozenset(
    {"b", "d", "i", "u", *(f"{ground}{number}" for ground in ("fg", "bg") for number in range(16))}
)

#: So much of an SGR is looked at: a terminal takes 16 or 32 parameters.
MAX_CHARS: Final = 128


class Look(NamedTuple):
    """What SGR has set so far."""

    fg: int | None = None
    bg: int | None = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    inverse: bool = False


PLAIN: Final = Look()

#: xterm's own colours: what a page's sixteen classes stand for, when others are measured against them.
_SIXTEEN: Final = (
    (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229),
    (127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255),
    (255, 255, 255),
)  # fmt: skip
#: The steps of xterm's cube of 6 × 6 × 6 colours (256colres.pl).
_CUBE: Final = (0, 95, 135, 175, 215, 255)


@lru_cache(4096)
def _nearest(red: int, green: int, blue: int) -> int:
    """The one of the sixteen that looks most like it ("redmean" distance)."""

    def distance(number: int) -> int:
        r, g, b = _SIXTEEN[number]
        mean = (r + red) // 2
        return (512 + mean) * (r - red) ** 2 // 256 + 4 * (g - green) ** 2 + (767 - mean) * (b - blue) ** 2 // 256

    return min(range(16), key=distance)


def _of_256(number: int) -> int | None:
    if number < 16:
        return number
    if number < 232:
        number -= 16
        return _nearest(_CUBE[number // 36], _CUBE[number // 6 % 6], _CUBE[number % 6])
    if number < 256:
        grey = 8 + 10 * (number - 232)
        return _nearest(grey, grey, grey)
    return None


def _number(text: str) -> int:
    """A parameter, of digits alone; one that is left out is 0."""
    return int(text) if text else 0


def _colour(numbers: list[int]) -> int | None:
    """The colour that ``5;N`` or ``2;R;G;B`` names; None: none."""
    if numbers[:1] == [5] and len(numbers) > 1:
        return _of_256(numbers[1])
    if numbers[:1] == [2] and len(numbers) > 3 and max(numbers[1:4]) < 256:
        red, green, blue = (number & 0xF0 for number in numbers[1:4])
        return _nearest(red | red >> 4, green | green >> 4, blue | blue >> 4)
    return None


@lru_cache(4096)
def dressed(look: Look, parameters: str) -> Look:
    """*look* after one SGR with those *parameters*, what stands between ``ESC [`` and ``m``."""
    groups = parameters.split(";")
    at = 0
    while at < len(groups):
        group = groups[at].split(":")[:8]
        at += 1
        number = _number(group[0])
        if number in (38, 48):
            if len(group) > 1:  # with colons: all in one, for 2 with the name of a colour space, or nothing, before
                rest = [_number(part) for part in group[1:]]
                if rest[:1] == [2] and len(rest) > 4:
                    del rest[1]
            else:
                kind = _number(groups[at]) if at < len(groups) else 0
                count = {5: 2, 2: 4}.get(kind, 1)
                rest = [_number(part) for part in groups[at : at + count]]
                at += count
            colour = _colour(rest)
            if colour is not None:
                look = look._replace(fg=colour) if number == 38 else look._replace(bg=colour)
        elif number == 4 and len(group) > 1:
            look = look._replace(underline=_number(group[1]) != 0)
        else:
            look = _simply(look, number)
    return look


def _simply(look: Look, number: int) -> Look:
    if 30 <= number <= 37:
        return look._replace(fg=number - 30)
    if 40 <= number <= 47:
        return look._replace(bg=number - 40)
    if 90 <= number <= 97:
        return look._replace(fg=number - 82)
    if 100 <= number <= 107:
        return look._replace(bg=number - 92)
    match number:
        case 0:
            return PLAIN
        case 1:
            return look._replace(bold=True)
        case 2:
            return look._replace(dim=True)
        case 3:
            return look._replace(italic=True)
        case 4 | 21:
            return look._replace(underline=True)
        case 7:
            return look._replace(inverse=True)
        case 22:
            return look._replace(bold=False, dim=False)
        case 23:
            return look._replace(italic=False)
        case 24:
            return look._replace(underline=False)
        case 27:
            return look._replace(inverse=False)
        case 39:
            return look._replace(fg=None)
        case 49:
            return look._replace(bg=None)
    return look  # blinking, hidden, struck through: a page shows what is there


@lru_cache(4096)
def classes_of(look: Look) -> str:
    """Its classes, empty for plain text; never those of text that cannot be seen."""
    fg: int | None
    bg: int | None
    if look.inverse:  # what is not set is light on dark, so dark on light
        fg = look.bg if look.bg is not None else 0
        bg = look.fg if look.fg is not None else 7
    else:
        fg, bg = look.fg, look.bg
    if fg is not None and fg == bg:
        bg = None  # nothing is hidden
    words = [f"fg{fg}"] if fg is not None else []
    if bg is not None:
        words.append(f"bg{bg}")
    for is_set, word in ((look.bold, "b"), (look.italic, "i"), (look.underline, "u"), (look.dim, "d")):
        if is_set:
            words.append(word)
    return " ".join(words)
