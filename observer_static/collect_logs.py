"""The pages that show what others wrote: a process with its newest logs, an older run's logs, the sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from observer_static import layout, pages, parts
from observer_static.budget import SMALL_BYTES, Plan
from observer_static.collect_process import (
    MAX_CMDLINE,
    cmdline_of,
    definition_facts,
    fails_again,
    process_href,
    process_row,
    run_row,
)
from observer_static.context import MAX_SENTENCE, Context, shown
from observer_static.options import Options
from observer_static.reach import Claim
from observer_static.sandbox import MAX_ENTRIES, browse, to_entries
from observer_static.sizes import page_bytes, part_bytes
from observer_static.tails import LogDir, read_log, to_log
from thermos.core.explain import ProcessView
from thermos.core.state import Run
from thermos.words import process_words

#: Runs in the list of a process, and of those the ones with the last lines of their stderr.
MAX_RUNS: Final = 200
_WITH_STDERR: Final = 5
_STREAMS: Final = ("stdout", "stderr")
#: Less of a log than this is not worth its frame.
_LEAST_LOG_BYTES: Final = 512
#: The frame of a log that shows nothing.
_FRAME_BYTES: Final = 3000

#: Less of a command says nothing.
_LEAST_CMDLINE: Final = 200

AS_THEY_ARE: Final = parts.Notice(
    level="info", text="Logs stand here as they were written: a secret in them can be read."
)


def has_logs(logs: LogDir, name: str, run: int) -> bool:
    """Whether anything of that run's logs is there."""
    tails = (read_log(logs, name, run, stream, 0) for stream in _STREAMS)
    return any(tail.size_bytes or tail.rotated for tail in tails)


def process_page(
    context: Context, plan: Plan, view: ProcessView, logs: LogDir | None, spare_bytes: int
) -> tuple[pages.ProcessPage, int]:
    """A process, its runs, and the logs of the newest one, in ``SMALL_BYTES`` and *spare_bytes*; and what it takes."""
    start = layout.process_page(view.name)
    most = SMALL_BYTES + spare_bytes
    history = context.history(view.name)
    runs: Sequence[Run] = history.runs[-MAX_RUNS:] if history is not None else ()
    cmdline, redacted = cmdline_of(context, view.name)
    definition = context.definitions.get(view.name)
    page = pages.ProcessPage(
        path=context.prefix + start,
        stamp=context.stamp,
        index_href=context.index_href(start),
        task=context.task_link(start),
        task_is_active=context.facts.is_active,
        has_runner=context.facts.has_runner,
        row=process_row(context, plan, view, start),
        cmdline=cmdline,
        redacted=redacted,
        min_duration_s=definition.min_duration if definition is not None else None,
        facts=definition_facts(context, view.name),
        usage=None,
        runs=(),
        left_out=0,
        logs=(),
        notices=_notices(context, view),
    )
    page = replace(page, usage=page.row.usage)
    taken = page_bytes(page)
    if taken > most - 2 * _FRAME_BYTES:
        page = _with_less_cmdline(page, taken - most + 2 * _FRAME_BYTES)
        taken = page_bytes(page)
    if not runs:
        return page, taken
    # Half of what is left is for runs, and what they leave is for logs, which have frames in any case.
    rows = _rows(context, plan, view.name, runs, (most - taken - 2 * _FRAME_BYTES) // 2)
    taken += part_bytes(rows)
    shown_logs = _logs(context, view.name, runs[-1], logs, start, most - taken)
    taken += part_bytes(shown_logs)
    notices = page.notices
    if any(log.spans for log in shown_logs):
        notices = (*notices, AS_THEY_ARE)
        taken += part_bytes(AS_THEY_ARE)
    total = history.total if history is not None else 0
    return replace(page, runs=rows, left_out=total - len(rows), logs=shown_logs, notices=notices), taken


def _with_less_cmdline(page: pages.ProcessPage, over: int) -> pages.ProcessPage:
    """*page* with so much of its command cut off that it is at least *over* bytes shorter, but for a beginning."""
    if not page.cmdline:
        return page
    kept = max(len(page.cmdline) - over, _LEAST_CMDLINE)  # a character takes a byte at least
    return replace(page, cmdline=page.cmdline[:kept] + "\n… (cut to save space)")


def _rows(context: Context, plan: Plan, name: str, runs: Sequence[Run], room: int) -> tuple[parts.RunRow, ...]:
    """As many of *runs*, newest first, as fit into *room* bytes; one in any case."""
    rows: list[parts.RunRow] = []
    for run in reversed(runs):
        row = run_row(context, plan, name, run, layout.process_page(name), len(rows) < _WITH_STDERR)
        taken = part_bytes(row) + 40
        if taken > room and row.certificate is not None and row.certificate.stderr:
            row = replace(row, certificate=replace(row.certificate, stderr=()))
            taken = part_bytes(row) + 40
        if taken > room and rows:
            break
        room -= taken
        rows.append(row)
    return tuple(rows)


def _notices(context: Context, view: ProcessView) -> tuple[parts.Notice, ...]:
    found = []
    if fails_again(view, context.is_over):
        words = process_words(view, context.clock)
        text = f"It failed {view.failures} times: {words}."
        found.append(parts.Notice(level="warning", text=shown(context.line(text), MAX_SENTENCE)))
    if context.facts.trouble is not None:
        text = f"Its definition cannot be read: {context.facts.trouble}."
        found.append(parts.Notice(level="warning", text=shown(context.line(text), MAX_SENTENCE)))
    definition = context.definitions.get(view.name)
    if definition is not None and len(definition.cmdline) > MAX_CMDLINE:
        found.append(parts.Notice(level="info", text="Its command is too long to be shown whole."))
    return tuple(found)


def _logs(context: Context, name: str, run: Run, logs: LogDir | None, start: str, room: int) -> tuple[parts.Log, ...]:
    """Both streams of a run in *room* bytes: what one of them leaves is for the other."""
    options = context.options.on_page(context.prefix + start)
    found = {}
    history = context.history(name)
    is_live = history is not None and run is history.last and not run.state.is_terminal
    room -= _FRAME_BYTES * len(_STREAMS)
    for stream, share in (("stderr", room // 2), ("stdout", None)):
        most = room if share is None else share
        log = _log(context, options, name, run, logs, stream, is_live, most)
        room -= max(part_bytes(log) - _FRAME_BYTES, 0)
        found[stream] = log
    return tuple(found[stream] for stream in _STREAMS)


def _log(
    context: Context,
    options: Options,
    name: str,
    run: Run,
    logs: LogDir | None,
    stream: str,
    is_live: bool,
    room: int,
) -> parts.Log:
    """A stream's end, as much of it as fits into *room* bytes when it is rendered."""
    most = min(options.log_bytes, room)
    while most >= _LEAST_LOG_BYTES:
        tail = read_log(logs, name, run.number, stream, most)
        log = to_log(tail, stream, options, context.facts, is_live=is_live)
        taken = part_bytes(log) - _FRAME_BYTES
        if taken <= room:
            return log
        most = min(int(len(tail.data) * room / taken * 0.9), most // 2)
    tail = read_log(logs, name, run.number, stream, 0)
    return to_log(tail, stream, options, context.facts, is_live=is_live)


def log_page(
    context: Context, plan: Plan, name: str, run: Run, logs: LogDir | None, spare_bytes: int
) -> tuple[pages.LogPage, int]:
    """Both streams of an older run, in ``SMALL_BYTES`` and *spare_bytes*; and what it takes."""
    start = layout.log_page(name, run.number)
    page = pages.LogPage(
        path=context.prefix + start,
        stamp=context.stamp,
        index_href=context.index_href(start),
        task=context.task_link(start),
        process=parts.Link(text=shown(name), href=process_href(context, plan, name, start)),
        run=run_row(context, plan, name, run, start),
        logs=(),
    )
    taken = page_bytes(page)
    shown_logs = _logs(context, name, run, logs, start, SMALL_BYTES + spare_bytes - taken)
    return replace(page, logs=shown_logs), taken + part_bytes(shown_logs)


def browse_page(context: Context, sandbox: str, claim: Claim, most: int) -> pages.BrowsePage:
    """What lies in the sandbox, in *most* bytes: what lies deepest is left out first."""
    start = layout.BROWSE
    facts = context.facts
    links = context.options.raw_links.on_page(context.prefix + start)

    def page(max_entries: int) -> pages.BrowsePage:
        listing = browse(sandbox, max_entries=max_entries, claim=claim)
        return pages.BrowsePage(
            path=context.prefix + start,
            stamp=context.stamp,
            index_href=context.index_href(start),
            task=context.task_link(start),
            sandbox=shown(sandbox, MAX_SENTENCE),
            below="",
            parent_href=None,
            entries=to_entries(listing, lambda relative: links(facts.root, facts.task_id, sandbox, relative)),
            left_out=listing.left_out,
            is_gone=listing.is_gone,
            note=listing.note,
        )

    found = page(min(MAX_ENTRIES, most // 800 + 1))
    while (taken := page_bytes(found)) > most and found.entries:
        fits = len(found.entries) * most // taken
        found = page(min(fits, len(found.entries) // 2))
    return found
