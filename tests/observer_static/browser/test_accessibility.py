"""axe-core finds no barrier on any page, in light and in dark, wide and narrow, with colours of logs in every mix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from observer_static.parts import Span
from observer_static.render import Renderer
from observer_static.sgr import CLASSES
from tests.observer_static import samples
from tests.observer_static.browser.conftest import PLACES, write

#: WCAG 2.2 at A and AA, and what axe-core calls best practice.
RUN = """() => axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
.then((found) => found.violations.map((v) => `${v.impact}: ${v.id}: ${v.help}: ` +
v.nodes.slice(0, 5).map((n) => n.html.slice(0, 150) + " " + n.failureSummary.replace(/\\s+/g, " ")).join(" | ")))"""


def barriers(page: Any, axe_source: str) -> list[str]:
    """What axe-core finds on the page."""
    page.evaluate(axe_source)
    found: list[str] = page.evaluate(RUN)
    return found


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (1280, "dark"), (320, "light"), (320, "dark")])
@pytest.mark.parametrize("name", PLACES)
def test_no_barrier(tabs: Any, site: Path, axe_source: str, name: str, width: int, scheme: str) -> None:
    tab = tabs(viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert barriers(tab.open(site / PLACES[name]), axe_source) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_mix_of_a_log_s_colours_can_be_read(
    tabs: Any, tmp_path: Path, renderer: Renderer, axe_source: str, scheme: str
) -> None:
    grounds = ["", *sorted(name for name in CLASSES if name.startswith("bg"))]
    inks = ["", *sorted(name for name in CLASSES if name.startswith("fg"))]
    mixes = [" ".join(filter(None, (fg, bg, more))) for bg in grounds for fg in inks for more in ("", "d", "b", "u")]
    spans = tuple(Span(text=f"{mix or 'plain'} text\n", classes=mix) for mix in mixes)
    log = replace(samples.LOGS[0], spans=spans, follow=None)
    path = write(tmp_path, renderer.render(replace(samples.LOG_PAGE, path="mixes.html", logs=(log,))))
    tab = tabs(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    page = tab.open(path)
    # axe-core leaves out what is scrolled away.
    page.evaluate("document.querySelector('.view').style.maxHeight = 'none'")
    assert barriers(page, axe_source) == []


def test_forced_colours_keep_every_state(tabs: Any, site: Path) -> None:
    tab = tabs(viewport={"width": 1280, "height": 800}, forced_colors="active")
    page = tab.open(site / PLACES["full-task"])
    drawn = page.evaluate(
        "[...document.querySelectorAll('.s')].map((e) => { const s = getComputedStyle(e, '::before');"
        "return s.backgroundColor == getComputedStyle(e).color || s.borderStyle == 'solid'; })"
    )
    assert len(drawn) > 10 and all(drawn)
    tab.screenshot("full-task-1280-forced")


def test_nothing_moves_for_who_wants_it_still(tabs: Any, site: Path) -> None:
    page = tabs(reduced_motion="reduce").open(site / PLACES["full-process"])
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


@pytest.mark.parametrize("name", ["full-index", "full-task", "full-process", "full-browse"])
def test_all_that_scrolls_can_be_reached_by_keyboard(tabs: Any, site: Path, name: str) -> None:
    page = tabs(viewport={"width": 320, "height": 800}).open(site / PLACES[name])
    stuck = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter((e) => {
        const s = getComputedStyle(e);
        return /auto|scroll/.test(s.overflowX + s.overflowY)
          && (e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight)
          && (e.tabIndex < 0 || !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby"));
        }).map((e) => e.tagName + "." + e.className)"""
    )
    assert stuck == []
