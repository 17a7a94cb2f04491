"""Every page renders, from documented fields alone, into one file that asks nobody for anything."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import shutil
import typing
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from jinja2 import Environment, UndefinedError, nodes
from jinja2.runtime import LoopContext

from observer_static import pages, parts, render
from observer_static.filters import FILTERS
from observer_static.marks import MARKS
from observer_static.pages import Page, RawPage
from observer_static.parts import Follow, Health, Link, Span
from observer_static.render import TEMPLATES, Renderer, agents, sections, smaller_css, smaller_js
from observer_static.sizes import page_bytes
from tests.observer_static import samples

DIRECTORY = Path(render.__file__).parent / "templates"
EVERY = [pytest.param(page, id=f"{kind}-{name}") for kind, found in
         (("maximal", samples.MAXIMAL), ("minimal", samples.MINIMAL)) for name, page in found.items()]  # fmt: skip
VOID = {"meta", "link", "input", "br"}


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer()


def html_of(renderer: Renderer, page: Page) -> str:
    return renderer.render(page).content.decode("utf-8")


class Tree(HTMLParser):
    """Start tags with their attributes, ids, and whether every element is closed where it was opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in {tag}: {names}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> closes nothing"

    def values(self, name: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(name)) is not None]

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.tags)


# -- What a page is ---------------------------------------------------------------------------------------------------


def test_each_kind_of_page_has_a_template_and_samples() -> None:
    kinds = set(typing.get_args(Page))
    assert set(TEMPLATES) == kinds
    assert {type(page) for page in samples.MAXIMAL.values()} == kinds
    assert {type(page) for page in samples.MINIMAL.values()} == kinds


@pytest.mark.parametrize("page", EVERY)
def test_a_page_is_well_formed_and_has_its_landmarks(renderer: Renderer, page: Page) -> None:
    html = html_of(renderer, page)
    tree = Tree(html)
    for tag in ("html", "body", "header", "main", "footer", "h1", "style"):
        assert tree.count(tag) == 1, tag
    ids = tree.values("id")
    assert len(ids) == len(set(ids))
    for attribute in ("aria-labelledby", "aria-controls"):
        assert set(tree.values(attribute)) <= set(ids)
    assert {value[1:] for value in tree.values("href") if value.startswith("#")} <= set(ids)
    levels = [int(tag[1]) for tag, _ in tree.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))
    assert tree.count("caption") == tree.count("table")
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in tree.tags if tag == "th")
    assert not re.search(
        r"\bNone\b|Undefined|\bnan\b|\binf\b|\[\]|\(\)|observer_static\.",
        html[html.index("<main") : html.index("</main>")],
    )


@pytest.mark.parametrize("page", EVERY)
def test_a_page_asks_nobody_for_anything(renderer: Renderer, page: Page) -> None:
    tree = Tree(html_of(renderer, page))
    assert not {"iframe", "img", "object", "embed", "base", "form", "audio", "video"} & {tag for tag, _ in tree.tags}
    assert not tree.values("src") + tree.values("srcset") + tree.values("style")
    assert [attrs["href"] for tag, attrs in tree.tags if tag == "link"] == ["data:,"]
    assert not [name for _, attrs in tree.tags for name in attrs if name.startswith("on")]


@pytest.mark.parametrize("page", EVERY)
def test_the_policy_allows_the_page_s_own_style_and_script_only(renderer: Renderer, page: Page) -> None:
    html = html_of(renderer, page)
    policy = re.search('Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    said = dict(part.strip().split(" ", 1) for part in policy[1].replace("&#39;", "'").split(";"))
    assert said["default-src"] == said["base-uri"] == said["form-action"] == "'none'"
    assert said["style-src"] == _hash(html, "style")
    script = _hash(html, "script")
    assert said["script-src"] == " ".join([script or "'none'", *agents(page)])
    assert html.index("Content-Security-Policy") < html.index("<title") < html.index("<style")


def _hash(html: str, tag: str) -> str:
    found = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    assert len(found) <= 1
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()}'" if found else ""


@pytest.mark.parametrize("page", EVERY)
def test_style_and_script_stay_small(renderer: Renderer, page: Page) -> None:
    html = html_of(renderer, page)
    assert sum(len(text) for text in re.findall("<(?:style|script)>(.*?)</", html, re.DOTALL)) <= 14 << 10


@pytest.mark.parametrize("page", EVERY)
def test_a_page_is_no_longer_than_was_foretold(renderer: Renderer, page: Page) -> None:
    assert len(renderer.render(page).content) <= page_bytes(page)


def test_nor_is_one_with_logs_of_short_lines_and_many_colours(renderer: Renderer) -> None:
    short = (Span(text="y\n" * (128 << 10), classes=""),)
    many = tuple(Span(text=f"&{n}\n", classes="fg12 bg3 b i u d") for n in range(6000))
    logs = (replace(samples.LOGS[0], spans=short), replace(samples.LOGS[1], spans=many))
    page = replace(samples.PROCESS_PAGE, logs=logs)
    assert len(renderer.render(page).content) <= page_bytes(page)
    bare = replace(samples.MINIMAL_PROCESS, logs=logs)
    assert len(renderer.render(bare).content) <= page_bytes(bare)


def test_only_a_page_that_can_follow_may_ask_its_agent(renderer: Renderer) -> None:
    page = samples.PROCESS_PAGE
    assert agents(page) == [samples.AGENT]
    assert "/files/read" in html_of(renderer, page)
    still = replace(page, logs=tuple(replace(log, follow=None) for log in page.logs))
    assert agents(still) == []
    assert "/files/read" not in html_of(renderer, still)
    assert "data-agent" not in html_of(renderer, still)


@pytest.mark.parametrize(
    "agent",
    [
        "http://a:5051; script-src *", "http://a:5051 *", "http://*", "*", "javascript:alert(1)", "data:", "http://a:5051/",
        "http://a@b", "'unsafe-inline'", "http://a\n", "", "ftp://a", "http://a:5051,b",
    ],
)  # fmt: skip
def test_an_agent_that_is_no_origin_is_not_followed(renderer: Renderer, agent: str) -> None:
    log = replace(samples.LOGS[0], follow=Follow(agent=agent, path="/x", offset=0), raw=Link(text="raw", href=None))
    page = replace(samples.PROCESS_PAGE, logs=(replace(log, rotated=()),))
    assert agents(page) == []
    html = html_of(renderer, page)
    assert "data-agent" not in html and "/files/read" not in html


@pytest.mark.parametrize("agent", ["http://10.0.0.1:5051", "https://agent.example.com", "http://[fe80::1]:5051"])
def test_an_agent_s_origin_is_followed(renderer: Renderer, agent: str) -> None:
    log = replace(samples.LOGS[0], follow=Follow(agent=agent, path="/x", offset=0))
    assert f"script-src {_hash(html := html_of(renderer, replace(samples.PROCESS_PAGE, logs=(log,))), 'script')}" in (
        html.replace("&#39;", "'")
    )
    assert f" {agent}; " in html


def test_files_come_one_by_one_with_the_pages_paths() -> None:
    found = render.render([samples.RAW_PAGE, samples.LOG_PAGE])
    assert isinstance(found, Iterator)
    assert [file.path for file in found] == [samples.RAW_PAGE.path, samples.LOG_PAGE.path]


def test_the_index_says_whom_it_is_for(renderer: Renderer) -> None:
    assert "For operators" in html_of(renderer, samples.INDEX_PAGE)
    owned = html_of(renderer, replace(samples.INDEX_PAGE, owner="www-data"))
    assert "For operators" not in owned and "Only tasks of the user www-data" in owned


@pytest.mark.parametrize(
    "health, is_active, said",
    [
        (None, True, "not known here"),
        (Health(is_checked=False, is_healthy=None, text="", since_s=None), True, "not checked"),
        (Health(is_healthy=None, text="Waits.", since_s=None), True, "not decided Waits."),
        (Health(is_healthy=True, text="Fine.", since_s=0.0), True, "healthy Fine., since 1970-01-01 00:00:00"),
        (Health(is_healthy=False, text="503", since_s=None), False, "last known: not healthy 503"),
        (
            Health(is_current=False, is_healthy=True, text="Fine.", since_s=None),
            True,
            "last known: healthy Fine. its executor is gone",
        ),
        (
            Health(is_current=None, is_healthy=True, text="Fine.", since_s=None),
            True,
            "last known: healthy Fine. it could not be told whether its executor lives",
        ),
    ],
)
def test_a_task_says_what_is_known_of_its_health(
    renderer: Renderer, health: Health | None, is_active: bool, said: str
) -> None:
    page = replace(samples.TASK_PAGE, health=health, is_active=is_active)
    text = renderer.render(page).content.decode()
    [found] = re.findall(r"<dt>Health</dt><dd>(.*?)</dd>", text, re.DOTALL)
    assert " ".join(re.sub(r"<[^>]*>", "", found).split()) == said


@pytest.mark.parametrize("has_runner, said", [(True, "lives"), (False, "is gone"), (None, "unknown")])
def test_task_and_process_say_whether_the_runner_lives(renderer: Renderer, has_runner: bool | None, said: str) -> None:
    for page in (
        replace(samples.TASK_PAGE, has_runner=has_runner),
        replace(samples.PROCESS_PAGE, has_runner=has_runner),
    ):
        fact = re.search("<dt>Runner</dt>(.*?)</dd>", html_of(renderer, page), re.DOTALL)
        assert fact is not None and said in fact[1]


def test_what_no_text_may_hold_is_shown(renderer: Renderer) -> None:
    html = html_of(renderer, replace(samples.RAW_PAGE, text="a\u202eb\0c\udc80d\u2066\u2028"))
    assert "a[U+202E]b[U+0000]c\\udc80d[U+2066]\u2028" in html


def test_a_log_keeps_every_line_end(renderer: Renderer) -> None:
    log = replace(samples.LOGS[1], spans=(Span(text="\n\nfirst\n\n", classes=""),))
    assert "</i>\n\nfirst\n\n<i" in html_of(renderer, replace(samples.LOG_PAGE, logs=(log,)))
    assert '<pre class="code" role="region" aria-label="JSON" tabindex="0">\n\n{}' in html_of(
        renderer, replace(samples.RAW_PAGE, text="\n{}")
    )


# -- What a template may see ------------------------------------------------------------------------------------------

DOCUMENTED = {
    field.name
    for kind in (vars(pages) | vars(parts)).values()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    for field in dataclasses.fields(kind)
    if field.metadata.get("doc")
}


def templates() -> list[Path]:
    return sorted(DIRECTORY.glob("*.html"))


@pytest.mark.parametrize("path", templates(), ids=lambda path: path.name)
def test_a_template_names_documented_fields_and_filters_only(path: Path) -> None:
    tree = _parsed(path)
    for attribute in tree.find_all(nodes.Getattr):
        assert attribute.attr in DOCUMENTED | {"first"}, f"{path.name}:{attribute.lineno}: {attribute.attr}"
    for item in tree.find_all(nodes.Getitem):
        assert not (isinstance(item.arg, nodes.Const) and isinstance(item.arg.value, str))
    ours = {*FILTERS, *MARKS, "follows", "policy", "script", "style"}
    used = {found.name for found in tree.find_all(nodes.Filter)}
    assert used <= ours | {"capitalize", "join", "length"}
    assert not list(tree.find_all(nodes.MarkSafe)) and not used & {"safe", "attr", "map", "tojson"}


def _parsed(path: Path) -> nodes.Template:
    return Environment(trim_blocks=True, lstrip_blocks=True).parse(path.read_text("utf-8"))


@pytest.mark.parametrize(
    "wrong",
    ["page.nothing", "page.__class__", "page.task.text.upper()", "page.logs.count", "page['text']", "page.path.format",
     "missing", "page.stamp.__init__", "page.text|attr('upper')"],
)  # fmt: skip
def test_what_is_no_documented_field_does_not_render(tmp_path: Path, wrong: str) -> None:
    copy = Path(shutil.copytree(DIRECTORY, tmp_path / "templates"))
    raw = copy / "raw.html"
    raw.write_text(raw.read_text("utf-8").replace("{{ page.text }}", f"{{{{ {wrong} }}}}"), "utf-8")
    with pytest.raises(UndefinedError):
        Renderer(str(copy)).render(samples.RAW_PAGE)


def test_a_field_without_a_meaning_does_not_render(monkeypatch: pytest.MonkeyPatch) -> None:
    documented = render.documented(pages, parts)
    less = {**documented, RawPage: documented[RawPage] - {"text"}}
    monkeypatch.setattr(render, "documented", lambda *modules: less)
    with pytest.raises(UndefinedError, match="text"):
        Renderer().render(samples.RAW_PAGE)


def test_templates_use_every_field_of_a_page_that_shows() -> None:
    used = {found.attr for path in templates() for found in _parsed(path).find_all(nodes.Getattr)}
    code = "".join((DIRECTORY.parent / name).read_text("utf-8") for name in ("marks.py", "filters.py", "render.py"))
    used |= set(re.findall(r"\.([a-z_]+)\b", code))
    not_shown = {
        "path",  # where the file lies
        "content",  # the file
        "root",  # of a row: its page tells
        "lane_height", "begin_s", "end_s",  # of a timeline: its summary tells
    }  # fmt: skip
    assert sorted(DOCUMENTED - used - not_shown) == []


def test_loops_know_little() -> None:
    assert render.documented(pages, parts)[LoopContext] == {"first"}


# -- Style and script -------------------------------------------------------------------------------------------------


def test_sections() -> None:
    source = "all\n/* @ task log */\nboth\n/* @ log */\none\n/* @ all */\nend\n"
    assert sections(source, frozenset({"log"})).split() == ["all", "both", "one", "end"]
    assert sections(source, frozenset({"task"})).split() == ["all", "both", "end"]
    assert sections(source, frozenset({"raw"})) == ""


def test_every_section_is_of_a_kind_that_there_is() -> None:
    kinds = {name.partition(".")[0] for name in TEMPLATES.values()} | {"all", "follow"}
    for name in ("page.css", "page.js"):
        for line in re.findall(r"@ ([a-z ]+?)(?: \*/)?$", (DIRECTORY / name).read_text("utf-8"), re.MULTILINE):
            assert set(line.split()) <= kinds


def test_smaller_css_keeps_what_matters() -> None:
    assert smaller_css("/* c */ a:not(.b) > c , d {\n  margin: 0 1px;\n  color: red;\n}\n") == (
        "a:not(.b)>c,d{margin:0 1px;color:red}"
    )


def test_smaller_js_keeps_what_matters() -> None:
    source = '// comment\nconst a = "x = y, z" + b - 1;\n\n  if (a && !/^[ -] ?\\/x/.test(c / 2)) d = +e - -f + ++g;\n'
    assert smaller_js(source) == 'const a="x = y, z"+b-1;if(a&&!/^[ -] ?\\/x/.test(c/2))d=+e - -f + ++g;'


def test_a_script_that_would_end_its_element_is_refused(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(DIRECTORY, tmp_path / "templates"))
    with (copy / "page.js").open("a") as file:
        file.write('const x = "</script>";\n')
    with pytest.raises(ValueError, match="would end"):
        Renderer(str(copy))


def test_pages_without_need_carry_no_script(renderer: Renderer) -> None:
    for page in (samples.LOG_PAGE, samples.BROWSE_PAGE, samples.RAW_PAGE):
        assert "<script" not in html_of(renderer, page)
    for other in (samples.INDEX_PAGE, samples.TASK_PAGE, samples.PROCESS_PAGE):
        assert "<script>" in html_of(renderer, other)


def test_a_sandbox_that_is_gone_or_cannot_be_listed_says_so(renderer: Renderer) -> None:
    gone = replace(samples.MINIMAL_BROWSE, is_gone=True, note=None)
    assert "not there any more" in html_of(renderer, gone)
    assert "cannot be listed: it is a link" in html_of(renderer, replace(gone, is_gone=False, note="a link"))
    assert "It is empty." in html_of(renderer, replace(gone, is_gone=False))
