"""A task in a file system image on a real Mesos, as far as its commands: mounts and the containerizer are recorders."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.box import IS_ROOT, process, until
from tests.support.executor import COMMAND, ME, Task
from tests.support.mesos import Mesos, Scheduler, mesos, scheduler
from thermos.formats.assigned_task import (
    AssignedTask,
    Container,
    DockerImage,
    ExecutorConfig,
    Image,
    JobKey,
    MesosContainer,
    TaskConfig,
    Volume,
    encode,
)

pytestmark = pytest.mark.timeout(300)

#: Writes down what it is asked for and runs it here: no image is entered.
CONTAINERIZER: Final = """#!{python}
import json, os, sys
if "--help" in sys.argv:
    print("usage: launch {usage}", file=sys.stderr)
    sys.exit(1)
with open("{record}", "a") as record:
    record.write(json.dumps([sys.argv[1:], os.getcwd(), os.geteuid()]) + "\\n")
flags = dict(word[2:].split("=", 1) for word in sys.argv if "=" in word)
command = json.loads(flags["launch_info"])["command"] if "launch_info" in flags else json.loads(flags["command"])
os.execv(command["value"], command["arguments"])
"""


@pytest.fixture
def cluster() -> Iterator[Mesos]:
    with mesos() as made:
        yield made


@pytest.fixture
def framework(cluster: Mesos) -> Iterator[Scheduler]:
    with scheduler(cluster) as made:
        yield made


class Tools:
    """Programs that only record."""

    def __init__(self, path: Path, usage: str = "--launch_info=VALUE") -> None:
        self.path = path
        self.containerizer = path / "mesos-containerizer"
        text = CONTAINERIZER.replace("{python}", sys.executable).replace("{usage}", usage)
        self._write("mesos-containerizer", text.replace("{record}", str(path / "launched")))
        for name in ("mount", "groupadd", "useradd"):
            self._write(name, f'#!/bin/sh\necho "{name} $*" >> {path}/ran\n')

    def _write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)
        (self.path / name).chmod(0o755)

    @property
    def ran(self) -> list[str]:
        return (self.path / "ran").read_text().splitlines()

    @property
    def launched(self) -> list[Any]:
        file = self.path / "launched"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def task_in_image(cluster: Mesos, framework: Scheduler, tools: Tools, *volumes: str, path: Path | None = None) -> Task:
    shell = {"health_checker": {"shell": {"shell_command": "echo checked"}}}
    task = {"name": "job", "processes": [process("a", "echo hello; exec -a WORD sleep 600")]}
    job = {
        "name": "job", "role": ME, "cluster": "c", "environment": "test", "task": task, "health_check_config": shell,
    }  # fmt: skip
    image = MesosContainer(Image(docker=DockerImage("busybox", "latest")), tuple(Volume(name) for name in volumes))
    config = TaskConfig(
        job=JobKey(ME, "test", "job"),
        executor_config=ExecutorConfig("AuroraExecutor", json.dumps(job)),
        container=Container(mesos=image),
    )
    containerizer = path if path is not None else tools.containerizer
    flags = [f"--mesos-containerizer-path={containerizer}", "--sandbox-mount-point=/mnt/box"]
    line = f"mkdir taskfs; exec {shlex.join([*COMMAND, *flags])}"
    data = encode(AssignedTask("t", "agent", "localhost", config, {}, 0))
    environ = {"PATH": f"{tools.path}:/usr/sbin:/usr/bin:/sbin:/bin"}
    return Task(cluster, framework, data=data, command=line, environ=environ)


def test_the_newer_form(cluster: Mesos, framework: Scheduler, tmp_path: Path) -> None:
    tools = Tools(tmp_path)
    task = task_in_image(cluster, framework, tools, str(tmp_path))
    task.until("TASK_RUNNING")
    sandbox, fs = f"{task.sandbox}/sandbox", f"{task.sandbox}/taskfs"
    mounts = [f"mount -n --rbind {tmp_path} {fs}{tmp_path}", f"mount -n --rbind {sandbox} {fs}/mnt/box"]
    assert [line for line in tools.ran if line.startswith("mount")] == mounts
    if IS_ROOT:
        assert tools.ran[0].startswith(f"groupadd -R {fs} -g 0 ")
        assert tools.ran[1] == f"useradd -R {fs} -u 0 -g 0 {ME}"
    until(lambda: len(tools.launched) > 1, "the process and its check are launched")
    for argv, _, _ in tools.launched:
        assert argv[:2] == ["launch", "--unshare_namespace_mnt"]
        (info,) = [json.loads(word.partition("=")[2]) for word in argv if word.startswith("--launch_info=")]
        assert info["rootfs"] == fs
        assert info["user"] == ME
        assert info["working_directory"] == "/mnt/box"
        assert info["command"]["shell"] is False
        assert info["command"]["arguments"][:2] == ["/bin/bash", "-c"]
    lines = [json.dumps(argv) for argv, _, _ in tools.launched]
    assert any("echo hello" in line for line in lines)
    assert any("echo checked" in line for line in lines)
    framework.kill("t")
    task.until("TASK_KILLED")
    task.is_gone()


def test_the_older_form(cluster: Mesos, framework: Scheduler, tmp_path: Path) -> None:
    tools = Tools(tmp_path, usage="--command=VALUE")
    task = task_in_image(cluster, framework, tools)
    task.until("TASK_RUNNING")
    until(lambda: len(tools.launched) > 1, "the process and its check are launched")
    for argv, _, _ in tools.launched:
        assert f"--rootfs={task.sandbox}/taskfs" in argv
        assert "--working_directory=/mnt/box" in argv
        assert f"--user={ME}" in argv
    framework.kill("t")
    task.until("TASK_KILLED")
    task.is_gone()


@pytest.mark.parametrize("kind", ["missing", "not executable"])
def test_without_a_containerizer_it_fails_with_the_reason(
    kind: str, cluster: Mesos, framework: Scheduler, tmp_path: Path
) -> None:
    path = tmp_path / "other"
    if kind == "not executable":
        path.touch(mode=0o644)
    task = task_in_image(cluster, framework, Tools(tmp_path), path=path)
    status = task.until("TASK_FAILED")
    assert f"the containerizer {path} is not there or cannot be executed" in status["message"]
    assert task.states == ["TASK_STARTING", "TASK_FAILED"]
    task.is_gone()
