"""A member of a server set on a real ZooKeeper: killed, paused, expired; one node in the end, or none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, NoAuthError
from kazoo.protocol.states import KazooState
from kazoo.security import make_acl, make_digest_acl_credential

from tests.support.box import until
from tests.support.relay import relay
from tests.support.zookeeper import ZooKeeper, free_port, zookeeper
from thermos.announce import member
from thermos.announce.auth import Auth, Rule
from thermos.announce.member import Connected, Gone, Joined, Member, MemberEvent, Parted, Trouble

PATH = "/aurora/www/prod/web"
#: Longer than a busy machine holds a process up: no test here waits for a session to end by itself.
SESSION_S = 30.0
DATA = json.dumps({"serviceEndpoint": {"host": "h", "port": 80}, "status": "ALIVE", "shard": 0}).encode()


@pytest.fixture
def server() -> Iterator[ZooKeeper]:
    with zookeeper() as made:
        yield made


@pytest.fixture
def reader(server: ZooKeeper) -> Iterator[Any]:
    client = KazooClient(server.hosts, timeout=SESSION_S)
    client.start(timeout=30)
    yield client
    client.stop()
    client.close()


class Announced:
    """A member, and what it told."""

    def __init__(self, hosts: str, session_s: float = SESSION_S, auth: Auth | None = None) -> None:
        self.told: list[MemberEvent] = []
        self.member = Member(hosts, PATH, DATA, self.told.append, auth, session_s)

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.told)

    def until(self, kind: type, times: int = 1) -> None:
        until(lambda: self.count(kind) >= times, lambda: f"{kind.__name__} {times} times; told: {self.told}")

    def close(self) -> None:
        self.member.close()
        assert self.member.wait(30)


@pytest.fixture
def announced(server: ZooKeeper) -> Iterator[Callable[..., Announced]]:
    made: list[Announced] = []

    def make(**more: Any) -> Announced:
        one = Announced(server.hosts, **more)
        made.append(one)
        one.member.start()
        return one

    yield make
    for one in made:
        one.close()


def nodes(reader: Any) -> list[str]:
    return sorted(reader.get_children(PATH)) if reader.exists(PATH) else []


Make = Callable[..., Announced]


def test_it_joins_as_readers_of_server_sets_expect(reader: Any, announced: Make) -> None:
    one = announced()
    one.until(Joined)
    (node,) = nodes(reader)
    assert node.startswith("member_")
    assert node.removeprefix("member_").isdecimal()
    data, stat = reader.get(f"{PATH}/{node}")
    assert data == DATA
    assert stat.ephemeralOwner
    assert [type(event) for event in one.told] == [Connected, Joined]


def test_it_leaves_when_asked_and_comes_back(reader: Any, announced: Make) -> None:
    one = announced()
    one.until(Joined)
    one.member.leave()
    one.until(Gone)
    assert nodes(reader) == []
    one.member.join()
    one.until(Joined, 2)
    assert len(nodes(reader)) == 1


def test_the_end_removes_it_within_a_second(reader: Any, announced: Make) -> None:
    one = announced()
    one.until(Joined)
    began_s = time.monotonic()
    one.close()
    assert nodes(reader) == []
    assert one.told[-1] == Gone(True)
    assert time.monotonic() - began_s < SESSION_S / 2  # the session would last longer, were it not asked to go


def test_a_node_that_somebody_removed_is_made_again(reader: Any, announced: Make) -> None:
    one = announced()
    one.until(Joined)
    (node,) = nodes(reader)
    reader.delete(f"{PATH}/{node}")
    one.until(Joined, 2)
    assert one.count(Parted) == 1
    assert len(nodes(reader)) == 1


def test_after_the_session_expired_there_is_one_again(server: ZooKeeper, reader: Any, announced: Make) -> None:
    one = announced()
    one.until(Joined)
    before = nodes(reader)
    session, password = one.member._client.client_id
    thief = KazooClient(server.hosts, client_id=(session, password))  # a second one in a session ends it
    thief.start(timeout=30)
    thief.stop()
    thief.close()
    one.until(Joined, 2)
    until(lambda: len(nodes(reader)) == 1, lambda: f"one node: {nodes(reader)}")
    assert nodes(reader) != before


def test_a_server_that_is_killed_and_comes_back_keeps_the_node(server: ZooKeeper, announced: Make) -> None:
    one = announced()
    one.until(Joined)
    server.kill()
    server.start()
    until(lambda: one.member._client.connected, "it is connected again")
    assert (one.count(Joined), one.count(Parted)) == (1, 0)


def test_a_server_that_takes_a_connection_and_says_nothing_costs_no_session(server: ZooKeeper) -> None:
    with relay("127.0.0.1", free_port(), (server.host, server.port)) as way:
        one = Announced(way.hosts, session_s=12.0)
        one.member.start()
        one.until(Joined)
        way.drop(to_swallow=1)
        until(lambda: way.swallowed, "it asks a server that does not answer")
        until(lambda: one.member._client.connected, "it is connected again")
        assert (one.count(Joined), one.count(Parted)) == (1, 0)
        one.close()


def test_a_pause_shorter_than_the_session_changes_nothing(server: ZooKeeper, announced: Make) -> None:
    one = announced(session_s=24.0)
    one.until(Joined)
    client = one.member._client
    server.pause()
    try:
        until(lambda: client.state == KazooState.SUSPENDED, "the connection is suspended", 60)
    finally:
        server.resume()
    until(lambda: client.state == KazooState.CONNECTED, "it is connected again")
    assert (one.count(Joined), one.count(Parted)) == (1, 0)


def test_no_server_at_first_harms_nobody() -> None:
    with zookeeper(is_started=False) as late:
        one = Announced(late.hosts)
        one.member.start()
        late.start()
        one.until(Joined)
        one.close()


def test_it_ends_in_time_where_nobody_answers() -> None:
    one = Announced("127.0.0.1:1")
    one.member.start()
    one.close()
    assert one.told == [Gone(True)]  # it never was there


def test_an_end_while_the_server_is_away_gives_the_session_up(server: ZooKeeper, announced: Make) -> None:
    one = announced()
    one.until(Joined)
    server.kill()
    one.close()
    assert one.told[-1] == Gone(False)


def test_what_is_made_is_protected_by_the_rules(server: ZooKeeper, reader: Any, announced: Make) -> None:
    everything = frozenset({"read", "write", "create", "delete", "admin"})
    rules = (Rule("digest", "me:secret", everything), Rule("world", "anyone", frozenset({"read"})))
    one = announced(auth=Auth((("digest", "me:secret"),), rules))
    one.until(Joined)
    (node,) = nodes(reader)
    with pytest.raises(NoAuthError):
        reader.delete(f"{PATH}/{node}")
    acls, _ = reader.get_acls(f"{PATH}/{node}")
    assert {(acl.id.scheme, acl.perms) for acl in acls} == {("digest", 31), ("world", 1)}


def test_credentials_that_are_refused_are_told_and_tried_again(
    server: ZooKeeper, announced: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "_LAST_RETRY_S", 0.2)
    one = announced(auth=Auth((("no-such-scheme", "me:secret"),), ()))
    refused = Trouble("AuthFailedError: ZooKeeper refuses the credentials")
    until(lambda: one.told.count(refused) >= 3, lambda: f"it is tried again; told: {one.told}")
    assert one.count(Joined) == 0


def test_a_path_that_is_not_ours_to_write_is_told(reader: Any, announced: Make) -> None:
    reader.ensure_path(PATH.rpartition("/")[0])
    reader.create(PATH, acl=[make_acl("digest", make_digest_acl_credential("other", "secret"), all=True)])
    one = announced()
    one.until(Trouble)
    assert "NoAuthError" in next(event.reason for event in one.told if isinstance(event, Trouble))
    assert one.count(Joined) == 0


class Lost:
    """An answer that does not come, though what was asked for was done."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def get(self, timeout: float) -> None:
        self.answer.get(timeout=timeout)
        raise ConnectionLoss


def test_leaving_after_the_answer_to_create_was_lost_removes_what_was_made(
    server: ZooKeeper, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "_FIRST_RETRY_S", 600.0)  # it leaves before it would have looked again
    monkeypatch.setattr(member, "_LAST_RETRY_S", 600.0)
    one = Announced(server.hosts)
    create = one.member._client.create_async

    def lossy(path: str, *args: Any, **more: Any) -> Any:
        return Lost(create(path, *args, **more)) if more.get("sequence") else create(path, *args, **more)

    monkeypatch.setattr(one.member._client, "create_async", lossy)
    one.member.start()
    one.until(Trouble)
    assert len(nodes(reader)) == 1
    one.member.leave()
    one.until(Gone)
    assert nodes(reader) == []
    assert one.told[-1] == Gone(True)
    one.close()


def test_leaving_before_there_was_a_session_is_told_at_once() -> None:
    one = Announced("127.0.0.1:1")
    one.member.start()
    one.member.leave()
    one.until(Gone)
    assert one.told == [Gone(True)]
    one.close()


def test_a_session_that_goes_between_two_calls_is_trouble(
    server: ZooKeeper, reader: Any, announced: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = KazooClient.client_id, iter([None])
    monkeypatch.setattr(KazooClient, "client_id", property(lambda self: next(calls, real.fget(self))))
    one = announced()
    one.until(Joined)
    assert one.told[:2] == [Connected(), Trouble("ConnectionLoss there is no session just now")]
    assert len(nodes(reader)) == 1


def test_a_fault_of_ours_is_trouble_with_its_traceback_and_no_end(
    server: ZooKeeper, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Announced(server.hosts)
    real, faults = one.member._client.ensure_path_async, iter([ZeroDivisionError("ours")])

    def broken(path: str, **more: Any) -> Any:
        for fault in faults:
            raise fault
        return real(path, **more)

    monkeypatch.setattr(one.member._client, "ensure_path_async", broken)
    one.member.start()
    one.until(Joined)
    (trouble,) = [event for event in one.told if isinstance(event, Trouble)]
    assert trouble.reason == "a fault of ours: ZeroDivisionError: ours"
    assert "in broken" in str(trouble.traceback)
    assert len(nodes(reader)) == 1
    one.close()
