"""Templates name documented fields and nothing else, and whatever a page holds, it stays the page that we made."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from jinja2 import Environment, UndefinedError, nodes

from observer_static.filters import FILTERS
from observer_static.reference import dataclasses_of
from observer_static.render import DocumentedEnvironment, documented
from scheduler.pages import pages, parts, render
from scheduler.pages.marks import CLASSES, MARKS
from scheduler.pages.pages import Page
from scheduler.pages.render import TEMPLATES, Renderer
from scheduler.states import ScheduleStatus
from tests.observer_static.test_page_attacks import ADDRESS, ADDRESSES, ALL_IN_ONE, PAYLOADS, Structure, changed, places

DIRECTORY = Path(render.__file__).parent / "templates"
DOCUMENTED = frozenset().union(*documented(pages, parts).values())


def sample(kind: Any, name: str = "") -> Any:
    """A value of that type in which everything is there."""
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{field.name: sample(hints[field.name], field.name) for field in dataclasses.fields(kind)})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        return (sample(get_args(kind)[0], name),) * 2
    if NoneType in get_args(kind):
        return sample(next(one for one in get_args(kind) if one is not NoneType), name)
    if kind is str:
        return {"state": "RUNNING", "level": "error"}.get(name, "/harmless" if "href" in name else "harmless")
    return {int: 3, float: 1.7e9, bool: True}[kind]


def emptied(page: Any) -> Any:
    """The same without all that need not be there."""
    hints = get_type_hints(type(page))
    values = {}
    for field in dataclasses.fields(page):
        value = getattr(page, field.name)
        if NoneType in get_args(hints[field.name]):
            value = None
        elif isinstance(value, tuple):
            value = ()
        elif dataclasses.is_dataclass(value):
            value = emptied(value)
        elif value is True:
            value = False
        values[field.name] = value
    return type(page)(**values)


FULL = [sample(kind) for kind in TEMPLATES]
EVERYTHING = [pytest.param(page, id=type(page).__name__) for page in FULL] + [
    pytest.param(emptied(page), id=f"empty {type(page).__name__}") for page in FULL
]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer()


def test_every_page_has_a_template() -> None:
    assert set(TEMPLATES) == set(get_args(Page))


@pytest.mark.parametrize("page", EVERYTHING)
def test_every_page_renders(renderer: Renderer, page: Page) -> None:
    html = renderer.render(page)
    assert html.startswith("<!doctype html>") and html.rstrip().endswith("</html>")
    assert "None" not in re.sub(r"<script>.*?</script>", "", html, flags=re.S)
    assert "Written 2023-11-14" in re.sub("<.*?>", "", html.partition("<main")[0])


# -- What templates know -----------------------------------------------------------------------------------------------


def _parsed(path: Path) -> nodes.Template:
    return Environment(trim_blocks=True, lstrip_blocks=True).parse(path.read_text("utf-8"))


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.html")), ids=lambda path: path.name)
def test_a_template_names_documented_fields_and_filters_only(path: Path) -> None:
    tree = _parsed(path)
    for attribute in tree.find_all(nodes.Getattr):
        assert attribute.attr in DOCUMENTED | {"first"}, f"{path.name}:{attribute.lineno}: {attribute.attr}"
    assert not list(tree.find_all(nodes.Getitem)) and not list(tree.find_all(nodes.MarkSafe))
    used = {found.name for found in tree.find_all(nodes.Filter)}
    assert used <= {*FILTERS, *MARKS, "policy", "script", "style", "sentence", "first", "join", "length", "string"}


@pytest.mark.parametrize(
    "wrong", ["page.nothing", "page.__class__", "page.what.upper()", "page['what']", "missing", "page.stamp.__init__"]
)
def test_what_is_no_documented_field_does_not_render(tmp_path: Path, wrong: str) -> None:
    copy = Path(shutil.copytree(DIRECTORY, tmp_path / "templates"))
    template = copy / "missing.html"
    template.write_text(template.read_text("utf-8").replace("{{ page.what }}", f"{{{{ {wrong} }}}}"), "utf-8")
    with pytest.raises(UndefinedError):
        Renderer(copy).render(sample(pages.MissingPage))


def test_templates_use_every_field() -> None:
    used = {found.attr for path in DIRECTORY.glob("*.html") for found in _parsed(path).find_all(nodes.Getattr)}
    used |= set(re.findall(r"\.([a-z_]+)\b", (DIRECTORY.parent / "marks.py").read_text("utf-8")))
    kinds = [*dataclasses_of(pages), *dataclasses_of(parts)]
    ours = {field.name for kind in kinds for field in _fields(kind)}
    assert sorted(ours - used) == []


def _fields(kind: Any) -> Any:
    return dataclasses.fields(kind)


def test_every_state_has_a_shape() -> None:
    assert {status.name for status in ScheduleStatus} <= CLASSES.keys()


def test_a_page_may_run_nothing_but_its_own_script(renderer: Renderer) -> None:
    html = renderer.render(sample(pages.RolesPage))
    policy = html.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert html.count("<script>") == 1 and html.count("<style>") == 1 and " style=" not in html


def test_only_an_update_under_way_may_ask_for_itself_anew(renderer: Renderer) -> None:
    active = sample(pages.UpdatePage)
    over = dataclasses.replace(active, is_active=False)
    assert "connect-src &#39;self&#39;" in renderer.render(active) and "fetch(location.href" in renderer.render(active)
    for page in (over, sample(pages.JobPage)):
        html = renderer.render(page)
        assert "connect-src" not in html and "fetch(" not in html


# -- Attacks -----------------------------------------------------------------------------------------------------------


def faults(renderer: Renderer, page: Page, place: Any, payload: str) -> list[str]:
    """What *payload* at *place* adds to the page, in words."""
    harmless = Structure(renderer.render(changed(page, place, lambda text: "harmless")))
    attacked = Structure(renderer.render(changed(page, place, lambda text: payload)))
    known = set(harmless.made_of) | set(Structure(renderer.render(page)).made_of)
    found = [f"new: {what}" for what in attacked.made_of if what not in known]
    found += [
        f"{what}: {count} instead of {harmless.made_of[what]}"
        for what, count in attacked.made_of.items()
        if count > harmless.made_of[what]
    ]
    return found + [f"leads to {address!r}" for address in attacked.addresses if not ADDRESS.match(address)]


@pytest.mark.parametrize("page", EVERYTHING)
def test_no_text_of_any_field_becomes_more_than_text(renderer: Renderer, page: Page) -> None:
    found = []
    for place in sorted({*places(page)}, key=str):
        for payload in [ALL_IN_ONE, *ADDRESSES] if "href" in place[1] else [ALL_IN_ONE]:
            found += [f"{place[0].__name__}.{place[1]}: {fault}" for fault in faults(renderer, page, place, payload)]
    assert found == []


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_nor_do_all_texts_at_once(renderer: Renderer, payload: str) -> None:
    assert [fault for page in FULL for fault in faults(renderer, page, None, payload)] == []


def test_the_walk_sees_pages_that_escape_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless(DocumentedEnvironment):
        def __init__(self, module: ModuleType, *directories: Path) -> None:
            super().__init__(module, *directories)
            self.autoescape = False

    monkeypatch.setattr(render, "DocumentedEnvironment", Careless)
    careless = Renderer()
    assert [type(page) for page in FULL if not faults(careless, page, None, PAYLOADS["script"])] == []
