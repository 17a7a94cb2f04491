"""What a page shows: one frozen dataclass for each; the parts they are made of are in ``parts.py``.

A field is a promise to whoever writes a template: it has a meaning, a unit and a value for "unknown", which is
None and shows as "unknown", never as 0. Texts are as they were found: escaping is the template's. Nothing else
reaches a template. ``docs/reference/pages.md`` is generated from both.

``*_s`` that say "when" are epoch seconds of wall time, those that say "how long" are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from observer_static.parts import (
    Chart,
    Entry,
    Health,
    Link,
    Log,
    Notice,
    Port,
    ProcessRow,
    Reserved,
    RunRow,
    Stamp,
    StateChange,
    TaskRow,
    Timeline,
    Usage,
    doc,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPage:
    """The tasks of a host: the active ones, or a part of the finished ones."""

    path: str = field(metadata=doc("Where the page lies below the site."))
    stamp: Stamp = field(metadata=doc("Who wrote it and when."))
    kind: str = field(metadata=doc("`active` or `finished`; `all` only over HTTP."))
    rows: tuple[TaskRow, ...] = field(metadata=doc("The tasks, newest first."))
    active: int = field(metadata=doc("How many tasks are active on this host."))
    finished: int = field(metadata=doc("How many are finished."))
    first: int = field(metadata=doc("Number of the first row among all of its kind, from 1; 0: there are none."))
    newer: str | None = field(metadata=doc("The page of newer ones; None: this is the newest."))
    older: str | None = field(metadata=doc("The page of older ones; None: this is the oldest."))
    active_href: str = field(metadata=doc("The page of active tasks."))
    finished_href: str = field(metadata=doc("The page of the newest finished tasks."))
    roots: tuple[str, ...] = field(metadata=doc("Where tasks were looked for."))
    owner: str | None = field(
        metadata=doc("The user whose tasks alone are shown; None: everybody's, so the page is for operators.")
    )
    notices: tuple[Notice, ...] = field(metadata=doc("What could not be read or watched."))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """One task."""

    path: str = field(metadata=doc("Where the page lies."))
    stamp: Stamp = field(metadata=doc("Who wrote it and when."))
    index_href: str | None = field(metadata=doc("The host's index; None: there is none beside this page."))
    task_id: str = field(metadata=doc("Its id."))
    name: str = field(metadata=doc("Its name."))
    role: str = field(metadata=doc("The user it runs as."))
    hostname: str = field(metadata=doc("The host it runs on."))
    root: str = field(metadata=doc("Checkpoint root."))
    sandbox: str | None = field(metadata=doc("Its sandbox."))
    is_active: bool = field(metadata=doc("Whether it is under way."))
    has_runner: bool | None = field(
        metadata=doc("Whether its runner lives (asked of the kernel when the page was written); None: cannot be told.")
    )
    state: str | None = field(metadata=doc("Its state, in capitals; None: nothing readable is recorded."))
    since_s: float | None = field(metadata=doc("When it got there."))
    headline: str = field(metadata=doc("Where the task is and why, in one or two sentences."))
    launched_at_s: float | None = field(metadata=doc("When it was launched."))
    ended_at_s: float | None = field(metadata=doc("When it ended; None: it has not."))
    notices: tuple[Notice, ...] = field(metadata=doc("Faults of its files, a missing runner, survivors, a full disk."))
    health: Health | None = field(metadata=doc("What health checks say; None: not known here."))
    ports: tuple[Port, ...] = field(metadata=doc("Its ports."))
    usage: Usage | None = field(metadata=doc("What it uses now; None: not measured."))
    reserved: Reserved = field(metadata=doc("What it may use."))
    charts: tuple[Chart, ...] = field(
        metadata=doc("CPU, memory and disk over time; none without at least two measurements.")
    )
    history: tuple[StateChange, ...] = field(metadata=doc("Its states, oldest first."))
    timeline: Timeline | None = field(metadata=doc("All runs; None: there was none."))
    processes: tuple[ProcessRow, ...] = field(
        metadata=doc("Its processes, in the order of their start; those without a run last.")
    )
    left_out: int = field(metadata=doc("Processes that do not stand in the table, to save space."))
    browse_href: str | None = field(metadata=doc("Its sandbox; None: not written."))
    raw_href: str | None = field(metadata=doc("Its definition; None: not written."))
    files: tuple[Link, ...] = field(metadata=doc("Raw files worth knowing: checkpoint, task file, directory of logs."))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessPage:
    """One process: its command, its runs, and the logs of the newest one."""

    path: str = field(metadata=doc("Where the page lies."))
    stamp: Stamp = field(metadata=doc("Who wrote it and when."))
    index_href: str | None = field(metadata=doc("The host's index; None: there is none."))
    task: Link = field(metadata=doc("Its task."))
    task_is_active: bool = field(metadata=doc("Whether the task is under way."))
    has_runner: bool | None = field(metadata=doc("Whether the task's runner lives; None: cannot be told."))
    row: ProcessRow = field(metadata=doc("What the task's page says of it."))
    cmdline: str | None = field(metadata=doc("Its command, secrets made unreadable; None: not known."))
    redacted: int = field(metadata=doc("How many values of the command were made unreadable."))
    min_duration_s: int | None = field(metadata=doc("Least time between the end of a run and the next start."))
    facts: tuple[tuple[str, str], ...] = field(metadata=doc("What else its definition says, as names and values."))
    usage: Usage | None = field(metadata=doc("What it uses now."))
    runs: tuple[RunRow, ...] = field(metadata=doc("Its runs, newest first."))
    left_out: int = field(metadata=doc("Runs that are not listed: too many."))
    logs: tuple[Log, ...] = field(metadata=doc("Both streams of the newest run."))
    notices: tuple[Notice, ...] = field(metadata=doc("What a reader should know."))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Both streams of an older run."""

    path: str = field(metadata=doc("Where the page lies."))
    stamp: Stamp = field(metadata=doc("Who wrote it and when."))
    index_href: str | None = field(metadata=doc("The host's index; None: there is none."))
    task: Link = field(metadata=doc("Its task."))
    process: Link = field(metadata=doc("Its process."))
    run: RunRow = field(metadata=doc("The run."))
    logs: tuple[Log, ...] = field(metadata=doc("Its streams."))


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowsePage:
    """What lies in a sandbox."""

    path: str = field(metadata=doc("Where the page lies."))
    stamp: Stamp = field(metadata=doc("Who wrote it and when."))
    index_href: str | None = field(metadata=doc("The host's index; None: there is none."))
    task: Link = field(metadata=doc("Its task."))
    sandbox: str = field(metadata=doc("Path of the sandbox."))
    below: str = field(metadata=doc("The directory shown, below the sandbox; empty: the sandbox itself."))
    parent_href: str | None = field(metadata=doc("The directory above, where it has a page of its own."))
    entries: tuple[Entry, ...] = field(metadata=doc("What lies there: directories before what is in them."))
    left_out: int = field(
        metadata=doc("Entries that are not listed: too many, or too deep. Counted as far as was looked.")
    )
    is_gone: bool = field(metadata=doc("The sandbox is not there any more."))
    note: str | None = field(
        default=None, metadata=doc('Why it cannot be listed, in words that follow "it is"; None: it can.')
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPage:
    """A task's definition as JSON."""

    path: str = field(metadata=doc("Where the page lies."))
    stamp: Stamp = field(metadata=doc("Who wrote it and when."))
    index_href: str | None = field(metadata=doc("The host's index; None: there is none."))
    task: Link = field(metadata=doc("Its task."))
    text: str = field(
        metadata=doc("The JSON, indented, secrets made unreadable; or what is in the file if that is no JSON.")
    )
    redacted: int = field(metadata=doc("How many values were made unreadable."))
    note: str | None = field(metadata=doc("What is wrong with it; None: nothing."))


Page: TypeAlias = IndexPage | TaskPage | ProcessPage | LogPage | BrowsePage | RawPage


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A page as it is to lie on disk."""

    path: str = field(metadata=doc("Below the site."))
    content: bytes = field(metadata=doc("UTF-8."))
