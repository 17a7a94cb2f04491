"""Tasks as they lie on a host's disk, which go on, end and vanish as a test says; no runner is there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Final

from thermos.formats import checkpoint, paths
from thermos.records import ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

#: When the first task of a host was launched.
BEGIN_S: Final = 1_700_000_000


class FakeTask:
    """One task in a checkpoint root, with a sandbox that has logs. Records are appended as a runner does."""

    def __init__(
        self,
        root: Path,
        task_id: str,
        *,
        user: str = "www",
        processes: int = 1,
        at_s: float = BEGIN_S,
        words: str | None = None,
    ) -> None:
        """*words*: the command of each process."""
        self.root = root
        self.task_id = task_id
        self.at_s = at_s
        self.sandbox = root.parent / f"{root.name}-boxes" / task_id
        self.stream = Path(paths.runner_checkpoint(str(root), task_id))
        self.stream.parent.mkdir(parents=True)
        self._seq: dict[str, int] = {}
        for where in (paths.ACTIVE, paths.FINISHED):
            Path(paths.task_dir(str(root), where)).mkdir(parents=True, exist_ok=True)
        names = [f"p{n}" for n in range(processes)]
        for name in names:
            logs = self.sandbox / ".logs" / name / "0"
            logs.mkdir(parents=True)
            (logs / "stdout").write_text(f"{task_id} says hello from {name}\n")
            (logs / "stderr").write_text("")
        at_ms = int(at_s * 1000)
        header = RunnerHeader(
            task_id, at_ms, str(self.sandbox), "host", user, {}, f"{self.sandbox}/.logs", os.getuid(),
            checkpoint.VERSION, "c" * 16,
        )  # fmt: skip
        self.append(header, TaskStatus(TaskState.ACTIVE, at_ms, os.getpid(), 0))
        for name in names:
            self.run(name)
        definition = {
            "name": f"name-{task_id}",
            "processes": [{"name": name, "cmdline": words or f"exec {name}"} for name in names],
            "resources": {"cpu": 1, "ram": 1 << 30, "disk": 1 << 30},
        }
        self._file(paths.ACTIVE).write_text(json.dumps(definition))

    def _file(self, where: str) -> Path:
        return Path(paths.task_path(str(self.root), self.task_id, where))

    def append(self, *records: Record) -> None:
        """Add to its stream."""
        with self.stream.open("ab") as stream:
            stream.write(b"".join(map(checkpoint.encode, records)))

    def run(self, name: str) -> None:
        """A new run of process *name* starts."""
        seq = self._seq.get(name, 0)
        self.append(
            ProcessStatus(seq, name, ProcessState.WAITING),
            ProcessStatus(seq + 1, name, ProcessState.FORKED, fork_time=self.at_s, coordinator_pid=4_000_001),
            ProcessStatus(seq + 2, name, ProcessState.RUNNING, start_time=self.at_s, pid=4_000_002, pid_start_ticks=6),
        )
        self._seq[name] = seq + 3

    def fail(self, name: str) -> None:
        """The run of process *name* fails."""
        seq = self._seq[name]
        self.append(ProcessStatus(seq, name, ProcessState.FAILED, stop_time=self.at_s + 1, return_code=1))
        self._seq[name] = seq + 1

    def finish(self, changed_s: float | None = None) -> None:
        """The task ends well; its checkpoint was last changed at *changed_s*."""
        for name, seq in self._seq.items():
            self.append(ProcessStatus(seq, name, ProcessState.SUCCESS, stop_time=self.at_s + 2, return_code=0))
        for state in (TaskState.CLEANING, TaskState.FINALIZING, TaskState.SUCCESS):
            self.append(TaskStatus(state, int((self.at_s + 3) * 1000), os.getpid(), 0))
        self._file(paths.ACTIVE).rename(self._file(paths.FINISHED))
        if changed_s is not None:
            os.utime(self.stream, (changed_s, changed_s))

    def vanish(self) -> None:
        """Nothing is left of it."""
        for where in (paths.ACTIVE, paths.FINISHED):
            self._file(where).unlink(missing_ok=True)
        shutil.rmtree(self.stream.parent)
        shutil.rmtree(self.sandbox)


def finished(root: Path, count: int, first: int = 0) -> list[FakeTask]:
    """Tasks that have ended one second after the other."""
    found = []
    for n in range(first, first + count):
        task = FakeTask(root, f"done-{n:03}", at_s=BEGIN_S + n)
        task.finish(BEGIN_S + n)
        found.append(task)
    return found
