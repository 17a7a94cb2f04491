"""The connection to an agent that does what agents should not: bounded, told in words, nothing lost."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_agent import HEAD, SUBSCRIBED, FakeAgent, answer, chunk
from thermos.core.session_events import (
    Close,
    Deliver,
    Disconnected,
    Failed,
    LaunchTask,
    Notice,
    Registered,
    Reregistered,
    Settings,
    ShutDown,
    Told,
    UpdateAcknowledged,
)
from thermos.executor.agent import Agent, new_uuid
from thermos.executor.environment import AgentAddress, Surroundings, Tls
from thermos.formats.mesos_v1 import write_data
from thermos.formats.recordio import MAX_FRAME_BYTES
from thermos.host.loop import Loop
from thermos.mesos import MesosTaskState

RUNNING, FINISHED = MesosTaskState.TASK_RUNNING, MesosTaskState.TASK_FINISHED
LAUNCH = {"type": "LAUNCH", "launch": {"task": {"name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "S"}}}}


class Box:
    """A fake agent, a real connection to it, and a loop that the test turns."""

    def __init__(self, loop: Loop, fake: FakeAgent, **more: Any) -> None:
        self.fake = fake
        self.loop = loop
        self.notices: list[Notice | Close] = []
        fields: dict[str, Any] = {"address": AgentAddress("127.0.0.1", fake.port, "/slave(1)/api/v1/executor")}
        settings: dict[str, Any] = {
            "checkpoint": True,
            "backoff_max_s": 0.1,
            "recovery_timeout_s": 30.0,
            "answer_s": 5.0,
        }
        settings |= more.pop("settings", {})
        fields |= more
        surroundings = Surroundings(
            Settings("e", "F", **settings),
            token=fields.pop("token", None),
            sandbox="",
            directory="",
            is_local=False,
            **fields,
        )
        self.on_notice: Callable[[Notice | Close], object] = lambda notice: None
        self.agent = Agent(loop, surroundings, self._told)

    def _told(self, notice: Notice | Close) -> None:
        self.notices.append(notice)
        self.on_notice(notice)

    def until(self, condition: Callable[[], object], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, (self.notices, self.fake.calls)
            self.loop.step(0.01)

    def hears(self, kind: type[Any], times: int = 1) -> Any:
        self.until(lambda: len(self.all(kind)) >= times)
        return self.all(kind)[-1]

    def all(self, kind: type[Any]) -> list[Any]:
        return [notice for notice in self.notices if type(notice) is kind]

    def launched(self) -> Box:
        self.agent.start()
        self.hears(Registered)
        self.fake.say(LAUNCH)
        self.hears(LaunchTask)
        return self

    def acknowledge(self, call: dict[str, Any]) -> None:
        status = call["update"]["status"] if "update" in call else call
        body = {"task_id": status["task_id"], "uuid": status["uuid"]}
        self.fake.say({"type": "ACKNOWLEDGED", "acknowledged": body})


@contextlib.contextmanager
def box(fake: FakeAgent | None = None, **more: Any) -> Iterator[Box]:
    with contextlib.ExitStack() as stack:
        loop = stack.enter_context(Loop())
        made = Box(loop, stack.enter_context(fake or FakeAgent()), **more)
        stack.callback(made.agent.close)
        yield made


def test_subscribe_launch_update_and_leave() -> None:
    with box(token="secret") as made:
        made.launched()
        status = made.agent.update("t", RUNNING, message="hello")
        made.until(lambda: len(made.fake.calls) == 2)
        made.agent.update("t", FINISHED)
        made.agent.message(b"bye")
        made.until(lambda: len(made.fake.calls) == 4)
        subscribe, first, second, third = made.fake.calls
        assert subscribe == {
            "type": "SUBSCRIBE",
            "executor_id": {"value": "e"},
            "framework_id": {"value": "F"},
            "subscribe": {"unacknowledged_tasks": [], "unacknowledged_updates": []},
        }
        assert first["update"]["status"]["uuid"] == write_data(status.uuid)
        assert [call["type"] for call in (first, second, third)] == ["UPDATE", "UPDATE", "MESSAGE"]
        for headers, _ in made.fake.requests:
            assert headers[":path"] == "/slave(1)/api/v1/executor"
            assert headers["authorization"] == "Bearer secret"
            assert headers["content-type"] == headers["accept"] == "application/json"
        assert made.fake.connections == 2
        made.agent.stop()
        for call in (first, second):
            made.acknowledge(call)
        assert made.hears(Close) == Close("the executor is done", ())
        assert [update.status.state for update in made.all(UpdateAcknowledged)] == [RUNNING, FINISHED]


def test_a_stream_in_single_bytes_and_a_message_of_megabytes() -> None:
    with box() as made:
        made.fake.to_subscribe.append(HEAD)
        made.agent.start()
        made.until(lambda: made.fake.calls)
        for byte in chunk(SUBSCRIBED):
            made.fake.send(bytes([byte]))
            made.loop.step(0.001)
        made.hears(Registered)
        data = bytes(range(256)) * (3 << 12)
        made.fake.say_aside({"type": "MESSAGE", "message": {"data": write_data(data)}})
        assert made.hears(Deliver) == Deliver(data)


@pytest.mark.parametrize(
    "reply, told",
    [
        ((b"",), "the agent closed the connection"),
        ((b"SSH-2.0-OpenSSH\r\n\r\n",), "what the agent sends is no HTTP"),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,), "what the agent sends is no HTTP"),
        ((HEAD,), "the agent closed the connection"),
        ((HEAD + b"0\r\n\r\n",), "the agent ended the stream"),
        ((HEAD + chunk(SUBSCRIBED)[:-20],), "the agent closed the connection"),
        ((HEAD + b"5\r\nhello\r\n",), "the agent's stream cannot be read: no RecordIO at byte 0"),
        ((HEAD + b"a\r\n%d\n\r\n" % (MAX_FRAME_BYTES + 1),), f"a record of {MAX_FRAME_BYTES + 1} bytes is longer"),
        ((HEAD + b"4\r\n2\n[]\r\n",), "the agent sent an event that cannot be read: should be an object, is a list"),
        ((HEAD + chunk({"type": "KILL"}),), "the agent sent an event that cannot be read: kill: is missing"),
        ((HEAD + chunk(LAUNCH),), "the agent sent Launch before SUBSCRIBED"),
        ((b"HTTP/1.1 503 X\r\nContent-Length: 99\r\n\r\nhalf",), "the agent answers 503 to SUBSCRIBE: half"),
        (answer(503, b"recovering"), "the agent answers 503 to SUBSCRIBE: recovering"),
        (answer(404), "the agent answers 404 to SUBSCRIBE: no reason given"),
        (answer(202), "the agent answers 202 to SUBSCRIBE"),
        (answer(307, b"", b"Location: http://elsewhere/\r\n"), "the agent answers 307 to SUBSCRIBE"),
    ],
)
def test_a_bad_answer_to_subscribe_is_told_and_tried_again(reply: bytes | tuple[bytes], told: str) -> None:
    with box() as made:
        made.fake.to_subscribe.extend([reply, reply])
        made.agent.start()
        made.hears(Registered)
        (first,) = made.all(Told)
        assert told in first.text
        assert first.text.startswith("cannot subscribe: ")
        assert len(made.fake.calls) == 3


def test_a_refusal_is_an_error_with_the_agents_words_made_harmless() -> None:
    with box() as made:
        made.fake.to_subscribe.append(answer(401, b"no \x1b[31mtoken\r\n" + b"x" * 10_000))
        made.agent.start()
        failed = made.hears(Failed)
        assert failed.message.startswith("the agent answers 401 to SUBSCRIBE: no  [31mtoken  xxx")
        assert len(failed.message) < 2200
        made.hears(Registered)


def test_an_agent_that_is_not_there_is_told_and_bounded() -> None:
    with box(settings={"recovery_timeout_s": 0.5}) as made:
        made.fake.close()
        made.agent.start()
        assert made.hears(ShutDown).reason == "the agent did not answer within 0.5 s"
        where = f"127.0.0.1:{made.fake.port}"
        assert made.all(Told)[0].text == f"cannot subscribe: {where}: Connection refused; trying again until it works"
        made.agent.stop()
        assert made.hears(Close) == Close("the executor is done", ())


def test_silence_is_bounded() -> None:
    with box(settings={"answer_s": 0.2}) as made:
        made.fake.to_subscribe.append(HEAD)
        made.agent.start()
        made.hears(Registered)
        assert "did not answer SUBSCRIBE within 0.2 s" in made.all(Told)[0].text


def test_half_an_event_of_a_running_stream_and_then_silence_is_a_lost_stream_when_it_breaks() -> None:
    with box() as made:
        made.launched()
        made.fake.send(chunk(LAUNCH)[:-30])
        made.fake.hang_up()
        assert made.hears(Disconnected).reason == "the agent closed the connection"
        made.hears(Reregistered)


def test_an_update_whose_connection_the_agent_had_closed_goes_over_a_new_one() -> None:
    with box() as made:
        made.launched()
        made.fake.to_calls.append((b"",))
        status = made.agent.update("t", RUNNING)
        made.until(lambda: len(made.fake.calls) == 3)
        assert [call["update"]["status"]["uuid"] for call in made.fake.calls[1:]] == [write_data(status.uuid)] * 2
        assert not made.all(Disconnected)


def test_an_idle_connection_for_calls_may_close_without_notice() -> None:
    with box() as made:
        made.launched()
        made.fake.to_calls.append((answer(202, b"", b"Connection: close\r\n"),))
        made.agent.update("t", RUNNING)
        made.until(lambda: len(made.fake.calls) == 2)
        made.agent.update("t", RUNNING)
        made.until(lambda: len(made.fake.calls) == 3)
        assert made.fake.connections == 3
        assert not made.all(Disconnected)


def test_an_agent_that_recovers_while_an_update_comes_gets_it_with_the_next_subscription() -> None:
    with box() as made:
        made.launched()
        made.fake.to_calls.append(answer(503, b"recovering"))
        status = made.agent.update("t", RUNNING)
        made.hears(Reregistered)
        assert not made.all(Failed)
        subscribe = made.fake.calls[-1]["subscribe"]
        assert [one["status"]["uuid"] for one in subscribe["unacknowledged_updates"]] == [write_data(status.uuid)]
        assert [one["task_id"]["value"] for one in subscribe["unacknowledged_tasks"]] == ["t"]


def test_an_update_that_is_refused_for_good_is_told_and_the_next_one_goes() -> None:
    with box() as made:
        made.launched()
        made.fake.to_calls.extend([answer(400, b"no such task"), answer(415)])
        made.agent.update("t", RUNNING)
        made.agent.update("t", RUNNING)
        made.agent.update("t", FINISHED)
        made.hears(Failed, times=2)
        assert [failed.message for failed in made.all(Failed)] == [
            "the agent answers 400 to the update TASK_RUNNING of task t: no such task; it is dropped",
            "the agent answers 415 to the update TASK_RUNNING of task t: no reason given; it is dropped",
        ]
        made.until(lambda: len(made.fake.calls) == 4)
        assert made.fake.calls[-1]["update"]["status"]["state"] == "TASK_FINISHED"


def test_garbage_in_answer_to_an_update_is_no_answer() -> None:
    with box() as made:
        made.launched()
        made.fake.to_calls.extend([b"garbage\r\n\r\n", b"garbage\r\n\r\n"])
        made.agent.update("t", RUNNING)
        assert "does not get through: what the agent sends is no HTTP" in made.hears(Disconnected).reason
        made.hears(Reregistered)


def test_what_is_asked_for_within_a_notice_is_done_after_it() -> None:
    with box() as made:
        seen: list[str] = []

        def told(notice: Notice | Close) -> None:
            seen.append(type(notice).__name__)
            if isinstance(notice, LaunchTask):
                made.agent.update("t", RUNNING)
                made.agent.update("t", FINISHED)
                made.agent.stop()
                seen.append("asked")

        made.on_notice = told
        made.launched()
        made.until(lambda: len(made.fake.calls) == 3)
        for call in made.fake.calls[1:]:
            made.acknowledge(call)
        made.hears(Close)
        assert seen == ["Registered", "LaunchTask", "asked", "UpdateAcknowledged", "UpdateAcknowledged", "Close"]


def test_after_close_nothing_is_told_and_nothing_held() -> None:
    with box() as made:
        made.launched()
        made.agent.update("t", RUNNING)
        made.agent.close()
        made.agent.update("t", FINISHED)
        count = len(made.notices)
        made.fake.hang_up()
        made.loop.step(0.05)
        assert len(made.notices) == count
        assert made.fake.connections <= 2


def test_what_was_decided_is_told_before_what_the_owner_makes_of_it() -> None:
    with box(settings={"checkpoint": False}) as made:
        made.agent.start()
        made.hears(Registered)
        made.on_notice = lambda notice: made.agent.stop() if isinstance(notice, Disconnected) else None
        made.fake.hang_up()
        made.hears(Close)
        assert [type(notice).__name__ for notice in made.notices[1:]] == ["Disconnected", "ShutDown", "Close"]


def test_the_owner_may_close_within_a_notice() -> None:
    with box(settings={"checkpoint": False}) as made:  # then the same decision says ShutDown, too
        made.launched()
        made.on_notice = lambda notice: made.agent.close()
        made.fake.hang_up()
        made.hears(Disconnected)
        made.fake.close()
        made.loop.step(0.3)  # longer than the back-off
        assert [type(notice).__name__ for notice in made.notices] == ["Registered", "LaunchTask", "Disconnected"]
        assert made.fake.connections == 1


def test_over_a_socket_file_with_a_long_path(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    with (
        contextlib.chdir(directory),
        box(
            FakeAgent("agent.sock"),
            address=AgentAddress("127.0.0.1", 5051, "/slave(1)/api/v1/executor", str(directory / "agent.sock")),
        ) as made,
    ):
        made.launched()
        made.agent.update("t", RUNNING)
        made.until(lambda: len(made.fake.calls) == 2)


def test_a_socket_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path, why in (
        (f"{tmp_path}/agent.sock", "No such file or directory"),
        (f"{tmp_path}/no/agent.sock", "No such file or directory"),
        (str(tmp_path), "Connection refused"),
    ):
        address = AgentAddress("127.0.0.1", 5051, "/x", path)
        with box(address=address, settings={"recovery_timeout_s": 0.2}) as made:
            made.agent.start()
            made.hears(ShutDown)
            assert made.all(Told)[0].text == f"cannot subscribe: {path}: {why}; trying again until it works"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no certificates to test with: openssl is missing")
    made = {}
    for name in ("agent", "other"):
        directory = tmp_path_factory.mktemp(name)
        made[name] = directory / "cert.pem"
        subprocess.run(
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                str(directory / "key.pem"), "-out", str(made[name]),
            ],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
        )  # fmt: skip
    return made


@pytest.mark.parametrize("trusted, works", [("agent", True), ("other", False), (None, True)])
def test_over_https(certificates: dict[str, Path], trusted: str | None, works: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates["agent"], certificates["agent"].with_name("key.pem"))
    fake = FakeAgent(context=context)
    tls = Tls(trusted is not None, True, str(certificates[trusted]) if trusted else None, None, None, None)
    settings = {"recovery_timeout_s": 30.0 if works else 1.0}
    with box(fake, address=AgentAddress("127.0.0.1", fake.port, "/x", tls=tls), settings=settings) as made:
        if works:
            made.launched()
            made.agent.update("t", RUNNING, message="x" * (1 << 20))
            made.until(lambda: len(made.fake.calls) == 2)
            data = b"y" * (3 << 20)
            made.fake.say_aside({"type": "MESSAGE", "message": {"data": write_data(data)}})
            assert made.hears(Deliver) == Deliver(data)
        else:
            made.agent.start()
            made.hears(ShutDown)
            assert "certificate verify failed" in made.all(Told)[0].text
            assert not fake.calls


def test_files_for_https_that_are_not_there_are_told() -> None:
    tls = Tls(True, False, "/nowhere/ca.pem", None, None, None)
    fake = FakeAgent()
    address = AgentAddress("127.0.0.1", fake.port, "/x", tls=tls)
    with box(fake, address=address, settings={"recovery_timeout_s": 0.3}) as made:
        made.agent.start()
        made.hears(ShutDown)
        assert "the files for https (LIBPROCESS_SSL_…) cannot be used" in made.all(Told)[0].text


def test_nothing_wakes_the_loop_while_nothing_happens() -> None:
    with box() as made:
        made.launched()
        made.agent.update("t", RUNNING)
        made.until(lambda: len(made.fake.calls) == 2 and made.agent.session.wake_at_s is None)
        began_s = time.monotonic()
        made.loop.step(0.3)
        assert time.monotonic() - began_s >= 0.29


def test_a_call_of_megabytes_to_an_agent_that_takes_its_time() -> None:
    with box() as made:
        made.launched()
        data = bytes(range(256)) * (1 << 16)
        made.agent.message(data)
        made.agent.update("t", RUNNING)
        made.until(lambda: len(made.fake.calls) == 3)
        assert made.fake.calls[1]["message"]["data"] == write_data(data)


def test_uuids_are_random_ones_of_rfc_4122() -> None:
    found = [new_uuid() for _ in range(100)]
    assert len(set(found)) == 100
    assert {(uuid[6] >> 4, uuid[8] >> 6) for uuid in found} == {(4, 2)}


def test_http_costs_neither_ssl_nor_http_client() -> None:
    costly = ("ssl", "http.client", "asyncio", "logging", "threading", "subprocess", "email")
    code = f"import sys, thermos.executor.driver; print([name for name in {costly} if name in sys.modules])"
    words = [sys.executable, "-c", code]
    said = subprocess.run(words, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert said.stdout == "[]\n", said
