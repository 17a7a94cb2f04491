"""Pages as files: each a single file with its style, its script and its pictures inside.

A template sees ``page``, which is a dataclass of :mod:`observer_static.pages`, the filters of ``filters.py`` and
``marks.py``, and the constants below, and nothing else: an attribute that is no documented field raises
``UndefinedError``. Everything is escaped.

A page's policy (CSP) forbids all but its own style and script, known by their hashes; only a page that can follow a
log may, besides, load scripts from the agent that has it.
"""

from __future__ import annotations

import base64
import builtins
import dataclasses
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.runtime import LoopContext
from markupsafe import Markup

from observer_static import pages
from observer_static.filters import FILTERS, UNKNOWN
from observer_static.marks import MARKS
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

_DIRECTORY: Final = Path(__file__).parent / "templates"

#: An agent's address as a policy may name it; anything else could end the directive and begin another.
_AGENT: Final = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

#: Turns the text after it around, or hides where it does: shown as its number instead. NUL is in no HTML.
_INVISIBLE: Final = "\0\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_SHOWN: Final = {ord(char): f"[U+{ord(char):04X}]" for char in _INVISIBLE}


def _documented() -> dict[type, frozenset[str]]:
    """The fields that each dataclass of pages promises to templates."""
    found: dict[type, frozenset[str]] = {LoopContext: frozenset({"first", "last", "index"})}
    for value in vars(pages).values():
        if isinstance(value, type) and dataclasses.is_dataclass(value):
            found[value] = frozenset(f.name for f in dataclasses.fields(value) if f.metadata.get("doc"))
    return found


class _Environment(Environment):
    """Knows documented fields alone."""

    fields: Final = _documented()

    def getattr(self, obj: Any, attribute: str) -> Any:
        if attribute in self.fields.get(type(obj), ()):
            return builtins.getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, str) and not isinstance(obj, dict):
            return self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)


def smaller_css(source: str) -> str:
    """*source* without comments and the space that nothing needs."""
    text = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text)
    return re.sub(r";?\s*([{},;>])\s*", r"\1", re.sub(r";\s*}", "}", text)).replace(": ", ":").strip()


def smaller_js(source: str) -> str:
    """*source* without indentation and the lines that are comments or empty."""
    lines = (line.strip() for line in source.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def followed(page: Page) -> list[str]:
    """The agents that *page* may ask for more of a log."""
    logs = page.logs if isinstance(page, (pages.ProcessPage, pages.LogPage)) else ()
    agents = {log.follow.agent for log in logs if log.follow is not None}
    return sorted(agent for agent in agents if _AGENT.fullmatch(agent))


class Renderer:
    """Turns pages into files; keeps the compiled templates."""

    def __init__(self, templates: str | None = None) -> None:
        directory = Path(templates) if templates is not None else _DIRECTORY
        self._environment = _Environment(
            loader=FileSystemLoader(directory),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
            auto_reload=False,
        )
        css = smaller_css((directory / "page.css").read_text("utf-8"))
        js = smaller_js((directory / "page.js").read_text("utf-8"))
        if "</" in css or "</script" in js.lower() or "<!--" in js:
            raise ValueError("the style or the script would end the element it stands in")
        self._style_hash, self._script_hash = _hash(css), _hash(js)
        self._environment.filters |= {
            **FILTERS,
            **MARKS,
            "policy": self._policy,
            "follows": _follows,
            "can_follow": followed,
        }
        self._environment.globals = {
            "STYLE": Markup(f"<style>{css}</style>"),
            "SCRIPT": Markup(f"<script>{js}</script>"),
            "UNKNOWN": UNKNOWN,
        }
        self._render = {kind: self._environment.get_template(name).render for kind, name in TEMPLATES.items()}

    def render(self, page: Page) -> File:
        """The file that shows *page*."""
        html = self._render[type(page)](page=page)
        for char in _INVISIBLE:
            if char in html:
                html = html.translate(_SHOWN)
                break
        # A name that is not UTF-8 comes as lone surrogates; they are shown as their escapes.
        return File(path=page.path, content=html.encode("utf-8", "backslashreplace"))

    def _policy(self, page: Page) -> str:
        """What a browser may do for *page*: show it with its own style and script, and nothing else."""
        scripts = " ".join([self._script_hash, *followed(page)])
        return (
            f"default-src 'none'; style-src {self._style_hash}; script-src {scripts}; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        )


def _follows(log: pages.Log) -> bool:
    """Whether the page may offer to follow *log*."""
    return log.follow is not None and _AGENT.fullmatch(log.follow.agent) is not None


def render(pages_: Iterable[Page]) -> Iterator[File]:
    """The file of each page."""
    renderer = Renderer()
    for page in pages_:
        yield renderer.render(page)
