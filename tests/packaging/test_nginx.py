"""The nginx example with a real nginx: pages are shown as pages, and nothing else is shown."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.box import IS_ROOT, NOBODY, until
from tests.support.mesos import free_port

pytestmark = [pytest.mark.process]

PACKAGING = Path(__file__).parents[2] / "packaging"
RUN = "slaves/S-0/frameworks/F-0000/executors/thermos-www-prod-web-0-11/runs/0c4223a5-a426-4435-b7ed-7eaa1585ac7e"
OTHER_USER = 12345


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Nginx:
    """Serves a work directory, with the files of packaging/nginx; only paths and the port are others."""

    def __init__(self, place: Path) -> None:
        self.work = place / "mesos"
        self.run = self.work / RUN
        self.port = free_port()
        self._place = place
        (place / "run").mkdir()
        text = (PACKAGING / "nginx/nginx.conf").read_text()
        (place / "nginx.conf").write_text(text.replace("/run/thermos-pages", str(place / "run")))
        text = (PACKAGING / "nginx/thermos-sandboxes.conf").read_text()
        assert "listen 127.0.0.1:8081;" in text
        assert "root /var/lib/mesos;" in text
        text = text.replace("listen 127.0.0.1:8081;", f"listen 127.0.0.1:{self.port};")
        (place / "thermos-sandboxes.conf").write_text(text.replace("root /var/lib/mesos;", f"root {self.work};"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """As the unit starts it: nobody's, with the one right to read. As an ordinary user, with his own."""
        drop: tuple[str, ...] = ()
        if IS_ROOT:
            os.chown(self._place / "run", NOBODY, NOBODY)
            right = "+dac_read_search"
            ids = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
            caps = (f"--inh-caps={right}", f"--ambient-caps={right}", "--bounding-set=-all,+dac_read_search")
            drop = ("setpriv", *ids, *caps, "--")
        words = [*drop, _nginx(), "-e", "stderr", "-c", str(self._place / "nginx.conf")]
        with open(self._place / "said", "wb") as said:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        until(self._listens, lambda: f"nginx listens: {(self._place / 'said').read_text()}")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._place / "said").read_text()
        try:
            self.get("/")
        except OSError:
            return False
        return True

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """What *path* is answered with, as it stands there: nothing is normalised."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read().decode())
        finally:
            connection.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)


def _nginx() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        pytest.skip("no nginx on this host; Debian's nginx-light has one")
    return found


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    place = Path(tempfile.mkdtemp(prefix="thermos-nginx-"))
    place.chmod(0o755)
    made = Nginx(place)
    run = made.run
    for name in ("index.html", "pages/index.html", "pages/process/web.html", "pages/log/web/0.html"):
        write(run / name, f"<!doctype html><title>{name}</title>")
    write(run / "pages/.thermos-site", "ours")
    write(run / "sandbox/.logs/web/0/stdout", "<script>alert(1)</script>")
    write(run / "sandbox/.logs/web/0/page.html", "<script>alert(1)</script>")
    write(run / "sandbox/secret.html", "secret")
    write(run / "checkpoints/checkpoints/t/runner", "secret")
    write(run / "stderr", "fetched")
    write(made.work / "meta/slaves/S-0/slave.info", "secret")
    write(place / "secret.html", "secret")
    os.symlink(place / "secret.html", run / "pages/link.html")
    os.symlink(run / "index.html", run / "pages/inner.html")
    os.symlink(place, run / "pages/linked")
    os.symlink(place / "secret.html", run / "sandbox/.logs/web/0/stderr")
    os.mkfifo(run / "pages/fifo.html")
    os.symlink(run, run.parent / "latest")
    if IS_ROOT:  # as a task's user has it
        for directory, _, names in os.walk(run):
            for path in (directory, *(os.path.join(directory, name) for name in names)):
                os.chown(path, OTHER_USER, OTHER_USER, follow_symlinks=False)
            os.chmod(directory, 0o700)
    try:
        made.start()
        yield made
    finally:
        made.close()
        shutil.rmtree(place)


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("", "index.html"),
        ("index.html", "index.html"),
        ("pages/process/web.html", "pages/process/web.html"),
        ("pages/log/web/0.html", "pages/log/web/0.html"),
        ("pages/index.html?a=1", "pages/index.html"),
    ],
)
def test_a_page_is_shown_as_a_page(nginx: Nginx, path: str, title: str) -> None:
    answer = nginx.get(f"/{RUN}/{path}")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f"<title>{title}</title>" in answer.body
    assert "content-disposition" not in answer.headers
    # A page that the task's user has put there has no origin whose other pages it could read.
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox ")
    assert "allow-same-origin" not in policy


@pytest.mark.parametrize("path", ["sandbox/.logs/web/0/stdout", "sandbox/.logs/web/0/page.html", "stderr"])
def test_a_log_is_text_whatever_it_holds(nginx: Nginx, path: str) -> None:
    answer = nginx.get(f"/{RUN}/{path}")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_part_of_a_log_can_be_asked_for(nginx: Nginx) -> None:
    answer = nginx.get(f"/{RUN}/sandbox/.logs/web/0/stdout", Range="bytes=1-6")
    assert (answer.status, answer.body) == (206, "script")


@pytest.mark.parametrize(
    "path",
    [
        "/", "/slaves/", "/meta/slaves/S-0/slave.info", "/slaves/S-0/frameworks/",
        f"/{os.path.dirname(RUN)}/", f"/{os.path.dirname(RUN)}/latest/", f"/{os.path.dirname(RUN)}/latest/index.html",
        f"/{RUN}/pages/", f"/{RUN}/pages", f"/{RUN}/sandbox/", f"/{RUN}/sandbox/.logs/", f"/{RUN}/sandbox/.logs/web/0/",
        f"/{RUN}/sandbox/secret.html", f"/{RUN}/pages/.thermos-site", f"/{RUN}/checkpoints/checkpoints/t/runner",
        f"/{RUN}/pages/link.html", f"/{RUN}/pages/inner.html", f"/{RUN}/pages/linked/secret.html",
        f"/{RUN}/sandbox/.logs/web/0/stderr", f"/{RUN}/pages/fifo.html", f"/{RUN}/nowhere.html",
        f"/{RUN}/pages/../sandbox/secret.html", f"/{RUN}/pages/%2e%2e/sandbox/secret.html",
        f"/{RUN}/pages/..%2fsandbox%2fsecret.html", f"/{RUN}/sandbox/.logs/../secret.html",
        f"/{RUN}/pages//..//..//..//secret.html", "/../secret.html", f"/{RUN}/pages/x%00.html",
        f"/{RUN}/sandbox/.logs/%2e%2e/secret.html", f"/{RUN}/pages/a%0d%0ab.html",
    ],
)  # fmt: skip
def test_nothing_else_is_shown(nginx: Nginx, path: str) -> None:
    answer = nginx.get(path)
    assert answer.status in (400, 403, 404), answer
    assert "secret" not in answer.body
    assert "Index of" not in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "TRACE"])
def test_it_only_reads(nginx: Nginx, method: str) -> None:
    assert nginx.get(f"/{RUN}/index.html", method).status == 405
    assert (nginx.run / "index.html").exists()
