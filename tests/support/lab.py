"""One task in directories of its own: start its runner, start it again, look at what it left."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.nursery import Nursery
from thermos.core.state import RunnerState
from thermos.formats import checkpoint, paths
from thermos.records import ProcessStatus, Record, RunnerHeader
from thermos.runner import boot
from thermos.states import TaskState

#: Where each command says that it runs: lines of process and pid, in the sandbox.
RAN = "ran"


def process(name: str, then: str = "", **more: Any) -> dict[str, Any]:
    """A process that says it runs, then does *then*. Restarted at once unless *more* says otherwise."""
    return {"name": name, "cmdline": f"echo {name} $$ >>{RAN}; {then or ':'}", "min_duration": 0, **more}


def task(processes: Sequence[Mapping[str, Any]], *orders: Sequence[str], **more: Any) -> dict[str, Any]:
    """A task of *processes*, each of *orders* a chain of names."""
    return {
        "name": "task",
        "processes": list(processes),
        "constraints": [{"order": list(order)} for order in orders],
        "resources": {"cpu": 1, "ram": 1 << 20, "disk": 1 << 20},
        **more,
    }


class Lab:
    """A task, its checkpoint root and its sandbox below *directory*, which must be empty."""

    task_id = "torn"

    def __init__(self, directory: Path, definition: Mapping[str, Any], *flags: str) -> None:
        self.directory = directory
        self.definition = definition
        self.root = f"{directory}/root"
        self.sandbox = f"{directory}/box"
        self.said = f"{directory}/said"
        self.flags = flags
        self.task_json = f"{directory}/task.json"
        directory.mkdir(parents=True, exist_ok=True)
        Path(self.task_json).write_text(json.dumps(definition), encoding="utf-8")

    # -- running ---------------------------------------------------------------------------------------------------

    @property
    def argv(self) -> list[str]:
        """The words that start its runner, and start it again."""
        arguments = [
            f"--thermos_json={self.task_json}",
            f"--sandbox={self.sandbox}",
            f"--checkpoint_root={self.root}",
            f"--task_id={self.task_id}",
            *self.flags,
        ]
        return [sys.executable, *boot.argv(arguments)[1:]]

    def start(self, nursery: Nursery, *more: str, inherit: tuple[int, ...] = ()) -> int:
        """Start a runner; its pid."""
        return nursery.start([*self.argv, *more], self.said, inherit=inherit)

    def run(self, nursery: Nursery, *more: str) -> int:
        """Start a runner and wait for its end; its exit code."""
        return nursery.wait_end(self.start(nursery, *more), "the runner")

    def run_to_end(self, nursery: Nursery, *more: str) -> None:
        """Start a runner and wait until the task is over; it may be so already. Raises AssertionError."""
        self.wait_over(nursery, self.start(nursery, *more))

    def wait_over(self, nursery: Nursery, runner: int) -> None:
        """Return when *runner* has ended well. Raises AssertionError."""
        code = nursery.wait_end(runner, "the runner")
        # An earlier one that was killed just before it left may have done everything else.
        assert code == 0 or (code == 105 and self.is_finished), f"the runner exited {code}: {self.words}"

    # -- what it left ----------------------------------------------------------------------------------------------

    @property
    def runner_path(self) -> str:
        """The runner's stream."""
        return paths.runner_checkpoint(self.root, self.task_id)

    def coordinator_path(self, name: str) -> str:
        """The stream of one process's coordinators."""
        return paths.process_checkpoint(self.root, self.task_id, name)

    @property
    def is_finished(self) -> bool:
        """Its task file lies where those of ended tasks do."""
        return os.path.exists(paths.task_path(self.root, self.task_id, paths.FINISHED))

    @property
    def words(self) -> str:
        """What its runners have printed, but for those that were started when the task was over."""
        lines = self.bytes_of(self.said).decode().splitlines(keepends=True)
        return "".join(line for line in lines if f"task {self.task_id} is over;" not in line)

    def bytes_of(self, path: str) -> bytes:
        """What lies at *path*; nothing if nothing is there."""
        return Path(path).read_bytes() if os.path.exists(path) else b""

    def stream(self) -> checkpoint.Stream:
        """The runner's stream as it is now."""
        return checkpoint.decode(self.bytes_of(self.runner_path))

    def coordinator_stream(self, name: str) -> checkpoint.Stream:
        """The stream of one process's coordinators as it is now."""
        return checkpoint.decode(self.bytes_of(self.coordinator_path(name)))

    def records(self) -> list[Record]:
        """The records of the runner's stream, as far as it makes sense."""
        return self.stream().records

    def state(self) -> RunnerState:
        """What the runner's stream adds up to. Raises IllegalMove."""
        state = RunnerState()
        for record in self.records():
            state.apply(record)
        return state

    @property
    def task_state(self) -> TaskState | None:
        """How far the task is."""
        return self.state().task_state

    def header(self) -> RunnerHeader | None:
        """The task's header, once it is written."""
        return next((record for record in self.records() if isinstance(record, RunnerHeader)), None)

    def told_by_coordinators(self) -> list[ProcessStatus]:
        """The moves in the streams of all coordinators."""
        return [
            record
            for process in self.definition["processes"]
            for record in self.coordinator_stream(process["name"]).records
            if isinstance(record, ProcessStatus)
        ]

    def executions(self) -> list[tuple[str, int]]:
        """(process, pid) of every command that has run, in order."""
        lines = self.bytes_of(f"{self.sandbox}/{RAN}").decode().splitlines()
        return [(name, int(pid)) for name, pid in (line.rsplit(" ", 1) for line in lines)]
