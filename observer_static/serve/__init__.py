"""``thermos_observer --serve``: the pages and Aurora's routes over HTTP, read-only. Imported only when serving."""

from __future__ import annotations

from collections.abc import Iterable

from observer_static.serve.app import make_app
from observer_static.serve.server import Server
from observer_static.view import View

__all__ = ["Server", "make_app", "serve"]


def serve(view: View, host: str, port: int, allowed_hosts: Iterable[str] = ()) -> Server:
    """A server of *view* on *host* and *port*, until its ``close``. Raises OSError where it cannot listen."""
    return Server(host, port, make_app(view, bound=host, allowed_hosts=allowed_hosts))
