"""The coordinator: one small process for each run, forked from the runner, that starts a command and waits.

It survives the runner. It waits until its FORKED record is durable (a byte on the go-pipe; end of file: leave,
nothing ran), forks the shell, records RUNNING, lets the shell go, waits, records how it ended, kills what it
left behind, and exits. It is the sub-reaper of its command: nothing below it gets away while it lives.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from thermos.formats.paths import coordinator_name
from thermos.host import cgroup, inherited, linux, proc
from thermos.host.journal import Journal
from thermos.host.logs import Sinks, compress
from thermos.records import DeathCertificate, Note, ProcessStatus
from thermos.schema import Logger
from thermos.states import ProcessState

#: How long the next coordinator of a process waits for the last one's lock: it may be just leaving.
LOCK_WAIT_S: Final = 10.0
#: How long leftovers that were sent SIGKILL may take to go before they are named as survivors.
REAP_S: Final = 5.0
#: A record that does not fit on disk is tried again this often; its process is over by then.
RETRY_S: Final = 1.0
#: Room for this process's next records: one block, which the first record takes anyway.
RESERVE_BYTES: Final = 3 << 10


@dataclass(frozen=True)
class Job:
    """All that a coordinator needs to know; made by the runner before the fork."""

    process: str
    run: int
    seq: int  # of FORKED
    argv: list[str]
    environment: Mapping[str, str]
    checkpoint_dir_fd: int
    sandbox_fd: int
    log_directory: str  # below the sandbox
    logger: Logger
    compress: bool
    chroot: bool
    #: (uid, gid, groups) to become; None: stay who we are.
    credentials: tuple[int, int, tuple[int, ...]] | None
    signal_mask: frozenset[int]
    open_files: tuple[int, int] | None
    oom_score_adj: str | None
    #: The counter of the kernel's OOM killer that covers us, and what it said before the fork.
    oom_counter: tuple[str, int] | None
    leash_fd: int | None


def run(job: Job, go_fd: int, announce_fd: int, fork_time: float) -> None:
    """The whole life of a coordinator, in the forked child. Never returns."""
    status = 1
    try:
        os.setsid()
        linux.set_name("thermos-coord")
        linux.become_subreaper()
        if os.read(go_fd, 1):
            os.close(go_fd)
            _Coordinator(job, announce_fd, fork_time).live()
        status = 0
    finally:
        os._exit(status)


class _Coordinator:
    def __init__(self, job: Job, announce_fd: int, fork_time: float) -> None:
        self.job = job
        self.announce_fd = announce_fd
        self.runner_pid = os.getppid()
        self.seq = job.seq
        self.pid = os.getpid()
        name = coordinator_name(job.process)
        self.journal = Journal.open(name, dir_fd=job.checkpoint_dir_fd, wait_s=LOCK_WAIT_S, reserve_bytes=RESERVE_BYTES)
        self.journal.seek_end()
        self.fork_time = fork_time
        owner = job.credentials[:2] if job.credentials is not None else None
        self.sinks = Sinks(job.logger, job.compress, job.sandbox_fd, job.log_directory, owner)
        self.shell = 0
        self.start_time = 0.0
        self.killed_by: str | None = None
        #: pid of the child that compresses a file put aside → name of that file.
        self.compressing: dict[int, str] = {}
        self.survivors: list[str] = []

    # -- life --------------------------------------------------------------------------------------------------

    def live(self) -> None:
        job = self.job
        hold_read, hold_write = os.pipe2(os.O_CLOEXEC)
        self.start_time = time.time()
        self.shell = os.fork()
        if not self.shell:
            os.close(hold_write)
            _become_command(job, self.sinks.child_fds, hold_read)
        os.close(hold_read)
        self.sinks.close_childs()
        self._write(
            ProcessStatus(
                self.seq,
                job.process,
                ProcessState.FORKED,
                coordinator_pid=self.pid,
                fork_time=self.fork_time,
            ),
            ProcessStatus(
                self.seq + 1,
                job.process,
                ProcessState.RUNNING,
                start_time=self.start_time,
                pid=self.shell,
                pid_start_ticks=proc.start_ticks(self.shell),
            ),
            *self._troubles(),
        )
        self._announce()
        os.write(hold_write, b"g")
        os.close(hold_write)
        if self.sinks.pumps or job.leash_fd is not None:
            wait_status, usage = self._wait_and_pump()
        else:
            wait_status, usage = self._wait()
        self._ended(wait_status, usage)

    def _wait(self) -> tuple[int, resource.struct_rusage]:
        while True:
            pid, wait_status, usage = os.wait4(-1, 0)
            if pid == self.shell:
                return wait_status, usage

    def _wait_and_pump(self) -> tuple[int, resource.struct_rusage]:
        """Like ``_wait``, while copying output and watching the leash."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        child_fd = linux.signal_fd([signal.SIGCHLD])
        poll = select.poll()
        poll.register(child_fd, select.POLLIN)
        for fd, _, _ in self.sinks.pumps:
            poll.register(fd, select.POLLIN)
        if self.job.leash_fd is not None:
            poll.register(self.job.leash_fd, 0)
        while True:
            ended = self._reap()
            if ended is not None:
                for fd, _, _ in self.sinks.pumps:
                    self._drain(fd)
                os.close(child_fd)
                return ended
            for fd, _ in poll.poll():
                if fd == child_fd:
                    linux.read_signals(fd)
                elif fd == self.job.leash_fd:
                    poll.unregister(fd)
                    if os.getppid() != self.runner_pid or not proc.is_alive(self.runner_pid, None):
                        self.killed_by = "the executor died"
                        self._kill_children()
                elif not self.sinks.pump(fd):
                    poll.unregister(fd)
                self._compress_aside()
                self._note_troubles()

    def _reap(self) -> tuple[int, resource.struct_rusage] | None:
        ended = None
        while True:
            try:
                pid, wait_status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if not pid:
                return ended
            if pid == self.shell:
                ended = wait_status, usage
            elif pid in self.compressing:
                self._compressed(self.compressing.pop(pid), wait_status)

    def _drain(self, fd: int) -> None:
        """Copy what is in the pipe already; what leftovers may still write is not waited for."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        for _ in range(64):  # a pipe holds 64 KiB, one read of ours; more than that comes from leftovers
            if not poll.poll(0) or not self.sinks.pump(fd):
                return

    def _ended(self, wait_status: int, usage: resource.struct_rusage) -> None:
        stop_time = time.time()
        code = os.waitstatus_to_exitcode(wait_status)
        state = ProcessState.SUCCESS if code == 0 else ProcessState.FAILED if code > 0 else ProcessState.KILLED
        tail: str | None = None
        note: str | None = None
        oom: bool | None = None
        if code:
            tail, note = self.sinks.stderr_tail()
            counter = self.job.oom_counter
            after = cgroup.oom_kills(counter[0]) if counter is not None else None
            if after is not None and counter is not None:
                # The counter is the whole group's: it speaks of us only if we died as its victims do.
                oom = after > counter[1] and code in (-signal.SIGKILL, 128 + signal.SIGKILL)
        certificate = DeathCertificate(
            signal=-code if code < 0 else None,
            core_dumped=os.WCOREDUMP(wait_status) if code < 0 else None,
            oom_killed=oom,
            peak_rss_bytes=_peak_rss_bytes(usage),
            user_cpu_s=usage.ru_utime,
            system_cpu_s=usage.ru_stime,
            run_s=max(stop_time - self.start_time, 0.0),
            stderr_tail=tail,
            stderr_note=note,
            killed_by=self.killed_by,
        )
        self._write(
            ProcessStatus(
                self.seq + 2,
                self.job.process,
                state,
                stop_time=stop_time,
                return_code=code,
                certificate=certificate,
            ),
            must=True,
        )
        self._kill_leftovers()
        if self.survivors:
            text = "could not be killed: " + "; ".join(self.survivors)
            self._write(Note(int(time.time() * 1000), "survivors", text, self.job.process))
        self._note_troubles()
        self.journal.close()

    # -- what the command leaves behind --------------------------------------------------------------------------

    def _kill_children(self) -> None:
        """SIGKILL all that is left below us. Children of ours keep their pids until we reap them."""
        for pid in proc.children(self.pid):
            if pid not in self.compressing:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def _kill_leftovers(self) -> None:
        """Kill and reap until nothing is left, or for REAP_S; whatever a dying process leaves becomes our child."""
        deadline = time.monotonic() + REAP_S
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        while True:
            self._reap()
            left = [pid for pid in proc.children(self.pid) if pid not in self.compressing]
            if not left:
                break
            self._kill_children()
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                self.survivors = [proc.describe(pid) for pid in left]
                break
            signal.sigtimedwait([signal.SIGCHLD], remaining_s)
        for pid, name in list(self.compressing.items()):
            # Compressing is ours, not the command's: let it finish, niced as it is.
            _, wait_status = os.waitpid(pid, 0)
            self._compressed(name, wait_status)

    # -- rotated logs ----------------------------------------------------------------------------------------------

    def _compress_aside(self) -> None:
        for _, file, _ in self.sinks.pumps:
            if file is None or file.put_aside is None:
                continue
            name, file.put_aside = file.put_aside, None
            if not self.sinks.compress or self.compressing or self.sinks.dir_fd is None:
                continue  # one at a time; what is skipped stays plain
            pid = os.fork()
            if not pid:
                try:
                    compress(self.sinks.dir_fd, name)
                    os._exit(0)
                finally:
                    os._exit(1)
            self.compressing[pid] = name

    def _compressed(self, name: str, wait_status: int) -> None:
        """The compressing child is done: put its file in the plain one's place, wherever that is by now."""
        fd = self.sinks.dir_fd
        part = f"{name}.gz.part"
        try:
            if wait_status:
                os.unlink(part, dir_fd=fd)
                return
            base = name.rsplit(".", 1)[0]
            moved = self._find_plain(base, part)
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

    # -- records ---------------------------------------------------------------------------------------------------

    def _troubles(self) -> list[Note]:
        troubles, self.sinks.troubles = self.sinks.troubles, []
        now_ms = int(time.time() * 1000)
        return [Note(now_ms, "log", text, self.job.process) for text in troubles]

    def _note_troubles(self) -> None:
        notes = self._troubles()
        if notes:
            self._write(*notes)

    def _write(self, *records: ProcessStatus | Note, must: bool = False) -> None:
        """Append. On a full disk what does not fit is held; if it *must* be told, try until it has been."""
        self.journal.append(list(records))
        while must and self.journal.held:
            time.sleep(RETRY_S)  # no event tells of room on a disk
            self.journal.append([])

    def _announce(self) -> None:
        """Tell the runner that there is something to read; it may be gone."""
        try:
            os.write(self.announce_fd, self.pid.to_bytes(4, "little"))
        except OSError:
            pass


def _peak_rss_bytes(usage: resource.struct_rusage) -> int | None:
    """The peak of the run's largest process; None below our own size, which the kernel counts into it.

    A forked child starts with our memory, and ``ru_maxrss`` survives its exec (linux/fs/exec.c).
    """
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage.ru_maxrss * 1024 if usage.ru_maxrss > ours * 1.05 else None


def _become_command(job: Job, child_fds: list[int], hold_fd: int) -> None:
    """In the child: wait for RUNNING to be recorded, then become the command. Never returns."""
    code = 127
    try:
        if not os.read(hold_fd, 1):
            os._exit(0)  # the coordinator died before it could record us
        null = os.open(os.devnull, os.O_RDONLY) if os.isatty(0) else 0
        os.dup2(null, 0)
        # The new stdout may be one of the descriptors that dup2 would overwrite: move both out of the way first.
        out, err = (os.dup(fd) for fd in child_fds)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        if job.oom_score_adj is not None:
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                file.write(job.oom_score_adj)
        if job.open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, job.open_files)
        os.fchdir(job.sandbox_fd)
        if job.chroot:
            os.chroot(".")
            os.chdir("/")
        if job.credentials is not None:
            uid, gid, groups = job.credentials
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
        for signum in inherited.ignored_signals():
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, job.signal_mask)
        os.execve(job.argv[0], job.argv, dict(job.environment))
    except OSError as error:
        code = 127 if isinstance(error, FileNotFoundError) else 126
        text = f"thermos: cannot run {job.argv[0]} for process {job.process}: {error.strerror}\n"
        os.write(2, text.encode("utf-8", "replace"))
    finally:
        os._exit(code)
