"""``thermos why``: what is this task doing, or why did it end?"""

from __future__ import annotations

import argparse
import os
import time

from detectors.roots import default_root
from thermos.checkpoints import TaskCheckpoint, is_owned
from thermos.cli.find import Found, find_task
from thermos.cli.live import definition
from thermos.cli.show import clean, coloured, has_colour, print_json, tell
from thermos.cli.status import read
from thermos.cli.terminal import clean_bytes, clean_text
from thermos.cli.verb import Verb
from thermos.core.explain import Explanation, ProcessView, Stage, explain
from thermos.errors import ExitCode
from thermos.formats import paths
from thermos.records import RunnerHeader
from thermos.states import ProcessState
from thermos.words import Clock, how_it_ended, process_words, runner_words, task_words, usage

#: Processes told one by one; the rest is counted.
_MOST_PROCESSES = 12
#: Lines of stderr shown of each that failed.
_MOST_LINES = 6
_MOST_NOTES = 5


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task_id", help="the task's id, or the beginning of it if no other begins so")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(args: argparse.Namespace) -> int:
    """Explain the task."""
    found = find_task(args, args.task_id)
    checkpoint = read(found)
    task, trouble = definition(found.root, found.task_id)
    explanation = explain(checkpoint.state, task)
    lives = is_owned(paths.runner_checkpoint(found.root, found.task_id)) if found.is_active else False
    answer = _Answer(found, checkpoint, explanation, lives, trouble)
    if args.json:
        answer.print_json()
    else:
        for line in answer.lines():
            print(line)
        for finding in checkpoint.findings:
            tell("why", clean(finding))
    return ExitCode.DAMAGED if checkpoint.findings else ExitCode.OK


class _Answer:
    """What is known of one task, in words or as JSON."""

    def __init__(
        self,
        found: Found,
        checkpoint: TaskCheckpoint,
        explanation: Explanation,
        lives: bool | None,
        trouble: str | None,
    ) -> None:
        self._task_id = found.task_id
        self._root = found.root
        self._is_active = found.is_active
        self._header = checkpoint.state.header
        self._statuses = checkpoint.state.statuses
        self._why = explanation
        self._lives = lives
        self._trouble = trouble
        self._findings = checkpoint.findings
        self._clock = Clock(time.time())
        self._colour = has_colour()

    # -- words -------------------------------------------------------------------------------------------------

    def lines(self) -> list[str]:
        """The answer, most important first."""
        lines = [self._first_line()]
        told = self._told()
        for view in told:
            lines += self._process(view)
        lines += self._rest({view.name for view in told})
        if self._trouble is not None:
            lines.append(f"What waits for what cannot be told: {clean(self._trouble)}.")
        for note in self._why.notes[-_MOST_NOTES:]:
            who = f"{clean(note.process)}: " if note.process is not None else ""
            lines.append(f"Note, {self._clock.ago(note.timestamp_ms / 1000)}: {who}{clean(note.text)}")
        lines += self._advice()
        return lines

    def _first_line(self) -> str:
        why = self._why
        name = clean(self._task_id)
        launched_at_s = self._header.launch_time_ms / 1000 if self._header is not None else None
        words = clean(task_words(why, launched_at_s, self._clock))
        if why.state is None:
            return f"{name}: {words}"
        words = words.replace(why.state.name, coloured(why.state.name, why.state, self._colour), 1)
        if why.state.is_terminal:
            return f"{name} {words}"
        pid = self._statuses[-1].runner_pid if self._statuses else None
        return f"{name} {words} {runner_words(pid, self._lives)}"

    def _told(self) -> list[ProcessView]:
        """The processes worth a line each: who ended it first, then who moves, then who waits."""
        order = [
            Stage.FAILED,
            Stage.STOPPING,
            Stage.THROTTLED,
            Stage.RUNNING,
            Stage.STARTING,
            Stage.BLOCKED,
            Stage.QUEUED,
        ]
        is_over = self._why.state is not None and self._why.state.is_terminal
        culprits = {name: place for place, name in enumerate(self._why.culprits)}
        views = [
            view
            for view in self._why.processes
            if view.name in culprits
            or view.stage in order
            or (view.stage is Stage.ENDED and is_over)
            or (view.stage is Stage.NOT_RUN and view.waits_for)
        ]
        views.sort(
            key=lambda view: (
                culprits.get(view.name, len(culprits)),
                order.index(view.stage) if view.stage in order else len(order),
            )
        )
        return views[:_MOST_PROCESSES]

    def _process(self, view: ProcessView) -> list[str]:
        state = coloured(clean(process_words(view, self._clock)), view.state, self._colour)
        lines = [f"  {clean(view.name)} {state}"]
        used = usage(view.certificate)
        if view.ending is not None and used:
            lines.append(f"      {clean(used)}")
        if view.state is ProcessState.FAILED or view.stage is Stage.FAILED:
            lines += [f"      | {line}" for line in self._stderr(view)]
        return lines

    def _rest(self, told: set[str]) -> list[str]:
        """Everything else, counted."""
        counts: dict[str, int] = {}
        for view in self._why.processes:
            if view.name not in told:
                counts[view.stage.value] = counts.get(view.stage.value, 0) + 1
        if not counts:
            return []
        return ["  other processes: " + ", ".join(f"{count} {name}" for name, count in counts.items())]

    def _stderr(self, view: ProcessView) -> list[str]:
        """The last lines that it wrote, from its certificate or else from its log."""
        certificate = view.certificate
        if certificate is not None and certificate.stderr_tail is not None:
            text = clean_text(certificate.stderr_tail)
        else:
            text = _log_tail(self._header, view)
        lines = [line for line in text.split("\n") if line.strip()]
        return lines[-_MOST_LINES:]

    def _advice(self) -> list[str]:
        where = "" if self._root == default_root() else f"--root {clean(self._root)} "
        name = clean(self._task_id)
        if self._is_active and self._lives is False and self._why.state is not None:
            if self._why.state.is_terminal:
                return []
            return [
                f"`thermos {where}kill --exact {name}` ends what is left of it; starting it again with the same "
                "--task_id goes on with it."
            ]
        if self._why.culprits:
            return [f"`thermos {where}tail --stderr {name} {clean(self._why.culprits[0])}` shows more."]
        return []

    # -- JSON --------------------------------------------------------------------------------------------------

    def print_json(self) -> None:
        """The same facts, and the phrases for how runs ended."""
        from thermos.cli.answers import WhyAnswer, finding_answers

        endings = {
            view.name: how_it_ended(view.ending, view.state, view.reason)
            for view in self._why.processes
            if view.ending is not None and view.state is not None
        }
        print_json(
            WhyAnswer(
                task_id=self._task_id,
                root=self._root,
                is_active=self._is_active,
                runner_lives=self._lives,
                runner_pid=self._statuses[-1].runner_pid if self._statuses else None,
                explanation=self._why,
                endings=endings,
                definition_trouble=self._trouble,
                findings=finding_answers(self._findings),
            )
        )


def _log_tail(header: RunnerHeader | None, view: ProcessView) -> str:
    from thermos.cli.logfiles import close_all, find_start, log_dir, open_logs, open_pieces
    from thermos.host.beneath import open_beneath

    directory = log_dir(header)
    if directory is None or view.run is None:
        return ""
    try:
        logs_fd = open_logs(directory)
    except (OSError, ValueError):
        return ""
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        run_fd = open_beneath(logs_fd, f"{view.name}/{view.run}", flags)
    except (OSError, ValueError):
        return ""
    finally:
        os.close(logs_fd)
    pieces = open_pieces(run_fd, "stderr")
    os.close(run_fd)
    try:
        first, offset = find_start(pieces, _MOST_LINES)
        data = b"".join(pieces[-1].read(offset)) if pieces and first == len(pieces) - 1 else b""
    finally:
        close_all(pieces)
    return clean_bytes(data[-2048:])


VERB = Verb(
    "why",
    "explain what a task does, or why it ended",
    "Explain in a few lines what a task is doing or why it ended: which process ended how and what that "
    "usually means, what it last wrote to stderr, which process waits for which, when one that failed is "
    "tried again, and whether the task's runner lives.",
    "thermos why TASK_ID\nthermos why --json TASK_ID | jq .explanation.culprits",
    (ExitCode.OK, ExitCode.NOT_FOUND, ExitCode.USAGE, ExitCode.DAMAGED),
    configure,
    execute,
)
