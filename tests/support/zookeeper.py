"""A real ZooKeeper on loopback: started, killed, paused, and gone at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.box import until

#: Where Debian's package puts it; its manifest names all that it needs.
JAR: Final = Path("/usr/share/java/zookeeper.jar")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class ZooKeeper:
    """One server with its data in a directory of its own."""

    def __init__(self, directory: str) -> None:
        self.port = _free_port()
        self.hosts = f"127.0.0.1:{self.port}"
        self._directory = directory
        self._config = f"{directory}/zoo.cfg"
        Path(self._config).write_text(
            f"tickTime=500\ndataDir={directory}/data\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\n4lw.commands.whitelist=*\nminSessionTimeout=1000\n"
        )
        Path(f"{directory}/data").mkdir()
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it serves."""
        with open(f"{self._directory}/log", "ab") as log:
            self._server = subprocess.Popen(
                [
                    "java", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.forceSync=no",
                    "-cp", str(JAR), "org.apache.zookeeper.server.quorum.QuorumPeerMain", self._config,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory,
            )  # fmt: skip
        until(self._serves, lambda: f"ZooKeeper serves; it said: {Path(self._directory, 'log').read_text()[-2000:]}")

    def _serves(self) -> bool:
        return b"Mode:" in self.ask(b"srvr")

    def ask(self, word: bytes) -> bytes:
        """What it answers to a four-letter word; empty if it does not."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as one:
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


@contextlib.contextmanager
def zookeeper(is_started: bool = True) -> Iterator[ZooKeeper]:
    """A server; skips the test where Debian's package is not installed."""
    if not JAR.exists() or shutil.which("java") is None:
        pytest.skip("ZooKeeper is not installed here (Debian: zookeeper)")
    directory = tempfile.mkdtemp(prefix="thermos-zk-")
    server = ZooKeeper(directory)
    try:
        if is_started:
            server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)
