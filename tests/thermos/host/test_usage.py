from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.box import NOBODY, Box, as_user, box, process, until
from tests.support.measuring import by_hand, measured, tree, ungrouped
from thermos.host import trees
from thermos.host.trees import Host
from thermos.host.usage import STATUSES, Sampler, Spent, rate

PYTHON = f"exec {sys.executable} -S -E -c"
#: Processor time is counted in ticks, of a tree's every process its own.
TICK_S = 1 / trees.TICKS_PER_S
ROOT = Path(__file__).parents[3]


@pytest.fixture
def a_box() -> Iterator[Box]:
    with box() as made:
        yield made


def on_cpu_s(pid: int) -> float:
    """How long *pid* was on a processor, by the scheduler's own clock (schedstat(5) of the kernel's documents)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


# -- rates -----------------------------------------------------------------------------------------------------------


def test_rate_is_what_was_spent_since() -> None:
    assert rate({(1, 5): Spent(30, 0)}, {(1, 5): Spent(10, 0)}, 100) == 20


def test_rate_counts_a_new_process_from_zero() -> None:
    assert rate({(1, 5): Spent(10, 0), (2, 101): Spent(7, 1)}, {(1, 5): Spent(10, 0)}, 100) == 8


def test_rate_leaves_out_the_past_of_one_that_was_a_strangers() -> None:
    assert rate({(1, 5): Spent(10, 0), (2, 50): Spent(7000, 0)}, {(1, 5): Spent(10, 0)}, 100) == 0


def test_rate_is_not_negative_when_processes_vanish() -> None:
    assert rate({(1, 5): Spent(12, 0)}, {(1, 5): Spent(10, 0), (2, 6): Spent(5000, 0)}, 100) == 2
    assert rate({}, {(1, 5): Spent(10, 0)}, 100) == 0
    assert rate({(1, 5): Spent(9, 0), (2, 6): Spent(4, 0)}, {(1, 5): Spent(10, 0), (2, 6): Spent(1, 0)}, 100) == 3


def test_rate_counts_what_a_child_spent_once_before_and_after_its_end() -> None:
    before = {(1, 5): Spent(10, 3), (2, 6): Spent(40, 0)}
    assert rate({(1, 5): Spent(10, 3 + 45)}, before, 100) == 5


def test_rate_knows_a_pid_that_was_reused() -> None:
    assert rate({(1, 105): Spent(4, 0)}, {(1, 5): Spent(1000, 0)}, 100) == 4


# -- asking ---------------------------------------------------------------------------------------------------


def test_states_are_called_what_psutil_calls_them() -> None:
    words = {getattr(psutil, name) for name in dir(psutil) if name.startswith("STATUS_")}
    assert set(STATUSES.values()) <= words


def test_one_pass_for_all_tasks(a_box: Box) -> None:
    a_box.start([process("one", "sleep 1000"), process("two", "sleep 1000")])
    a_box.until_running("one", "two")
    state = a_box.state
    with listings() as seen:
        usages = Sampler[int]().sample(dict.fromkeys(range(20), state))
    assert seen.count("/proc") == 1
    assert len(usages) == 20


_listed: list[str] | None = None


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _listed is not None:
        if event == "os.listdir":
            _listed.append(str(arguments[0]))
        elif event == "open" and str(arguments[0]).endswith("/smaps_rollup"):
            _listed.append("shares")


@contextlib.contextmanager
def listings() -> Iterator[list[str]]:
    """The directories that are listed meanwhile; ``shares`` for each proportional share that is asked for."""
    global _listed
    if _hear not in _hooks:
        _hooks.append(_hear)
        sys.addaudithook(_hear)
    seen: list[str] = []
    _listed = seen
    try:
        yield seen
    finally:
        _listed = None


_hooks: list[object] = []


def test_a_share_is_asked_for_when_the_size_has_changed(tmp_path: Path) -> None:
    """It costs the kernel a walk over all pages; who sleeps is not asked again at once."""
    grow = (
        "import sys; print('ready', flush=True); sys.stdin.readline(); x = bytearray(b'x') * (30 << 20); "
        "print('full', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", grow], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        until(lambda: Path(f"/proc/{child.pid}/stat").read_text().split()[2] == "S", "it waits")
        state = by_hand(None, child.pid)
        sampler = Sampler[str]()
        with listings() as seen:
            first = measured(sampler, state).processes["work"].ram_bytes or 0
            assert measured(sampler, state).processes["work"].ram_bytes == first
        assert seen.count("shares") == 1
        child.stdin.write("go\n")
        child.stdin.flush()
        assert child.stdout.readline() == "full\n"
        assert (measured(sampler, state).processes["work"].ram_bytes or 0) >= first + (30 << 20)
        child.stdin.close()


# -- real trees ------------------------------------------------------------------------------------------------------


def test_the_first_measurement_knows_no_rate(a_box: Box) -> None:
    a_box.start([process("one", "sleep 1000")])
    a_box.until_running("one")
    usage = measured(Sampler(), a_box.state)
    assert usage.task.cpu is None
    assert usage.processes["one"].cpu is None
    assert usage.disk_bytes is None


def test_cpu_agrees_with_the_scheduler(a_box: Box) -> None:
    a_box.start([process("busy", "while :; do :; done")])
    a_box.until_running("busy")
    state = ungrouped(a_box)
    pid = a_box.last("busy").pid
    assert pid is not None
    sampler = Sampler[str]()
    earliest_s = on_cpu_s(pid)
    first = measured(sampler, state).processes["busy"]
    latest_s = on_cpu_s(pid)
    until(lambda: on_cpu_s(pid) > latest_s + 0.5, "half a second of processor time")
    least_s = on_cpu_s(pid) - latest_s
    usage = measured(sampler, state)
    most_s = on_cpu_s(pid) - earliest_s
    second = usage.processes["busy"]
    assert second.cpu is not None and usage.task.cpu == second.cpu
    assert first.user_cpu_s is not None and second.user_cpu_s is not None
    spent_s = second.cpu * (second.at_s - first.at_s)
    assert least_s - 3 * TICK_S <= spent_s <= most_s + 3 * TICK_S
    assert second.user_cpu_s - first.user_cpu_s > 0.3
    assert second.status == "running"


def test_cpu_of_children_that_have_ended_is_not_lost(a_box: Box) -> None:
    burn = "import time\nwhile time.process_time() < 0.1: pass"
    loop = f"for _ in 1 2 3 4 5; do {sys.executable} -S -E -c '{burn}'; done; echo done > burnt; exec sleep 1000"
    a_box.start([process("many", f"until [ -e go ]; do read -t 0.01 < <(:); done; {loop}")])
    a_box.until_running("many")
    state = ungrouped(a_box)
    sampler = Sampler[str]()
    first = measured(sampler, state).processes["many"]
    Path(a_box.sandbox, "go").touch()
    a_box.until_file("burnt")
    second = measured(sampler, state).processes["many"]
    assert second.cpu is not None and second.cpu * (second.at_s - first.at_s) >= 0.5 - 3 * TICK_S


def test_memory_is_the_proportional_share(a_box: Box) -> None:
    hog = "x = bytearray(b'x') * (100 << 20); open('full', 'w').write('full\\n'); import signal; signal.pause()"
    a_box.start([process("hog", f'{PYTHON} "{hog}"')])
    a_box.until_file("full")
    a_box.until_running("hog")
    state = ungrouped(a_box)
    usage = measured(Sampler(), state).processes["hog"]
    assert usage.ram_kind == "pss"
    shares = [psutil.Process(pid).memory_full_info().pss for pid in tree(state, "hog")]
    assert usage.ram_bytes == pytest.approx(sum(shares), rel=0.02)
    assert usage.ram_bytes is not None and usage.rss_bytes is not None and usage.vms_bytes is not None
    assert usage.ram_bytes > 100 << 20
    assert usage.ram_bytes <= usage.rss_bytes <= usage.vms_bytes


def test_many_processes_are_counted_by_their_resident_size(a_box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thermos.host.usage.PSS_PROCESSES", 3)
    a_box.start(
        [process("many", "sleep 1000 & sleep 1000 & sleep 1000 & echo on > on; wait"), process("one", "sleep 9")]
    )
    a_box.until_file("on")
    a_box.until_running("many", "one")
    usage = measured(Sampler(), ungrouped(a_box))
    assert usage.processes["many"].ram_kind == "rss"
    assert usage.processes["many"].ram_bytes == usage.processes["many"].rss_bytes
    assert usage.processes["one"].ram_kind == "pss"
    assert usage.task.ram_kind == "rss"


def test_threads_descriptors_and_io(a_box: Box) -> None:
    work = textwrap.dedent("""
        import os, threading
        held = [os.open('/dev/null', os.O_RDONLY) for _ in range(37)]
        for _ in range(5):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        fd = os.open('data', os.O_CREAT | os.O_WRONLY)
        os.write(fd, b'x' * (8 << 20))
        os.fsync(fd)
        open('on', 'w').write('on\\n')
        threading.Event().wait()
    """)
    a_box.start([process("work", f'{PYTHON} "{work}"')])
    a_box.until_file("on")
    a_box.until_running("work")
    state = ungrouped(a_box)
    usage = measured(Sampler(), state)
    one = usage.processes["work"]
    pids = tree(state, "work")
    assert (one.processes, len(pids)) == (2, 2)  # the coordinator, and what the shell became
    assert one.threads == 6 + 1
    assert one.descriptors == sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
    assert (one.descriptors or 0) > 37
    kind = subprocess.run(["stat", "-f", "-c", "%T", a_box.sandbox], capture_output=True, text=True).stdout
    if kind.strip() != "tmpfs":  # which writes to no disk
        assert (one.written_bytes or 0) >= 8 << 20
    assert usage.task[5:11] == one[5:11]
    assert (one.nice, one.status) == (0, "sleeping")


def test_a_zombie_is_counted_and_harms_nothing(a_box: Box) -> None:
    work = "import os, signal; os.fork() or os._exit(0); open('on', 'w').write('on\\n'); signal.pause()"
    a_box.start([process("work", f'{PYTHON} "{work}"')])
    a_box.until_file("on")
    a_box.until_running("work")
    state = ungrouped(a_box)
    until(lambda: any(Host().rows[pid].is_dead for pid in tree(state, "work")), "a zombie")
    one = measured(Sampler(), state).processes["work"]
    assert one.processes == 3
    assert one.descriptors is not None and one.ram_kind == "pss"


def test_nothing_is_left_of_a_task_that_ended(a_box: Box) -> None:
    a_box.start([process("work", "sleep 1000")])
    a_box.until_running("work")
    state = ungrouped(a_box)
    sampler = Sampler[str]()
    measured(sampler, state)
    run = a_box.last("work")
    a_box.close()
    until(lambda: run.coordinator_pid not in Host().rows, "the coordinator is gone")
    usage = measured(sampler, state)
    assert usage.processes == {}
    assert (usage.task.processes, usage.task.ram_bytes, usage.task.cpu) == (0, 0, 0.0)


# -- as another user -------------------------------------------------------------------------------------------------

_AS_NOBODY = """
import json, sys
from thermos.checkpoints import read_task
from thermos.host.usage import Sampler
sampler = Sampler()
state = read_task(sys.argv[1], "task").state
state.header = state.header._replace(cgroup=None)
sampler.sample({0: state})
usage = sampler.sample({0: state})[0]
print(json.dumps({"task": usage.task._asdict(), **{n: u._asdict() for n, u in usage.processes.items()}}))
"""


def test_what_may_not_be_known_is_unknown(a_box: Box) -> None:
    words = as_user(NOBODY)
    packages = str(Path(psutil.__file__).parents[1])
    environment = {"PYTHONPATH": f"{ROOT}:{packages}", "PATH": os.environ["PATH"]}
    probe = subprocess.run([*words, "-c", "import psutil, thermos"], env=environment, cwd="/", capture_output=True)
    if probe.returncode:
        pytest.skip("other users cannot read this checkout and its packages")
    a_box.start([process("work", "sleep 1000")])
    a_box.until_running("work")
    subprocess.run(["chmod", "-R", "a+rX", a_box.root], check=True)
    said = subprocess.run(
        [*words, "-c", _AS_NOBODY, a_box.root], env=environment, cwd="/", capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    usages = json.loads(said.stdout)
    for usage in (usages["task"], usages["work"]):
        assert usage["processes"] == 2 and usage["threads"] == 2
        assert usage["descriptors"] is None
        assert usage["read_bytes"] is None and usage["written_bytes"] is None
        assert usage["ram_kind"] == "rss" and usage["ram_bytes"] == usage["rss_bytes"]
