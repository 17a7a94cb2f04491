"""Prints what several processes write at once, line by line."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from thermos.cli.show import JSON_SCHEMA, clean
from thermos.cli.terminal import Cleaner


class Printer:
    """Prints what processes wrote: cleaned unless raw, with their names in front if there are several."""

    def __init__(self, task_id: str, names: Sequence[str], stream: str, raw: bool, as_json: bool) -> None:
        self._json = as_json
        self._raw = raw
        self._stream = stream
        self._task_id = task_id
        width = max(len(clean(name)) for name in names)
        self._prefix = {name: f"{clean(name):<{width}} | " if len(names) > 1 else "" for name in names}
        self._cleaners = {name: Cleaner() for name in names}
        self._partial = dict.fromkeys(names, "")
        self._raw_partial = dict.fromkeys(names, b"")
        self._at_line_end = True
        self._last_run = -1

    def feed(self, process: str, run: int, data: bytes) -> None:
        """Show *data*, which *process* wrote."""
        if not self._at_line_end and run != self._last_run:
            sys.stdout.write("\n")  # the run before ended within a line
            sys.stdout.flush()
        self._last_run = run
        self._at_line_end = self._json or bool(self._prefix[process]) or data.endswith(b"\n")
        if self._raw and not self._json:
            self._feed_raw(process, data)
            return
        self._put(process, run, self._cleaners[process].feed(data))

    def _feed_raw(self, process: str, data: bytes) -> None:
        if not self._prefix[process]:
            sys.stdout.buffer.write(data)
            return
        *lines, rest = (self._raw_partial[process] + data).split(b"\n")
        prefix = self._prefix[process].encode("utf-8", "backslashreplace")
        for line in lines:
            sys.stdout.buffer.write(prefix + line + b"\n")
        self._raw_partial[process] = rest

    def _put(self, process: str, run: int, text: str) -> None:
        if not self._json and not self._prefix[process]:
            sys.stdout.write(text)
            return
        *lines, rest = (self._partial[process] + text).split("\n")
        for line in lines:
            self._line(process, run, line)
        self._partial[process] = rest

    def _line(self, process: str, run: int, line: str) -> None:
        if self._json:
            answer = {
                "schema": JSON_SCHEMA,
                "task_id": self._task_id,
                "process": process,
                "run": run,
                "stream": self._stream,
                "line": line,
            }
            print(json.dumps(answer))
        else:
            print(self._prefix[process] + line)

    def end_run(self, process: str, run: int) -> None:
        """That run's output is complete: show a last line that has no end."""
        self._put(process, run, self._cleaners[process].feed(b"", final=True))
        self._cleaners[process] = Cleaner()
        if self._partial[process]:
            self._line(process, run, self._partial[process])
            self._partial[process] = ""
        if self._raw_partial[process]:
            self._feed_raw(process, b"\n")

    def flush(self) -> None:
        """Let the reader see it now."""
        sys.stdout.flush()
