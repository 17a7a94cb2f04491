"""``clusters.json``: which clusters there are, and how each is reached.

A list of objects, or an object of objects by name. ``$AURORA_CONFIG_ROOT/clusters.json`` (default: ``/etc/aurora``)
comes first, then ``~/.aurora/clusters.json``, whose clusters replace those of the same name. Each command asks for the
keys it needs. Source: ``aurora/common/{cluster,clusters,cluster_option}.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from scheduler.client.errors import InvalidConfiguration
from thermos.definition import nearest

#: Where the file of the host lies, unless ``AURORA_CONFIG_ROOT`` says otherwise.
DEFAULT_ROOT: Final = "/etc/aurora"
#: ZooKeeper's port, where the cluster has no ``zk_port``.
ZK_PORT: Final = 2181
#: Where image digests are asked for, where the cluster has no ``docker_registry``.
DOCKER_REGISTRY: Final = "https://registry-1.docker.io"

_TEXTS: Final = frozenset({
    "name", "zk", "scheduler_zk_path", "scheduler_uri", "proxy_url", "auth_mechanism", "slave_root",
    "slave_run_directory", "docker_registry",
})  # fmt: skip


@dataclass(frozen=True)
class Cluster:
    """One cluster; *source* is the file that says so."""

    name: str
    keys: Mapping[str, Any]
    source: str

    def get(self, key: str, default: str | None = None) -> str | None:
        """The text under *key*, or *default*."""
        value = self.keys.get(key)
        return default if value is None else str(value)

    def need(self, key: str, what_for: str) -> str:
        """The text under *key*. Raises InvalidConfiguration, naming the file, where there is none."""
        value = self.get(key)
        if not value:
            raise InvalidConfiguration(
                f"cluster '{self.name}' in {self.source} has no '{key}', which {what_for} needs; add it there"
            )
        return value

    @property
    def zk_hosts(self) -> str:
        """ZooKeeper's servers as ``host:port,...``; empty where the cluster names none."""
        port = int(self.keys.get("zk_port", ZK_PORT))
        hosts = [host.strip() for host in str(self.keys.get("zk") or "").split(",")]
        return ",".join(host if _has_port(host) else f"{host}:{port}" for host in hosts if host)


class Clusters(Mapping[str, Cluster]):
    """All clusters, by name; a name that is none is explained."""

    def __init__(self, found: Mapping[str, Cluster], read: tuple[str, ...], looked: tuple[str, ...]) -> None:
        self._found = found
        self._read = read
        self._looked = looked

    def __getitem__(self, name: str) -> Cluster:
        """Raises InvalidConfiguration (and no KeyError) for a name that is none."""
        known = self._found.get(name)
        if known is None:
            raise InvalidConfiguration(self._unknown(name))
        return known

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def _unknown(self, name: str) -> str:
        if not self._read:
            return f"Unknown cluster '{name}': there is no {' and no '.join(self._looked)}; write one of them"
        close = nearest(name, self._found)
        if close is not None:
            return f"Unknown cluster '{name}': did you mean '{close}'?"
        known = ", ".join(sorted(self._found)) or "none"
        return f"Unknown cluster '{name}'; {' and '.join(self._read)} knows {known}"


def load(environ: Mapping[str, str]) -> Clusters:
    """The clusters of this host and this user; files that are not there are passed over.

    Raises:
        InvalidConfiguration: a file that cannot be read or understood; names it, and the line.
    """
    looked = [f"{environ.get('AURORA_CONFIG_ROOT') or DEFAULT_ROOT}/clusters.json"]
    if environ.get("HOME"):
        looked.append(f"{environ['HOME']}/.aurora/clusters.json")
    found: dict[str, Cluster] = {}
    read = []
    for path in looked:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            continue
        except UnicodeDecodeError as error:
            raise InvalidConfiguration(f"{path}: is not UTF-8: {error}") from None
        except OSError as error:
            raise InvalidConfiguration(f"{path}: cannot be read: {error.strerror}") from None
        read.append(path)
        found.update({cluster.name: cluster for cluster in parse(text, path)})
    return Clusters(found, tuple(read), tuple(looked))


def parse(text: str, source: str) -> list[Cluster]:
    """The clusters that *text* defines. Raises InvalidConfiguration with all of its faults."""
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidConfiguration(f"{source} line {error.lineno}: is no JSON: {error.msg}") from None
    except RecursionError:
        raise InvalidConfiguration(f"{source}: is nested too deep") from None
    if isinstance(raw, dict):
        named = all(isinstance(value, dict) for value in raw.values())
        entries = [(f"'{key}'", {"name": key, **value}) for key, value in raw.items()] if named else None
    else:
        entries = [(f"entry {number}", entry) for number, entry in enumerate(raw)] if isinstance(raw, list) else None
    if entries is None:
        raise InvalidConfiguration(f"{source}: must be a list of objects, or an object of objects by name")
    faults: list[str] = []
    found: dict[str, Cluster] = {}
    for where, entry in entries:
        wrong = list(_faults(entry))
        faults += [f"{where} {fault}" for fault in wrong]
        if not wrong:
            if entry["name"] in found:
                faults.append(f"{where} is called '{entry['name']}', as another one")
            found[entry["name"]] = Cluster(entry["name"], entry, source)
    if faults:
        raise InvalidConfiguration(f"{source}: {'; '.join(faults)}")
    return list(found.values())


def _faults(entry: object) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield "is no object"
        return
    if not entry.get("name"):
        yield "has no 'name'"
    for key in sorted(_TEXTS & entry.keys()):
        if entry[key] is not None and not isinstance(entry[key], str):
            yield f"has a '{key}' that is no text"
    port = entry.get("zk_port", ZK_PORT)
    if isinstance(port, bool) or not str(port).isdecimal() or not 0 < int(port) < 65536:
        yield "has a 'zk_port' that is no port"


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdecimal() and ":" in host and (not host.startswith("[") or "]:" in host)
