"""On one machine, end to end: a job of the examples runs, the scheduler's page leads to its task's, and that opens."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.box import until, with_words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ROOT: Final = Path(__file__).parents[4]
_START_S: Final = 60.0


class Local:
    """``aurora-scheduler --local`` in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        self.environ["AURORA_CONFIG_ROOT"] = str(directory)
        words = ["-m", "scheduler.main", "--local", "--local-dir", str(directory), "--http-port", "0"]
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until((directory / "clusters.json").exists, self.log, _START_S)
        self.url = json.loads((directory / "clusters.json").read_text())[0]["scheduler_uri"]
        until(lambda: self.get("/vars.json").get("framework_registered") == 1, self.log, _START_S)

    def log(self) -> str:
        return (self.directory / "log").read_text("utf-8", "replace")[-3000:]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def aurora(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "scheduler.client.main", *words], cwd=ROOT, env=self.environ, capture_output=True,
            stdin=subprocess.DEVNULL, text=True, timeout=90,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr + self.log()

    def running(self) -> int:
        return int(self.get("/vars.json").get("task_store_RUNNING", 0))

    def until_pages_say(self, state: str) -> None:
        """Executors write their tasks' pages beside their work: a moment after the state is known."""

        def all_say_it() -> bool:
            found = list(
                (self.directory / "mesos" / "slaves").glob("*/frameworks/*/executors/*/runs/latest/index.html")
            )
            return len(found) == 2 and all(f"<title>{state}" in path.read_text("utf-8") for path in found)

        until(all_say_it, self.log, _START_S)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        for pid in with_words(str(self.directory)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    made = Local(tmp_path)
    yield made
    made.close()


def test_a_job_of_the_examples_and_its_task_s_page(tabs: Any, local: Local) -> None:
    job = f"{getpass.getuser()}/devel/hello"
    local.aurora("job", "create", f"local/{job}", "examples/hello.aurora")
    until(lambda: local.running() == 2, lambda: f"{local.get('/vars.json')} {local.log()}", _START_S)
    local.until_pages_say("ACTIVE")
    tab = tabs(viewport={"width": 1280, "height": 800})
    page = tab.open(f"{local.url}/scheduler/{job}")
    assert re.search(r"2\s+RUNNING", page.inner_text("main"))
    tab.screenshot("scheduler-local-job")
    page.click("#active-table tbody tr >> nth=0 >> td:last-child >> a")
    page.wait_for_load_state()
    assert page.title() == "ACTIVE · hello"
    tab.screenshot("scheduler-local-task")
    page.click("#process-table >> text=stdout")
    page.wait_for_load_state()
    assert "hello from instance 0" in page.inner_text("main")
    local.aurora("job", "killall", f"local/{job}")
    until(lambda: local.running() == 0, local.log, _START_S)
    local.until_pages_say("KILLED")
    page = tab.open(f"{local.url}/scheduler/{job}")
    assert "KILLED" in page.inner_text("main")
    page.click("#completed ~ table tbody tr >> nth=0 >> td:last-child >> a")
    page.wait_for_load_state()
    assert page.title() == "KILLED · hello"
