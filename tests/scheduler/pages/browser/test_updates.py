"""The page of an update in a real browser: without barriers, and new by itself while the update is under way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.observer_static.browser.test_accessibility import barriers
from tests.scheduler.pages.browser.conftest import Updating


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (320, "dark")])
@pytest.mark.parametrize("which", ["over", "active"])
def test_no_barrier_and_nothing_sticks_out(
    tabs: Any, updating: Updating, axe_source: str, which: str, width: int, scheme: str
) -> None:
    tab = tabs(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = tab.open(updating.address + (updating.over if which == "over" else updating.active))
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    tab.screenshot(f"scheduler-update-{which}-{width}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.foreign() == []
    assert barriers(page, axe_source) == []


def test_an_update_under_way_shows_itself_anew(tabs: Any, updating: Updating) -> None:
    tab = tabs(viewport={"width": 1280, "height": 800})
    page = tab.open(updating.address + updating.active)
    page.evaluate("window.stays = 1; document.querySelector('details').open = true")
    page.focus("#instances ~ table tbody tr >> nth=0 >> a")
    with updating.lock:
        updating.world.client("pause", updating.active, "wait a moment")
    page.wait_for_selector("main .s:has-text('ROLL_FORWARD_PAUSED')")
    assert page.inner_text("#again [role=status]") == "Now: ROLL_FORWARD_PAUSED. Shown anew every 5 s."
    assert "wait a moment" in page.inner_text("main")
    # The same document: what was opened is open, and the keyboard is where it was.
    assert page.evaluate("[window.stays, document.querySelector('details').open]") == [1, True]
    assert page.evaluate("document.activeElement.getAttribute('href')") == "/scheduler/www/prod/web/0"
    with updating.lock:
        updating.world.client("abort", updating.active)
    page.wait_for_selector("main .s:has-text('ABORTED')")
    assert page.inner_text("#again") == "Over: ABORTED."
    assert page.title() == "Update of www/prod/web · ABORTED"


def test_without_scripts_a_link_shows_it_anew(tabs: Any, updating: Updating) -> None:
    page = tabs(java_script_enabled=False).open(updating.address + updating.active)
    with updating.lock:
        updating.world.client("pause", updating.active)
    page.click("text=Load again")
    assert "ROLL_FORWARD_PAUSED" in page.inner_text("main")
