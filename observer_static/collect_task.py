"""A task's own page, and its row on the host's index."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from observer_static import layout, pages, parts
from observer_static.budget import Plan, task_page_bytes
from observer_static.charts import MAX_BARS, LaneRuns, timeline, usage_charts
from observer_static.collect_process import fails_again, process_href, process_row, raw_href
from observer_static.context import (
    MAX_NAME,
    MAX_PHRASE,
    MAX_SENTENCE,
    Context,
    clamped_time,
    count,
    finite,
    from_ms,
    ports_of,
    shown,
    shown_lines,
    usage_of,
)
from observer_static.sizes import page_bytes, part_bytes
from thermos.core.explain import ProcessView, Stage
from thermos.formats import paths
from thermos.formats.health_file import Verdict
from thermos.states import ProcessState
from thermos.words import process_words, runner_words, some_names

if TYPE_CHECKING:
    from observer_static.history import UsagePoint

#: Processes in the table, states in the history, of each kind of notice.
MAX_ROWS: Final = 1000
MAX_STATES: Final = 100
MAX_FINDINGS: Final = 10
MAX_NOTES: Final = 10
MAX_FAILING: Final = 5
#: A definition is shown this far.
MAX_RAW: Final = 256 << 10

#: What a person wants to see first.
_URGENT: Final = (
    Stage.FAILED, Stage.STOPPING, Stage.THROTTLED, Stage.RUNNING, Stage.STARTING, Stage.ENDED, Stage.BLOCKED,
    Stage.QUEUED, Stage.FINISHED, Stage.AT_THE_END, Stage.NOT_RUN,
)  # fmt: skip
#: Kinds of notes that are more than odd.
_GRAVE: Final = frozenset({"survivors"})


def by_importance(context: Context) -> list[ProcessView]:
    """The processes, those first that ended the task, failed or run; of equals, the latest started first."""
    culprits = {name: place for place, name in enumerate(context.why.culprits)}

    def key(view: ProcessView) -> tuple[int, int, float]:
        stage = 0 if view.state is ProcessState.FAILED else _URGENT.index(view.stage)
        return culprits.get(view.name, len(culprits)), stage, -clamped_time(view.start_time_s or 0.0)

    return sorted(context.why.processes, key=key)


# -- The row on the index ---------------------------------------------------------------------------------------------


def row_of(context: Context, key: str | None, pages_kept: bool, start: str) -> parts.TaskRow:
    """One task on the index page at *start*."""
    facts = context.facts
    header = facts.state.header
    health = health_of(context)
    task_dir = layout.task_dir(key) if key is not None and pages_kept else None
    return parts.TaskRow(
        task_id=shown(facts.task_id),
        name=shown(_name(context)),
        role=shown((header.user if header is not None else None) or ""),
        href=layout.relative(f"{task_dir}/{layout.INDEX}", start) if task_dir is not None else None,
        browse_href=layout.relative(f"{task_dir}/{layout.BROWSE}", start)
        if task_dir is not None and header is not None and header.sandbox
        else None,
        root=shown(facts.root),
        is_active=facts.is_active,
        state=facts.state.task_state.name if facts.state.task_state is not None else None,
        since_s=_since_s(context),
        launched_at_s=context.launched_at_s,
        usage=_usage(context),
        ports=ports_of(header.ports if header is not None else None, context.hostname),
        is_healthy=health.is_healthy if health is not None and facts.is_active and health.is_current else None,
        has_runner=facts.has_runner,
        notice=_row_notice(context),
    )


def _row_notice(context: Context) -> str | None:
    facts = context.facts
    if facts.state.task_state is None:
        return "nothing readable is recorded"
    if facts.findings:
        return "its checkpoint is damaged"
    if facts.is_active and facts.has_runner is False and not facts.state.task_state.is_terminal:
        return "no runner"
    if facts.trouble is not None:
        return "its definition cannot be read"
    if any(note.kind in _GRAVE for note in facts.state.notes):
        return "processes survived it"
    if context.is_over:
        return None
    failing = [view.name for view in context.why.processes if fails_again(view, False)]
    return shown(f"fails again and again: {some_names(tuple(map(shown, failing)))}", MAX_PHRASE) if failing else None


def _name(context: Context) -> str:
    return context.facts.task.name if context.facts.task is not None else context.facts.task_id


def _since_s(context: Context) -> float | None:
    statuses = context.facts.state.statuses
    return from_ms(statuses[-1].timestamp_ms) if statuses else None


def health_of(context: Context) -> parts.Health | None:
    """What the task's executor said last of its health; None: it is not known here."""
    claim = context.facts.health
    if claim is None:
        return None
    return parts.Health(
        is_checked=claim.verdict is not Verdict.UNCHECKED,
        is_current=claim.is_current,
        is_healthy={Verdict.HEALTHY: True, Verdict.UNHEALTHY: False}.get(claim.verdict),
        text=shown(context.line(claim.text), MAX_PHRASE),
        since_s=clamped_time(claim.since_s) if claim.since_s is not None else None,
    )


def _usage(context: Context) -> parts.Usage | None:
    return usage_of(context.usage.task, context.usage.disk_bytes) if context.usage is not None else None


# -- The page ---------------------------------------------------------------------------------------------------------


def reserved_of(context: Context) -> parts.Reserved:
    """What the task may use."""
    resources = context.facts.task.resources if context.facts.task is not None else None
    if resources is None:
        return parts.Reserved(cpu=None, ram_bytes=None, disk_bytes=None)
    return parts.Reserved(cpu=finite(resources.cpu), ram_bytes=count(resources.ram), disk_bytes=count(resources.disk))


def task_page(context: Context, history: Sequence[UsagePoint], room: int) -> tuple[pages.TaskPage, int]:
    """The task's page in its share of *room* bytes, with links to all others, and what it takes.

    ``relinked`` takes away the links to pages that are not written. Where the room is tight, the pictures go first,
    then the processes that matter least.
    """
    most = task_page_bytes(room)
    everything = Plan(dict.fromkeys(context.views), has_raw=True, browse_bytes=1)
    page = _task_page(context, everything, history)
    if (taken := page_bytes(page)) <= most:
        return page, taken
    # Few processes will have pages: links lead to raw files, and those are longer.
    nothing = Plan(has_raw=True, browse_bytes=1)
    page = _task_page(context, nothing, history)
    if page.timeline is not None:
        page = replace(page, timeline=_timeline(context, nothing, page.processes, MAX_BARS // 10))
    if page_bytes(page) > most:
        page = replace(page, timeline=None, charts=())
    if page_bytes(page) > most:
        page = _with_rows(context, page, most)
    if page_bytes(page) > most:
        page = replace(
            page,
            notices=page.notices[:2],
            history=page.history[-5:],
            ports=page.ports[:5],
            files=(),
            processes=page.processes[:1],
            left_out=page.left_out + len(page.processes[1:]),
            headline=page.headline[:MAX_PHRASE],
        )
    return page, page_bytes(page)


def most_bytes(context: Context, page: pages.TaskPage) -> int:
    """What *page* takes at most when some of the processes have no page: links to raw files may be longer."""
    return max(page_bytes(page), page_bytes(relinked(context, Plan(has_raw=True, browse_bytes=1), page)))


def _with_rows(context: Context, page: pages.TaskPage, most: int) -> pages.TaskPage:
    """*page* with as many of its rows as fit into *most* bytes, those that matter most."""
    left = most - page_bytes(replace(page, processes=()))
    by_name = {row.name: row for row in page.processes}
    kept: set[str] = set()
    for view in by_importance(context):
        row = by_name.get(shown(view.name))
        if row is None:
            continue
        left -= part_bytes(row) + 40
        if left < 0:
            break
        kept.add(row.name)
    rows = tuple(row for row in page.processes if row.name in kept)
    return replace(page, processes=rows, left_out=page.left_out + len(page.processes) - len(rows))


def relinked(context: Context, plan: Plan, page: pages.TaskPage) -> pages.TaskPage:
    """*page* without the links to pages that *plan* does not write."""
    page = replace(
        page,
        browse_href=page.browse_href if plan.browse_bytes else None,
        raw_href=page.raw_href if plan.has_raw else None,
    )
    if len(plan.processes) == len(context.views):
        return page
    there = {row.name for row in page.processes}
    views = [view for view in context.ordered if shown(view.name) in there]
    rows = tuple(process_row(context, plan, view, layout.INDEX) for view in views[: len(page.processes)])
    bars = sum(len(lane.bars) for lane in page.timeline.lanes) if page.timeline is not None else 0
    drawn = _timeline(context, plan, rows, MAX_BARS if bars > MAX_BARS // 10 else MAX_BARS // 10) if bars else None
    return replace(page, processes=rows, timeline=drawn)


def _task_page(context: Context, plan: Plan, history: Sequence[UsagePoint]) -> pages.TaskPage:
    facts = context.facts
    header = facts.state.header
    reserved = reserved_of(context)
    start = layout.INDEX
    views = context.ordered
    if len(views) > MAX_ROWS:
        kept = {view.name for view in by_importance(context)[:MAX_ROWS]}
        views = tuple(view for view in views if view.name in kept)
    rows = tuple(process_row(context, plan, view, start) for view in views)
    state = facts.state.task_state
    return pages.TaskPage(
        path=context.prefix + start,
        stamp=context.stamp,
        index_href=context.index_href(start),
        task_id=shown(facts.task_id),
        name=shown(_name(context)),
        role=shown((header.user if header is not None else None) or ""),
        hostname=shown(context.hostname),
        root=shown(facts.root, MAX_SENTENCE),
        sandbox=shown(header.sandbox, MAX_SENTENCE) if header is not None and header.sandbox else None,
        is_active=facts.is_active,
        has_runner=facts.has_runner,
        state=state.name if state is not None else None,
        since_s=_since_s(context),
        headline=_headline(context),
        launched_at_s=context.launched_at_s,
        ended_at_s=_since_s(context) if state is not None and state.is_terminal else None,
        notices=tuple(_notices(context)),
        health=health_of(context),
        ports=ports_of(header.ports if header is not None else None, context.hostname),
        usage=_usage(context),
        reserved=reserved,
        charts=usage_charts(history, reserved),
        history=tuple(
            parts.StateChange(
                state=status.state.name,
                at_s=clamped_time(status.timestamp_ms / 1000),
                runner_pid=status.runner_pid,
                reason=shown(context.line(status.reason), MAX_PHRASE) if status.reason else None,
            )
            for status in facts.state.statuses[-MAX_STATES:]
        ),
        timeline=_timeline(context, plan, rows, MAX_BARS),
        processes=rows,
        left_out=len(context.why.processes) - len(rows),
        browse_href=context.href(layout.BROWSE, start),
        raw_href=context.href(layout.RAW, start),
        files=tuple(_files(context)),
    )


def _timeline(context: Context, plan: Plan, rows: Sequence[parts.ProcessRow], max_bars: int) -> parts.Timeline | None:
    there = {row.name for row in rows}
    lanes = []
    for view in context.ordered:
        history = context.history(view.name)
        if history is not None and shown(view.name) in there:
            href = process_href(context, plan, view.name, layout.INDEX)
            lanes.append(LaneRuns(shown(view.name), href, history.runs, history.total))
    return timeline(lanes, context.now_s, context.is_over, max_bars)


def _headline(context: Context) -> str:
    facts, why = context.facts, context.why
    text = f"{facts.task_id[:MAX_NAME]} {context.task_words}"
    if why.state is not None and not why.state.is_terminal:
        pid = facts.state.statuses[-1].runner_pid
        text += f" {runner_words(pid, facts.has_runner)}"
    for name in why.culprits[:1]:
        text += f" {name[:MAX_NAME]} {process_words(context.views[name], context.clock)}."
    return shown(context.line(text), MAX_SENTENCE)


def _notices(context: Context) -> Iterator[parts.Notice]:
    facts, state = context.facts, context.facts.state

    def notice(level: str, text: str) -> parts.Notice:
        return parts.Notice(level=level, text=shown(context.line(text), MAX_SENTENCE))

    for finding in facts.findings[:MAX_FINDINGS]:
        yield notice("error", f"Not everything could be read. {finding}.")
    if len(facts.findings) > MAX_FINDINGS:
        yield notice("error", f"{len(facts.findings) - MAX_FINDINGS} more such faults were found.")
    if state.header is not None and state.header.task_id != facts.task_id:
        yield notice("warning", f"The checkpoint says that it is of another task, {state.header.task_id}.")
    is_over = state.task_state is not None and state.task_state.is_terminal
    if facts.is_active and facts.has_runner is False and state.task_state is not None and not is_over:
        yield notice("error", runner_words(state.statuses[-1].runner_pid, False))
    elif not facts.is_active and state.task_state is not None and not is_over:
        yield notice("warning", "It was put among the finished tasks, but its end is not recorded.")
    if facts.trouble is not None:
        yield notice("warning", f"What waits for what cannot be told: {facts.trouble}.")
    if not context.is_over:
        failing = [view for view in context.why.processes if fails_again(view, False)]
        for view in failing[:MAX_FAILING]:
            words = process_words(view, context.clock)
            yield notice("warning", f"{view.name[:MAX_NAME]} failed {view.failures} times: {words}.")
        if len(failing) > MAX_FAILING:
            yield notice("warning", f"{len(failing) - MAX_FAILING} more processes fail again and again.")
    notes = state.notes[-MAX_NOTES:]
    if len(state.notes) > len(notes):
        yield notice("info", f"{len(state.notes) - len(notes)} earlier notes are not shown.")
    for note in notes:
        who = f"{note.process[:MAX_NAME]}: " if note.process is not None else ""
        at_s = from_ms(note.timestamp_ms)
        when = f" ({context.clock.ago(at_s)})" if at_s is not None else ""
        yield notice("error" if note.kind in _GRAVE else "warning", f"{who}{note.text}{when}")


def _files(context: Context) -> Iterator[parts.Link]:
    facts = context.facts
    header = facts.state.header
    where = paths.ACTIVE if facts.is_active else paths.FINISHED
    wanted = [
        (paths.runner_checkpoint(facts.root, facts.task_id), False),
        (paths.task_path(facts.root, facts.task_id, where), False),
    ]
    if header is not None and header.log_dir:
        wanted.append((header.log_dir, True))
    for path, is_directory in wanted:
        href = raw_href(context, path, layout.INDEX, is_directory)
        yield parts.Link(text=shown(path, MAX_SENTENCE), href=href)


# -- The definition ---------------------------------------------------------------------------------------------------


def raw_page(context: Context) -> pages.RawPage | None:
    """The task's definition; None: there is no such file."""
    facts = context.facts
    if facts.raw is None:
        return None
    note = facts.trouble
    value: Any = None
    try:
        value = json.loads(facts.raw)
    except (ValueError, RecursionError):
        text, redacted = context.options.redactor.text(facts.raw.decode("utf-8", "replace"))
        note = note or "This is no JSON."
    else:
        value, redacted = context.options.redactor.json(value)
        try:
            text = json.dumps(value, indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            text, redacted = context.options.redactor.text(facts.raw.decode("utf-8", "replace"))
    return pages.RawPage(
        path=context.prefix + layout.RAW,
        stamp=context.stamp,
        index_href=context.index_href(layout.RAW),
        task=context.task_link(layout.RAW),
        text=shown_lines(text, MAX_RAW),
        redacted=redacted,
        note=shown(note, MAX_SENTENCE) if note is not None else None,
    )
