"""The pages in a real browser: wide and narrow, light and dark, printed, without scripts, and without barriers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.observer_static.browser.test_accessibility import barriers
from tests.scheduler.pages.browser.conftest import PLACES

#: A page that is not there is answered so; a browser says that to whoever listens.
NOT_FOUND = "status of 404"


def opened(tab: Any, address: str, name: str) -> Any:
    tab.expected = (NOT_FOUND,) if name == "missing" else ()
    return tab.open(address + PLACES[name])


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (1280, "dark"), (320, "light"), (320, "dark")])
@pytest.mark.parametrize("name", PLACES)
def test_no_barrier_and_nothing_sticks_out(
    tabs: Any, address: str, axe_source: str, name: str, width: int, scheme: str
) -> None:
    tab = tabs(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = opened(tab, address, name)
    tab.screenshot(f"scheduler-{name}-{width}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.foreign() == []
    assert barriers(page, axe_source) == []


@pytest.mark.parametrize("name", PLACES)
def test_without_scripts_and_printed(tabs: Any, address: str, name: str) -> None:
    tab = tabs(viewport={"width": 1280, "height": 800}, java_script_enabled=False)
    page = opened(tab, address, name)
    text = page.inner_text("main")
    page.emulate_media(media="print")
    tab.screenshot(f"scheduler-{name}-print")
    scripted = opened(tabs(viewport={"width": 1280, "height": 800}), address, name)
    # A script adds how long ago things were, and nothing is missing without it.
    missing = [word for word in text.split() if word not in scripted.inner_text("main").split()]
    assert missing == []


def test_every_link_of_ours_leads_somewhere(tabs: Any, address: str) -> None:
    tab = tabs()
    seen: dict[str, int] = {}
    todo = ["/scheduler"]
    while todo:
        path = todo.pop()
        answer = tab.page.goto(address + path)
        seen[path] = answer.status
        for link in tab.page.query_selector_all("a[href^='/']"):
            found = link.get_attribute("href").partition("#")[0]
            if found not in seen and found not in todo:
                todo.append(found)
    assert {path: status for path, status in seen.items() if status != 200} == {}
    assert {PLACES[name] for name in PLACES if name != "missing"} <= seen.keys()


def test_a_way_from_the_first_page_to_an_event(tabs: Any, address: str) -> None:
    tab = tabs()
    page = tab.open(address + "/")
    assert page.url == f"{address}/scheduler"
    page.click("text=www")
    page.click("#job-table >> text=web")
    page.click("#active-table >> text='2'")
    assert "Command exited with status 1" in page.inner_text("main")
    page.click("text=Succeeds >> xpath=.. >> a")
    assert page.url.endswith("/scheduler/www/prod/web/2#task-2")
    page.click("header >> text=Cluster west")
    assert page.title() == "Cluster west"


def test_a_table_is_filtered_and_sorted(tabs: Any, address: str) -> None:
    page = tabs().open(address + PLACES["job-waiting"])
    page.fill("input[type=search]", "pending")
    assert page.inner_text("[role=status]") == "40 of 40"
    page.fill("input[type=search]", "nothing of it")
    assert page.locator("#active-table tbody tr:visible").count() == 0
    page.fill("input[type=search]", "")
    head = page.locator("#active-table thead th >> nth=0 >> button")
    head.click()
    head.click()
    assert page.inner_text("#active-table tbody tr >> nth=0 >> th") == "39"
