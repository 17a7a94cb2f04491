"""``thermos_executor`` under a real Mesos: memory, processor time, delays, and a hundred tasks at once.

Its peer is the smallest executor that can be written with the same library (``tests/support/mini_executor.py``): it
has neither runner nor checks and says at once that its task runs. Mesos' own command executor is not in the lab.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import pytest

from benchmarks.harness import (
    LIMIT_S,
    Bench,
    Row,
    Skipped,
    activity,
    best,
    children,
    median,
    memory,
    process,
    start_ticks,
)
from benchmarks.harness import task as one_task
from benchmarks.memory import name_of
from tests.support.executor import COMMAND, ME, PROJECT, free_port
from tests.support.mesos import Mesos, Scheduler, mesos, with_marker
from tests.support.zookeeper import zookeeper

MEMORY_BYTES: Final = 30e6
CPU_SHARE: Final = 0.001
BEGIN_S: Final = 0.5
#: From LAUNCH to the user's process, where the executor is a pex that the host has unpacked.
PEX_S: Final = 0.8
#: Where ``packaging/build`` puts it.
PEX: Final = Path(PROJECT) / "dist" / "thermos_executor.pex"
END_S: Final = 0.05
CHECK_S: Final = 10
MINI: Final = (COMMAND[0], "-m", "tests.support.mini_executor")
PEER: Final = "bare executor"
_ROOM: Final = "cpus:1000;mem:100000;disk:1000000;ports:[31000-32000]"
#: A writer of pages leaves some seconds after the last change; on a busy machine it comes late as well.
_QUIET_S: Final = 60.0
_OURS: Final = (b"thermos.executor", b"runner/boot.py")
_T = TypeVar("_T")


class Timed(Scheduler):
    """Keeps when it was told each status."""

    def __init__(self, cluster: Mesos) -> None:
        self.told_at_s: dict[tuple[str, str], float] = {}
        super().__init__(cluster)

    def _take(self, event: dict[str, Any]) -> None:
        now_s = time.time()
        if event["type"] == "UPDATE":
            status = event["update"]["status"]
            self.told_at_s.setdefault((status["task_id"]["value"], status["state"]), now_s)
        super()._take(event)


@contextmanager
def lab() -> Iterator[tuple[Mesos, Timed]]:
    """Mesos with room for all, and a scheduler. Raises Skipped."""
    with ExitStack() as stack:
        cluster = _or_skip(lambda: stack.enter_context(mesos(MESOS_RESOURCES=_ROOM)))
        made = Timed(cluster)
        stack.callback(made.close)
        yield cluster, made


def _or_skip(make: Callable[[], _T]) -> _T:
    try:
        return make()
    except pytest.skip.Exception as reason:
        raise Skipped(str(reason)) from None


def fields(task_id: str, *processes: dict[str, Any], flags: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """What ``Scheduler.launch`` takes for a task that our executor runs."""
    job = {"task": one_task("task", list(processes)), "role": ME, "environment": "bench", "name": task_id, **more}
    environ = {"PYTHONPATH": PROJECT}
    return {"command": [*COMMAND, *flags], "data": json.dumps(job).encode(), "environ": environ}


def mini(task_id: str) -> dict[str, Any]:
    """The same for the peer."""
    environ = {"PYTHONPATH": PROJECT, "MINI_CONTROL": f"thermos-bench-{os.getpid()}-{task_id}"}
    return {"command": MINI, "environ": environ}


def executor_of(cluster: Mesos, task_id: str) -> int:
    """The executor's pid: the first of its sandbox. Raises RuntimeError."""
    run = _sandbox(cluster, task_id)
    here = [pid for pid in with_marker(os.fsencode(run)) if _cwd(pid) == str(run)]
    if not here:
        raise RuntimeError(f"the executor of {task_id} is gone")
    return min(here, key=lambda pid: (start_ticks(pid) or 0, pid))


def _sandbox(cluster: Mesos, task_id: str) -> Path:
    return next(path for path in cluster.sandboxes() if path.parts[-3] == f"executor-{task_id}")


def _cwd(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _ours(cluster: Mesos) -> list[int]:
    """All executors, runners, coordinators and writers of pages."""
    found = []
    for pid in with_marker(os.fsencode(cluster.directory)):
        try:
            cmdline = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if any(word in cmdline for word in _OURS):
            found.append(pid)
    return found


def _wait_quiet(cluster: Mesos) -> None:
    """Return when nobody writes pages any more, and none has for a second."""
    deadline_s = time.monotonic() + _QUIET_S
    quiet_s = 0.0
    while quiet_s < 1.0:
        if time.monotonic() > deadline_s:
            raise TimeoutError("the writers of pages do not leave")
        time.sleep(0.2)
        quiet_s = 0.0 if any(map(_writes_pages, _ours(cluster))) else quiet_s + 0.2


def _writes_pages(pid: int) -> bool:
    try:
        return name_of(pid) == "thermos-pages"
    except OSError:
        return False  # it has just ended


# --- At rest ------------------------------------------------------------------------------------------------------


def served(task_id: str, *flags: str, **more: Any) -> dict[str, Any]:
    """A task with an HTTP check every ten seconds."""
    port = free_port()
    serve = f"mkdir www; echo ok >www/health; exec {COMMAND[0]} -S -E -m http.server -b 127.0.0.1 -d www {port}"
    return fields(
        task_id,
        process("web", f"{serve} 2>/dev/null"),
        flags=flags,
        ports={"health": port},
        health_check_config={"interval_secs": CHECK_S, "initial_interval_secs": 1},
        **more,
    )


class Use(NamedTuple):
    """Of processes together, with those that they have waited for."""

    cpu_s: float
    switches: int


def use(pids: list[int]) -> Use:
    """So far: their own to the nanosecond, that of ended children to the tick. Raises OSError."""
    ticks = 0
    for pid in pids:
        ticks += sum(int(word) for word in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15])
    each = [activity(pid) for pid in pids]
    waited_s = ticks / os.sysconf("SC_CLK_TCK")
    return Use(sum(one.cpu_s for one in each) + waited_s, sum(one.switches for one in each))


def at_rest(bench: Bench) -> list[Row]:
    """Memory and processor time of executors whose tasks are asked for their health."""
    window_s = bench.pick(120, 20)  # the full one has two looks at what the task uses, one a minute
    rows = []
    with lab() as (cluster, framework), ExitStack() as stack:
        wanted = {"HTTP check": served("plain")}
        try:
            ensemble = _or_skip(lambda: stack.enter_context(zookeeper()))
            flags = (f"--announcer-ensemble={ensemble.hosts}",)
            wanted["HTTP check, announced"] = served("announced", *flags, announce={"primary_port": "health"})
        except Skipped as reason:
            bench.log(f"announcer: {reason}")
        for task in wanted.values():
            task_id = json.loads(task["data"])["name"]
            framework.launch(task_id, **task)
            framework.wait_for(task_id, "TASK_RUNNING")
        framework.launch("mini", **mini("mini"))
        framework.wait_for("mini", "TASK_RUNNING")
        _wait_quiet(cluster)
        bare = executor_of(cluster, "mini")
        found: dict[str, list[int]] = {}
        for name, task in wanted.items():
            executor = executor_of(cluster, json.loads(task["data"])["name"])
            (runner,) = children(executor)
            (coordinator,) = children(runner)
            found[name] = [executor, runner, coordinator]
        before = {name: use(pids) for name, pids in found.items()}
        time.sleep(window_s)
        after = {name: use(pids) for name, pids in found.items()}
        peer = float(memory(bare).private)
        for name, (executor, runner, coordinator) in found.items():
            sizes = [memory(pid).private for pid in (executor, runner, coordinator)]
            note = "executor {:.1f}, runner {:.1f}; coordinator {:.1f} MB".format(*(size / 1e6 for size in sizes))
            rows.append(
                Row(f"{name}: executor + runner, private", sizes[0] + sizes[1], "MB", MEMORY_BYTES, PEER, peer, note)
            )
            cpu_s = after[name].cpu_s - before[name].cpu_s
            switches = after[name].switches - before[name].switches
            rows.append(
                Row(
                    f"{name} every {CHECK_S} s for {window_s} s: processor time",
                    cpu_s,
                    "ms",
                    CPU_SHARE * window_s,
                    note=f"{100 * cpu_s / window_s:.3f} % of a core, {switches} switches",
                )
            )
    return rows


# --- Delays -------------------------------------------------------------------------------------------------------


def logged_s(log: str, word: str) -> float:
    """When the executor's log says so first. Raises RuntimeError."""
    for line in log.splitlines():
        when, _, said = line.partition(" ")
        if word in said:
            return datetime.strptime(when, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()
    raise RuntimeError(f"the executor's log has no {word!r}: {log[-500:]!r}")


def delays(bench: Bench) -> list[Row]:
    """From LAUNCH to the user's process, and from its end to what the scheduler is told."""
    launched, accepted, sent, told = [], [], [], []
    command = "echo $EPOCHREALTIME >began; sleep 1; echo $EPOCHREALTIME >ended"
    with lab() as (cluster, framework):
        for number in range(bench.pick(10, 3)):
            task_id = f"t{number}"
            begun_s = time.time()
            framework.launch(task_id, **fields(task_id, process("p", command)))
            framework.wait_for(task_id, "TASK_FINISHED", LIMIT_S)
            sandbox = _sandbox(cluster, task_id)
            log = (sandbox / "thermos_executor.log").read_text()
            began_s = float((sandbox / "sandbox/began").read_text())
            ended_s = float((sandbox / "sandbox/ended").read_text())
            launched.append(began_s - logged_s(log, f"I task {task_id}"))
            accepted.append(began_s - begun_s)
            sent.append(logged_s(log, "I TASK_FINISHED") - ended_s)
            told.append(framework.told_at_s[task_id, "TASK_FINISHED"] - ended_s)
            _wait_gone(sandbox)
    return [
        Row("LAUNCH event to user's process", median(launched), "s", BEGIN_S, note=best(launched)),
        Row("scheduler's accept to user's process", median(accepted), "s", note=best(accepted)),
        Row("process's end to terminal update sent", median(sent), "ms", END_S, note=best(sent)),
        Row("process's end to terminal update told", median(told), "ms", END_S, note=best(told)),
    ]


def packed(bench: Bench) -> list[Row]:
    """The scheduler's accept to the user's process, with the executor as it is shipped, unpacked once before."""
    if not PEX.exists():
        bench.log(f"{PEX} is not there: packaging/build makes it")
        return []
    seconds = []
    with lab() as (cluster, framework):
        environ = {"PEX_ROOT": str(bench.fresh("pex"))}
        for number in range(bench.pick(10, 3) + 1):
            task_id = f"t{number}"
            begun_s = time.time()
            asked = fields(task_id, process("p", "echo $EPOCHREALTIME >began"))
            framework.launch(task_id, **{**asked, "command": [str(PEX)], "environ": environ})
            framework.wait_for(task_id, "TASK_FINISHED", LIMIT_S)
            sandbox = _sandbox(cluster, task_id)
            seconds.append(float((sandbox / "sandbox/began").read_text()) - begun_s)
            _wait_gone(sandbox)
    first_s, *warm = seconds
    note = f"{best(warm)}; the first, which unpacks, {first_s:.1f} s"
    return [Row("scheduler's accept to user's process, executor a pex", median(warm), "s", PEX_S, note=note)]


def _wait_gone(sandbox: Path) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while with_marker(os.fsencode(sandbox)):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"something of {sandbox} does not end")
        time.sleep(0.05)


# --- Many ---------------------------------------------------------------------------------------------------------


class Peak:
    """The most that all executors, runners and coordinators of a Mesos hold together, looked at every two seconds."""

    def __init__(self, cluster: Mesos) -> None:
        self._cluster = cluster
        self.most_bytes = 0
        self.last_bytes = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak", daemon=True)

    def look(self) -> int:
        """Their proportional shares, now."""
        self.last_bytes = 0
        for pid in _ours(self._cluster):
            try:
                self.last_bytes += memory(pid).pss
            except OSError:
                continue  # it has just ended
        self.most_bytes = max(self.most_bytes, self.last_bytes)
        return self.last_bytes

    def _watch(self) -> None:
        while not self._is_over.wait(2):
            self.look()

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


def launch_all(framework: Timed, count: int, make: Callable[[str], dict[str, Any]]) -> float:
    """Launch *count* tasks in one call; the seconds until all of them were told RUNNING."""
    offer = framework.take_offer()
    ids = [f"t{number}" for number in range(count)]
    infos = [framework.task_info(offer, task_id, cpus=0.01, mem=32.0, **make(task_id)) for task_id in ids]
    begun_s = time.time()
    framework.accept(offer, infos)
    _wait_all(framework, ids, "TASK_RUNNING")
    return max(framework.told_at_s[task_id, "TASK_RUNNING"] for task_id in ids) - begun_s


def _wait_all(framework: Timed, ids: list[str], state: str) -> None:
    def are_there() -> bool:
        ended = {key for key in framework.told_at_s if key[1] not in ("TASK_STARTING", "TASK_RUNNING", state)}
        if ended:
            raise RuntimeError(f"not all are {state}: {sorted(ended)[:5]}")
        return all((task_id, state) in framework.told_at_s for task_id in ids)

    framework.wait(are_there, f"all are {state}", LIMIT_S)


def at_once(bench: Bench) -> list[Row]:
    """All launched in one call; they end together when they are let go."""
    count = bench.pick(100, 20)
    go = bench.fresh("go") / "go"
    os.mkfifo(go)
    with lab() as (cluster, framework):
        with Peak(cluster) as peak:
            running_s = launch_all(framework, count, lambda name: fields(name, process("p", f"read <{go}; true")))
            _wait_quiet(cluster)
            rest = peak.look()
            below = len(_ours(cluster))
            begun_s = time.time()
            with open(go, "wb"):
                pass  # whoever waits for a writer goes on, and reads an end
            _wait_all(framework, [f"t{number}" for number in range(count)], "TASK_FINISHED")
            finished_s = max(framework.told_at_s[f"t{number}", "TASK_FINISHED"] for number in range(count)) - begun_s
        statuses = {n: [one["state"] for one in framework.told(f"t{n}")] for n in range(count)}
        wrong = {n: told for n, told in statuses.items() if told != ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]}
        lost = len(wrong)
        if wrong:
            bench.log(f"not as they should be: {dict(list(wrong.items())[:3])}")
    with lab() as (_, framework):
        peer_s = launch_all(framework, count, mini)
    name = f"{count} tasks at once"
    return [
        Row(f"{name}: not told STARTING, RUNNING, FINISHED", lost, "", 0, note=f"{below} processes"),
        Row(f"{name}: accept to all RUNNING", running_s, "s", None, PEER, peer_s, "which says so at once"),
        Row(f"{name}: let go to all FINISHED", finished_s, "s"),
        Row(f"{name}: memory for each at rest, PSS", rest / count, "MB"),
        Row(f"{name}: memory for each at its peak, PSS", peak.most_bytes / count, "MB"),
    ]


def measure(bench: Bench) -> list[Row]:
    """All of it. Raises RuntimeError, Skipped."""
    try:
        return at_rest(bench) + delays(bench) + packed(bench) + at_once(bench)
    except AssertionError as error:  # the tests' scheduler was not told what it waited for
        raise RuntimeError(str(error)) from error
