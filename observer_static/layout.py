"""Where each page lies below a site, and below a task's directory of pages; nothing else knows one.

Layout::

    SITE/index.html                  active tasks
    SITE/finished.html               the newest finished tasks
    SITE/finished/NUMBER.html        older ones, numbered from the oldest, so that a full page never changes again
    SITE/task/KEY/…                  one task:
        index.html                   the task
        raw.html                     its definition
        browse.html                  its sandbox
        process/NAME.html            a process, with the logs of its newest run
        log/NAME/RUN.html            an older run

A task's pages stand in the same shape in a directory of their own where there is no host's site: in a sandbox.
KEY is :func:`segment` of the task's id; where two roots hold the same id, of the id and its root.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote

INDEX: Final = "index.html"
FINISHED: Final = "finished.html"
#: A task's definition and its sandbox, below the task's directory; the task itself is ``INDEX``.
RAW: Final = "raw.html"
BROWSE: Final = "browse.html"
#: Directory of the pages of a task's processes, below the task's directory.
PROCESSES: Final = "process"
#: Directory of a task's pages within its sandbox.
PAGES_NAME: Final = ".thermos-pages"

_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=,@-]*")
_OTHER: Final = re.compile(r"[^A-Za-z0-9_.+=,@-]+")
#: Longest name that stays as it is; with a suffix it must fit a file name of 255 bytes.
_MAX_PLAIN: Final = 150


def segment(name: str) -> str:
    """*name* as a part of a path: itself if it is plain, else its plain part and a hash; different names stay so."""
    return _short_segment(name) if len(name) <= _MAX_PLAIN else _hashed(name)


@lru_cache(512)
def _short_segment(name: str) -> str:
    if _PLAIN.fullmatch(name) and "~" not in name:
        return name
    return _hashed(name)


def _hashed(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{_OTHER.sub('_', name)[:80].lstrip('.+=,@-')}~{digest}"


def task_dir(key: str) -> str:
    """Directory of the pages of the task with that key, below the site."""
    return f"task/{key}"


def process_page(process: str) -> str:
    """Page of a process, below its task's directory."""
    return f"{PROCESSES}/{segment(process)}.html"


def log_page(process: str, run: int) -> str:
    """Page of an older run, below its task's directory."""
    return f"log/{segment(process)}/{run}.html"


def finished_page(number: int) -> str:
    """Page of older finished tasks; the oldest ones are on number 1."""
    return f"finished/{number}.html"


@lru_cache(1024)
def relative(path: str, start: str) -> str:
    """The link from the page at *start* to the page or file at *path*, both below the same directory."""
    here = start.split("/")[:-1]
    there = path.split("/")
    common = 0
    while common < len(here) and common < len(there) - 1 and here[common] == there[common]:
        common += 1
    return "/".join([".."] * (len(here) - common) + [quote(part, safe="+=,@~") for part in there[common:]])
