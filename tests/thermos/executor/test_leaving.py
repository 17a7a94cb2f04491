"""How a task leaves: out of ZooKeeper first, then asked, then waited for. The server that is asked is the test's."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from tests.support.box import process, until
from tests.support.executor import ME
from tests.support.fake_agent import FakeAgent
from tests.support.run import Run
from tests.support.zookeeper import zookeeper
from thermos.errors import ExitCode

#: Ends well, of its own, when it is let go; when it is killed it leaves no file.
WAITS = process("a", "while [ ! -e go ]; do sleep 0.05; done; touch ended")


@contextlib.contextmanager
def asked(status: int, look: Callable[[str], object]) -> Iterator[int]:
    """The lifecycle port of a task: each POST's path is given to *look*, then answered with *status*."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            look(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    box = tmp_path / "box"
    box.mkdir()
    with FakeAgent() as agent, contextlib.ExitStack() as runs:

        def make(*flags: str, **environ: str) -> Run:
            made = Run(agent, box, *flags, **environ)
            runs.callback(made.close)
            return made

        yield make


Make = Callable[..., Run]


def http(path: str = "/quitquitquit") -> dict[str, Any]:
    waits = {"graceful_shutdown_wait_secs": 100, "shutdown_wait_secs": 0}
    return {"http": {"port": "bye", "graceful_shutdown_endpoint": path, **waits}}


def test_it_is_out_of_zookeeper_before_it_is_asked_to_stop(run: Make) -> None:
    path = f"/aurora/{ME}/prod/job"
    with zookeeper() as server:
        reader = KazooClient(server.hosts)
        reader.start(timeout=30)

        def members() -> list[str]:
            return list(reader.get_children(path)) if reader.exists(path) else []

        seen: list[tuple[str, list[str]]] = []
        with asked(200, lambda each: seen.append((each, members()))) as port:
            made = run("--announcer-ensemble", server.hosts)
            made.launch(WAITS, ports={"bye": port}, lifecycle=http(), announce={})
            made.until("TASK_RUNNING")
            until(members, "it is announced")
            made.kill()
            until(lambda: seen, "it is asked")
            (made.path / "sandbox/go").touch()
            made.until("TASK_KILLED")
            assert made.exit_code() == ExitCode.OK
        assert seen == [("/quitquitquit", [])]
        reader.stop()
        reader.close()


@pytest.mark.parametrize("status", [200, 404, 503])
@pytest.mark.parametrize("path", ["/quitquitquit", "quitquitquit"])
def test_whatever_it_answers_it_is_given_its_time(run: Make, status: int, path: str) -> None:
    seen: list[str] = []
    with asked(status, seen.append) as port:
        made = run()
        made.launch(WAITS, ports={"bye": port}, lifecycle=http(path))
        made.until("TASK_RUNNING")
        made.kill()
        until(lambda: f"on port {port}: {status}" in made.log, "its answer is heard")
        (made.path / "sandbox/go").touch()
        made.until("TASK_KILLED")
        assert made.exit_code() == ExitCode.OK
    assert (made.path / "sandbox/ended").exists()
    assert seen == ["/quitquitquit"]


def test_the_environment_says_how_long_an_answer_may_take(run: Make) -> None:
    is_over = threading.Event()
    with asked(200, lambda path: is_over.wait(60)) as port:
        made = run(AURORA_HTTP_SIGNALER_TIMEOUT_SECS="0.2")
        made.launch(WAITS, ports={"bye": port}, lifecycle=http())
        made.until("TASK_RUNNING")
        made.kill()
        made.until("TASK_KILLED")
        is_over.set()
        assert made.exit_code() == ExitCode.OK
    assert f"POST /quitquitquit on port {port}: no answer within 0.2 s" in made.log


def test_a_zookeeper_that_refuses_the_credentials_is_named_in_the_status(run: Make, tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    file.write_text(json.dumps({"auth": [{"scheme": "no-such-scheme", "credential": "me:sesame"}]}))
    with zookeeper() as server:
        made = run("--announcer-ensemble", server.hosts, "--announcer-zookeeper-auth-config", str(file))
        config = {"initial_interval_secs": 5, "interval_secs": 1}
        made.launch(WAITS, announce={}, health_check_config=config)
        message = made.until("TASK_FAILED")["message"]
        assert made.exit_code() == ExitCode.OK
    assert message.startswith(f"Creating the announcement timed out: no session with {server.hosts} in 5 s.")
    assert "AuthFailedError: ZooKeeper refuses the credentials" in message
    assert "sesame" not in made.log
