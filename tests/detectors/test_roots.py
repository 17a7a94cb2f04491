"""Finders of checkpoint roots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detectors import ChainedPathDetector, FixedPathDetector, MesosPathDetector, PathDetector
from detectors.roots import find_root
from tests.support.roots import sandbox


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


@pytest.mark.parametrize("first", ["slaves", "agents"])
@pytest.mark.parametrize("executor", ["thermos-a", "latest", "my executor", "é.~%", "-x", "..."])
def test_both_layouts_and_executor_ids_of_any_form(tmp_path: Path, first: str, executor: str) -> None:
    root = sandbox(tmp_path, executor, first=first) / "checkpoints"
    root.mkdir()
    assert MesosPathDetector(str(tmp_path)).get_paths() == [str(root)]


def test_no_root_is_counted_twice(tmp_path: Path) -> None:
    """By two names of one directory, by two detectors, or by the agent's own link to the newest run."""
    root = sandbox(tmp_path / "mesos", "e") / "checkpoints"
    root.mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "mesos")
    chained = ChainedPathDetector(
        FixedPathDetector(f"{tmp_path}//alias/{root.relative_to(tmp_path / 'mesos')}/"),
        MesosPathDetector(f"{tmp_path}/mesos/"),
        MesosPathDetector(str(tmp_path / "alias")),
        FixedPathDetector(f"{tmp_path}/absent"),
        FixedPathDetector(f"{tmp_path}/./absent/"),
    )
    assert chained.get_paths() == [
        f"{tmp_path}//alias/{root.relative_to(tmp_path / 'mesos')}/",
        f"{tmp_path}/absent",
    ]


def test_checkpoints_deeper_in_the_sandbox(tmp_path: Path) -> None:
    box = sandbox(tmp_path, "e")
    detector = MesosPathDetector(str(tmp_path), "a/b")
    (box / "a").mkdir()
    assert detector.look().parents[-1] == str(box / "a")
    (box / "a" / "b").mkdir()
    assert detector.get_paths() == [str(box / "a" / "b")]
    for bad in ("", "/a", "a/../..", "a//b"):
        with pytest.raises(ValueError, match="no path below a sandbox"):
            MesosPathDetector(str(tmp_path), bad)


def test_a_look_at_what_changed_is_a_part_of_the_whole(tmp_path: Path) -> None:
    """Whichever entry changed, what is seen at and below the scope is what a look at everything sees there."""
    for number in range(3):
        (sandbox(tmp_path, f"e{number}") / "checkpoints" / "tasks").mkdir(parents=True)
    sandbox(tmp_path, "other")
    detector = MesosPathDetector(str(tmp_path))
    whole = detector.look()
    assert whole.scope is None
    for path in [tmp_path, *tmp_path.rglob("*")]:
        part = detector.look(str(path))

        def within(found: list[str], scope: str | None = part.scope) -> list[str]:
            return [each for each in found if scope is None or each == scope or each.startswith(f"{scope}/")]

        assert part.roots == within(whole.roots), path
        assert part.parents == within(whole.parents), path
    gone = f"{tmp_path}/slaves/S0/frameworks/F0/executors/gone"
    assert detector.look(gone) == (gone, [], [], ())
    assert detector.look("/somewhere/else").scope is None


def test_every_place_where_a_root_may_appear_is_named(tmp_path: Path) -> None:
    detector = MesosPathDetector(str(tmp_path / "mesos"))
    root = tmp_path / "mesos/agents/S0/frameworks/F0/executors/e/runs/r0/checkpoints"
    for path in [*reversed(root.relative_to(tmp_path).parents), root.relative_to(tmp_path)][1:]:
        assert str(tmp_path / path.parent) in [*detector.look().parents, str(tmp_path)]
        (tmp_path / path).mkdir()
    assert detector.look().roots == [str(root)]
    assert str(root.parent) not in detector.look().parents  # what else happens in a sandbox is none of ours


def test_the_run_that_a_path_lies_in(tmp_path: Path) -> None:
    box = "/var/lib/mesos/slaves/S1/frameworks/F1/executors/my executor/runs/r1"
    run = find_root(f"{box}/sandbox/deep/")
    assert run == find_root(box)
    assert run == ("/var/lib/mesos", "S1", "F1", "my executor", "r1", box)
    assert find_root("/slaves/S/frameworks/F/executors/E/runs/R") == (
        "/", "S", "F", "E", "R", "/slaves/S/frameworks/F/executors/E/runs/R",
    )  # fmt: skip
    nested = find_root(f"{box}/mesos/agents/S2/frameworks/F2/executors/E2/runs/r2/x")
    assert nested is not None and nested.agent_id == "S2"
    for outside in ("/", "", "/var/lib/mesos/slaves/S1", f"{box}/..".replace("/r1", ""), box.replace("runs", "run")):
        assert find_root(outside) is None, outside
