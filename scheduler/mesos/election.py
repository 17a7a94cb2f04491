"""Which of several schedulers leads: asked of ZooKeeper, below the serverset's path.

Every scheduler has a *candidate*, an ephemeral, numbered node with its host's name; the lowest number leads, and has a
*member* beside it, by which clients find it. Source of both: Aurora 0.22 (``singleton_candidate_``, ``member_``) and
the JSON of twitter.commons' ServerSet. The nodes belong to one session: they end together.

A thread of ours compares what is there with what should be, after every change and as often as the lease asks for; no
list of what was done, so that no answer that was lost matters. What is promised:

- Elected is told at most once. Its end is told as Lost, a fault of ours as Failed; after both the process must end: it
  does not lead again.
- Suspended is told as soon as the connection is lost, Resumed when it is back and the session with it.
- ``leads`` is a lease: true only while ZooKeeper cannot have given our session up, by a clock that goes on while the
  process is stopped. So a scheduler that was stopped for a minute knows, before anything else, that it may not act.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from kazoo.client import KazooState
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

from scheduler.core.events import Elected, Resumed, Suspended
from thermos.announce.auth import PERMISSIONS, Auth, Rule
from thermos.announce.member import PREFIX
from thermos.announce.zookeeper import zookeeper_client

CANDIDATE: Final = "singleton_candidate_"
#: Aurora's zk_session_timeout.
SESSION_S: Final = 15.0
_ANSWER_S: Final = 5.0
_RETRY_S: Final = 0.5
#: The lease is renewed so often within a session.
_RENEWALS: Final = 4
#: What ZooKeeper grants at most by its defaults (20 ticks of 2 s), whatever was asked for.
_LONGEST_LEASE_S: Final = 40.0


class Lost(NamedTuple):
    """We lead no more, or cannot know it: the process must end."""

    reason: str


class Failed(NamedTuple):
    """A fault of ours: there is no candidate any more, and the process must end."""

    reason: str


ElectionEvent: TypeAlias = Elected | Suspended | Resumed | Lost | Failed


class Endpoint(NamedTuple):
    """Where clients reach this scheduler."""

    host: str
    port: int
    scheme: str = "http"


def member_data(endpoint: Endpoint) -> bytes:
    """The member's JSON. Clients take the name of the one additional endpoint for the scheme, and refuse two."""
    where = {"host": endpoint.host, "port": endpoint.port}
    member = {"serviceEndpoint": where, "additionalEndpoints": {endpoint.scheme: where}, "status": "ALIVE"}
    return json.dumps(member).encode("ascii")


def member_url(data: bytes) -> str | None:
    """``https://host:port`` of a member, or None if its JSON names none."""
    try:
        member = json.loads(data)
        endpoints = member.get("additionalEndpoints") or {}
        for scheme in ("https", "http"):
            if scheme in endpoints:
                return _url(scheme, endpoints[scheme]["host"], int(endpoints[scheme]["port"]))
        where = member["serviceEndpoint"]
        return _url("http", where["host"], int(where["port"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def digest_auth(credential: str | None) -> Auth | None:
    """For ``-zk_digest_credentials``: everybody reads, whoever knows ``user:password`` does everything."""
    if not credential:
        return None
    everything = Rule("digest", credential, frozenset(PERMISSIONS))
    return Auth((("digest", credential),), (everything, Rule("world", "anyone", frozenset({"read"}))))


class Election:
    """One candidate. *hosts* may end with a chroot (``zk1:2181,zk2:2181/chroot``); *path* is the serverset's.

    *tell* and *say* are called from a thread of ours; they must not block.
    """

    def __init__(
        self,
        hosts: str,
        path: str,
        endpoint: Endpoint,
        tell: Callable[[ElectionEvent], object],
        *,
        auth: Auth | None = None,
        session_s: float = SESSION_S,
        say: Callable[[str], object] = lambda text: None,
        mono_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers, _, chroot = hosts.partition("/")
        # Within the path, and not given to the client: it would have to be there already.
        self._path = "/" + "/".join(part for part in (chroot.strip("/"), path.strip("/")) if part)
        self._endpoint = endpoint
        self._tell = tell
        self._say = say
        self._mono_s = mono_s
        self._lease_s = min(session_s, _LONGEST_LEASE_S)
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._last_said: str | None = None

        self._session: int | None = None  # under which we were elected
        self._is_suspended = False
        self._is_lost = False
        self._lease_until_s = float("-inf")
        self._leader: tuple[str, str | None] | None = None  # member's node, its URL

        self._client = zookeeper_client(self._servers, session_s, auth)
        self._client.add_listener(self._changed)
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)

    # -- from the scheduler --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Be a candidate as soon as that is possible."""
        self._client.start_async()
        self._thread.start()

    def leads(self) -> bool:
        """Whether it is sure at this moment that we lead and nobody else does."""
        return (
            self._session is not None
            and not self._is_suspended
            and not self._is_lost
            and self._mono_s() < self._lease_until_s
        )

    def leader_url(self) -> str | None:
        """Where the other one that leads is reached; None: nobody is known to lead, or we do."""
        leader = self._leader
        return None if leader is None or self._session is not None else leader[1]

    def close(self, timeout_s: float = 10.0) -> None:
        """Be a candidate no more; where ZooKeeper can be reached, the next one leads at once."""
        self._closing.set()
        self._wake.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    # -- its thread ----------------------------------------------------------------------------------------------------

    def _changed(self, state: str) -> None:
        """On kazoo's thread."""
        self._wake.put(None)

    def _watched(self, event: object) -> None:
        """On kazoo's thread."""
        self._wake.put(None)

    def _run(self) -> None:
        try:
            self._stand()
        except Exception as error:  # noqa: BLE001 - the thread's top: nobody would know any more whether we lead
            self._say(traceback.format_exc())
            self._lose(Failed(f"the election failed: {type(error).__name__}: {error}"))
        self._end()

    def _stand(self) -> None:
        wait_s: float | None = None
        while not (self._closing.is_set() or self._is_lost):
            try:
                self._wake.get(timeout=wait_s)
            except queue.Empty:
                pass
            if self._closing.is_set():
                break
            wait_s = self._step()

    def _step(self) -> float | None:
        """Look once; gives when to look again at the latest."""
        state = self._client.state
        if self._session is not None:
            if state == KazooState.LOST:
                self._lose(Lost("the session with ZooKeeper expired"))
                return None
            if state == KazooState.SUSPENDED and not self._is_suspended:
                self._is_suspended = True
                self._tell(Suspended())
        if not self._client.connected:
            return None  # its return wakes us
        try:
            self._look()
        except (KazooException, KazooTimeoutError) as error:
            self._said(f"election at {self._path}: {type(error).__name__} {error}".strip())
            return _RETRY_S
        self._last_said = None
        return self._lease_s / _RENEWALS

    def _look(self) -> None:
        asked_at_s = self._mono_s()
        session: int = self._client.client_id[0]
        self._client.ensure_path_async(self._path).get(timeout=_ANSWER_S)
        children = self._client.get_children_async(self._path, watch=self._watched).get(timeout=_ANSWER_S)
        candidates = sorted(name for name in children if name.startswith(CANDIDATE))
        mine = self._of_session(candidates, session)
        if self._session is None and not mine:
            self._client.create_async(
                f"{self._path}/{CANDIDATE}", self._endpoint.host.encode(), ephemeral=True, sequence=True
            ).get(timeout=_ANSWER_S)
            self._wake.put(None)  # look again, with it
            return
        for extra in mine[1:]:
            self._delete(extra)
        leads = bool(mine) and candidates[0] == mine[0]
        if self._session is not None and not leads:
            was_expired = session != self._session
            self._lose(
                Lost("the session with ZooKeeper expired" if was_expired else "our candidate in ZooKeeper was removed")
            )
            return
        if leads and session != self._client.client_id[0]:
            self._wake.put(None)  # another session by now: what was read is of the one before
            return
        if leads:
            self._lease_until_s = asked_at_s + self._lease_s
            self._lead(session, [name for name in children if name.startswith(PREFIX)])
        else:
            self._follow(sorted(name for name in children if name.startswith(PREFIX)))

    def _lead(self, session: int, members: list[str]) -> None:
        if self._session is None:
            self._session = session
            self._tell(Elected())
        elif self._is_suspended:
            self._is_suspended = False
            self._tell(Resumed())
        ours = self._of_session(sorted(members), session)
        if not ours:
            self._client.create_async(
                f"{self._path}/{PREFIX}", member_data(self._endpoint), ephemeral=True, sequence=True
            ).get(timeout=_ANSWER_S)
        for extra in ours[1:]:
            self._delete(extra)

    def _follow(self, members: list[str]) -> None:
        if not members:
            self._leader = None
        elif self._leader is None or self._leader[0] != members[0]:
            try:
                data = self._client.get_async(f"{self._path}/{members[0]}").get(timeout=_ANSWER_S)[0]
            except NoNodeError:
                self._wake.put(None)  # gone in this very moment: look again
                return
            self._leader = (members[0], member_url(data))

    def _of_session(self, names: list[str], session: int) -> list[str]:
        """Those that belong to our session, oldest first."""
        found = []
        for name in names:
            stat: Any = self._client.exists_async(f"{self._path}/{name}").get(timeout=_ANSWER_S)
            if stat is not None and stat.ephemeralOwner == session:
                found.append(name)
        return found

    def _delete(self, name: str) -> None:
        try:
            self._client.delete_async(f"{self._path}/{name}").get(timeout=_ANSWER_S)
        except NoNodeError:
            pass

    def _lose(self, end: Lost | Failed) -> None:
        self._is_lost = True
        self._lease_until_s = float("-inf")
        self._tell(end)

    def _said(self, text: str) -> None:
        if text != self._last_said:
            self._last_said = text
            self._say(text)

    def _end(self) -> None:
        self._lease_until_s = float("-inf")
        with contextlib.suppress(KazooException):  # cut off: it does not come to an end in time
            self._client.stop()  # the session, and with it our nodes
            self._client.close()
