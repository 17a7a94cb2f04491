"""Election on a real ZooKeeper: killed, stopped, expired; one leader at any time, or none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.protocol.states import KazooState

from scheduler.core.events import Elected, Resumed, Suspended
from scheduler.mesos.election import (
    Election,
    ElectionEvent,
    Endpoint,
    Failed,
    Lost,
    digest_auth,
    member_data,
    member_url,
)
from tests.support.box import SOON_S, until
from tests.support.relay import Relay, relay
from tests.support.zookeeper import ZooKeeper, free_port, zookeeper

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

PATH = "/aurora/scheduler"
#: Longer than a busy machine holds a process up, where no session is to end by itself.
LONG_S = 30.0
SHORT_S = 2.0


@pytest.fixture
def server() -> Iterator[ZooKeeper]:
    with zookeeper() as made:
        yield made


@pytest.fixture
def reader(server: ZooKeeper) -> Iterator[Any]:
    client = KazooClient(server.hosts, timeout=LONG_S)
    client.start(timeout=SOON_S)
    yield client
    client.stop()
    client.close()


class Candidate:
    def __init__(self, hosts: str, port: int, **more: Any) -> None:
        self.told: list[ElectionEvent] = []
        self.said: list[str] = []
        self.url = f"http://host{port}:{port}"
        self.election = Election(
            hosts, more.pop("path", PATH), Endpoint(f"host{port}", port), self.told.append, say=self.said.append, **more
        )
        self.election.start()

    def until(self, event: type) -> None:
        until(
            lambda: any(isinstance(one, event) for one in self.told),
            lambda: f"{event.__name__}; told was {self.told}, said {self.said}",
        )

    def has(self, event: type) -> bool:
        return any(isinstance(one, event) for one in self.told)


Make = Callable[..., Candidate]


@pytest.fixture
def candidate(server: ZooKeeper) -> Iterator[Make]:
    made: list[Candidate] = []

    def make(port: int = 1, hosts: str | None = None, session_s: float = LONG_S, **more: Any) -> Candidate:
        one = Candidate(hosts or server.hosts, port, session_s=session_s, **more)
        made.append(one)
        return one

    yield make
    for one in made:
        one.election.close()


def children(reader: Any, prefix: str) -> list[str]:
    names = reader.get_children(PATH) if reader.exists(PATH) else []
    return sorted(name for name in names if name.startswith(prefix))


def test_the_first_leads_and_others_know_where_it_is(candidate: Make, reader: Any) -> None:
    first = candidate(1)
    first.until(Elected)
    assert first.election.leads()
    second = candidate(2)
    until(lambda: second.election.leader_url() == first.url, "the second knows the first")
    assert second.told == []
    assert not second.election.leads()
    assert first.election.leader_url() is None
    (member,) = children(reader, "member_")
    where = {"host": "host1", "port": 1}
    assert json.loads(reader.get(f"{PATH}/{member}")[0]) == {
        "serviceEndpoint": where,
        "additionalEndpoints": {"http": where},
        "status": "ALIVE",
    }
    candidates = children(reader, "singleton_candidate_")
    assert [reader.get(f"{PATH}/{name}")[0] for name in candidates] == [b"host1", b"host2"]


def test_whoever_leaves_hands_over(candidate: Make, reader: Any) -> None:
    first, second, third = (candidate(port) for port in (1, 2, 3))
    until(lambda: any(one.has(Elected) for one in (first, second, third)), "one leads")
    until(lambda: len(children(reader, "singleton_candidate_")) == 3, "all are there")
    for left in (2, 1, 0):
        (leader,) = [one for one in (first, second, third) if one.election.leads()]
        leader.election.close()
        assert not leader.election.leads()
        assert leader.told == [Elected()]
        if left:
            until(lambda: any(one.election.leads() for one in (first, second, third)), "the next one leads")
            until(lambda: len(children(reader, "member_")) == 1, "it is the one member")
    assert reader.get_children(PATH) == []


def test_an_expired_session_is_the_end(candidate: Make, server: ZooKeeper, reader: Any) -> None:
    first = candidate(1)
    first.until(Elected)
    second = candidate(2)
    until(lambda: second.election.leader_url() == first.url, "the second is there")
    # there is no other way to its session
    session, password = first.election._client.client_id
    thief = KazooClient(server.hosts, client_id=(session, password))
    thief.start(timeout=SOON_S)
    thief.stop()  # ends the session for both
    thief.close()
    first.until(Lost)
    second.until(Elected)
    assert not first.election.leads()
    assert first.told[-1] == Lost("the session with ZooKeeper expired")
    until(second.election.leads, "the second leads")
    until(
        lambda: (
            [
                json.loads(reader.get(f"{PATH}/{one}")[0])["serviceEndpoint"]["port"]
                for one in children(reader, "member_")
            ]
            == [2]
        ),
        "the second alone is a member",
    )


def test_zookeeper_away_and_back_within_the_session(candidate: Make, server: ZooKeeper) -> None:
    first = candidate(1)
    first.until(Elected)
    server.kill()
    first.until(Suspended)
    assert not first.election.leads()
    server.start()
    first.until(Resumed)
    assert first.told == [Elected(), Suspended(), Resumed()]
    assert first.election.leads()


def test_a_leader_that_is_cut_off_stops_before_the_next_one_begins(candidate: Make, server: ZooKeeper) -> None:
    with relay("127.0.0.1", free_port(), ("127.0.0.1", server.port)) as way:
        first = candidate(1, way.hosts, SHORT_S)
        first.until(Elected)
        second = candidate(2)
        until(lambda: second.election.leader_url() == first.url, "the second is there")
        way.cut()

        def second_leads() -> bool:
            # the order of the two questions: whoever leads no more does not lead again
            assert not (second.election.leads() and first.election.leads())
            return second.election.leads()

        until(second_leads, "the second leads")
        assert not first.election.leads()
        way.mend()
        first.until(Lost)


STOPPED = """
import sys, time
sys.path.insert(0, {root!r})
from scheduler.mesos.election import Election, Endpoint
election = Election({hosts!r}, {path!r}, Endpoint("host1", 1), lambda event: None, session_s={session_s})
election.start()
while True:
    print(election.leads(), flush=True)
    sys.stdin.readline()
"""


def test_a_leader_that_was_stopped_knows_at_once_that_it_leads_no_more(candidate: Make, server: ZooKeeper) -> None:
    code = STOPPED.format(root=str(Path(__file__).parents[3]), hosts=server.hosts, path=PATH, session_s=SHORT_S)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as first:
        try:
            assert first.stdin is not None
            assert first.stdout is not None
            stdin, stdout = first.stdin, first.stdout

            def leads() -> bool:
                stdin.write("\n")
                return stdout.readline() == "True\n"

            assert stdout.readline()
            until(leads, "the first leads")
            os.kill(first.pid, signal.SIGSTOP)
            second = candidate(2)
            second.until(Elected)
            stdin.write("\n")  # it waits there when the process goes on
            os.kill(first.pid, signal.SIGCONT)
            assert stdout.readline() == "False\n"
        finally:
            first.kill()


def test_a_candidate_that_somebody_removed(candidate: Make, reader: Any) -> None:
    first = candidate(1)
    first.until(Elected)
    (name,) = children(reader, "singleton_candidate_")
    reader.delete(f"{PATH}/{name}")
    first.until(Lost)
    assert first.told == [Elected(), Lost("our candidate in ZooKeeper was removed")]


def test_a_member_that_somebody_removed_is_made_again(candidate: Make, reader: Any) -> None:
    first = candidate(1)
    first.until(Elected)
    until(lambda: children(reader, "member_"), "it is a member")
    (name,) = children(reader, "member_")
    reader.delete(f"{PATH}/{name}")
    until(lambda: children(reader, "member_") not in ([], [name]), "it is a member again")
    assert first.told == [Elected()]


def test_below_a_chroot_with_a_password(candidate: Make, server: ZooKeeper, reader: Any) -> None:
    auth = digest_auth("aurora:secret")
    first = candidate(1, f"{server.hosts}/not/there/yet", auth=auth)
    first.until(Elected)
    path = f"/not/there/yet{PATH}"
    until(lambda: any(name.startswith("member_") for name in reader.get_children(path)), "it is a member")
    member = next(name for name in reader.get_children(path) if name.startswith("member_"))
    rules = {(one.id.scheme, one.perms) for one in reader.get_acls(f"{path}/{member}")[0]}
    assert rules == {("digest", 31), ("world", 1)}
    second = candidate(2, f"{server.hosts}/not/there/yet", auth=auth)
    until(lambda: second.election.leader_url() == first.url, "the second reads it")


def test_zookeeper_is_not_there_at_first(candidate: Make) -> None:
    with zookeeper(is_started=False) as late:
        first = candidate(1, late.hosts)
        until(lambda: first.election._client.state == KazooState.LOST, "it has no session")
        late.start()
        first.until(Elected)


@pytest.mark.slow
def test_one_leader_at_any_time_however_often_connections_break(candidate: Make, server: ZooKeeper) -> None:
    ways: list[Relay] = []
    stack = [relay("127.0.0.1", free_port(), ("127.0.0.1", server.port)) for _ in range(3)]
    try:
        ways = [one.__enter__() for one in stack]
        live = [candidate(port, way.hosts, SHORT_S) for port, way in enumerate(ways)]
        for turn in range(6):
            until(lambda: any(one.election.leads() for one in live), "somebody leads")
            index = next(index for index, one in enumerate(live) if one.election.leads())
            ways[index].cut()

            def another(cut: int = index) -> bool:
                leading = [number for number, one in enumerate(live) if one.election.leads()]
                assert len(leading) <= 1, leading
                return leading not in ([], [cut])

            until(another, "another one leads")
            ways[index].mend()
            live[index].until(Lost)
            live[index].election.close()
            live[index] = candidate(10 + turn, ways[index].hosts, SHORT_S)
    finally:
        for one in stack:
            one.__exit__(None, None, None)


@pytest.mark.parametrize(
    "data, url",
    [
        (member_data(Endpoint("h", 1)), "http://h:1"),
        (member_data(Endpoint("::1", 1, "https")), "https://[::1]:1"),
        (b'{"serviceEndpoint": {"host": "h", "port": 2}}', "http://h:2"),
        (
            b'{"additionalEndpoints": {"http": {"host": "a", "port": 1}, "https": {"host": "b", "port": 2}}}',
            "https://b:2",
        ),
        (b"", None),
        (b"[]", None),
        (b"{}", None),
        (b'{"serviceEndpoint": {"host": "h"}}', None),
        (b'{"additionalEndpoints": 3}', None),
    ],
)
def test_what_a_member_says(data: bytes, url: str | None) -> None:
    assert member_url(data) == url


def test_a_fault_of_ours_is_the_end_of_a_lead(candidate: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first = candidate(1)
    first.until(Elected)
    second = candidate(2)
    until(lambda: second.election.leader_url() == first.url, "the second knows the first")
    look = Election._look

    def fails(self: Election) -> None:
        if self is first.election:
            raise AssertionError("a fault of ours")
        look(self)

    monkeypatch.setattr(Election, "_look", fails)
    first.election._wake.put(None)
    first.until(Failed)
    assert not first.election.leads()
    assert "a fault of ours" in "".join(first.said)
    second.until(Elected)
