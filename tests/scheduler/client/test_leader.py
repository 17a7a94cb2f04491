"""The leader as it announces itself in a real ZooKeeper."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kazoo.client import KazooClient

from scheduler.client import leader
from scheduler.client.clusters import Cluster
from scheduler.client.errors import InvalidConfiguration
from tests.support.aurora_client import Client, by_method, server
from tests.support.zookeeper import ZooKeeper, free_port, zookeeper
from thermos.formats import aurora_api as api

pytestmark = pytest.mark.process

PATH = "/aurora/scheduler"


def cluster(**keys: Any) -> Cluster:
    return Cluster("west", {"scheduler_zk_path": PATH, **keys}, "clusters.json")


def member(**endpoints: Any) -> bytes:
    found = {name: {"host": host, "port": port} for name, (host, port) in endpoints.items()}
    first = {"host": "other.example", "port": 1}
    return json.dumps({"serviceEndpoint": first, "additionalEndpoints": found, "status": "ALIVE"}).encode()


@pytest.fixture(scope="module")
def servers() -> Iterator[ZooKeeper]:
    with zookeeper() as running:
        yield running


@pytest.fixture
def zk(servers: ZooKeeper) -> Iterator[KazooClient]:
    made = KazooClient(servers.hosts)
    made.start(timeout=20)
    made.ensure_path(PATH)
    yield made
    made.delete("/aurora", recursive=True)
    made.stop()
    made.close()


def test_https_is_preferred(servers: ZooKeeper, zk: KazooClient) -> None:
    zk.create(f"{PATH}/member_", member(http=("a.example", 8081)), sequence=True)
    west = cluster(zk="127.0.0.1", zk_port=servers.port)
    assert leader.find(west) == "http://a.example:8081/"
    zk.set(f"{PATH}/{zk.get_children(PATH)[0]}", member(http=("a.example", 8081), https=("::1", 8443)))
    assert leader.find(west) == "https://[::1]:8443/"


def test_only_members_count_and_the_first_of_them(servers: ZooKeeper, zk: KazooClient) -> None:
    zk.create(f"{PATH}/singleton_candidate_0000000000", b"10.0.0.1")
    zk.create(f"{PATH}/member_0000000012", member(http=("second", 2)))
    zk.create(f"{PATH}/member_0000000009", member(http=("first", 1)))
    assert leader.find(cluster(zk=servers.hosts)) == "http://first:1/"


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"additionalEndpoints": {"http": {"host": "a"}}}', member(ftp=("a", 1))]
)
def test_a_member_that_says_nothing_useful(servers: ZooKeeper, zk: KazooClient, data: bytes) -> None:
    zk.create(f"{PATH}/member_0000000001", data)
    with pytest.raises(leader.NoLeader, match="member_0000000001 below /aurora/scheduler"):
        leader.find(cluster(zk=servers.hosts))


def test_nobody_leads(servers: ZooKeeper, zk: KazooClient) -> None:
    with pytest.raises(leader.NoLeader, match="no scheduler leads"):
        leader.find(cluster(zk=servers.hosts))
    with pytest.raises(leader.NoLeader, match="no scheduler leads"):
        leader.find(cluster(zk=servers.hosts, scheduler_zk_path="/not/there"))


def test_no_zookeeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "ZOOKEEPER_TIMEOUT_S", 0.3)
    with pytest.raises(leader.NoLeader, match=r"ZooKeeper at 127.0.0.1:\d+ did not answer within 0.3 s"):
        leader.find(cluster(zk=f"127.0.0.1:{free_port()}"))


def test_a_command_by_way_of_zookeeper(client: Client, servers: ZooKeeper, zk: KazooClient) -> None:
    quota = api.Result(get_quota_result=api.GetQuotaResult(api.ResourceAggregate(())))
    with server(by_method({"getQuota": quota})) as scheduler:
        host, port = scheduler.url.removeprefix("http://").split(":")
        zk.create(f"{PATH}/member_", member(http=(host, int(port))), sequence=True, ephemeral=True)
        client.cluster(zk=servers.hosts, scheduler_zk_path=PATH)
        assert client.aurora("quota", "get", "west/www").code == 0
        found = client.admin("get_scheduler", "west")
        assert found.out == f"Found leading scheduler at: {scheduler.url}/\n"


def test_no_leader_ends_after_five_attempts(client: Client, servers: ZooKeeper, zk: KazooClient) -> None:
    client.cluster(zk=servers.hosts, scheduler_zk_path=PATH)
    done = client.aurora("job", "killall", "west/a/b/c", "--no-batching")
    assert (done.code, client.slept_s) == (9, [1, 1, 1, 1])
    assert "no scheduler leads" in done.err


@pytest.mark.parametrize(
    "keys, said",
    [
        ({}, "does not say where its scheduler is"),
        ({"zk": "a", "scheduler_zk_path": ""}, "has no 'scheduler_zk_path', which finding the leader"),
        ({"scheduler_uri": "zk1:8081"}, "'zk1:8081' is no URL"),
    ],
)
def test_a_cluster_that_does_not_say_how(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfiguration, match=said):
        leader.find(cluster(**keys))


def test_scheduler_uri() -> None:
    assert leader.find(cluster(scheduler_uri="https://proxy.example/aurora")) == "https://proxy.example/aurora/"
