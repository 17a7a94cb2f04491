"""Whatever is asked, the answer is one of those that were meant; never a failure of ours."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import run_wsgi_app

from observer_static.serve import make_app
from observer_static.serve.sending import Piece
from tests.support.served import Host, a_run
from thermos.states import ProcessState

ROUTES = [
    "", "main", "task", "rawtask", "process", "logs", "logdata", "file", "filedata", "browse", "download", "j", "vars",
    "assets", "favicon.ico", "vars.json", "metrics", "health", "index.html", "finished.html", "finished",
]  # fmt: skip
WORDS = [
    *ROUTES, "one", "p", "q", "0", "-1", "1", "stdout", "stderr", ".logs", ".", "..", "data", "task_ids", "all",
    "active", "task_id_count", "process", "processes", "99999999999999999999", "raw.html", "browse.html", "%00",
    "\0", "\n", "\ud800", "\udcff", "é", "a" * 300, "\u202e", "~", "{{7*7}}", "<script>", "'\"",
]  # fmt: skip
NAMES = ["task_id", "task_ids", "offset", "length", "root", "filtered", "x", "", "é"]
VALUES = [
    "", "one", "one,one,two", "-1", "0", "1", "7", "9" * 30, "-" + "9" * 30, "nan", "1e9", "0x1", " 1", "+1", "\0",
    ",,,,", "é", "a" * 3000, "٣", "²",
]  # fmt: skip

part = st.sampled_from(WORDS) | st.text(max_size=8)
target = st.tuples(st.sampled_from(ROUTES), st.lists(part, max_size=6))
query = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | st.text(max_size=8)), max_size=4)
header = st.sampled_from([
    {}, {"HTTP_RANGE": "bytes=0-1,3-"}, {"HTTP_RANGE": "bytes=-99999999999999999999"}, {"HTTP_RANGE": "\xff=;"},
    {"HTTP_IF_NONE_MATCH": "*"}, {"HTTP_IF_NONE_MATCH": '"\xff", W/'},
    {"HTTP_IF_RANGE": "Thu, 99 Nov 9999 99:99:99 GMT"},
    {"HTTP_IF_MODIFIED_SINCE": "x" * 1000}, {"HTTP_IF_MODIFIED_SINCE": "Sat, 01 Jan 99999 00:00:00 GMT"},
    {"HTTP_COOKIE": "\xff=\0; a" * 50}, {"HTTP_ACCEPT": "*/*;q=nan"}, {"HTTP_ORIGIN": "http://[::1"},
    {"HTTP_SEC_FETCH_SITE": "\xff"}, {"CONTENT_LENGTH": "x"}, {"CONTENT_TYPE": "multipart/form-data; boundary="},
])  # fmt: skip


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(tmp_path_factory.mktemp("fuzz"))
    runs = [*a_run("p"), *a_run("p", ProcessState.FAILED, 1, seq=4)]
    box = host.add("one", runs, logs={"p/0/stdout": b"x", "p/1/stdout": b"y"})
    (box / "data").write_bytes(b"0123456789")
    host.add("é", a_run("\u202e{{7*7}}"), end=None)
    yield host


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(["GET", "HEAD"]), where=target, asked=query, more=header)
def test_no_request_fails(
    host: Host, method: str, where: tuple[str, list[str]], asked: list[tuple[str, str]], more: dict[str, str]
) -> None:
    path = "/" + "/".join([where[0], *where[1]])
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode("utf-8", "surrogatepass").decode("latin-1"),
        "QUERY_STRING": "&".join(f"{quote(n)}={quote(v, errors='surrogatepass')}" for n, v in asked),
        "HTTP_HOST": "localhost",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "1338",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.file_wrapper": iter_file,
        **more,
    }
    body, status, headers = run_wsgi_app(make_app(host.view), environ, buffered=True)
    code = int(status.split()[0])
    assert code in (200, 206, 302, 304, 400, 403, 404, 416), (path, status)
    for name, value in headers.items():
        assert value.isprintable() and value.isascii(), (name, value)
    location = headers.get("Location")
    assert location is None or (location.startswith("/task/") and "//" not in location)
    assert method != "HEAD" or not b"".join(body)


def iter_file(piece: Piece) -> Iterator[bytes]:
    try:
        while data := piece.read(100):
            yield data
    finally:
        piece.close()


def test_the_fuzz_reaches_what_it_is_for(host: Host) -> None:
    with host.serving() as client:
        assert client.get("/download/one/data").body == b"0123456789"
        assert client.json("/logdata/one/p/-1/stdout?offset=0")["data"] == "y"
        assert client.json("/j/task_ids")["task_count"] == 2
