"""The pages of one task in a host's site: collected, rendered and written where they changed."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from detectors.watch import TaskKey
from observer_static import layout
from observer_static.collect import task_pages
from observer_static.facts import TaskFacts
from observer_static.options import Options
from observer_static.output import Output
from observer_static.pagedir import NotOurs, PageDir, open_pages
from observer_static.pages import File, Page, TaskPage
from observer_static.publish import Published
from observer_static.render import Renderer
from thermos.formats import paths
from thermos.host.beneath import open_beneath

if TYPE_CHECKING:
    from observer_static.history import UsagePoint
    from thermos.host.usage import TaskUsage

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
#: The programs' sources and templates, as far as pages depend on them.
_CODE: Final = (Path(__file__).parent, Path(__file__).parent.parent / "thermos")


#: A page of a process that does nothing new is made again this often at most, for what its logs say by then.
REFRESH_S: Final = 10.0


class _Looked(NamedTuple):
    """A page of a process when it was last made: what the task's page says of the process, and when that was."""

    row: int
    at_s: float


class _Known:
    """What is known of the pages of an active task, so that a change need not make all of them again."""

    def __init__(self) -> None:
        self.raw = 0
        self.looked: dict[str, _Looked] = {}


class _Staying:
    """Says which pages of a task stay as they are."""

    def __init__(self, pages: PageDir, facts: TaskFacts, known: _Known, now_s: float) -> None:
        self._pages = pages
        self._known = known
        self._now_s = now_s
        self._raw = hash(facts.raw)
        self._rows: dict[str, int] = {}
        self.paths: set[str] = set()

    def see(self, page: TaskPage) -> None:
        """Know what the task's own page says of its processes."""
        self._rows = {row.href: hash((row, page.is_active, page.has_runner)) for row in page.processes if row.href}

    def __call__(self, path: str) -> int | None:
        """Bytes of the page at *path* that stays; None: it is to be made."""
        if path == layout.RAW:
            is_same, self._known.raw = self._known.raw == self._raw, self._raw
        else:
            row = self._rows.get(path, 0)  # a log of an older run has none, and does not change
            looked = self._known.looked.get(path)
            is_same = looked is not None and looked.row == row and self._now_s - looked.at_s < REFRESH_S
            if not is_same:
                self._known.looked[path] = _Looked(row, self._now_s)
        if not is_same or not self._pages.is_untouched(path):
            return None
        self.paths.add(path)
        return self._pages.made[path].size_bytes


class Seen(NamedTuple):
    """A file without its content."""

    inode: int
    size_bytes: int
    mtime_ns: int


def code_digest() -> str:
    """Differs when the code or a template does: what was made with another one is made again."""
    digest = hashlib.blake2b(digest_size=12)
    for directory in _CODE:
        for path in sorted((*directory.glob("*.py"), *directory.glob("*/*.py"), *directory.glob("templates/*"))):
            info = path.stat()
            digest.update(f"{path.name} {info.st_size} {info.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def page_digest(page: Page, salt: str) -> str:
    """Stands for all that *page* shows but when it was written, and for how (*salt*)."""
    shown = [getattr(page, each.name) for each in dataclasses.fields(page) if each.name != "stamp"]
    return hashlib.blake2b(repr((salt, shown)).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


class TaskPages:
    """Writes the pages of tasks below ``task/`` of a site."""

    def __init__(self, output: Output, options: Options, salt: str) -> None:
        self._output = output
        self._options = options
        #: Stands for everything but the task that decides how its pages look.
        self.salt = salt
        #: Whether tasks that are over are collected again although nothing of them changed.
        self.is_thorough = False
        #: Whether one that was killed may have left temporary files.
        self.is_first_round = True
        self.renderer = Renderer()
        #: Of active tasks, by the names of their directories.
        self._known: dict[str, _Known] = {}

    def write(
        self,
        name: str,
        facts: TaskFacts,
        usage: TaskUsage | None,
        history: Sequence[UsagePoint],
        stop: Callable[[], bool] = lambda: False,
    ) -> Published:
        """Bring the pages of the task whose directory is *name* up to date. Raises OSError, NotOurs.

        Once *stop* says so nothing more is written.
        """
        prefix = layout.task_dir(name) + "/"
        with self._open(name) as pages:
            if self.is_first_round and pages.made:
                pages.tidy(0.0)  # nobody else writes here
                pages.settle()
            made_from = self._made_from(facts)
            is_same = made_from != "" and made_from == pages.made_from and not self.is_thorough
            if is_same and all(map(pages.is_untouched, pages.made)):
                return Published(0, len(pages.made), 0)
            pages.made_from = ""  # until all are written
            known = self._known.pop(name, _Known()) if not self.is_thorough else _Known()
            staying = _Staying(pages, facts, known, time.monotonic())
            written = unchanged = removed = 0
            wanted = set()
            try:
                for page in task_pages(
                    facts, self._options, time.time(), usage, history, prefix=prefix, staying=staying
                ):
                    if stop():
                        return Published(written, unchanged, removed)
                    if isinstance(page, TaskPage):
                        staying.see(page)
                    path = page.path.removeprefix(prefix)
                    wanted.add(path)
                    # Of a task that is over all pages are as they were or none is: one digest does for them.
                    digest = page_digest(page, self.salt) if not made_from else "-"
                    if not made_from and pages.is_as_made(path, digest):
                        unchanged += 1
                        continue
                    written += pages.write(File(path=path, content=self.renderer.render(page).content), digest)
                for path in [path for path in pages.made if path not in wanted and path not in staying.paths]:
                    removed += pages.remove(path)
                pages.made_from = made_from
                if facts.is_active:
                    self._known[name] = known
            finally:
                pages.finish()
        return Published(written, unchanged + len(staying.paths), removed)

    def _open(self, name: str) -> PageDir:
        return open_pages(self._output.fd, layout.task_dir(name), self._output.modes)

    def _made_from(self, facts: TaskFacts) -> str:
        """Stands for what the pages of a task that is over are made from; empty: it is not over."""
        if facts.is_active or facts.mtime_s is None:
            return ""
        header = facts.state.header
        sandbox = header.sandbox if header is not None else None
        log_dir = header.log_dir if header is not None else None
        files = [
            seen(path)
            for path in (
                paths.runner_checkpoint(facts.root, facts.task_id),
                paths.task_path(facts.root, facts.task_id, paths.FINISHED),
                sandbox or "",
                log_dir or (paths.default_log_dir(sandbox) if sandbox else ""),
            )
        ]
        return hashlib.blake2b(repr((self.salt, files)).encode(), digest_size=12).hexdigest()

    def remove(self, name: str) -> bool:
        """Take a task's pages away; whether there were any. What is not ours stays. Raises OSError."""
        self._known.pop(name, None)
        try:
            fd = open_beneath(self._output.fd, layout.task_dir(name), _DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            with PageDir(fd, self._output.modes) as pages:
                is_empty = pages.clear()
        except NotOurs:
            return False
        if is_empty:
            above, _, last = layout.task_dir(name).rpartition("/")
            parent = open_beneath(self._output.fd, above, _DIRECTORY)
            try:
                os.rmdir(last, dir_fd=parent)
            finally:
                os.close(parent)
        return True

    def settle(self) -> None:
        """Give the directory of all tasks its mode, which may be another than when it was made."""
        try:
            fd = open_beneath(self._output.fd, layout.task_dir("x").rpartition("/")[0], _DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            self._output.modes.give(fd, self._output.modes.directory)
        finally:
            os.close(fd)

    def names(self) -> list[str]:
        """The directories below ``task/``, ours or not."""
        try:
            fd = open_beneath(self._output.fd, layout.task_dir("x").rpartition("/")[0], _DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)


def seen(path: str) -> Seen | None:
    """What can be seen of a file without opening it; None: it is not there."""
    try:
        info = os.stat(path, follow_symlinks=False)
    except (OSError, ValueError):  # ValueError: a NUL
        return None
    return Seen(info.st_ino, info.st_size, info.st_mtime_ns)


def changed_ns(key: TaskKey) -> int:
    """When the task's checkpoint changed last; 0: there is none."""
    found = seen(paths.runner_checkpoint(key.root, key.task_id)) or seen(
        paths.task_path(key.root, key.task_id, paths.FINISHED)
    )
    return found.mtime_ns if found is not None else 0
