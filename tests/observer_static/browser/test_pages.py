"""Every page in a real browser: from a file and over http, with and without script, narrow, dark, printed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from observer_static.logtext import spans
from observer_static.render import Renderer
from tests.observer_static import samples, test_page_attacks
from tests.observer_static.browser.conftest import PLACES, write

#: Width, colours, whether scripts run.
VIEWS = [
    pytest.param(1280, "light", True, id="wide-light"),
    pytest.param(1280, "dark", False, id="wide-dark-without-script"),
    pytest.param(320, "light", False, id="narrow-light-without-script"),
    pytest.param(320, "dark", True, id="narrow-dark"),
]
#: What a person must find on each page, whatever the view.
SEEN = {
    "full-index": ["no runner", "checkout", "For operators", "Finished", "admin"],
    "full-finished": ["SUCCESS", "KILLED", "LOST", "Newer tasks", "Older tasks"],
    "full-task": [
        "cache-warmer fails again and again",
        "not healthy",
        "FAILED",
        "96 %",
        "lives",
        "the runner came back",
    ],
    "full-process": ["exit code 137", "REDIS_PASSWORD", "key 000159 warmed", "SIGKILL", "127"],
    "full-log": ["Run 3 of cache-warmer", "key 000159 warmed", "It was removed"],
    "full-browse": ["checkout.yaml", "393.2 MiB", "311 more", "/etc/passwd", "fifo"],
    "full-raw": ['"cpu": 2.0', "1 value that looks like a secret"],
    "empty-index": ["There are none", "Only tasks of the user www-data"],
    "empty-task": ["Nothing readable is recorded", "unknown"],
    "empty-process": ["no run yet", "It had none"],
    "empty-log": ["Left out to save space", "empty"],
    "empty-browse": ["cannot be listed"],
    "empty-raw": ["This is no JSON"],
}


def overflow(page: Any) -> list[str]:
    """The elements that make the document wider than the window."""
    found: list[str] = page.evaluate(
        """() => document.documentElement.scrollWidth <= innerWidth ? [] :
        [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth)
        .map((e) => e.tagName + "." + e.className).slice(0, 5).concat(document.documentElement.scrollWidth)"""
    )
    return found


def test_every_sample_is_looked_for() -> None:
    assert set(SEEN) == set(PLACES)


@pytest.mark.parametrize("width, scheme, script", VIEWS)
@pytest.mark.parametrize("name", PLACES)
def test_a_page_from_a_file(tabs: Any, site: Path, name: str, width: int, scheme: str, script: bool) -> None:
    tab = tabs(viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=script)
    page = tab.open(site / PLACES[name])
    for text in SEEN[name]:
        assert page.get_by_text(text).filter(visible=True).count(), f"{text!r} is not to be seen"
    assert page.locator("h1").is_visible()
    assert tab.foreign() == []
    assert overflow(page) == []
    tab.screenshot(f"{name}-{width}-{scheme}{'' if script else '-noscript'}")


@pytest.mark.parametrize("name", PLACES)
def test_a_page_over_http(tabs: Any, http_site: str, name: str) -> None:
    tab = tabs(viewport={"width": 1280, "height": 800})
    page = tab.open(f"{http_site}/{PLACES[name]}")
    assert page.get_by_text(SEEN[name][0]).filter(visible=True).count()
    assert tab.foreign() == []


@pytest.mark.parametrize("name", PLACES)
def test_a_page_printed(tabs: Any, site: Path, name: str) -> None:
    tab = tabs(viewport={"width": 718, "height": 1000}, color_scheme="dark")
    tab.page.emulate_media(media="print", color_scheme="dark")
    page = tab.open(site / PLACES[name])
    assert overflow(page) == []
    assert page.locator("input, nav.jump, .skip").filter(visible=True).count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert all(
        page.evaluate("(e) => e.scrollHeight <= e.clientHeight + 1", each)
        for each in page.locator(".view, .code").element_handles()
    ), "a log or command is not printed to its end"
    tab.screenshot(f"{name}-print")


@pytest.mark.parametrize("transport", ["file", "http"])
def test_links_lead_from_page_to_page_without_script(tabs: Any, site: Path, http_site: str, transport: str) -> None:
    base = site.as_uri() if transport == "file" else http_site
    tab = tabs(java_script_enabled=False)
    page = tab.open(f"{base}/index.html")
    page.get_by_role("link", name="Finished").click()
    # This sample lies elsewhere than the newest finished tasks would.
    assert page.url == f"{base}/finished.html"
    page = tab.open(f"{base}/task/{samples.TASK}/index.html")
    page.get_by_role("link", name="cache-warmer").first.click()
    assert page.title().startswith("FAILED · cache-warmer")
    page.get_by_role("table").get_by_role("link", name="stderr").nth(1).click()
    assert page.title().startswith("FAILED · run 3 of cache-warmer")
    page.get_by_role("link", name="cache-warmer").click()
    page.get_by_role("navigation", name="Where you are").get_by_role("link", name=samples.TASK).click()
    page.get_by_role("link", name="Sandbox", exact=True).click()
    assert page.locator("h1").inner_text() == "Sandbox"
    page.get_by_role("link", name=samples.TASK).click()
    page.get_by_role("link", name="Definition").click()
    assert page.locator("h1").inner_text() == "Definition"
    page.get_by_role("link", name=f"Tasks on {samples.HOST}").click()
    assert page.url == f"{base}/index.html"
    tab.complaints.clear()  # that finished.html is not there


@pytest.mark.parametrize("where", ["everywhere", *test_page_attacks.PAYLOADS])
def test_no_text_comes_alive(tabs: Any, tmp_path: Path, renderer: Renderer, where: str) -> None:
    """What got through as markup would be stopped by the page's policy, which is a complaint too."""
    payload = test_page_attacks.ALL_IN_ONE if where == "everywhere" else test_page_attacks.PAYLOADS[where]
    tab = tabs()
    # The line of a chart is ours alone; what is none is not drawn, which Chromium says.
    tab.expected = ("<path> attribute d: Expected",)
    for name, sample in samples.MAXIMAL.items():
        file = renderer.render(test_page_attacks.changed(sample, None, lambda text: payload))
        path = tmp_path / f"{name}.html"
        path.write_bytes(file.content)
        page = tab.open(path)
        assert page.locator("main").count() == page.locator("footer").count() == 1
        # Each element that can be hovered or focused had its chance.
        page.evaluate(
            "document.querySelectorAll('*').forEach((e) => { e.dispatchEvent(new Event('mouseover')); e.focus(); })"
        )
        assert page.locator("img, iframe, b[onclick], script:not(body > script, head > script)").count() == 0
        assert tab.foreign() == []
        tab.requests.clear()


# -- With script ------------------------------------------------------------------------------------------------------


def rows(page: Any, column: int) -> list[str]:
    texts: list[str] = page.evaluate(
        "(n) => [...document.querySelectorAll('tbody tr')].filter((r) => !r.hidden).map((r) => r.cells[n].innerText)",
        column,
    )
    return texts


def focus(page: Any, name: str) -> None:
    """Press Tab until the button with that name has the focus."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName + document.activeElement.textContent") == f"BUTTON{name}":
            return
    raise AssertionError(f"Tab does not reach {name}")


def test_tables_are_sorted_by_keyboard(tabs: Any, site: Path) -> None:
    page = tabs(viewport={"width": 1280, "height": 800}).open(site / "index.html")
    focus(page, "Memory")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Memory")
    shown = rows(page, 5)
    assert shown == ["20 MiB", "337.3 MiB", "654.6 MiB", "971.9 MiB", "1.9 GiB", "2.2 GiB", "2.5 GiB", "–", "–"]
    page.keyboard.press("Space")
    assert page.locator("th[aria-sort=descending]").count() == 1
    assert rows(page, 5) == [*shown[6::-1], "–", "–"]
    focus(page, "Launched")
    page.keyboard.press("Enter")
    launched = [text for text in rows(page, 3) if text != "–"]
    assert launched == sorted(launched) and rows(page, 3)[-1] == "–"


def test_names_and_lengths_of_time_sort_as_people_do(tabs: Any, site: Path) -> None:
    page = tabs(viewport={"width": 1280, "height": 800}).open(site / f"task/{samples.TASK}/index.html")
    page.get_by_role("button", name="Took").click()
    took = [text for text in rows_of(page, "#process-table", 5) if text not in ("", "–")]
    assert took == ["12 s", "12 s", "1 min", "2 min 48 s", "1 h 50 min", "2 h 36 min"]
    page.get_by_role("button", name="Process").click()
    names = [text.split()[0] for text in rows_of(page, "#process-table", 0)]
    assert names == sorted(names)


def rows_of(page: Any, table: str, column: int) -> list[str]:
    texts: list[str] = page.evaluate(
        "([q, n]) => [...document.querySelector(q).tBodies[0].rows].map((r) => r.cells[n].innerText)", [table, column]
    )
    return texts


def test_a_table_is_filtered_by_words(tabs: Any, site: Path) -> None:
    page = tabs(viewport={"width": 1280, "height": 800}).open(site / "index.html")
    field = page.get_by_label("Filter")
    field.focus()
    page.keyboard.type("mail RUNNER")
    assert len(rows(page, 0)) == 1 and rows(page, 0)[0].startswith("mail-out")
    assert page.get_by_role("status").inner_text() == "1 of 9"
    page.keyboard.press("Escape")
    assert len(rows(page, 0)) == len(samples.INDEX_PAGE.rows)
    assert page.get_by_role("status").inner_text() == ""


def test_without_script_nothing_stands_there_that_needs_it(tabs: Any, site: Path) -> None:
    for name in ("full-index", "full-task", "full-process"):
        page = tabs(java_script_enabled=False).open(site / PLACES[name])
        assert page.locator("button, input[type=search]").filter(visible=True).count() == 0
        assert page.get_by_text("Follow", exact=True).count() == 0


def test_times_say_how_long_ago_they_were(tabs: Any, site: Path) -> None:
    tab = tabs(viewport={"width": 1280, "height": 800})
    tab.page.clock.install(time=samples.NOW_S + 90)
    page = tab.open(site / f"task/{samples.TASK}/index.html")
    written = page.locator("header p")
    assert written.inner_text() == "Written 2026-11-21 01:40:11 UTC (this page is 1 min old)"
    assert page.locator("dd.ago").first.inner_text() == "2026-11-20 23:00:11 2 h ago"
    page.clock.run_for(600_000)
    assert "this page is 11 min old" in written.inner_text()
    assert page.locator("dd.ago").first.inner_text() == "2026-11-20 23:00:11 2 h ago"


# -- Without ----------------------------------------------------------------------------------------------------------


def test_lines_wrap_or_not_without_script(tabs: Any, site: Path) -> None:
    page = tabs(java_script_enabled=False).open(site / PLACES["full-log"])
    pre = page.locator(".log pre").first
    assert pre.evaluate("(e) => getComputedStyle(e).whiteSpace") == "pre-wrap"
    page.get_by_label("Wrap lines").first.uncheck()
    assert pre.evaluate("(e) => getComputedStyle(e).whiteSpace") == "pre"


def distance_to(page: Any, mark: str) -> float:
    """How far *mark* is out of sight in the box of the first log; below 0: it is to be seen."""
    return float(page.locator(".view").first.evaluate(
        "(v, id) => { const a = document.getElementById(id).getBoundingClientRect(), b = v.getBoundingClientRect();"
        "return Math.max(b.top - a.bottom, a.top - b.bottom); }", mark
    ))  # fmt: skip


def test_a_log_shows_its_end_first_and_its_start_on_demand(tabs: Any, site: Path) -> None:
    page = tabs(java_script_enabled=False, viewport={"width": 1280, "height": 800}).open(site / PLACES["full-log"])
    assert distance_to(page, "stdout-end") < 0 < distance_to(page, "stdout-start")
    page.get_by_role("link", name="To the start").click()
    page.wait_for_function("document.querySelector('.view').scrollTop < -100")
    page.wait_for_function(
        "document.getElementById('stdout-start').getBoundingClientRect().bottom > "
        "document.querySelector('.view').getBoundingClientRect().top"
    )
    assert distance_to(page, "stdout-start") < 0 < distance_to(page, "stdout-end")


def test_the_skip_link_comes_first_and_leads_to_the_content(tabs: Any, site: Path) -> None:
    page = tabs(java_script_enabled=False).open(site / "index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize(
    "shape, most_bytes",
    # A page is little more than what its log is in HTML; colours, here one in each line, take some 30 bytes.
    [("lines", 400 << 10), ("one line", 290 << 10), ("short lines", 290 << 10)],
)
def test_a_log_of_256_kib_shows_its_end_at_once(
    tabs: Any, tmp_path: Path, renderer: Renderer, shape: str, most_bytes: int
) -> None:
    line = "2026-11-21T01:40:05.123Z \x1b[32mINFO\x1b[0m  request {} took {} ms from 10.2.3.4 GET /api/v1/items/{}\n"
    data = {
        "lines": "".join(line.format(n, n % 97, n * 7919) for n in range(3000)).encode(),
        "one line": b"x" * (256 << 10),
        "short lines": b"y\n" * (128 << 10),
    }[shape]
    end = b"the very end\n"
    log = replace(samples.LOGS[0], spans=spans(data[-(256 << 10) + len(end) :] + end), follow=None)
    path = write(tmp_path, renderer.render(replace(samples.LOG_PAGE, path="log.html", logs=(log,))))
    assert path.stat().st_size < most_bytes
    page = tabs(viewport={"width": 1280, "height": 800}, java_script_enabled=False).open(path)
    assert page.get_by_text("the very end").count() == 1
    assert distance_to(page, "stdout-end") < 0, "the end of the log is scrolled out of its box"
