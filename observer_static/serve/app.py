"""The routes: Aurora's observer's, read-only, and the static pages of the site."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from observer_static import layout
from observer_static.serve import aurora_json, files, security
from observer_static.serve.failures import BadRequest, NotFound
from observer_static.serve.finding import KINDS, Finder
from observer_static.serve.pages import Pages
from observer_static.serve.security import Hosts, Kind
from observer_static.view import View

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from detectors.watch import TaskKey

log = logging.getLogger(__name__)

#: Tasks that one request may ask for by id, and rows that it may ask for.
MAX_IDS: Final = 1000
MAX_ROWS: Final = 1000
#: Longer than any path that leads to a file (Linux ``PATH_MAX``).
MAX_PATH: Final = 4096
#: A number with more digits is none that a file or a list has.
MAX_DIGITS: Final = 18

_ICON: Final = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#0b6e6e"/>'
    b'<path d="M3 4h10M8 4v9" stroke="#fff" stroke-width="2.4"/></svg>'
)

_SAFE: Final = "/+=,@~"

Handler: TypeAlias = Callable[[Request, list[str]], Response]


def make_app(view: View, *, bound: str = "127.0.0.1", allowed_hosts: Iterable[str] = ()) -> WSGIApplication:
    """The server's application. *bound*: the address it listens on; *allowed_hosts*: more names it has."""
    return App(view, Hosts(bound, view.options.hostname, allowed_hosts))


class App:
    """A WSGI application over a View. Keeps nothing but what it can work out again."""

    def __init__(self, view: View, hosts: Hosts) -> None:
        self._view = view
        self._hosts = hosts
        self._finder = Finder(view)
        self._pages = Pages(view, self._finder)
        self._routes: dict[str, tuple[Kind, Handler]] = {
            "main": (Kind.PAGE, self._main),
            "task": (Kind.PAGE, self._task),
            "rawtask": (Kind.PAGE, self._raw_task),
            "process": (Kind.PAGE, self._process_page),
            "logs": (Kind.PAGE, self._logs),
            "browse": (Kind.PAGE, self._browse),
            "logdata": (Kind.DATA, self._log_data),
            "filedata": (Kind.DATA, self._file_data),
            "file": (Kind.DATA, self._file),
            "download": (Kind.DATA, self._download),
            "j": (Kind.DATA, self._json),
            "vars": (Kind.DATA, self._vars),
            "vars.json": (Kind.DATA, self._vars_json),
            "metrics": (Kind.DATA, self._metrics),
            "health": (Kind.DATA, self._health),
            "favicon.ico": (Kind.PAGE, self._favicon),
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        return self._answer(environ)(environ, start_response)

    def _answer(self, environ: WSGIEnvironment) -> Response:
        path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "surrogateescape")
        parts = path.removeprefix("/").split("/")
        kind, handler = self._routes.get(parts[0], (Kind.PAGE, self._page))
        refusal = security.refuse(self._hosts, kind, environ["REQUEST_METHOD"], _headers(environ))
        try:
            if refusal is not None:
                response = _words(refusal.status, refusal.text)
                if refusal.status == 405:
                    response.headers["Allow"] = "GET, HEAD"
            elif len(path) > MAX_PATH:
                response = _failure(404, kind, "there is no such page")
            else:
                response = handler(Request(environ), parts)
        except NotFound as error:
            response = _failure(404, kind, str(error) or "there is no such page")
        except BadRequest as error:
            response = _failure(400, kind, str(error))
        except Exception:  # the thread's top: one request fails, the server goes on
            log.exception("a request failed: %s", path[:200].encode("unicode_escape").decode())
            response = _failure(500, kind, "the observer failed; its log says why")
        for name, value in security.ALWAYS:
            response.headers[name] = value
        response.headers.setdefault("Content-Security-Policy", security.DATA_POLICY)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    # -- pages -----------------------------------------------------------------------------------------------------

    def _page(self, request: Request, parts: list[str]) -> Response:
        response = self._pages.serve(request, parts)
        if response is None:
            raise NotFound("there is no such page")
        return response

    def _main(self, request: Request, parts: list[str]) -> Response:
        kind, offset, num = _part_of_list(parts[1:])
        return self._pages.rendered(self._pages.index(kind, offset, num, "/".join(parts)))

    def _task(self, request: Request, parts: list[str]) -> Response:
        if len(parts) == 2:
            return self._to_page(self._key(request, parts[1]), layout.INDEX)
        return self._page(request, parts)

    def _raw_task(self, request: Request, parts: list[str]) -> Response:
        (task_id,) = _exactly(parts, 1)
        return self._to_page(self._key(request, task_id), layout.RAW)

    def _process_page(self, request: Request, parts: list[str]) -> Response:
        task_id, process = _exactly(parts, 2)
        key = self._key(request, task_id)
        facts = self._view.facts(key)
        is_known = facts.task is not None and any(process == known.name for known in facts.task.processes)
        if process not in facts.state.processes and not is_known:
            raise NotFound("the task has no such process")
        return self._to_page(key, layout.process_page(process))

    def _logs(self, request: Request, parts: list[str]) -> Response:
        task_id, process, number, stream = _exactly(parts, 4)
        key, run = self._key(request, task_id), _number(number, "a number of a run")
        facts = self._view.facts(key)
        page = files.log_page(facts, process, run)
        if page is None or stream not in files.STREAMS:
            raise NotFound("there is no such log")
        if self._pages.has(self._path_of(key, page)):
            return self._to_page(key, page, stream)
        return files.send_log(request, facts, process, run, stream)  # a run too old for a page of its own

    def _browse(self, request: Request, parts: list[str]) -> Response:
        key, below = self._below(request, parts)
        task_href = f"/{quote(self._path_of(key, layout.INDEX), safe=_SAFE)}"
        return self._pages.rendered(files.browse_page(self._view.facts(key), below, self._pages.options, task_href))

    def _to_page(self, key: TaskKey, page: str, section: str | None = None) -> Response:
        return _redirect(f"/{self._path_of(key, page)}", section)

    def _path_of(self, key: TaskKey, page: str) -> str:
        return f"{layout.task_dir(self._view.page_key(key))}/{page}"

    def _favicon(self, request: Request, parts: list[str]) -> Response:
        if len(parts) != 1:
            raise NotFound
        response = Response(_ICON, mimetype="image/svg+xml")
        response.headers["Cache-Control"] = "max-age=86400"
        return response

    # -- JSON ------------------------------------------------------------------------------------------------------

    def _json(self, request: Request, parts: list[str]) -> Response:
        match parts[1:]:
            case ["task_ids", *rest] if len(rest) <= 3:
                return self._task_ids(rest)
            case ["task_id_count"]:
                return _json(self._finder.counts())
            case ["task"]:
                return self._tasks(request, _ids(request))
            case ["task", task_id]:
                return self._tasks(request, [task_id])
            case ["process", task_id, *rest] if len(rest) <= 2:
                return self._process(request, task_id, rest)
            case ["processes"]:
                found = {task_id: self._processes(request, task_id) for task_id in _ids(request)}
                return _json(found)
        raise NotFound("there is no such route")

    def _task_ids(self, rest: list[str]) -> Response:
        kind, offset, num = _part_of_list(rest)
        keys, first, count = self._finder.slice(kind, offset, num)
        rows = (aurora_json.row(self._view.facts(key), self._view.usage(key)) for key in keys)
        return _json(aurora_json.task_ids(kind, first, num, count, rows))

    def _tasks(self, request: Request, task_ids: list[str]) -> Response:
        redactor = self._view.options.redactor
        found: dict[str, object] = {}
        is_known = False
        for task_id in task_ids:
            key = self._find(request, task_id)
            is_known = is_known or key is not None
            facts = self._view.facts(key) if key is not None else None
            usage = self._view.usage(key) if key is not None else None
            found[task_id] = aurora_json.task(facts, usage, redactor) if facts is not None else {}
        if task_ids and not is_known:
            raise NotFound(f"no such task: {', '.join(task_ids)[:300]}")
        return _json(found)

    def _process(self, request: Request, task_id: str, rest: list[str]) -> Response:
        key = self._find(request, task_id)
        number = _number(rest[1], "a number of a run") if len(rest) > 1 else -1
        if key is None or not rest:
            return _json({})
        return _json(aurora_json.run(self._view.facts(key), self._view.usage(key), rest[0], number))

    def _processes(self, request: Request, task_id: str) -> Mapping[str, object]:
        key = self._find(request, task_id)
        return aurora_json.processes(self._view.facts(key), self._view.usage(key)) if key is not None else {}

    # -- files -------------------------------------------------------------------------------------------------------

    def _log_data(self, request: Request, parts: list[str]) -> Response:
        task_id, process, number, stream = _exactly(parts, 4)
        key, run = self._find(request, task_id), _number(number, "a number of a run")
        return _json(files.log_data(request, self._view.facts(key), process, run, stream) if key is not None else {})

    def _file_data(self, request: Request, parts: list[str]) -> Response:
        key = self._find(request, parts[1]) if len(parts) > 2 else None
        return _json(files.file_data(request, self._view.facts(key), _plainly(parts[2:])) if key is not None else {})

    def _file(self, request: Request, parts: list[str]) -> Response:
        key, below = self._below(request, parts)
        return files.send_file(request, self._view.facts(key), below, as_download=False)

    def _download(self, request: Request, parts: list[str]) -> Response:
        key, below = self._below(request, parts)
        return files.send_file(request, self._view.facts(key), below, as_download=True)

    # -- the observer itself -----------------------------------------------------------------------------------------

    def _vars(self, request: Request, parts: list[str]) -> Response:
        variables = self._view.variables()
        if len(parts) == 1:
            lines = [f"{name} {value}" for name, value in sorted(variables.items())]
            return _words(200, "\n".join(lines))
        name = "/".join(parts[1:])
        if name not in variables:
            raise NotFound("there is no such variable")
        return _words(200, str(variables[name]))

    def _vars_json(self, request: Request, parts: list[str]) -> Response:
        if len(parts) != 1:
            raise NotFound
        return _json(dict(self._view.variables()))

    def _metrics(self, request: Request, parts: list[str]) -> Response:
        if len(parts) != 1:
            raise NotFound
        return Response(self._view.metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")

    def _health(self, request: Request, parts: list[str]) -> Response:
        if len(parts) != 1:
            raise NotFound
        return _words(200, "OK")

    # -- tasks -------------------------------------------------------------------------------------------------------

    def _find(self, request: Request, task_id: str) -> TaskKey | None:
        return self._finder.find(task_id, request.args.get("root"))

    def _below(self, request: Request, parts: list[str]) -> tuple[TaskKey, list[str]]:
        """(the task, the names of the path below its sandbox) of ``/ROUTE/TASK/PATH``."""
        if len(parts) < 2:
            raise NotFound("there is no such route")
        return self._key(request, parts[1]), _plainly(parts[2:])

    def _key(self, request: Request, task_id: str) -> TaskKey:
        key = self._find(request, task_id)
        if key is None:
            raise NotFound(f"no such task: {task_id[:300]}")
        return key


def _exactly(parts: list[str], count: int) -> list[str]:
    """What follows the route's name. Raises NotFound."""
    if len(parts) != count + 1 or "" in parts:
        raise NotFound("there is no such route")
    return parts[1:]


def _plainly(below: list[str]) -> list[str]:
    """The names of a path without what says nothing: a slash at its end, and the ``./`` of the original's links."""
    if below[-1:] == [""]:
        below = below[:-1]
    return below[1:] if below[:1] == ["."] else below


def _part_of_list(rest: list[str]) -> tuple[str, int, int]:
    """(kind, offset, number of rows) of ``[/<type>[/<offset>[/<num>]]]``. Raises NotFound, BadRequest."""
    kind = rest[0] if rest else "all"
    if kind not in KINDS or len(rest) > 3:
        raise NotFound(f"there is no list of tasks but {', '.join(KINDS)}")
    offset = _number(rest[1], "an offset") if len(rest) > 1 else 0
    num = _number(rest[2], "a number of rows") if len(rest) > 2 else 0
    return kind, offset, min(num, MAX_ROWS) if num > 0 else aurora_json.ROWS


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    """The headers that say who asks, by their names in lower case."""
    names = ("host", "origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")
    found = ((name, environ.get(f"HTTP_{name.upper().replace('-', '_')}")) for name in names)
    return {name: str(value) for name, value in found if value is not None}


def _ids(request: Request) -> list[str]:
    """The task ids of ``?task_id=a,b``; ``task_ids`` is what the original's own words call it."""
    text = request.args.get("task_id") or request.args.get("task_ids") or ""
    found = list(dict.fromkeys(part for part in text.split(",") if part))
    if len(found) > MAX_IDS:
        raise BadRequest(f"more than {MAX_IDS} tasks in one request")
    return found


def _number(text: str, what: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > MAX_DIGITS:
        raise BadRequest(f"{what} is a whole number, not {text[:40]!r}")
    return int(text)


def _json(answer: object, status: int = 200) -> Response:
    return Response(aurora_json.dumped(answer), status=status, content_type="application/json")


def _words(status: int, text: str) -> Response:
    return Response(_bytes(text) + b"\n", status=status, content_type="text/plain; charset=utf-8")


def _failure(status: int, kind: Kind, text: str) -> Response:
    return _json({"error": text}, status) if kind is Kind.DATA else _words(status, text)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _redirect(path: str, section: str | None = None) -> Response:
    response = Response(status=302, content_type="text/plain; charset=utf-8")
    where = quote(path.encode("utf-8", "surrogateescape"), safe=_SAFE)
    response.headers["Location"] = where if section is None else f"{where}#{section}"
    response.autocorrect_location_header = False
    return response
