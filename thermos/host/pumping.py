"""A coordinator that copies output: to files that rotate, to the console too, and compresses what is put aside."""

from __future__ import annotations

import os
import select
import time
from resource import struct_rusage
from typing import TYPE_CHECKING

from thermos.host import aftermath, linux
from thermos.host.beneath import open_regular
from thermos.host.journal import Journal
from thermos.host.logs import compress, make_fresh
from thermos.records import Note

if TYPE_CHECKING:
    from thermos.host.coordinator import Job


class Pumping:
    """The copying of one run's output, and the wait for its end meanwhile."""

    def __init__(self, job: Job) -> None:
        self.sinks = job.setup.open_sinks(job.process.name, job.run, job.logger, job.compress)
        self._job = job
        #: pid of the child that compresses a file put aside → its stream and itself: its name changes.
        self._compressing: dict[int, tuple[str, int]] = {}
        self._look = False  # there may be something to compress

    def is_ours(self, pid: int) -> bool:
        """True for a child that works for us, not for the command."""
        return pid in self._compressing

    def wait(self, shell: int) -> tuple[int, struct_rusage, str | None]:
        """Copy until *shell* has ended: its wait status, its usage, who killed it if it was us."""
        from thermos.host.coordinator import Leash

        setup = self._job.setup
        killed_by = None
        self.sinks.close_childs()
        self.sinks.troubles = []  # the starter has told them
        poll = select.poll()
        poll.register(setup.signal_fd, select.POLLIN)
        pumped = {fd for fd, _, _ in self.sinks.pumps}
        for fd in pumped:
            poll.register(fd, select.POLLIN)
        leash = Leash(setup.leash_fd, poll) if setup.leash_fd is not None else None
        while True:
            ended = aftermath.reap(shell, self._ended)
            if ended is not None:
                for fd, _, _ in self.sinks.pumps:
                    self._drain(fd)
                return *ended, killed_by
            self._compress_aside()
            ready = [fd for fd, _ in poll.poll(leash.wait_ms() if leash is not None else None)]
            if leash is not None and leash.has_nobody(ready):
                killed_by = "the executor died"
                aftermath.kill_children(self.is_ours)
            for fd in ready:
                if fd == setup.signal_fd:
                    linux.read_signals(fd)
                elif fd in pumped and not self.sinks.pump(fd):
                    poll.unregister(fd)
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
            file.put_aside, self._look = None, True
        if not self._look or not self.sinks.compress or self._compressing or self.sinks.dir_fd is None:
            return
        self._look = False
        for _, file, _ in self.sinks.pumps:
            name = _oldest_plain(self.sinks.dir_fd, file.name) if file is not None else None
            if name is not None:
                try:
                    self._compress(self.sinks.dir_fd, name)
                    return  # one at a time
                except OSError as error:
                    self.sinks.troubles.append(f"log {name}: not compressed: {error.strerror}")

    def _compress(self, dir_fd: int, name: str) -> None:
        """Start a child that compresses the file *name*. It is opened here: by then the name may be another's."""
        source = open_regular(dir_fd, name, os.O_RDONLY)
        info = os.fstat(source)
        base = name.rpartition(".")[0]
        target = make_fresh(dir_fd, _part(base), (info.st_uid, info.st_gid))
        pid = os.fork()
        if not pid:
            try:
                compress(source, target)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(target)
        self._compressing[pid] = base, source  # kept open: nobody else gets its inode's number

    def _ended(self, pid: int, wait_status: int) -> None:
        """If it was a compression: put its file in the plain one's place, wherever that is by now."""
        base, source = self._compressing.pop(pid, (None, -1))
        fd = self.sinks.dir_fd
        if base is None or fd is None:
            return
        try:
            moved = _find_inode(fd, base, os.fstat(source).st_ino) if not wait_status else None
            if moved is None:
                self._look = not wait_status
                os.unlink(_part(base), dir_fd=fd)
                return
            os.rename(_part(base), f"{moved}.gz", src_dir_fd=fd, dst_dir_fd=fd)
            os.unlink(moved, dir_fd=fd)
            self._look = True
        except OSError as error:
            self.sinks.troubles.append(f"log {base}: not compressed: {error.strerror}")
        finally:
            os.close(source)


def _part(base: str) -> str:
    return f".{base}.gz.part"


def _find_inode(dir_fd: int, base: str, inode: int) -> str | None:
    """The name that the file put aside from *base* has by now; None: it has been dropped."""
    for name in os.listdir(dir_fd):
        stem, _, number = name.rpartition(".")
        if stem == base and number.isdigit():
            try:
                if os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_ino == inode:
                    return name
            except FileNotFoundError:
                continue
    return None


def _oldest_plain(dir_fd: int, base: str) -> str | None:
    """The oldest file put aside from *base* that is not compressed."""
    parts = (name.rpartition(".") for name in os.listdir(dir_fd))
    numbers = [int(number) for stem, _, number in parts if stem == base and number.isdigit()]
    return f"{base}.{max(numbers)}" if numbers else None
