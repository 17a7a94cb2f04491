"""``thermos why``: a few lines that say it."""

from __future__ import annotations

import json
import re
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
    write_task,
)
from thermos.core.explain import Ending, EndKind
from thermos.errors import ExitCode
from thermos.records import DeathCertificate, Note, Record
from thermos.states import ProcessState, TaskState
from thermos.words import how_it_ended, signal_name, usage


def definition(*names: str, order: tuple[str, ...] = (), **more: object) -> str:
    processes = [{"name": name, "cmdline": "true", **more} for name in names]
    return json.dumps({"name": "t", "processes": processes, "constraints": [{"order": order}] if order else []})


def why(root: Path, *args: object) -> str:
    return thermos("--root", root, "why", *args).stdout


def test_a_failed_task_names_who_failed_how_and_who_was_not_run(tmp_path: Path) -> None:
    certificate = DeathCertificate(
        run_s=2.0, user_cpu_s=1.0, system_cpu_s=0.5, stderr_tail="ignored\nno\x1b[31m room\n"
    )
    records: list[Record] = [
        task_status(TaskState.ACTIVE),
        header("t"),
        *run_records("build", ProcessState.FAILED, code=127, certificate=certificate),
        task_status(TaskState.CLEANING, 3, reason="failed: build"),
        task_status(TaskState.FINALIZING, 3),
        task_status(TaskState.FAILED, 4, reason="failed: build"),
    ]
    write_task(tmp_path, "t", records, task_json=definition("build", "deploy", order=("build", "deploy")))
    lines = why(tmp_path, "t").splitlines()
    assert re.match(r"t ended FAILED .* ago \(.*\), after 4 s: failed: build\.", lines[0])
    assert lines[1] == "  build failed for good: exit code 127: the shell did not find a command (failure 1 of 1)"
    assert lines[2] == "      ran 2 s, used 1.5 s of processor"
    assert lines[3:5] == ["      | ignored", "      | no room"]
    assert lines[5] == "  deploy was not run: it waited for build"
    assert lines[6] == f"`thermos --root {tmp_path} tail --stderr t build` shows more."
    assert len(lines) == 7


def test_an_active_task_whose_runner_is_dead(tmp_path: Path) -> None:
    records: list[Record] = [task_status(TaskState.ACTIVE), header("t"), *run_records("a", None)]
    write_task(tmp_path, "t", records, is_active=True, task_json=definition("a", "b", order=("a", "b")))
    text = why(tmp_path, "t")
    assert "Its runner, pid 4000, is DEAD" in text
    assert re.search(r"a runs, for .*, pid 4002", text)
    assert "  b waits for a\n" in text
    assert f"`thermos --root {tmp_path} kill --exact t`" in text


def test_the_next_try(tmp_path: Path) -> None:
    records: list[Record] = [
        task_status(TaskState.ACTIVE),
        header("t"),
        *run_records("a", ProcessState.FAILED, code=137, reason="why not"),
    ]
    task_json = definition("a", max_failures=5, min_duration=10**9)
    write_task(tmp_path, "t", records, is_active=True, task_json=task_json)
    text = why(tmp_path, "t")
    assert re.search(
        r"  a runs again in \d+ d[^;]*; last time: exit code 137: a command of it was ended by SIGKILL", text
    )
    assert "(why not)" in text
    assert "(failure 1 of 5)" in text


def test_notes_and_what_was_asked_for(tmp_path: Path) -> None:
    records: list[Record] = [
        task_status(TaskState.ACTIVE),
        header("t"),
        *run_records("a", None),
        Note(1795182213000, "disk", "no room\x1b[2J"),
        task_status(TaskState.CLEANING, 1, forced_end=TaskState.KILLED, deadline_ms=1, reason="SIGUSR1 from pid 1"),
    ]
    write_task(tmp_path, "t", records, is_active=True)
    text = why(tmp_path, "t")
    assert "is CLEANING" in text
    assert "SIGUSR1 from pid 1. It is to end KILLED. Its time is up." in text
    assert re.search(r"Note, .* ago: no room\\x1b\[2J", text)
    assert "a was asked to end, and still runs" in text


def test_a_hundred_processes_take_few_lines(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(100)]
    records: list[Record] = [task_status(TaskState.ACTIVE), header("t")]
    for name in names:
        records += run_records(name, None)
    write_task(tmp_path, "t", records, is_active=True, task_json=definition(*names))
    lines = why(tmp_path, "t").splitlines()
    assert len(lines) < 20
    assert "  other processes: 88 running" in lines


def test_a_task_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    for task_id in ("web-1", "web-10", "web-2"):
        write_task(tmp_path, task_id, success(task_id))
    assert why(tmp_path, "web-2").startswith("web-2 ended")
    assert why(tmp_path, "web-1").startswith("web-1 ended")  # whole, though another begins so
    several = thermos("--root", tmp_path, "why", "web")
    assert (several.returncode, "3 tasks" in several.stderr) == (ExitCode.NOT_FOUND, True)
    assert thermos("--root", tmp_path, "why", "db").returncode == ExitCode.NOT_FOUND
    assert thermos("--root", tmp_path, "why", "").returncode == ExitCode.NOT_FOUND


def test_damage_is_told_and_the_rest_is_explained(tmp_path: Path) -> None:
    stream = write_task(tmp_path, "t", success("t"))
    stream.write_bytes(stream.read_bytes()[:-3])
    done = thermos("--root", tmp_path, "why", "t")
    assert done.returncode == ExitCode.DAMAGED
    assert str(stream) in done.stderr
    assert done.stdout.startswith("t is FINALIZING")
    stream.write_bytes(b"")
    assert why(tmp_path, "t").startswith("t: nothing readable is recorded of it.")


def test_a_task_file_that_cannot_be_read(tmp_path: Path) -> None:
    write_task(tmp_path, "t", success("t"), task_json="{")
    assert "What waits for what cannot be told: " in why(tmp_path, "t")


def test_json(tmp_path: Path) -> None:
    write_task(tmp_path, "t", success("t"), task_json=definition("hello"))
    answer = json.loads(why(tmp_path, "--json", "t"))
    assert (answer["schema"], answer["explanation"]["state"]) == (1, "SUCCESS")
    assert answer["explanation"]["processes"][0]["stage"] == "FINISHED"
    assert answer["endings"] == {"hello": "ended well"}


@needs_golden
def test_a_failed_predecessor_of_the_original() -> None:
    text = why(GOLDEN / "root", "g21-deadlock")
    assert "  b failed for good: exit code 1" in text
    assert "  c was not run: it waited for b" in text


@pytest.mark.parametrize(
    ("ending", "state", "says"),
    [
        (Ending(EndKind.CODE, 3), ProcessState.FAILED, "exit code 3"),
        (Ending(EndKind.NOT_EXECUTABLE, 126), ProcessState.FAILED, "could not be executed"),
        (Ending(EndKind.NOT_FOUND, 127), ProcessState.FAILED, "did not find a command"),
        (Ending(EndKind.SIGNAL, -11, 11), ProcessState.FAILED, "SIGSEGV: it used memory that is not its own"),
        (Ending(EndKind.SIGNAL, -15, 15), ProcessState.KILLED, "killed with SIGTERM"),
        (Ending(EndKind.SIGNAL, -1, 1), ProcessState.KILLED, "killed"),
        (Ending(EndKind.CHILD_SIGNAL, 137, 9), ProcessState.FAILED, "SIGKILL: somebody killed it, or the kernel"),
        (Ending(EndKind.OUT_OF_MEMORY, -9, 9), ProcessState.FAILED, "memory ran out"),
        (Ending(EndKind.NEVER_BEGAN, 1), ProcessState.FAILED, "could not be started (no such user)"),
        (Ending(EndKind.LOST), ProcessState.LOST, "nobody saw"),
        (Ending(EndKind.UNKNOWN), ProcessState.FAILED, "not recorded"),
        (Ending(EndKind.SUCCESS, 0), ProcessState.SUCCESS, "ended well"),
    ],
)
def test_words(ending: Ending, state: ProcessState, says: str) -> None:
    reason = "no such user" if ending.kind is EndKind.NEVER_BEGAN else None
    assert says in how_it_ended(ending, state, reason)


def test_more_words() -> None:
    assert how_it_ended(Ending(EndKind.SIGNAL, -1, 1), ProcessState.KILLED) == "killed"  # by the original
    assert signal_name(99) == "signal 99"
    assert usage(None) == ""
    certificate = DeathCertificate(peak_rss_bytes=3 << 20, core_dumped=True, killed_by="root")
    assert usage(certificate) == "3.0 MiB of memory at most, left a core, killed by root"
