"""The API's application: which path leads where, and what is asked of every request."""

from __future__ import annotations

import binascii
import logging
import time
from base64 import b64decode
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from scheduler.api import endpoints, json_api, leading, thrift_api
from scheduler.api.answers import html, packed, words
from scheduler.api.backend import Backend
from scheduler.api.counting import Counts
from scheduler.api.failures import HttpFailure
from scheduler.api.methods import CHALLENGE, Methods
from scheduler.api.openapi import document
from scheduler.api.options import ApiOptions
from scheduler.api.security import User
from thermos.errors import ThermosError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["ApiOptions", "create_app"]

log = logging.getLogger(__name__)

_READ: Final = ("GET", "HEAD")
#: What a page of ours may do: nothing but show itself.
_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_ALWAYS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cache-Control", "no-store"),
)
#: Paths that need no user even where reading does: whoever watches the scheduler has none.
_ALWAYS_OPEN: Final = frozenset({"health", "leaderhealth"})


def create_app(backend: Backend, options: ApiOptions | None = None) -> WSGIApplication:
    """The WSGI application over *backend*."""
    return _App(backend, options or ApiOptions())


class _App:
    def __init__(self, backend: Backend, options: ApiOptions) -> None:
        self._backend = backend
        self._options = options
        self._counts = Counts()
        self._methods = Methods(backend, options, self._counts)
        self._endpoints = endpoints.Endpoints(backend, options, self._counts)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began_ns = time.monotonic_ns()
        request = Request(environ)
        request.max_content_length = self._options.max_body_bytes
        response = self._respond(request)
        self._counts.responded(response.status_code, time.monotonic_ns() - began_ns)
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        first = request.path.removeprefix("/").partition("/")[0]
        try:
            response = self._route(request, first)
        except HttpFailure as error:
            response = words(error.status, str(error))
            response.headers.update(error.headers)
        except ThermosError as error:  # no answer of the scheduler's
            response = words(503, str(error))
        except HTTPException as error:  # werkzeug's: a body that is too long or ends early
            status = error.code or 500
            response = words(status, "the body is too long" if status == 413 else error.description or error.name)
        except Exception:  # the thread's top: one request fails, the server goes on
            log.exception("a request failed: %s", request.path[:200].encode("unicode_escape").decode())
            self._counts.add("uncaught_exceptions")
            response = words(500, "the scheduler failed; its log says why")
        for name, value in _ALWAYS:
            response.headers.setdefault(name, value)
        if response.mimetype == "text/html":
            response.headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
        return response

    def _route(self, request: Request, first: str) -> Response:
        moved = leading.elsewhere(request, first, self._backend.leader())
        if moved is not None:
            return moved
        user = self._user(request)
        if first == "api":
            _only(request, "GET", "POST")
            _not_from_elsewhere(request)
            _exactly(request, "/api")
            return thrift_api.serve(request, self._methods, user)
        if self._options.is_auth_required_for_reads and user is None and first not in _ALWAYS_OPEN:
            raise HttpFailure(401, "a user's name and password are needed", CHALLENGE)
        if first in ("apibeta", "apihelp"):
            return self._json_api(request, user)
        if first != "mname":  # which sends a request on, whatever its method
            _only(request, *_READ)
        found = self._endpoints.serve(request, first)
        if found is not None:
            return found
        return self._page(request)

    def _json_api(self, request: Request, user: User | None) -> Response:
        match request.path.strip("/").split("/"):
            case ["apibeta"]:
                _only(request, *_READ)
                return _see_other("/apihelp/index.html")
            case ["apibeta", "openapi.json"]:
                _only(request, *_READ)
                return Response(document(), content_type="application/json")
            case ["apibeta", name]:
                _only(request, "POST")
                _not_from_elsewhere(request)
                return json_api.serve(request, name, self._methods, user)
            case ["apihelp"]:
                _only(request, *_READ)
                return _see_other("/apihelp/index.html")
            case ["apihelp", "index.html"]:
                _only(request, *_READ)
                return json_api.help_page()
        raise HttpFailure(404, "there is no such page")

    def _page(self, request: Request) -> Response:
        pages = self._options.pages
        if pages is not None and request.path == "/":
            return _see_other("/scheduler")
        found = pages(request.path, request.args, self._backend.look) if pages is not None else None
        if found is None:
            raise HttpFailure(404, "there is no such page")
        return packed(request, html(found.html, found.status))

    def _user(self, request: Request) -> User | None:
        """Who proved to be a user; None: nobody tried, or they did not."""
        security = self._options.security
        header = request.headers.get("Authorization")
        if security is None or header is None:
            return None
        scheme, _, encoded = header.partition(" ")
        try:
            name, sign, password = b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            sign = ""
        if scheme.lower() != "basic" or not sign:
            self._counts.add("shiro_bad_requests")
            return None
        user = security.user(name, password)
        if user is None:
            log.warning("a wrong name or password for %s", request.path[:200].encode("unicode_escape").decode())
        return user


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise HttpFailure(405, f"only {' and '.join(methods)} are answered here", {"Allow": ", ".join(methods)})


def _exactly(request: Request, path: str) -> None:
    if request.path.rstrip("/") != path:
        raise HttpFailure(404, "there is no such page")


def _not_from_elsewhere(request: Request) -> None:
    """Refuses what a page from elsewhere makes a browser ask: it would do so in the name of whoever looks at it.

    Other clients send none of these headers.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        origin = request.headers.get("Origin")
        is_ours = origin is None or urlsplit(origin).netloc == request.headers.get("Host")
    if not is_ours:
        raise HttpFailure(403, "pages from elsewhere are not answered")


def _see_other(path: str) -> Response:
    response = Response(status=303, content_type="text/plain; charset=utf-8")
    response.headers["Location"] = path
    response.autocorrect_location_header = False
    return response
