"""``thermos page``: a task as pages that a browser shows, with no server."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from thermos.cli.find import Found, find_task
from thermos.cli.show import clean, print_json, tell
from thermos.cli.verb import Verb
from thermos.errors import ExitCode, ThermosError

if TYPE_CHECKING:
    from observer_static.facts import TaskFacts
    from observer_static.options import Options
    from observer_static.pages import File
    from thermos.host.usage import TaskUsage

#: Between the two measurements that a processor rate needs.
BETWEEN_S: Final = 0.5
#: To count the disk use of a sandbox; one that takes longer is unknown.
DISK_S: Final = 1.0


class FlagsWrong(ThermosError):
    """Flags were given that do not go together, or a value that is none."""

    exit_code = ExitCode.USAGE


def configure(parser: argparse.ArgumentParser) -> None:
    from observer_static.command.page_flags import add_page_flags

    parser.add_argument("task_id", help="the task's id, or the beginning of it if no other begins so")
    parser.add_argument(
        "--output",
        "-o",
        metavar="DIR",
        help="directory of the pages; what it holds of an earlier time is brought up to date; "
        "default: TASK_ID.pages in the current directory",
    )
    parser.add_argument(
        "--stdout",
        action="store_true",
        help="print the task's own page alone, without links to others, and write nothing",
    )
    add_page_flags(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object: what was written")


def execute(args: argparse.Namespace) -> int:
    """Write the pages and print where they begin."""
    from observer_static.collect import lone_page, task_pages
    from observer_static.facts import read_facts
    from observer_static.publish import publish
    from observer_static.render import Renderer

    _check(args)
    options = _options(args)
    found = find_task(args, args.task_id)
    facts = read_facts(found.root, found.task_id, found.is_active)
    renderer = Renderer()
    if args.stdout:
        sys.stdout.buffer.write(renderer.render(lone_page(facts, options, time.time(), _usage(facts))).content)
        sys.stdout.flush()
        return _code(facts)
    wanted = task_pages(facts, options, time.time(), _usage(facts))
    directory = os.path.abspath(args.output or _default_directory(found))
    paths: list[str] = []

    def files() -> Iterator[File]:
        for page in wanted:
            paths.append(page.path)
            yield renderer.render(page)

    published = publish(files(), directory)
    page = os.path.join(directory, paths[0])
    if args.json:
        from thermos.cli.answers import PageAnswer

        print_json(PageAnswer(found.root, found.task_id, page, paths, *published))
    else:
        print(page)
    return _code(facts)


def _check(args: argparse.Namespace) -> None:
    """Raises FlagsWrong."""
    from observer_static.command.page_flags import page_flags_fault

    fault = page_flags_fault(args)
    if fault is not None:
        raise FlagsWrong(fault)
    if args.stdout and args.json:
        raise FlagsWrong("--stdout prints a page, --json what was written: give one of them")
    if args.stdout and args.output is not None:
        raise FlagsWrong("--stdout writes nothing, --output says where to write: give one of them")


def _code(facts: TaskFacts) -> int:
    for finding in facts.findings:
        tell("page", clean(finding))
    return ExitCode.DAMAGED if facts.findings else ExitCode.OK


def _default_directory(found: Found) -> str:
    from observer_static.layout import segment

    return f"{segment(found.task_id)}.pages"


def _options(args: argparse.Namespace) -> Options:
    from observer_static.options import AgentLinks, Options, file_links
    from observer_static.secrets import DEFAULTS, Redactor
    from thermos import __version__

    agent = args.agent_url
    return Options(
        writer="thermos page",
        version=__version__,
        hostname=socket.gethostname(),
        redactor=Redactor((*DEFAULTS, *args.redact), off=args.no_redact),
        agent=agent,
        raw_links=AgentLinks(agent) if agent is not None else file_links,
    )


def _usage(facts: TaskFacts) -> TaskUsage | None:
    """What the task uses right now; it takes two measurements, and the count of its disk is done between them."""
    if not facts.is_active:
        return None
    from observer_static.disk import Walk
    from observer_static.walker import used
    from thermos.host.usage import Sampler

    sampler: Sampler[str] = Sampler()
    began_s = time.monotonic()
    sampler.sample({facts.task_id: facts.state})
    header = facts.state.header
    disk_bytes = None
    if header is not None and header.sandbox:
        disk_bytes, _ = used(header.sandbox, Walk().max_entries, began_s + DISK_S)
    time.sleep(max(began_s + BETWEEN_S - time.monotonic(), 0.0))
    usage = sampler.sample({facts.task_id: facts.state}).get(facts.task_id)
    return usage._replace(disk_bytes=disk_bytes) if usage is not None else None


VERB = Verb(
    "page",
    "write a task as pages for a browser",
    "Write what is known of a task as web pages, now: its state and why it is so, its processes, their runs and the "
    "end of their logs, its sandbox and its definition. Each page is one file that needs no server and no network; "
    "all of them together stay within 5 MB and a hundredth of the task's disk. Values that look like secrets are made "
    "unreadable in commands and definitions, not in logs. The path of the task's own page is printed. "
    "Finished tasks and damaged ones have pages too. What an active task uses is measured twice, half a second apart; "
    "its disk use is unknown where a second does not do to count it.",
    "thermos page TASK_ID\nthermos page --output /tmp/pages TASK_ID",
    (ExitCode.OK, ExitCode.NOT_FOUND, ExitCode.USAGE, ExitCode.DAMAGED, ExitCode.REFUSED, ExitCode.PERMISSION),
    configure,
    execute,
)
