"""The end of a log, read with one seek, and the files that were put aside before it.

Where logs lie, and what a process is called, are claims of a checkpoint; what lies there is its user's. See
:mod:`observer_static.reach` for what is opened. Nothing here raises for what is on disk: what is odd is a note.
"""

from __future__ import annotations

import errno
import os
import re
from types import TracebackType
from typing import Final, NamedTuple

from observer_static import logtext
from observer_static.facts import TaskFacts
from observer_static.options import AgentLinks, Options
from observer_static.parts import Follow, Link, Log
from observer_static.reach import Claim, NotShown, Place, below, check_name, open_place, parts_of
from thermos.formats import paths
from thermos.records import RunnerHeader

#: What is inline on a page, at most.
LOG_BYTES: Final = 256 << 10
#: Names that are looked at in the directory of a run, for rotated files.
MAX_NAMES: Final = 10_000
#: Rotated files that are told of.
MAX_ROTATED: Final = 100
#: A file that shrinks while it is read is read again so often.
_TRIES: Final = 3


class LogTail(NamedTuple):
    """The end of one stream of a run."""

    #: Size of the file; None: it is not there, or not shown.
    size_bytes: int | None = None
    #: Where *data* begins.
    from_byte: int = 0
    data: bytes = b""
    #: Names of the files put aside before it, newest first.
    rotated: tuple[str, ...] = ()
    #: What is odd; None: nothing.
    note: str | None = None
    #: Directory of the run's logs, by name; None: it has no usable name.
    directory: str | None = None
    #: The same as seen from the sandbox; None: it lies elsewhere.
    in_sandbox: str | None = None


#: A file that was put aside: of which stream, its number, whether it is compressed.
_ROTATED: Final = re.compile(r"(.+)\.([1-9][0-9]{0,8})(\.gz)?", re.DOTALL)


class Names(NamedTuple):
    """What is in a run's directory of logs."""

    #: (name, stream, number, whether it is compressed) of each file that was put aside.
    rotated: tuple[tuple[str, str, int, bool], ...]
    #: What is odd; None: nothing.
    note: str | None


class LogDir:
    """A task's directory of logs, held open."""

    def __init__(self, place: Place | None, directory: str, in_sandbox: str | None, trouble: str | None = None) -> None:
        #: None: it cannot be opened, and ``trouble`` says why.
        self.place = place
        #: By name.
        self.directory = directory
        #: The same as seen from the sandbox; None: it lies elsewhere.
        self.in_sandbox = in_sandbox
        self.trouble = trouble
        # Both streams of a run are read one after the other.
        self._run: tuple[tuple[str, int], int, Names] | None = None

    def run_dir(self, process: str, run: int) -> tuple[int, Names]:
        """A descriptor of the directory of that run, and what is in it; both are good until the next call.

        Raises NotShown.
        """
        key = (process, run)
        if self._run is None or self._run[0] != key:
            self._leave_run()
            if self.place is None:
                raise NotShown("not there")
            fd = self.place.open_dir((process, str(run)))
            self._run = (key, fd, _names(fd))
        return self._run[1:]

    def _leave_run(self) -> None:
        if self._run is not None:
            os.close(self._run[1])
            self._run = None

    def __enter__(self) -> LogDir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptors back."""
        self._leave_run()
        if self.place is not None:
            self.place.close()


def open_logs(header: RunnerHeader | None, claim: Claim) -> LogDir | None:
    """Where a task's logs lie; None: its header does not say. The caller closes it.

    *claim*: who says so, see :func:`observer_static.reach.claim_of`.
    """
    if header is None:
        return None
    sandbox = header.sandbox
    directory = header.log_dir or (paths.default_log_dir(sandbox) if sandbox else None)
    if not directory:
        return None
    relative = below(directory, sandbox) if sandbox else None
    try:
        if sandbox and relative is not None:
            with open_place(sandbox, claim) as outer:
                return LogDir(Place(outer.open_dir(parts_of(relative)), outer.uid), directory, relative)
        return LogDir(open_place(directory, claim, _owner(sandbox)), directory, None)
    except NotShown as error:
        trouble = "is not there" if error.is_gone else f"cannot be shown: it is {error}"
        return LogDir(None, directory, relative, f"the directory of logs {trouble}")


def _owner(sandbox: str | None) -> int | None:
    try:
        return os.stat(sandbox, follow_symlinks=False).st_uid if sandbox else None
    except (OSError, ValueError):
        return None


def read_log(logs: LogDir | None, process: str, run: int, stream: str, log_bytes: int = LOG_BYTES) -> LogTail:
    """The last *log_bytes* of *stream* of that run, from the start of a line where one is near."""
    if logs is None:
        return LogTail(note="the checkpoint does not say where logs lie")
    if run < 0:
        return LogTail(note="there is no run of that number")
    try:
        name = f"{check_name(process)}/{run:d}"
    except NotShown:
        return LogTail(note="the process has a name that no file can have")
    tail = _read(logs, logs.place, process, run, stream, log_bytes)
    return tail._replace(
        directory=f"{logs.directory.rstrip('/')}/{name}",
        in_sandbox=f"{logs.in_sandbox}/{name}" if logs.in_sandbox is not None else None,
    )


def _read(logs: LogDir, place: Place | None, process: str, run: int, stream: str, log_bytes: int) -> LogTail:
    if place is None:
        return LogTail(note=logs.trouble)
    try:
        dir_fd, names = logs.run_dir(process, run)
    except NotShown as error:
        if error.is_gone:
            return LogTail(note="there are no log files of this run")
        return LogTail(note=f"the run's directory of logs cannot be shown: it is {error}")
    rotated, left_out = _rotated(names, stream)
    return _read_in(place, dir_fd, stream, log_bytes, rotated, left_out)


def _read_in(
    place: Place, dir_fd: int, stream: str, log_bytes: int, rotated: tuple[str, ...], left_out: str | None
) -> LogTail:
    try:
        fd = place.open_in(dir_fd, stream)
    except NotShown as error:
        why = "the file is not there" if error.is_gone else f"not shown: it is {error}"
        return LogTail(rotated=rotated, note=_joined(why, left_out))
    try:
        size, start, data, note = _read_end(fd, max(log_bytes, 0))
    except OSError as error:
        return LogTail(rotated=rotated, note=_joined(f"not readable: {error.strerror}", left_out))
    finally:
        os.close(fd)
    if log_bytes <= 0 and size:
        note = "left out to save space"
    return LogTail(size, start, data, rotated, _joined(note, left_out))


def _joined(*notes: str | None) -> str | None:
    return "; ".join(note for note in notes if note) or None


def _read_end(fd: int, log_bytes: int) -> tuple[int, int, bytes, str | None]:
    """(size, where the data begins, the data, what is odd)."""
    note = None
    for _ in range(_TRIES):
        size = os.fstat(fd).st_size
        start = max(size - log_bytes, 0)
        data = os.pread(fd, size - start, start) if size > start else b""
        if len(data) == size - start:
            break
        note = "it was cut short while it was read"
        size = start + len(data)
    if start and data:
        skipped = logtext.start_of_tail(data)
        start, data = start + skipped, data[skipped:]
    return size, start, data[: logtext.whole_characters(data)], note


def _names(dir_fd: int) -> Names:
    found: list[tuple[str, str, int, bool]] = []
    note = None
    try:
        with os.scandir(dir_fd) as entries:
            for count, entry in enumerate(entries):
                if count >= MAX_NAMES:
                    note = "its directory holds too many files to look at all"
                    break
                match = _ROTATED.fullmatch(entry.name)
                if match and entry.is_file(follow_symlinks=False):
                    found.append((entry.name, match[1], int(match[2]), match[3] is not None))
    except OSError as error:
        if error.errno != errno.ENOENT:  # removed while we looked: it holds nothing
            note = f"its directory is not readable: {error.strerror}"
    return Names(tuple(found), note)


def _rotated(found: Names, stream: str) -> tuple[tuple[str, ...], str | None]:
    """(names of the files put aside, newest first; a note if not all were looked at)."""
    numbered: dict[int, str] = {}
    note = found.note
    for name, of, number, is_compressed in found.rotated:
        # While it is compressed, both are there.
        if of == stream and (not is_compressed or number not in numbered):
            numbered[number] = name
    names = [name for _, name in sorted(numbered.items())]
    if len(names) > MAX_ROTATED:
        note = _joined(note, f"{len(names) - MAX_ROTATED} older rotated files are not listed")
    return tuple(names[:MAX_ROTATED]), note


def to_log(tail: LogTail, stream: str, options: Options, facts: TaskFacts, *, is_live: bool = False) -> Log:
    """*tail* as a page shows it; *is_live*: the run is its process's newest and goes on."""
    header = facts.state.header
    sandbox = header.sandbox if header is not None else None

    def linked(name: str) -> Link:
        href = None
        if tail.in_sandbox is not None and sandbox is not None:
            href = options.raw_links(facts.root, facts.task_id, sandbox, f"{tail.in_sandbox}/{name}")
        elif tail.directory is not None:
            href = options.raw_links.absolute(f"{tail.directory}/{name}")
        return Link(text=name, href=href)

    notes = [tail.note]
    shown = logtext.Shown((), None)
    if logtext.is_binary(tail.data):
        notes.append(logtext.binary_note(tail.data, tail.from_byte))
    else:
        shown = logtext.show(tail.data)
        notes.append(shown.note)
    raw = linked(stream) if tail.size_bytes is not None else Link(text=stream, href=None)
    return Log(
        stream=stream,
        size_bytes=tail.size_bytes,
        from_byte=tail.from_byte,
        spans=shown.spans,
        note=_joined(*notes),
        raw=raw,
        rotated=tuple(linked(name) for name in tail.rotated),
        follow=_follow(tail, stream, options, facts, sandbox) if is_live and facts.is_active else None,
    )


def _follow(tail: LogTail, stream: str, options: Options, facts: TaskFacts, sandbox: str | None) -> Follow | None:
    if options.agent is None or sandbox is None or tail.in_sandbox is None or tail.size_bytes is None:
        return None
    relative = f"{tail.in_sandbox}/{stream}"
    if AgentLinks(options.agent)(facts.root, facts.task_id, sandbox, relative) is None:
        return None  # no agent keeps it
    # Behind what is shown, not behind what there is: the end of a character that is being written may be missing.
    offset = tail.from_byte + len(tail.data) if tail.data else tail.size_bytes
    return Follow(agent=options.agent, path=f"{sandbox.rstrip('/')}/{relative}", offset=offset)
