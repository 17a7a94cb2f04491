from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from observer_static import metrics as module
from observer_static.facts import read_facts
from observer_static.metrics import (
    MAX_LABEL_CHARS,
    MAX_SERIES,
    OTHER,
    STATES,
    Metrics,
    Own,
    Series,
    exposition,
    variables,
    write_textfile,
)
from tests.support.box import box, process
from thermos.core.state import RunnerState
from thermos.host.usage import TaskUsage, Usage
from thermos.records import DeathCertificate, ProcessStatus, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

P = ProcessState


def state(*runs: tuple[str, list[ProcessState]], task: TaskState | None = TaskState.ACTIVE) -> RunnerState:
    """A task whose processes had these ends, one for each run."""
    made = RunnerState()
    made.apply(RunnerHeader("task", 0, user="www"))
    if task is not None:
        made.apply(TaskStatus(TaskState.ACTIVE, 0, 1, 0))
    for name, ends in runs:
        seq = 0
        for end in ends:
            for step in dict.fromkeys((P.WAITING, P.FORKED, P.RUNNING, end)):
                made.apply(ProcessStatus(seq, name, step))
                seq += 1
    if task is not None and task is not TaskState.ACTIVE:
        for move in dict.fromkeys((TaskState.CLEANING, task)):
            made.apply(TaskStatus(move, 0, 1, 0))
    return made


def used(cpu: float | None, ram_bytes: int | None, user_cpu_s: float | None = 1.0, run: int = 0) -> Usage:
    unknown = (None,) * 4
    return Usage(1.0, cpu, ram_bytes, ram_bytes, None, user_cpu_s, user_cpu_s, None, *unknown, None, None, run=run)


def record(metrics: Metrics[str], key: str, runs: RunnerState, is_active: bool = True, name: str = "hello") -> None:
    metrics.record(key, runs, is_active=is_active, role="www", name=name)


#: What Prometheus' parser calls a series: its name and labels.
Line = tuple[str, tuple[tuple[str, str], ...]]


def at(name: str, **labels: str | None) -> Line:
    """The series of that name with these labels."""
    return name, tuple(sorted((key, str(value)) for key, value in labels.items()))


def of(process: str, name: str, role: str = "www", task: str = "hello", **labels: str) -> Line:
    """The series ``thermos_process_NAME`` of a process."""
    return at(f"thermos_process_{name}", role=role, task=task, process=process, **labels)


def samples(metrics: Metrics[str]) -> dict[Line, float]:
    """What a Prometheus server reads."""
    found = {}
    for family in text_string_to_metric_families(exposition(metrics).decode("utf-8")):
        assert family.documentation, family.name
        for sample in family.samples:
            key = at(sample.name, **sample.labels)
            assert key not in found
            found[key] = sample.value
    return found


# -- counting --------------------------------------------------------------------------------------------------------


def test_every_state_is_there_from_the_start() -> None:
    found = samples(Metrics())
    for name in STATES:
        assert found[at("thermos_tasks", state=name, active="true")] == 0
        assert found[at("thermos_tasks", state=name, active="false")] == 0
    assert set(STATES) == {*TaskState.__members__, "UNKNOWN"}


def test_tasks_by_state() -> None:
    metrics = Metrics[str]()
    record(metrics, "a", state())
    record(metrics, "b", state())
    record(metrics, "b", state(task=TaskState.CLEANING))
    record(metrics, "c", state(task=TaskState.SUCCESS), is_active=False)
    record(metrics, "d", state(task=None))
    record(metrics, "e", state())
    metrics.forget("e")
    by_state = {key: number for key, number in metrics.tasks_by_state().items() if number}
    assert by_state == {
        ("ACTIVE", True): 1,
        ("CLEANING", True): 1,
        ("SUCCESS", False): 1,
        ("UNKNOWN", True): 1,
    }


def test_counters_add_up_what_is_new() -> None:
    metrics = Metrics[str]()
    record(metrics, "a", state(("web", [P.FAILED, P.RUNNING])))
    record(metrics, "a", state(("web", [P.FAILED, P.FAILED, P.SUCCESS])))
    record(metrics, "a", state(("web", [P.FAILED, P.FAILED, P.SUCCESS])))
    record(metrics, "b", state(("web", [P.RUNNING]), ("db", [P.RUNNING])))
    found = samples(metrics)
    assert found[of("web", "runs_total")] == 3 + 1
    assert found[of("web", "failures_total")] == 2
    assert found[of("web", "restarts_total")] == 2
    assert found[of("db", "runs_total")] == 1
    assert found[of("db", "restarts_total")] == 0


def test_counters_outlive_tasks() -> None:
    metrics = Metrics[str]()
    record(metrics, "a", state(("web", [P.FAILED, P.RUNNING])))
    record(metrics, "a", state(("web", [P.FAILED, P.FAILED]), task=TaskState.FAILED), is_active=False)
    record(metrics, "a", state(("web", [P.FAILED, P.FAILED]), task=TaskState.FAILED), is_active=False)
    metrics.forget("a")
    assert samples(metrics)[of("web", "runs_total")] == 2


def test_what_a_finished_task_did_is_counted_once() -> None:
    metrics = Metrics[str]()
    for _ in range(2):
        record(metrics, "a", state(("web", [P.SUCCESS]), task=TaskState.SUCCESS), is_active=False)
    assert samples(metrics)[of("web", "runs_total")] == 1


def test_usage_by_name() -> None:
    metrics = Metrics[str]()
    for key in ("a", "b"):
        record(metrics, key, state(("web", [P.RUNNING]), ("db", [P.RUNNING])))
    task = used(1.0, 1)
    metrics.usage("a", TaskUsage(task, {"web": used(0.5, 100, 2.0), "db": used(None, None, None)}, 4096))
    metrics.usage("b", TaskUsage(task, {"web": used(0.25, 50, 3.0)}, None))
    metrics.usage("b", TaskUsage(task, {"web": used(0.25, 50, 4.5)}, None))
    metrics.usage("gone", TaskUsage(task, {"web": used(9.0, 9, 9.0)}, None))
    found = samples(metrics)
    assert found[of("web", "cpu_cores")] == 0.75
    assert found[of("web", "memory_bytes")] == 150
    assert found[of("web", "running")] == 2
    assert found[of("web", "cpu_seconds_total", mode="user")] == 2.0 + 4.5
    assert found[of("web", "cpu_seconds_total", mode="system")] == 2.0 + 4.5
    assert of("db", "memory_bytes") not in found  # unknown is not 0
    assert of("db", "cpu_cores") not in found
    assert found[of("db", "running")] == 2
    assert found[at("thermos_tasks_disk_bytes")] == 4096


def test_what_runs_is_known_without_measuring() -> None:
    metrics = Metrics[str]()
    record(metrics, "a", state(("web", [P.RUNNING]), ("db", [P.FAILED])))
    found = samples(metrics)
    assert (found[of("web", "running")], found[of("db", "running")]) == (1, 0)
    assert of("web", "memory_bytes") not in found


def cpu_of(metrics: Metrics[str], process: str = "web") -> float | None:
    return samples(metrics).get(of(process, "cpu_seconds_total", mode="user"))


def measure(metrics: Metrics[str], user_cpu_s: float, run: int = 0) -> None:
    metrics.usage("a", TaskUsage(used(None, None), {"web": used(None, None, user_cpu_s, run)}))


def ended(*cpu_s: float | None, running: bool = False) -> RunnerState:
    """A process whose runs have used that much, as their certificates say; *running*: and one that goes on."""
    made = state()
    for seq, each in enumerate(cpu_s):
        for step, move in enumerate((P.WAITING, P.FORKED, P.RUNNING)):
            made.apply(ProcessStatus(4 * seq + step, "web", move))
        certificate = DeathCertificate(user_cpu_s=each, system_cpu_s=each)
        made.apply(ProcessStatus(4 * seq + 3, "web", P.SUCCESS, return_code=0, certificate=certificate))
    for step, move in enumerate((P.WAITING, P.FORKED, P.RUNNING) if running else ()):
        made.apply(ProcessStatus(4 * len(cpu_s) + step, "web", move))
    return made


def test_processor_time_of_what_ends_between_two_looks_is_counted() -> None:
    metrics = Metrics[str]()
    record(metrics, "a", ended(2.0, 3.0))
    assert cpu_of(metrics) == 5.0
    record(metrics, "a", ended(2.0, 3.0, 0.5))
    assert cpu_of(metrics) == 5.5
    metrics.forget("a")
    assert cpu_of(metrics) == 5.5


def test_what_was_measured_of_a_run_is_not_counted_twice() -> None:
    metrics = Metrics[str]()
    seen = []

    def look() -> None:
        seen.append(cpu_of(metrics))

    record(metrics, "a", ended(running=True))
    look()
    for cpu_s in (10.0, 12.0, 11.0):  # a count that shrinks, since something left the tree
        measure(metrics, cpu_s)
        look()
    record(metrics, "a", ended(12.5, running=True))
    look()
    measure(metrics, 12.4, run=0)  # looked at before, told after
    look()
    measure(metrics, 1.0, run=1)
    look()
    measure(metrics, 3.0, run=1)
    look()
    record(metrics, "a", ended(12.5, 2.5), is_active=False)  # less than was measured: the coordinator counted too
    look()
    assert seen == [None, 10.0, 12.0, 12.0, 12.5, 12.5, 13.5, 15.5, 15.5]


def test_processor_time_that_nobody_knows_has_no_series() -> None:
    metrics = Metrics[str]()
    record(metrics, "a", ended(None, running=True))
    assert cpu_of(metrics) is None
    for forged in (float("nan"), float("inf"), -1.0, 1e300):
        record(metrics, f"forged {forged}", ended(forged))
    assert cpu_of(metrics) is None
    assert samples(metrics)[of("web", "runs_total")] == 6


def test_what_has_ended_uses_nothing() -> None:
    metrics = Metrics[str]()
    record(metrics, "a", state(("web", [P.RUNNING])))
    metrics.usage("a", TaskUsage(used(1.0, 1), {"web": used(1.0, 7)}, 5))
    record(metrics, "a", state(("web", [P.SUCCESS]), task=TaskState.SUCCESS), is_active=False)
    found = samples(metrics)
    assert of("web", "memory_bytes") not in found
    assert found[of("web", "running")] == 0
    assert at("thermos_tasks_disk_bytes") not in found


# -- other people's names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        'x"} 1\nthermos_tasks{state="ACTIVE",active="true"} 99',
        "back\\slash",
        "\\n",
        "",
        "ünïcode ✓",
        "\udcff\ud800",
        "\0\x1b[31m",
        "{}",
        "# HELP thermos_tasks gone",
    ],
)
def test_hostile_names(name: str) -> None:
    metrics = Metrics[str]()
    record(metrics, "a", state((name, [P.RUNNING])), name=name)
    metrics.record("b", state((name, [P.RUNNING])), is_active=True, role=name, name="x")
    found = samples(metrics)
    clean = name.encode("utf-8", "replace").decode()
    assert found[of(clean, "runs_total", task=clean)] == 1
    assert found[of(clean, "runs_total", role=clean, task="x")] == 1
    assert found[at("thermos_tasks", state="ACTIVE", active="true")] == 2


def test_long_names_are_cut() -> None:
    metrics = Metrics[str]()
    record(metrics, "a", state(("x" * 10_000, [P.RUNNING])))
    record(metrics, "b", state(("x" * 128, [P.RUNNING])))
    names = {dict(labels)["process"] for name, labels in samples(metrics) if name == "thermos_process_runs_total"}
    assert names == {"x" * (MAX_LABEL_CHARS - 1) + "…", "x" * 128}


def test_too_many_names_are_counted_together() -> None:
    metrics = Metrics[str]()
    for number in range(MAX_SERIES + 50):
        record(metrics, f"t{number}", state((f"p{number}", [P.FAILED, P.RUNNING])))
        metrics.usage(f"t{number}", TaskUsage(used(1.0, 1), {f"p{number}": used(1.0, 2)}))
    found = samples(metrics)
    runs = {series: number for series, number in found.items() if series[0] == "thermos_process_runs_total"}
    assert len(runs) == MAX_SERIES + 1
    assert sum(runs.values()) == 2 * (MAX_SERIES + 50)
    assert runs[of(OTHER, "runs_total", role=OTHER, task=OTHER)] == 100
    assert found[of(OTHER, "memory_bytes", role=OTHER, task=OTHER)] == 100
    assert found[at("thermos_observer_series_left_out")] == 50


def test_names_that_nobody_uses_any_more_make_room() -> None:
    metrics = Metrics[str]()
    for number in range(MAX_SERIES):
        record(metrics, f"t{number}", state((f"p{number}", [P.SUCCESS])))
    record(metrics, "late", state(("late", [P.RUNNING])))
    assert metrics.series_left_out == 1
    for number in range(MAX_SERIES - 1):
        record(metrics, f"t{number}", state((f"p{number}", [P.SUCCESS]), task=TaskState.SUCCESS), is_active=False)
    record(metrics, "late", state(("late", [P.FAILED, P.FAILED])))
    totals = metrics.totals()
    assert set(totals) == {
        Series(OTHER, OTHER, OTHER),
        Series("www", "hello", "late"),
        Series("www", "hello", f"p{MAX_SERIES - 1}"),
    }
    assert sum(total.runs for total in totals.values()) == MAX_SERIES + 2  # no count is lost
    assert metrics.series_left_out == 0


# -- the observer's own ----------------------------------------------------------------------------------------------


def test_the_observer_s_own_numbers() -> None:
    own = Own(version="1.2.3", pages_written=7, notices=3, is_polling=True)
    own.last_change_s = 1234.5
    found = samples(Metrics(own))
    assert found[at("thermos_observer_info", version="1.2.3")] == 1
    assert found[at("thermos_observer_pages_written_total")] == 7
    assert found[at("thermos_observer_notices_total")] == 3
    assert found[at("thermos_observer_polling")] == 1
    assert found[at("thermos_observer_last_change_timestamp_seconds")] == 1234.5
    assert found[at("thermos_observer_cpu_seconds_total")] > 0
    assert found[at("thermos_observer_resident_memory_bytes")] > 1 << 20
    assert not any(name.startswith(("process_", "python_")) for name, _ in found)


def test_no_change_yet_is_unknown() -> None:
    assert at("thermos_observer_last_change_timestamp_seconds") not in samples(Metrics())


def test_measuring_comes_first() -> None:
    metrics = Metrics[str]()
    text = exposition(metrics, refresh=lambda: record(metrics, "a", state()))
    assert b'thermos_tasks{active="true",state="ACTIVE"} 1.0' in text


def test_variables() -> None:
    metrics = Metrics[str](Own(version="1.2.3"))
    record(metrics, "a", state(("web", [P.FAILED, P.RUNNING])))
    record(metrics, "b", state(task=TaskState.FAILED), is_active=False)
    metrics.usage("a", TaskUsage(used(1.0, 1), {"web": used(0.5, 100)}, None))
    found = variables(metrics)
    assert found["tasks.active"] == 1 and found["tasks.finished"] == 1
    assert found["tasks.state.FAILED"] == 1 and found["tasks.state.KILLED"] == 0
    assert (found["processes.runs"], found["processes.failures"], found["processes.running"]) == (2, 1, 1)
    assert found["observer.version"] == "1.2.3"
    assert "observer.last_change" not in found and "tasks.disk_bytes" not in found
    assert all(isinstance(value, (int, float, str)) for value in found.values())


@pytest.mark.process
def test_facts_of_a_real_task() -> None:
    with box() as a_box:
        assert a_box.run([process("web", "true")]) == 0
        metrics = Metrics[str]()
        metrics.task("a", read_facts(a_box.root, a_box.task_id, False))
        header = a_box.state.header
        assert header is not None
        assert samples(metrics)[of("web", "runs_total", role=str(header.user), task="task")] == 1
        assert metrics.tasks_by_state()["SUCCESS", False] == 1


@pytest.mark.process
def test_prometheus_is_loaded_only_when_somebody_asks() -> None:
    work = (
        "import sys\n"
        "from observer_static.metrics import Metrics, exposition, variables\n"
        "variables(Metrics())\n"
        "print('prometheus_client' in sys.modules)\n"
        "exposition(Metrics())\n"
        "print('prometheus_client' in sys.modules)\n"
    )
    root = Path(module.__file__).parents[1]
    said = subprocess.run([sys.executable, "-c", work], cwd=root, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "True"]


# -- the file for node_exporter --------------------------------------------------------------------------------------


def test_textfile(tmp_path: Path) -> None:
    metrics = Metrics[str]()
    record(metrics, "a", state())
    path = tmp_path / "thermos.prom"
    mask = os.umask(0o077)
    try:
        write_textfile(metrics, str(path))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    [family] = [one for one in text_string_to_metric_families(path.read_text()) if one.name == "thermos_tasks"]
    assert sum(sample.value for sample in family.samples) == 1
    assert os.listdir(tmp_path) == ["thermos.prom"]


def test_textfile_is_never_seen_half(tmp_path: Path) -> None:
    """Whoever has the old file open reads on in the old one; a link in its place is replaced, not followed."""
    precious = tmp_path / "precious"
    precious.write_text("untouched")
    path = tmp_path / "thermos.prom"
    path.symlink_to(precious)
    write_textfile(Metrics(), str(path), mode=0o600)
    assert precious.read_text() == "untouched"
    assert not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o600
    with open(path, "rb") as before:
        first = before.read(100)
        write_textfile(Metrics(Own(version="next")), str(path))
        before.seek(0)
        assert before.read(100) == first
    assert "next" in path.read_text()


def test_textfile_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_textfile(Metrics(), str(tmp_path / "gone/thermos.prom"))
    (tmp_path / "thermos.prom").mkdir()
    with pytest.raises(OSError):
        write_textfile(Metrics(), str(tmp_path / "thermos.prom"))
    assert os.listdir(tmp_path) == ["thermos.prom"]
