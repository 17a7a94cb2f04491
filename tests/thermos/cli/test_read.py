"""``thermos read``: the original's forms, and streams it could not read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.thermos.cli.command import (
    GOLDEN,
    header,
    needs_golden,
    run_records,
    success,
    task_status,
    thermos,
    write_stream,
)
from tests.thermos.cli.test_status import GOLDEN_TASKS, without_failed
from thermos.errors import ExitCode
from thermos.records import DeathCertificate, Note, ProcessStatus, Record
from thermos.states import ProcessState, TaskState


@needs_golden
@pytest.mark.parametrize("task_id", GOLDEN_TASKS)
def test_what_the_original_prints(task_id: str) -> None:
    ours = thermos("read", GOLDEN / "root" / "checkpoints" / task_id / "runner")
    assert (ours.returncode, ours.stderr) == (0, "")
    theirs = (GOLDEN / "expected" / task_id / "read.txt").read_text()
    assert without_failed(ours.stdout) == without_failed(theirs)


@needs_golden
@pytest.mark.parametrize("task_id", GOLDEN_TASKS)
def test_simple_is_the_original_s_but_for_the_u_of_python_2(task_id: str) -> None:
    ours = thermos("read", "--simple", GOLDEN / "root" / "checkpoints" / task_id / "runner")
    theirs = (GOLDEN / "expected" / task_id / "read-simple.txt").read_text()
    for quote in "'\"":
        theirs = theirs.replace(f"=u{quote}", f"={quote}").replace(f"{{u{quote}", f"{{{quote}")
    assert ours.stdout == theirs


@needs_golden
def test_a_failed_run_shows_its_code_and_end_which_the_original_forgets() -> None:
    ours = thermos("read", GOLDEN / "root/checkpoints/g02-failed/runner")
    assert "     0: pid=17923, rc=3, finish:Fri Nov 20 13:43:34 2026, state:FAILED" in ours.stdout


@needs_golden
@pytest.mark.parametrize("name", ["d1-truncated-midrecord", "d3-trailing-garbage", "d4-empty", "d6-duplicate-record"])
def test_damaged_streams_of_the_original(name: str) -> None:
    stream = GOLDEN / "root-damaged/checkpoints" / name / "runner"
    for arguments in ([], ["--json"]):
        ours = thermos("read", *arguments, stream)
        assert ours.returncode == ExitCode.DAMAGED
        assert str(stream) in ours.stderr
        assert name == "d4-empty" or "d3" in ours.stdout or "SUCCESS" in ours.stdout


def test_a_run_without_a_pid(tmp_path: Path) -> None:
    """The original crashed formatting it."""
    records: list[Record] = [
        task_status(TaskState.ACTIVE),
        header("t"),
        ProcessStatus(0, "p", ProcessState.WAITING),
        ProcessStatus(1, "p", ProcessState.FAILED, stop_time=1795182214.0, return_code=127),
    ]
    done = thermos("read", write_stream(tmp_path / "runner", records))
    assert done.returncode == 0
    assert "     0: pid=None, rc=127, finish:Fri Nov 20 13:43:34 2026, state:FAILED" in done.stdout


def test_damage_in_the_middle_shows_what_is_before_it_and_says_where(tmp_path: Path) -> None:
    records = success("t")
    stream = write_stream(tmp_path / "runner", records)
    offset = len(write_stream(tmp_path / "head", records[:4]).read_bytes())
    data = bytearray(stream.read_bytes())
    data[offset + 10] ^= 1
    stream.write_bytes(data)
    done = thermos("read", stream)
    assert done.returncode == ExitCode.DAMAGED
    assert f"{stream} at byte {offset}: checksum" in done.stderr
    assert "state:FORKED" in done.stdout
    simple = thermos("read", "--simple", stream)
    assert (simple.returncode, simple.stdout.count("CKPT:")) == (ExitCode.DAMAGED, 4)


def test_a_coordinator_s_stream_has_no_waiting_records_and_is_read_all_the_same(tmp_path: Path) -> None:
    records: list[Record] = [
        record
        for record in [
            *run_records("p", ProcessState.LOST),
            *run_records("p", ProcessState.SUCCESS, seq=4, code=0),
        ]
        if record.state is not ProcessState.WAITING
    ]
    done = thermos("read", write_stream(tmp_path / "coordinator.p", records))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == ["Recovered Processes:", "  p   runs: 2"]


def test_the_newest_run_is_shown_first(tmp_path: Path) -> None:
    records: list[Record] = [
        *run_records("p", ProcessState.LOST),
        *run_records("p", ProcessState.SUCCESS, seq=4, code=0),
    ]
    lines = thermos("read", write_stream(tmp_path / "runner", [task_status(TaskState.ACTIVE), *records])).stdout
    assert lines.index("     1: pid=4002, rc=0") < lines.index("     0: pid=4002, rc=, finish")


def test_simple_shows_our_fields_where_they_are_set(tmp_path: Path) -> None:
    certificate = DeathCertificate(signal=9, oom_killed=True)
    records: list[Record] = [
        *run_records("p", ProcessState.FAILED, code=-9, certificate=certificate, reason="out of memory"),
        Note(5, "disk-full", "no room"),
    ]
    stream = write_stream(tmp_path / "s", records)
    lines = thermos("read", "--simple", stream).stdout.splitlines()
    assert lines[0].endswith(
        "process_status=ProcessStatus(seq=0, process='p', start_time=None, coordinator_pid=None, pid=None, "
        "return_code=None, state=0, stop_time=None, fork_time=None), runner_header=None)"
    )
    assert "certificate=DeathCertificate(signal=9, oom_killed=True), reason='out of memory')" in lines[3]
    assert lines[4].endswith("note=Note(timestamp_ms=5, kind='disk-full', text='no room'))")
    answer = json.loads(thermos("read", "--simple", "--json", stream).stdout)
    assert [record["kind"] for record in answer["records"]] == ["process_status"] * 4 + ["note"]
    assert answer["records"][3]["record"]["state"] == "FAILED"


def test_ports_in_the_header(tmp_path: Path) -> None:
    records: list[Record] = [task_status(TaskState.ACTIVE), header("t", ports={"http": 80, "admin": 81})]
    stream = write_stream(tmp_path / "runner", records)
    assert "  ports:   admin->81 http->80\n" in thermos("read", stream).stdout


@pytest.mark.parametrize("what", ["absent", "a directory"])
def test_no_such_file(tmp_path: Path, what: str) -> None:
    (tmp_path / "a directory").mkdir()
    done = thermos("read", tmp_path / what)
    assert done.returncode == ExitCode.NOT_FOUND
    assert done.stderr.startswith(f"thermos read: cannot read {tmp_path / what}")
    assert done.stderr.count("\n") == 1
