"""``thermos gc``: delete what finished tasks left behind."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from typing import Final

from thermos.cli.erase import Sizes, What, erase, measure
from thermos.cli.find import Found, Patterns, find_tasks, places
from thermos.cli.show import clean, duration, print_json, size, table, tell
from thermos.cli.spans import span_s
from thermos.cli.verb import Verb
from thermos.core.garbage import Candidate, Limits, choose
from thermos.errors import ExitCode
from thermos.formats import paths

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def space_bytes(text: str) -> int:
    """Bytes in ``20G`` and the like; units are binary. Raises argparse.ArgumentTypeError."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of space: write 500M or 20G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tasks")
    return int(text)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("patterns", metavar="regexp", nargs="*", help="only tasks whose id matches, from its first character on")
    add("--exact", action="store_true", help="take the arguments as whole task ids")
    add("--max_age", "--max-age", type=span_s, metavar="SPAN", help="delete what ended longer ago, like 2d5h")
    add("--max_tasks", "--max-tasks", type=_count, metavar="N", help="keep the N that ended last")
    add(
        "--max_space",
        "--max-space",
        type=space_bytes,
        metavar="SIZE",
        help="keep those that ended last and together take no more than SIZE, like 20G",
    )
    for name, default, meaning in (
        ("data", "delete", "sandboxes, without logs"),
        ("logs", "delete", "logs"),
        ("metadata", "keep", "checkpoints: with them the task is gone from every list"),
    ):
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            f"--keep-{name}",
            dest=name,
            action="store_false",
            default=default == "delete",
            help=f"keep {meaning}" + (" (default)" if default == "keep" else ""),
        )
        group.add_argument(
            f"--delete-{name}",
            dest=name,
            action="store_true",
            default=default == "delete",
            help=f"delete {meaning}" + (" (default)" if default == "delete" else ""),
        )
    add("--force", action="store_true", help="do not ask")
    add("--dry-run", "--dryrun", dest="dry_run", action="store_true", help="only show what would be deleted")
    add("--json", action="store_true", help="print one JSON object; needs --force or --dry-run")


def execute(args: argparse.Namespace) -> int:
    """Delete what the limits, or the patterns alone, say."""
    if args.json and not (args.force or args.dry_run):
        tell("gc", "--json cannot ask: give --force or --dry-run with it")
        return ExitCode.USAGE
    limits = Limits(args.max_age, args.max_tasks, args.max_space)
    has_limits = any(limit is not None for limit in limits)
    if not has_limits and not args.patterns:
        tell("gc", "nothing was deleted: give limits (--max_age, --max_tasks, --max_space) or patterns")
        return ExitCode.OK
    what = What(args.data, args.logs, args.metadata)
    tasks = [task for task in find_tasks(args, Patterns(args.patterns, args.exact)) if not task.is_active]
    now_s = time.time()
    victims: list[_Victim] = []
    measured = {(task.root, task.task_id): _Victim(task, what, _age_s(task, now_s)) for task in tasks}
    if has_limits:
        candidates = [
            Candidate(root, task_id, victim.age_s, victim.size_bytes) for (root, task_id), victim in measured.items()
        ]
        for task, limit in choose(candidates, limits):
            victim = measured[task.root, task.task_id]
            victim.limit = limit
            victims.append(victim)
    else:
        victims = list(measured.values())
    victims = [victim for victim in victims if victim.has_something]
    if not victims and not args.json:
        tell("gc", f"there is nothing to delete under {places(args)}")
        return ExitCode.OK
    if not args.json:
        print(_table(victims))
    if args.dry_run:
        return _finish(args, victims)
    if not args.force and not _may(victims):
        tell("gc", "nothing was deleted")
        return ExitCode.OK
    for victim in victims:
        victim.kept = erase(victim.task, what)
        victim.is_done = not victim.kept
    return _finish(args, victims)


class _Victim:
    """A task that goes, and what became of it."""

    def __init__(self, task: Found, what: What, age_s: float) -> None:
        self.task = task
        self.age_s = age_s
        self.limit: str | None = None
        self.sizes, self.reason_to_keep = measure(task)
        self.size_bytes = sum(part for part, wanted in zip(self.sizes, what, strict=True) if wanted)
        self.has_something = self.size_bytes > 0 or (self.reason_to_keep is not None and (what.data or what.logs))
        self.has_something = self.has_something or what.metadata
        self.kept: list[str] = [] if self.reason_to_keep is None else [self.reason_to_keep]
        self.is_done = False


def _age_s(task: Found, now_s: float) -> float:
    """Since its last transition, which is what the time of its stream means."""
    for path in (
        paths.runner_checkpoint(task.root, task.task_id),
        paths.task_path(task.root, task.task_id, paths.FINISHED),
    ):
        try:
            return max(now_s - os.lstat(path).st_mtime, 0.0)
        except OSError:
            continue
    return 0.0


def _table(victims: list[_Victim]) -> str:
    rows = []
    for victim in victims:
        sizes: Sizes = victim.sizes
        rows.append((
            clean(victim.task.task_id),
            duration(victim.age_s),
            size(sizes.data),
            size(sizes.logs),
            size(sizes.metadata),
            f"kept: {clean(victim.reason_to_keep)}" if victim.reason_to_keep else "",
        ))  # fmt: skip
    return table(("TASK", "ENDED AGO", "DATA", "LOGS", "METADATA", ""), rows)


def _may(victims: list[_Victim]) -> bool:
    total = sum(victim.size_bytes for victim in victims)
    print(f"Delete from {len(victims)} tasks, {size(total)} in all? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _finish(args: argparse.Namespace, victims: list[_Victim]) -> int:
    freed = sum(victim.size_bytes for victim in victims if victim.is_done or (args.dry_run and not victim.kept))
    if args.json:
        from thermos.cli.answers import GcAnswer, GcTaskAnswer

        print_json(
            GcAnswer(
                dry_run=args.dry_run,
                freed_bytes=freed,
                tasks=[
                    GcTaskAnswer(
                        root=victim.task.root,
                        task_id=victim.task.task_id,
                        age_s=victim.age_s,
                        limit=victim.limit,
                        data_bytes=victim.sizes.data,
                        log_bytes=victim.sizes.logs,
                        metadata_bytes=victim.sizes.metadata,
                        is_deleted=victim.is_done,
                        kept=victim.kept,
                    )
                    for victim in victims
                ],
            )
        )
        return ExitCode.OK
    if not args.dry_run:
        for victim in victims:
            for reason in victim.kept:
                tell("gc", f"{clean(victim.task.task_id)}: kept: {clean(reason)}")
    word = "would be freed" if args.dry_run else "freed"
    print(f"{size(freed)} {word}")
    return ExitCode.OK


VERB = Verb(
    "gc",
    "delete what finished tasks left behind",
    "Delete sandboxes, logs and, if asked, checkpoints of finished tasks: those beyond the limits, the oldest "
    "first, or with patterns and no limits all that match. A sandbox goes only if the runner made it for that "
    "very task; whatever is kept is named with the reason. Asks before it deletes.",
    "thermos gc --max_age 7d --max_space 20G --force\n"
    "thermos gc --dry-run --delete-metadata --max_tasks 100\n"
    "thermos gc --exact TASK_ID",
    (ExitCode.OK, ExitCode.USAGE),
    configure,
    execute,
)
