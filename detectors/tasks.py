"""The tasks of one root, and one task as it moves. Names and meanings are those of Aurora's detectors and monitor.

Reads only, takes no lock, and raises for nothing that lies on disk: what cannot be read is told as findings.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final

from detectors.roots import PathDetector
from thermos.checkpoints import MAX_FINDINGS, MAX_STREAM_BYTES, Finding, list_tasks
from thermos.core.state import RunnerState, is_repeat
from thermos.errors import IllegalMove
from thermos.formats import checkpoint, paths
from thermos.host.beneath import open_beneath, open_regular
from thermos.records import ProcessStatus
from thermos.states import ProcessState, TaskState

_CHUNK_BYTES: Final = 1 << 20
_STREAMS: Final = ("stdout", "stderr")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY


class TaskDetector:
    """What lies below the root *root*, by names alone: no checkpoint is read."""

    def __init__(self, root: str) -> None:
        self.root = root

    def get_task_ids(self, state: str | None = None) -> Iterator[tuple[str, str]]:
        """(``active`` or ``finished``, task id) of every task, or of those in *state*."""
        for where, task_id in list_tasks(self.root):
            if state is None or where == state:
                yield where, task_id

    def get_process_runs(self, task_id: str, log_dir: str) -> Iterator[tuple[str, int]]:
        """(process, number of a run) of every run that has a directory of logs in *log_dir*, in order."""
        try:
            logs_fd = os.open(log_dir, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (OSError, ValueError):  # ValueError: a NUL, as a forged header may hold
            return
        try:
            for process in _names(logs_fd):
                try:
                    process_fd = open_beneath(logs_fd, process, _DIRECTORY)
                except OSError:
                    continue
                try:
                    runs = [int(name) for name in _names(process_fd) if name.isascii() and name.isdigit()]
                finally:
                    os.close(process_fd)
                for run in sorted(runs):
                    yield process, run
        finally:
            os.close(logs_fd)

    def get_process_logs(self, task_id: str, log_dir: str) -> Iterator[str]:
        """The path of every stdout and stderr that is there; rotated ones are not among them."""
        for process, run in self.get_process_runs(task_id, log_dir):
            directory = paths.process_log_dir(log_dir, process, run)
            for stream in _STREAMS:
                if _is_file(f"{directory}/{stream}"):
                    yield f"{directory}/{stream}"

    def get_checkpoint(self, task_id: str) -> str:
        """Path of the runner's stream, whether it exists or not."""
        return paths.runner_checkpoint(self.root, task_id)

    def get_process_checkpoints(self, task_id: str) -> Iterator[str]:
        """The path of the stream of each process that has one, by name."""
        directory = paths.checkpoint_dir(self.root, task_id)
        try:
            fd = _open_below(self.root, directory, _DIRECTORY)
        except OSError:
            return
        try:
            names = _names(fd)
        finally:
            os.close(fd)
        for name in names:
            if name.startswith(paths.COORDINATOR_PREFIX):
                yield f"{directory}/{name}"


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _names(fd: int) -> list[str]:
    """The names in a directory, in order; of one that cannot be read, none."""
    try:
        return sorted(os.listdir(fd))
    except OSError:
        return []


def _open_below(root: str, path: str, flags: int, is_file: bool = False) -> int:
    """A descriptor of *path*, which starts with *root*; no part below that may be a link or ``..``. Raises OSError."""
    relative = path[len(root) + 1 :]
    if any(part in ("", ".", "..") for part in relative.split("/")) or "\0" in path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_regular(root_fd, relative, flags) if is_file else open_beneath(root_fd, relative, flags)
    finally:
        os.close(root_fd)


class TaskMonitor:
    """One task, read on where reading ended last; every question reads on first.

    A stream that is another file than before, or shorter, or makes no sense where it went on, is read anew from its
    beginning: its owner may have cut off a torn end, or somebody replaced it.
    """

    def __init__(self, root: str, task_id: str) -> None:
        self.root = root
        self.task_id = task_id
        self.path = paths.runner_checkpoint(root, task_id)
        #: What could not be read; emptied when the stream is read anew.
        self.findings: list[Finding] = []
        self._state = RunnerState()
        self._decoder = checkpoint.Decoder()
        self._seen: tuple[int, int] | None = None  # inode and size
        self._is_believed = True  # false behind a move that does not fit

    def refresh(self) -> bool:
        """Read what was added; True if anything is different."""
        try:
            fd = _open_below(self.root, self.path, os.O_RDONLY, is_file=True)
        except OSError:
            return self._forget()
        try:
            return self._read(fd)
        except OSError as error:
            self._tell(self._decoder.fed_to, error.strerror or str(error))
            return True
        finally:
            os.close(fd)

    def _forget(self) -> bool:
        """There is nothing to read: a task is known from its stream, as long as that is there."""
        was_known = self._seen is not None
        self._restart(None)
        return was_known

    def _restart(self, inode: int | None) -> None:
        self._state = RunnerState()
        self._decoder = checkpoint.Decoder()
        self._seen = (inode, 0) if inode is not None else None
        self._is_believed = True
        self.findings.clear()

    def _read(self, fd: int) -> bool:
        info = os.fstat(fd)
        seen = info.st_ino, info.st_size
        if seen == self._seen:
            return False
        is_new = self._seen is None or self._seen[0] != info.st_ino or info.st_size < self._seen[1]
        if is_new:
            self._restart(info.st_ino)
        sound = self._go_on(fd)
        if not sound and not is_new:  # what was believed before may not be there any more
            self._restart(info.st_ino)
            self._go_on(fd)
        # What came while it was read belongs to it: only what is behind that is new the next time.
        self._seen = info.st_ino, max(info.st_size, self._decoder.fed_to)
        return True

    def _go_on(self, fd: int) -> bool:
        """Take in what lies behind what was read; False: it makes no sense."""
        while self._may_go_on():
            data = os.pread(fd, _CHUNK_BYTES, self._decoder.fed_to)
            if not data:
                return True
            for entry in self._decoder.feed(data):
                if entry.record is None:
                    continue
                if is_repeat(self._state, entry.record):
                    self._tell(entry.offset, "a record that was there before; skipped")
                    continue
                try:
                    self._state.apply(entry.record)
                except IllegalMove as error:
                    self._tell(entry.offset, f"{error}; the rest is not believed")
                    self._is_believed = False
                    break
            damage = self._decoder.damage
            if damage is not None:
                self._tell(damage.offset, damage.detail)
        return False

    def _may_go_on(self) -> bool:
        return self._is_believed and self._decoder.damage is None and self._decoder.fed_to < MAX_STREAM_BYTES

    def _tell(self, offset: int, detail: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(self.path, offset, detail))

    def get_state(self) -> RunnerState:
        """All that is recorded."""
        self.refresh()
        return self._state

    def task_state(self) -> TaskState | None:
        """The task's last state; None: none is recorded."""
        return self.get_state().task_state

    def get_sandbox(self) -> str | None:
        """Its sandbox; None: none is recorded."""
        header = self.get_state().header
        return header.sandbox if header is not None else None

    @property
    def active(self) -> bool:
        """Its task file lies under ``active``."""
        return self._lies(paths.ACTIVE)

    @property
    def finished(self) -> bool:
        """Its task file lies under ``finished``."""
        return self._lies(paths.FINISHED)

    def _lies(self, where: str) -> bool:
        try:
            fd = _open_below(self.root, paths.task_path(self.root, self.task_id, where), os.O_PATH)
        except OSError:
            return False
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        os.close(fd)
        return is_file

    def get_active_processes(self) -> list[tuple[ProcessStatus, int]]:
        """(status, number of the run) of each process whose newest run is RUNNING."""
        found = []
        for name, history in self.get_state().processes.items():
            run = history.last
            if run.state is ProcessState.RUNNING:
                status = ProcessStatus(
                    run.seq, name, run.state, start_time=run.start_time, pid=run.pid, fork_time=run.fork_time,
                    coordinator_pid=run.coordinator_pid, coordinator_start_ticks=run.coordinator_start_ticks,
                    pid_start_ticks=run.pid_start_ticks, reason=run.reason,
                )  # fmt: skip
                found.append((status, run.number))
        return found


#: Called with (root, task id).
Callback = Callable[[str, str], object]


def _nothing(root: str, task_id: str) -> None:
    """What is done about a task unless somebody asks for more."""


class ObserverTaskDetector:
    """Tells of tasks that come, end and go below the roots of *path_detector*, whenever ``refresh`` is called.

    A task that is finished when it is first seen is told as active, then as finished; one that goes while active as
    finished, then as removed; one that is active again after it was finished, as active again.
    """

    def __init__(
        self,
        path_detector: PathDetector,
        on_active: Callback = _nothing,
        on_finished: Callback = _nothing,
        on_removed: Callback = _nothing,
    ) -> None:
        self._path_detector = path_detector
        self._on_active = on_active
        self._on_finished = on_finished
        self._on_removed = on_removed
        #: (root, task id) of each.
        self.active_tasks: set[tuple[str, str]] = set()
        self.finished_tasks: set[tuple[str, str]] = set()

    def refresh(self) -> None:
        """Look, and tell of what is different."""
        active: set[tuple[str, str]] = set()
        finished: set[tuple[str, str]] = set()
        for root in self._path_detector.get_paths():
            for where, task_id in list_tasks(root):
                (active if where == paths.ACTIVE else finished).add((root, task_id))
        active -= finished  # one that was moved while we looked
        was_active, was_finished = self.active_tasks, self.finished_tasks
        self.active_tasks, self.finished_tasks = active, finished
        for task in sorted((active | finished) - was_active - was_finished):
            self._on_active(*task)
        for task in sorted(active & was_finished):
            self._on_active(*task)
        for task in sorted(finished - was_finished):
            self._on_finished(*task)
        for task in sorted(was_active - active - finished):
            self._on_finished(*task)
            self._on_removed(*task)
        for task in sorted(was_finished - active - finished):
            self._on_removed(*task)
