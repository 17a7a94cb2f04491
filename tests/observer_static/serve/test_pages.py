"""Pages over HTTP: the site's files, the same made when asked for, and Aurora's addresses that lead to them."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import pytest

from detectors.watch import TaskKey
from observer_static.serve.security import PAGE_POLICY
from tests.support.served import Client, Host, a_run
from thermos.host.usage import TaskUsage, Usage
from thermos.states import ProcessState

pytestmark = pytest.mark.process

ODD = "odd ~ {{7*7}} <b> ü"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return filled(Host(tmp_path))


def filled(host: Host) -> Host:
    runs = [*a_run("p", ProcessState.FAILED, 1), *a_run("p", seq=4), *a_run(ODD, None)]
    logs = {"p/0/stdout": b"first\n", "p/1/stdout": b"second\n", f"{ODD}/0/stderr": b"odd\n"}
    host.add("one", runs, logs=logs, end=None)
    host.add("grüß@1", a_run("q"), logs={"q/0/stdout": b"x"})
    return host


class Links(HTMLParser):
    """The places that a page leads to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.update(value for name, value in attrs if name in ("href", "src", "action") and value)


def crawl(client: Client, start: str) -> dict[str, int]:
    """Every place on the server that can be reached from *start*, and its status."""
    seen: dict[str, int] = {}
    waiting = [start]
    while waiting:
        target = waiting.pop()
        if target in seen:
            continue
        answer = client.get(target)
        seen[target] = answer.status
        if answer.status == 302:
            waiting.append(answer.headers["Location"])
        if answer.headers["Content-Type"].startswith("text/html"):
            for link in Links(answer.text).found:
                where = urlsplit(urljoin(f"http://here{target}", link))
                if where.netloc == "here":
                    waiting.append(where.path + (f"?{where.query}" if where.query else ""))
    return seen


def test_every_link_of_pages_that_are_made_leads_somewhere(host: Host) -> None:
    with host.serving() as client:
        for start in ("/", "/main", "/main/finished", "/finished.html"):
            seen = crawl(client, start)
            assert all(status in (200, 302) for status in seen.values()), seen
        assert "/task/one/index.html" in seen
        assert "/task/one/raw.html" in seen
        assert "/download/one/.logs/p/1/stdout" in seen
        assert any(target.startswith("/task/one/process/odd") for target in seen)


def test_every_link_of_a_kept_site_leads_somewhere(host: Host) -> None:
    site = host.path / "site"
    command = [sys.executable, "-m", "observer_static.main", "--once", "--output", str(site), "--root", host.root]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    served = filled(Host(host.path, site=str(site)))
    with served.serving() as client:
        seen = crawl(client, "/")
        assert all(status in (200, 302) for status in seen.values()), seen
        assert "/task/one/process/p.html" in seen
        kept = client.get("/task/one/index.html")
        assert kept.body == (site / "task/one/index.html").read_bytes()
        assert kept.headers["Content-Type"] == "text/html; charset=utf-8"
        assert kept.headers["Content-Security-Policy"] == PAGE_POLICY
        assert kept.headers["Cache-Control"] == "no-cache"
        again = client.get("/task/one/index.html", {"If-None-Match": kept.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
        head = client.get("/", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["Content-Length"]) == (site / "index.html").stat().st_size
        os.unlink(site / "task/one/raw.html")  # not kept any more: made when it is asked for
        assert client.get("/task/one/raw.html").status == 200


def test_pages_of_active_tasks_are_measured_when_they_are_asked_for(tmp_path: Path) -> None:
    """Not so the pages of others, and those that do not show what a task uses."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "observer_static.main", "--once", "--output", str(site), "--root"]
    host = filled(Host(tmp_path))
    done = subprocess.run([*command, host.root], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    asked: list[str] = []

    def usage(key: TaskKey) -> TaskUsage:
        asked.append(key.task_id)
        used = Usage(1e9, 0.25, 77 << 20, 1, 1, 1.0, 1.0, 1, 1, 0, 0, 1, 0, "running")
        return TaskUsage(used, {ODD: used}, 3 << 30)

    served = filled(Host(tmp_path, site=str(site), measures=True, usage=usage, notices=lambda: ["one root is gone"]))
    with served.serving() as client:
        for target in ("/", "/index.html", "/task/one/index.html", "/task/one/"):
            text = client.get(target).text
            assert "77 MiB" in text and "3 GiB" in text, target
        assert "one root is gone" in client.get("/").text
        process = client.get("/process/one/" + quote(ODD)).headers["Location"]
        assert "77 MiB" in client.get(process).text
        assert set(asked) == {"one"}
        asked.clear()
        seen = crawl(client, "/finished.html")
        assert all(status in (200, 302) for status in seen.values()), seen
        asked.clear()
        for target in ("/finished.html", "/task/one/raw.html", "/task/one/browse.html", "/task/one/log/p/0.html"):
            kept = client.get(target)
            assert kept.body == (site / target[1:]).read_bytes(), target
        [other] = [path.name for path in (site / "task").iterdir() if path.name != "one"]
        target = f"/task/{quote(other)}/index.html"
        assert client.get(target).body == (site / "task" / other / "index.html").read_bytes()
        assert asked == []


def test_nothing_but_pages_is_told_of_the_sites_directory(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "task").mkdir(parents=True)
    (site / "index.html").write_text("<p>index")
    (site / ".hidden.html").write_text("hidden")
    (site / "notes.txt").write_text("hidden")
    (tmp_path / "outside.html").write_text("hidden")
    (site / "link.html").symlink_to("../outside.html")
    (site / "up").symlink_to("..")
    os.mkfifo(site / "fifo.html")
    with Host(tmp_path, site=str(site)).serving() as client:
        assert client.get("/").text == client.get("/index.html").text == "<p>index"
        hidden = ("/.hidden.html", "/notes.txt", "/link.html", "/fifo.html", "/task", "/task/", "/index.html/")
        for target in (*hidden, "/up/outside.html", "/../outside.html", "/%2e%2e/outside.html", "/./index.html"):
            answer = client.get(target)
            assert (answer.status, b"hidden" in answer.body) == (404, False), target


@pytest.mark.parametrize(
    "target, page",
    [
        ("/task/one", "/task/one/index.html"),
        ("/rawtask/one", "/task/one/raw.html"),
        ("/process/one/p", "/task/one/process/p.html"),
        ("/logs/one/p/1/stdout", "/task/one/process/p.html#stdout"),
        ("/logs/one/p/-1/stderr", "/task/one/process/p.html#stderr"),
        ("/logs/one/p/0/stdout", "/task/one/log/p/0.html#stdout"),
        ("/logs/one/p/-2/stdout", "/task/one/log/p/0.html#stdout"),
    ],
)
def test_addresses_of_auroras_pages_lead_to_ours(host: Host, target: str, page: str) -> None:
    with host.serving() as client:
        answer = client.get(target)
        assert (answer.status, answer.headers["Location"]) == (302, page)
        where, _, section = page.partition("#")
        found = client.get(where)
        assert found.status == 200
        assert not section or f'id="{section}"' in found.text


def test_names_that_are_not_plain(host: Host) -> None:
    with host.serving() as client:
        for target in (f"/task/{quote('grüß@1')}", f"/process/one/{quote(ODD)}", f"/logs/one/{quote(ODD)}/0/stderr"):
            answer = client.get(target)
            assert answer.status == 302, target
            assert client.get(answer.headers["Location"].partition("#")[0]).status == 200
        assert client.get(f"/browse/{quote('grüß@1')}").status == 200


@pytest.mark.parametrize(
    "target",
    ["/task/nobody", "/rawtask/nobody", "/process/one/nobody", "/process/one", "/process/one/p/0",
     "/logs/one/p/7/stdout", "/logs/one/p/0/stdin",
     "/logs/one/q/0/stdout", "/main/nonsense", "/main/all/0/1/2", "/task/one/nothing.html",
     "/task/nobody/index.html", "/task/one/process/..%2findex.html", "/assets/x.css", "/rawtask", "/nothing"],
)  # fmt: skip
def test_what_is_not_there(host: Host, target: str) -> None:
    with host.serving() as client:
        answer = client.get(target)
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_numbers_in_addresses(host: Host) -> None:
    with host.serving() as client:
        for text in ("x", quote("²"), quote("٣"), "1_0", "+1", "0x1", "-", "--1", "9" * 4000, "%201"):
            assert client.get(f"/main/all/{text}").status == 400, text
        assert client.get("/logs/one/p/x/stdout").status == 400
        for target in ("/main/all/-1/1", "/main/finished/0/5", "/main/active/99999/7", "/main/all/0/-3"):
            assert client.get(target).status == 200, target


def test_a_run_without_a_page_is_shown_as_it_is(tmp_path: Path) -> None:
    """Of a process with very many runs only the newest have pages."""
    host = Host(tmp_path)
    runs = [record for number in range(300) for record in a_run("p", seq=4 * number)]
    logs = {f"p/{number}/stdout": b"run %d\n" % number for number in (0, 299)}
    host.add("one", runs, logs=logs)
    with host.serving() as client:
        answer = client.get("/logs/one/p/0/stdout")
        assert (answer.status, answer.body) == (200, b"run 0\n")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert client.get("/logs/one/p/299/stdout").status == 302


def test_the_list_of_tasks_in_parts(tmp_path: Path) -> None:
    host = Host(tmp_path)
    for number in range(45):
        host.add(f"task-{number:02}", a_run("p"), changed_s=1000 + number)
    with host.serving() as client:
        seen = crawl(client, "/main/finished")
        parts = sorted(target for target in seen if target.startswith("/main/finished/"))
        assert parts == ["/main/finished/0/20", "/main/finished/20/20", "/main/finished/40/20"]
        assert all(status in (200, 302) for status in seen.values())
        assert "All tasks, 1 to 20 of 45" in client.get("/main").text
        assert "Finished tasks, 41 to 45 of 45" in client.get("/main/finished/40/20").text
        assert sum(f"/task/task-{number:02}/index.html" in seen for number in range(45)) == 45


def test_whose_tasks_are_shown(tmp_path: Path) -> None:
    with Host(tmp_path).serving() as client:
        assert "the tasks of every user" in client.get("/main").text
    with Host(tmp_path, owner="alice").serving() as client:
        assert "the user alice" in client.get("/main").text


def test_variables_and_metrics(tmp_path: Path) -> None:
    host = Host(tmp_path, variables=lambda: {"b.two": 2, "a.one": "words"}, metrics=lambda: b"metric 1\n")
    with host.serving() as client:
        assert client.get("/vars").text == "a.one words\nb.two 2\n"
        assert client.get("/vars/b.two").text == "2\n"
        assert client.get("/vars/c").status == 404
        assert client.json("/vars.json") == {"b.two": 2, "a.one": "words"}
        assert client.json("/vars.json?filtered=1") == {"b.two": 2, "a.one": "words"}
        assert client.get("/metrics").text == "metric 1\n"
        assert client.get("/metrics").headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert client.get("/favicon.ico").headers["Content-Type"].startswith("image/svg+xml")
