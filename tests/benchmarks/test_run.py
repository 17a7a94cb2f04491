"""The benchmarks run and say what they found. What they find is not tested: no test fails for being slow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import harness, run
from benchmarks.harness import Row

ROOT = Path(__file__).parents[2]


def test_a_target_is_met_from_the_right_side() -> None:
    assert Row("n", 1.0, "s").is_met is None
    assert [Row("n", value, "s", 2.0).is_met for value in (1.0, 2.0, 3.0)] == [True, True, False]
    assert [Row("n", value, "/s", 2.0, is_rate=True).is_met for value in (1.0, 2.0, 3.0)] == [False, True, True]
    assert [Row("n", value, "", 0).is_met for value in (0, 1)] == [True, False]


def test_a_ratio_needs_a_peer() -> None:
    assert Row("n", 1.0, "s").ratio is None
    assert Row("n", 1.0, "s", peer="p", peer_value=4.0).ratio == 0.25
    assert Row("n", 1.0, "s", peer="p", peer_value=0.0).ratio is None


def test_the_table_shows_all_in_their_units() -> None:
    text = run.table(
        [
            Row("fast", 0.0123, "ms", 0.02, "peer", 0.0041, "a note"),
            Row("big", 12_500_000.0, "MB", 10e6),
            Row("many", 1234.0, "/s", 1000.0, is_rate=True),
        ]
    )
    head, fast, big, many = text.splitlines()
    assert head.split()[:3] == ["measurement", "ours", "target"]
    assert fast.split() == ["fast", "12.30", "ms", "≤", "20.00", "ms", "met", "peer", "4.10", "ms", "3.00", "a", "note"]
    assert big.split() == ["big", "12.50", "MB", "≤", "10.00", "MB", "MISSED"]
    assert many.split() == ["many", "1,234", "/s", "≥", "1,000", "/s", "met"]


@pytest.mark.parametrize("percent, value", [(0, 1), (50, 51), (99, 100), (100, 100)])
def test_percentiles(percent: float, value: float) -> None:
    assert harness.percentile(list(range(100, 0, -1)), percent) == value


def test_measured_programs_see_an_ordinary_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    assert not {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"} & set(harness.environment())


def test_a_process_is_known_by_its_start() -> None:
    assert harness.start_ticks(os.getpid()) is not None
    child = subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert harness.start_ticks(child.pid) is None  # a zombie
    child.wait()
    assert harness.start_ticks(child.pid) is None


def test_memory_and_activity_of_a_process() -> None:
    mine = harness.memory(os.getpid())
    assert mine.private > 1 << 20
    assert mine.pss > 1 << 20
    before = harness.activity(os.getpid())
    assert before.switches > 0
    assert before.cpu_s > 0


def test_each_module_is_a_measurement() -> None:
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"run", "harness"}
    assert {name.replace("-", "_") for name in run.MEASUREMENTS} == modules


@pytest.mark.process
def test_a_measurement_runs_and_leaves_nothing_behind(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "benchmarks/run.py", "--quick", "--only=latency", f"--json={report}", f"--dir={work}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("exit → record") == 2
    found = json.loads(report.read_text())
    assert found["quick"] is True
    assert [row["name"] for row in found["rows"]] == ["exit → record, p50", "exit → record, p99"]
    assert all(row["ours"] > 0 and row["peer_value"] > 0 for row in found["rows"])
    assert list(work.iterdir()) == []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(work).encode() not in entry.read_bytes()
        except OSError:
            continue
