"""What cannot run: one clear sentence for each fault, its exit code, and nothing half-written."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.box import IS_ROOT, NOBODY, Box, process, until
from thermos.errors import UnsupportedSystem
from thermos.host import linux
from thermos.states import TaskState

GOOD = [process("p", "true")]


def files(below: str) -> list[str]:
    """Every file below a directory: none are left where nothing could run."""
    return [os.path.join(at, name) for at, _, names in os.walk(below) for name in names]


def refused(box: Box, code: int, *words: str, task: object = GOOD, flags: tuple[str, ...] = (), **options: Any) -> str:
    """Check that a runner refuses *task*: with *code*, naming all *words*, leaving no file of the task."""
    found = box.run(task, *flags, **options)
    said = box.said()
    assert found == code, said
    assert said.startswith("thermos_runner: "), said
    assert "Traceback" not in said
    assert [word for word in words if word not in said] == [], said
    assert files(box.root) == []
    return said


def one(name: str = "p", cmdline: str = "true", **fields: object) -> dict[str, object]:
    return {"processes": [process(name, cmdline)], **fields}


TASKS: dict[str, tuple[object, int, tuple[str, ...]]] = {
    "not JSON": ('{"processes": [', 102, ("task.json", "is not JSON", "line 1, column")),
    "a list": ("[1]", 102, ("task.json", "must be an object")),
    "a number of a thousand digits": ('{"processes": 1' + "0" * 5000 + "}", 102, ("task.json",)),
    "nested too deeply": ("[" * 100_000, 102, ("task.json", "nested too deeply")),
    "no processes": ({"processes": []}, 102, ("at least one process",)),
    "no command": ({"processes": [{"name": "p"}]}, 102, ("processes[0].cmdline", "is required")),
    "an empty command": (one(cmdline=" "), 102, ("processes[0].cmdline", "is empty")),
    "a NUL": (one(cmdline="a\0b"), 102, ("processes[0].cmdline", "NUL")),
    "half a surrogate": (one(cmdline="\ud800"), 102, ("processes[0].cmdline", "surrogate")),
    "an unbound reference": (one(cmdline="{{mesos.instance}}"), 102, ("{{mesos.instance}}", "processes[0].cmdline")),
    "a missing port": (one(cmdline="{{thermos.ports[http]}}"), 101, ("port 'http'", "--port http:NUMBER")),
    "a slash in a name": (one(name="a/b"), 102, ("'a/b'", "file name")),
    "a name that leads up": (one(name=".."), 102, ("'..'", "file name")),
    "a line end in a name": (one(name="a\nb"), 102, ("control character",)),
    "a name of 300 characters": (one(name="n" * 300), 102, ("300 bytes",)),
    "an empty name": (one(name=""), 102, ("processes[0].name", "is empty")),
    "two of a name": ({"processes": [process("p", "1"), process("p", "2")]}, 102, ("'p' is also the name of",)),
    "an unknown predecessor": (one(constraints=[{"order": ["q", "p"]}]), 102, ("there is no process 'q'",)),
    "a circle": (
        {
            "processes": [process("p", "1"), process("q", "2")],
            "constraints": [{"order": ["p", "q"]}, {"order": ["q", "p"]}],
        },
        102,
        ("circle", "p -> q -> p"),
    ),
    "a negative limit": (one(max_failures=-1), 102, ("max_failures", "is -1")),
    "an unknown destination": (
        {"processes": [process("p", "true", logger={"destination": "nowhere"})]},
        102,
        ("logger.destination", "'nowhere'"),
    ),
    "no text but a number": ({"processes": [{"name": "p", "cmdline": ["x"]}]}, 102, ("cmdline", "must be text")),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_that_cannot_run(box: Box, name: str) -> None:
    task, code, words = TASKS[name]
    refused(box, code, *words, task=task)
    assert not os.path.exists(box.sandbox)


def test_five_faults_at_once_are_all_named(box: Box) -> None:
    task = {
        "name": "t",
        "processes": [
            process("a/b", "true"),
            process("q", "{{mesos.instance}}", max_failures=-2),
            process("r", " "),
            process("s", "{{thermos.ports[http]}}"),
        ],
        "constraints": [{"order": ["q", "nobody"]}],
        "max_concurrency": -3,
    }
    words = ("'a/b'", "{{mesos.instance}}", "is -2", "processes[2].cmdline", "'http'", "'nobody'", "is -3")
    refused(box, 102, *words, task=task)


FLAGS: dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]] = {
    "a task id with a slash": (("--task_id=a/b",), 102, ("'a/b'", "may not hold '/'")),
    "a task id that leads up": (("--task_id=..",), 102, ("'..'",)),
    "an empty task id in its place": (("--task_id=.",), 102, ("'.'",)),
    "a hidden task id": (("--task_id=.x",), 102, ("start with '.'",)),
    "a blank in a task id": (("--task_id=a b",), 102, ("blanks",)),
    "a line end in a task id": (("--task_id=a\nb",), 102, ("blanks, line ends",)),
    "a task id of 300 characters": (("--task_id=" + "x" * 300,), 102, ("255 bytes",)),
    "an unknown user": (("--setuid=nobody-here",), 104, ("no user 'nobody-here'",)),
    "no such file": (("--thermos_json=/nowhere/task.json",), 102, ("/nowhere/task.json", "No such file")),
    "a directory for a file": (("--thermos_json=/",), 102, ("cannot be read", "Is a directory")),
}


@pytest.mark.parametrize("name", FLAGS)
def test_flags_that_cannot_be_followed(box: Box, name: str) -> None:
    flags, code, words = FLAGS[name]
    refused(box, code, *words, flags=flags)
    assert not os.path.exists(box.sandbox)


@pytest.mark.parametrize(
    "flags",
    [
        ("--port=http",),
        ("--port=http:0",),
        ("--port=http:65536",),
        ("--port=:80",),
        ("--port=a:b", "--port=c:d"),
        ("--no_such_flag",),
        ("--process_logger_mode=sideways",),
        ("--rotate_log_size_mb=0", "--process_logger_mode=rotate"),
        ("--rotate_log_backups=-1", "--process_logger_mode=rotate"),
        ("--preemption_wait=soon",),
    ],
)
def test_wrong_flags_end_in_2_and_all_are_named(box: Box, flags: tuple[str, ...]) -> None:
    assert box.run(GOOD, *flags) == 2
    said = box.said()
    assert "usage:" in said
    assert all(flag.split("=")[0] in said for flag in flags[:1])
    assert all(flag.split("=")[1] in said for flag in flags if flag.startswith("--port"))
    assert files(box.root) == []


@pytest.mark.parametrize("flag", ["--thermos_json", "--sandbox"])
def test_what_must_be_given(box: Box, flag: str) -> None:
    words = [word for word in box.command(GOOD) if not word.startswith(flag)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, flag in done.stderr) == (102, True)
    assert files(box.root) == []


def test_emoji_and_other_scripts_are_fine(box: Box) -> None:
    assert box.run([process("größe 🚀 日本", "echo ☃")], "--task_id=🚀-zürich") == 0, box.said()
    box.task_id = "🚀-zürich"
    assert box.task_state is TaskState.SUCCESS
    assert box.log("größe 🚀 日本") == "☃\n"


# -- places --------------------------------------------------------------------------------------------------------


def a_file(path: str) -> None:
    Path(path).write_text("")


def a_link(path: str) -> None:
    os.mkdir(f"{path}-target")
    os.symlink(f"{path}-target", path)


def a_dangling_link(path: str) -> None:
    os.symlink("/nowhere", path)


@pytest.mark.parametrize("plant", [a_file, a_link, a_dangling_link])
def test_a_sandbox_that_is_none(box: Box, plant: Callable[[str], None]) -> None:
    plant(box.sandbox)
    refused(box, 106, box.sandbox, "directory")


@pytest.mark.parametrize("plant", [a_file, a_dangling_link])
def test_a_checkpoint_root_that_is_none(box: Box, plant: Callable[[str], None]) -> None:
    plant(box.root)
    assert box.run(GOOD) in (101, 106)
    assert box.root in box.said()
    assert "a fault of ours" not in box.said()


def test_a_sandbox_that_may_not_be_written(box: Box) -> None:
    os.mkdir(box.sandbox, 0o555)
    refused(box, 106, box.sandbox, "directory", user=NOBODY)


def test_a_checkpoint_root_that_may_not_be_written(box: Box) -> None:
    os.mkdir(box.root, 0o555)
    refused(box, 106, box.root, user=NOBODY)


def test_another_user_takes_root(box: Box) -> None:
    refused(box, 106, "only root", "'root'", flags=("--setuid=root",), user=NOBODY)


@pytest.fixture(name="mounted")
def _mounted(box: Box) -> Iterator[Callable[[str], tuple[str, ...]]]:
    """Words that run a command where the box has a file system of its own at *root*, mounted with options."""
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True)
    if not IS_ROOT or probe.returncode:
        pytest.skip("a mount namespace takes root, and a kernel that lets it")

    def words(options: str) -> tuple[str, ...]:
        os.makedirs(box.root)
        script = f'mount -t tmpfs -o {options} none {box.root} && exec "$@"'
        return ("unshare", "-m", "sh", "-c", script, "sh")

    yield words


def test_a_checkpoint_root_that_is_read_only(box: Box, mounted: Callable[[str], tuple[str, ...]]) -> None:
    refused(box, 106, box.root, "Read-only", before=mounted("ro"))


def test_a_checkpoint_root_that_is_full(box: Box, mounted: Callable[[str], tuple[str, ...]]) -> None:
    """One block in all: room for the directories, none for the task's file."""
    said = refused(
        box, 110, box.root, "No space", before=mounted("size=4k,nr_inodes=100"), task=one("x" * 100, "y" * 9000)
    )
    assert "nothing is lost" in said


# -- the second time -----------------------------------------------------------------------------------------------


def test_the_same_id_with_another_definition(box: Box) -> None:
    runner = box.start([process("p", "sleep 600")])
    box.until_running("p")
    runner.kill()
    runner.wait()
    before = {path: Path(path).read_bytes() for path in files(box.root)}
    assert box.run([process("p", "sleep 601")]) == 102
    assert "another definition" in box.said()
    assert {path: Path(path).read_bytes() for path in files(box.root)} == before


def test_a_second_runner_of_a_task_that_lives(box: Box) -> None:
    first = box.start([process("p", "sleep 600")])
    box.until_running("p")
    assert box.run([process("p", "sleep 600")]) == 103
    assert f"pid {first.pid}, lives" in box.said()
    until(lambda: first.poll() is None, "the first one goes on")


def test_a_task_that_is_over(box: Box) -> None:
    assert box.run(GOOD) == 0
    assert box.run(GOOD) == 105
    assert "is over" in box.said()


def test_a_damaged_checkpoint(box: Box) -> None:
    runner = box.start([process("p", "sleep 600")])
    box.until_running("p")
    runner.kill()
    runner.wait()
    stream = Path(box.root, "checkpoints/task/runner")
    data = bytearray(stream.read_bytes())
    data[20] ^= 0xFF
    stream.write_bytes(data)
    assert box.run([process("p", "sleep 600")]) == 107
    assert str(stream) in box.said()
    assert stream.read_bytes() == data
    data[20] ^= 0xFF
    stream.write_bytes(data)  # so that the box finds what to end


# -- the system ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "system, release, works",
    [
        ("Linux", "5.6.0", True),
        ("Linux", "5.10+", True),
        ("Linux", "6.18.44-fc-v669", True),
        ("Linux", "10.0-rc1", True),
        ("Linux", "5.6-rc1", True),
        ("Linux", "5.5.19-generic", False),
        ("Linux", "4.19.0-27-amd64", False),
        ("Linux", "odd", False),
        ("FreeBSD", "14.1", False),
    ],
)
def test_an_old_or_other_kernel(monkeypatch: pytest.MonkeyPatch, system: str, release: str, works: bool) -> None:
    fake = os.uname_result((system, "here", release, "#1", platform.machine()))
    monkeypatch.setattr(os, "uname", lambda: fake)
    if works:
        linux.require_kernel()
        return
    with pytest.raises(UnsupportedSystem, match=f"{system} {release}") as caught:
        linux.require_kernel()
    assert (caught.value.exit_code, "5.6" in str(caught.value)) == (109, True)
