"""The command as a whole: finding the verb, options before and after it, help, mistakes, start-up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from detectors.roots import default_root
from tests.thermos.cli.command import environment, success, thermos, write_task
from thermos.cli.main import split
from thermos.cli.verb import NAMES, build_parser, load
from thermos.errors import ExitCode


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], ([], None, [])),
        (["status"], ([], "status", [])),
        (["--root", "/r", "status", "-v"], (["--root", "/r"], "status", ["-v"])),
        (["--root=/r", "status"], (["--root=/r"], "status", [])),
        (["--mesos-root", "/m", "--root", "/r", "tail"], (["--mesos-root", "/m", "--root", "/r"], "tail", [])),
        (["--root"], (["--root"], None, [])),
        (["simplerun", "--", "status"], ([], "simplerun", ["--", "status"])),
    ],
)  # fmt: skip
def test_split(argv: list[str], expected: object) -> None:
    assert split(argv) == expected


def test_global_options_stand_before_and_after_the_verb(tmp_path: Path) -> None:
    write_task(tmp_path, "t", success("t"))
    for arguments in (["--root", tmp_path, "status"], ["status", "--root", tmp_path], [f"--root={tmp_path}", "status"]):
        assert "  t " in thermos(*arguments).stdout


def test_the_verbs_are_listed_and_explained() -> None:
    listed = thermos("help")
    assert listed.returncode == 0
    assert all(f"  {name} " in listed.stdout for name in NAMES)
    assert thermos("--help").stdout == listed.stdout
    without = thermos()
    assert (without.returncode, without.stdout) == (ExitCode.USAGE, listed.stdout)
    unknown = thermos("frobnicate")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (ExitCode.USAGE, 1)
    assert thermos("help", "frobnicate").returncode == ExitCode.USAGE


@pytest.mark.parametrize("name", NAMES)
def test_each_verb_has_an_example_and_its_exit_codes(name: str) -> None:
    verb = load(name)
    shown = build_parser(verb).format_help()
    assert thermos("help", name).stdout == thermos(name, "--help").stdout
    assert f"thermos {name}" in verb.example
    assert "example:" in shown
    for code in (ExitCode.OK, ExitCode.USAGE, *verb.exit_codes):
        assert code.doc in shown


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_is_one_sentence(name: str) -> None:
    done = thermos(name, "--frobnicate")
    if name == "simplerun":  # everything behind the options is the command line
        assert done.returncode == ExitCode.USAGE
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.count("\n") == 1
    assert "--frobnicate" in done.stderr or "required" in done.stderr


def test_version() -> None:
    assert thermos("--version").stdout.startswith("thermos ")


def test_the_default_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_root() == "/var/run/thermos"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    assert default_root() == "/xdg/thermos"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/somewhere")
    assert default_root() == "/somewhere/.local/state/thermos"


def test_a_closed_pipe_ends_it_quietly(tmp_path: Path) -> None:
    for number in range(3000):
        write_task(tmp_path, f"task-with-a-long-name-{number:05}", None)
    command = [sys.executable, "-m", "thermos.cli", "--root", str(tmp_path), "status"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()


#: What start-up cannot afford: what only some verb needs, or nothing of ours.
HEAVY = {
    "asyncio",
    "logging",
    "subprocess",
    "threading",
    "pystachio",
    "thermos.config",
    "thermos.schema",
    "typing_extensions",
}


def test_status_imports_little(tmp_path: Path) -> None:
    write_task(tmp_path, "t", success("t"))
    script = (
        "import sys; from thermos.cli.main import main; "
        f"main(['--root', {str(tmp_path)!r}, 'status', '-v3']); "
        "sys.stderr.write(' '.join(sys.modules))"
    )
    command = [sys.executable, "-S", "-c", script]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stderr.split())
