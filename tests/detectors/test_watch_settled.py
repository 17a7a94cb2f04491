"""A root that lacks one of its two directories, and whose other one has long been as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from detectors import FixedPathDetector
from detectors.watch import HostWatcher

pytestmark = pytest.mark.process


@pytest.mark.parametrize("where", ["active", "finished"])
def test_old_tasks_are_seen_where_the_other_directory_is_missing(where: str, tmp_path: Path) -> None:
    directory = tmp_path / "tasks" / where
    directory.mkdir(parents=True)
    (tmp_path / "checkpoints").mkdir()
    (directory / "old").write_text("{}")
    for path in (directory / "old", directory):
        os.utime(path, (1_500_000_000, 1_500_000_000))
    with HostWatcher(FixedPathDetector(str(tmp_path))) as watch:
        assert {key.task_id for key in watch.scan().appeared} == {"old"}
        assert {key.task_id: is_active for key, is_active in watch.tasks.items()} == {"old": where == "active"}
