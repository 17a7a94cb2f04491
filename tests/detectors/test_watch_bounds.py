"""The watcher where it is made hard: no watches left, queues that overflow, floods, garbage, deletions meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from detectors import ChainedPathDetector, FixedPathDetector, MesosPathDetector, remote, rootwatch, watched
from detectors.changes import TaskKey
from detectors.plugins import PluginFailed
from detectors.watch import HostWatcher
from tests.support.box import SOON_S, until
from tests.support.roots import add_task, append, finish, make_root, sandbox, stream, task_file
from thermos.host.linux import filesystem_type

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).parents[2]
NEVER_S = 3600.0

#: Scans, says what it found, and then for each line on its input waits until something changed.
SCRIPT = """
import json, os, sys, time
from detectors import ChainedPathDetector, FixedPathDetector, MesosPathDetector
from detectors.watch import HostWatcher

detector = ChainedPathDetector(FixedPathDetector(sys.argv[1]), MesosPathDetector(sys.argv[2]))
with HostWatcher(detector, rescan_s=3600, poll_s=0.2) as watch:
    changes = watch.scan()
    while True:
        tasks = sorted(key.task_id for key in watch.tasks)
        print(json.dumps({"changes": [sorted(key.task_id for key in part) for part in changes], "tasks": tasks,
                          "notices": watch.notices, "watches": watch.watch_count}), flush=True)
        if not sys.stdin.readline():
            break
        changes = watch.wait(30)
"""


class Elsewhere:
    """A watcher in a user namespace of its own, where inotify is as scarce as we like."""

    def __init__(self, root: Path, work_dir: Path, limit: str) -> None:
        shell = f'echo {limit} && exec "$@"'
        command = ["unshare", "-U", "-r", "sh", "-c", shell, "-", sys.executable, "-c", SCRIPT, root, work_dir]
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        self.told = self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.close()
            pytest.skip("no user namespace whose inotify limits can be set")
        told: dict[str, Any] = json.loads(line)
        return told

    def ask(self) -> None:
        """Have it wait."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        self.told = self._read()
        return self.told

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait(SOON_S)


@pytest.mark.parametrize(
    "limit, words",
    [
        ("0 > /proc/sys/user/max_inotify_instances", "no inotify (Too many open files)"),
        ("4 > /proc/sys/user/max_inotify_watches", "inotify's limit of watches is reached"),
    ],
)
def test_without_watches_it_says_so_and_polls(tmp_path: Path, limit: str, words: str) -> None:
    root, work_dir = make_root(tmp_path / "root"), tmp_path / "mesos"
    roots = [sandbox(work_dir, f"e{number}") / "checkpoints" for number in range(5)]
    for number, path in enumerate(roots):
        add_task(path, f"t{number}")
    watch = Elsewhere(root, work_dir, limit)
    try:
        assert watch.told["tasks"] == ["t0", "t1", "t2", "t3", "t4"]
        assert len(watch.told["notices"]) == 1
        assert words in watch.told["notices"][0]
        assert watch.told["notices"][0].endswith("changes are looked for every 0.2 s")
        append(roots[4], "t4")
        watch.ask()
        assert watch.answer()["changes"] == [[], ["t4"], []]
        add_task(sandbox(work_dir, "e5") / "checkpoints", "t5")
        watch.ask()
        assert watch.answer()["changes"][0] == ["t5"]
        finish(roots[0], "t0")
        watch.ask()
        assert "t0" in watch.answer()["changes"][1]
    finally:
        watch.close()


def test_on_a_remote_file_system_it_says_so_and_polls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setitem(remote.REMOTE, filesystem_type(fd), "NFS")
    os.close(fd)
    add_task(tmp_path, "t")
    with HostWatcher(FixedPathDetector(str(tmp_path)), rescan_s=NEVER_S, poll_s=0.05) as watch:
        watch.scan()
        assert watch.notices == (f"{tmp_path} is on a remote file system (NFS): changes are looked for every 0.05 s",)


def test_an_overflow_loses_nothing(tmp_path: Path) -> None:
    roots = [tmp_path / f"r{number}" for number in range(2)]
    for root in roots:
        add_task(root, "t")
        add_task(root, "u")
    detector = ChainedPathDetector(*(FixedPathDetector(str(root)) for root in roots))
    with HostWatcher(detector, rescan_s=NEVER_S) as watch:
        watch.scan()
        queued = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        if queued > 100_000:
            pytest.skip(f"this host queues {queued} events")
        for _ in range(queued // 2 + 100):  # one event after another that is not the same
            for root in roots:
                fd = os.open(stream(root, "t"), os.O_WRONLY | os.O_APPEND)
                os.write(fd, b"x")
                os.close(fd)
        finish(roots[0], "u")
        task_file(roots[1], "u").unlink()
        add_task(roots[1], "new")
        shutil.rmtree(roots[0] / "checkpoints" / "t")
        add_task(roots[0], "t")
        changes = watch.wait(SOON_S)
        first, second = map(str, roots)
        assert TaskKey(second, "new") in changes.appeared
        assert {TaskKey(first, "u"), TaskKey(first, "t"), TaskKey(second, "t")} <= changes.changed
        assert TaskKey(second, "u") in changes.vanished
        while watch.wait(0):
            pass
        append(roots[0], "t")
        assert watch.wait(SOON_S).changed == {TaskKey(first, "t")}


def test_a_sweep_sees_what_came_within_one_time_stamp(tmp_path: Path) -> None:
    make_root(tmp_path)
    with HostWatcher(FixedPathDetector(str(tmp_path)), rescan_s=NEVER_S) as watch:
        watch.scan()
        for number in range(300):  # directories bear the time of the clock's last tick
            task_file(tmp_path, f"t{number}", "finished").touch()
            assert len(watch.scan().appeared) == 1


FLOOD = """
import os, sys
fds = [os.open(f"{sys.argv[1]}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND) for name in ("runner", "coordinator.p")]
while True:
    for fd in fds:
        os.write(fd, b"x")
        os.ftruncate(fd, 100)
"""


def test_who_floods_is_looked_at_now_and_then(tmp_path: Path) -> None:
    noisy, quiet = tmp_path / "noisy", tmp_path / "quiet"
    add_task(noisy, "t")
    add_task(quiet, "q")
    detector = ChainedPathDetector(FixedPathDetector(str(noisy)), FixedPathDetector(str(quiet)))
    with HostWatcher(detector, rescan_s=NEVER_S) as watch:
        watch.scan()
        flood = subprocess.Popen([sys.executable, "-c", FLOOD, str(stream(noisy, "t").parent)])
        try:
            until(lambda: watch.wait(0.01) is None or watch.notices, "the flood is heard out")
            assert watch.notices[0].startswith(f"{noisy} changes faster than anybody can be told")
            while watch.wait(0):
                pass
            before_s = time.process_time()
            append(quiet, "q")
            assert TaskKey(str(quiet), "q") in watch.wait(SOON_S).changed
            watch.wait(1)
            assert time.process_time() - before_s < 0.1
        finally:
            flood.kill()
            flood.wait()
        finish(noisy, "t")
        until(lambda: watch.wait(2) is None or not watch.tasks[TaskKey(str(noisy), "t")], "its end is not seen")
        watch.scan()
        assert not watch.notices
        add_task(noisy, "u")
        assert TaskKey(str(noisy), "u") in watch.wait(SOON_S).appeared


def test_a_sandbox_that_is_none_of_ours_is_not_listened_to_for_ever(tmp_path: Path) -> None:
    work_dir = tmp_path / "mesos"
    box = sandbox(work_dir, "spark")
    with HostWatcher(MesosPathDetector(str(work_dir)), rescan_s=NEVER_S) as watch:
        watch.scan()
        before = watch.watch_count
        for number in range(200):
            (box / f"part-{number}").touch()
        assert not watch.wait(0.1)
        assert watch.watch_count == before - 1
        add_task(box / "checkpoints", "t")
        assert len(watch.scan().appeared) == 1


def test_more_tasks_than_anybody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rootwatch, watched):
        monkeypatch.setattr(module, "MOST_TASKS", 10)
    monkeypatch.setattr(rootwatch, "MOST_WATCHED", 3)
    make_root(tmp_path)
    for number in range(15):
        task_file(tmp_path, f"f{number}", "finished").touch()
    for number in range(5):
        add_task(tmp_path, f"a{number}")
    with HostWatcher(FixedPathDetector(str(tmp_path)), rescan_s=NEVER_S, poll_s=0.05) as watch:
        watch.scan()
        assert len(watch.tasks) == 15
        said = " ".join(watch.notices)
        assert "has more than 10 task files: not all are shown" in said
        assert "has more than 3 active tasks: changes are looked for every 0.05 s" in said
        for number in range(5):
            append(tmp_path, f"a{number}")
        seen: set[str] = set()
        deadline_s = time.monotonic() + SOON_S
        while len(seen) < 5 and time.monotonic() < deadline_s:
            seen |= {key.task_id for key in watch.wait(1.0).changed}
        assert len(seen) == 5


class Moody:
    """A finder that works at first."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.error: Exception | None = None

    def get_paths(self) -> list[str]:
        if self.error is not None:
            raise self.error
        return [self.path]


@pytest.mark.parametrize("error", [PluginFailed("detector moody of moods 1.0 failed"), OSError(24, "Too many")])
def test_a_detector_that_fails_later_loses_nothing(tmp_path: Path, error: Exception) -> None:
    add_task(tmp_path, "t")
    moody = Moody(str(tmp_path))
    with HostWatcher(moody, rescan_s=NEVER_S) as watch:
        watch.scan()
        moody.error = error
        assert not watch.scan()
        assert watch.notices == (f"{error}: roots that come and go are not seen",)
        append(tmp_path, "t")
        assert watch.wait(SOON_S).changed
        moody.error = None
        watch.scan()
        assert not watch.notices


FULL = """
import os, resource, sys
from detectors import MesosPathDetector
from detectors.watch import HostWatcher
with HostWatcher(MesosPathDetector(sys.argv[1])) as watch:
    assert len(watch.scan().appeared) == 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    changes = watch.scan()
    assert not changes, changes
    assert "Too many open files" in watch.notices[0], watch.notices
    for fd in held:
        os.close(fd)
    assert not watch.scan()
    assert not watch.notices, watch.notices
    print("good")
"""


def test_no_free_descriptor_makes_no_task_vanish(tmp_path: Path) -> None:
    add_task(sandbox(tmp_path, "e") / "checkpoints", "t")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, cwd=REPOSITORY, timeout=60
    )
    assert done.stdout == "good\n", done.stderr


class Chaos(threading.Thread):
    """Makes, moves, replaces and deletes tasks and whole sandboxes, as fast as it can."""

    def __init__(self, work_dir: Path, seed: int, rounds: int) -> None:
        super().__init__()
        self.work_dir = work_dir
        self.random = random.Random(seed)
        self.rounds = rounds

    def run(self) -> None:
        for _ in range(self.rounds):
            with contextlib.suppress(OSError):  # what it wants to change may be gone already
                self.step()

    def step(self) -> None:
        draw = self.random
        name = f"e{draw.randrange(8)}"
        executor = self.work_dir / "slaves" / "S0" / "frameworks" / "F0" / "executors" / name
        root = executor / "runs" / "r0" / "checkpoints"
        task_id = f"t{draw.randrange(3)}"
        match draw.randrange(12):
            case 0 | 1 | 2:
                if not root.parent.exists():
                    sandbox(self.work_dir, name)
                add_task(root, task_id)
            case 3 | 4:
                append(root, task_id)
            case 5:
                finish(root, task_id)
            case 6:
                task_file(root, task_id, draw.choice(("active", "finished"))).unlink()
            case 7:
                shutil.rmtree(draw.choice((root, root / "tasks", root / "checkpoints", executor)))
            case 8:
                root.rename(root.with_name("away"))
            case 9:
                root.with_name("away").rename(root)
            case 10:
                executor.rename(executor.with_name(f"e{draw.randrange(8)}"))
            case 11:
                stream(root, task_id).write_bytes(draw.randbytes(50))
                (root / "tasks" / "active" / "junk").symlink_to("/etc/passwd")


@pytest.mark.parametrize("seed", range(6))
def test_after_any_chaos_it_knows_what_is_there(tmp_path: Path, seed: int) -> None:
    """Told by events alone: what it knows is what one who comes anew finds."""
    work_dir = tmp_path / "mesos"
    chaos = Chaos(work_dir, seed, 600)
    told: dict[TaskKey, bool] = {}
    detector = MesosPathDetector(str(work_dir))
    with HostWatcher(detector, rescan_s=NEVER_S) as watch:
        watch.scan()
        chaos.start()
        is_last = False
        while not is_last:
            is_last = not chaos.is_alive()
            while changes := watch.wait(0.3 if is_last else 0.01):
                for key in changes.appeared | changes.changed:
                    told[key] = watch.tasks[key]
                for key in changes.vanished:
                    del told[key]
        chaos.join()
        with HostWatcher(detector) as anew:
            anew.scan()
            expected = dict(anew.tasks)
            held = anew.watch_count
        assert dict(watch.tasks) == told
        assert told == expected
        assert watch.watch_count == held  # and it holds no watch on what is gone


LARGE = """
import gc, sys, time
from detectors import FixedPathDetector
from detectors.watch import HostWatcher
def pss_bytes():
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
before = pss_bytes()
begin_s = time.monotonic()
with HostWatcher(FixedPathDetector(sys.argv[1])) as watch:
    found = len(watch.scan().appeared)
    took_s = time.monotonic() - begin_s
    gc.collect()
    print(found, took_s, pss_bytes() - before)
"""


@pytest.mark.slow
def test_a_hundred_thousand_finished_tasks(tmp_path: Path) -> None:
    make_root(tmp_path)
    for number in range(100_000):
        os.close(
            os.open(f"{tmp_path}/tasks/finished/www-prod-web-{number}-0b6b6f4e-2f3a-4f7e", os.O_CREAT | os.O_WRONLY)
        )
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path)], capture_output=True, text=True, cwd=REPOSITORY, timeout=60
    )
    found, took_s, pss_bytes = done.stdout.split()
    assert int(found) == 100_000
    assert float(took_s) < 5
    assert int(pss_bytes) < 32 << 20
