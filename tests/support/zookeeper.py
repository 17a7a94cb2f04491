"""A real ZooKeeper on loopback, one server or three: started, killed, paused, cut off, and gone at the end."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.support.box import until
from tests.support.relay import Relay

#: Where Debian's package puts it; its manifest names all that it needs.
JAR: Final = Path("/usr/share/java/zookeeper.jar")


#: Below the ports that the kernel gives to outgoing connections: while a server is away nobody takes its port.
_PORTS: Final = range(20_000, 30_000)
#: By default a server whose notifications nobody answered waits for up to a minute before it sends the next.
_ELECT_FAST: Final = (
    "-Dzookeeper.fastleader.minNotificationInterval=100",
    "-Dzookeeper.fastleader.maxNotificationInterval=1000",
    "-Dzookeeper.cnxTimeout=1000",
)
#: A starting server can take a connection and never answer on it.
_ANSWER_S: Final = 1.0


def free_port(host: str = "127.0.0.1") -> int:
    """A port of *host* that nobody listens on, and that no outgoing connection gets."""
    while True:
        with socket.socket() as one, contextlib.suppress(OSError):
            port = random.choice(_PORTS)
            one.bind((host, port))
            return port


class ZooKeeper:
    """One server with its data in a directory of its own."""

    def __init__(self, directory: str, host: str = "127.0.0.1", more: str = "", flags: Sequence[str] = ()) -> None:
        self.host = host
        self.port = free_port(host)
        self.hosts = f"{host}:{self.port}"
        self._flags = flags
        self._directory = directory
        self._config = f"{directory}/zoo.cfg"
        Path(f"{directory}/data").mkdir(parents=True)
        # Its default for the longest session is 20 ticks; a client that asks for more is given less, without a word.
        Path(self._config).write_text(
            f"tickTime=500\ndataDir={directory}/data\nclientPort={self.port}\nclientPortAddress={host}\n"
            "admin.enableServer=false\n4lw.commands.whitelist=*\nminSessionTimeout=1000\n"
            f"maxSessionTimeout=120000\n{more}"
        )
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.launch()
        self.wait_serving()

    def launch(self) -> None:
        """Start it."""
        with open(f"{self._directory}/log", "ab") as log:
            self._server = subprocess.Popen(
                [
                    "java", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.forceSync=no",
                    *self._flags, "-cp", str(JAR), "org.apache.zookeeper.server.quorum.QuorumPeerMain", self._config,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory,
            )  # fmt: skip

    def wait_serving(self) -> None:
        """Until it answers as one that serves."""
        until(self.mode, lambda: f"ZooKeeper serves; it said: {Path(self._directory, 'log').read_text()[-2000:]}")

    def mode(self) -> str:
        """``standalone``, ``leader`` or ``follower``; empty while it does not serve."""
        _, is_there, rest = self.ask(b"srvr").decode().partition("Mode: ")
        return rest.split("\n", 1)[0] if is_there else ""

    def ask(self, word: bytes) -> bytes:
        """What it answers to a four-letter word; empty if it does not."""
        try:
            with socket.create_connection((self.host, self.port), timeout=_ANSWER_S) as one:
                one.sendall(word)
                one.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: one.recv(4096), b""))
        except OSError:
            return b""

    def kill(self) -> None:
        """kill -9."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def pause(self) -> None:
        """SIGSTOP: it is there, and says nothing."""
        assert self._server is not None
        os.kill(self._server.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._server is not None
        os.kill(self._server.pid, signal.SIGCONT)


class Ensemble:
    """Three servers that reach each other through relays, one for each direction, which a test can cut.

    The configuration is the same for all and names them; each Java process has a file of hosts of its own, in which a
    name stands for the server itself or for its relay to another.
    """

    def __init__(self, directory: str) -> None:
        self.servers: list[ZooKeeper] = []
        self._relays: dict[tuple[int, int], list[Relay]] = {}
        numbers = range(3)
        ports = [(free_port(f"127.0.0.{10 + n}"), free_port(f"127.0.0.{10 + n}")) for n in numbers]
        peers = "".join(f"server.{n + 1}=zk{n}:{ports[n][0]}:{ports[n][1]}\n" for n in numbers)
        for me in numbers:
            home = f"{directory}/{me}"
            hosts = f"{home}/hosts"
            self.servers.append(
                ZooKeeper(
                    home,
                    f"127.0.0.{10 + me}",
                    f"initLimit=10\nsyncLimit=6\n{peers}",  # so long a server waits for a leader that is cut off
                    [f"-Djdk.net.hosts.file={hosts}", *_ELECT_FAST],
                )
            )
            Path(f"{home}/data/myid").write_text(f"{me + 1}\n")
            address = {n: f"127.0.0.{10 + n}" if n == me else f"127.0.{me + 1}.{10 + n}" for n in numbers}
            Path(hosts).write_text("".join(f"{address[n]} zk{n}\n" for n in numbers))
            for n in numbers:
                if n != me:
                    self._relays[me, n] = [Relay(address[n], port, (f"127.0.0.{10 + n}", port)) for port in ports[n]]
        self.hosts = ",".join(server.hosts for server in self.servers)

    def start(self) -> None:
        """Start them, and wait until all serve."""
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.wait_serving()

    def of_mode(self, mode: str) -> ZooKeeper:
        """One of them that is *mode*, ``leader`` or ``follower``."""
        return next(server for server in self.servers if server.mode() == mode)

    @contextlib.contextmanager
    def cut_off(self, server: ZooKeeper) -> Iterator[None]:
        """Within the block *server* and the other two do not reach each other; clients reach each that answers.

        A leader is paused instead. Servers also tell each other addresses, for elections, that lead past our relays:
        the other two would go on electing the one that they cannot follow.
        """
        if server.mode() == "leader":
            server.pause()
            try:
                yield
            finally:
                server.resume()
            return
        number = self.servers.index(server)
        around = [relay for ends, relays in self._relays.items() if number in ends for relay in relays]
        for relay in around:
            relay.cut()
        try:
            yield
        finally:
            for relay in around:
                relay.mend()

    def close(self) -> None:
        for server in self.servers:
            server.kill()
        for relays in self._relays.values():
            for relay in relays:
                relay.close()


def _need_zookeeper() -> None:
    if not JAR.exists() or shutil.which("java") is None:
        pytest.skip("ZooKeeper is not installed here (Debian: zookeeper)")


@contextlib.contextmanager
def zookeeper(is_started: bool = True) -> Iterator[ZooKeeper]:
    """A server; skips the test where Debian's package is not installed."""
    _need_zookeeper()
    with tempfile.TemporaryDirectory(prefix="thermos-zk-", ignore_cleanup_errors=True) as directory:
        server = ZooKeeper(f"{directory}/0")
        try:
            if is_started:
                server.start()
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def ensemble() -> Iterator[Ensemble]:
    """Three servers that elect a leader; skips the test where Debian's package is not installed."""
    _need_zookeeper()
    with tempfile.TemporaryDirectory(prefix="thermos-zk-", ignore_cleanup_errors=True) as directory:
        servers = Ensemble(directory)
        try:
            servers.start()
            yield servers
        finally:
            servers.close()
