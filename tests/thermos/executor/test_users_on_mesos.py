"""As whom things run on a real Mesos, and whose files they are: roles, flags, an executor that is not root."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h11
import pytest

from tests.support.box import IS_ROOT, NOBODY, process, until
from tests.support.executor import PROJECT, Task
from tests.support.mesos import Mesos, Scheduler, mesos, scheduler

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not IS_ROOT, reason="running tasks as other users takes root"),
]
NAME: Final = pwd.getpwuid(NOBODY).pw_name


@pytest.fixture
def cluster() -> Iterator[Mesos]:
    with mesos() as made:
        yield made


@pytest.fixture
def framework(cluster: Mesos) -> Iterator[Scheduler]:
    with scheduler(cluster) as made:
        yield made


WHO: Final = process("who", "id -u > uid; id -G > groups; echo $HOME $USER $LOGNAME > names; exec -a WORD sleep 600")


def checked(**more: Any) -> dict[str, Any]:
    """Settings of a task whose check tells who it is."""
    return {"health_check_config": {"health_checker": {"shell": {"shell_command": "id -u > checked"}}}, **more}


def run(cluster: Mesos, framework: Scheduler, *flags: str, **more: Any) -> Task:
    task = Task(cluster, framework, WHO, flags=flags, **checked(**more))
    task.until("TASK_RUNNING")
    until((task.sandbox / "sandbox/names").exists, "it has told who it is")
    return task


def told(task: Task, name: str) -> str:
    file = task.sandbox / "sandbox" / name
    until(lambda: file.exists() and file.read_text().endswith("\n"), f"{name} is written")
    return file.read_text().strip()


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)


def finish(task: Task) -> None:
    task.framework.kill("t")
    task.until("TASK_KILLED")
    task.is_gone()


def test_a_role_s_task_is_its_user_s(cluster: Mesos, framework: Scheduler) -> None:
    task = run(cluster, framework, role=NAME)
    assert told(task, "uid") == str(NOBODY)
    assert told(task, "checked") == str(NOBODY)
    assert told(task, "names") == f"{task.sandbox}/sandbox {NAME} {NAME}"
    assert "0" not in told(task, "groups").split()
    assert owner(task.sandbox / "sandbox") == (NOBODY, 0o700)
    assert task.sandbox.stat().st_uid == NOBODY
    assert (task.sandbox / "thermos_executor.log").stat().st_uid == 0
    finish(task)


def test_a_role_without_a_user_fails_with_its_name(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, WHO, role="nobody-of-that-name")
    status = task.until("TASK_FAILED")
    assert "no user 'nobody-of-that-name' on this host" in status["message"]
    assert status["reason"] == "REASON_CONTAINER_LAUNCH_FAILED"
    assert task.states == ["TASK_STARTING", "TASK_FAILED"]
    task.is_gone()


def test_nosetuid_leaves_everything_ours(cluster: Mesos, framework: Scheduler) -> None:
    task = run(cluster, framework, "--nosetuid", role="nobody-of-that-name")
    assert told(task, "uid") == told(task, "checked") == "0"
    assert owner(task.sandbox / "sandbox") == (0, 0o700)
    finish(task)


def test_nosetuid_health_checks_leaves_only_checks_ours(cluster: Mesos, framework: Scheduler) -> None:
    task = run(cluster, framework, "--nosetuid-health-checks", role=NAME)
    assert told(task, "uid") == str(NOBODY)
    assert told(task, "checked") == "0"
    finish(task)


def test_execute_as_user_gives_the_sandbox_away_and_changes_no_user(cluster: Mesos, framework: Scheduler) -> None:
    task = run(cluster, framework, "--execute-as-user", NAME, role="daemon")
    assert owner(task.sandbox / "sandbox") == (NOBODY, 0o700)
    assert told(task, "uid") == told(task, "checked") == "0"
    finish(task)


def test_execute_as_user_with_nobody_of_that_name(cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, WHO, flags=["--execute-as-user", "nobody-of-that-name"])
    status = task.until("TASK_FAILED")
    assert "no user 'nobody-of-that-name' on this host" in status["message"]
    task.is_gone()


@pytest.mark.parametrize("flags", [(), ("--preserve_env",)])
def test_preserve_env_hands_the_environment_on(flags: tuple[str, ...], cluster: Mesos, framework: Scheduler) -> None:
    task = Task(cluster, framework, process("a", "env"), flags=flags, environ={"OF_THE_EXECUTOR": "mine"})
    task.until("TASK_FINISHED")
    said = (task.sandbox / "sandbox/.logs/a/0/stdout").read_text().splitlines()
    assert ("OF_THE_EXECUTOR=mine" in said) is bool(flags)
    assert not [line for line in said if "AUTHENTICATION_TOKEN" in line]
    task.is_gone()


def test_logger_flags_reach_the_processes(cluster: Mesos, framework: Scheduler) -> None:
    flags = ["--runner-logger-mode", "rotate", "--runner-rotate-log-size-mb", "1", "--runner-rotate-log-backups", "1"]
    task = Task(cluster, framework, process("a", "for i in 1 2 3 4; do head -c 1048576 /dev/zero; done"), flags=flags)
    task.until("TASK_FINISHED")
    logs = task.sandbox / "sandbox/.logs/a/0"
    assert sorted(path.name for path in logs.glob("stdout*")) == ["stdout", "stdout.1"]
    task.is_gone()


def test_a_logger_of_none_keeps_no_files(cluster: Mesos, framework: Scheduler) -> None:
    flags = ["--runner-logger-destination", "none"]
    task = Task(cluster, framework, process("a", "echo hello"), flags=flags)
    task.until("TASK_FINISHED")
    assert not list((task.sandbox / "sandbox").rglob("stdout"))
    task.is_gone()


def of_nobody() -> tuple[list[str], dict[str, str]]:
    """An executor that *nobody* can start: its command, and the variables that it needs."""
    packages = str(Path(h11.__file__).parents[1])
    environ = {"PYTHONPATH": f"{PROJECT}:{packages}"}
    probe = "import sys, thermos.executor.main; sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with contextlib.suppress(OSError):
            words = [python, "-c", probe]
            # Not by setpriv: it keeps its capabilities until the program is found.
            done = subprocess.run(words, env=environ, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", timeout=30)
            if done.returncode == 0:
                return [python, "-m", "thermos.executor.main"], environ
    pytest.skip("no Python 3.11 on this host that other users can execute")


def test_an_executor_that_is_not_root(cluster: Mesos) -> None:
    command, environ = of_nobody()
    with scheduler(cluster, user=NAME) as framework:
        task = Task(cluster, framework, WHO, command=command, environ=environ, **checked(role=NAME))
        task.until("TASK_RUNNING")
        assert os.stat(f"/proc/{task.executor_pid()}").st_uid == NOBODY
        assert told(task, "uid") == told(task, "checked") == str(NOBODY)
        assert owner(task.sandbox / "sandbox") == (NOBODY, 0o700)
        finish(task)


def test_an_executor_that_is_not_root_runs_its_task_as_itself(cluster: Mesos) -> None:
    command, environ = of_nobody()
    with scheduler(cluster, user=NAME) as framework:
        task = Task(cluster, framework, WHO, command=command, environ=environ, role="somebody-else")
        task.until("TASK_RUNNING")
        assert told(task, "uid") == str(NOBODY)
        finish(task)
