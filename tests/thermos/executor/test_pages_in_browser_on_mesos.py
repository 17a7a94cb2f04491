"""A running task's log followed in a real browser, through a real Mesos agent, from a page of a real executor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.box import process, until
from tests.support.executor import Task
from tests.support.mesos import Mesos, Scheduler, mesos, scheduler

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture
def cluster() -> Iterator[Mesos]:
    with mesos() as made:
        yield made


@pytest.fixture
def framework(cluster: Mesos) -> Iterator[Scheduler]:
    with scheduler(cluster) as made:
        yield made


@pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed here (Debian: chromium)")
def test_a_log_is_followed_through_the_agent(cluster: Mesos, framework: Scheduler) -> None:
    talk = "echo first; while [ ! -e more ]; do sleep 0.05; done; echo sum $((20 + 22))"
    task = Task(cluster, framework, process("web", f"{talk}; exec -a WORD sleep 600"))
    task.until("TASK_RUNNING")
    page_file = task.sandbox / "pages/process/web.html"
    until(lambda: page_file.exists() and "first" in page_file.read_text(), "the page shows the first line")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        try:
            page = browser.new_page()
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.goto(page_file.as_uri())
            assert [url for url in asked if not url.startswith("file:")] == []  # nothing before it is asked for
            page.get_by_label("Follow").first.check()
            (task.sandbox / "sandbox/more").touch()
            page.get_by_text("sum 42", exact=False).first.wait_for(timeout=30_000)
            assert any(f"127.0.0.1:{cluster.port}/files/read" in url for url in asked)
        finally:
            browser.close()
    framework.kill("t")
    task.until("TASK_KILLED")
    task.is_gone()
