"""``thermos tail``: what do the processes of a task write?"""

from __future__ import annotations

import argparse
import os
import time
from typing import Final

from thermos.cli.find import find_task
from thermos.cli.live import LiveTask, definition
from thermos.cli.logfiles import GrowingLog, log_dir, open_logs, open_pieces, runs_with_logs
from thermos.cli.printer import Printer
from thermos.cli.show import clean, tell
from thermos.cli.spans import span_s
from thermos.cli.verb import Verb
from thermos.core.explain import is_over_for_good
from thermos.errors import ExitCode, TaskNotFound
from thermos.formats.paths import RUNNER
from thermos.host.beneath import open_beneath
from thermos.host.inotify import CHANGES, IN_CLOSE_WRITE, POLL_S, Watcher
from thermos.schema import Task

DEFAULT_LINES: Final = 10
#: How long after a dead runner's files are closed its lock is surely gone.
LOCK_GONE_S: Final = 0.2


def _lines(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines, nor `all`")
    return int(text)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task_id", help="the task's id, or the beginning of it if no other begins so")
    parser.add_argument("process", nargs="*", help="whose output; default: the only process, or with -f all")
    parser.add_argument("--stderr", action="store_true", help="show stderr, not stdout")
    parser.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="go on with new runs until the processes will not run again; "
        "without it the output of a run that is under way is followed to that run's end",
    )
    parser.add_argument("--no-follow", action="store_true", help="show what is there and stop")
    parser.add_argument(
        "-n",
        "--lines",
        type=_lines,
        default=argparse.SUPPRESS,
        metavar="LINES",
        help=f"lines to show of what is there; `all`: everything, rotated files included; default: {DEFAULT_LINES}",
    )
    parser.add_argument(
        "--since",
        type=span_s,
        metavar="SPAN",
        help="show all runs and files written to in the last SPAN (like 10m or 2h30m), whole unless -n says "
        "otherwise: lines bear no time of their own",
    )
    parser.add_argument("--raw", action="store_true", help="show bytes as they are, control sequences included")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each line")


class Source:
    """One stream of one process: the run that is shown now, and what was shown of it."""

    def __init__(self, logs_fd: int, process: str, stream: str) -> None:
        self.process = process
        self.run = -1
        self.log: GrowingLog | None = None
        self.dir_fd = -1
        self._logs_fd = logs_fd
        self._stream = stream

    def open_run(self, number: int) -> bool:
        """Turn to run *number*; False: it has no log directory (yet)."""
        try:
            fd = open_beneath(self._logs_fd, f"{self.process}/{number}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError):
            return False
        self.close()
        self.run, self.dir_fd, self.log = number, fd, GrowingLog(fd, self._stream)
        return True

    def show_start(self, printer: Printer, count: int | None) -> None:
        """Show the last *count* lines of what is there."""
        if self.log is not None:
            for block in self.log.start(count):
                printer.feed(self.process, self.run, block)

    def show_more(self, printer: Printer) -> None:
        """Show what was added."""
        if self.log is None:
            return
        for block in self.log.more():
            printer.feed(self.process, self.run, block)
        if self.log.has_gap:
            self.log.has_gap = False
            tell("tail", f"{clean(self.process)}: files were rotated away before they could be shown")

    def written_since(self, cutoff_s: float) -> bool:
        """Whether a file of this run was written to since."""
        pieces = open_pieces(self.dir_fd, self._stream)
        newest = max((piece.mtime_s for piece in pieces), default=0.0)
        for piece in pieces:
            piece.close()
        return newest >= cutoff_s

    def close(self) -> None:
        """Give the descriptors back."""
        if self.log is not None:
            self.log.close()
            self.log = None
        if self.dir_fd >= 0:
            os.close(self.dir_fd)
            self.dir_fd = -1


def choose(live: LiveTask, task: Task | None, wanted: list[str], is_following: bool) -> list[str]:
    """The processes that are meant. Raises TaskNotFound."""
    started = list(live.state.processes)
    defined = [process.name for process in task.processes] if task is not None else []
    known = list(dict.fromkeys([*defined, *started]))
    if not known:
        raise TaskNotFound(f"task {live.task_id} has no processes yet")
    if not wanted:
        if is_following:
            return known
        if len(started) == 1:
            return started
        raise TaskNotFound(f"task {live.task_id} has several processes: name one of {', '.join(known)}, or use -f")
    chosen = []
    for name in wanted:
        found = [name] if name in known else [other for other in known if other.startswith(name)]
        if len(found) != 1:
            which = "several processes match" if found else "no process is called"
            raise TaskNotFound(f"task {live.task_id}: {which} {name!r}; it has {', '.join(known)}")
        chosen += found
    return list(dict.fromkeys(chosen))


def execute(args: argparse.Namespace) -> int:
    """Print what is there, then what comes, until it ends."""
    found = find_task(args, args.task_id)
    live = LiveTask(found.root, found.task_id)
    logs_fd = -1
    sources: list[Source] = []
    try:
        live.refresh()
        directory = log_dir(live.state.header)
        if directory is None:
            raise TaskNotFound(live.trouble or f"{live.path} does not say yet where the logs of {live.task_id} lie")
        task, _ = definition(found.root, found.task_id)
        names = choose(live, task, args.process, args.follow)
        try:
            logs_fd = open_logs(directory)
        except (OSError, ValueError) as error:
            detail = getattr(error, "strerror", None) or str(error)
            raise TaskNotFound(f"the logs of {live.task_id} in {directory}: {detail}") from None
        stream = "stderr" if args.stderr else "stdout"
        sources = [Source(logs_fd, name, stream) for name in names]
        printer = Printer(found.task_id, names, stream, args.raw, args.json)
        with Watcher() as watcher:
            follower = Follower(args, live, task, sources, printer, watcher, logs_fd)
            follower.show_start()
            if not args.no_follow:
                follower.follow()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED if not sources else ExitCode.OK
    finally:
        for source in sources:
            source.close()
        if logs_fd >= 0:
            os.close(logs_fd)
        live.close()
    return ExitCode.OK


class Follower:
    """Shows several sources, first what is there, then what comes."""

    def __init__(
        self,
        args: argparse.Namespace,
        live: LiveTask,
        task: Task | None,
        sources: list[Source],
        printer: Printer,
        watcher: Watcher,
        logs_fd: int,
    ) -> None:
        self._all_runs: bool = args.follow
        self._since_s: float | None = args.since
        self._count: int | None = getattr(args, "lines", None if args.since is not None else DEFAULT_LINES)
        self._live = live
        self._task = task
        self._open = list(sources)
        self._sources = sources
        self._printer = printer
        self._watcher = watcher
        self._logs_fd = logs_fd
        self._by_watch: dict[int, Source] = {}
        self._look_again_s: float | None = None
        self._told = False

    def show_start(self) -> None:
        """Show what is there, of the newest run or of all that ``--since`` means."""
        self._watcher.watch(os.path.dirname(self._live.path), CHANGES | IN_CLOSE_WRITE)
        for source in self._sources:
            numbers = runs_with_logs(self._logs_fd, source.process)
            if self._since_s is None:
                numbers = numbers[-1:]
            for number in numbers:
                is_newest = number == numbers[-1]
                if not source.open_run(number):
                    continue
                if is_newest:
                    self._watch(source)
                if self._since_s is not None and not source.written_since(time.time() - self._since_s):
                    continue
                source.show_start(self._printer, self._count)
                if not is_newest:
                    self._printer.end_run(source.process, number)
            if not numbers and not self._all_runs and self._is_done(source):
                tell("tail", f"{clean(source.process)} has no log files: it was not run, or writes elsewhere")
        self._printer.flush()

    def _is_done(self, source: Source) -> bool:
        """Whether nothing more comes from the run that is shown, nor with ``-f`` from a later one."""
        live = self._live
        if live.is_over or live.trouble is not None:
            return True
        history = live.state.processes.get(source.process)
        if not self._all_runs:
            if history is None:
                return True
            return live.run_is_over(source.process, source.run if source.run >= 0 else history.last.number)
        if is_over_for_good(self._task, live.state, source.process):
            return True
        if live.runner_lives() is not False:
            return False
        return history is None or live.run_is_over(source.process, history.last.number)

    def _turn_to_newest(self, source: Source) -> None:
        """Go on with a later run, once the one that is shown is over."""
        history = self._live.state.processes.get(source.process)
        if history is None or history.last.number <= source.run:
            return
        if source.run >= 0 and not self._all_runs:
            return
        for number in range(source.run + 1, history.last.number + 1):
            before = source.run
            if before >= 0:
                source.show_more(self._printer)
            if source.open_run(number):
                if before >= 0:
                    self._printer.end_run(source.process, before)
                self._watch(source)
                source.show_start(self._printer, None)

    def follow(self) -> None:
        """Show what comes until every source is done."""
        changed: set[Source | None] = set()
        moved = True
        while True:
            self._tell_fallback()
            moved = self._live.refresh() or moved
            for source in list(self._open):
                is_done = moved and self._is_done(source)  # asked before the last look: nothing is missed
                if moved:
                    self._turn_to_newest(source)
                if moved or source in changed:
                    source.show_more(self._printer)
                if is_done:
                    self._open.remove(source)
                    if source.run >= 0:
                        self._printer.end_run(source.process, source.run)
            self._printer.flush()
            if not self._open:
                break
            events = self._watcher.wait(self._look_again_s)
            changed = {self._by_watch.get(event.watch) for event in events}
            ours = [event for event in events if event.watch not in self._by_watch]
            moved = bool(ours) or not events
            # The lock of a runner that died goes a moment after the change that tells of it.
            closed = any(event.name == RUNNER and event.mask & IN_CLOSE_WRITE for event in ours)
            self._look_again_s = LOCK_GONE_S if closed else None
        if self._live.trouble is not None:
            tell("tail", clean(self._live.trouble))
        elif self._all_runs and not self._live.is_over and self._live.runner_lives() is False:
            tell("tail", f"the runner of {clean(self._live.task_id)} is dead; `thermos why` tells more")

    def _tell_fallback(self) -> None:
        if self._watcher.fallback is not None and not self._told:
            self._told = True
            tell("tail", f"{self._watcher.fallback}: looking every {POLL_S:g} s")

    def _watch(self, source: Source) -> None:
        watch = self._watcher.watch(source.dir_fd)
        if watch is not None:
            self._by_watch[watch] = source


VERB = Verb(
    "tail",
    "show what processes write, also while they run",
    "Show the end of what a process wrote in its newest run. While that run is under way, new output is "
    "shown until the run ends; with -f also that of later runs, and of all processes if none is named, each "
    "line with its process in front. Control characters are removed unless --raw is given: a log must not "
    "command the terminal.",
    "thermos tail TASK_ID\n"
    "thermos tail -n 100 --stderr TASK_ID web\n"
    "thermos tail -f TASK_ID\n"
    "thermos tail --since 10m --no-follow TASK_ID web",
    (ExitCode.OK, ExitCode.NOT_FOUND, ExitCode.USAGE, ExitCode.INTERRUPTED),
    configure,
    execute,
)
