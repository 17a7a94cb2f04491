"""Every example does what its first lines and the table beside it say, through the real command."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from thermos.errors import ExitCode

pytestmark = pytest.mark.process

EXAMPLES: Final = Path(__file__).parent.parent / "examples"
THERMOS: Final = Path(sys.executable).with_name("thermos")
#: More than any example takes, even on a busy machine.
LIMIT_S: Final = 60

#: What ends by itself: file → (process, what the log of its last run then holds).
ENDING: Final = {
    "demo.thermos": [("fetch", "fetched 100 numbers"), ("build", "built: 5050"), ("report", "total: 5050")],
    "build-pipeline.thermos": [("unit-tests", "42 passed"), ("package", "release.tar.gz")],
    "batch-with-cleanup.thermos": [("load", "1000 1000000"), ("summary", "rows in the result: 1000")],
    "log-shipper.thermos": [("chatty", "request 6-500: answered")],
    "parallel-crunch.toml": [("merge", "500000500000")],
}
SERVICES: Final = ("service-with-sidecar.thermos", "web-service.aurora", "hello.aurora")


def configurations() -> set[str]:
    return {path.name for path in EXAMPLES.iterdir() if path.is_file() and path.suffix != ".md"}


def command(verb: str, *words: object, root: Path) -> list[str]:
    return [str(THERMOS), verb, *map(str, words), "--root", str(root)]


def run(name: str, root: Path, *words: str) -> list[str]:
    return command("run", EXAMPLES / name, "--task_id", "example", "--sandbox", root / "sandbox", *words, root=root)


def log(root: Path, process: str) -> str:
    """What the last run of *process* printed; empty if it has not started."""
    runs = sorted(root.rglob(f".logs/{process}/*/stdout"), key=lambda path: int(path.parent.name))
    return runs[-1].read_text() if runs else ""


def wait_until(is_so: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    pause = threading.Event()
    while not is_so():
        assert running.poll() is None, f"ended too early, with {running.returncode}"
        assert time.monotonic() < deadline, "waited too long"
        pause.wait(0.05)


def run_to_its_end(name: str, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        run(name, root, *words),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def test_every_example_is_run_here_and_named_in_the_table() -> None:
    assert configurations() == {*ENDING, *SERVICES}
    assert len(configurations()) >= 6
    table = (EXAMPLES / "README.md").read_text()
    assert {name for name, link in re.findall(r"^\| \[(.+?)\]\((.+?)\)", table, re.MULTILINE)} == configurations()


@pytest.mark.parametrize("name", sorted(configurations()))
def test_it_says_what_it_shows_and_how_to_run_it(name: str) -> None:
    head = (EXAMPLES / name).read_text().partition("\n\n")[0]
    assert head.startswith("# Shows: ")
    assert f"thermos run examples/{name}" in head


@pytest.mark.parametrize("name", ENDING)
def test_it_succeeds(name: str, tmp_path: Path) -> None:
    done = run_to_its_end(name, tmp_path)
    assert done.returncode == ExitCode.OK, done.stderr
    for process, text in ENDING[name]:
        assert text in log(tmp_path, process)


def test_the_demo_fails_once_and_the_side_process_is_stopped(tmp_path: Path) -> None:
    assert run_to_its_end("demo.thermos", tmp_path).returncode == ExitCode.OK
    assert {path.parent.name for path in tmp_path.rglob(".logs/build/*/stdout")} == {"0", "1"}
    assert "still here" in log(tmp_path, "heartbeat")


def test_a_batch_that_fails_is_cleaned_up_too(tmp_path: Path) -> None:
    done = run_to_its_end("batch-with-cleanup.thermos", tmp_path, "-E", "batch.rows=none")
    assert done.returncode == ExitCode.TASK_FAILED, done.stderr
    assert list(tmp_path.rglob(".logs/cleanup/0/stdout"))
    assert not list(tmp_path.rglob("scratch"))


def test_rotated_logs_stay_within_their_bounds_and_the_shipper_follows_them(tmp_path: Path) -> None:
    assert run_to_its_end("log-shipper.thermos", tmp_path).returncode == ExitCode.OK
    kept = list(tmp_path.rglob(".logs/chatty/0/stdout*"))
    assert len(kept) == 3
    assert all(path.stat().st_size <= 64 * 1024 + 100 for path in kept)  # a file ends with a whole line
    (shipped,) = tmp_path.rglob("shipped")
    text = shipped.read_text()
    assert text.startswith("request 1-1:")
    assert "\nrequest 5-" in text  # two rotations later


def test_an_instance_says_hello(tmp_path: Path) -> None:
    with subprocess.Popen(
        run("hello.aurora", tmp_path), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True
    ) as running:
        try:
            wait_until(lambda: "hello from instance 0, example" in log(tmp_path, "hello"), running)
        finally:
            subprocess.run(command("kill", "example", root=tmp_path), timeout=LIMIT_S, capture_output=True)
            assert running.wait(LIMIT_S) == ExitCode.TASK_KILLED


def test_the_service_runs_until_it_is_killed_and_says_goodbye(tmp_path: Path) -> None:
    with subprocess.Popen(
        run("service-with-sidecar.thermos", tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as running:
        try:
            wait_until(lambda: re.search(r"requests so far: [1-9]", log(tmp_path, "metrics")) is not None, running)
            subprocess.run(command("kill", "example", root=tmp_path), check=True, timeout=LIMIT_S, capture_output=True)
            assert running.wait(LIMIT_S) == ExitCode.TASK_KILLED
        finally:
            if running.poll() is None:
                subprocess.run(command("kill", "example", root=tmp_path), timeout=LIMIT_S, capture_output=True)
                running.kill()
    assert "finishing the last request" in log(tmp_path, "service")
    assert "taken out of the load balancer" in log(tmp_path, "goodbye")


def test_the_web_service_answers_its_health_check(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def is_healthy() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
                return bool(answer.read() == b"ok")
        except OSError:
            return False

    with subprocess.Popen(
        run("web-service.aurora", tmp_path, "-P", f"http:{port}"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as running:
        try:
            wait_until(is_healthy, running)
            subprocess.run(command("kill", "example", root=tmp_path), check=True, timeout=LIMIT_S, capture_output=True)
            assert running.wait(LIMIT_S) == ExitCode.TASK_KILLED
        finally:
            if running.poll() is None:
                subprocess.run(command("kill", "example", root=tmp_path), timeout=LIMIT_S, capture_output=True)
                running.kill()
    assert not is_healthy()
