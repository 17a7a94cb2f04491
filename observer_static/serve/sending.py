"""Files of tasks over HTTP: whole, in ranges, and in the pieces that the original's pager asks for.

What may be opened is not decided here but in :mod:`observer_static.reach`. From here on there is only a descriptor:
reads are bounded, and nothing of a file is kept.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from urllib.parse import quote

from werkzeug.http import generate_etag, http_date, is_resource_modified, parse_range_header, unquote_etag
from werkzeug.wrappers import Request, Response

from observer_static.logtext import is_binary
from observer_static.serve.aurora_json import Json, chunk

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

#: The most that one answer of ``/logdata`` and ``/filedata`` holds, of the file.
MAX_CHUNK_BYTES: Final = 1 << 20
#: Ranges of one request, and what they may hold together, if they are answered one by one.
MAX_RANGES: Final = 16
MAX_RANGES_BYTES: Final = 1 << 20
_MAX_RANGE_HEADER: Final = 1000
#: By this much of its beginning a file is taken for text or not.
_LOOK_BYTES: Final = 4096

_TEXT: Final = "text/plain; charset=utf-8"
_BINARY: Final = "application/octet-stream"
#: What may stand in a quoted file name; a browser that knows ``filename*`` does not look at it.
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 !#$&()+,-.=@[]^_{}~")


class Span(NamedTuple):
    """A part of a file."""

    start: int
    length: int


class Piece:
    """A part of a file as a file, so that the server's own thread can send it. Owns the descriptor."""

    def __init__(self, fd: int, span: Span) -> None:
        self._fd = fd
        self._span = span
        self._at = 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._span.length}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = self._span.length - self._at
        wanted = left if size < 0 else min(size, left)
        if wanted <= 0:
            return b""
        data = os.pread(self._fd, wanted, self._span.start + self._at)
        if not data:  # cut off since; what was promised cannot be sent, so the connection must end
            raise OSError("the file became shorter while it was sent")
        self._at += len(data)
        return data

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()  # a client that went away before the first byte leaves it to nobody else


def send(request: Request, fd: int, name: str, *, as_download: bool) -> Response:
    """The file behind *fd*, which is closed, as far as the request wants it."""
    try:
        info = os.fstat(fd)
        size = info.st_size
        is_text = not is_binary(os.pread(fd, _LOOK_BYTES, 0))
    except OSError:
        os.close(fd)
        raise
    etag = generate_etag(f"{info.st_dev} {info.st_ino} {size} {info.st_mtime_ns}".encode())
    spans = _wanted(request, etag, size)
    if not is_resource_modified(request.environ, etag, last_modified=http_date(info.st_mtime)):
        os.close(fd)
        response = Response(status=HTTPStatus.NOT_MODIFIED)
    elif spans is None:
        response = piece(request, fd, Span(0, size), HTTPStatus.OK)
    elif not spans:
        os.close(fd)
        response = Response(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, content_type=_TEXT)
        response.headers["Content-Range"] = f"bytes */{size}"
    elif len(spans) == 1:
        response = piece(request, fd, spans[0], HTTPStatus.PARTIAL_CONTENT)
        response.headers["Content-Range"] = _content_range(spans[0], size)
    else:
        response = _pieces(request, fd, spans, size, _TEXT if is_text else _BINARY)
    response.headers.setdefault("Content-Type", _TEXT if is_text else _BINARY)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Last-Modified"] = http_date(info.st_mtime)
    response.headers["Content-Disposition"] = disposition(name, as_download=as_download or not is_text)
    response.set_etag(etag)
    return response


def read_chunk(fd: int, offset: str | None, length: str | None) -> Json:
    """The answer of ``/logdata`` for the file behind *fd*: nothing for what is no number, as the original.

    No offset, or -1, is the end of the file; no length, or -1, is all that is left, up to ``MAX_CHUNK_BYTES``.
    """
    start, wanted = _number(offset), _number(length)
    if start is None or wanted is None:
        return {}
    size = os.fstat(fd).st_size
    if start < 0:
        start = size
    left = max(size - start, 0)
    wanted = min(left if wanted < 0 else min(wanted, left), MAX_CHUNK_BYTES)
    return chunk(start, os.pread(fd, wanted, start) if wanted else b"")


def disposition(name: str, *, as_download: bool) -> str:
    """``Content-Disposition`` for a file of that name (RFC 6266): nothing in a name can end it or begin another."""
    kind = "attachment" if as_download else "inline"
    plain = "".join(char if char in _PLAIN else "_" for char in name)
    exact = quote(name.encode("utf-8", "surrogateescape"), safe="")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{exact}"


def _number(text: str | None) -> int | None:
    if not text:
        return -1
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        return None
    # More digits than a file has bytes: behind the end of any.
    return int(text) if len(digits) <= 18 else (1 << 62 if digits is text else -1)


def _wanted(request: Request, etag: str, size: int) -> list[Span] | None:
    """The parts that are asked for, none of them if none is there; None: the whole file."""
    header = request.headers.get("Range")
    if header is None or len(header) > _MAX_RANGE_HEADER:
        return None
    if_range = request.headers.get("If-Range")
    if if_range is not None and unquote_etag(if_range) != (etag, False):
        return None
    found = parse_range_header(header)
    if found is None or found.units != "bytes":
        return None
    spans = []
    for start, stop in found.ranges:
        first = max(size + start, 0) if start < 0 else start
        behind = size if stop is None else min(stop, size)
        if first < behind:
            spans.append(Span(first, behind - first))
    if len(spans) > 1 and (len(spans) > MAX_RANGES or sum(span.length for span in spans) > MAX_RANGES_BYTES):
        return None  # RFC 9110, 14.2: a server may ignore ranges that are too many
    return spans


def piece(request: Request, fd: int, span: Span, status: int) -> Response:
    """An answer of that part of the file behind *fd*, which is closed when it is sent. It has no type yet."""
    part = Piece(fd, span)
    if request.method == "HEAD" or not span.length:
        part.close()
        response = Response(status=status)
    else:
        response = Response(_wrapped(request.environ, part), status=status, direct_passthrough=True)
    response.headers["Content-Length"] = str(span.length)
    del response.headers["Content-Type"]
    return response


def _wrapped(environ: WSGIEnvironment, piece: Piece) -> Iterable[bytes]:
    return cast(Iterable[bytes], environ["wsgi.file_wrapper"](piece))


def _pieces(request: Request, fd: int, spans: list[Span], size: int, content_type: str) -> Response:
    """Several parts in one answer (RFC 9110, 14.6)."""
    boundary = secrets.token_hex(16)
    body = bytearray()
    try:
        for span in spans:
            body += f"--{boundary}\r\nContent-Type: {content_type}\r\n".encode()
            body += f"Content-Range: {_content_range(span, size)}\r\n\r\n".encode()
            body += os.pread(fd, span.length, span.start) + b"\r\n"
    finally:
        os.close(fd)
    body += f"--{boundary}--\r\n".encode()
    content = f"multipart/byteranges; boundary={boundary}"
    return Response(bytes(body), status=HTTPStatus.PARTIAL_CONTENT, content_type=content)


def _content_range(span: Span, size: int) -> str:
    return f"bytes {span.start}-{span.start + span.length - 1}/{size}"
