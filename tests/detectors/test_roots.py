"""Finders of checkpoint roots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detectors import ChainedPathDetector, FixedPathDetector, MesosPathDetector, PathDetector


def run_dir(root: Path, slave: str, executor: str, run: str) -> Path:
    path = root / "slaves" / slave / "frameworks" / "F-0000" / "executors" / executor / "runs" / run
    path.mkdir(parents=True)
    return path


def test_fixed_names_its_path_whether_it_exists_or_not() -> None:
    assert FixedPathDetector().get_paths() == ["/var/run/thermos"]
    assert FixedPathDetector("/nowhere").get_paths() == ["/nowhere"]


def test_chained_keeps_the_order_and_names_each_once() -> None:
    chained = ChainedPathDetector(FixedPathDetector("/b"), FixedPathDetector("/a"), FixedPathDetector("/b"))
    assert chained.get_paths() == ["/b", "/a"]
    assert ChainedPathDetector().get_paths() == []


def test_mesos_finds_every_run_with_checkpoints(tmp_path: Path) -> None:
    one = run_dir(tmp_path, "S1", "thermos-a", "r1")
    two = run_dir(tmp_path, "S0", "thermos-b", "r2")
    run_dir(tmp_path, "S0", "other", "r3")  # without checkpoints
    for run in (one, two):
        (run / "checkpoints").mkdir()
    assert MesosPathDetector(str(tmp_path)).get_paths() == [f"{two}/checkpoints", f"{one}/checkpoints"]
    assert MesosPathDetector(str(tmp_path), sandbox_path="elsewhere").get_paths() == []


def test_mesos_skips_latest_and_follows_no_link(tmp_path: Path) -> None:
    run = run_dir(tmp_path, "S0", "e", "r1")
    (run / "checkpoints").mkdir()
    (run.parent / "latest").symlink_to(run)
    (run.parent / "alias").symlink_to(run)
    latest = run_dir(tmp_path, "S0", "f", "latest")  # even where it is no link
    (latest / "checkpoints").mkdir()
    linked = run_dir(tmp_path, "S0", "g", "r2")
    (linked / "checkpoints").symlink_to(run / "checkpoints")
    assert MesosPathDetector(str(tmp_path)).get_paths() == [f"{run}/checkpoints"]


def test_mesos_survives_what_is_no_directory(tmp_path: Path) -> None:
    assert MesosPathDetector(str(tmp_path / "absent")).get_paths() == []
    (tmp_path / "slaves").write_text("")
    assert MesosPathDetector(str(tmp_path)).get_paths() == []


@pytest.mark.parametrize("make", [FixedPathDetector, MesosPathDetector])
def test_a_path_is_a_string(make: Any) -> None:
    with pytest.raises(TypeError):
        make(1)


def test_members_of_a_chain_are_detectors() -> None:
    not_one: Any = "/var/run/thermos"
    with pytest.raises(TypeError):
        ChainedPathDetector(not_one)
    assert isinstance(FixedPathDetector(), PathDetector)
