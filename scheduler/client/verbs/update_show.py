"""``aurora update list`` and ``aurora update info``: which updates there are, and how one of them is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any, Final

from scheduler.client import finding, options, updates
from scheduler.client.exit_codes import ExitCode
from scheduler.client.keys import JobRef, Pattern
from scheduler.client.printing import clean, print_json
from scheduler.client.session import Session
from scheduler.client.update_waits import Wait, waits
from scheduler.client.updates import iso
from scheduler.client.verb import Verb
from scheduler.client.verbs.update_change import add_update_id
from thermos.formats import aurora_api as api
from thermos.formats.aurora_api import JobUpdateStatus

#: Heading and width of each column of ``update list``, as scripts cut it.
_COLUMNS: Final = (
    ("JOB", 47),
    ("UPDATE ID", 36),
    ("STATUS", 15),
    ("CREATED BY", 11),
    ("STARTED", 19),
    ("LAST MODIFIED", 19),
)


def configure_list(parser: argparse.ArgumentParser) -> None:
    options.add_pattern(parser)
    parser.add_argument(
        "--status",
        action="append",
        default=[],
        choices=tuple(updates.STATUS_GROUPS),
        metavar="STATUS",
        help="only updates in this state or group of states; repeatable; groups: active, inactive, all, blocked, "
        "failed, paused, succeeded",
    )
    parser.add_argument("--user", metavar="NAME", help="only updates that this user started")
    options.add_write_json(parser)
    options.add_hooks(parser)


def configure_info(parser: argparse.ArgumentParser) -> None:
    options.add_job(parser)
    add_update_id(parser)
    options.add_write_json(parser)
    options.add_hooks(parser)


def execute_list(args: argparse.Namespace, session: Session) -> int:
    """Print a line for each update."""
    wanted = frozenset[JobUpdateStatus]().union(*(updates.STATUS_GROUPS[name] for name in args.status))
    found = []
    for cluster in finding.clusters(args.pattern, session):
        query = _query(args.pattern, wanted, args.user)
        for summary in updates.summaries(session.scheduler(cluster), query):
            job = _job(cluster, summary)
            if args.pattern.matches(job):
                found.append((job, summary))
    if args.json:
        print_json({"updates": [_entry(*each) for each in found]})
    elif args.write_json:
        print(json.dumps([_entry(*each) for each in found], indent=2, separators=(",", ": ")))
    elif found:
        print("\n".join([_line(name for name, _ in _COLUMNS), *(_line(_cells(*each)) for each in found)]))
    return ExitCode.OK


def _query(pattern: Pattern, wanted: frozenset[JobUpdateStatus], user: str | None) -> api.JobUpdateQuery:
    """The narrowest question that the API has for *pattern*; what it lets through too much is left out later."""
    statuses = tuple(sorted(wanted)) or None
    if pattern.is_exact:
        return api.JobUpdateQuery(job_key=JobRef(*pattern).key, user=user, update_statuses=statuses)
    role = None if any(character in pattern.role for character in "*?[") else pattern.role
    return api.JobUpdateQuery(role=role, user=user, update_statuses=statuses)


def _job(cluster: str, summary: api.JobUpdateSummary) -> JobRef:
    key = summary.key.job if summary.key is not None else None
    if key is None:
        return JobRef(cluster, "", "", "")
    return JobRef(cluster, clean(key.role or ""), clean(key.environment or ""), clean(key.name or ""))


def _cells(job: JobRef, summary: api.JobUpdateSummary) -> tuple[str, ...]:
    entry = _entry(job, summary)
    return tuple(clean(entry[name]) for name in ("job", "id", "status", "user", "started", "last_modified"))


def _entry(job: JobRef, summary: api.JobUpdateSummary) -> dict[str, Any]:
    state = summary.state or api.JobUpdateState()
    return {
        "job": str(job),
        "id": summary.key.id if summary.key is not None else None,
        "user": summary.user,
        "started": iso(state.created_timestamp_ms),
        "last_modified": iso(state.last_modified_timestamp_ms),
        "status": str(state.status),
    }


def _line(cells: Iterator[str] | tuple[str, ...]) -> str:
    return " ".join(f"{cell:{width}}" for cell, (_, width) in zip(cells, _COLUMNS, strict=True))


def execute_info(args: argparse.Namespace, session: Session) -> int:
    """Print all about one update, and what it waits for."""
    job: JobRef = args.job
    scheduler = session.scheduler(job.cluster)
    key = api.JobUpdateKey(job.key, args.id) if args.id is not None else updates.active(scheduler, job)
    details = updates.details(scheduler, key)
    if args.write_json:
        print(json.dumps(_as_json(job, details), indent=2, separators=(",", ": ")))
        return ExitCode.OK
    found = waits(scheduler, job, details, session.world.wall_s())
    if args.json:
        told = [{"instances": list(wait.instances), "reason": wait.reason} for wait in found]
        print_json({**_as_json(job, details), "waits": told})
    else:
        print("\n".join(_lines(job, details, found)))
    return ExitCode.OK


def _as_json(job: JobRef, details: api.JobUpdateDetails) -> dict[str, Any]:
    summary, state = _summary(details)
    entry: dict[str, Any] = {
        "updateId": summary.key.id if summary.key is not None else None,
        "job": str(job),
        "started": state.created_timestamp_ms,
        "last_modified": iso(state.last_modified_timestamp_ms),
        "status": str(state.status),
        "update_events": [
            {
                "status": str(event.status),
                "timestampMs": event.timestamp_ms,
                **({"message": event.message} if event.message else {}),
            }
            for event in details.update_events or ()
        ],
        "instance_update_events": [
            {"instance": event.instance_id, "timestamp": event.timestamp_ms, "action": str(event.action)}
            for event in details.instance_events or ()
        ],
    }
    if summary.metadata:
        entry["metadata"] = [{"key": label.key, "value": label.value} for label in summary.metadata]
    return entry


def _summary(details: api.JobUpdateDetails) -> tuple[api.JobUpdateSummary, api.JobUpdateState]:
    summary = (details.update.summary if details.update is not None else None) or api.JobUpdateSummary()
    return summary, summary.state or api.JobUpdateState()


def _lines(job: JobRef, details: api.JobUpdateDetails, found: list[Wait]) -> Iterator[str]:
    summary, state = _summary(details)
    yield f"Job: {job}, UpdateID: {clean(summary.key.id if summary.key is not None else None)}"
    yield f"Started {iso(state.created_timestamp_ms)}, last activity: {iso(state.last_modified_timestamp_ms)}"
    yield f"Current status: {state.status}"
    if found:
        yield "Waits for:"
        yield from (f"  {wait}" for wait in found)
    if details.update_events:
        yield "Update events:"
        for event in details.update_events:
            yield f"  Status: {event.status} at {iso(event.timestamp_ms)}"
            if event.message:
                yield f"      message: {clean(event.message)}"
    if details.instance_events:
        yield "Instance events:"
        for happened in details.instance_events:
            why = f" ({clean(happened.message)})" if happened.message else ""
            yield f"  Instance {happened.instance_id} at {iso(happened.timestamp_ms)}: {happened.action}{why}"
    if summary.metadata:
        yield "Metadata:"
        yield from (f"  {clean(label.key)}: {clean(label.value)}" for label in summary.metadata)


_CODES = (
    ExitCode.OK,
    ExitCode.USAGE,
    ExitCode.INVALID_CONFIGURATION,
    ExitCode.INVALID_PARAMETER,
    ExitCode.TIMEOUT,
    ExitCode.API_ERROR,
    ExitCode.AUTH_ERROR,
    ExitCode.INTERRUPTED,
)

VERBS = {
    "update list": Verb(
        "update list",
        "list updates",
        "Print a line for each update of the jobs that match, times in UTC; nothing where there is none.",
        "aurora update list west/www-data --status active\n"
        "aurora update list west/www-data/prod/hello --status failed --status ABORTED --write-json\n"
        "aurora update list 'west/*/prod' --user jane",
        (*_CODES[:3], *_CODES[4:]),
        configure_list,
        execute_list,
        ("updates",),
    ),
    "update info": Verb(
        "update info",
        "show one update, and what it waits for",
        "Show how an update is, what it waits for at this moment, and all that has happened in it. Of a scheduler that "
        "does not tell what an update waits for, it is worked out from the instances that are under way.",
        "aurora update info west/www-data/prod/hello\n"
        "aurora update info west/www-data/prod/hello 5d1c7a52-0b1e-4c86-9a58-3f0c2b7e9d11 --json | jq .waits",
        _CODES,
        configure_info,
        execute_info,
        (
            "updateId",
            "job",
            "started",
            "last_modified",
            "status",
            "update_events",
            "instance_update_events",
            "metadata",
            "waits",
        ),
    ),
}
