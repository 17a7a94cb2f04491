"""How pages in a Mesos sandbox lead to the files around them, and one of them to the top of it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, Final

from observer_static.options import RawLinks, is_below, quoted
from observer_static.pages import TaskPage

#: Directory of the pages within the Mesos sandbox; the task's own page also lies beside it, as ``index.html``.
PAGES_NAME: Final = "pages"


class RunLinks(RawLinks):
    """Relative links to what lies in the run's directory, so that pages and files can be moved together."""

    def __init__(self, directory: str, page: str = "index.html") -> None:
        self._directory = directory.rstrip("/")
        self._page = page

    def __call__(self, root: str, task_id: str, sandbox: str, relative: str) -> str | None:
        """The way to a file of the task's sandbox."""
        return self.absolute(f"{sandbox.rstrip('/')}/{relative}") if is_below(relative) else None

    def absolute(self, path: str, is_directory: bool = False) -> str | None:
        """The way to any file below the run's directory; None: it lies elsewhere."""
        if not path.startswith(f"{self._directory}/"):
            return None
        below = path[len(self._directory) + 1 :]
        encoded = quoted(below) if is_below(below) else None
        return "../" * (self._page.count("/") + 1) + encoded if encoded is not None else None

    def on_page(self, path: str) -> RawLinks:
        """The same from the page at *path*."""
        return RunLinks(self._directory, path)


def at_the_top(page: TaskPage, path: str) -> TaskPage:
    """*page* of the directory of pages as it lies one above, at *path*: every relative link leads on from there."""
    moved: TaskPage = _moved(page)
    return replace(moved, path=path)


def _moved(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        changes = {}
        for field in fields(value):
            old = getattr(value, field.name)
            new = _href(old) if field.name == "href" or field.name.endswith("_href") else _moved(old)
            if new is not old:
                changes[field.name] = new
        return replace(value, **changes) if changes else value
    if isinstance(value, tuple) and value and (is_dataclass(value[0]) or isinstance(value[0], tuple)):
        return tuple(_moved(each) for each in value)
    return value


def _href(href: str | None) -> str | None:
    if href is None or href.startswith(("#", "/", "http:", "https:", "file:")):
        return href
    return f"{PAGES_NAME}/{href}"
