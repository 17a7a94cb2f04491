"""A coordinator that copies output: to files that rotate, to the console too, and compresses what is put aside."""

from __future__ import annotations

import os
import select
import time
from resource import struct_rusage
from typing import TYPE_CHECKING

from thermos.host import aftermath, linux, starter
from thermos.host.journal import Journal
from thermos.host.logs import compress
from thermos.records import Note

if TYPE_CHECKING:
    from thermos.host.coordinator import Job


class Pumping:
    """The copying of one run's output, and the wait for its end meanwhile."""

    def __init__(self, job: Job) -> None:
        self.sinks = starter.make_sinks(job)
        self._job = job
        #: pid of the child that compresses a file put aside → name that the file had then.
        self._compressing: dict[int, str] = {}

    def is_ours(self, pid: int) -> bool:
        """True for a child that works for us, not for the command."""
        return pid in self._compressing

    def wait(self, shell: int) -> tuple[int, struct_rusage, str | None]:
        """Copy until *shell* has ended: its wait status, its usage, who killed it if it was us."""
        from thermos.host.coordinator import watch_runner

        setup = self._job.setup
        runner_pid = os.getppid()
        runner_fd: int | None = None
        killed_by = None
        self.sinks.close_childs()
        self.sinks.troubles = []  # the starter has told them
        poll = select.poll()
        poll.register(setup.signal_fd, select.POLLIN)
        for fd, _, _ in self.sinks.pumps:
            poll.register(fd, select.POLLIN)
        if setup.leash_fd is not None:
            poll.register(setup.leash_fd, 0)
        while True:
            ended = aftermath.reap(shell, self._ended)
            if ended is not None:
                for fd, _, _ in self.sinks.pumps:
                    self._drain(fd)
                return *ended, killed_by
            for fd, _ in poll.poll():
                if fd == setup.signal_fd:
                    linux.read_signals(fd)
                elif fd in (setup.leash_fd, runner_fd):
                    poll.unregister(fd)
                    runner_fd = watch_runner(runner_pid) if fd == setup.leash_fd else None
                    if runner_fd is not None:
                        poll.register(runner_fd, select.POLLIN)
                    else:
                        killed_by = "the executor died"
                        aftermath.kill_children(self.is_ours)
                elif not self.sinks.pump(fd):
                    poll.unregister(fd)
                self._compress_aside()
            if self.sinks.troubles:
                self._note()

    def finish(self) -> list[Note]:
        """Let a compression come to its end, niced as it is; what is worth telling."""
        for pid in list(self._compressing):
            _, wait_status = os.waitpid(pid, 0)
            self._ended(pid, wait_status)
        return self._notes()

    def _drain(self, fd: int) -> None:
        """Copy what is in the pipe already; what leftovers may still write is not waited for."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        for _ in range(64):  # a pipe holds 64 KiB, one read of ours; more than that comes from leftovers
            if not poll.poll(0) or not self.sinks.pump(fd):
                return

    def _notes(self) -> list[Note]:
        troubles, self.sinks.troubles = self.sinks.troubles, []
        now_ms = int(time.time() * 1000)
        return [Note(now_ms, "log", text, self._job.process.name) for text in troubles]

    def _note(self) -> None:
        """Write down what is wrong while the command runs; the starter holds the stream only before."""
        journal = Journal(self._job.record_fd, "", 0)
        journal.seek_end(self._job.record_offset)
        journal.append(list(self._notes()))

    # -- files put aside -----------------------------------------------------------------------------------------

    def _compress_aside(self) -> None:
        for _, file, _ in self.sinks.pumps:
            if file is None or file.put_aside is None:
                continue
            name, file.put_aside = file.put_aside, None
            if not self.sinks.compress or self._compressing or self.sinks.dir_fd is None:
                continue  # one at a time; what is skipped stays plain
            pid = os.fork()
            if not pid:
                try:
                    compress(self.sinks.dir_fd, name)
                    os._exit(0)
                finally:
                    os._exit(1)
            self._compressing[pid] = name

    def _ended(self, pid: int, wait_status: int) -> None:
        """If it was a compression: put its file in the plain one's place, wherever that is by now."""
        name = self._compressing.pop(pid, None)
        fd = self.sinks.dir_fd
        if name is None:
            return
        part = f"{name}.gz.part"
        try:
            moved = self._find_plain(name.rsplit(".", 1)[0], part) if not wait_status else None
            if moved is None:
                os.unlink(part, dir_fd=fd)
                return
            os.rename(part, f"{moved}.gz", src_dir_fd=fd, dst_dir_fd=fd)
            os.unlink(moved, dir_fd=fd)
        except OSError as error:
            self.sinks.troubles.append(f"log {name}: not compressed: {error.strerror}")

    def _find_plain(self, base: str, part: str) -> str | None:
        """The oldest plain file that was put aside: the one that was being compressed, as only one is at a time."""
        fd = self.sinks.dir_fd
        if fd is None:
            return None
        made_at = os.stat(part, dir_fd=fd, follow_symlinks=False).st_mtime_ns
        best: tuple[int, str] | None = None
        for name in os.listdir(fd):
            stem, _, number = name.rpartition(".")
            if stem == base and number.isdigit():
                written_at = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mtime_ns
                if written_at <= made_at and (best is None or int(number) > best[0]):
                    best = int(number), name
        return best[1] if best is not None else None
