"""From what lies on disk to what pages show: every page of a task, and its row on the host's index.

Nothing here is rendered or written, and nothing that lies on disk raises: records are claims, and what is odd is said
on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from observer_static import layout
from observer_static.budget import OlderRun, Plan, Spare, plan, room_bytes
from observer_static.charts import sane_time
from observer_static.collect_logs import browse_page, has_logs, log_page, process_page
from observer_static.collect_task import by_importance, most_bytes, raw_page, relinked, reserved_of, row_of, task_page
from observer_static.context import Context
from observer_static.facts import TaskFacts
from observer_static.options import Options
from observer_static.pages import Page, TaskPage
from observer_static.parts import TaskRow
from observer_static.reach import claim_of
from observer_static.sizes import page_bytes
from observer_static.tails import LogDir, open_logs
from thermos.states import ProcessState

if TYPE_CHECKING:
    from observer_static.history import UsagePoint
    from thermos.host.usage import TaskUsage

#: Older runs whose logs are looked for.
_MOST_LOOKS = 100


def _none_stays(path: str) -> None:
    return None


def task_row(
    facts: TaskFacts,
    usage: TaskUsage | None,
    options: Options,
    key: str | None,
    pages_kept: bool,
    start: str = layout.INDEX,
) -> TaskRow:
    """The task's row on the index page at *start*; *key*: name of its directory of pages, if those are kept."""
    return row_of(Context(facts, options, 0.0, usage), key, pages_kept, start)


def task_pages(
    facts: TaskFacts,
    options: Options,
    now_s: float,
    usage: TaskUsage | None = None,
    history: Sequence[UsagePoint] = (),
    prefix: str = "",
    staying: Callable[[str], int | None] = _none_stays,
) -> Iterator[Page]:
    """Every page of a task, its own first; the path of each begins with *prefix*.

    Together they take no more than ``options.max_bytes`` and a hundredth of the task's disk when they are rendered.
    *staying* is asked for each page of a process, a log or the definition, by its path without *prefix*: the bytes of
    the page that lies there already and is to stay, and none is made; None: it is to be made. For processes and logs
    it is asked after the task's own page was given.
    """
    context = Context(facts, options, now_s, usage, prefix)
    room = room_bytes(options.max_bytes, reserved_of(context).disk_bytes)
    own, taken = task_page(context, history, room)
    raw_bytes = staying(layout.RAW)
    raw = raw_page(context) if raw_bytes is None else None
    if raw is not None:
        raw_bytes = page_bytes(raw)
    header = facts.state.header
    claim = claim_of(facts)
    with open_logs(header, claim) or nullcontext(None) as logs:
        names = [view.name for view in by_importance(context)]
        older = _older(context, logs)
        has_sandbox = header is not None and bool(header.sandbox)
        chosen = plan(room - taken, raw_bytes, has_sandbox, names, older)
        if len(chosen.processes) < len(names):
            chosen = plan(room - most_bytes(context, own), raw_bytes, has_sandbox, names, older)
        yield relinked(context, chosen, own)
        spare = Spare(chosen.spare_bytes)
        yield from _processes(context, chosen, logs, spare, staying)
    if raw is not None and chosen.has_raw:
        yield raw
    if header is not None and header.sandbox and chosen.browse_bytes:
        yield browse_page(context, header.sandbox, claim, chosen.browse_bytes - spare.overdrawn)


def lone_page(facts: TaskFacts, options: Options, now_s: float, usage: TaskUsage | None = None) -> TaskPage:
    """The task's own page, for where no other page is: it links to none, but to raw files."""
    context = Context(facts, options, now_s, usage)
    own, _ = task_page(context, (), options.max_bytes)
    return relinked(context, Plan(), own)


def _older(context: Context, logs: LogDir | None) -> list[OlderRun]:
    """Runs before the newest of each process whose logs are there, newest first."""
    if logs is None or logs.place is None:
        return []
    found = [
        OlderRun(name, run.number, sane_time(run.start_time) or 0.0)
        for name, history in context.facts.state.processes.items()
        for run in history.runs[-1 - _MOST_LOOKS : -1]
        if run.state is not ProcessState.WAITING
    ]
    found.sort(key=lambda run: run.start_s, reverse=True)
    return [run for run in found[:_MOST_LOOKS] if has_logs(logs, run.process, run.number)]


def _processes(
    context: Context, chosen: Plan, logs: LogDir | None, spare: Spare, staying: Callable[[str], int | None]
) -> Iterator[Page]:
    wanted = []
    for name, number in [*((name, None) for name in chosen.processes), *chosen.logs]:
        path = layout.process_page(name) if number is None else layout.log_page(name, number)
        there_bytes = staying(path)
        if there_bytes is None:
            wanted.append((name, number))
        else:
            spare.take(there_bytes)
    left = len(wanted)
    for name, number in wanted:
        left -= 1
        offered = spare.offer(left > 0)
        page: Page
        if number is None:
            page, taken = process_page(context, chosen, context.views[name], logs, offered)
        else:
            run = next(run for run in reversed(context.facts.state.processes[name].runs) if run.number == number)
            page, taken = log_page(context, chosen, name, run, logs, offered)
        spare.take(taken)
        yield page
