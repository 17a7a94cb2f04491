"""clusters.json: where it is, what it may say, and what is said of a broken one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scheduler.client import clusters
from scheduler.client.errors import InvalidConfiguration


def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "etc").mkdir(exist_ok=True)
    (tmp_path / "home" / ".aurora").mkdir(parents=True, exist_ok=True)
    return {"AURORA_CONFIG_ROOT": str(tmp_path / "etc"), "HOME": str(tmp_path / "home")}


def test_the_users_file_goes_over_the_hosts(tmp_path: Path) -> None:
    where = environ(tmp_path)
    hosts = [{"name": "west", "zk": "a"}, {"name": "east", "zk": "b", "slave_root": "/var/lib/mesos"}]
    (tmp_path / "etc" / "clusters.json").write_text(json.dumps(hosts))
    (tmp_path / "home" / ".aurora" / "clusters.json").write_text(json.dumps({"east": {"zk": "c"}, "new": {}}))
    found = clusters.load(where)
    assert sorted(found) == ["east", "new", "west"]
    assert found["east"].keys == {"name": "east", "zk": "c"}
    assert found["west"].source == str(tmp_path / "etc" / "clusters.json")


def test_servers_of_zookeeper() -> None:
    [one, two] = clusters.parse('[{"name": "a", "zk": "x, y:1,z", "zk_port": 99}, {"name": "b"}]', "f")
    assert one.zk_hosts == "x:99,y:1,z:99"
    assert two.zk_hosts == ""


@pytest.mark.parametrize(
    "text, said",
    [
        ('[\n{"name": "a"},\n{"name" 1}]', "f line 3: is no JSON"),
        ("[1]", "f: entry 0 is no object"),
        ('"x"', "f: must be a list of objects, or an object of objects by name"),
        ('{"a": 1}', "f: must be a list of objects"),
        ('[{"zk": 1}, {"name": "b", "zk_port": "q"}]', "entry 0 has no 'name'; entry 0 has a 'zk' that is no text; "
         "entry 1 has a 'zk_port' that is no port"),
        ('[{"name": "a"}, {"name": "a"}]', "f: entry 1 is called 'a', as another one"),
        ("[" * 100_000, "f: is nested too deep"),
    ],
)  # fmt: skip
def test_broken_files(text: str, said: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        clusters.parse(text, "f")
    assert said in str(caught.value)


def test_unknown_clusters(tmp_path: Path) -> None:
    where = environ(tmp_path)
    with pytest.raises(InvalidConfiguration, match=r"Unknown cluster 'west': there is no .*etc/clusters.json and no"):
        clusters.load(where)["west"]
    (tmp_path / "etc" / "clusters.json").write_text('{"west": {}, "east": {}}')
    with pytest.raises(InvalidConfiguration, match="Unknown cluster 'wets': did you mean 'west'"):
        clusters.load(where)["wets"]
    with pytest.raises(InvalidConfiguration, match=r"Unknown cluster 'north'; .* knows east, west"):
        clusters.load(where)["north"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    where = environ(tmp_path)
    (tmp_path / "etc" / "clusters.json").mkdir()
    with pytest.raises(InvalidConfiguration, match=r"clusters.json: cannot be read: Is a directory"):
        clusters.load(where)
    (tmp_path / "etc" / "clusters.json").rmdir()
    (tmp_path / "etc" / "clusters.json").write_bytes(b"\xff")
    with pytest.raises(InvalidConfiguration, match="is not UTF-8"):
        clusters.load(where)


def test_what_a_cluster_must_say() -> None:
    [cluster] = clusters.parse('[{"name": "west"}]', "f.json")
    with pytest.raises(InvalidConfiguration, match=r"cluster 'west' in f.json has no 'slave_root', which ssh needs"):
        cluster.need("slave_root", "ssh")
