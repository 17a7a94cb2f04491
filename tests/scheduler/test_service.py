"""A whole scheduler within this process: what keeps it from beginning, and what ends it."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scheduler.api.server import CannotListen
from scheduler.local.server import start_local
from scheduler.main import build_parser, main
from scheduler.mesos.election import Election
from scheduler.options import options_of
from scheduler.service import Service
from scheduler.store.opening import open_store
from scheduler.wire.plain_json import plain
from tests.support.box import SOON_S, until
from tests.support.engine_backend import job
from tests.support.zookeeper import free_port, zookeeper
from thermos.errors import ExitCode
from thermos.formats.aurora_api import JOB_CONFIGURATION

pytestmark = pytest.mark.process

Make = Callable[..., Service]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(*flags: str) -> Service:
        words = ["--cluster-name", "test", "--mesos-master-address", f"127.0.0.1:{free_port()}", "--ip", "127.0.0.1",
                 "--hostname", "127.0.0.1", "--store", str(tmp_path / "store.db"),
                 "--thermos-executor-path", "/bin/true", *flags]  # fmt: skip
        return Service(options_of(build_parser().parse_args(words), "127.0.0.1"))

    return made


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_port_that_is_taken(make: Make, taken: int) -> None:
    with pytest.raises(
        CannotListen, match=f"^cannot listen on 127.0.0.1, port {taken}: Address already in use; "
    ) as it:
        make("--http-port", str(taken)).run()
    assert it.value.exit_code == 3


def test_an_address_that_nobody_has(make: Make) -> None:
    with pytest.raises(CannotListen, match=r"^cannot listen on nobody\.invalid, port 0: "):
        make("--http-port", "0", "--ip", "nobody.invalid").run()


def test_a_local_directory_that_another_one_uses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with start_local(tmp_path / "mesos"):
        assert main(["--local", "--local-dir", str(tmp_path)]) == 3
    said = capsys.readouterr().err
    assert "is in use by another scheduler" in said
    assert "Traceback" not in said


def test_a_local_directory_that_cannot_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mesos").write_text("a file")
    assert main(["--local", "--local-dir", str(tmp_path)]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_a_leader_whom_mesos_does_not_know_in_time_lets_another_one_lead(make: Make) -> None:
    with zookeeper() as server:
        words = ("--http-port", "0", "--zk-endpoints", server.hosts, "--max-registration-delay", "1s")
        assert make(*words).run() == ExitCode.TIMED_OUT


def test_an_election_that_fails_ends_it_as_a_fault_of_ours(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(election: Election) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(Election, "_look", look)
    with zookeeper() as server:
        assert make("--http-port", "0", "--zk-endpoints", server.hosts).run() == ExitCode.INTERNAL


def test_whoever_waits_when_another_one_leads_gets_an_answer(make: Make, tmp_path: Path) -> None:
    """Not a connection that breaks: then nobody would know that nothing was done."""
    urls: queue.SimpleQueue[str] = queue.SimpleQueue()
    service = make("--http-port", "0")
    service._began = urls.put
    with ThreadPoolExecutor(1) as threads:
        code = threads.submit(service.run)
        try:
            where = urlsplit(urls.get(timeout=SOON_S)).netloc
            until(lambda: get(where, "/leaderhealth")[0] == 200, "it leads")
            other = open_store(str(tmp_path / "store.db"))
            other.lead()
            other.close()
            body = json.dumps({"description": plain(JOB_CONFIGURATION, job())})
            status, answer = get(where, "/apibeta/createJob", "POST", body)
            assert (status, json.loads(answer)["responseCode"]) == (200, "ERROR_TRANSIENT")
            assert b"has done nothing of it" in answer
            assert code.result(SOON_S) == ExitCode.REFUSED
        finally:
            service.stop("the test is over")


def get(where: str, path: str, method: str = "GET", body: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(where, timeout=SOON_S)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
