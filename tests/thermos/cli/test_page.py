"""``thermos page``: a task as pages."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from tests.support.box import box, process
from tests.thermos.cli.command import header, run_records, success, task_status, thermos, write_task
from thermos.errors import ExitCode
from thermos.records import Record
from thermos.states import ProcessState, TaskState

SECRET = "hunter2-Zq"
DEFINITION = json.dumps({"name": "t", "processes": [{"name": "hello", "cmdline": f"TOKEN={SECRET} case-7 run"}]})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_task(tmp_path / "root", "t", success("t"), task_json=DEFINITION)
    return tmp_path / "root"


def test_pages_are_written_and_the_first_is_named(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "pages"
    done = thermos("--root", root, "page", "--output", out, "t")
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert done.stdout == f"{out}/index.html\n"
    text = (out / "index.html").read_text()
    assert "t ended SUCCESS at 2026-11-20 13:43:36 UTC, after 3 s." in text
    assert 'href="process/hello.html"' in text
    assert "TOKEN=[redacted]" in (out / "process/hello.html").read_text()
    for path in out.rglob("*"):
        assert SECRET not in path.read_text() if path.is_file() else True
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if path.is_file() else 0o700)


def test_json_says_what_was_written_and_a_second_time_brings_up_to_date(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "pages"
    first = json.loads(thermos("--root", root, "page", "--json", "-o", out, "t").stdout)
    assert first["page"] == f"{out}/index.html"
    assert first["pages"] == ["index.html", "process/hello.html", "raw.html", "browse.html"]
    assert (first["written"], first["removed"]) == (4, 0)
    write_task(root, "t", success("t", "other"), task_json=DEFINITION.replace("hello", "other"))
    second = json.loads(thermos("--root", root, "page", "--json", "-o", out, "t").stdout)
    assert second["removed"] == 1 and "process/other.html" in second["pages"]
    assert not (out / "process/hello.html").exists()


def test_the_directory_is_named_after_the_task(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert thermos("--root", root, "page", "t").stdout == f"{tmp_path}/t.pages/index.html\n"


def test_to_stdout(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = thermos("--root", root, "page", "--stdout", "t")
    assert done.returncode == ExitCode.OK
    assert done.stdout.startswith("<!doctype html>") and "</html>" in done.stdout
    assert "process/hello.html" not in done.stdout, "there is no such page"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"], "nothing is written"


def test_secrets(root: Path, tmp_path: Path) -> None:
    page = tmp_path / "p/process/hello.html"
    thermos("--root", root, "page", "-o", tmp_path / "p", "--redact", r"case-\d", "t")
    assert "TOKEN=[redacted] [redacted] run" in page.read_text()
    thermos("--root", root, "page", "-o", tmp_path / "p", "--no-redact", "t")
    assert f"TOKEN={SECRET} case-7 run" in page.read_text()


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["none"], ExitCode.NOT_FOUND, "no task 'none'"),
        (["--redact", "(", "t"], ExitCode.USAGE, "no regular expression"),
        (["--agent_url", "javascript:alert(1)", "t"], ExitCode.USAGE, "no address of an agent"),
        (["--agent_url", "http://h:1/x;y", "t"], ExitCode.USAGE, "no address of an agent"),
        (["--redact", "x", "--no-redact", "t"], ExitCode.USAGE, "--redact and --no-redact contradict each other"),
        (["--stdout", "t"], ExitCode.USAGE, "--stdout writes nothing"),
        (["--stdout", "--json", "t"], ExitCode.USAGE, "--stdout prints a page"),
    ],
)
def test_mistakes(root: Path, tmp_path: Path, args: list[str], code: ExitCode, said: str) -> None:
    done = thermos("--root", root, "page", "-o", tmp_path / "p", *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "p").exists()


@pytest.mark.skipif(bool(os.statvfs("/sys").f_flag & os.ST_RDONLY), reason="needs a file system that lets nobody write")
def test_where_nobody_may_write_the_system_refuses(root: Path) -> None:
    done = thermos("--root", root, "page", "-o", "/sys/pages", "t")
    assert (done.returncode, done.stdout) == (ExitCode.PERMISSION, "")
    assert done.stderr.startswith("thermos page: /sys/pages: ")


def test_a_directory_of_something_else_is_left_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    done = thermos("--root", root, "page", "-o", tmp_path / "mine", "t")
    assert done.returncode == ExitCode.REFUSED
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"


def test_a_damaged_checkpoint_is_shown_and_told(root: Path, tmp_path: Path) -> None:
    stream = root / "checkpoints/t/runner"
    stream.write_bytes(stream.read_bytes()[:-3])
    done = thermos("--root", root, "page", "-o", tmp_path / "p", "t")
    assert done.returncode == ExitCode.DAMAGED
    assert done.stdout == f"{tmp_path}/p/index.html\n"
    assert str(stream) in done.stderr
    assert "Not everything could be read" in (tmp_path / "p/index.html").read_text()


def test_an_active_task_through_its_agent(tmp_path: Path) -> None:
    run = tmp_path / "slaves/S/frameworks/F/executors/thermos-t/runs/R"
    logs = run / "sandbox/.logs"
    (logs / "hello/0").mkdir(parents=True)
    (logs / "hello/0/stdout").write_text("a line\n")
    records: list[Record] = [
        task_status(TaskState.ACTIVE),
        header("t", sandbox=str(run / "sandbox"), log_dir=str(logs)),
        *run_records("hello", None),
        *run_records("done", ProcessState.SUCCESS, code=0),
    ]
    write_task(run / "checkpoints", "t", records, True, DEFINITION)
    done = thermos(
        "--mesos-root", tmp_path, "--root", tmp_path / "none", "page", "-o", tmp_path / "p",
        "--agent_url", "http://agent.example:5051/", "t",
    )  # fmt: skip
    assert done.returncode == ExitCode.OK, done.stderr
    text = (tmp_path / "p/process/hello.html").read_text()
    assert f"http://agent.example:5051/files/download?path={logs}/hello/0/stdout" in text
    assert 'data-agent="http://agent.example:5051"' in text


@pytest.mark.process
def test_what_an_active_task_uses() -> None:
    with box("t") as made:
        Path(made.sandbox).mkdir()
        Path(made.sandbox, "data").write_bytes(b"x" * (3 << 20))
        made.start([process("busy", "while :; do :; done")])
        made.until_running("busy")
        done = thermos("--root", made.root, "page", "--stdout", "t")
    assert done.returncode == ExitCode.OK, done.stderr
    shown = {label: re.findall(rf"<dt>{label}</dt><dd>(.*?)<", done.stdout) for label in ("CPU", "Memory", "Disk")}
    assert all(re.match(r"[\d.]+", value) for [value] in shown.values()), shown
    assert re.fullmatch(r"3(\.\d)? MiB.*", shown["Disk"][0]), "what lies in the sandbox"


def test_help_has_an_example() -> None:
    assert "thermos page TASK_ID" in thermos("page", "--help").stdout
