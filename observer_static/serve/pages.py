"""HTML: the site's files, and pages made when they are asked for where no file is kept."""

from __future__ import annotations

import os
from http import HTTPStatus

from werkzeug.http import generate_etag, is_resource_modified
from werkzeug.wrappers import Request, Response

from observer_static import layout
from observer_static.serve.finding import Finder
from observer_static.serve.security import PAGE_POLICY
from observer_static.view import View
from thermos.host.beneath import open_regular


class Pages:
    """Serves pages of a view."""

    def __init__(self, view: View, finder: Finder) -> None:
        self._view = view
        self._finder = finder

    def serve(self, request: Request, parts: list[str]) -> Response | None:
        """The page at that path; None: there is none."""
        if parts[-1] == "":
            parts = [*parts[:-1], layout.INDEX]
        if any(part in ("", ".", "..") or part.startswith(".") or "\0" in part for part in parts):
            return None
        return self._kept(request, "/".join(parts))

    def _kept(self, request: Request, path: str) -> Response | None:
        if self._view.site is None or not path.endswith(".html"):
            return None
        try:
            site_fd = os.open(self._view.site, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fd = open_regular(site_fd, path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        finally:
            os.close(site_fd)
        with os.fdopen(fd, "rb") as file:
            info = os.fstat(fd)
            etag = generate_etag(f"{info.st_ino} {info.st_size} {info.st_mtime_ns}".encode())
            if not is_resource_modified(request.environ, etag):
                return html(b"", etag, HTTPStatus.NOT_MODIFIED)
            return html(file.read(), etag)


def html(content: bytes, etag: str | None = None, status: int = HTTPStatus.OK) -> Response:
    """A page of ours as an answer."""
    response = Response(content, status=status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    response.headers["Cache-Control"] = "no-cache"
    if etag is not None:
        response.set_etag(etag)
    return response
