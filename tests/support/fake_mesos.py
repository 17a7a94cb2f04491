"""The embedded Mesos of one machine, in a process of its own, for whatever is tested on the real one too."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.box import SOON_S
from tests.support.mesos import get_json, with_marker
from thermos.host import proc

ROOT: Final = Path(__file__).parents[2]
#: What the lab's agents have, unless a test says otherwise.
RESOURCES: Final = "cpus:4;mem:4096;disk:10000;ports:[31000-32000]"
_PROGRAM: Final = """
import json, logging, sys
from scheduler.local.server import SETTINGS, start_local
logging.basicConfig(level=logging.INFO)
work, options, settings = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
local = start_local(work, settings=SETTINGS._replace(**settings), **options)
print(local.port, flush=True)
sys.stdin.read()
local.close()
"""


class LocalMesos:
    """One that has been started; see ``tests.support.mesos.Mesos``, which it can stand in for."""

    def __init__(self, directory: str, options: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self.directory = directory
        self.options = {"resources": RESOURCES, **options}
        self.settings = {"allocation_interval_s": 0.05, **settings}
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def work(self) -> Path:
        return Path(self.directory, "work")

    def start(self) -> None:
        """Start it, or start it again."""
        assert self._process is None
        words = [sys.executable, "-c", _PROGRAM, str(self.work), json.dumps(self.options), json.dumps(self.settings)]
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MESOS"))}
        with open(f"{self.directory}/mesos.log", "ab") as log:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, env=environ,
                start_new_session=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.strip().isdigit(), f"the local Mesos has not started: {self.log()[-2000:]}"
        self.port = int(line)

    def kill(self, sign: signal.Signals = signal.SIGKILL) -> None:
        """kill -9, or another signal."""
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait(SOON_S)
            self._end()

    def stop(self) -> None:
        """End it as a scheduler does that ends."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(SOON_S) == 0, self.log()[-2000:]
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None

    def restart(self) -> None:
        """kill -9, and start again in the same directory."""
        self.kill()
        self.start()

    def close(self) -> None:
        """End it, and every executor and task that it started."""
        self.kill()
        deadline = time.monotonic() + SOON_S
        while pids := [pid for pid in with_marker(self.directory.encode()) if pid != os.getpid()]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            assert time.monotonic() < deadline, f"still there: {[proc.describe(pid) for pid in pids]}"
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- looking -------------------------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        """The JSON at *path*."""
        return get_json(self.port, path)

    def state(self) -> Any:
        """``/master/state``."""
        return self.get("/master/state")

    def log(self) -> str:
        """All that it said."""
        with contextlib.suppress(OSError):
            return Path(f"{self.directory}/mesos.log").read_text("utf-8", "replace")
        return ""

    def sandboxes(self) -> list[Path]:
        """The sandbox of each executor, newest last."""
        found = [path for path in self.work.glob("slaves/*/frameworks/*/executors/*/runs/*") if not path.is_symlink()]
        return sorted(found, key=lambda path: path.stat().st_mtime)

    def has_acknowledged(self, status: Mapping[str, Any]) -> bool:
        """Whether it has written down that the framework acknowledged this status."""
        database = sqlite3.connect(f"file:{self.work}/local-mesos/mesos.sqlite?mode=ro", uri=True)
        with contextlib.closing(database):
            rows = [json.loads(content) for (content,) in database.execute("SELECT content FROM kept")]
        uuid = base64.b64decode(status["uuid"])
        pending = [one["uuid"] for row in rows for one in row.get("pending", ())]
        return uuid not in map(base64.b64decode, pending)


@contextlib.contextmanager
def local_mesos(settings: Mapping[str, Any] | None = None, **options: Any) -> Iterator[LocalMesos]:
    """A running one; everything of it is gone afterwards. *options* as for ``start_local``."""
    made = LocalMesos(tempfile.mkdtemp(prefix="local-mesos-"), options, settings or {})
    os.chmod(made.directory, 0o755)
    try:
        made.start()
        yield made
    finally:
        made.close()
