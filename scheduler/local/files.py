"""Sandboxes over HTTP, as an agent of Mesos shows them: ``/files/browse``, ``read`` and ``download``; and, of our own,
``/files/show/AGENT/FRAMEWORK/EXECUTOR/FILE``, which a browser opens: pages that tasks' executors write.

Only what lies in the agent's work directory is shown, to its owner, and no link is followed out of it. Source:
mesos/src/files/files.cpp.
"""

from __future__ import annotations

import grp
import json
import mimetypes
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from scheduler.local.http import Exchange

#: Of one answer to ``read``: 16 pages, as an agent has it.
MAX_READ_BYTES: Final = 16 * os.sysconf("SC_PAGESIZE")
#: Of one download, which is held in memory.
MAX_DOWNLOAD_BYTES: Final = 256 << 20
_JSON: Final = "application/json"
#: Below the agent's work directory; mesos/src/slave/paths.cpp.
_RUN: Final = "{}/frameworks/{}/executors/{}/runs/latest"
#: What a sandbox holds may be anybody's: it is shown like a page from elsewhere, which may call nothing here.
_APART: Final = ("Content-Security-Policy", "sandbox allow-scripts")


def serve(exchange: Exchange, verb: str, root: Path) -> None:
    """Answer a request for what lies below *root*."""
    query = exchange.request.query
    asked = query.get("path")
    if not asked:
        exchange.answer(400, "Expecting 'path=value' in query.\n")
        return
    if "\0" in asked:  # which no name has, and the system's calls do not take
        exchange.answer(404)
        return
    path = Path(os.path.realpath(asked))
    if not path.is_relative_to(os.path.realpath(root)) or not path.exists():
        exchange.answer(404)
        return
    if exchange.request.uid not in (0, os.geteuid(), path.stat().st_uid):
        exchange.answer(403, "This is another user's.\n")
        return
    try:
        if verb == "browse":
            _browse(exchange, Path(asked), path)
        elif verb == "read":
            _read(exchange, path)
        else:
            _download(exchange, path)
    except OSError as error:
        exchange.answer(500, f"{asked}: {error.strerror}\n")


def show(exchange: Exchange, asked: str, root: Path) -> None:
    """A file of an executor's newest sandbox, for a browser: HTML as such, all else as text."""
    *names, below = asked.split("/", 3) if asked.count("/") > 2 and "\0" not in asked else ("", "")
    run = Path(os.path.realpath(root / _RUN.format(*names))) if not {"", ".", ".."} & {*names} else None
    path = Path(os.path.realpath(run / below)) if run is not None else None
    if path is not None and path.is_dir():
        path = Path(os.path.realpath(path / "index.html"))
    # No link leads out of the sandbox, nor the sandbox's own out of the agent's directory.
    if run is None or path is None or not run.is_relative_to(os.path.realpath(root)) or not path.is_relative_to(run):
        exchange.answer(404)
        return
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            exchange.answer(404)
        elif exchange.request.uid not in (0, os.geteuid(), status.st_uid):
            exchange.answer(403, "This is another user's.\n")
        elif status.st_size > MAX_DOWNLOAD_BYTES:
            exchange.answer(400, f"This is more than {MAX_DOWNLOAD_BYTES} bytes: look at {path} itself.\n")
        else:
            kind = "text/html" if path.suffix == ".html" else "text/plain"
            exchange.answer(
                200, path.read_bytes(), f"{kind}; charset=utf-8", [_APART, ("X-Content-Type-Options", "nosniff")]
            )
    except OSError:
        exchange.answer(404, "There is no such file, or not yet.\n")


def _answer_json(exchange: Exchange, value: object) -> None:
    text = json.dumps(value)
    callback = exchange.request.query.get("jsonp")
    if callback is None:
        exchange.answer(200, text, _JSON)
    elif callback.replace("_", "").replace(".", "").isalnum():
        exchange.answer(200, f"{callback}({text});", "text/javascript")
    else:
        exchange.answer(400, "Expecting a name in 'jsonp'.\n")


def _browse(exchange: Exchange, asked: Path, path: Path) -> None:
    if not path.is_dir():
        _answer_json(exchange, [])
        return
    found = []
    for entry in sorted(os.scandir(path), key=lambda one: one.name):
        status = entry.stat(follow_symlinks=False)
        found.append(
            {
                "path": str(asked / entry.name),
                "nlink": status.st_nlink,
                "size": status.st_size,
                "mtime": status.st_mtime,
                "mode": stat.filemode(status.st_mode),
                "uid": _name(status.st_uid, lambda number: pwd.getpwuid(number).pw_name),
                "gid": _name(status.st_gid, lambda number: grp.getgrgid(number).gr_name),
            }
        )
    _answer_json(exchange, found)


def _name(number: int, look: Callable[[int], str]) -> str:
    try:
        return look(number)
    except KeyError:
        return str(number)


def _number(text: str | None, default: int) -> int | None:
    try:
        return default if text is None else int(text)
    except ValueError:
        return None


def _read(exchange: Exchange, path: Path) -> None:
    query = exchange.request.query
    offset, length = _number(query.get("offset"), -1), _number(query.get("length"), -1)
    if offset is None or length is None:
        exchange.answer(400, "Expecting numbers in 'offset' and 'length'.\n")
        return
    if not path.is_file():
        exchange.answer(400, "Cannot read a directory.\n")
        return
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if offset < 0:  # as an agent: where it ends, nothing of it
            _answer_json(exchange, {"offset": size, "data": ""})
            return
        file.seek(offset)
        data = file.read(MAX_READ_BYTES if length < 0 else min(length, MAX_READ_BYTES))
    _answer_json(exchange, {"offset": offset, "data": data.decode("utf-8", "replace")})


def _download(exchange: Exchange, path: Path) -> None:
    if not path.is_file():
        exchange.answer(400, "Cannot download a directory.\n")
        return
    if path.stat().st_size > MAX_DOWNLOAD_BYTES:
        exchange.answer(400, f"This is more than {MAX_DOWNLOAD_BYTES} bytes: look at {path} itself.\n")
        return
    name = "".join(one for one in path.name if one.isprintable() and one not in '"\\')
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    headers = [("Content-Disposition", f'attachment; filename="{name.encode("ascii", "replace").decode()}"')]
    exchange.answer(200, path.read_bytes(), kind, headers)
