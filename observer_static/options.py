"""How pages are to be made: who writes them, how raw files are linked, how much room there is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from observer_static import layout
from observer_static.secrets import Redactor

#: All pages of one task.
MAX_BYTES: Final = 5 << 20
#: Of one stream, on one page.
LOG_BYTES: Final = 256 << 10

#: A path longer than this is no file's (``PATH_MAX``).
MAX_PATH: Final = 4096
#: A run's directory as an agent keeps it, up to its own sandbox (mesos/src/slave/paths.hpp).
_MESOS_RUN: Final = re.compile(r"/(?:slaves|agents)/[^/]+/frameworks/[^/]+/executors/[^/]+/runs/[^/]+(?:/|\Z)")
#: An agent's address as a page's policy may name it; anything else could end the directive and begin another.
_AGENT: Final = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def is_agent(text: str) -> bool:
    """Whether *text* is ``http(s)://host:port`` and nothing else."""
    return _AGENT.fullmatch(text) is not None


def quoted(path: str) -> str | None:
    """*path* percent-encoded, with its slashes; None: it is none that a file can have."""
    if len(path) > MAX_PATH:
        return None
    return _quoted(path)


@lru_cache(256)
def _quoted(path: str) -> str | None:
    try:
        return quote(os.fsencode(path), safe="/=,@~")
    except UnicodeEncodeError:
        return None


def is_below(relative: str) -> bool:
    """Whether *relative* names something below where it starts, by its text alone."""
    return "\0" not in relative and not any(part in ("", ".", "..") for part in relative.split("/"))


class RawLinks:
    """How raw files are linked. This one links nothing."""

    def __call__(self, root: str, task_id: str, sandbox: str, relative: str) -> str | None:
        """Where the file *relative* below the task's *sandbox* can be had; None: nowhere."""
        return None

    def absolute(self, path: str, is_directory: bool = False) -> str | None:
        """Where a file outside of the sandbox can be had, such as a checkpoint; None: nowhere."""
        return None

    def on_page(self, path: str) -> RawLinks:
        """The same for the page at *path*, where links depend on that."""
        return self


class FileLinks(RawLinks):
    """``file:`` links: they work on the host itself."""

    def __call__(self, root: str, task_id: str, sandbox: str, relative: str) -> str | None:
        """The file's absolute path as a link."""
        return self.absolute(f"{sandbox.rstrip('/')}/{relative}") if is_below(relative) else None

    def absolute(self, path: str, is_directory: bool = False) -> str | None:
        """The same for any file."""
        encoded = quoted(path) if path.startswith("/") and is_below(path.strip("/")) else None
        return f"file://{encoded}" if encoded is not None else None


class AgentLinks(RawLinks):
    """Downloads from the Mesos agent at *agent* (``http://host:port``), for what lies in a run's directory."""

    def __init__(self, agent: str) -> None:
        self._agent = agent.rstrip("/")

    def __call__(self, root: str, task_id: str, sandbox: str, relative: str) -> str | None:
        """The agent's ``/files/download`` of that file; None: no agent keeps it."""
        return self.absolute(f"{sandbox.rstrip('/')}/{relative}") if is_below(relative) else None

    def absolute(self, path: str, is_directory: bool = False) -> str | None:
        """The same for any file; a directory is no download."""
        if is_directory or not _MESOS_RUN.search(path) or not is_below(path.strip("/")):
            return None
        encoded = quoted(path)
        return f"{self._agent}/files/download?path={encoded}" if encoded is not None else None


class ServedLinks(RawLinks):
    """``/download/TASK/REL`` of ``thermos_observer --serve``, for what lies in a sandbox."""

    def __call__(self, root: str, task_id: str, sandbox: str, relative: str) -> str | None:
        """The server's download of that file."""
        path, name = quoted(relative), quoted(task_id)
        if path is None or name is None or not is_below(relative):
            return None
        return f"/download/{name}/{path}"


class RelativeLinks(RawLinks):
    """Links from pages that lie in the sandbox themselves, in its directory *pages_dir*."""

    def __init__(self, pages_dir: str = layout.PAGES_NAME, page: str = "") -> None:
        self._pages_dir = pages_dir
        self._page = page

    def __call__(self, root: str, task_id: str, sandbox: str, relative: str) -> str | None:
        """The way from the page to that file."""
        path = quoted(relative) if is_below(relative) else None
        return "../" * f"{self._pages_dir}/{self._page}".count("/") + path if path is not None else None

    def on_page(self, path: str) -> RawLinks:
        """The same from the page at *path* below the directory of pages."""
        return RelativeLinks(self._pages_dir, path)


file_links: Final = FileLinks()
served_links: Final = ServedLinks()
relative_links = RelativeLinks


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the pages of a task are made."""

    writer: str
    version: str
    hostname: str
    #: Makes secrets unreadable, and counts them.
    redactor: Redactor = field(default_factory=Redactor)
    #: Whether there is a host's index beside the tasks' pages.
    index_href: bool = False
    #: ``http(s)://host:port`` of the Mesos agent, for following logs; None: not known.
    agent: str | None = None
    raw_links: RawLinks = file_links
    #: Of all pages of one task.
    max_bytes: int = MAX_BYTES
    #: Of one stream.
    log_bytes: int = LOG_BYTES

    def on_page(self, path: str) -> Options:
        """These, for the page at *path* below the directory of pages."""
        links = self.raw_links.on_page(path)
        return self if links is self.raw_links else replace(self, raw_links=links)
