"""The facts a checkpoint can hold: a task's header, states of tasks and processes, and notes.

Field names and meanings are Aurora's (``thermos_internal.thrift``); what is marked *extension* is ours, lies
on disk under field ids from 100 up, and is skipped by the original's readers. ``*_time`` is epoch seconds,
``*_ms`` epoch milliseconds, both wall time. ``*_start_ticks`` is field 22 of ``/proc/PID/stat``: with the boot
id it tells a process from a later one of the same pid.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from thermos.states import ProcessState, TaskState


class RunnerHeader(NamedTuple):
    """Who and where a task is; written once, by its first runner."""

    task_id: str
    launch_time_ms: int
    sandbox: str | None = None
    hostname: str | None = None
    user: str | None = None
    ports: dict[str, int] | None = None
    log_dir: str | None = None
    uid: int | None = None
    #: *extension*: version of our extensions, :data:`thermos.formats.checkpoint.VERSION`.
    format_version: int | None = None
    #: *extension*: a random word that every process of this task carries in its environment.
    cookie: str | None = None
    #: *extension*: the control group of the task, as a path below its mount; None: it has none.
    cgroup: str | None = None


class DeathCertificate(NamedTuple):
    """What is known of how a run ended. All of it is *extension*; None means unknown."""

    signal: int | None = None
    core_dumped: bool | None = None
    oom_killed: bool | None = None
    #: Peak resident set of the largest single process of the run (``ru_maxrss`` of wait4).
    peak_rss_bytes: int | None = None
    user_cpu_s: float | None = None
    system_cpu_s: float | None = None
    run_s: float | None = None
    #: The last 20 lines of stderr, at most 2 KiB, control characters kept.
    stderr_tail: str | None = None
    #: Why there is no ``stderr_tail``, or what is odd about it.
    stderr_note: str | None = None
    #: Who asked for the kill, in words.
    killed_by: str | None = None


class ProcessStatus(NamedTuple):
    """One move of one run. ``seq`` counts up by one over all runs of a process."""

    seq: int
    process: str
    state: ProcessState
    start_time: float | None = None
    pid: int | None = None
    stop_time: float | None = None
    return_code: int | None = None
    coordinator_pid: int | None = None
    fork_time: float | None = None
    #: *extension*: start time of the coordinator (with FORKED).
    coordinator_start_ticks: int | None = None
    #: *extension*: start time of the shell (with RUNNING).
    pid_start_ticks: int | None = None
    #: *extension*: how the run ended (with a terminal state).
    certificate: DeathCertificate | None = None
    #: *extension*: why, where the state alone does not say.
    reason: str | None = None


class TaskStatus(NamedTuple):
    """One move of the task, or its takeover by another runner (the same state again)."""

    state: TaskState
    timestamp_ms: int
    runner_pid: int
    runner_uid: int
    #: *extension*: ``/proc/sys/kernel/random/boot_id``; pids of an earlier boot mean nothing.
    boot_id: str | None = None
    #: *extension*: inode of ``/proc/self/ns/pid``; pids of another namespace mean nothing.
    pid_namespace: int | None = None
    #: *extension*: start time of the runner.
    runner_start_ticks: int | None = None
    #: *extension*: why the task moved, in words.
    reason: str | None = None
    #: *extension*: how the task must end, whatever its processes do: KILLED or LOST.
    forced_end: TaskState | None = None
    #: *extension*: when cleaning up and finalizing must be over.
    deadline_ms: int | None = None


class Note(NamedTuple):
    """Something worth telling that is no move (*extension*): a full disk, an unwritable log, a survivor."""

    timestamp_ms: int
    kind: str
    text: str
    process: str | None = None


Record: TypeAlias = RunnerHeader | ProcessStatus | TaskStatus | Note
