"""Pages as files: each a single file with its style, its script and its pictures inside.

A template sees ``page``, a dataclass of :mod:`observer_static.pages` made of those of ``parts.py``, the filters
of ``filters.py`` and ``marks.py``, and the constants below, and nothing else: an attribute that is no documented field
raises ``UndefinedError``. Everything is escaped.

There is one style and one script, and each page has those sections of them that it needs, since thousands of pages
carry them. A page's policy (CSP) forbids all but its own style and script, known by their hashes; only a page that can
follow a log may, besides, load scripts from the agent that has it.
"""

from __future__ import annotations

import base64
import builtins
import dataclasses
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.runtime import LoopContext
from markupsafe import Markup

from observer_static import pages, parts
from observer_static.filters import FILTERS, UNKNOWN
from observer_static.marks import MARKS
from observer_static.options import is_agent
from observer_static.pages import File, Page

#: The template of each kind of page.
TEMPLATES: Final[dict[type[Page], str]] = {
    pages.IndexPage: "index.html",
    pages.TaskPage: "task.html",
    pages.ProcessPage: "process.html",
    pages.LogPage: "log.html",
    pages.BrowsePage: "browse.html",
    pages.RawPage: "raw.html",
}

#: Templates, and the style and the script of all pages.
DIRECTORY: Final = Path(__file__).parent / "templates"

#: Turns the text after it around, or hides where it does: shown as its number instead. NUL is in no HTML.
_INVISIBLE: Final = "\0\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_SHOWN: Final = {ord(char): f"[U+{ord(char):04X}]" for char in _INVISIBLE}


def visible(html: str) -> str:
    """*html* with what cannot be seen, or turns text around, shown as its number."""
    return html.translate(_SHOWN) if any(char in html for char in _INVISIBLE) else html


def documented(*modules: ModuleType) -> dict[type, frozenset[str]]:
    """The fields that each dataclass of *modules* promises to templates."""
    found: dict[type, frozenset[str]] = {LoopContext: frozenset({"first"})}
    for value in (value for module in modules for value in vars(module).values()):
        if isinstance(value, type) and dataclasses.is_dataclass(value):
            found[value] = frozenset(f.name for f in dataclasses.fields(value) if f.metadata.get("doc"))
    return found


_getattr: Final = builtins.getattr


class DocumentedEnvironment(Environment):
    """Templates in *directories*, the first that has one counts; they know the documented fields of *modules*'
    dataclasses and nothing else of them."""

    def __init__(self, modules: Iterable[ModuleType], *directories: Path) -> None:
        super().__init__(
            loader=FileSystemLoader(directories),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self.fields: Final = documented(*modules)
        # One look-up: a page asks for a hundred fields.
        self._known: Final = frozenset((kind, name) for kind, names in self.fields.items() for name in names)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if (type(obj), attribute) in self._known:
            return _getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, (tuple, list)) and isinstance(argument, (int, slice)):
            return obj[argument]
        return self.undefined(obj=obj, name=argument)


# -- Style and script -------------------------------------------------------------------------------------------------

#: Begins the part of a style or script that only the pages with one of these names need; ``all`` ends it.
_SECTION: Final = re.compile(r"^(?://|/\*) @ ([a-z ]+?)(?: \*/)?$", re.MULTILINE)


def sections(source: str, names: frozenset[str]) -> str:
    """What of *source* the pages with *names* need; nothing if no section is theirs by name."""
    first, *rest = _SECTION.split(source)
    theirs = [(frozenset(of.split()), text) for of, text in zip(rest[::2], rest[1::2], strict=True)]
    if not any(of & names for of, _ in theirs):
        return ""
    return first + "".join(text for of, text in theirs if of & (names | {"all"}))


def smaller_css(source: str) -> str:
    """*source* without comments and the space that nothing needs."""
    text = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text)
    return re.sub(r"\s*([{},;>])\s*", r"\1", text).replace(";}", "}").replace(": ", ":").strip()


#: Strings and patterns, which stay as they are; a pattern follows one of these signs, a division does not.
_LITERAL: Final = re.compile(r"""("(?:[^"\\]|\\.)*"|(?<=[(!])/(?:[^/\\\[]|\\.|\[(?:[^\]\\]|\\.)*\])+/[a-z]*)""")


#: Signs with room around them that they do not need; between two pluses or minuses it means something.
_ROOM: Final = re.compile(r"(?<![+-]) *([^\w\s$+-]+|[+](?! *[+])|-(?! *-)) *")


def smaller_js(source: str) -> str:
    """*source* without comments, and without the space around signs."""
    lines = (line.strip() for line in source.splitlines())
    code = "\n".join(line for line in lines if line and not line.startswith("//"))
    code = re.sub(r"(?<=[;{,])\n", "", code)
    pieces = _LITERAL.split(code)
    pieces[::2] = (_ROOM.sub(r"\1", piece) for piece in pieces[::2])
    return "".join(pieces)


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


class Assets(NamedTuple):
    """What the pages of one kind carry."""

    style: Markup
    script: Markup
    #: A browser runs no other style or script.
    style_hash: str
    script_hash: str

    def policy(self, *agents: str) -> str:
        """What a browser may do for the page: show it with its own style and script, and ask *agents* for more."""
        return (
            f"default-src 'none'; style-src {self.style_hash}; script-src {' '.join([self.script_hash, *agents])}; "
            "img-src data:; base-uri 'none'; form-action 'none'"
        )


def assets(css_source: str, js_source: str, names: frozenset[str]) -> Assets:
    """What of a style and a script the pages with *names* need."""
    css = smaller_css(sections(css_source, names))
    js = smaller_js(sections(js_source, names))
    if "</" in css or "</" in js or "<!--" in js:
        raise ValueError("the style or the script would end the element it stands in")
    return Assets(
        style=Markup(f"<style>{css}</style>"),
        script=Markup(f"<script>{js}</script>" if js else ""),
        style_hash=_hash(css),
        script_hash=_hash(js) if js else "'none'",
    )


# -- Rendering --------------------------------------------------------------------------------------------------------


def agents(page: Page) -> list[str]:
    """The agents that *page* may ask for more of a log."""
    logs = page.logs if isinstance(page, (pages.ProcessPage, pages.LogPage)) else ()
    return sorted({log.follow.agent for log in logs if log.follow is not None and follows(log)})


def follows(log: parts.Log) -> bool:
    """Whether the page may offer to follow *log*."""
    return log.follow is not None and is_agent(log.follow.agent)


class Renderer:
    """Turns pages into files; keeps the compiled templates."""

    def __init__(self, templates: str | None = None) -> None:
        directory = Path(templates) if templates is not None else DIRECTORY
        self._environment = DocumentedEnvironment([pages, parts], directory)
        css = (directory / "page.css").read_text("utf-8")
        js = (directory / "page.js").read_text("utf-8")
        self._assets = {
            (kind, follows): assets(css, js, frozenset({template.partition(".")[0], *more}))
            for kind, template in TEMPLATES.items()
            for follows, more in ((False, ()), (True, ("follow",)))
        }
        self._environment.filters |= {
            **FILTERS,
            **MARKS,
            "follows": follows,
            "policy": self._policy,
            "script": lambda page: self._assets_of(page).script,
            "style": lambda page: self._assets_of(page).style,
        }
        self._environment.globals = {"UNKNOWN": UNKNOWN}
        self._templates = {kind: self._environment.get_template(name) for kind, name in TEMPLATES.items()}

    def render(self, page: Page) -> File:
        """The file that shows *page*."""
        html = self._templates[type(page)].render(page=page)
        # A name that is not UTF-8 comes as lone surrogates; they are shown as their escapes.
        return File(path=page.path, content=visible(html).encode("utf-8", "backslashreplace"))

    def _assets_of(self, page: Page) -> Assets:
        return self._assets[type(page), bool(agents(page))]

    def _policy(self, page: Page) -> str:
        return self._assets_of(page).policy(*agents(page))


def render(pages_: Iterable[Page]) -> Iterator[File]:
    """The file of each page."""
    renderer = Renderer()
    for page in pages_:
        yield renderer.render(page)
