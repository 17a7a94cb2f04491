"""A member on an ensemble of three real servers, of which one is cut off from the others: one node in the end."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

from tests.support.box import until
from tests.support.zookeeper import Ensemble, ZooKeeper, ensemble
from thermos.announce.member import Gone, Joined, Member, MemberEvent, Parted

PATH = "/aurora/www/prod/web"
#: Elections on a busy machine take a while.
ELECTED_S = 60.0


@pytest.fixture
def servers() -> Iterator[Ensemble]:
    with ensemble() as made:
        yield made


class Announced:
    """A member, and what it told."""

    def __init__(self, hosts: str, session_s: float) -> None:
        self.told: list[MemberEvent] = []
        self.member = Member(hosts, PATH, b"data", self.told.append, None, session_s)
        self.member.start()
        until(lambda: self.count(Joined), "it joins", ELECTED_S)

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.told)

    def close(self) -> None:
        self.member.close()
        assert self.member.wait(30)
        assert self.told[-1] == Gone(True)


def seen(server: ZooKeeper) -> list[tuple[str, int]] | None:
    """Nodes with their sessions, as *server* has them once it is up to date; None if it does not say."""
    client = KazooClient(server.hosts, timeout=10)
    try:
        client.start(timeout=10)
        client.sync(PATH)
        return [(name, client.exists(f"{PATH}/{name}").ephemeralOwner) for name in sorted(client.get_children(PATH))]
    except (KazooException, client.handler.timeout_exception, AttributeError):
        return None
    finally:
        client.stop()
        client.close()


def until_seen(servers: list[ZooKeeper], is_so: Callable[[Any], bool], what: str) -> None:
    for server in servers:
        until(lambda server=server: is_so(seen(server)), lambda server=server: f"{what}: {seen(server)}", ELECTED_S)  # type: ignore[misc]


def one_of(announced: Announced) -> Callable[[Any], bool]:
    """Whether what a server has is one node, that of the member's own session."""
    client = announced.member._client
    return lambda nodes: nodes is not None and [session for _, session in nodes] == list(client.client_id or ())[:1]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", ["follower", "leader"])
def test_the_server_of_a_member_is_cut_off(servers: Ensemble, mode: str) -> None:
    lonely = servers.of_mode(mode)
    others = [server for server in servers.servers if server is not lonely]
    one = Announced(servers.hosts, session_s=24.0)
    client = one.member._client

    def server_of() -> str:
        with contextlib.suppress(OSError, AttributeError):  # it is between two connections
            if client.connected:
                host, port = client._connection._socket.getpeername()
                return f"{host}:{port}"
        return ""

    def is_at_lonely() -> bool:
        if server_of() not in ("", lonely.hosts):
            with contextlib.suppress(OSError):
                client._connection._socket.shutdown(socket.SHUT_RDWR)  # it goes on to the next
        return server_of() == lonely.hosts

    until(is_at_lonely, "it is connected to that server", ELECTED_S)
    with servers.cut_off(lonely):
        until(lambda: server_of() not in ("", lonely.hosts), "it goes to another server", ELECTED_S)
        until_seen(others, one_of(one), "the others have its node")
    until_seen(servers.servers, one_of(one), "all have one node")
    assert one.count(Parted) == one.count(Joined) - 1
    # One that is paused says nothing: to notice that, and to try it once more, can take the whole session.
    assert mode == "leader" or one.count(Joined) == 1
    one.close()
    assert seen(others[0]) == []


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", ["follower", "leader"])
def test_a_member_is_cut_off_together_with_its_server(servers: Ensemble, mode: str) -> None:
    lonely = servers.of_mode(mode)
    others = [server for server in servers.servers if server is not lonely]
    one = Announced(lonely.hosts, session_s=6.0)
    with servers.cut_off(lonely):
        until_seen(others, lambda nodes: nodes == [], "the others end its session, and its node")
    until(lambda: one.count(Joined) >= 2, lambda: f"it joins again; told: {one.told}", ELECTED_S)
    until_seen(servers.servers, one_of(one), "all have one node")
    assert one.count(Parted) == one.count(Joined) - 1
    one.close()
    assert seen(others[0]) == []
