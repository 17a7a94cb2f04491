"""HTML: the site's files, and pages made when they are asked for.

Made are those of which no file is kept, and those that show what an active task uses: a file has what was measured when
it was written, which without an interval is nothing.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from werkzeug.http import generate_etag, is_resource_modified
from werkzeug.wrappers import Request, Response

from observer_static import layout
from observer_static.options import Options, served_links
from observer_static.pages import IndexPage, Page
from observer_static.parts import Notice, Stamp
from observer_static.serve.finding import Finder
from observer_static.serve.security import PAGE_POLICY
from observer_static.serve.sending import Span, piece
from observer_static.view import View
from thermos.host.beneath import open_regular

if TYPE_CHECKING:
    from observer_static.render import Renderer

#: Rows of an index that is made here.
ROWS: Final = 200
#: Rows of the index of active tasks, which has all of them where that is not too much to read for one request.
MOST_ROWS: Final = 1000
#: Pages are made one at a time: each may take a task's logs and Jinja's memory.
_ONE_AT_A_TIME: Final = threading.Lock()


class Pages:
    """Serves pages of a view."""

    def __init__(self, view: View, finder: Finder) -> None:
        self._view = view
        self._finder = finder
        self._renderer: Renderer | None = None

    @property
    def options(self) -> Options:
        """How pages are made that are made here."""
        return replace(self._view.options, raw_links=served_links, index_href=True)

    def serve(self, request: Request, parts: list[str]) -> Response | None:
        """The page at that path; None: there is none."""
        if parts[-1] == "":
            parts = [*parts[:-1], layout.INDEX]
        if any(part in ("", ".", "..") or part.startswith(".") or "\0" in part for part in parts):
            return None
        if not self._shows_usage(parts):
            kept = self._kept(request, "/".join(parts))
            if kept is not None:
                return kept
        page = self._made(parts)
        return self.rendered(page) if page is not None else None

    def _shows_usage(self, parts: list[str]) -> bool:
        """Whether that page shows what active tasks use, so that they are to be measured."""
        if not self._view.measures:
            return False
        if parts == [layout.INDEX]:
            return self._finder.counts()["active"] > 0
        if len(parts) < 3 or parts[0] != "task" or (parts[2:] != [layout.INDEX] and parts[2] != layout.PROCESSES):
            return False
        key = self._finder.find_page(parts[1])
        return key is not None and self._view.tasks().get(key, False)

    def has(self, path: str) -> bool:
        """Whether there is a page at *path*."""
        fd = self._open(path)
        if fd is not None:
            os.close(fd)
            return True
        return self._made(path.split("/")) is not None

    def rendered(self, page: Page) -> Response:
        """*page* as an answer."""
        with _ONE_AT_A_TIME:
            if self._renderer is None:
                from observer_static.render import Renderer  # Jinja's memory only where pages are made here

                self._renderer = Renderer()
            return as_page(Response(self._renderer.render(page).content))

    def _open(self, path: str) -> int | None:
        """A descriptor of the site's file at *path*."""
        if self._view.site is None or not path.endswith(".html"):
            return None
        try:
            site_fd = os.open(self._view.site, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return open_regular(site_fd, path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError):
            return None
        finally:
            os.close(site_fd)

    def _kept(self, request: Request, path: str) -> Response | None:
        fd = self._open(path)
        if fd is None:
            return None
        info = os.fstat(fd)
        etag = generate_etag(f"{info.st_ino} {info.st_size} {info.st_mtime_ns}".encode())
        if is_resource_modified(request.environ, etag):
            response = piece(request, fd, Span(0, info.st_size), HTTPStatus.OK)
        else:
            os.close(fd)
            response = Response(status=HTTPStatus.NOT_MODIFIED)
        response.set_etag(etag)
        return as_page(response)

    def _made(self, parts: list[str]) -> Page | None:
        """The page of a task that would lie at that path; None: there is none."""
        if parts == [layout.INDEX] and (self._view.site is None or self._shows_usage(parts)):
            return self.index("active", 0, MOST_ROWS, parts[0])
        if parts == [layout.FINISHED] and self._view.site is None:
            return self.index("finished", 0, ROWS, parts[0])
        if len(parts) < 3 or parts[0] != "task":
            return None
        key = self._finder.find_page(parts[1])
        if key is None:
            return None
        from observer_static.collect import task_pages  # as above

        wanted = "/".join(parts)
        prefix = layout.task_dir(parts[1]) + "/"
        facts, usage, history = self._view.facts(key), self._view.usage(key), self._view.history(key)
        with _ONE_AT_A_TIME:
            made = task_pages(facts, self.options, time.time(), usage, history, prefix=prefix)
            return next((page for page in made if page.path == wanted), None)

    def index(self, kind: str, offset: int, num: int, path: str) -> IndexPage:
        """A part of the list of tasks, as the page at *path*."""
        from observer_static.collect import task_row  # as above

        keys, first, count = self._finder.slice(kind, offset, num)
        counts = self._finder.counts()
        view, options = self._view, self.options
        rows = []
        for key in keys:
            row = task_row(view.facts(key), view.usage(key), options, view.page_key(key), True, path)
            rows.append(row)
        if path == layout.INDEX:  # in the order of the file that is kept there
            rows.sort(key=lambda row: (-(row.launched_at_s or 0.0), row.task_id))

        def part(begin: int) -> str:
            return layout.relative(f"main/{kind}/{begin}/{num}", path)

        return IndexPage(
            path=path,
            stamp=Stamp(
                written_at_s=time.time(), writer=options.writer, version=options.version, hostname=options.hostname
            ),
            kind=kind,
            rows=tuple(rows),
            active=counts["active"],
            finished=counts["finished"],
            first=first + 1 if rows else 0,
            newer=part(max(first - num, 0)) if first > 0 else None,
            older=part(first + num) if first + num < count else None,
            active_href=layout.INDEX if path == layout.INDEX else "/main/active",
            finished_href=layout.FINISHED if path == layout.INDEX else "/main/finished",
            roots=tuple(view.roots),
            owner=view.owner,
            notices=tuple(Notice(level="warning", text=text) for text in view.notices),
        )


def as_page(response: Response) -> Response:
    """*response* as a page of ours."""
    response.headers["Content-Type"] = "text/html; charset=utf-8"
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response
