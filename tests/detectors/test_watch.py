"""The tasks of a host, kept current: what is told, when, and that nothing else wakes the one who waits."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from detectors import ChainedPathDetector, FixedPathDetector, MesosPathDetector, PathDetector
from detectors.changes import Changes, Ledger, TaskKey
from detectors.watch import HostWatcher
from tests.support.box import SOON_S, Box, until
from tests.support.roots import add_task, append, finish, make_root, sandbox, stream, task_file
from thermos.checkpoints import is_owned, read_task
from thermos.executor.health_record import HealthRecord
from thermos.formats.health_file import Health, Verdict

pytestmark = pytest.mark.process

#: Longer than anything is allowed to take: what is told in time was told by the kernel.
NEVER_S = 3600.0


def watcher(detector: PathDetector | Path, **options: Any) -> HostWatcher:
    if isinstance(detector, Path):
        detector = FixedPathDetector(str(detector))
    return HostWatcher(detector, **{"rescan_s": NEVER_S, **options})


def soon(watch: HostWatcher) -> Changes:
    """The next changes; fails where nothing is told."""
    changes = watch.wait(SOON_S)
    assert changes, "nothing was told"
    return changes


def gather(watch: HostWatcher, is_enough: Callable[[Changes], bool]) -> Changes:
    """What several answers come to, until that is enough."""
    ledger = Ledger()
    deadline_s = time.monotonic() + SOON_S
    seen = Changes(frozenset(), frozenset(), frozenset())
    while not is_enough(seen):
        assert time.monotonic() < deadline_s, f"only {seen}"
        changes = watch.wait(1.0)
        for key in changes.appeared:
            ledger.appear(key)
        for key in changes.changed:
            ledger.change(key)
        for key in changes.vanished:
            ledger.vanish(key)
        new = ledger.take()
        seen = Changes(seen.appeared | new.appeared, seen.changed | new.changed, seen.vanished | new.vanished)
    return seen


def nothing_more(watch: HostWatcher) -> None:
    """Fails if anything is told that nobody did."""
    read_end, write_end = os.pipe()
    os.close(write_end)  # readable at once: what is queued is taken in, and nothing is waited for
    try:
        for _ in range(3):
            changes = watch.wait(SOON_S, read_end)
            assert not changes, changes
    finally:
        os.close(read_end)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "root")


# -- One root ----------------------------------------------------------------------------------------------------------


def test_the_first_look_finds_everything(root: Path) -> None:
    add_task(root, "a")
    add_task(root, "b", "finished")
    with watcher(root) as watch:
        changes = watch.wait(0)
        a, b = TaskKey(str(root), "a"), TaskKey(str(root), "b")
        assert changes == Changes(frozenset({a, b}), frozenset(), frozenset())
        assert dict(watch.tasks) == {a: True, b: False}
        assert len(watch.tasks) == 2
        assert watch.notices == ()
        nothing_more(watch)


@pytest.mark.parametrize("by", ["kernel", "polling"])
def test_what_an_executor_says_of_a_tasks_health_is_a_change(
    root: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_task(root, "t")
    if by == "polling":
        monkeypatch.setattr("detectors.rootwatch.remote_name", lambda fd: "nfs")
    with watcher(root, poll_s=0.05) as watch:
        assert soon(watch).appeared == {TaskKey(str(root), "t")}
        watch.wait(0)
        record = HealthRecord(str(root), "t")
        record.write(Health(Verdict.HEALTHY, "one", None))
        assert soon(watch).changed == {TaskKey(str(root), "t")}
        record.write(Health(Verdict.UNHEALTHY, "two", None))
        assert soon(watch).changed == {TaskKey(str(root), "t")}
        record.close()


def test_a_task_from_its_first_file_to_its_last(root: Path) -> None:
    key = TaskKey(str(root), "t")
    with watcher(root) as watch:
        assert not watch.scan()
        add_task(root, "t")
        assert soon(watch).appeared == {key}
        gather(watch, lambda seen: watch.tasks == {key: True})
        assert watch.wait(0).changed <= {key}  # the files it was made with were closed, which tells too

        append(root, "t")
        assert soon(watch).changed == {key}
        watch.wait(0)
        finish(root, "t")
        assert soon(watch) == Changes(frozenset(), frozenset({key}), frozenset())
        assert watch.tasks == {key: False}

        task_file(root, "t", "finished").unlink()
        assert soon(watch).vanished == {key}
        assert watch.tasks == {}
        nothing_more(watch)


def test_a_task_file_written_anew(root: Path) -> None:
    add_task(root, "t")
    with watcher(root) as watch:
        watch.scan()
        task_file(root, "t").write_text('{"name": "t"}')
        assert soon(watch).changed == {TaskKey(str(root), "t")}


def test_what_is_no_task_is_none(root: Path) -> None:
    outside = root.parent / "outside"
    outside.write_text("{}")
    with watcher(root) as watch:
        watch.scan()
        task_file(root, ".hidden").write_text("")
        task_file(root, "directory").mkdir()
        os.mkfifo(task_file(root, "fifo"))
        task_file(root, "link").symlink_to(outside)
        nothing_more(watch)
        assert not watch.scan()
        assert watch.tasks == {}


def test_links_below_a_root_lead_nowhere(root: Path, tmp_path: Path) -> None:
    other = make_root(tmp_path / "other")
    add_task(other, "secret")
    shutil.rmtree(root / "tasks")
    (root / "tasks").symlink_to(other / "tasks")
    with watcher(root) as watch:
        assert not watch.scan()
        (root / "tasks").unlink()
        make_root(root)
        add_task(root, "mine")
        assert soon(watch).appeared == {TaskKey(str(root), "mine")}
        shutil.rmtree(root / "checkpoints" / "mine")
        (root / "checkpoints" / "mine").symlink_to(other / "checkpoints" / "secret")
        gather(watch, lambda seen: TaskKey(str(root), "mine") in seen.changed)
        watch.wait(0)
        append(other, "secret")
        nothing_more(watch)


def test_a_checkpoint_that_comes_after_its_task_file(root: Path) -> None:
    """The original writes the task file first."""
    key = TaskKey(str(root), "t")
    (root / "checkpoints").rmdir()
    with watcher(root) as watch:
        watch.scan()
        task_file(root, "t").write_text("{}")
        gather(watch, lambda seen: key in seen.appeared)
        add_task(root, "t")
        gather(watch, lambda seen: key in seen.changed)
        watch.wait(0)
        append(root, "t")
        assert soon(watch).changed == {key}


def test_a_replaced_stream_and_directory(root: Path) -> None:
    key = TaskKey(str(root), "t")
    path = add_task(root, "t")
    with watcher(root) as watch:
        watch.scan()
        new = path.with_name("new")
        new.write_bytes(path.read_bytes())
        new.rename(path)
        gather(watch, lambda seen: key in seen.changed)
        shutil.move(path.parent, root / "elsewhere")
        gather(watch, lambda seen: key in seen.changed)
        add_task(root, "t")
        gather(watch, lambda seen: key in seen.changed)
        watch.wait(0)
        append(root, "t")
        assert soon(watch).changed == {key}
        with (root / "elsewhere" / "runner").open("ab") as file:  # of what is ours no more, nothing is told
            file.write(b"x")
        nothing_more(watch)


# -- Roots that come and go --------------------------------------------------------------------------------------------


def test_a_root_that_does_not_exist_yet(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b" / "c"
    with watcher(root) as watch:
        assert not watch.scan()
        assert watch.roots == (str(root),)
        (tmp_path / "unrelated").mkdir()
        nothing_more(watch)
        add_task(root, "t")
        assert TaskKey(str(root), "t") in gather(watch, lambda seen: bool(seen.appeared)).appeared


def test_a_root_that_goes_and_comes_again(root: Path) -> None:
    key = TaskKey(str(root), "t")
    add_task(root, "t")
    with watcher(root) as watch:
        watch.scan()
        shutil.rmtree(root)
        gather(watch, lambda seen: key in seen.vanished)
        assert watch.tasks == {}
        add_task(root, "t")
        gather(watch, lambda seen: key in seen.appeared)
        watch.wait(0)
        append(root, "t")
        gather(watch, lambda seen: key in seen.changed)


def test_a_root_that_is_moved_away_and_another_put_there(root: Path) -> None:
    add_task(root, "old")
    other = make_root(root.parent / "other")
    add_task(other, "new")
    with watcher(root) as watch:
        watch.scan()
        root.rename(root.parent / "away")
        gather(watch, lambda seen: TaskKey(str(root), "old") in seen.vanished)
        other.rename(root)
        gather(watch, lambda seen: TaskKey(str(root), "new") in seen.appeared)
        assert set(watch.tasks) == {TaskKey(str(root), "new")}


@pytest.mark.parametrize("first", ["slaves", "agents"])
def test_new_executors_of_an_agent_are_noticed(tmp_path: Path, first: str) -> None:
    work_dir = tmp_path / "mesos"
    with watcher(MesosPathDetector(str(work_dir))) as watch:
        assert not watch.scan()
        for number in range(5):
            root = sandbox(work_dir, f"thermos-{number}", first=first) / "checkpoints"
            key = TaskKey(str(root), "t")
            add_task(root, "t")
            gather(watch, lambda seen, key=key: key in seen.appeared)  # type: ignore[misc]
        watch.wait(0)
        append(root, "t")
        assert key in soon(watch).changed
        again = sandbox(work_dir, "thermos-4", "r1", first=first) / "checkpoints"
        add_task(again, "t")
        gather(watch, lambda seen: TaskKey(str(again), "t") in seen.appeared)
        assert len(watch.tasks) == 6
        shutil.rmtree(work_dir / first / "S0" / "frameworks" / "F0" / "executors" / "thermos-0")
        gather(watch, lambda seen: len(seen.vanished) == 1)
        shutil.rmtree(work_dir)
        gather(watch, lambda seen: len(seen.vanished) == 5)
        assert watch.roots == ()
        assert watch.watch_count == 1  # of what will be there again, should it come again


def test_an_agent_s_tree_that_is_built_while_it_is_watched(tmp_path: Path) -> None:
    """As fast as another process can: the watch is added, then what came before it is looked for."""
    work_dir = tmp_path / "mesos"
    script = (
        "import sys; from pathlib import Path; from tests.support.roots import add_task, sandbox\n"
        "for n in range(200): add_task(sandbox(Path(sys.argv[1]), f'e{n}') / 'checkpoints', f't{n}')"
    )
    with watcher(MesosPathDetector(str(work_dir))) as watch:
        watch.scan()
        builder = subprocess.Popen([sys.executable, "-c", script, str(work_dir)], cwd=Path(__file__).parents[2])
        seen: set[str] = set()
        deadline_s = time.monotonic() + SOON_S
        while len(seen) < 200 and time.monotonic() < deadline_s:
            seen |= {key.task_id for key in watch.wait(1.0).appeared}
        assert builder.wait(SOON_S) == 0
        assert seen == {f"t{n}" for n in range(200)}


def test_executors_that_change_names_behind_its_back(tmp_path: Path) -> None:
    """Nothing below them changes: that another directory bears the name is all that can be seen."""
    work_dir = tmp_path / "mesos"
    roots = [sandbox(work_dir, f"e{number}") / "checkpoints" for number in range(2)]
    for number, root in enumerate(roots):
        add_task(root, f"t{number}")
    with watcher(MesosPathDetector(str(work_dir))) as watch:
        watch.scan()
        executors = roots[0].parents[3]
        (executors / "e0").rename(executors / "away")
        (executors / "e1").rename(executors / "e0")
        (executors / "away").rename(executors / "e1")
        swapped = {TaskKey(str(roots[0]), "t1"), TaskKey(str(roots[1]), "t0")}
        gather(watch, lambda seen: seen.appeared >= swapped)
        assert set(watch.tasks) == swapped
        while watch.wait(0):
            pass
        append(roots[0], "t1")
        assert soon(watch).changed == {TaskKey(str(roots[0]), "t1")}
        add_task(executors / "e1" / "runs" / "r1" / "checkpoints", "new")
        gather(watch, lambda seen: {key.task_id for key in seen.appeared} == {"new"})


def test_one_directory_is_one_root(tmp_path: Path) -> None:
    work_dir = tmp_path / "mesos"
    root = sandbox(work_dir, "e") / "checkpoints"
    add_task(root, "t")
    (tmp_path / "alias").symlink_to(work_dir)
    others: list[PathDetector] = [
        FixedPathDetector(f"{root}/"),
        MesosPathDetector(str(tmp_path / "alias")),
        FixedPathDetector(str(root)),
    ]
    with watcher(ChainedPathDetector(MesosPathDetector(str(work_dir)), *others)) as watch:
        watch.scan()
        assert list(watch.tasks) == [TaskKey(str(root), "t")]
        assert watch.roots == (str(root),)
        append(root, "t")
        assert soon(watch).changed == {TaskKey(str(root), "t")}


def test_the_other_name_stays_when_the_first_goes(tmp_path: Path) -> None:
    root = add_task(tmp_path / "root", "t").parents[2]
    link = tmp_path / "link"
    link.symlink_to(root)
    with watcher(ChainedPathDetector(FixedPathDetector(str(link)), FixedPathDetector(str(root)))) as watch:
        watch.scan()
        assert list(watch.tasks) == [TaskKey(str(link), "t")]
        link.unlink()
        watch.scan()
        assert list(watch.tasks) == [TaskKey(str(root), "t")]


# -- Waiting -----------------------------------------------------------------------------------------------------------


def test_waiting_ends_with_its_time_and_with_other_descriptors(root: Path) -> None:
    with watcher(root) as watch:
        watch.scan()
        before_s = time.monotonic()
        assert not watch.wait(0.05)
        assert 0.05 <= time.monotonic() - before_s < SOON_S
        read_end, write_end = os.pipe()
        try:
            timer = threading.Timer(0.05, os.write, (write_end, b"x"))
            timer.start()
            assert not watch.wait(None, read_end)
            timer.join()
        finally:
            os.close(read_end)
            os.close(write_end)


WAKES = """
import sys
from pathlib import Path
from detectors import FixedPathDetector
from detectors.watch import HostWatcher

def switches():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("\\nvoluntary_ctxt_switches:")[2].split()[0])

with HostWatcher(FixedPathDetector(sys.argv[1]), rescan_s=float(sys.argv[2])) as watch:
    watch.scan()
    print("ready", flush=True)
    sys.stdin.readline()
    before = switches()
    assert not watch.wait(1.0)
    print(switches() - before)
"""


@pytest.mark.parametrize("rescan_s, most", [(NEVER_S, 1), (0.25, 5)])
def test_nothing_wakes_it_when_nothing_changes(root: Path, rescan_s: float, most: int) -> None:
    """But the rescan. Readers do not: not itself, not others that look at the same files meanwhile."""
    keys = [f"t{number}" for number in range(20)]
    for key in keys:
        add_task(root, key)
    command = [sys.executable, "-c", WAKES, str(root), str(rescan_s)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as waiting:
        assert waiting.stdin is not None and waiting.stdout is not None
        assert waiting.stdout.readline() == "ready\n"
        waiting.stdin.write("\n")
        waiting.stdin.flush()
        while waiting.poll() is None:
            for key in keys:
                read_task(str(root), key)
                is_owned(str(stream(root, key)))
                os.utime(stream(root, key))  # as the original's runner does to say that it lives
            os.listdir(root / "tasks" / "active")
        assert int(waiting.stdout.read()) <= most


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(str(tmp_path))
    yield box
    box.close()


def test_a_runner_that_is_killed_is_told_of(box: Box) -> None:
    """It writes no record of its end; that its stream was closed is all there is."""
    key = TaskKey(box.root, "task")
    with watcher(Path(box.root)) as watch:
        watch.scan()
        runner = box.start([{"name": "p", "cmdline": "exec sleep 1000"}])
        box.until_running("p")
        gather(watch, lambda seen: key in seen.appeared)
        while watch.wait(0.3):
            pass
        size = os.stat(f"{box.root}/checkpoints/task/runner").st_size
        runner.send_signal(signal.SIGKILL)
        lives: list[bool | None] = []
        deadline_s = time.monotonic() + SOON_S
        while False not in lives and time.monotonic() < deadline_s:
            if key in watch.wait(1.0).changed:  # asked only when told, never on suspicion
                lives.append(is_owned(f"{box.root}/checkpoints/task/runner"))
        assert lives[-1:] == [False]
        assert os.stat(f"{box.root}/checkpoints/task/runner").st_size == size


def test_a_real_task_to_its_end(box: Box) -> None:
    key = TaskKey(box.root, "task")
    with watcher(Path(box.root)) as watch:
        watch.scan()
        assert box.run([{"name": "p", "cmdline": "true"}]) == 0
        gather(watch, lambda seen: watch.tasks == {key: False})
        until(lambda: not watch.wait(0.3), "it is told of for ever")
