"""When a command has ended: how it ended is recorded, and what it left behind is killed."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from resource import RUSAGE_SELF, getrusage, struct_rusage
from typing import TYPE_CHECKING, Final

from thermos.formats.paths import coordinator_name, process_log_dir
from thermos.host import cgroup, proc
from thermos.host.journal import RETRY_S, Journal
from thermos.host.logs import read_tail
from thermos.records import DeathCertificate, Note, ProcessStatus
from thermos.states import ProcessState

if TYPE_CHECKING:
    from thermos.host.coordinator import Job
    from thermos.host.pumping import Pumping

#: How long leftovers that were sent SIGKILL may take to go before they are named as survivors.
REAP_S: Final = 5.0
#: What the starter may add to our size before it execs.
STARTER_BYTES: Final = 2 << 20


def settle(
    job: Job,
    pumping: Pumping | None,
    shell: int,
    start_time: float,
    wait_status: int,
    usage: struct_rusage,
    killed_by: str | None,
) -> None:
    """Record the end of the run, then kill and reap what is left of it."""
    stop_time = time.time()
    journal = Journal(job.record_fd, coordinator_name(job.process.name), 0)
    if not _has_begun(journal, job):
        return  # its child died before it could record RUNNING: nothing ran
    code = os.waitstatus_to_exitcode(wait_status)
    state = ProcessState.SUCCESS if code == 0 else ProcessState.FAILED if code > 0 else ProcessState.KILLED
    tail, note = (None, None) if code == 0 else _stderr_tail(job)
    certificate = DeathCertificate(
        signal=-code if code < 0 else None,
        core_dumped=os.WCOREDUMP(wait_status) if code < 0 else None,
        oom_killed=_oom_killed(job, code),
        peak_rss_bytes=_peak_rss_bytes(usage),
        user_cpu_s=usage.ru_utime,
        system_cpu_s=usage.ru_stime,
        run_s=max(stop_time - start_time, 0.0),
        stderr_tail=tail,
        stderr_note=note,
        killed_by=killed_by,
    )
    journal.append(
        [
            ProcessStatus(
                job.seq + 2,
                job.process.name,
                state,
                stop_time=stop_time,
                return_code=code,
                certificate=certificate,
            )
        ]
    )
    while journal.held:
        select.poll().poll(RETRY_S * 1000)
        journal.append([])
    survivors = kill_leftovers(pumping.is_ours if pumping is not None else _nobody)
    notes = []
    if survivors:
        text = "could not be killed: " + "; ".join(survivors)
        notes.append(Note(int(time.time() * 1000), "survivors", text, job.process.name))
    if pumping is not None:
        notes += pumping.finish()
    if notes:
        journal.append(list(notes))
    journal.trim()


def _has_begun(journal: Journal, job: Job) -> bool:
    """True if the child recorded RUNNING. That the stream has grown is not enough: what lies behind where the runner
    has read may be older, or torn.
    """
    journal.size = os.fstat(journal.fd).st_size
    if journal.size <= job.record_offset:
        return False
    records = journal.seek_end(job.record_offset).records
    return any(isinstance(record, ProcessStatus) and record.seq == job.seq + 1 for record in records)


# -- the certificate -----------------------------------------------------------------------------------------------


def _stderr_tail(job: Job) -> tuple[str | None, str | None]:
    """(the last lines of stderr, or None; why there are none)."""
    if job.logger.destination not in ("file", "both"):
        return None, "not captured: it does not go to a file"
    setup = job.setup
    directory = process_log_dir(setup.log_directory, job.process.name, job.run)
    names = [f"{directory}/stderr"]
    if job.logger.mode == "rotate":
        names.append(f"{directory}/stderr.1")  # it may have been put aside just now
    try:
        return read_tail(setup.sandbox_fd, names), None
    except OSError as error:
        return None, f"not captured: {error.strerror or error}"


def _oom_killed(job: Job, code: int) -> bool | None:
    """Whether the kernel's OOM killer ended the run; None: it cannot be told."""
    if not code or job.oom_counter is None:
        return None
    path, before = job.oom_counter
    after = cgroup.oom_kills(path)
    if after is None:
        return None
    # The counter is the whole group's: it speaks of us only if we died as its victims do.
    return after > before and code in (-signal.SIGKILL, 128 + signal.SIGKILL)


def _peak_rss_bytes(usage: struct_rusage) -> int | None:
    """The peak of the run's largest process; None below our own size, which the kernel counts into it.

    A forked child starts with our memory, and ``ru_maxrss`` survives its exec (linux/fs/exec.c).
    """
    peak_bytes = usage.ru_maxrss * 1024
    return peak_bytes if peak_bytes > getrusage(RUSAGE_SELF).ru_maxrss * 1024 + STARTER_BYTES else None


# -- what the command leaves behind --------------------------------------------------------------------------------


def _nobody(pid: int) -> bool:
    return False


def reap(shell: int, other: Callable[[int, int], None] | None = None) -> tuple[int, struct_rusage] | None:
    """Reap all children that have ended; wait status and usage of *shell* if it was among them."""
    ended = None
    while True:
        try:
            pid, wait_status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        if pid == shell:
            ended = wait_status, usage
        elif other is not None:
            other(pid, wait_status)


def kill_children(spared: Callable[[int], bool] = _nobody) -> list[int]:
    """SIGKILL our children; their pids. Children of ours keep their pids until we reap them."""
    pids = [pid for pid in proc.children(os.getpid()) if not spared(pid)]
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return pids


def kill_leftovers(spared: Callable[[int], bool]) -> list[str]:
    """Kill and reap until nothing is left below us, or for REAP_S; what is left then, described.

    Whatever a dying process leaves becomes our child, so that each pass reaches one generation further.
    """
    try:
        if not os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) and not proc.children(os.getpid()):
            return []
    except ChildProcessError:
        return []
    deadline = time.monotonic() + REAP_S
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while True:
        reap(0)
        left = kill_children(spared)
        if not left:
            return []
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            return [proc.describe(pid) for pid in left]
        signal.sigtimedwait([signal.SIGCHLD], remaining_s)
