"""The pages that list a host's tasks: which rows, which links, which of them are as they should be."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from observer_static import layout
from observer_static.options import Options
from observer_static.output import Output
from observer_static.pagedir import Made, PageDir, open_pages
from observer_static.pages import IndexPage
from observer_static.paging import NEWEST
from observer_static.parts import Notice, Stamp, TaskRow
from observer_static.render import Renderer
from observer_static.roster import Roster
from observer_static.sources import Sources
from observer_static.taskdir import page_digest, seen
from thermos.formats import paths


class Indexes:
    """Writes the index of active tasks and those of finished ones. Raises OSError, NotOurs."""

    def __init__(
        self,
        output: Output,
        options: Options,
        salt: str,
        sources: Sources,
        owner: str | None,
        roster: Roster,
        renderer: Renderer,
    ) -> None:
        self._output = output
        self._options = options
        self._salt = salt
        self._sources = sources
        self._owner = owner
        self._roster = roster
        self._renderer = renderer
        self._pages: PageDir
        self.open()

    def open(self) -> None:
        """Begin in the output as it is now."""
        self._pages = open_pages(self._output.fd, modes=self._output.modes)
        self._pages.tidy(0.0)  # nobody else writes here
        self._pages.settle()
        self._pages.claim()

    def close(self) -> None:
        """Let the output go."""
        self._pages.close()

    def finish(self) -> None:
        """Bring the marker up to date."""
        self._pages.finish()

    @property
    def made(self) -> Mapping[str, Made]:
        """The pages as the marker knows them."""
        return self._pages.made

    def adopt(self, made: Mapping[str, Made]) -> None:
        """Know of pages that another process wrote."""
        self._pages.adopt(made)

    def remove(self, number: int) -> None:
        """Take a page of finished tasks away."""
        self._pages.remove(layout.finished_page(number))

    def is_as_made(self, number: int, digest: str) -> bool:
        """Whether that page of finished tasks shows what *digest* stands for."""
        return self._pages.is_as_made(_path(number), digest)

    def digest(self, number: int) -> str:
        """Stands for what that page is made from, without reading it: there may be thousands."""
        shelf = self._roster.shelf
        checkpoints = [(key, seen(paths.runner_checkpoint(key.root, key.task_id))) for key in shelf.page(number)]
        made_from = (self._salt, shelf.kept(number), shelf.newer(number), shelf.older(number), checkpoints)
        return hashlib.blake2b(repr(made_from).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()

    def write_active(self, rows: Sequence[TaskRow]) -> bool:
        """The index of active tasks; whether it was written, which it is not if it shows just that."""
        return self._write(self._page(layout.INDEX, "active", rows, 1 if rows else 0))

    def write_finished(self, number: int, rows: Sequence[TaskRow], digest: str = "") -> bool:
        """The same for a page of finished tasks; *digest*: what it is made from, as :meth:`digest` says."""
        shelf = self._roster.shelf
        path = _path(number)
        page = replace(
            self._page(path, "finished", rows, shelf.first(number)),
            newer=_link(shelf.newer(number), path),
            older=_link(shelf.older(number), path),
        )
        return self._write(page, digest)

    def _write(self, page: IndexPage, digest: str = "") -> bool:
        digest = digest or page_digest(page, self._salt)
        if self._pages.is_as_made(page.path, digest):
            return False
        return self._pages.write(self._renderer.render(page), digest)

    def _page(self, path: str, kind: str, rows: Sequence[TaskRow], first: int) -> IndexPage:
        options = self._options
        finished = len(self._roster.shelf)
        return IndexPage(
            path=path,
            stamp=Stamp(
                written_at_s=time.time(), writer=options.writer, version=options.version, hostname=options.hostname
            ),
            kind=kind,
            rows=tuple(_from(path, row) for row in rows),
            active=len(self._roster.tasks) - finished,
            finished=finished,
            first=first,
            newer=None,
            older=None,
            active_href=layout.relative(layout.INDEX, path),
            finished_href=layout.relative(layout.FINISHED, path),
            roots=tuple(self._sources.places()),
            owner=self._owner,
            notices=tuple(Notice(level="warning", text=text) for text in self._sources.notices()),
        )


def _path(number: int) -> str:
    return layout.FINISHED if number == NEWEST else layout.finished_page(number)


def _link(number: int | None, path: str) -> str | None:
    return layout.relative(_path(number), path) if number is not None else None


def _from(path: str, row: TaskRow) -> TaskRow:
    """*row* with its links as they are on the page at *path*; they come as they are at the top."""
    up = "../" * path.count("/")
    if not up or row.href is None:
        return row
    return replace(row, href=up + row.href, browse_href=up + row.browse_href if row.browse_href is not None else None)
