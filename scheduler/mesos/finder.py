"""Which Mesos master leads: asked of ZooKeeper, or tried one after the other.

A master in ZooKeeper is an ephemeral, numbered node ``json.info_…`` that holds its ``MasterInfo`` as JSON; the lowest
number leads. Source: mesos/src/master/contender/zookeeper.cpp and src/master/detector/zookeeper.cpp.
"""

from __future__ import annotations

import json
import queue
import re
import threading
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

from kazoo.client import KazooState
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

from scheduler.mesos.session import Address
from thermos.announce.auth import Auth
from thermos.announce.zookeeper import zookeeper_client

#: mesos/src/master/constants.hpp, DEFAULT_MASTER_PORT.
MASTER_PORT: Final = 5050
_ANSWER_S: Final = 5.0
#: After something failed in ZooKeeper, the next look.
_RETRY_S: Final = 1.0
_NODE: Final = re.compile(r"json\.info_(\d+)")


class NoLeader(Exception):
    """No leading master is known; says why."""


class MasterAddressError(ValueError):
    """What was given as ``mesos_master_address`` names no master; says why."""


class Finder(Protocol):
    """Who leads."""

    def start(self, changed: Callable[[Address], object]) -> None:
        """Begin to look. *changed* is called from another thread whenever another master leads; it must not block."""

    def find(self, is_again: bool, timeout_s: float) -> Address:
        """The leading master, or one that knows it. *is_again*: the last answer was of no use. Raises NoLeader."""

    def close(self) -> None:
        """Stop looking; a ``find`` under way ends soon."""


class ZooKeeperMasters(NamedTuple):
    """What ``zk://[user:password@]host:port,…/path`` says."""

    hosts: str
    path: str
    credential: str | None


def parse_address(text: str) -> Address:
    """``host``, ``host:port`` or ``[::1]:port``. Raises MasterAddressError."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:/@\[\],]+))(?::(\d{1,5}))?", text)
    if found is None or not 0 < int(found[3] or MASTER_PORT) < 65536:
        raise MasterAddressError(f"{text!r} is no address of a master: it should be like master1.example.org:5050")
    return Address(found[1] or found[2], int(found[3] or MASTER_PORT))


def parse_masters(text: str) -> ZooKeeperMasters | tuple[Address, ...]:
    """What ``-mesos_master_address`` says. Raises MasterAddressError."""
    if text.startswith("zk://"):
        rest = text.removeprefix("zk://")
        servers, _, path = rest.partition("/")
        credential, _, hosts = servers.rpartition("@")
        if not hosts or wrong_servers(hosts.split(",")):
            raise MasterAddressError(
                f"{_hidden(text)!r} names no ZooKeeper: it should be like zk://zk1:2181,zk2:2181/mesos"
            )
        if not path.strip("/"):
            raise MasterAddressError(f"{_hidden(text)!r} has no path: it should end like /mesos")
        if credential and ":" not in credential:
            raise MasterAddressError(f"{_hidden(text)!r} has a user without a password")
        return ZooKeeperMasters(hosts, "/" + path.strip("/"), credential or None)
    if "://" in text:
        raise MasterAddressError(
            f"{_hidden(text)!r} should begin with zk://, or be host:port without anything before it"
        )
    addresses = tuple(parse_address(one.strip()) for one in text.split(",") if one.strip())
    if not addresses:
        raise MasterAddressError("there is no address of a master: it should be like master1.example.org:5050")
    return addresses


def wrong_servers(servers: Iterable[str]) -> tuple[str, ...]:
    """Those that are no address of a ZooKeeper server: ``host``, ``host:port`` or ``[::1]:port``."""
    return tuple(server for server in servers if _is_wrong(server))


def _is_wrong(server: str) -> bool:
    try:
        parse_address(server.strip())
    except MasterAddressError:
        return True
    return False


def _hidden(text: str) -> str:
    """Without a password."""
    return re.sub(r"//[^/@]*@", "//…@", text)


def finder_of(text: str, *, by_hostname: bool = False, session_s: float = 10.0) -> Finder:
    """The finder for ``-mesos_master_address``. *by_hostname*: what a certificate is for. Raises MasterAddressError."""
    masters = parse_masters(text)
    if isinstance(masters, ZooKeeperMasters):
        return ZooKeeperFinder(masters, by_hostname=by_hostname, session_s=session_s)
    return ListFinder(masters)


class ListFinder:
    """One master after the other; whichever answers names the leader, by a redirect."""

    def __init__(self, addresses: tuple[Address, ...]) -> None:
        self._addresses = addresses
        self._next = 0

    def start(self, changed: Callable[[Address], object]) -> None:
        """Nothing changes without being asked."""

    def find(self, is_again: bool, timeout_s: float) -> Address:
        """The one that was of use, or the next."""
        self._next += is_again
        return self._addresses[self._next % len(self._addresses)]

    def close(self) -> None:
        """Nothing to end."""


def master_address(data: bytes, by_hostname: bool = False) -> Address | None:
    """Where the master with this ``MasterInfo`` listens; None if that is not in it."""
    try:
        info = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(info, dict):
        return None
    address = info.get("address")
    found = address if isinstance(address, dict) else {}
    hostname = found.get("hostname") or info.get("hostname")
    host = (by_hostname and hostname) or found.get("ip") or hostname
    port = found.get("port", info.get("port"))
    if isinstance(host, str) and host and isinstance(port, int) and 0 < port < 65536:
        return Address(host, port)
    return None


class ZooKeeperFinder:
    """Follows the leading master in ZooKeeper. While ZooKeeper is away the last one known is still the answer."""

    def __init__(self, masters: ZooKeeperMasters, *, by_hostname: bool = False, session_s: float = 10.0) -> None:
        self._masters = masters
        self._by_hostname = by_hostname
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._condition = threading.Condition()
        self._leader: Address | None = None
        #: What ended our thread.
        self._fault: Exception | None = None
        self._why_none = f"ZooKeeper at {masters.hosts} has not answered yet"
        self._closing = threading.Event()
        self._changed: Callable[[Address], object] = lambda address: None
        auth = Auth((("digest", masters.credential),)) if masters.credential else None
        self._client = zookeeper_client(masters.hosts, session_s, auth)
        self._client.add_listener(self._state_changed)
        self._thread = threading.Thread(target=self._run, name="master-finder", daemon=True)

    def start(self, changed: Callable[[Address], object]) -> None:
        """Connect, as soon as that is possible."""
        self._changed = changed
        self._client.start_async()
        self._thread.start()

    def find(self, is_again: bool, timeout_s: float) -> Address:
        """The leader; waits until one is known. Raises NoLeader; after a fault of ours, RuntimeError."""
        if is_again:
            self._wake.put(None)
        with self._condition:
            self._condition.wait_for(self._has_answer, timeout_s)
            if self._fault is not None:
                raise RuntimeError(f"nobody follows the leading master any more: {self._fault!r}") from self._fault
            if self._leader is None:
                raise NoLeader(self._why_none)
            return self._leader

    def close(self) -> None:
        """End the session with ZooKeeper, in bounded time."""
        with self._condition:
            self._closing.set()
            self._condition.notify_all()
        self._wake.put(None)
        if self._thread.ident is not None:
            self._thread.join(2 * _ANSWER_S)
        self._client.stop()
        self._client.close()

    def _has_answer(self) -> bool:
        return self._leader is not None or self._fault is not None or self._closing.is_set()

    # -- its thread ----------------------------------------------------------------------------------------------------

    def _state_changed(self, state: str) -> None:
        """On kazoo's thread."""
        if state == KazooState.CONNECTED:
            self._wake.put(None)

    def _watched(self, event: object) -> None:
        """On kazoo's thread."""
        self._wake.put(None)

    def _run(self) -> None:
        try:
            self._follow()
        except Exception as error:  # noqa: BLE001 - the thread's top
            with self._condition:
                self._fault = error
                self._condition.notify_all()

    def _follow(self) -> None:
        retry_s: float | None = None
        while True:
            try:
                self._wake.get(timeout=retry_s)
            except queue.Empty:
                pass
            if self._closing.is_set():
                return
            retry_s = None
            if not self._client.connected:
                continue  # its return wakes us
            try:
                self._look()
            except (KazooException, KazooTimeoutError) as error:
                self._none(f"ZooKeeper at {self._masters.hosts}: {type(error).__name__} {error}".strip(), forget=False)
                retry_s = _RETRY_S

    def _look(self) -> None:
        path = self._masters.path
        try:
            children = self._client.get_children_async(path, watch=self._watched).get(timeout=_ANSWER_S)
        except NoNodeError:
            # a watch on what is not there yet
            if self._client.exists_async(path, watch=self._watched).get(timeout=_ANSWER_S) is not None:
                self._wake.put(None)  # made in this very moment: look again
            self._none(f"no master has ever been at {path} in ZooKeeper")
            return
        numbered = sorted((int(found[1]), name) for name in children if (found := _NODE.fullmatch(name)))
        if not numbered:
            self._none(f"no master is at {path} in ZooKeeper")
            return
        node = f"{path}/{numbered[0][1]}"
        try:
            data: bytes = self._client.get_async(node).get(timeout=_ANSWER_S)[0]
        except NoNodeError:
            self._wake.put(None)  # gone in this very moment: look again
            return
        address = master_address(data, self._by_hostname)
        if address is None:
            self._none(f"{node} in ZooKeeper holds no MasterInfo with an address")
            return
        with self._condition:
            is_new, self._leader = address != self._leader, address
            self._condition.notify_all()
        if is_new:
            self._changed(address)

    def _none(self, why: str, forget: bool = True) -> None:
        with self._condition:
            self._why_none = why
            if forget:
                self._leader = None
