"""A sandbox, a checkpoint root, real runners on them, and a sure end for all that they start."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from thermos.checkpoints import read_task
from thermos.core.state import Run, RunnerState
from thermos.host import cgroup, proc
from thermos.runner import boot
from thermos.states import ProcessState, TaskState

#: How long anything may take that should happen soon, on a machine that is busy with something else.
SOON_S = 30.0
NOBODY = 65534
IS_ROOT = os.geteuid() == 0

_pause = threading.Event()


def until(condition: Callable[[], object], what: str | Callable[[], str], timeout_s: float = SOON_S) -> None:
    """Return when *condition* holds; fail with *what*, asked for only then, if it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what if isinstance(what, str) else what()}")
        _pause.wait(0.01)


def process(name: str, cmdline: str, **fields: object) -> dict[str, object]:
    """A process of a task, run again at once where it is run again."""
    return {"name": name, "cmdline": cmdline, "min_duration": 0, **fields}


def with_words(word: str) -> list[int]:
    """Pids of all processes, zombies left out, that have *word* in their command line."""
    wanted = word.encode()
    found = []
    for stat in proc.snapshot():
        with contextlib.suppress(OSError):
            if stat.state not in "ZX" and wanted in Path(f"/proc/{stat.pid}/cmdline").read_bytes():
                found.append(stat.pid)
    return found


@functools.cache
def as_user(uid: int) -> tuple[str, ...]:
    """Words that go before a runner's own and make it *uid*'s; the last is an interpreter that it can use."""
    drop = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--")
    if not IS_ROOT or shutil.which("setpriv") is None:
        pytest.skip("becoming another user takes root, and setpriv")
    probe = "import json, sys; sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with contextlib.suppress(OSError):
            if subprocess.run([*drop, python, "-S", "-E", "-c", probe], capture_output=True, cwd="/").returncode == 0:
                return (*drop, python)
    pytest.skip("no Python 3.11 on this host that other users can execute")


class Box:
    """One task's surroundings. Everything below ``path`` is gone after ``close``, and so are all processes."""

    def __init__(self, path: str, task_id: str = "task") -> None:
        self.path = path
        self.root = f"{path}/root"
        self.sandbox = f"{path}/box"
        self.task_id = task_id
        self.runners: list[subprocess.Popen[str]] = []
        self._words: dict[int, str] = {}

    # -- starting ------------------------------------------------------------------------------------------------

    def write(self, task: object) -> str:
        """The file that holds *task*; a list is one of processes."""
        if isinstance(task, list):
            task = {"processes": task}
        if isinstance(task, dict) and "processes" in task:
            task = {"name": "task", "finalization_wait": 20, **task}
        file = f"{self.path}/task.json"
        Path(file).write_text(task if isinstance(task, str) else json.dumps(task))
        return file

    def command(self, task: object, *flags: str) -> list[str]:
        own = [
            f"--thermos_json={self.write(task)}",
            f"--checkpoint_root={self.root}",
            f"--sandbox={self.sandbox}",
            f"--task_id={self.task_id}",
        ]
        return boot.argv([*own, *flags])

    def start(
        self,
        task: object,
        *flags: str,
        before: Sequence[str] = (),
        user: int | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Any = subprocess.DEVNULL,
        stdout: Any = None,
        pass_fds: Sequence[int] = (),
        prepare: Callable[[], object] | None = None,
    ) -> subprocess.Popen[str]:
        """A runner; *before* are words in front of its command line. The box is made *user*'s, if one is given."""
        words = [*before, *self.command(task, *flags)]
        if user is not None:
            words = [*as_user(user), *words[1:]]
            os.chown(self.path, user, user)
        with open(f"{self.path}/words-{len(self.runners)}", "w") as said:
            runner = subprocess.Popen(
                words,
                stdin=stdin,
                stdout=said if stdout is None else stdout,
                stderr=said,
                env=env,
                pass_fds=pass_fds,
                preexec_fn=prepare,  # noqa: PLW1509 - there is one thread in these tests
                cwd="/",
                text=True,
            )
        self._words[runner.pid] = said.name
        self.runners.append(runner)
        return runner

    def run(self, task: object, *flags: str, timeout_s: float = SOON_S, **options: Any) -> int:
        """Run to the end; the runner's exit code."""
        return self.wait(self.start(task, *flags, **options), timeout_s)

    def wait(self, runner: subprocess.Popen[str], timeout_s: float = SOON_S) -> int:
        """Wait for a runner's end; its exit code."""
        try:
            return runner.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the runner has not ended in {timeout_s:g} s: {self.story()}") from None

    def said(self, runner: subprocess.Popen[str] | None = None) -> str:
        """What a runner, the last one by default, wrote to stdout and stderr."""
        return Path(self._words[(runner or self.runners[-1]).pid]).read_text()

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def state(self) -> RunnerState:
        return read_task(self.root, self.task_id).state

    @property
    def task_state(self) -> TaskState | None:
        return self.state.task_state

    @property
    def notes(self) -> list[str]:
        return [f"{note.kind}: {note.text}" for note in self.state.notes]

    def last(self, name: str) -> Run:
        """The newest run of process *name*."""
        return self.state.processes[name].last

    def states(self, name: str) -> list[ProcessState]:
        """How each run of *name* ended, or where it is."""
        history = self.state.processes.get(name)
        return [run.state for run in history.runs] if history is not None else []

    def until_running(self, *names: str, timeout_s: float = SOON_S) -> None:
        """Return when the newest run of each of *names* is RUNNING."""

        def all_running() -> bool:
            ends = [self.states(name)[-1:] for name in names]
            return all(end == [ProcessState.RUNNING] for end in ends)

        until(all_running, lambda: f"{names} running; {self.story()}", timeout_s)

    def until_file(self, name: str, timeout_s: float = SOON_S) -> str:
        """Wait for a file in the sandbox that ends a line; what it holds."""
        path = Path(self.sandbox, name)
        until(lambda: path.exists() and path.read_text().endswith("\n"), lambda: f"{name}; {self.story()}", timeout_s)
        return path.read_text()

    def until_state(self, state: TaskState, timeout_s: float = SOON_S) -> None:
        until(lambda: self.task_state is state, lambda: f"{state.name}; {self.story()}", timeout_s)

    def log(self, name: str, stream: str = "stdout", run: int = 0) -> str:
        return Path(self.sandbox, ".logs", name, str(run), stream).read_text()

    def story(self) -> str:
        """All that is known, for the message of a failed test."""
        state = self.state
        runs = {name: [run.state.name for run in history.runs[-3:]] for name, history in state.processes.items()}
        words = [self.said(runner) for runner in self.runners]
        return f"task {state.task_state!r}, {runs}, notes {self.notes}, the runners said {words}"

    # -- ending ----------------------------------------------------------------------------------------------------

    def own_pids(self) -> list[int]:
        """Everything that names the box: runners and coordinators on their command line, the rest as its home."""
        here = self.path.encode()
        found = [runner.pid for runner in self.runners if runner.poll() is None]
        for stat in proc.snapshot():
            with contextlib.suppress(OSError):
                names_it = here in Path(f"/proc/{stat.pid}/cmdline").read_bytes()
                if names_it or (proc.environ_value(stat.pid, b"HOME") or b"").startswith(here):
                    found.append(stat.pid)
        return found

    def close(self) -> None:
        """End everything and take it away."""
        state = self.state
        for _ in range(20):
            pids = self.own_pids()
            for pid in pids:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            for runner in self.runners:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    runner.wait(0.5)
            if not pids:
                break
        if state.header is not None and state.header.cgroup is not None:
            cgroup.kill(state.header.cgroup)
            until(lambda: cgroup.remove(str(state.header and state.header.cgroup)), "the control group can be removed")
        shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def box(task_id: str = "task") -> Iterator[Box]:
    """A box in a directory that any user may enter."""
    path = tempfile.mkdtemp(prefix="box-")
    os.chmod(path, 0o755)
    made = Box(path, task_id)
    try:
        yield made
    finally:
        made.close()


def free_of(marker: str, timeout_s: float = SOON_S) -> None:
    """Return when no process has *marker* in its command line."""
    until(
        lambda: not with_words(marker),
        lambda: f"none of {[proc.describe(pid) for pid in with_words(marker)]}",
        timeout_s,
    )
