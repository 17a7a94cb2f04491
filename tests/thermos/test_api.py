"""The public face of the library: complete, lazy, and enough to run a task and read what became of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import thermos


def test_every_public_name_is_there() -> None:
    assert thermos.__all__ == sorted(thermos.__all__)
    for name in thermos.__all__:
        assert getattr(thermos, name) is not None
    homes = {name for names in thermos._HOMES.values() for name in names}
    assert homes | {"__version__"} == set(thermos.__all__)


def test_what_is_not_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Machine'"):
        thermos.Machine  # noqa: B018 - that is the test


def test_importing_it_imports_nothing_else() -> None:
    code = "import sys, thermos; print([name for name in sys.modules if name.startswith('thermos.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


def test_a_task_is_run_and_read_with_it(tmp_path: Path) -> None:
    config = tmp_path / "hello.thermos"
    config.write_text("export(Task(name='hello', processes=[Process(name='say', cmdline='echo hello')]))")
    task = thermos.load(str(config)).task(None)
    from thermos.formats.task_json import encode

    root = str(tmp_path / "root")
    command = thermos.RunnerCommand(root, "t", encode(task), str(tmp_path / "sandbox"))
    started = thermos.start(command, report=False)
    assert os.waitpid(started.pid, 0)[1] == 0
    assert thermos.read_task(root, "t").state.task_state is thermos.TaskState.SUCCESS
    assert (tmp_path / "sandbox/.logs/say/0/stdout").read_text() == "hello\n"
