"""Our own golden checkpoints: all of them are still read, and what we write today is what they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.checkpoint import make
from thermos.formats import checkpoint
from thermos.records import DeathCertificate, ProcessStatus, TaskStatus
from thermos.states import ProcessState, TaskState

ROOT = Path(make.__file__).parent
VERSIONS = sorted(path for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__")
STREAMS = [path for version in VERSIONS for path in sorted(version.iterdir())]
CURRENT = ROOT / f"v{checkpoint.VERSION}"


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("case", STREAMS, ids=name)
def test_it_is_still_read_as_it_was(case: Path) -> None:
    data = (case / "stream").read_bytes()
    then: dict[str, Any] = json.loads((case / "expected.json").read_text("utf-8"))
    now = make.expected(data)
    # A field that is new may be missing then, but none may be lost or changed.
    assert [known(record, old) for record, old in zip(now["records"], then["records"], strict=True)] == then["records"]
    assert (now["good_bytes"], now["damage"]) == (then["good_bytes"], then["damage"])


def known(record: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key in old} if old["type"] else record


@pytest.mark.parametrize("case", make.CASES)
def test_what_we_write_has_not_drifted(case: str) -> None:
    records, ours = make.CASES[case].records, make.CASES[case].ours
    data = (CURRENT / case / "stream").read_bytes()
    written = b"".join(make.frame(record, ours) for record in records)
    assert data.startswith(written)
    assert data == make.stream(make.CASES[case])
    assert checkpoint.decode(data).records[: len(records)] == records


def test_every_golden_file_is_opened_by_these_tests() -> None:
    assert CURRENT in VERSIONS
    assert {path.name for path in CURRENT.iterdir()} == set(make.CASES)
    files = {path for version in VERSIONS for path in version.rglob("*") if not path.is_dir()}
    assert files == {case / file for case in STREAMS for file in ("stream", "expected.json")}


def test_every_record_type_and_field_and_state_has_a_golden_file() -> None:
    seen: set[tuple[str, str]] = set()
    states: set[object] = set()
    for case in make.CASES:
        for record in checkpoint.decode((CURRENT / case / "stream").read_bytes()).records:
            parts: list[Any] = [record]
            if isinstance(record, ProcessStatus) and record.certificate is not None:
                parts.append(record.certificate)
            if isinstance(record, (ProcessStatus, TaskStatus)):
                states.add(record.state)
            for part in parts:
                seen |= {(type(part).__name__, f) for f in part._fields if getattr(part, f) is not None}
    types = [*(struct.factory for struct in checkpoint.UNION.values()), DeathCertificate]
    assert seen == {(each.__name__, field) for each in types for field in each._fields}
    assert states == {*ProcessState, *TaskState}


def test_frames_with_and_without_a_checksum_are_among_them() -> None:
    assert {case.ours for case in make.CASES.values()} == {True, False}
    for case, (ours, records, _) in make.CASES.items():
        data = (CURRENT / case / "stream").read_bytes()
        for entry in checkpoint.decode(data).entries[: len(records)]:
            size = 4 + int.from_bytes(data[entry.offset : entry.offset + 4], "big")
            assert (data[entry.offset + size - 8 : entry.offset + size - 5] == b"\x08\0\x64") == ours


def test_making_them_again_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "DIRECTORY", tmp_path)
    assert make.main() == 0
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {p.relative_to(ROOT): p.read_bytes() for p in CURRENT.rglob("*") if p.is_file()}
    victim = tmp_path / CURRENT.name / "runner" / "stream"
    victim.write_bytes(b"lies on somebody's disk")
    assert make.main() == 1
    assert victim.read_bytes() == b"lies on somebody's disk"
