"""A site that the observer itself wrote, copied elsewhere, with all that it was made from gone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.box import box, process

pytestmark = pytest.mark.process


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """The site of a task that ran; its checkpoints and its sandbox are deleted."""
    made = tmp_path / "made" / "site"
    with box("ran-1") as task:
        task.run(
            [
                process("greets", "echo 'good morning'"),
                process("fails first", "echo try; test -e been || { touch been; exit 3; }", max_failures=2),
            ],
            "--hostname=there.example.org",
        )
        command = [sys.executable, "-m", "observer_static.main", "--once", "--output", str(made)]
        command += ["--root", task.root, "--mesos-root", str(tmp_path / "none")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
    assert not Path(task.path).exists()
    elsewhere = tmp_path / "elsewhere" / "copy of site"
    shutil.copytree(made, elsewhere)
    shutil.rmtree(made)
    return elsewhere


def test_a_copied_site_leads_from_the_list_to_a_log(tabs: Any, moved: Path) -> None:
    """Without script, from file://: each page is asked for once, and nothing else is."""
    tab = tabs(java_script_enabled=False)
    page = tab.open(moved / "index.html")
    assert page.get_by_text("There are none").is_visible()
    page.get_by_role("link", name="Finished 1").click()
    page.get_by_role("link", name="task", exact=True).click()
    assert page.locator("h1").inner_text().startswith("task")
    task = page.url
    page.get_by_role("link", name="greets").first.click()
    assert page.get_by_text("good morning").filter(visible=True).count()
    page.get_by_role("navigation", name="Where you are").get_by_role("link", name="ran-1").click()
    assert page.url == task
    page.get_by_role("link", name="fails first").first.click()
    page.locator("a[href*='log/']").first.click()
    assert page.locator("h1").inner_text().startswith("Run 0 of fails first")
    assert page.get_by_text("try", exact=True).filter(visible=True).count()
    page.get_by_role("navigation", name="Where you are").get_by_role("link", name="ran-1").click()
    page.get_by_role("link", name="Definition").click()
    assert "good morning" in page.locator("main").inner_text()
    page.get_by_role("link", name="ran-1").click()
    page.get_by_role("link", name="Sandbox", exact=True).click()
    assert page.get_by_text("been").filter(visible=True).count()
    page.get_by_role("navigation", name="Where you are").get_by_role("link", name="Tasks on").click()
    assert page.url == (moved / "index.html").as_uri()
    assert all(url.startswith(moved.as_uri()) for url in tab.requests), tab.requests


def test_every_link_to_a_page_of_a_copied_site_is_to_one_that_is_there(tabs: Any, moved: Path) -> None:
    tab = tabs(java_script_enabled=False)
    pages = sorted(moved.rglob("*.html"))
    assert len(pages) >= 8
    for path in pages:
        links: list[str] = tab.open(path).evaluate(
            "[...document.querySelectorAll('a')].filter((a) => !/^([a-z]+:|#)/.test(a.getAttribute('href')))"
            ".map((a) => a.href.split('#')[0])"
        )
        for link in links:
            assert link in {each.as_uri() for each in pages}, f"{path}: {link}"
