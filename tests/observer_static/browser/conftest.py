"""A real Chromium, sample pages in a directory that has moved since they were written, and all that a page asks for.

Screenshots of every page are kept under ``build/screenshots``: they are there to be looked at.
"""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from observer_static.pages import File
from observer_static.render import Renderer
from tests.observer_static import samples

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT: Final = Path(__file__).parents[3]
SCREENSHOTS: Final = ROOT / "build" / "screenshots"
CACHE: Final = ROOT / "build" / "npm"
AXE: Final = "axe-core@4"
CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS: Final = (
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.process)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for all tests of a file: a wider scope would keep its processes through the tests of others."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium (Debian: apt-get install chromium)")
    with playwright_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield found
        found.close()


@pytest.fixture(scope="session")
def axe_source() -> str:
    """The source of axe-core, which looks for barriers; fetched once through npm."""
    package = CACHE / "package" / "axe.min.js"
    if not package.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("there is no npm to fetch axe-core with")
        CACHE.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                [npm, "pack", AXE, "--silent"], cwd=CACHE, capture_output=True, text=True, timeout=90,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            pytest.skip("npm did not answer in time")
        if done.returncode:
            pytest.skip(f"npm could not fetch axe-core: {done.stderr.strip()[-200:]}")
        shutil.unpack_archive(CACHE / done.stdout.split()[-1], CACHE, filter="data")
    return package.read_text("utf-8")


def write(site: Path, file: File) -> Path:
    """Put *file* where it belongs below *site*."""
    path = site / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.content)
    return path


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    return Renderer()


#: Where each sample lies below the site, the emptiest in a directory of their own.
PLACES: Final = {f"full-{name}": page.path for name, page in samples.MAXIMAL.items()} | {
    f"empty-{name}": f"empty/{name}.html" for name in samples.MINIMAL
}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, renderer: Renderer) -> Path:
    """All samples; written in one directory and moved to another, so that no page leans on where it was."""
    made = tmp_path_factory.mktemp("made") / "site"
    for name, page in samples.MAXIMAL.items():
        write(made, File(path=PLACES[f"full-{name}"], content=renderer.render(page).content))
    for name, page in samples.MINIMAL.items():
        write(made, File(path=PLACES[f"empty-{name}"], content=renderer.render(page).content))
    newest = replace(samples.FINISHED_PAGE, path="finished.html", first=1, newer=None, older=samples.FINISHED_PAGE.path)
    newest = replace(newest, active_href="index.html", finished_href="finished.html")
    write(made, renderer.render(newest))
    moved = tmp_path_factory.mktemp("moved") / "elsewhere"
    shutil.move(made, moved)
    assert not made.exists()
    return moved


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def http_site(site: Path) -> Iterator[str]:
    """The same pages behind the dumbest of servers."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="site")
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Tab:
    """A tab of its own, and all that its page asked for, complained of or popped up."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        #: Complaints with one of these in them are no fault.
        self.expected: tuple[str, ...] = ()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda said: self.complaints.append(f"console: {said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, url: str | Path) -> Any:
        """Load *url*, or the page in that file; the page."""
        self.page.goto(url if isinstance(url, str) else url.as_uri(), wait_until="load")
        return self.page

    def foreign(self) -> list[str]:
        """What was asked for besides the page itself."""
        return [url for url in self.requests if not url.startswith("data:") and url != self.page.url.partition("#")[0]]

    def screenshot(self, name: str) -> None:
        """Keep a picture of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        # Not by playwright's `path`, which leaves a thread behind.
        picture = self.page.screenshot(full_page=True)
        (SCREENSHOTS / f"{re.sub('[^a-z0-9-]', '_', name)}.png").write_bytes(picture)


@pytest.fixture
def tabs(browser: Any) -> Iterator[Any]:
    """Makes tabs, and closes them; nothing that any page complained of goes unseen."""
    made: list[Tab] = []

    def make(**options: Any) -> Tab:
        made.append(Tab(browser, **options))
        return made[-1]

    yield make
    complaints = [said for tab in made for said in tab.complaints if not any(word in said for word in tab.expected)]
    for tab in made:
        tab.context.close()
    assert complaints == []
