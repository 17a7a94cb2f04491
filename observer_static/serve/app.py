"""The routes: Aurora's observer's, read-only, and the static pages of the site."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from observer_static.serve import aurora_json, security
from observer_static.serve.finding import KINDS, Finder
from observer_static.serve.pages import Pages
from observer_static.serve.security import Hosts, Kind
from observer_static.view import View

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

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

Handler: TypeAlias = Callable[[Request, list[str]], Response]


class NotFound(Exception):
    """What was asked for is not there; the text says what."""


class BadRequest(Exception):
    """The request makes no sense; the text says why."""


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
            "": (Kind.PAGE, self._page),
            "task": (Kind.PAGE, self._task),
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
        return self._pages.serve(request, parts) or self._nothing(parts)

    def _task(self, request: Request, parts: list[str]) -> Response:
        if len(parts) == 2:
            return self._to_page(request, parts[1], "index.html")
        return self._page(request, parts)

    def _to_page(self, request: Request, task_id: str, page: str) -> Response:
        key = self._key(request, task_id)
        return _redirect(f"/task/{self._view.page_key(key)}/{page}")

    def _nothing(self, parts: list[str]) -> Response:
        raise NotFound("there is no such page")

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
        kind = rest[0] if rest else "all"
        if kind not in KINDS:
            raise NotFound(f"there is no list of tasks but {', '.join(KINDS)}")
        offset = _number(rest[1], "an offset") if len(rest) > 1 else 0
        num = _number(rest[2], "a number of rows") if len(rest) > 2 else 0
        num = min(num, MAX_ROWS) if num > 0 else aurora_json.ROWS
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

    def _key(self, request: Request, task_id: str) -> TaskKey:
        key = self._find(request, task_id)
        if key is None:
            raise NotFound(f"no such task: {task_id[:300]}")
        return key


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


def _redirect(path: str) -> Response:
    response = Response(status=302, content_type="text/plain; charset=utf-8")
    response.headers["Location"] = quote(path.encode("utf-8", "surrogateescape"), safe="/+=,@~#")
    response.autocorrect_location_header = False
    return response
