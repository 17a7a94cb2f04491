"""The webhook: what its file may say, and POSTs to a real server that is well, slow, broken or away."""

from __future__ import annotations

import itertools
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from scheduler.core.changes import Change
from scheduler.core.commands import CreateJob
from scheduler.core.decision import Transition
from scheduler.core.engine import Engine
from scheduler.core.events import Decline, Subscribed
from scheduler.model import Task
from scheduler.program import Program
from scheduler.states import ScheduleStatus
from scheduler.store.interface import NoSpace
from scheduler.store.sqlite import SqliteStore
from scheduler.turn import Ended
from scheduler.webhook import Patience, Webhook, WebhookConfig, WebhookInvalid, parse_webhook_config
from tests.support.box import until
from tests.support.cluster import cluster
from tests.support.mesos import free_port
from tests.support.receiver import DRIP, HANG, HANG_UP, NOISE, Receiver, receiver
from tests.support.scheduled import task
from tests.support.world import SETTINGS, job_of
from thermos.formats.aurora_api import ResponseCode

_S = ScheduleStatus
pytestmark = pytest.mark.process


def config(url: str = "http://127.0.0.1:1/", **more: Any) -> WebhookConfig:
    return parse_webhook_config(json.dumps({"targetURL": url, "timeoutMsec": 300, **more}))


def path_of(task_id: str, *states: ScheduleStatus) -> list[Transition]:
    """A task goes through *states*."""
    steps: list[Task | None] = [None, *(task(*states[: end + 1], task_id=task_id) for end in range(len(states)))]
    return [Transition(before, after) for before, after in itertools.pairwise(steps) if after is not None]


def seen(server: Receiver) -> list[tuple[str, str, str]]:
    """(task, its old state, its new one) of each POST."""
    return [
        (post.data["task"]["assignedTask"]["taskId"], post.data["oldState"], post.data["task"]["status"])
        for post in server.posts
    ]


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def begin() -> Iterator[Any]:
    """Makes webhooks that end with the test; they do not wait long before they try again."""
    made: list[Webhook] = []

    def one(asked: WebhookConfig, **patience: Any) -> Webhook:
        webhook = Webhook(asked, Patience(**{"first_wait_s": 0.01, "max_wait_s": 0.02, **patience}))
        webhook.start()
        made.append(webhook)
        return webhook

    yield one
    for webhook in made:
        webhook.close(0)


# -- the file ----------------------------------------------------------------------------------------------------------


def test_the_original_example_is_read() -> None:
    """From Aurora's docs/features/webhooks.md."""
    found = parse_webhook_config(
        '{"headers": {"Content-Type": "application/vnd.kafka.json.v1+json", "Producer-Type": "reliable"}, '
        '"targetURL": "http://localhost:5000/", "timeoutMsec": 50, "statuses": ["LOST", "FAILED"]}'
    )
    headers = {"Content-Type": "application/vnd.kafka.json.v1+json", "Producer-Type": "reliable"}
    wanted = frozenset({_S.LOST, _S.FAILED})
    assert found == WebhookConfig("localhost", 5000, False, "/", 0.05, headers, wanted)


@pytest.mark.parametrize("more", [{}, {"statuses": ["*"]}, {"statuses": "*"}, {"statuses": ["LOST", "*"]}])
def test_without_statuses_all_are_told(more: dict[str, Any]) -> None:
    assert config(**more).statuses == set(_S)


def test_a_url_of_another_form() -> None:
    found = config("https://[::1]/a/b?c=d")
    assert found[:4] == ("::1", 443, True, "/a/b?c=d")


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(WebhookInvalid) as caught:
        parse_webhook_config(
            json.dumps({
                "targetUrl": "x", "targetURL": "ftp://x/", "timeoutMsec": 0, "statuses": ["GONE", 7],
                "headers": {"Host": "a", "X-Two": "a\nb", "X-Number": 1},
            })
        )  # fmt: skip
    assert [problem.split(",")[0] for problem in caught.value.problems] == [
        "there is no field targetUrl",
        "targetURL should be like http://host:port/path",
        "timeoutMsec should be milliseconds",
        "headers: Host is set by the scheduler",
        "headers: 'X-Two' is no header of HTTP",
        "headers: X-Number should be text",
        "statuses: there is no state 'GONE'",
        "statuses: there is no state 7",
    ]


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"targetURL": 5, "timeoutMsec": 1}', '{"targetURL": "http://a", "timeoutMsec": true}',
             '{"targetURL": "http://a:99999/", "timeoutMsec": 1}', '{"targetURL": "http://a b/", "timeoutMsec": 1}',
             '{"targetURL": "http://a..b/", "timeoutMsec": 1}', '{"targetURL": "http://u:p@a/", "timeoutMsec": 1}',
             '{"targetURL": "http://a/", "timeoutMsec": 1, "statuses": []}',
             '{"targetURL": "http://a/", "timeoutMsec": 1, "headers": []}'],
)  # fmt: skip
def test_files_that_are_none(text: str) -> None:
    with pytest.raises(WebhookInvalid):
        parse_webhook_config(text)


# -- posting -----------------------------------------------------------------------------------------------------------


def test_what_is_posted(server: Receiver, begin: Any) -> None:
    webhook = begin(config(server.url, headers={"X-Who": "me"}))
    webhook.tell(path_of("a", _S.PENDING, _S.ASSIGNED, _S.RUNNING))
    until(lambda: webhook.metrics()["webhooks_success"] == 3, "all are posted")
    assert seen(server) == [("a", "INIT", "PENDING"), ("a", "PENDING", "ASSIGNED"), ("a", "ASSIGNED", "RUNNING")]
    last = server.posts[-1]
    assert last.path == "/hook?a=b"
    assert last.headers["Timestamp"] == "2000"
    assert last.headers["X-Who"] == "me"
    assert last.headers["Content-Type"] == "application/json"
    assert last.headers["Host"] == f"127.0.0.1:{server.port}"
    assert last.data["task"]["assignedTask"]["task"]["job"] == {"role": "www", "environment": "prod", "name": "web"}
    assert [event["status"] for event in last.data["task"]["taskEvents"]] == ["PENDING", "ASSIGNED", "RUNNING"]
    assert webhook.metrics() == {
        "webhooks_attempts": 3, "webhooks_success": 3, "webhooks_errors": 0, "webhooks_user_errors": 0,
        "webhooks_dropped": 0, "webhooks_waiting": 0,
    }  # fmt: skip


def test_only_states_that_are_asked_for(server: Receiver, begin: Any) -> None:
    webhook = begin(config(server.url, statuses=["LOST", "FAILED"], headers={"content-type": "a/b"}))
    webhook.tell(path_of("a", _S.PENDING, _S.ASSIGNED, _S.FAILED))
    webhook.tell(path_of("b", _S.PENDING, _S.ASSIGNED, _S.LOST))
    until(lambda: webhook.metrics()["webhooks_success"] == 2, "both are posted")
    assert [new for _, _, new in seen(server)] == ["FAILED", "LOST"]
    assert server.posts[0].headers["content-type"] == "a/b"


@pytest.mark.parametrize(
    "answers, errors, user_errors",
    [([503, 429, 500], 0, 3), ([HANG, HANG], 2, 0), ([HANG_UP, NOISE], 2, 0), ([DRIP], 1, 0)],
)
def test_what_failed_is_tried_again_and_the_order_kept(
    server: Receiver, begin: Any, answers: list[int], errors: int, user_errors: int
) -> None:
    server.answers = list(answers)
    webhook = begin(config(server.url))
    webhook.tell(path_of("a", _S.PENDING, _S.ASSIGNED))
    until(lambda: webhook.metrics()["webhooks_success"] == 2, "both are taken")
    assert [new for _, _, new in seen(server)] == [*(len(answers) + 1) * ["PENDING"], "ASSIGNED"]
    assert len({post.headers["Timestamp"] for post in server.posts}) == 2  # trying again does not make it newer
    assert webhook.metrics()["webhooks_errors"] == errors
    assert webhook.metrics()["webhooks_user_errors"] == user_errors


def test_what_is_refused_is_not_tried_again(server: Receiver, begin: Any) -> None:
    server.answers = [400, 302, 404]
    webhook = begin(config(server.url))
    webhook.tell(path_of("a", _S.PENDING, _S.ASSIGNED, _S.STARTING, _S.RUNNING))
    until(lambda: webhook.metrics()["webhooks_success"] == 1, "the last is taken")
    assert webhook.metrics()["webhooks_attempts"] == 4
    assert webhook.metrics()["webhooks_user_errors"] == 3


def test_one_that_is_given_up_holds_up_no_other(server: Receiver, begin: Any) -> None:
    server.answers = [500, 500, 500]
    webhook = begin(config(server.url), attempts=3)
    webhook.tell(path_of("a", _S.PENDING, _S.ASSIGNED))
    until(lambda: webhook.metrics()["webhooks_success"] == 1, "the second is taken")
    assert [new for _, _, new in seen(server)] == ["PENDING", "PENDING", "PENDING", "ASSIGNED"]


def test_a_server_that_is_away_gets_it_when_it_is_back(begin: Any, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    webhook = begin(config(f"http://127.0.0.1:{port}/hook"), attempts=100_000)
    with caplog.at_level(logging.INFO, "scheduler.webhook"):
        webhook.tell(path_of("a", _S.PENDING, _S.ASSIGNED))
        until(lambda: webhook.metrics()["webhooks_errors"] >= 3, "it has tried")
        with receiver(port) as server:
            until(lambda: webhook.metrics()["webhooks_success"] == 2, "both are taken")
            assert [new for _, _, new in seen(server)] == ["PENDING", "ASSIGNED"]
    assert len([one for one in caplog.messages if "does not take messages" in one]) == 1
    assert "the webhook's server takes messages again" in caplog.messages


def test_too_many_drop_the_oldest(server: Receiver, begin: Any, caplog: pytest.LogCaptureFixture) -> None:
    server.answers = [HANG]
    webhook = begin(config(server.url, timeoutMsec=60_000), max_waiting=3)
    webhook.tell(path_of("a", _S.PENDING))
    until(lambda: server.posts, "it hangs")
    for number in range(5):
        webhook.tell(path_of(f"b{number}", _S.PENDING, _S.ASSIGNED))
    assert webhook.metrics()["webhooks_dropped"] == 7
    assert webhook.metrics()["webhooks_waiting"] == 3
    assert len([one for one in caplog.messages if "are dropped" in one]) == 1
    server._over.set()  # the one that hangs is hung up on, and tried again
    until(lambda: webhook.metrics()["webhooks_success"] == 4, "the rest is taken")
    assert seen(server)[2:] == [("b3", "PENDING", "ASSIGNED"), ("b4", "INIT", "PENDING"), ("b4", "PENDING", "ASSIGNED")]


def test_what_waits_is_posted_before_the_end(server: Receiver) -> None:
    webhook = Webhook(config(server.url))
    webhook.tell(path_of("a", _S.PENDING, _S.ASSIGNED))
    webhook.start()
    webhook.close(30)
    assert len(server.posts) == 2


def test_a_server_that_hangs_does_not_hold_up_the_end(server: Receiver) -> None:
    server.otherwise = HANG
    webhook = Webhook(config(server.url))
    webhook.start()
    webhook.tell(path_of("a", _S.PENDING, _S.ASSIGNED))
    until(lambda: server.posts, "it hangs")
    webhook.close(0)
    assert len(server.posts) == 1
    assert not webhook._thread.is_alive()


# -- the scheduler -----------------------------------------------------------------------------------------------------


class SilentMesos:
    """A master that is there and offers nothing."""

    def start(self) -> None:
        pass

    def call(self, call: object) -> None:
        pass

    def metrics(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        pass


class SlowlyFull(SqliteStore):
    """Writes down what it does; there is no room the first time."""

    story: list[str]

    def commit(self, changes: Sequence[Change]) -> None:
        self.story.append("commit")
        if self.story.count("commit") == 2:
            raise NoSpace("the disk is full")
        super().commit(changes)


def test_nobody_is_told_before_it_is_durable(tmp_path: Path) -> None:
    store = SlowlyFull(str(tmp_path / "store.db"))
    story: list[str] = []
    store.story = story
    store.lead()
    numbers = iter(range(100))
    engine = Engine(SETTINGS, lambda: str(next(numbers)), lambda: 0.5)
    program = Program(
        engine, store, lambda framework_id, tell: SilentMesos(),
        lambda launch: (Decline((), 5.0), ()),
        moved=lambda transitions: story.extend(one.after.status.name for one in transitions),
    )  # fmt: skip
    ends: list[Ended] = []
    thread = threading.Thread(target=lambda: ends.append(program.run()))
    thread.start()
    try:
        program.tell(Subscribed("fw", 15.0, None))
        program.look(lambda view: None)
        refused = program.command(CreateJob(job_of(instances=2), "ann"))
        assert refused.code is ResponseCode.ERROR_TRANSIENT
        assert program.command(CreateJob(job_of(instances=2), "ann")).code is ResponseCode.OK
    finally:
        program.tell(Ended(0, "the test is over"))
        thread.join()
        store.close()
    assert story == ["commit", "commit", "commit", "PENDING", "PENDING"]


@pytest.mark.slow
def test_a_killed_scheduler_tells_nothing_twice(tmp_path: Path) -> None:
    """What was told before the kill -9 is durable; after the start only what happens then is told."""
    with receiver() as server:
        file = tmp_path / "webhook.json"
        file.write_text(json.dumps({"targetURL": server.url, "timeoutMsec": 5000}))
        with cluster(flags=("-webhook_config", str(file))) as made:
            key = made.create("told")
            made.wait_running(key)
            made.wait("all is told", lambda: len(server.posts) == 4)
            assert [(old, new) for _, old, new in seen(server)] == [
                ("INIT", "PENDING"), ("PENDING", "ASSIGNED"), ("ASSIGNED", "STARTING"), ("STARTING", "RUNNING"),
            ]  # fmt: skip
            assert b'"webhooks_success":4' in made.api.get("/vars.json")[1].replace(b" ", b"")
            made.scheduler.kill()
            made.scheduler.start()
            made.wait_running(key)
            made.api.ok("killTasks", job=key)
            made.wait("the kill is told", lambda: len(server.posts) >= 6)
            assert [(old, new) for _, old, new in seen(server)[4:]] == [("RUNNING", "KILLING"), ("KILLING", "KILLED")]
            server.otherwise = HANG
            made.wait_running(made.create("other"))  # a server that hangs holds nothing up
            assert made.scheduler.stop() == 0
