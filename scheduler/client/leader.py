"""Where the leading scheduler is: as the cluster's ``scheduler_uri`` says, or as it announced itself in ZooKeeper.

The leader keeps one ``member_`` node below ``scheduler_zk_path``, with JSON: ``serviceEndpoint``,
``additionalEndpoints`` by name and ``status``. Source: ``aurora/client/api/scheduler_client.py`` and
``twitter/common/zookeeper/serverset``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, Final

from scheduler.client.clusters import Cluster
from scheduler.client.errors import ClientError, InvalidConfiguration

#: A node of a server set begins with it (twitter.commons zookeeper: Group.MEMBER_PREFIX).
MEMBER: Final = "member_"
#: As long as ZooKeeper may take to answer (``aurora/client/api/scheduler_client.py``).
ZOOKEEPER_TIMEOUT_S: Final = 10.0
#: Endpoints under which the scheduler's HTTP port is announced, the better one first.
_SCHEMES: Final = ("https", "http")

#: Asks ZooKeeper's *hosts* for what lies at the members below *path*: (name of the node, its bytes).
Members = Callable[[str, str], list[tuple[str, bytes]]]


class NoLeader(ClientError):
    """Nobody leads, or nobody can be asked who does. Nothing was sent to any scheduler, so it is safe to try again."""


def find(cluster: Cluster, members: Members | None = None) -> str:
    """The URL of *cluster*'s leading scheduler, ending with ``/``; *members* asks ZooKeeper.

    Raises:
        NoLeader: there is none at the moment.
        InvalidConfiguration: the cluster does not say how it is found.
    """
    direct = cluster.get("scheduler_uri")
    if direct:
        return with_slash(direct, cluster)
    if not cluster.zk_hosts:
        raise InvalidConfiguration(
            f"cluster '{cluster.name}' in {cluster.source} does not say where its scheduler is: "
            "give it 'scheduler_uri', or 'zk' and 'scheduler_zk_path'"
        )
    path = cluster.need("scheduler_zk_path", "finding the leader in ZooKeeper")
    found = (members or in_zookeeper)(cluster.zk_hosts, path)
    where = f"below {path} in ZooKeeper at {cluster.zk_hosts}"
    for name, data in sorted(found, key=lambda member: member[0].rpartition("_")[2]):
        url = _url(data)
        if url is None:
            raise NoLeader(f"{name} {where} names no endpoint 'https' or 'http'")
        return url
    raise NoLeader(f"no scheduler leads: there is no member {where}")


def with_slash(url: str, cluster: Cluster) -> str:
    """*url* as the base of others. Raises InvalidConfiguration where it is no URL of HTTP."""
    if not url.startswith(("http://", "https://")):
        raise InvalidConfiguration(
            f"cluster '{cluster.name}' in {cluster.source}: '{url}' is no URL, which begins with http:// or https://"
        )
    return url if url.endswith("/") else f"{url}/"


def _url(data: bytes) -> str | None:
    try:
        member: Any = json.loads(data)
        endpoints = member.get("additionalEndpoints") or {}
        for scheme in _SCHEMES:
            endpoint = endpoints.get(scheme)
            if endpoint is not None:
                host = str(endpoint["host"])
                shown = f"[{host}]" if ":" in host else host
                return f"{scheme}://{shown}:{int(endpoint['port'])}/"
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return None


def in_zookeeper(hosts: str, path: str) -> list[tuple[str, bytes]]:
    """The members below *path*. Raises NoLeader where ZooKeeper does not answer in time."""
    from kazoo.client import KazooClient
    from kazoo.exceptions import KazooException, NoNodeError
    from kazoo.handlers.threading import KazooTimeoutError
    from kazoo.retry import KazooRetry

    # kazoo speaks of every connection that is refused; what it comes to is said in our own words.
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    retry = KazooRetry(max_tries=-1, delay=0.1, max_delay=1.0)
    client = KazooClient(hosts, timeout=ZOOKEEPER_TIMEOUT_S, connection_retry=retry, read_only=True)
    try:
        client.start(timeout=ZOOKEEPER_TIMEOUT_S)
        found = []
        for name in client.get_children_async(path).get(timeout=ZOOKEEPER_TIMEOUT_S):
            if name.startswith(MEMBER):
                try:
                    data, _ = client.get_async(f"{path}/{name}").get(timeout=ZOOKEEPER_TIMEOUT_S)
                except NoNodeError:  # it went between the two questions
                    continue
                found.append((name, data))
        return found
    except NoNodeError:
        return []
    except KazooTimeoutError:
        raise NoLeader(f"ZooKeeper at {hosts} did not answer within {ZOOKEEPER_TIMEOUT_S:g} s") from None
    except (KazooException, OSError) as error:
        raise NoLeader(f"ZooKeeper at {hosts}: {error or type(error).__name__}") from None
    finally:
        client.stop()
        client.close()
