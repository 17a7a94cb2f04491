"""What an agent has and a task takes, as one value that can be added and taken away: scalars and ranges by name.

Scalars are counted in thousandths, as Mesos does (``mesos/src/common/values.cpp``), so that sums are exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from thermos.mesos import Raw

#: (begin, end), both included.
Span = tuple[int, int]
Spans = tuple[Span, ...]

_MILLI: Final = 1000
#: ``--min_allocatable_resources`` of Mesos 1.11: what is less of both is not offered.
_MIN_CPUS_MILLI: Final = 10
_MIN_MEM_MILLI: Final = 32 * _MILLI


class Bag(NamedTuple):
    """Amounts by name. Neither holds a name with nothing of it."""

    scalars_milli: Mapping[str, int]
    spans: Mapping[str, Spans]

    def __bool__(self) -> bool:
        return bool(self.scalars_milli or self.spans)

    def plus(self, other: Bag) -> Bag:
        """Both together."""
        scalars = dict(self.scalars_milli)
        for name, milli in other.scalars_milli.items():
            scalars[name] = scalars.get(name, 0) + milli
        if not other.spans:
            return Bag(scalars, self.spans)
        spans = dict(self.spans)
        for name, more in other.spans.items():
            spans[name] = _merged([*spans.get(name, ()), *more])
        return Bag(scalars, spans)

    def minus(self, other: Bag) -> Bag:
        """What is left without *other*, of which there must be enough."""
        scalars = dict(self.scalars_milli)
        for name, milli in other.scalars_milli.items():
            left = scalars.get(name, 0) - milli
            if left:
                scalars[name] = left
            else:
                scalars.pop(name, None)
        if not other.spans:
            return Bag(scalars, self.spans)
        spans = dict(self.spans)
        for name, gone in other.spans.items():
            rest = _without(spans.get(name, ()), gone)
            if rest:
                spans[name] = rest
            else:
                spans.pop(name, None)
        return Bag(scalars, spans)

    def fits(self, room: Bag) -> bool:
        """Whether *room* holds all of this."""
        scalars = room.scalars_milli
        for name, milli in self.scalars_milli.items():
            if milli > scalars.get(name, 0):
                return False
        return all(_is_within(spans, room.spans.get(name, ())) for name, spans in self.spans.items())

    @property
    def is_worth_offering(self) -> bool:
        """Whether Mesos would make an offer of it."""
        scalars = self.scalars_milli
        return scalars.get("cpus", 0) >= _MIN_CPUS_MILLI or scalars.get("mem", 0) >= _MIN_MEM_MILLI

    def __str__(self) -> str:
        parts = [f"{name}:{milli / _MILLI:g}" for name, milli in self.scalars_milli.items()]
        parts += [
            f"{name}:[{', '.join(f'{begin}-{end}' for begin, end in spans)}]" for name, spans in self.spans.items()
        ]
        return "; ".join(parts) or "nothing"


EMPTY: Final = Bag({}, {})


def _merged(spans: Iterable[Span]) -> Spans:
    """The same numbers in as few spans as can be, in order."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return tuple(found)


def _without(spans: Spans, gone: Spans) -> Spans:
    left = list(spans)
    for begin, end in gone:
        pieces: list[Span] = []
        for low, high in left:
            if end < low or begin > high:
                pieces.append((low, high))
                continue
            if low < begin:
                pieces.append((low, begin - 1))
            if high > end:
                pieces.append((end + 1, high))
        left = pieces
    return tuple(left)


def _is_within(spans: Spans, room: Spans) -> bool:
    return all(any(low <= begin and end <= high for low, high in room) for begin, end in spans)


# -- JSON --------------------------------------------------------------------------------------------------------------


def read(resources: Iterable[Raw]) -> Bag:
    """The sum of a list of ``Resource``. Raises ValueError."""
    scalars: dict[str, int] = {}
    spans: dict[str, Spans] = {}
    for one in resources:
        try:
            name = one["name"]
            kind = one.get("type", "SCALAR")
            if kind == "SCALAR":
                milli = round(one["scalar"]["value"] * _MILLI)
                if milli < 0:
                    raise ValueError(f"{name} is negative")
                if milli:
                    scalars[name] = scalars.get(name, 0) + milli
            elif kind == "RANGES":
                more = [(part["begin"], part["end"]) for part in one["ranges"]["range"]]
                if any(begin > end for begin, end in more):
                    raise ValueError(f"a range of {name} ends before it begins")
                if more:
                    spans[name] = _merged([*spans.get(name, ()), *more])
            else:
                raise ValueError(f"{name} is of type {kind}: this Mesos has SCALAR and RANGES")
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"this is no resource: {one}") from None
    return Bag(scalars, spans)


def write(bag: Bag, role: str | None = None) -> list[dict[str, Any]]:
    """A list of ``Resource``, unreserved; allocated to *role*, if there is one."""
    more: dict[str, Any] = {"role": "*"}
    if role is not None:
        more["allocation_info"] = {"role": role}
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "type": "RANGES",
            "ranges": {"range": [{"begin": begin, "end": end} for begin, end in spans]},
            **more,
        }
        for name, spans in bag.spans.items()
    ]
    found += [
        {"name": name, "type": "SCALAR", "scalar": {"value": milli / _MILLI}, **more}
        for name, milli in bag.scalars_milli.items()
    ]
    return found


# -- flags -------------------------------------------------------------------------------------------------------------

_ENTRY: Final = re.compile(r"\s*([^:;\s]+)\s*:\s*(\[[^\]]*\]|[^;]*?)\s*(?:;|$)")
_RANGES: Final = re.compile(r"\[\s*\d+\s*-\s*\d+\s*(?:,\s*\d+\s*-\s*\d+\s*)*\]")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Name and value of ``name:value;name:value``. Raises ValueError."""
    at = 0
    while text[at:].strip():
        entry = _ENTRY.match(text, at)
        if entry is None or not entry[2]:
            raise ValueError(f"{text[at:]!r} should be like name:value;name:value")
        yield entry[1], entry[2]
        at = entry.end()


def _spans(value: str) -> Spans:
    numbers = [int(number) for number in re.findall(r"\d+", value)]
    return _merged(zip(numbers[::2], numbers[1::2], strict=True))


def parse(text: str) -> Bag:
    """What Mesos' flag ``--resources`` says: ``cpus:4;mem:4096;disk:10000;ports:[31000-32000]``. Raises ValueError."""
    scalars: dict[str, int] = {}
    spans: dict[str, Spans] = {}
    for name, value in _entries(text):
        if _RANGES.fullmatch(value):
            spans[name] = _spans(value)
        elif _NUMBER.fullmatch(value):
            scalars[name] = round(float(value) * _MILLI)
        else:
            raise ValueError(f"{name}:{value} is no resource: it should be like cpus:4 or ports:[31000-32000]")
    return Bag({name: milli for name, milli in scalars.items() if milli}, spans)


def parse_attributes(text: str) -> tuple[dict[str, Any], ...]:
    """What Mesos' flag ``--attributes`` says, as ``Attribute``: ``rack:r1;zone:[1-2];level:3``. Raises ValueError."""
    found: list[dict[str, Any]] = []
    for name, value in _entries(text):
        if _RANGES.fullmatch(value):
            ranges = [{"begin": begin, "end": end} for begin, end in _spans(value)]
            found.append({"name": name, "type": "RANGES", "ranges": {"range": ranges}})
        elif _NUMBER.fullmatch(value):
            found.append({"name": name, "type": "SCALAR", "scalar": {"value": float(value)}})
        else:
            found.append({"name": name, "type": "TEXT", "text": {"value": value}})
    return tuple(found)


def attribute_text(attribute: Raw) -> str:
    """The value of an ``Attribute`` as ``thermos.formats.mesos_v1_scheduler`` reads it."""
    kind = attribute["type"]
    if kind == "TEXT":
        return str(attribute["text"]["value"])
    if kind == "SCALAR":
        return repr(float(attribute["scalar"]["value"]))
    spans = [f"{part['begin']}-{part['end']}" for part in attribute["ranges"]["range"]]
    return f"[{', '.join(spans)}]"
