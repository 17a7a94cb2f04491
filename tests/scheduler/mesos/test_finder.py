"""Who leads: from an address, a list, and a real ZooKeeper."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl

from scheduler.mesos.finder import (
    ListFinder,
    MasterAddressError,
    NoLeader,
    ZooKeeperFinder,
    ZooKeeperMasters,
    finder_of,
    master_address,
    parse_masters,
)
from scheduler.mesos.session import Address
from tests.support.box import SOON_S, until
from tests.support.zookeeper import ZooKeeper, zookeeper

LONG_S = 30.0


def info(ip: str, port: int = 5050, hostname: str = "m") -> bytes:
    """As a master of 1.11 writes it."""
    return json.dumps(
        {
            "address": {"hostname": hostname, "ip": ip, "port": port},
            "hostname": hostname,
            "id": "x",
            "ip": 16777343,
            "pid": f"master@{ip}:{port}",
            "port": port,
            "version": "1.11.0",
        }
    ).encode()


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, found",
    [
        ("m1", (Address("m1", 5050),)),
        ("m1:5051", (Address("m1", 5051),)),
        ("m1:1,m2, [::1]:3", (Address("m1", 1), Address("m2", 5050), Address("::1", 3))),
        ("zk://z1:2181/mesos", ZooKeeperMasters("z1:2181", "/mesos", None)),
        ("zk://u:p@z1:2181,z2:2181/a/mesos/", ZooKeeperMasters("z1:2181,z2:2181", "/a/mesos", "u:p")),
        ("zk://u:p@x@z1/mesos", ZooKeeperMasters("z1", "/mesos", "u:p@x")),
    ],
)
def test_what_names_masters(text: str, found: object) -> None:
    assert parse_masters(text) == found


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "no address"),
        (" , ", "no address"),
        ("m1:0", "no address of a master"),
        ("m1:99999", "no address of a master"),
        ("::1", "no address of a master"),
        ("m1/mesos", "no address of a master"),
        ("http://m1:5050", "zk://"),
        ("zk://z1:2181", "no path"),
        ("zk://z1:2181/", "no path"),
        ("zk:///mesos", "names no ZooKeeper"),
        ("zk://z1,,z2/mesos", "names no ZooKeeper"),
        ("zk://user@z1/mesos", "without a password"),
    ],
)
def test_what_names_none(text: str, why: str) -> None:
    with pytest.raises(MasterAddressError, match=why):
        parse_masters(text)


def test_a_password_is_not_said() -> None:
    with pytest.raises(MasterAddressError) as caught:
        parse_masters("zk://user:secret@z1:2181")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "data, by_hostname, found",
    [
        (info("10.0.0.1"), False, Address("10.0.0.1", 5050)),
        (info("10.0.0.1"), True, Address("m", 5050)),
        (b'{"hostname": "m", "port": 5}', False, Address("m", 5)),
        (b'{"address": {"ip": "::1", "port": 5}}', True, Address("::1", 5)),
        (b'{"hostname": "m"}', False, None),
        (b'{"address": 3, "port": 5}', False, None),
        (b'{"hostname": "m", "port": "5"}', False, None),
        (b'{"hostname": "m", "port": 0}', False, None),
        (b"[]", False, None),
        (b"\xff", False, None),
        (b"[" * 100_000, False, None),
    ],
)
def test_what_a_master_writes(data: bytes, by_hostname: bool, found: Address | None) -> None:
    assert master_address(data, by_hostname) == found


def test_a_list_is_tried_in_turn() -> None:
    finder = finder_of("a,b")
    assert isinstance(finder, ListFinder)
    assert [finder.find(is_again, 0.0).host for is_again in (False, False, True, True, False)] == list("aabaa")


# -- ZooKeeper ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[ZooKeeper]:
    with zookeeper() as made:
        yield made


@contextlib.contextmanager
def client(hosts: str) -> Iterator[Any]:
    """One that writes what masters would."""
    made = KazooClient(hosts, timeout=LONG_S)
    try:
        made.start(timeout=SOON_S)
        yield made
    finally:
        made.stop()
        made.close()


@pytest.fixture
def masters(server: ZooKeeper) -> Iterator[Any]:
    with client(server.hosts) as made:
        yield made


Find = Callable[..., tuple[ZooKeeperFinder, list[Address]]]


@pytest.fixture
def find(server: ZooKeeper) -> Iterator[Find]:
    """Makes finders that are started, and the list of what they tell."""
    made = []

    def find(path: str = "/mesos", credential: str | None = None, hosts: str | None = None) -> Any:
        told: list[Address] = []
        finder = ZooKeeperFinder(ZooKeeperMasters(hosts or server.hosts, path, credential), session_s=LONG_S)
        finder.start(told.append)
        made.append(finder)
        return finder, told

    yield find
    for finder in made:
        finder.close()


@pytest.mark.process
def test_the_lowest_number_leads_and_changes_are_told(find: Find, masters: Any) -> None:
    masters.create("/mesos/log_replicas", b"", makepath=True)
    first = masters.create("/mesos/json.info_", info("10.0.0.1"), ephemeral=True, sequence=True)
    masters.create("/mesos/json.info_", info("10.0.0.2"), ephemeral=True, sequence=True)
    finder, told = find()
    assert finder.find(False, SOON_S) == Address("10.0.0.1", 5050)
    masters.delete(first)
    until(lambda: told == [Address("10.0.0.1", 5050), Address("10.0.0.2", 5050)], lambda: f"the change; told {told}")
    assert finder.find(True, SOON_S) == Address("10.0.0.2", 5050)


@pytest.mark.process
def test_a_path_that_is_not_there_yet(find: Find, masters: Any) -> None:
    finder, told = find("/not/there")
    with pytest.raises(NoLeader):
        finder.find(False, 0.0)

    def why() -> str:
        try:
            finder.find(False, 0.0)  # it looks by itself
        except NoLeader as error:
            return str(error)
        return ""

    until(lambda: why() == "no master has ever been at /not/there in ZooKeeper", why)
    masters.create("/not/there", b"", makepath=True)
    until(lambda: why() == "no master is at /not/there in ZooKeeper", why)
    masters.create("/not/there/json.info_", b"?", sequence=True)
    until(lambda: why().endswith("holds no MasterInfo with an address"), why)
    masters.delete("/not/there/json.info_0000000000")
    masters.create("/not/there/json.info_", info("10.0.0.3"), sequence=True)
    assert finder.find(False, SOON_S) == Address("10.0.0.3", 5050)
    assert told == [Address("10.0.0.3", 5050)]


@pytest.mark.process
def test_zookeeper_is_away_at_first_and_later(find: Find) -> None:
    with zookeeper(is_started=False) as late:
        finder, told = find(hosts=late.hosts)
        with pytest.raises(NoLeader, match="has not answered yet"):
            finder.find(False, 0.0)
        late.start()
        with client(late.hosts) as masters:
            masters.create("/mesos/json.info_", info("10.0.0.1"), sequence=True, makepath=True)
            assert finder.find(False, SOON_S) == Address("10.0.0.1", 5050)
        late.kill()
        assert finder.find(True, SOON_S) == Address("10.0.0.1", 5050)  # the last one known
        late.start()
        with client(late.hosts) as masters:
            masters.create("/mesos/json.info_", info("10.0.0.2"), sequence=True)
            masters.delete("/mesos/json.info_0000000000")
            until(lambda: told[-1] == Address("10.0.0.2", 5050), "the change is told")


@pytest.mark.process
def test_a_password(find: Find, masters: Any) -> None:
    rules = [make_digest_acl("mesos", "secret", all=True)]
    masters.add_auth("digest", "mesos:secret")
    masters.create("/locked", b"", acl=rules)
    masters.create("/locked/json.info_", info("10.0.0.1"), sequence=True, acl=rules)
    finder, _ = find("/locked", "mesos:secret")
    assert finder.find(False, SOON_S) == Address("10.0.0.1", 5050)
    stranger, _ = find("/locked")

    def why() -> str:
        try:
            stranger.find(False, 0.0)
        except NoLeader as error:
            return str(error)
        return ""

    until(lambda: "NoAuthError" in why(), why)


@pytest.mark.process
def test_a_closed_finder_lets_go(find: Find) -> None:
    finder, _ = find()
    finder.close()
    with pytest.raises(NoLeader):
        finder.find(False, SOON_S)


@pytest.mark.process
def test_a_finder_that_fails_is_no_answer_for_ever(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(self: ZooKeeperFinder) -> None:
        raise AssertionError("a fault of ours")

    monkeypatch.setattr(ZooKeeperFinder, "_look", look)
    finder, told = find()
    with pytest.raises(RuntimeError, match="a fault of ours"):
        finder.find(False, SOON_S)
    assert told == []
