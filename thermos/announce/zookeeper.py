"""A client of ZooKeeper's that comes back by itself, soon and for ever: kazoo, with bounds where it has none."""

from __future__ import annotations

from typing import Any, Final

from kazoo.client import KazooClient
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.retry import KazooRetry
from kazoo.security import ACL, make_acl, make_digest_acl_credential

from thermos.announce.auth import Auth

#: kazoo's own reconnecting; its default would wait for up to an hour.
_MAX_RECONNECT_S: Final = 2.0
#: So often a server may be tried within one session. Where the ensemble is one name, kazoo alone waits a whole session
#: for one that takes the connection and says nothing, as a ZooKeeper that is just starting can (10 of 100 starts).
_TRIES_PER_SESSION: Final = 3


def zookeeper_client(hosts: str, session_s: float, auth: Auth | None = None) -> KazooClient:
    """A client that is not started yet. What *auth* says of access holds for all that it makes."""
    return KazooClient(
        hosts=hosts,
        timeout=session_s,
        handler=_Handler(session_s),
        connection_retry=KazooRetry(max_tries=-1, delay=0.1, max_delay=_MAX_RECONNECT_S),
        auth_data=[(scheme, credential) for scheme, credential in auth.credentials] if auth else None,
        default_acl=_acl(auth),
    )


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo ships no types
    """kazoo's threads, with a bound of ours on each of its waits for a server.

    A third of a session is what kazoo waits for between two pings anyway: what lives is asked no more often.
    """

    def __init__(self, session_s: float) -> None:
        super().__init__()
        self._longest_s = session_s / _TRIES_PER_SESSION

    def create_connection(self, *args: Any, timeout: float, **more: Any) -> Any:
        return super().create_connection(*args, timeout=min(timeout, self._longest_s), **more)

    def select(self, reading: Any, writing: Any, failed: Any, timeout: float | None = None) -> Any:
        bound_s = self._longest_s if timeout is None else min(timeout, self._longest_s)
        return super().select(reading, writing, failed, bound_s)


def _acl(auth: Auth | None) -> list[ACL] | None:
    if auth is None or not auth.rules:
        return None
    result = []
    for rule in auth.rules:
        credential = rule.credential
        if rule.scheme == "digest":
            credential = make_digest_acl_credential(*credential.split(":", 1))
        result.append(make_acl(rule.scheme, credential, **dict.fromkeys(rule.permissions, True)))
    return result
