from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from observer_static import walker
from observer_static.disk import Agent, Collector, Disk, Walk
from tests.leaks import children
from tests.support.box import IS_ROOT, until

pytestmark = pytest.mark.process


@contextlib.contextmanager
def collector(source: Walk | Agent | None = None) -> Iterator[Collector[str]]:
    made = Collector[str](source)
    try:
        yield made
    finally:
        made.close()


def answers(made: Collector[str], wanted: Mapping[str, str | Path]) -> dict[str, Disk]:
    """What comes of *wanted*; waits on the descriptor alone."""
    assert made.start({key: str(path) for key, path in wanted.items()})
    return rest(made)


def rest(made: Collector[str]) -> dict[str, Disk]:
    """What comes until the child has ended."""
    found: dict[str, Disk] = {}
    while made.is_busy:
        ready, _, _ = select.select([made.fd], [], [], 30)
        assert ready, "an answer comes by itself"
        found |= made.read()
    return found


def du_bytes(path: Path) -> int:
    """What du(1) says: every file once, one file system."""
    said = subprocess.run(["du", "-s", "-x", "-B1", str(path)], capture_output=True, text=True, check=True).stdout
    return int(said.split()[0])


def fill(path: Path) -> None:
    (path / "a/b/c").mkdir(parents=True)
    (path / "a/data").write_bytes(b"x" * 300_000)
    (path / "a/b/c/more\nlines").write_bytes(b"x" * 5000)
    (path / os.fsdecode(b"not \xff utf-8")).write_bytes(b"x")
    os.link(path / "a/data", path / "a/b/again")
    with open(path / "sparse", "wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    (path / "out").symlink_to("/usr")
    (path / "shell").symlink_to("/bin/bash")
    (path / "round").symlink_to(".")
    os.mkfifo(path / "fifo")


# -- walking ---------------------------------------------------------------------------------------------------------


def test_agrees_with_du(tmp_path: Path) -> None:
    fill(tmp_path)
    with collector() as made:
        found = answers(made, {"one": tmp_path})
    assert found["one"].used_bytes == du_bytes(tmp_path)
    assert found["one"].why is None
    assert abs(found["one"].at_s - time.time()) < 60
    assert du_bytes(tmp_path) < 1 << 20  # neither the terabyte nor /usr


def test_many_sandboxes_one_child(tmp_path: Path) -> None:
    wanted = {}
    for number in range(300):
        path = tmp_path / f"box-{number}-{'x' * 100}"
        path.mkdir()
        (path / "file").write_bytes(b"x" * number * 1000)
        wanted[str(number)] = path
    with collector() as made:
        found = answers(made, wanted)
    assert {key: disk.used_bytes for key, disk in found.items()} == {
        key: du_bytes(path) for key, path in wanted.items()
    }


@pytest.mark.parametrize("path", ["/nonexistent", "/etc/passwd", "", "a\0b", "\udc80/x", "\ud800"])
def test_what_is_no_directory_is_unknown(path: str) -> None:
    with collector() as made:
        disk = answers(made, {"one": path})["one"]
    assert disk.used_bytes is None
    assert disk.why


def test_a_link_is_no_sandbox(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/usr/share")
    with collector() as made:
        disk = answers(made, {"one": tmp_path / "link"})["one"]
    assert disk.used_bytes is None


def test_part_of_a_sum_is_no_sum(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    (tmp_path / "small").mkdir()
    with collector(Walk(max_entries=10)) as made:
        found = answers(made, {"large": tmp_path, "small": tmp_path / "small"})
    assert found["large"][1:] == (None, "more than 10 files")
    assert found["small"].used_bytes == du_bytes(tmp_path / "small")


def test_no_more_time_than_given(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / str(number)).touch()
    with collector(Walk(each_s=0.0)) as made:
        disk = answers(made, {"one": tmp_path})["one"]
    assert disk.used_bytes is None
    assert "took too long" in str(disk.why)


def test_deep_directories(tmp_path: Path) -> None:
    """Deeper than a path can be long; it is counted, or said not to be."""
    fd = os.open(tmp_path, os.O_RDONLY)
    depth = 3000
    for _ in range(depth):
        os.mkdir("d" * 10, dir_fd=fd)
        below = os.open("d" * 10, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    try:
        with collector() as made:
            disk = answers(made, {"one": tmp_path})["one"]
        assert disk.why == "directories are nested too deep" or (disk.used_bytes or 0) >= depth
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


def test_deeper_than_there_are_descriptors(tmp_path: Path) -> None:
    (tmp_path / "/".join(["d"] * 100)).mkdir(parents=True)
    (tmp_path / "flat").mkdir()
    request = {"paths": [str(tmp_path), str(tmp_path / "flat")], "max_entries": 1000, "each_s": 60, "all_s": 60}
    said = subprocess.run(
        ["sh", "-c", 'ulimit -n 60; exec "$@"', "sh", sys.executable, "-I", "-S", walker.__file__],
        input=json.dumps(request).encode(),
        capture_output=True,
        check=True,
    )
    answered = [json.loads(line) for line in said.stdout.splitlines()]
    assert answered == [[0, None, "directories are nested too deep"], [1, du_bytes(tmp_path / "flat"), None]]


def test_other_file_systems_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    if not IS_ROOT or subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path / "mnt")]).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (tmp_path / "mnt/data").write_bytes(b"x" * (1 << 20))
        with collector() as made:
            disk = answers(made, {"one": tmp_path})["one"]
        assert disk.used_bytes == du_bytes(tmp_path)
        assert disk.used_bytes < 1 << 20
        (tmp_path / "file").touch()
        subprocess.run(["mount", "--bind", str(tmp_path / "mnt/data"), str(tmp_path / "file")], check=True)
        with collector() as made:
            assert answers(made, {"one": tmp_path})["one"].used_bytes == disk.used_bytes
        subprocess.run(["umount", str(tmp_path / "file")], check=True)
    finally:
        subprocess.run(["umount", str(tmp_path / "mnt")], check=True)


def test_directories_that_change_meanwhile(tmp_path: Path) -> None:
    """Directories become links to elsewhere and back: never followed, and no reason to fail."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real/data").write_bytes(b"x" * 100_000)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(tmp_path / "real", tmp_path / "away")
            os.symlink("/usr", tmp_path / "real")
            os.unlink(tmp_path / "real")
            os.rename(tmp_path / "away", tmp_path / "real")
            stop.wait(0.0005)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        with collector() as made:
            for _ in range(3):
                disk = answers(made, {"one": tmp_path})["one"]
                assert disk.used_bytes is not None and disk.used_bytes < 1 << 20
    finally:
        stop.set()
        thread.join()


# -- the child -------------------------------------------------------------------------------------------------------


def child_pid(made: Collector[str]) -> int:
    [pid] = [pid for pid in children() if b"walker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert made.is_busy
    return pid


@contextlib.contextmanager
def stuck() -> Iterator[Agent]:
    """An agent that takes the call and says nothing: the child waits for as long as we like."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Agent(f"http://127.0.0.1:{server.getsockname()[1]}/containers", timeout_s=300)


def test_one_at_a_time() -> None:
    with stuck() as agent, collector(agent) as made:
        assert made.start({"one": "/x"})
        assert not made.start({"two": "/y"})


def test_the_child_takes_what_nobody_else_wants() -> None:
    with stuck() as agent, collector(agent) as made:
        made.start({"one": "/x"})
        pid = child_pid(made)
        until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == 19, "it is niced")
        ask = subprocess.run(["ionice", "-p", str(pid)], capture_output=True, text=True)
        if ask.returncode == 0:
            until(
                lambda: "idle" in subprocess.run(["ionice", "-p", str(pid)], capture_output=True, text=True).stdout,
                "its disk class is idle",
            )


def test_reading_does_not_wait() -> None:
    with stuck() as agent, collector(agent) as made:
        assert made.read() == {}
        made.start({"one": "/x"})
        assert made.read() == {}
        assert made.is_busy


def test_a_child_that_is_killed_is_an_answer() -> None:
    with stuck() as agent, collector(agent) as made:
        made.start({"one": "/x", "two": "/y"})
        os.kill(child_pid(made), 9)
        found = rest(made)
        assert set(found) == {"one", "two"}
        assert found["one"].used_bytes is None and "-9" in str(found["one"].why)
        assert not made.is_busy and made.due_in_s(time.monotonic()) is None


def test_a_child_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observer_static.disk.SLACK_S", -299.9)
    with stuck() as agent, collector(agent) as made:
        made.start({"one": "/x"})
        due_s = made.due_in_s(time.monotonic())
        assert due_s is not None and due_s <= 0.1
        until(lambda: made.due_in_s(time.monotonic()) == 0, "it is due")
        assert made.read()["one"][1:] == (None, "took too long")
        assert rest(made) == {}


def test_the_environment_of_the_observer_is_not_the_child_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with collector() as made:
        assert answers(made, {"one": tmp_path})["one"].why is None


# -- asking the agent ------------------------------------------------------------------------------------------------

RUN = "/var/lib/mesos/slaves/S1/frameworks/F1/executors/{}/runs/R1/sandbox"


def container(executor_id: object, used: object) -> dict[str, object]:
    return {"executor_id": executor_id, "statistics": {"disk_used_bytes": used, "cpus_limit": 1.1}}


class _Handler(BaseHTTPRequestHandler):
    body: ClassVar[bytes]
    answer: ClassVar[int]
    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.answer)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def agent(document: object, status: int = 200) -> Iterator[str]:
    """The address of an agent that gives this answer."""
    said = document if isinstance(document, bytes) else json.dumps(document).encode()

    class Handler(_Handler):
        body = said
        answer = status
        asked: ClassVar[list[str]] = []

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/containers?x=1"
        assert set(Handler.asked) <= {"/containers?x=1"}
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_agent_answers() -> None:
    body = [container("thermos-a", 4096), container("thermos-ab", 8192.0), container(None, 1), "garbage", None]
    with agent(body) as url, collector(Agent(url)) as made:
        found = answers(made, {name: RUN.format(f"thermos-{name}") for name in ("a", "ab", "abc")})
    assert found["a"][1:] == (4096, None)
    assert found["ab"].used_bytes == 8192
    assert found["abc"].used_bytes is None


def test_paths_of_other_agents() -> None:
    body = [{"who": {"id": "e1"}, "disk": 7}]
    with agent(body) as url, collector(Agent(url, "who.id", "disk")) as made:
        assert answers(made, {"one": RUN.format("e1")})["one"].used_bytes == 7


@pytest.mark.parametrize(
    "body",
    [
        [],
        [container("e1", 1), container("e1", 2)],
        [container("e2", 1)],
        [container("e1", None)],
        [container("e1", -1)],
        [container("e1", True)],
        [container("e1", "12")],
        [container("e1", 1e300)],
        [{"executor_id": "e1", "statistics": [1]}],
        {"containers": []},
        b"[{]",
        b"\xff",
        b"[NaN]",
        b"[" * 100_000,
        b"",
    ],
    ids=str,
)
def test_an_answer_that_says_nothing_is_unknown(body: object) -> None:
    with agent(body) as url, collector(Agent(url)) as made:
        disk = answers(made, {"one": RUN.format("e1")})["one"]
    assert disk.used_bytes is None
    assert disk.why


@pytest.mark.parametrize("status", [302, 401, 404, 500])
def test_an_error_is_unknown(status: int) -> None:
    with agent([container("e1", 5)], status) as url, collector(Agent(url)) as made:
        disk = answers(made, {"one": RUN.format("e1")})["one"]
    assert disk.used_bytes is None
    assert str(status) in str(disk.why)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/containers", "file:///etc/passwd", "nonsense", "http://[", ""])
def test_no_agent_is_unknown(url: str) -> None:
    with collector(Agent(url)) as made:
        disk = answers(made, {"one": RUN.format("e1")})["one"]
    assert disk.used_bytes is None
    assert disk.why


def test_an_agent_that_takes_too_long_is_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/containers"
        with collector(Agent(url, timeout_s=0.3)) as made:
            disk = answers(made, {"one": RUN.format("e1")})["one"]
    assert disk[1:] == (None, "the agent did not answer within 0.3 s")


def test_the_defaults_are_the_original_s() -> None:
    made = Agent()
    assert made.url == "http://localhost:5051/containers"
    assert (made.executor_id_json_path, made.disk_usage_json_path) == ("executor_id", "statistics.disk_used_bytes")
    assert made.timeout_s == 5.0
    assert walker.pick({"a": {"b": 1}}, "a.b") == 1
    assert walker.pick({"a": {"b": 1}}, "a.b.c") is None
    assert walker.pick([], "a") is None
