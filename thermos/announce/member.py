"""One member of a server set, kept there for as long as it is wanted, and never twice.

A thread of its own looks at what is there and at what should be: after every change of the connection, after the
node went, and a while after something failed. Of the nodes that belong to our session one is kept and others are
removed, since a node may have been made whose answer was lost. SUSPENDED changes nothing: the session may live, and
the node with it. kazoo makes no ephemeral node again after a session expired, so we do.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from kazoo.client import KazooState
from kazoo.exceptions import ConnectionLoss, KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KeeperState

from thermos.announce.auth import Auth
from thermos.announce.zookeeper import zookeeper_client

#: Name of a member without its number (twitter.commons zookeeper: Group.MEMBER_PREFIX).
PREFIX: Final = "member_"
#: As long as ZooKeeper keeps our node without hearing from us.
SESSION_S: Final = 10.0
#: No answer takes longer; without one the connection is about to be given up anyway.
_ANSWER_S: Final = 5.0
#: After something failed, the next look comes after so long, then twice as long, up to the original's 15 s.
_FIRST_RETRY_S: Final = 0.2
_LAST_RETRY_S: Final = 15.0


class Connected(NamedTuple):
    """There is a session, and the credentials were not refused."""


class Joined(NamedTuple):
    """The node is there."""

    node: str


class Parted(NamedTuple):
    """The node is not there any more: the session expired, or somebody removed it. It is made again."""

    reason: str


class Trouble(NamedTuple):
    """Something failed, and is tried again. *traceback*: where, if it was a fault of ours."""

    reason: str
    traceback: str | None = None


class Gone(NamedTuple):
    """The node is not there, as was asked for. *is_sure*: ZooKeeper said so; else its session has been given up."""

    is_sure: bool


MemberEvent: TypeAlias = Connected | Joined | Parted | Trouble | Gone


class Member:
    """One node below *path* that holds *data*. *tell* is called from threads of ours: it must not block."""

    def __init__(
        self,
        hosts: str,
        path: str,
        data: bytes,
        tell: Callable[[MemberEvent], object],
        auth: Auth | None = None,
        session_s: float = SESSION_S,
    ) -> None:
        self._path = path
        self._data = data
        self._tell = tell
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_wanted = True
        self._is_closing = False
        #: Somebody waits to hear that it is gone.
        self._owes_gone = False
        #: A node of ours may be there, whatever the answers were that did not come.
        self._may_be_there = False
        self._node: str | None = None
        self._was_connected = False
        self._is_refused = False
        self._client = zookeeper_client(hosts, session_s, auth)
        self._client.add_listener(self._changed)
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)

    # -- From the executor -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and join as soon as that is possible."""
        self._client.start_async()
        self._thread.start()

    def join(self) -> None:
        """Be there again, after a ``leave``."""
        self._owes_gone = False
        self._is_wanted = True
        self._wake.put(None)

    def leave(self) -> None:
        """Not be there; Gone follows."""
        self._is_wanted = False
        self._owes_gone = True
        self._wake.put(None)

    def close(self) -> None:
        """Leave, and end; Gone follows, in bounded time. Does not wait."""
        self._is_wanted = False
        self._is_closing = True
        self._wake.put(None)

    def wait(self, timeout_s: float) -> bool:
        """After ``close``: whether everything of it has ended within that time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # -- The thread ------------------------------------------------------------------------------------------------

    def _changed(self, state: str) -> None:
        """On kazoo's thread."""
        if self._client.client_state == KeeperState.AUTH_FAILED:
            self._is_refused = True
        if state != KazooState.SUSPENDED:
            self._wake.put(None)

    def _run(self) -> None:
        retry_s: float | None = None
        while True:
            is_late = False
            try:
                self._wake.get(timeout=retry_s)
            except queue.Empty:
                is_late = True
            if self._is_closing:
                break
            try:
                retry_s = self._look(is_late)
                continue
            except (KazooException, KazooTimeoutError) as error:
                self._tell(Trouble(f"{type(error).__name__} {error}".strip()))
            except Exception as error:  # noqa: BLE001  this thread must not end while it is wanted
                self._tell(_fault(error))
            retry_s = min((retry_s or _FIRST_RETRY_S / 2) * 2, _LAST_RETRY_S)
        self._end()

    def _look(self, is_late: bool) -> float | None:
        """Compare what is there with what should be, and mend it; when to look again, None: when something happens."""
        if self._client.state == KazooState.LOST and self._node is not None:
            self._node = None
            self._tell(Parted("the session expired"))
        if not self._is_wanted and not self._may_be_there:
            self._gone()
        if not self._client.connected:
            return self._after_refusal(is_late)
        if not self._was_connected:
            # A session comes before the credentials are judged; what is asked is answered after that.
            self._client.exists_async("/").get(timeout=_ANSWER_S)
            self._was_connected = True
            self._tell(Connected())
        if self._is_wanted:
            self._ensure()
        elif self._may_be_there:
            self._remove_all()
            self._gone()
        return None

    def _gone(self) -> None:
        if self._owes_gone:
            self._owes_gone = False
            self._tell(Gone(True))

    def _after_refusal(self, is_late: bool) -> float | None:
        """When to look again while there is no connection; None: its return wakes us.

        kazoo gives up for ever when ZooKeeper refuses a credential, which another server, or another day, may not.
        """
        if not self._is_refused:
            return None
        if is_late:
            self._is_refused = False
            self._client.stop()
            self._client.start_async()
            return None
        self._tell(Trouble("AuthFailedError: ZooKeeper refuses the credentials"))
        return _LAST_RETRY_S

    def _end(self) -> None:
        try:
            if self._client.connected:
                try:
                    self._remove_all()
                except (KazooException, KazooTimeoutError):
                    pass  # the session ends now, and the node with it
            self._client.stop()
            self._client.close()
        except Exception as error:  # noqa: BLE001  whoever waits for the end is told of it
            self._tell(_fault(error))
        finally:
            self._tell(Gone(not self._may_be_there))

    def _mine(self) -> list[str]:
        """The nodes of our session, oldest first."""
        client_id = self._client.client_id
        if client_id is None:  # it went since we asked whether there is one
            raise ConnectionLoss("there is no session just now")
        session = client_id[0]
        found = []
        for name in sorted(self._client.get_children_async(self._path).get(timeout=_ANSWER_S)):
            if name.startswith(PREFIX):
                stat = self._client.exists_async(f"{self._path}/{name}").get(timeout=_ANSWER_S)
                if stat is not None and stat.ephemeralOwner == session:
                    found.append(f"{self._path}/{name}")
        return found

    def _ensure(self) -> None:
        """Exactly one node of ours, with our data, and a watch upon its end."""
        self._client.ensure_path_async(self._path).get(timeout=_ANSWER_S)
        mine = self._mine()
        if self._node is not None and self._node not in mine:
            self._node = None
            self._tell(Parted("its node was removed"))
        if not mine:
            self._may_be_there = True
            made = self._client.create_async(f"{self._path}/{PREFIX}", self._data, ephemeral=True, sequence=True).get(
                timeout=_ANSWER_S
            )
            mine = [made]
        for extra in mine[1:]:
            self._delete(extra)
        stat = self._client.exists_async(mine[0], watch=self._watched).get(timeout=_ANSWER_S)
        if stat is None:
            self._wake.put(None)  # gone in this very moment: look again
            return
        if self._node != mine[0]:
            self._node = mine[0]
            self._tell(Joined(mine[0]))

    def _watched(self, event: object) -> None:
        """On kazoo's thread: the node was changed or removed."""
        self._wake.put(None)

    def _remove_all(self) -> None:
        try:
            for node in self._mine():
                self._delete(node)
        except NoNodeError:
            pass  # not even the path
        self._node = None
        self._may_be_there = False

    def _delete(self, node: str) -> None:
        try:
            self._client.delete_async(node).get(timeout=_ANSWER_S)
        except NoNodeError:
            pass


def _fault(error: Exception) -> Trouble:
    import traceback

    where = "".join(traceback.format_exception(error)).rstrip()
    return Trouble(f"a fault of ours: {type(error).__name__}: {error}", where)
