"""A task as it runs: its processes, their order, its limits. The one definition of this schema.

Names, defaults and meaning are those of Aurora's ``thermos/config/schema_base.py``; fields it does not have
say so. What configuration files accept, the JSON Schema and the reference page are generated from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from thermos.definition import Problem, about, limit_problems, nearest
from thermos.templates import BadTemplate, parse_address, references

__all__ = [
    "BYTES",
    "GB",
    "KB",
    "LOGGER_DESTINATIONS",
    "LOGGER_MODES",
    "MB",
    "TB",
    "Backoff",
    "Constraint",
    "Logger",
    "Problem",
    "Process",
    "ProcessExtension",
    "Resources",
    "RotatePolicy",
    "Task",
    "ports_wanted",
    "problems",
]

BYTES = 1
KB = 1024
MB = 1024 * KB
GB = 1024 * MB
TB = 1024 * GB

#: Where a process's output goes, and how its files are kept (``LoggerDestination``, ``LoggerMode``).
LOGGER_DESTINATIONS = ("file", "console", "both", "none")
LOGGER_MODES = ("standard", "rotate")

#: A process's name is a file name: its coordinator's checkpoint is ``coordinator.<name>``, and Linux's
#: NAME_MAX is 255.
MAX_NAME_BYTES = 200
#: One argument of execve, its final NUL included (Linux ``MAX_ARG_STRLEN``: 32 pages of 4 KiB).
MAX_ARGUMENT_BYTES = 32 * 4096


@dataclass(frozen=True, slots=True)
class Resources:
    """What a task may use. Aurora reserves it; ``thermos run`` only shows it."""

    cpu: float = field(metadata=about("Processor share.", unit="cores", at_least=0))
    ram: int = field(metadata=about("Memory.", unit="bytes", at_least=0))
    disk: int = field(metadata=about("Disk space of the sandbox.", unit="bytes", at_least=0))
    gpu: int = field(default=0, metadata=about("Graphics processors.", unit="devices", at_least=0))


@dataclass(frozen=True, slots=True)
class RotatePolicy:
    """When a log file is put aside and how many of those are kept."""

    log_size: int = field(
        default=100 * MB,
        metadata=about("Size a log file may reach before it is put aside.", unit="bytes", more_than=0),
    )
    backups: int = field(default=5, metadata=about("Files put aside that are kept.", unit="files", at_least=0))


@dataclass(frozen=True, slots=True)
class Logger:
    """Where one process's output goes. Where a process has none, the runner's flags decide."""

    destination: str = field(
        default="file",
        metadata=about(
            "`file`: below the sandbox's `.logs`; `console`: the runner's output; `both`; `none`: nowhere.",
            choices=LOGGER_DESTINATIONS,
            enum="LoggerDestination",
        ),
    )
    mode: str = field(
        default="standard",
        metadata=about(
            "`standard`: one file, which grows; `rotate`: as `rotate` says.", choices=LOGGER_MODES, enum="LoggerMode"
        ),
    )
    rotate: RotatePolicy | None = field(
        default=None,
        metadata=about("For mode `rotate`; without it, that mode uses the defaults of RotatePolicy."),
    )


@dataclass(frozen=True, slots=True)
class Process:
    """One command line, run by bash, again and again until it has succeeded or failed too often."""

    name: str = field(
        metadata=about(
            "Unique in the task. It names files, so it has no `/`, does not start with `.`, holds no control "
            f"characters and takes at most {MAX_NAME_BYTES} bytes."
        )
    )
    cmdline: str = field(metadata=about("What is run, as `/bin/bash -c <cmdline>`."))
    max_failures: int = field(
        default=1,
        metadata=about("Failed runs after which the process has failed for good; 0: never.", unit="runs", at_least=0),
    )
    daemon: bool = field(default=False, metadata=about("Run again also after success: it never finishes."))
    ephemeral: bool = field(
        default=False, metadata=about("The task does not wait for it, and it never counts as failed.")
    )
    min_duration: int = field(
        default=5,
        metadata=about("Least time between the end of a run and the start of the next.", unit="seconds", at_least=0),
    )
    final: bool = field(
        default=False, metadata=about("Run when the task is ending, after all processes that are not final.")
    )
    logger: Logger | None = field(default=None, metadata=about("Where its output goes; overrides the runner's flags."))
    resources: Resources | None = field(default=None, metadata=about("Accepted, as in Aurora, and not used."))


@dataclass(frozen=True, slots=True)
class Constraint:
    """An order of processes: each is started when the one before it has succeeded."""

    order: tuple[str, ...] = field(default=(), metadata=about("Names of processes, first to last."))


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a process that keeps ending is run again. Not in Aurora: it has min_duration.

    The n-th wait in a row is ``initial_s * factor ** (n - 1)``, at most ``max_s``, and never below
    min_duration.
    """

    initial_s: float = field(default=1.0, metadata=about("The first wait.", unit="seconds", more_than=0))
    factor: float = field(default=2.0, metadata=about("What each further wait is multiplied with.", at_least=1))
    max_s: float = field(default=300.0, metadata=about("The longest wait.", unit="seconds", more_than=0))
    jitter: float = field(
        default=0.1,
        metadata=about(
            "How much of a wait is random, so that many tasks do not come back at once.",
            unit="share of the wait",
            at_least=0,
            at_most=1,
        ),
    )
    reset_after_s: float = field(
        default=60.0, metadata=about("A run this long begins the waits anew.", unit="seconds", at_least=0)
    )


@dataclass(frozen=True, slots=True)
class ProcessExtension:
    """What a process has beyond Aurora's schema; kept beside the processes, where its reader skips it."""

    backoff: Backoff | None = field(
        default=None,
        metadata=about("Wait longer each time. While set, the cap of 100 runs for each process does not apply."),
    )
    compress_rotated: bool = field(
        default=False, metadata=about("Compress log files that are put aside, with gzip.", sparse=True)
    )


@dataclass(frozen=True, slots=True)
class Task:
    """Processes that run in one sandbox, and when they count as done."""

    name: str = field(metadata=about("What the task is called.", dsl_default="{{processes[0].name}}"))
    processes: tuple[Process, ...] = field(
        default=(),
        metadata=about("What is run, at least one. Names are unique; the order says nothing.", sparse=True),
    )
    constraints: tuple[Constraint, ...] = field(
        default=(), metadata=about("Which processes wait for which; see also the helper `order`.")
    )
    resources: Resources | None = field(
        default=None,
        metadata=about("What the task may use. Jobs must say it, `thermos run` does not need it."),
    )
    max_failures: int = field(
        default=1,
        metadata=about(
            "Processes failed for good that fail the task, final and ephemeral ones not counted; 0: never.",
            unit="processes",
            at_least=0,
        ),
    )
    max_concurrency: int = field(
        default=0,
        metadata=about("Processes running at the same time; 0: any number.", unit="processes", at_least=0),
    )
    finalization_wait: int = field(
        default=30,
        metadata=about("Time that stopping processes and running final ones may take.", unit="seconds", at_least=0),
    )
    user: str | None = field(
        default=None, metadata=about("Set by Aurora for tasks in container images; leave it unset.")
    )
    x_processes: Mapping[str, ProcessExtension] = field(
        default_factory=dict,
        hash=False,
        metadata=about("What processes have beyond Aurora's schema, by process name. Not in Aurora.", sparse=True),
    )


def problems(task: Task, ports: Mapping[str, int] | None = None) -> tuple[Problem, ...]:
    """Everything that keeps *task* from being run, in the order of its fields; empty if nothing does.

    With *ports* (name to number), also the ports it refers to that are missing there.
    """
    return tuple(_problems(task, ports))


def ports_wanted(task: Task) -> frozenset[str]:
    """The names in ``{{thermos.ports[NAME]}}`` anywhere in *task*."""
    found = set()
    for _, text in _texts(task):
        for address in references(text):
            if address.startswith("thermos.ports[") and address.endswith("]"):
                found.add(address[len("thermos.ports[") : -1])
    return frozenset(found)


def _texts(task: Task) -> Iterator[tuple[str, str]]:
    """Every text of *task* that may hold references, with its path."""
    yield "name", task.name
    for index, process in enumerate(task.processes):
        yield f"processes[{index}].name", process.name
        yield f"processes[{index}].cmdline", process.cmdline
    for index, constraint in enumerate(task.constraints):
        for position, name in enumerate(constraint.order):
            yield f"constraints[{index}].order[{position}]", name
    if task.user is not None:
        yield "user", task.user


def _problems(task: Task, ports: Mapping[str, int] | None) -> Iterator[Problem]:
    if not task.processes:
        yield Problem("processes", "a task needs at least one process", "add processes=[...]")
    seen: dict[str, int] = {}
    for index, process in enumerate(task.processes):
        path = f"processes[{index}]"
        yield from _name_problems(process.name, f"{path}.name")
        if process.name in seen:
            yield Problem(
                f"{path}.name",
                f"'{process.name}' is also the name of processes[{seen[process.name]}]",
                "give each process a name of its own",
            )
        seen.setdefault(process.name, index)
        yield from _cmdline_problems(process.cmdline, f"{path}.cmdline")
    yield from limit_problems(task)
    yield from _constraint_problems(task)
    for name, extension in task.x_processes.items():
        if name not in seen:
            yield Problem(f"x_processes[{name}]", f"there is no process '{name}'", _nearest(name, seen))
        backoff = extension.backoff
        if backoff is not None and 0 < backoff.max_s < backoff.initial_s:
            yield Problem(
                f"x_processes[{name}].backoff.max_s",
                f"is {backoff.max_s} seconds, below the {backoff.initial_s} seconds of initial_s",
            )
    yield from _reference_problems(task, ports)


def _name_problems(name: str, path: str) -> Iterator[Problem]:
    """Why *name* is no file name that is not hidden (``thermos/config/loader.py``: ``^[^./][^/]*$``)."""
    if not name:
        yield Problem(path, "is empty", "every process needs a name")
    elif not _is_text(name):
        yield Problem(path, f"{name!r} holds half of a surrogate pair, which is no character")
    elif not name.isprintable() and any(
        char < " " or char in "\u2028\u2029" or "\x7f" <= char <= "\x9f" for char in name
    ):
        yield Problem(path, f"{name!r} holds a control character", "it names files: use printable characters")
    elif name[0] in "./" or "/" in name:
        yield Problem(path, f"'{name}' is no file name", "it may not hold '/' and not start with '.'")
    elif len(name.encode()) > MAX_NAME_BYTES:
        size = len(name.encode())
        yield Problem(path, f"takes {size} bytes in UTF-8", f"at most {MAX_NAME_BYTES} fit a file name")


def _cmdline_problems(cmdline: str, path: str) -> Iterator[Problem]:
    if not cmdline.strip():
        yield Problem(path, "is empty", "say what the process runs, or remove the process")
    elif "\0" in cmdline:
        yield Problem(path, f"holds a NUL at character {cmdline.index(chr(0)) + 1}, which no command line can")
    elif not _is_text(cmdline):
        yield Problem(path, "holds half of a surrogate pair, which is no character")
    elif len(cmdline.encode()) >= MAX_ARGUMENT_BYTES:
        yield Problem(
            path,
            f"takes {len(cmdline.encode())} bytes; the kernel passes on at most {MAX_ARGUMENT_BYTES - 1}",
            "put the script into a file and run that",
        )


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _constraint_problems(task: Task) -> Iterator[Problem]:
    by_name = {process.name: process for process in task.processes}
    edges: dict[str, list[str]] = {}
    for index, constraint in enumerate(task.constraints):
        path = f"constraints[{index}].order"
        known = []
        for position, name in enumerate(constraint.order):
            if name in by_name:
                known.append(name)
            else:
                yield Problem(f"{path}[{position}]", f"there is no process '{name}'", _nearest(name, by_name))
        final = [name for name in known if by_name[name].final]
        if final and len(final) < len(known):
            regular = next(name for name in known if not by_name[name].final)
            yield Problem(
                path,
                f"orders '{regular}' and the final process '{final[0]}'",
                "final processes run after all others anyway: order them in a constraint of their own",
            )
        for before, after in zip(constraint.order, constraint.order[1:], strict=False):
            first, second = by_name.get(before), by_name.get(after)
            if first is None or second is None or first.final != second.final:
                continue
            if first.daemon:
                yield Problem(
                    path,
                    f"'{after}' is to follow '{before}', a daemon",
                    f"a daemon never finishes: '{after}' would never run",
                )
            if first.ephemeral and not second.ephemeral:
                yield Problem(
                    path,
                    f"'{after}' is to follow the ephemeral process '{before}' and is not ephemeral itself",
                    "what the task must wait for cannot depend on what it does not wait for",
                )
            edges.setdefault(before, []).append(after)
    for members in _cycles(edges):
        yield Problem("constraints", "the order goes in a circle: " + " -> ".join(members), "none of them could start")


def _cycles(edges: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """Circles, where there are any, each as its members in order, the first again at the end."""
    done: set[str] = set()
    for start in edges:
        if start in done:
            continue
        path: dict[str, Iterator[str]] = {start: iter(edges[start])}
        while path:
            last = next(reversed(path))
            for after in path[last]:
                if after in path:
                    members = list(path)
                    yield [*members[members.index(after) :], after]
                elif after not in done and after in edges:
                    path[after] = iter(edges[after])
                    break
            else:
                done.add(last)
                del path[last]


def _reference_problems(task: Task, ports: Mapping[str, int] | None) -> Iterator[Problem]:
    for path, text in _texts(task):
        for address in references(text):
            try:
                parts = parse_address(address)
            except BadTemplate as error:
                yield Problem(path, str(error))
                continue
            if parts in ((".thermos", ".task_id"), (".thermos", ".user")):
                continue
            if len(parts) == 3 and parts[:2] == (".thermos", ".ports"):
                if ports is not None and parts[2][1:-1] not in ports:
                    yield _missing_port(path, parts[2][1:-1])
                continue
            yield Problem(
                path,
                f"nothing gives {{{{{address}}}}} a value",
                f"bind it, or write {{{{&{address}}}}} for the text itself",
            )


def _missing_port(path: str, name: str) -> Problem:
    return Problem(path, f"needs port '{name}', which was not given", f"give it a number: -P {name}:NUMBER")


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = nearest(name, known)
    return f"did you mean '{close}'?" if close else "add it, or take the name out"
