"""What pages are made of: rows, notices, usage, logs; each a frozen dataclass whose fields are promises to templates.

See :mod:`observer_static.pages`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


def doc(text: str) -> dict[str, str]:
    """Metadata of a field: what it means."""
    return {"doc": text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Who wrote a page, and when."""

    written_at_s: float = field(metadata=doc("When the page was written."))
    writer: str = field(metadata=doc("The program that wrote it, for example `thermos_observer`."))
    version: str = field(metadata=doc("Version of that program."))
    hostname: str = field(metadata=doc("The host it ran on."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Text that may lead somewhere."""

    text: str = field(metadata=doc("What is shown."))
    href: str | None = field(
        metadata=doc("Where it leads: a relative path, `http:`, `https:` or `file:`; None: nowhere.")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something a person should know before reading on."""

    level: str = field(metadata=doc("`error`, `warning` or `info`."))
    text: str = field(metadata=doc("One sentence."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port of a task."""

    name: str = field(metadata=doc("Name in the configuration."))
    number: int = field(metadata=doc("Port number."))
    href: str = field(metadata=doc("`http://host:number`."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What something uses at one moment. None: not known."""

    at_s: float = field(metadata=doc("When it was measured."))
    cpu: float | None = field(metadata=doc("Processor cores, since the measurement before."))
    ram_bytes: int | None = field(metadata=doc("Memory: proportional share where cheap, else resident."))
    disk_bytes: int | None = field(default=None, metadata=doc("Disk used by the sandbox."))
    processes: int | None = field(default=None, metadata=doc("Processes of the system."))
    threads: int | None = field(default=None, metadata=doc("Threads."))
    descriptors: int | None = field(default=None, metadata=doc("Open file descriptors."))
    read_bytes: int | None = field(default=None, metadata=doc("Bytes read from disk, in all."))
    written_bytes: int | None = field(default=None, metadata=doc("Bytes written to disk, in all."))
    user_cpu_s: float | None = field(default=None, metadata=doc("Processor time in user mode, in all."))
    system_cpu_s: float | None = field(default=None, metadata=doc("Processor time in the kernel, in all."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """What a task may use, from its definition. None: not said."""

    cpu: float | None = field(metadata=doc("Processor cores."))
    ram_bytes: int | None = field(metadata=doc("Memory."))
    disk_bytes: int | None = field(metadata=doc("Disk."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis."""

    at: float = field(metadata=doc("Position, in units of the picture."))
    text: str = field(metadata=doc("What is written there."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One quantity over time, as the geometry of a picture."""

    title: str = field(metadata=doc("What is drawn, for example `CPU`."))
    summary: str = field(metadata=doc("The same in one sentence, for who cannot see it."))
    width: int = field(metadata=doc("Width of the picture, in its own units."))
    height: int = field(metadata=doc("Height of the picture."))
    line: str = field(metadata=doc("Path data of the line (`M… L…`)."))
    area: str = field(metadata=doc("Path data of the area below it."))
    limit_y: float | None = field(metadata=doc("Where the reservation lies; None: off the picture or not known."))
    x_ticks: tuple[Tick, ...] = field(metadata=doc("Marks of time."))
    y_ticks: tuple[Tick, ...] = field(metadata=doc("Marks of the quantity."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One run on the timeline."""

    x: float = field(metadata=doc("Left end."))
    width: float = field(metadata=doc("Width, at least 1."))
    state: str = field(metadata=doc("State of the run, in capitals."))
    text: str = field(metadata=doc("The run in one sentence: number, state, from, for how long."))
    href: str | None = field(metadata=doc("Page of the process; None: not written."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The runs of one process on the timeline."""

    name: str = field(metadata=doc("Name of the process."))
    href: str | None = field(metadata=doc("Page of the process; None: not written."))
    bars: tuple[Bar, ...] = field(metadata=doc("Its runs, oldest first."))
    left_out: int = field(metadata=doc("Runs that are not drawn: too many, or too close to others."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All runs of a task as a picture."""

    width: int = field(metadata=doc("Width of the picture, in its own units."))
    lane_height: int = field(metadata=doc("Height of one lane."))
    lanes: tuple[Lane, ...] = field(metadata=doc("One for each process that had a run."))
    ticks: tuple[Tick, ...] = field(metadata=doc("Marks of time."))
    begin_s: float = field(metadata=doc("Time at the left end."))
    end_s: float = field(metadata=doc("Time at the right end."))
    summary: str = field(metadata=doc("The picture in one sentence."))


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """One move of a task."""

    state: str = field(metadata=doc("The state, in capitals."))
    at_s: float = field(metadata=doc("When."))
    runner_pid: int = field(metadata=doc("Pid of the runner that wrote it."))
    reason: str | None = field(metadata=doc("Why, where that is recorded."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What health checks say, as the task's executor told it last."""

    is_checked: bool = field(default=True, metadata=doc("Whether anything checks it; all else is empty if not."))
    is_current: bool | None = field(
        default=True, metadata=doc("Whether that executor lived when the page was written; None: cannot be told.")
    )
    is_healthy: bool | None = field(metadata=doc("The verdict; None: not yet decided."))
    text: str = field(metadata=doc("The verdict in words, with its reason."))
    since_s: float | None = field(metadata=doc("Since when; None: not known."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of a log with one look."""

    text: str = field(metadata=doc("The text; may hold line ends."))
    classes: str = field(
        metadata=doc("Classes of its look (`fg1 b`), empty for plain; only those of `logtext.CLASSES`.")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """Where a page can read more of a log: the Mesos agent's `/files/read`."""

    agent: str = field(metadata=doc("`http(s)://host:port` of the agent."))
    path: str = field(metadata=doc("The file's path as the agent knows it."))
    offset: int = field(metadata=doc("Where to read on: the size that the page shows."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The end of one stream of a run."""

    stream: str = field(metadata=doc("`stdout` or `stderr`."))
    size_bytes: int | None = field(metadata=doc("Size of the file; None: it is not there."))
    from_byte: int = field(metadata=doc("Where what is shown begins; 0: all of it is shown."))
    spans: tuple[Span, ...] = field(metadata=doc("What is shown."))
    note: str | None = field(
        metadata=doc("What is odd: missing, binary, cut, not readable, rotated, left out to save space.")
    )
    raw: Link = field(metadata=doc("The file itself."))
    rotated: tuple[Link, ...] = field(metadata=doc("The files put aside before it, newest first."))
    follow: Follow | None = field(metadata=doc("How to read on; None: the run is over, or the agent is not known."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What is known of how a run ended. None: not known."""

    signal: str | None = field(metadata=doc("Name of the signal that ended it."))
    is_core_dumped: bool | None = field(metadata=doc("Whether it left a core dump."))
    is_oom_killed: bool | None = field(metadata=doc("Whether the kernel killed it for want of memory."))
    peak_ram_bytes: int | None = field(metadata=doc("Largest memory of one of its processes."))
    user_cpu_s: float | None = field(metadata=doc("Processor time in user mode."))
    system_cpu_s: float | None = field(metadata=doc("Processor time in the kernel."))
    killed_by: str | None = field(metadata=doc("Who asked for the kill."))
    stderr: tuple[Span, ...] = field(metadata=doc("The last lines of stderr."))
    stderr_note: str | None = field(metadata=doc("Why there are none, or what is odd about them."))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run of a process."""

    number: int = field(metadata=doc("Counts from 0."))
    state: str = field(metadata=doc("State of the run, in capitals."))
    words: str = field(metadata=doc("How it is or how it ended, in words."))
    pid: int | None = field(metadata=doc("Pid of its shell."))
    start_s: float | None = field(metadata=doc("When it began."))
    stop_s: float | None = field(metadata=doc("When it ended."))
    return_code: int | None = field(metadata=doc("Exit code, negative for a signal."))
    stdout: Link = field(metadata=doc("Its standard output: the page that shows it, or the file."))
    stderr: Link = field(metadata=doc("Its standard error."))
    certificate: Certificate | None = field(metadata=doc("How it ended; None: nothing is recorded, or it lives."))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """One process on its task's page."""

    name: str = field(metadata=doc("Its name."))
    href: str | None = field(metadata=doc("Its page; None: not written."))
    group: str = field(
        metadata=doc("`waiting`, `running`, `success`, `failed` or `killed`, as Aurora's observer groups them.")
    )
    state: str | None = field(metadata=doc("State of its newest run, in capitals; None: it had none."))
    words: str = field(metadata=doc("What it does, or waits for, or how it ended, in one phrase."))
    run: int | None = field(metadata=doc("Number of its newest run."))
    runs: int = field(metadata=doc("How many it had."))
    failures: int = field(metadata=doc("How many of them failed."))
    max_failures: int | None = field(
        metadata=doc("Failed runs after which it has failed for good; 0: never; None: not known.")
    )
    return_code: int | None = field(metadata=doc("Exit code of the newest run."))
    start_s: float | None = field(metadata=doc("When the newest run began."))
    stop_s: float | None = field(metadata=doc("When it ended."))
    due_at_s: float | None = field(metadata=doc("When it may start again; None: nothing is due."))
    after: tuple[str, ...] = field(metadata=doc("The processes it is ordered behind."))
    waits_for: tuple[str, ...] = field(metadata=doc("Those of them it still waits for."))
    traits: tuple[str, ...] = field(metadata=doc("`daemon`, `ephemeral`, `final`."))
    usage: Usage | None = field(metadata=doc("What it uses now; None: not measured."))
    stdout: Link = field(metadata=doc("Standard output of its newest run."))
    stderr: Link = field(metadata=doc("Standard error of its newest run."))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """One task on the index."""

    task_id: str = field(metadata=doc("Its id."))
    name: str = field(metadata=doc("Its name in the configuration; the id where that cannot be read."))
    role: str = field(metadata=doc("The user it runs as."))
    href: str | None = field(metadata=doc("Its page; None: not kept."))
    browse_href: str | None = field(metadata=doc("Its sandbox; None: not kept."))
    root: str = field(metadata=doc("Checkpoint root it was found in."))
    is_active: bool = field(metadata=doc("Whether it lies among the active ones."))
    state: str | None = field(metadata=doc("Its state, in capitals; None: nothing readable is recorded."))
    since_s: float | None = field(metadata=doc("When it got there."))
    launched_at_s: float | None = field(metadata=doc("When it was launched."))
    usage: Usage | None = field(metadata=doc("What it uses now; None: not measured."))
    ports: tuple[Port, ...] = field(metadata=doc("Its ports."))
    is_healthy: bool | None = field(
        metadata=doc("What health checks say; None: not checked, not decided or not known here.")
    )
    has_runner: bool | None = field(
        metadata=doc("Whether its runner lives; None: cannot be told. Matters for active tasks.")
    )
    notice: str | None = field(
        metadata=doc("What is wrong with it, in one phrase: no runner, unreadable, a process fails again and again.")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file or directory of a sandbox."""

    path: str = field(metadata=doc("Path below the sandbox."))
    name: str = field(metadata=doc("Last part of the path."))
    depth: int = field(metadata=doc("0: directly in the sandbox."))
    kind: str = field(metadata=doc("`directory`, `file`, `link`, `fifo`, `socket`, `device`."))
    mode: str = field(metadata=doc("As `ls -l` shows it."))
    links: int = field(metadata=doc("Number of hard links."))
    owner: str = field(metadata=doc("User and group."))
    size_bytes: int = field(metadata=doc("Size."))
    changed_at_s: float = field(metadata=doc("Time of the last change of its content."))
    target: str | None = field(metadata=doc("Where a link points, as it says itself; never followed."))
    href: str | None = field(metadata=doc("The raw file; None: no regular file, or not reachable."))
