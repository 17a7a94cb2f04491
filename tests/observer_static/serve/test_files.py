"""Files over HTTP: pieces, ranges, names, and everything that a path or a file may try."""

from __future__ import annotations

import html
import http.client
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from observer_static.serve.sending import MAX_CHUNK_BYTES, Piece, Span, disposition
from tests.support.served import LOG, Client, Host, a_run

pytestmark = pytest.mark.process

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"
EXPECTED = GOLDEN / "expected" / "observer"


# -- Pieces of logs and files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query, expected",
    [
        ("?offset=0&length=2000", {"offset": 0, "length": 23, "data": "one\ntwo &amp; &lt;b&gt;three&lt;/b&gt;\n"}),
        ("", {"offset": 23, "length": 0}),
        ("?offset=-1", {"offset": 23, "length": 0}),
        ("?offset=0", {"offset": 0, "length": 23, "data": "one\ntwo &amp; &lt;b&gt;three&lt;/b&gt;\n"}),
        ("?offset=4&length=3", {"offset": 4, "length": 3, "data": "two"}),
        ("?offset=20&length=-1", {"offset": 20, "length": 3, "data": "b&gt;\n"}),
        ("?offset=23&length=9", {"offset": 23, "length": 0}),
        ("?offset=1000&length=9", {"offset": 1000, "length": 0}),
        ("?offset=0&length=0", {"offset": 0, "length": 0}),
        ("?offset=-7&length=3", {"offset": 23, "length": 0}),
        ("?offset=x", {}),
        ("?offset=0&length=x", {}),
        ("?offset=1.5", {}),
        ("?offset=%D9%A1", {}),  # a digit, but none of ours
        ("?offset=1_0", {}),
    ],
)
def test_pieces(client: Client, query: str, expected: dict[str, Any]) -> None:
    assert client.json(f"/logdata/one/p/0/stdout{query}") == expected
    assert client.json(f"/logdata/one/p/-1/stdout{query}") == expected
    assert client.json(f"/filedata/one/.logs/p/0/stdout{query}") == expected
    assert client.json(f"/filedata/one/./.logs/p/0/stdout{query}") == expected  # the original's own links


def test_logs_are_two_streams_and_nothing_else(client: Client, box: Path) -> None:
    (box / ".logs/p/0/core").write_bytes(b"core")
    assert client.json("/logdata/one/p/0/core?offset=0") == {}
    assert client.json("/filedata/one/.logs/p/0/core?offset=0")["data"] == "core"


def test_numbers_beyond_any_file(client: Client) -> None:
    for number in ("9" * 18, "9" * 19, "9" * 5000, str(2**63)):
        assert client.json(f"/logdata/one/p/0/stdout?offset={number}&length={number}")["length"] == 0
        assert client.json(f"/logdata/one/p/0/stdout?offset=0&length={number}")["length"] == len(LOG)
    assert client.json(f"/logdata/one/p/0/stdout?offset=-{'9' * 5000}") == {"offset": len(LOG), "length": 0}


@pytest.mark.parametrize(
    "target",
    ["/logdata/one/p/1/stdout", "/logdata/one/p/0/stdin", "/logdata/one/q/0/stdout", "/logdata/nobody/p/0/stdout",
     "/logdata/one/p/0/..%2f..%2f..%2f..%2f..%2fsecret", "/filedata/one/nothing", "/filedata/one/sub", "/filedata/one/",
     "/filedata/one", "/filedata/nobody/x"],
)  # fmt: skip
def test_what_is_not_there_has_no_pieces(client: Client, target: str) -> None:
    answer = client.get(target)
    assert (answer.status, answer.body) in ((200, b"{}"), (404, b'{"error": "there is no such route"}'))


@pytest.mark.skipif(not EXPECTED.exists(), reason=f"needs answers of the original in {EXPECTED}")
def test_pieces_are_those_of_the_original(tmp_path: Path) -> None:
    """Its logs are made again from what it told of them, each under its process's name."""
    host = Host(tmp_path)
    expected: dict[str, Any] = {}
    for directory in sorted(EXPECTED.iterdir()):
        logs, names = {}, []
        for file in sorted(directory.glob("j-process.*.run0.json")):
            number, told = file.name.split(".")[1], json.loads(file.read_text())
            if not told:
                continue  # a name that it could not take from an address
            name = told["process_name"]
            names.append(name)
            tail = json.loads((directory / f"logdata-tail.{number}.json").read_text())
            for stream in ("stdout", "stderr"):
                piece = json.loads((directory / f"logdata.{number}.run0.{stream}.json").read_text())
                logs[f"{name}/0/{stream}"] = html.unescape(piece.get("data", "")).encode()
                path = f"/logdata/{directory.name}/{quote(name)}/0/{stream}"
                expected[f"{path}?offset=0&length=2000"] = piece
                if stream == "stdout" and tail["offset"] == piece["length"]:
                    expected[path] = tail
        host.add(directory.name, [record for name in names for record in a_run(name)], logs=logs)
    assert len(expected) > 60
    with host.serving() as client:
        for target, piece in expected.items():
            assert client.json(target) == piece, target


def test_a_piece_is_bounded_and_says_how_long_it_is(client: Client, box: Path) -> None:
    with open(box / "huge", "wb") as file:
        file.truncate(1 << 40)
    found = client.json("/filedata/one/huge?offset=0&length=-1")
    assert found["length"] == MAX_CHUNK_BYTES
    assert client.json("/filedata/one/huge")["offset"] == 1 << 40
    assert client.json(f"/filedata/one/huge?offset={(1 << 40) - 3}")["length"] == 3


def test_bytes_that_are_no_text(client: Client, box: Path) -> None:
    (box / "bytes").write_bytes(b"a\xff\x00\x1b[31m\xe4\xb8<")
    found = client.json("/filedata/one/bytes?offset=0")
    assert found == {"offset": 0, "length": 11, "data": "a\ufffd\x00\x1b[31m\ufffd&lt;"}


# -- Whole files and ranges -------------------------------------------------------------------------------------------


def test_a_file_as_it_is(client: Client) -> None:
    for route, kind in (("file", "inline"), ("download", "attachment")):
        answer = client.get(f"/{route}/one/data.txt")
        assert (answer.status, answer.body) == (200, b"0123456789")
        assert answer.headers["Content-Length"] == "10"
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["Content-Disposition"].startswith(f'{kind}; filename="data.txt"')
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        again = client.get(f"/{route}/one/data.txt", {"If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
        head = client.get(f"/{route}/one/data.txt", method="HEAD")
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "10")


def test_what_a_browser_would_run_is_text(client: Client, box: Path) -> None:
    for name in ("page.html", "image.svg", "code.js", "page.xhtml", "style.css"):
        (box / name).write_bytes(b"<html><script>alert(1)</script>")
        headers = client.get(f"/file/one/{name}").headers
        assert headers["Content-Type"] == "text/plain; charset=utf-8"
        assert headers["X-Content-Type-Options"] == "nosniff"
    (box / "program").write_bytes(bytes(range(256)) * 8)
    headers = client.get("/file/one/program").headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"].startswith("attachment;")


@pytest.mark.parametrize(
    "asked, status, body, content_range",
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=7-1000", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-1000", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=100-200,300-", 416, b"", "bytes */10"),
        ("bytes=8-9,100-", 206, b"89", "bytes 8-9/10"),
        ("bytes=4-2", 200, b"0123456789", None),
        ("bytes=x", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=0-" + "9" * 900, 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=" + "0-0," * 2000 + "1-1", 200, b"0123456789", None),
    ],
)
def test_ranges(client: Client, asked: str, status: int, body: bytes, content_range: str | None) -> None:
    answer = client.get("/download/one/data.txt", {"Range": asked})
    assert (answer.status, answer.body, answer.headers["Content-Range"]) == (status, body, content_range)
    assert answer.headers["Content-Length"] == str(len(body))
    assert client.get("/download/one/data.txt", {"Range": asked}, "HEAD").status == status


def test_several_ranges(client: Client) -> None:
    answer = client.get("/download/one/data.txt", {"Range": "bytes=0-1,4-4,8-"})
    assert answer.status == 206
    kind, _, boundary = answer.headers["Content-Type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = answer.body.split(f"--{boundary}".encode())
    assert parts[0] == b"" and parts[-1] == b"--\r\n"
    found = [part.partition(b"\r\n\r\n") for part in parts[1:-1]]
    assert [tail for _, _, tail in found] == [b"01\r\n", b"4\r\n", b"89\r\n"]
    assert [head.rpartition(b"\r\n")[2] for head, _, _ in found] == [
        b"Content-Range: bytes 0-1/10", b"Content-Range: bytes 4-4/10", b"Content-Range: bytes 8-9/10"
    ]  # fmt: skip


def test_a_range_of_another_version_is_not_taken(client: Client) -> None:
    etag = client.get("/download/one/data.txt").headers["ETag"]
    same = client.get("/download/one/data.txt", {"Range": "bytes=2-4", "If-Range": etag})
    other = client.get("/download/one/data.txt", {"Range": "bytes=2-4", "If-Range": '"other"'})
    assert (same.status, same.body) == (206, b"234")
    assert (other.status, other.body) == (200, b"0123456789")


def test_of_a_sparse_terabyte_only_what_is_asked_for_is_read(client: Client, box: Path) -> None:
    with open(box / "huge", "wb") as file:
        file.truncate(1 << 40)
        file.seek((1 << 40) - 4)
        file.write(b"tail")
    before = _read_bytes()
    answer = client.get("/download/one/huge", {"Range": "bytes=-4"})
    assert (answer.status, answer.body) == (206, b"tail")
    assert answer.headers["Content-Range"] == f"bytes {(1 << 40) - 4}-{(1 << 40) - 1}/{1 << 40}"
    many = client.get("/download/one/huge", {"Range": "bytes=0-9,500000000000-500000000009"})
    assert many.status == 206 and len(many.body) < 1000
    assert client.get("/download/one/huge", method="HEAD").headers["Content-Length"] == str(1 << 40)
    assert _read_bytes() - before < 10 << 20


def _read_bytes() -> int:
    """What this process, and so the server's threads, have read by system calls."""
    words = Path("/proc/self/io").read_text().split()
    return int(words[words.index("rchar:") + 1])


def test_a_file_that_is_cut_while_it_is_sent_ends_the_connection(client: Client, box: Path) -> None:
    """What was promised cannot come any more. To wait for it would keep the server's thread busy for ever."""
    with open(box / "huge", "wb") as file:
        file.truncate(1 << 30)
    with client.connect() as sock:
        sock.sendall(b"GET /download/one/huge HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        os.truncate(box / "huge", 10)
        received = sum(map(len, iter(lambda: sock.recv(1 << 20), b"")))
    assert received < 1 << 29


def test_an_answer_that_nobody_takes_holds_no_file(box: Path) -> None:
    """A client may be gone before the server has its answer: then nobody is told to close it."""
    fd = os.open(box / "data.txt", os.O_RDONLY)
    piece = Piece(fd, Span(0, 10))
    assert piece.read(3) == b"012"
    del piece
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_readers_that_do_not_read_hold_up_nobody(client: Client, box: Path) -> None:
    """More of them than there are threads, each in the middle of a gigabyte."""
    with open(box / "huge", "wb") as file:
        file.truncate(1 << 30)
    held = [client.connect() for _ in range(12)]
    try:
        for number, sock in enumerate(held):
            asked = "" if number % 2 else "Range: bytes=5-\r\n"
            sock.sendall(f"GET /download/one/huge HTTP/1.1\r\nHost: localhost\r\n{asked}\r\n".encode())
            assert sock.recv(100).startswith(b"HTTP/1.1 20")
        assert client.get("/health").status == 200
        assert client.get("/download/one/data.txt").body == b"0123456789"
    finally:
        for sock in held:
            sock.close()


# -- Names ------------------------------------------------------------------------------------------------------------

NAMES = [
    b"plain name", b'quo"te', b"semi;colon", b"back\\slash", b"new\r\nSet-Cookie: x=1", b"line\nend", b"tab\tx",
    "grüß 世界".encode(), b"bad\xff\xfeutf8", b"%2e%2e", b"100%", b"a?b#c", b"...", b"-rf", b"\x7f\x1b[31m",
    b"<img src=x onerror=alert(1)>", b"a" * 255, "\u202etxt.exe".encode(), b"x=y&z", b"'",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_name_can_be_had_and_none_can_end_a_header(client: Client, box: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(box) + b"/" + name)).write_bytes(b"found")
    target = f"/download/one/{quote(name, safe='')}"
    answer = client.get(target)
    assert (answer.status, answer.body) == (200, b"found")
    assert "Set-Cookie" not in answer.headers
    said = answer.headers["Content-Disposition"]
    assert said.isascii() and said.isprintable()
    assert said.startswith('attachment; filename="') and said.count('"') == 2
    assert said.endswith(f"filename*=UTF-8''{quote(name, safe='')}")
    assert client.json(f"/filedata/one/{quote(name, safe='')}?offset=0")["data"] == "found"
    listed = client.get("/browse/one")
    assert listed.status == 200
    assert target.encode() in listed.body or quote(name, safe="+=,@~").encode() in listed.body
    assert b"<img" not in listed.body


def test_a_naive_header_would_have_been_ended() -> None:
    """What the tests above defend against is real: a name put in as it is adds a header."""
    naive = http.client.parse_headers(_lines(b'Content-Disposition: attachment; filename="new\r\nSet-Cookie: x=1"'))
    ours = http.client.parse_headers(
        _lines(b"Content-Disposition: " + disposition("new\r\nSet-Cookie: x=1", as_download=True).encode())
    )
    assert naive["Set-Cookie"] is not None
    assert ours["Set-Cookie"] is None


def _lines(head: bytes) -> Any:
    import io

    return io.BytesIO(head + b"\r\n\r\n")
