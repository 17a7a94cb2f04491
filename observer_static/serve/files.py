"""The routes that lead to files: logs and what lies in sandboxes, looked into, read in pieces, and as they are.

Paths come from the address and from checkpoints. Each is opened through :mod:`observer_static.reach`, or not at all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from werkzeug.wrappers import Request, Response

from observer_static import layout
from observer_static.logtext import visible_name
from observer_static.options import quoted
from observer_static.pages import BrowsePage
from observer_static.parts import Entry, Link, Stamp
from observer_static.reach import NotShown, check_name, claim_of
from observer_static.sandbox import Listing, browse, open_file, to_entries
from observer_static.serve.aurora_json import Json, find_run
from observer_static.serve.failures import NotFound
from observer_static.serve.sending import read_chunk, send
from observer_static.tails import open_logs

if TYPE_CHECKING:
    from observer_static.facts import TaskFacts
    from observer_static.options import Options

STREAMS: Final = ("stdout", "stderr")


def log_data(request: Request, facts: TaskFacts, process: str, run: int, stream: str) -> Json:
    """The answer of ``/logdata``; empty where there is no such file, as the original."""
    try:
        fd = open_log(facts, process, run, stream)
    except NotFound:
        return {}
    return _chunk_of(request, fd)


def file_data(request: Request, facts: TaskFacts, parts: Sequence[str]) -> Json:
    """The answer of ``/filedata``; empty where there is no such file, as the original."""
    try:
        fd = _open(facts, parts)
    except NotFound:
        return {}
    return _chunk_of(request, fd)


def _chunk_of(request: Request, fd: int) -> Json:
    try:
        return read_chunk(fd, request.args.get("offset"), request.args.get("length"))
    except OSError:  # a disk that fails, an agent's sandbox that is unmounted
        return {}
    finally:
        os.close(fd)


def send_file(request: Request, facts: TaskFacts, parts: Sequence[str], *, as_download: bool) -> Response:
    """A file of the sandbox as it is. Raises NotFound."""
    return send(request, _open(facts, parts), parts[-1], as_download=as_download)


def send_log(request: Request, facts: TaskFacts, process: str, run: int, stream: str) -> Response:
    """A log as it is. Raises NotFound."""
    return send(request, open_log(facts, process, run, stream), f"{process}.{run}.{stream}", as_download=False)


def open_log(facts: TaskFacts, process: str, run: int, stream: str) -> int:
    """A descriptor of a log; -1 is the newest run. Raises NotFound."""
    history = facts.state.processes.get(process)
    found = find_run(history, run) if history is not None else None
    if found is None or stream not in STREAMS:
        raise NotFound("there is no such log")
    logs = open_logs(facts.state.header, claim_of(facts))
    if logs is None:
        raise NotFound("the checkpoint does not say where logs lie")
    with logs:
        if logs.place is None:
            raise NotFound(logs.trouble or "there is no such log")
        try:
            return logs.place.open_file((check_name(process), str(found.number), stream))
        except NotShown as error:
            raise NotFound(f"the log cannot be shown: it is {error}") from None


def _open(facts: TaskFacts, parts: Sequence[str]) -> int:
    header = facts.state.header
    if header is None or not header.sandbox:
        raise NotFound("the checkpoint does not say where the sandbox lies")
    fd = open_file(header.sandbox, "/".join(parts), claim_of(facts)) if parts else None
    if fd is None:
        raise NotFound("there is no such file in the sandbox, or it is not to be shown")
    return fd


def browse_page(facts: TaskFacts, parts: Sequence[str], options: Options, task_href: str) -> BrowsePage:
    """What lies in one directory of the sandbox now. Raises NotFound."""
    header = facts.state.header
    if header is None or not header.sandbox:
        raise NotFound("the checkpoint does not say where the sandbox lies")
    below = "/".join(parts)
    claim = claim_of(facts)
    listing = browse(header.sandbox, below, max_depth=1, claim=claim)
    if listing.note is not None or (listing.is_gone and parts):
        raise NotFound(f"the directory cannot be shown: it is {listing.note or 'not there'}")

    def href(relative: str) -> str | None:
        return options.raw_links(facts.root, facts.task_id, header.sandbox or "", relative)

    return BrowsePage(
        path=f"browse/{facts.task_id}",
        stamp=Stamp(
            written_at_s=time.time(), writer=options.writer, version=options.version, hostname=options.hostname
        ),
        index_href="/",
        task=Link(text=visible_name(facts.task_id), href=task_href),
        sandbox=visible_name(header.sandbox),
        below=visible_name(below),
        parent_href=_browse_href(facts.task_id, parts[:-1]) if parts else None,
        entries=tuple(_entries(facts.task_id, listing, to_entries(listing, href))),
        left_out=listing.left_out,
        is_gone=listing.is_gone,
    )


def _entries(task_id: str, listing: Listing, entries: Sequence[Entry]) -> Sequence[Entry]:
    """*entries* with links to the directories among them, which have pages of their own here."""
    return [
        replace(entry, href=_browse_href(task_id, found.relative.split("/"))) if found.kind == "directory" else entry
        for found, entry in zip(listing.entries, entries, strict=True)
    ]


def _browse_href(task_id: str, parts: Sequence[str]) -> str | None:
    return quoted("/".join(("", "browse", task_id, *parts)))


def log_page(facts: TaskFacts, process: str, run: int) -> str | None:
    """The page that shows a run's logs, below its task's directory; None: there is no such run."""
    history = facts.state.processes.get(process)
    found = find_run(history, run) if history is not None else None
    if history is None or found is None:
        return None
    is_newest = found is history.last
    return layout.process_page(process) if is_newest else layout.log_page(process, found.number)
