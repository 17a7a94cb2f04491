"""One process of a task: its row, its runs, how each ended, what its definition says."""

from __future__ import annotations

from typing import Final

from observer_static import layout, parts
from observer_static.budget import Plan
from observer_static.charts import sane_time
from observer_static.context import (
    MAX_PHRASE,
    MAX_SENTENCE,
    Context,
    count,
    finite,
    shown,
    shown_lines,
    usage_of,
)
from observer_static.logtext import spans
from thermos.core.explain import ProcessView, Stage, ending
from thermos.core.state import Run
from thermos.formats import paths
from thermos.records import DeathCertificate
from thermos.states import ProcessState
from thermos.words import how_it_ended, process_words, signal_name

#: Of a death certificate's last lines of stderr.
MAX_STDERR: Final = 4096
#: A command is shown this far; its definition has the rest.
MAX_CMDLINE: Final = 32_000
#: Processes that one is ordered behind, told by name.
MAX_AFTER: Final = 20
#: A process that failed this often and is to run again is worth a word.
FAILS_AGAIN: Final = 3

#: Aurora's observer groups processes so; LOST stands with those that wait, because they run again.
_GROUPS: Final = {
    None: "waiting",
    ProcessState.WAITING: "waiting",
    ProcessState.LOST: "waiting",
    ProcessState.FORKED: "running",
    ProcessState.RUNNING: "running",
    ProcessState.SUCCESS: "success",
    ProcessState.FAILED: "failed",
    ProcessState.KILLED: "killed",
}


def group_of(state: ProcessState | None) -> str:
    """The group that Aurora's observer puts a process into whose newest run is in *state*."""
    return _GROUPS[state]


def fails_again(view: ProcessView, is_over: bool) -> bool:
    """Whether a process has failed several times and is to run again."""
    return not is_over and view.failures >= FAILS_AGAIN and view.stage not in (Stage.FAILED, Stage.FINISHED)


def process_row(context: Context, plan: Plan, view: ProcessView, start: str) -> parts.ProcessRow:
    """What the page at *start* says of a process in one line."""
    definition = context.definitions.get(view.name)
    history = context.history(view.name)
    run = history.last if history is not None else None
    after = context.after.get(view.name, ())
    traits = ("daemon", "ephemeral", "final")
    return parts.ProcessRow(
        name=shown(view.name),
        href=process_href(context, plan, view.name, start),
        group=group_of(view.state),
        state=view.state.name if view.state is not None else None,
        words=shown(context.line(process_words(view, context.clock)), MAX_PHRASE),
        run=view.run,
        runs=view.runs,
        failures=view.failures,
        max_failures=view.max_failures,
        return_code=run.return_code if run is not None else None,
        start_s=sane_time(view.start_time_s),
        stop_s=sane_time(view.stop_time_s),
        due_at_s=sane_time(view.due_at_s),
        after=_names(after),
        waits_for=_names(view.waits_for),
        traits=tuple(trait for trait in traits if definition is not None and getattr(definition, trait)),
        usage=usage_of(context.usage.processes.get(view.name)) if context.usage is not None else None,
        stdout=stream_link(context, plan, view.name, run, "stdout", start),
        stderr=stream_link(context, plan, view.name, run, "stderr", start),
    )


def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    most = names[:MAX_AFTER]
    rest = (f"{len(names) - len(most)} more",) if len(names) > len(most) else ()
    return (*map(shown, most), *rest)


def process_href(context: Context, plan: Plan, name: str, start: str) -> str | None:
    """The page of a process from the one at *start*; None: it is not written."""
    return context.href(layout.process_page(name), start) if name in plan.processes else None


def stream_link(context: Context, plan: Plan, name: str, run: Run | None, stream: str, start: str) -> parts.Link:
    """Where a run's stream can be read: on a page, else raw, else nowhere."""
    if run is None or run.state is ProcessState.WAITING:
        return parts.Link(text=stream, href=None)
    history = context.history(name)
    if history is not None and run is history.last:
        page = layout.process_page(name) if name in plan.processes else None
    else:
        page = layout.log_page(name, run.number) if (name, run.number) in plan.logs else None
    if page is not None:
        href: str | None = ("" if page == start else context.href(page, start)) + f"#{stream}"
    else:
        href = raw_log_href(context, name, run.number, stream, start)
    return parts.Link(text=stream, href=href)


def raw_log_href(context: Context, name: str, run: int, stream: str, start: str) -> str | None:
    """The log file itself, as a link; None: it is not known where it lies, or it cannot be reached."""
    header = context.facts.state.header
    if header is None or not header.log_dir or "/" in name or name in ("", ".", ".."):
        return None
    path = f"{paths.process_log_dir(header.log_dir, name, run)}/{stream}"
    return raw_href(context, path, start)


def raw_href(context: Context, path: str, start: str, is_directory: bool = False) -> str | None:
    """A file that a record names, as a link from the page at *start*."""
    facts = context.facts
    links = context.options.raw_links.on_page(context.prefix + start)
    sandbox = facts.state.header.sandbox if facts.state.header is not None else None
    if sandbox and path.startswith(f"{sandbox}/") and not is_directory:
        return links(facts.root, facts.task_id, sandbox, path[len(sandbox) + 1 :])
    return links.absolute(path, is_directory)


def run_row(context: Context, plan: Plan, name: str, run: Run, start: str, with_stderr: bool = False) -> parts.RunRow:
    """One run in the list of a process's runs; *with_stderr*: and the last lines that it wrote there."""
    how = ending(run)
    if how is not None:
        words = how_it_ended(how, run.state, context.line(run.reason) if run.reason else None)
    elif run.state is ProcessState.WAITING:
        words = "is to start"
    elif context.is_over:
        words = "its end is not recorded"
    else:
        words = "runs" if run.state is ProcessState.RUNNING else "is being started"
    return parts.RunRow(
        number=run.number,
        state=run.state.name,
        words=shown(words, MAX_PHRASE),
        pid=run.pid if run.pid is not None and run.pid > 0 else None,
        start_s=sane_time(run.start_time),
        stop_s=sane_time(run.stop_time),
        return_code=run.return_code,
        stdout=stream_link(context, plan, name, run, "stdout", start),
        stderr=stream_link(context, plan, name, run, "stderr", start),
        certificate=certificate(run.certificate, with_stderr),
    )


def certificate(found: DeathCertificate | None, with_stderr: bool = False) -> parts.Certificate | None:
    """How a run ended, as pages show it; None: nothing is recorded."""
    if found is None:
        return None
    tail = (found.stderr_tail or "")[-MAX_STDERR:] if with_stderr else ""
    return parts.Certificate(
        signal=signal_name(found.signal) if found.signal is not None else None,
        is_core_dumped=found.core_dumped,
        is_oom_killed=found.oom_killed,
        peak_ram_bytes=count(found.peak_rss_bytes),
        user_cpu_s=finite(found.user_cpu_s),
        system_cpu_s=finite(found.system_cpu_s),
        killed_by=shown(found.killed_by) if found.killed_by is not None else None,
        stderr=spans(tail.encode("utf-8", "replace")),
        stderr_note=shown(found.stderr_note, MAX_SENTENCE) if found.stderr_note is not None else None,
    )


def definition_facts(context: Context, name: str) -> tuple[tuple[str, str], ...]:
    """What else a process's definition says, as names and values."""
    process = context.definitions.get(name)
    task = context.facts.task
    if process is None or task is None:
        return ()
    found: list[tuple[str, str]] = []
    if process.logger is not None:
        found.append(("logger", f"{process.logger.destination}, {process.logger.mode}"))
        if process.logger.rotate is not None:
            rotate = process.logger.rotate
            found.append(("rotated at", f"{rotate.log_size} bytes, {rotate.backups} files are kept"))
    extension = task.x_processes.get(name)
    if extension is not None:
        if extension.backoff is not None:
            backoff = extension.backoff
            found.append(
                (
                    "back-off",
                    f"{backoff.initial_s:g} s at first, × {backoff.factor:g} each time, {backoff.max_s:g} s at most, "
                    f"anew after a run of {backoff.reset_after_s:g} s",
                )
            )
        if extension.compress_rotated:
            found.append(("rotated files", "compressed"))
    return tuple((label, shown(value)) for label, value in found)


def cmdline_of(context: Context, name: str) -> tuple[str | None, int]:
    """A process's command with its secrets made unreadable, and how many values that were."""
    process = context.definitions.get(name)
    if process is None:
        return None, 0
    text, redacted = context.options.redactor.text(process.cmdline)
    return shown_lines(text, MAX_CMDLINE), redacted
