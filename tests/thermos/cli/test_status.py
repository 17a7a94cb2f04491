"""``thermos status``: the original's forms, and what the original died of."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.closed import close, powerless, reopen
from tests.thermos.cli.command import (
    GOLDEN,
    environment,
    header,
    needs_golden,
    run_records,
    success,
    task_status,
    thermos,
    write_task,
)
from thermos.errors import ExitCode
from thermos.records import Record
from thermos.states import ProcessState, TaskState

GOLDEN_TASKS = [
    "g01-success", "g02-failed", "g03-ordering", "g05-finalizing", "g08-killed-usr1", "g10-lost-usr2",
    "g14-coordinator-lost", "g17-unicode-names", "g21-deadlock", "g24-hundred",
]  # fmt: skip


def without_failed(text: str) -> list[str]:
    """Lines, sorted, without how FAILED runs ended, which the original forgets."""
    return sorted(re.sub(r"rc=.*state:FAILED", "state:FAILED", line) for line in text.splitlines())


@needs_golden
@pytest.mark.parametrize("verbosity", range(4))
@pytest.mark.parametrize("task_id", GOLDEN_TASKS)
def test_what_the_original_prints(task_id: str, verbosity: int) -> None:
    ours = thermos("--root", GOLDEN / "root", "status", "--verbosity", verbosity, task_id)
    theirs = (GOLDEN / "expected" / task_id / f"status-v{verbosity}.txt").read_text()
    assert (ours.returncode, ours.stderr) == (0, "")
    assert without_failed(ours.stdout) == without_failed(theirs)
    if verbosity < 3:
        assert ours.stdout == theirs


@needs_golden
def test_a_failed_run_shows_its_code_and_end_which_the_original_forgets() -> None:
    assert "rc=3, finish:Fri Nov 20 13:43:34 2026, state:FAILED" in thermos(
        "status", "--root", GOLDEN / "root", "--verbosity=3", "g02"
    ).stdout  # fmt: skip


def test_active_tasks_come_first_and_each_section_ends_with_an_empty_line(tmp_path: Path) -> None:
    write_task(tmp_path, "a-over", success("a-over"))
    write_task(tmp_path, "b-runs", success("b-runs")[:3], is_active=True)
    assert thermos("--root", tmp_path, "status").stdout == (
        "Active tasks:\n  b-runs               [owner:     root]\n\n"
        "Finished tasks:\n  a-over               [owner:     root]\n\n"
    )
    answer = json.loads(thermos("--root", tmp_path, "status", "--json").stdout)
    assert [task["task_id"] for task in answer["tasks"]] == ["b-runs", "a-over"]
    line = thermos("--root", tmp_path, "status", "-v1", "b").stdout.splitlines()[1]
    assert line == "  b-runs               [owner:     root]  state:   ACTIVE start:  Fri Nov 20 13:43:33 2026"
    assert "a-over" not in thermos("status", "--root", tmp_path, "--only", "active").stdout
    assert "b-runs" not in thermos("status", "--root", tmp_path, "--only", "finished").stdout


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["web"], {"web-1", "web-2"}),
        (["eb"], set()),
        (["web-1", "db"], {"web-1", "db"}),
        ([".*2"], {"web-2"}),
        (["--exact", "web"], set()),
        (["--exact", "web-1"], {"web-1"}),
        ([], {"web-1", "web-2", "db"}),
    ],
)
def test_patterns_match_from_the_first_character(tmp_path: Path, arguments: list[str], shown: set[str]) -> None:
    for task_id in ("web-1", "web-2", "db"):
        write_task(tmp_path, task_id, success(task_id))
    answer = json.loads(thermos("--root", tmp_path, "status", "--json", *arguments).stdout)
    assert {task["task_id"] for task in answer["tasks"]} == shown


def test_nothing_found_is_said_and_has_an_exit_code(tmp_path: Path) -> None:
    done = thermos("--root", tmp_path / "absent", "status")
    assert (done.returncode, done.stdout) == (ExitCode.NOT_FOUND, "")
    assert str(tmp_path / "absent") in done.stderr


@pytest.mark.parametrize("closed", ["root/tasks/active", "root", "mesos/slaves", "mesos", "."])
def test_a_root_that_may_not_be_read_is_not_an_empty_one(tmp_path: Path, closed: str) -> None:
    (tmp_path / "root/tasks/active").mkdir(parents=True)
    (tmp_path / "mesos/slaves").mkdir(parents=True)
    words = ("--root", tmp_path / "root", "--mesos-root", tmp_path / "mesos", "status")
    assert "Permission denied" not in thermos(*words, before=powerless()).stderr
    close(tmp_path / closed)
    done = thermos(*words, before=powerless())
    reopen(tmp_path / closed)
    assert done.returncode == ExitCode.NOT_FOUND
    assert f"{(tmp_path / closed).resolve()} may not be read: Permission denied" in done.stderr


def test_what_may_not_be_read_is_told_beside_what_may(tmp_path: Path) -> None:
    write_task(tmp_path, "web-1", success("web-1"))
    active = tmp_path / "tasks/active"
    active.mkdir(exist_ok=True)
    close(active)
    done = thermos("--root", tmp_path, "--mesos-root", tmp_path / "none", "status", before=powerless())
    reopen(active)
    assert done.returncode == ExitCode.OK
    assert "web-1" in done.stdout
    assert f"{active} may not be read: Permission denied: there may be more tasks" in done.stderr


def test_a_bad_pattern_is_a_usage_error(tmp_path: Path) -> None:
    done = thermos("--root", tmp_path, "status", "a(")
    assert done.returncode == ExitCode.USAGE
    assert "'a('" in done.stderr
    assert "Traceback" not in done.stderr


def test_odd_tasks_do_not_end_the_listing(tmp_path: Path) -> None:
    """The original ended with a traceback on each of these."""
    write_task(tmp_path, "a stream is missing", None)
    write_task(tmp_path, "blank in id", success("blank in id"))
    write_task(tmp_path, "empty", [])
    garbage = write_task(tmp_path, "garbage", [])
    garbage.write_bytes(os.urandom(4096))
    write_task(tmp_path, "directory", None).mkdir(parents=True)
    write_task(tmp_path, "zz", success("zz"))
    (tmp_path / "checkpoints" / "fifo").mkdir(parents=True)
    os.mkfifo(tmp_path / "checkpoints" / "fifo" / "runner")
    (tmp_path / "tasks" / "finished" / "fifo").write_text("{}")
    for verbosity in range(4):
        done = thermos("--root", tmp_path, "status", "--verbosity", verbosity)
        assert "Traceback" not in done.stderr
        assert "  blank in id " in done.stdout
        assert "  zz " in done.stdout
        assert done.returncode == (ExitCode.OK if verbosity == 0 else ExitCode.DAMAGED)
    assert "garbage              [owner:     root] - checkpoint CORRUPT or outdated" in done.stdout
    assert f"{garbage} at byte 0:" in done.stderr


def test_tasks_that_come_move_and_go_meanwhile(tmp_path: Path) -> None:
    script = (
        "import os, shutil, sys\n"
        "root = sys.argv[1]\n"
        "while True:\n"
        "    for n in range(50):\n"
        "        os.rename(f'{root}/tasks/active/t{n}', f'{root}/tasks/finished/t{n}')\n"
        "    for n in range(50):\n"
        "        os.rename(f'{root}/checkpoints/t{n}', f'{root}/gone{n}')\n"
        "        os.rename(f'{root}/tasks/finished/t{n}', f'{root}/t{n}')\n"
        "    for n in range(50):\n"
        "        os.rename(f'{root}/gone{n}', f'{root}/checkpoints/t{n}')\n"
        "        os.rename(f'{root}/t{n}', f'{root}/tasks/active/t{n}')\n"
    )
    (tmp_path / "tasks" / "finished").mkdir(parents=True)
    for number in range(50):
        write_task(tmp_path, f"t{number}", success(f"t{number}"), is_active=True)
    mover = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    try:
        for _ in range(10):
            for arguments in (["-v3"], ["--json"]):
                done = thermos("--root", tmp_path, "status", *arguments)
                assert "Traceback" not in done.stderr
                if arguments == ["--json"] and done.stdout:
                    json.loads(done.stdout)
    finally:
        mover.kill()
        mover.wait()


def test_a_torn_stream_shows_what_is_before_the_tear(tmp_path: Path) -> None:
    stream = write_task(tmp_path, "torn", success("torn"))
    whole = stream.read_bytes()
    stream.write_bytes(whole[:-5])
    done = thermos("--root", tmp_path, "status", "-v3")
    assert done.returncode == ExitCode.DAMAGED
    assert "torn                 [owner:     root]  state: FINALIZING start:" in done.stdout
    assert "- hello runs: 1 last: pid=4002, rc=0" in done.stdout
    assert f"{stream} at byte " in done.stderr


def test_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    evil = "x\x1b]52;c;aGk=\x07\ny"
    write_task(tmp_path, "evil", success("evil", process=evil, sandbox="/a\x1b[2J"))
    done = thermos("--root", tmp_path, "status", "-v3")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert r"x\x1b]52;c;aGk=\x07\ny runs: 1" in done.stdout


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ],
)
def test_names_beyond_ascii_work_in_every_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    write_task(tmp_path, "grüße", success("grüße", process="wörld 世界 \ud800"))
    done = thermos("--root", tmp_path, "status", "-v3", env=locale)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rld" in done.stdout


def test_json_tells_all(tmp_path: Path) -> None:
    records: list[Record] = [
        task_status(TaskState.ACTIVE),
        header("j", ports={"http": 8080}),
        *run_records("p", ProcessState.FAILED, code=3),
        *run_records("p", None, seq=4),
    ]
    write_task(tmp_path, "j", records, is_active=True)
    answer = json.loads(thermos("--root", tmp_path, "status", "--json").stdout)
    assert answer["schema"] == 1
    (task,) = answer["tasks"]
    assert (task["task_id"], task["state"], task["is_active"]) == ("j", "ACTIVE", True)
    assert task["runner_lives"] is False
    assert task["ports"] == {"http": 8080}
    (process,) = task["processes"]
    assert (process["state"], process["runs"], process["failures"]) == ("RUNNING", 2, 1)
    assert process["last"]["pid"] == 4002


@pytest.mark.parametrize("at_s", [1e300, float("inf"), float("-inf"), float("nan"), -1e300])
def test_times_beyond_the_calendar_do_not_end_the_listing(tmp_path: Path, at_s: float) -> None:
    records = success("late", launch_time_ms=1 << 62)
    records[5] = run_records("hello", ProcessState.SUCCESS, code=0, stop_time=at_s)[-1]
    write_task(tmp_path, "late", records)
    done = thermos("--root", tmp_path, "status", "-v3")
    assert (done.returncode, done.stderr) == (0, "")
    assert "rc=0, finish:None, state:SUCCESS" in done.stdout
    assert thermos("--root", tmp_path, "why", "late").returncode == 0
    json.loads(thermos("--root", tmp_path, "status", "--json").stdout, parse_constant=pytest.fail)


def test_mesos_sandboxes_are_searched_too(tmp_path: Path) -> None:
    run = tmp_path / "mesos/slaves/S0/frameworks/F/executors/thermos-x/runs/1"
    write_task(run / "checkpoints", "in-mesos", success("in-mesos"))
    done = thermos("--mesos-root", tmp_path / "mesos", "status", "--root", tmp_path)
    assert "in-mesos" in done.stdout


def on_terminal(*args: object, env: dict[str, str] | None = None) -> str:
    """What the command shows on a terminal."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "thermos.cli", *map(str, args)]
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment(env))
    os.close(child)
    shown = b""
    try:
        while chunk := os.read(parent, 4096):
            shown += chunk
    except OSError:  # EIO: the other side is closed
        pass
    finally:
        os.close(parent)
    process.wait()
    return shown.decode()


def test_a_terminal_gets_a_table_with_colours_unless_forbidden(tmp_path: Path) -> None:
    write_task(tmp_path, "t1", success("t1"))
    write_task(tmp_path, "t2", success("t2")[:3], is_active=True)
    coloured = on_terminal("--root", tmp_path, "status", env={"TERM": "xterm"})
    assert re.search(r"TASK +STATE +RUNNER", coloured)
    assert "\x1b[36mSUCCESS" in coloured
    assert re.search(r"t2 .*ACTIVE.* dead ", coloured)
    assert "\x1b" not in on_terminal("--root", tmp_path, "status", env={"TERM": "xterm", "NO_COLOR": "1"})
    assert "runner: dead" in on_terminal("--root", tmp_path, "status", "-v1", env={"NO_COLOR": "1"})
