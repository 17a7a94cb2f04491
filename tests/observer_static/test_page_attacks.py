"""Whatever a task, a configuration, a log or a file name says, a page stays the page that we made.

Every text of every dataclass of every page is tried, found by walking them: a new field is tried as soon as a sample
has it. What the page is made of, its elements and their attributes, must not be more than with a harmless text.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from observer_static import pages, parts, render
from observer_static.pages import Page
from observer_static.render import Renderer
from tests.observer_static import samples

PAYLOADS = {
    "script": "<script>alert(1)</script>",
    "end of script": "</script><script>alert(1)</script>",
    "end of style": "</style><img src=x onerror=alert(1)>",
    "end of title": "</title><svg onload=alert(1)>",
    "end of pre": "</pre></textarea><iframe src=javascript:alert(1)>",
    "double quotes": '"><img src=x onerror=alert(1)>',
    "single quotes": "' onmouseover='alert(1)",
    "attribute": '" onfocus=alert(1) autofocus x="',
    "no space": '"><svg/onload=alert(1)><a"onfocus=alert(1)//autofocus="',
    "no quotes": "x onload=alert(1) `onclick=alert(1)`",
    "javascript": "javascript:alert(1)",
    "hidden javascript": "\tjava\nscript:alert(1)//",
    "data": "data:text/html,<script>alert(1)</script>",
    "other host": "//evil.example/x",
    "template": "{{7*7}}{% for x in [1] %}<b>{% endfor %}${7*7}",
    "comment": "<!--><script>alert(1)</script-->",
    "cdata": "]]><script>alert(1)</script><![CDATA[",
    "entity": "&lt;script&gt;alert(1)&lt;/script&gt;&#x3c;img&#x3e;",
    "line separators": "\u2028<b>\u2029\r\n\x0b\x0c\x85",
    "turned around": "\u202e\u2066<b>\u2069",
    "nothing": "\0<b>\0",
    "not UTF-8": "\udcff\udc80<b>\ud800",
    "policy": "x; script-src *; 'unsafe-inline'",
    "wide": "\uff1cscript\uff1e\u0130\U0001f4a9",
}

Change = Callable[[str], str]
#: A dataclass and one of its fields.
Place = tuple[type, str]


def places(part: Any) -> Iterator[Place]:
    """Every field below *part* that holds a text."""
    if isinstance(part, tuple):
        for each in part:
            yield from places(each)
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if any(isinstance(text, str) for text in texts(value)):
                yield type(part), field.name
            yield from places(value)


def texts(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for each in value:
            yield from texts(each)
    else:
        yield value


def changed(part: Any, place: Place | None, change: Change) -> Any:
    """*part* with every text at *place* changed; None: everywhere."""
    if isinstance(part, tuple):
        return tuple(changed(each, place, change) for each in part)
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return part
    values = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if place is None or place == (type(part), field.name):
            values[field.name] = _replaced(value, place, change)
        else:
            values[field.name] = changed(value, place, change)
    return type(part)(**values)


def _replaced(value: Any, place: Place | None, change: Change) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_replaced(each, place, change) for each in value)
    return changed(value, place, change)


class Structure(HTMLParser):
    """What a page is made of, and where it leads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.made_of: Counter[tuple[str, ...]] = Counter()
        self.addresses: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.made_of[tag] += 1  # type: ignore[index]
        for name, value in attrs:
            self.made_of[tag, name] += 1
            if name in ("href", "src", "action", "data"):
                self.addresses.append(value or "")

    handle_startendtag = handle_starttag

    def handle_comment(self, data: str) -> None:
        self.made_of["a comment",] += 1

    def handle_pi(self, data: str) -> None:
        self.made_of["an instruction",] += 1

    def unknown_decl(self, data: str) -> None:
        self.made_of["a declaration",] += 1


ADDRESS = re.compile(r"(?!//)(?:https?://|file:///|data:,\Z|[^:\\\s]*(?:[?#]|\Z)|(?:[^:/]*/)+|/|\.)")


def faults(renderer: Renderer, page: Page, place: Place | None, payload: str) -> list[str]:
    """What *payload* at *place* adds to the page, in words."""
    harmless = Structure(renderer.render(changed(page, place, lambda text: "harmless")).content.decode())
    attacked = Structure(renderer.render(changed(page, place, lambda text: payload)).content.decode())
    # A kind of page, a level or a state that is not ours may show less or something else of ours, never anything new.
    known = set(harmless.made_of) | set(Structure(renderer.render(page).content.decode()).made_of)
    found = [f"new: {what}" for what in attacked.made_of if what not in known]
    found += [
        f"{what}: {count} instead of {harmless.made_of[what]}"
        for what, count in attacked.made_of.items()
        if count > harmless.made_of[what]
    ]
    return found + [f"leads to {address!r}" for address in attacked.addresses if not ADDRESS.match(address)]


EVERYTHING = [
    (f"{kind} {name}", page)
    for kind, found in (("full", samples.MAXIMAL), ("empty", samples.MINIMAL))
    for name, page in found.items()
]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer()


def test_the_walk_finds_every_text_of_every_dataclass() -> None:
    found = {place for _, page in EVERYTHING for place in places(page)}
    expected = {
        (kind, field.name)
        for kind in (vars(pages) | vars(parts)).values()
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind is not pages.File
        for field in dataclasses.fields(kind)
        if "str" in str(field.type)
    }
    assert sorted(map(str, expected - found)) == []


#: All of them in one text, so that each field is tried in a second.
ALL_IN_ONE = " x".join(PAYLOADS.values())
#: What only works from the beginning of an address.
ADDRESSES = [
    PAYLOADS[name]
    for name in ("no space", "javascript", "hidden javascript", "data", "other host", "not UTF-8", "policy")
]


@pytest.mark.parametrize("page", [pytest.param(page, id=name) for name, page in EVERYTHING])
def test_no_text_of_any_field_becomes_more_than_text(renderer: Renderer, page: Page) -> None:
    found = []
    for place in sorted({*places(page)}, key=str):
        payloads = [ALL_IN_ONE, *ADDRESSES] if "href" in place[1] or place[0] is parts.Follow else [ALL_IN_ONE]
        for payload in payloads:
            found += [f"{place[0].__name__}.{place[1]}: {fault}" for fault in faults(renderer, page, place, payload)]
    assert found == []


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_nor_do_all_texts_at_once(renderer: Renderer, payload: str) -> None:
    assert [fault for _, page in EVERYTHING for fault in faults(renderer, page, None, payload)] == []


@pytest.mark.parametrize("payload", ["script", "double quotes", "end of title"])
def test_the_walk_sees_pages_that_escape_nothing(monkeypatch: pytest.MonkeyPatch, payload: str) -> None:
    class Careless(render.DocumentedEnvironment):
        def __init__(self, module: ModuleType, directory: Path) -> None:
            super().__init__(module, directory)
            self.autoescape = False

    monkeypatch.setattr(render, "DocumentedEnvironment", Careless)
    careless = Renderer()
    assert [name for name, page in EVERYTHING if not faults(careless, page, None, PAYLOADS[payload])] == []


def test_nothing_is_compiled_that_a_page_holds(renderer: Renderer) -> None:
    html = renderer.render(changed(samples.TASK_PAGE, None, lambda text: PAYLOADS["template"])).content.decode()
    assert "{{7*7}}{% for x in [1] %}&lt;b&gt;{% endfor %}${7*7}" in html
    assert "49" not in re.sub(
        r"<time.*?</time>|<style>.*?</style>|<script>.*?</script>|sha256-\S+", "", html, flags=re.S
    )
