"""A page follows a log through the agent: what is new, what was cut, what is hostile, and why it stopped."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from observer_static.parts import Follow, Span
from observer_static.render import Renderer
from tests.observer_static import samples
from tests.observer_static.browser import agent as agents
from tests.observer_static.browser.conftest import write
from tests.support.box import until

LOG = "/var/lib/mesos/slaves/S/sandbox/.logs/server/0/stdout & <more>"
BEGIN = b"the first line\nthe second line\n"


@pytest.fixture
def agent() -> Iterator[agents.Agent]:
    with agents.running() as found:
        found.files[LOG] = BEGIN
        yield found


class Followed:
    """A process page that shows BEGIN and can follow."""

    def __init__(self, tab: Any, renderer: Renderer, directory: Path, url: str, begin: bytes = BEGIN) -> None:
        spans = (Span(text=begin.decode("utf-8", "replace"), classes=""),) if begin else ()
        log = replace(
            samples.LOGS[0], size_bytes=len(begin), from_byte=0, note=None, spans=spans, rotated=(),
            follow=Follow(agent=url, path=LOG, offset=len(begin)),
        )  # fmt: skip
        self.tab = tab
        # What Chromium itself says of a question that failed.
        tab.expected = ("Failed to load resource", "Mixed Content", "Content Security Policy", "MIME type")
        self.file = renderer.render(replace(samples.PROCESS_PAGE, path="process.html", logs=(log, samples.LOGS[1])))
        self.page = tab.open(write(directory, self.file))
        self.box = self.page.get_by_label("Follow")

    def text(self) -> str:
        found: str = self.page.evaluate("document.querySelector('.log pre').textContent")
        return found

    def status(self) -> str:
        found: str = self.page.locator(".log [role=status]").inner_text()
        return found

    def shows(self, text: str) -> None:
        """Wait until the log ends so."""
        self.page.wait_for_function("(t) => document.querySelector('.log pre').textContent.endsWith(t)", arg=text)


@pytest.fixture
def followed(tabs: Any, renderer: Renderer, tmp_path: Path, agent: agents.Agent) -> Followed:
    return Followed(tabs(viewport={"width": 1280, "height": 800}), renderer, tmp_path, agent.url)


def test_what_is_written_appears(followed: Followed, agent: agents.Agent) -> None:
    assert agent.requests == 0, "nothing is asked for before somebody wants it"
    followed.box.check()
    followed.page.get_by_text("Following").wait_for()
    agent.files[LOG] += "größer\nand half a".encode()
    followed.shows("größer\nand half a")
    agent.files[LOG] += b" line\n"
    followed.shows("the second line\ngrößer\nand half a line\n")
    assert followed.text().count("\n") == 4
    followed.tab.screenshot("following-1280-light")
    asked = [url for url in followed.tab.foreign() if not url.startswith(f"{agent.url}/files/read?")]
    assert asked == []


def test_an_empty_log_can_be_followed(tabs: Any, renderer: Renderer, tmp_path: Path, agent: agents.Agent) -> None:
    agent.files[LOG] = b""
    followed = Followed(tabs(), renderer, tmp_path, agent.url, b"")
    followed.box.check()
    followed.page.get_by_text("Following").wait_for()
    agent.files[LOG] = b"at last\n"
    followed.shows("at last\n")


def test_a_line_goes_on_where_the_page_ended(
    tabs: Any, renderer: Renderer, tmp_path: Path, agent: agents.Agent
) -> None:
    agent.files[LOG] = b"half a "
    followed = Followed(tabs(viewport={"width": 1280, "height": 800}), renderer, tmp_path, agent.url, b"half a ")
    followed.box.check()
    agent.files[LOG] += b"line\nnext\n"
    followed.shows("half a line\nnext\n")
    tops = followed.page.evaluate(
        """() => { const pre = document.querySelector('.log pre'), r = document.createRange();
        const find = (word) => { const w = document.createTreeWalker(pre, NodeFilter.SHOW_TEXT);
          for (let n; n = w.nextNode();) { const i = n.data.indexOf(word);
            if (i >= 0) { r.setStart(n, i); r.setEnd(n, i + 1); return r.getBoundingClientRect().top; } } };
        return [find("half"), find("line"), find("next")]; }"""
    )
    assert abs(tops[0] - tops[1]) < 2 < tops[2] - tops[1]


def test_progress_is_collapsed_and_escapes_are_dropped(followed: Followed, agent: agents.Agent) -> None:
    followed.box.check()
    agent.files[LOG] += b"10 %\r20 %"
    followed.shows("20 %")
    assert "10 %" not in followed.text()
    agent.files[LOG] += (
        b"\r30 %\r\n\x1b[31;1mred\x1b[0m \x1b]0;title\x07\x1b]8;;http://evil\x1b\\link \x1b(B\x00\x08\xe2\x80\xae."
    )
    agent.files[LOG] += b"\nend \x1b[3"
    followed.shows("30 %\nred link \ufffd\ufffd\ufffd.\nend ")
    agent.files[LOG] += b"1mof it\n"
    followed.shows("end of it\n")


def test_markup_in_a_log_stays_text(followed: Followed, agent: agents.Agent) -> None:
    followed.box.check()
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>\u2028\"');alert(1)//\\\n"
    agent.files[LOG] += hostile.encode()
    followed.shows(hostile)
    assert followed.page.locator("pre img, pre script").count() == 0


def test_a_character_cut_in_two_is_shown_whole(followed: Followed, agent: agents.Agent) -> None:
    followed.box.check()
    followed.page.get_by_text("Following").wait_for()
    whole = "a€".encode()
    agent.files[LOG] += whole[:-1]
    followed.shows("a")
    agent.files[LOG] += whole[-1:] + b"\n"
    followed.shows("line\na€\n")


def test_bytes_that_are_no_text_do_not_stop_it(followed: Followed, agent: agents.Agent) -> None:
    followed.box.check()
    agent.files[LOG] += b"\xff\xfe\xff"
    until(lambda: followed.text().endswith("\ufffd"), "the bytes are shown")
    agent.files[LOG] += b"\nafter\n"
    followed.shows("\nafter\n")


def test_a_file_that_began_anew_is_read_from_its_begin(followed: Followed, agent: agents.Agent) -> None:
    followed.box.check()
    followed.page.get_by_text("Following").wait_for()
    agent.files[LOG] = b"new\n"
    followed.shows("[the file began anew]\nnew\n")


def test_what_is_too_far_behind_is_passed_over(followed: Followed, agent: agents.Agent) -> None:
    agent.files[LOG] += b"x" * 30 + b"\n" + (b"y" * 999 + b"\n") * 4000 + b"the end\n"
    followed.box.check()
    followed.shows("\nthe end\n")
    passed = len(agent.files[LOG]) - len(BEGIN) - (2 << 20)
    assert f"[{passed} bytes passed over]" in followed.text()


def test_ten_thousand_lines_are_kept_and_nothing_stalls(
    followed: Followed, agent: agents.Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    page = followed.page
    page.evaluate(
        """() => { window.tasks = [0]; new PerformanceObserver((list) => list.getEntries().forEach(
        (entry) => window.tasks.push(entry.duration))).observe({type: "longtask"}); }"""
    )
    agent.files[LOG] += b"".join(
        b"line %06d of a log that goes on and on, as logs do, with a %d\n" % (n, n) for n in range(12_000)
    )
    followed.box.check()
    followed.shows("with a 11999\n")
    for batch in range(3):
        agent.files[LOG] += b"".join(b"more %d of %d\n" % (n, batch) for n in range(1000))
        followed.shows(f"more 999 of {batch}\n")
    kept = followed.text().count("\n")
    assert 9000 <= kept <= 10_000
    assert "the first line" not in followed.text()
    longest = page.evaluate("Math.max(...window.tasks)")
    with capsys.disabled():
        print(f"\n15000 lines followed, {kept} kept: the longest task took {longest:.0f} ms")
    assert page.evaluate("document.querySelector('.view').scrollTop") == 0, "the end is still in view"


def test_unchecking_ends_the_questions(followed: Followed, agent: agents.Agent) -> None:
    page = followed.page
    page.clock.install()
    followed.box.check()
    page.get_by_text("Following").wait_for()
    page.clock.run_for(1500)
    followed.box.uncheck()
    assert followed.status() == ""
    before = _settled(page, agent)
    page.clock.run_for(30_000)
    assert _settled(page, agent) == before
    agent.files[LOG] += b"again\n"
    followed.box.check()
    followed.shows("again\n")


def _settled(page: Any, agent: agents.Agent) -> int:
    """How much was asked for, once all of it is answered."""
    page.wait_for_function("document.querySelectorAll('head script').length == 0")
    return agent.requests


def test_a_page_that_nobody_looks_at_asks_nothing(followed: Followed, agent: agents.Agent) -> None:
    page = followed.page
    page.clock.install()
    followed.box.check()
    page.get_by_text("Following").wait_for()
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {get: () => window.away, configurable: true}); window.away = true"
    )
    before = _settled(page, agent)
    page.clock.run_for(30_000)
    assert _settled(page, agent) == before
    agent.files[LOG] += b"meanwhile\n"
    page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    followed.shows("meanwhile\n")


# -- When it fails ----------------------------------------------------------------------------------------------------

GAVE_UP = "Stopped: the agent did not give the file."


def stopped(followed: Followed, why: str) -> None:
    """It says once why, has stopped, and can be tried again."""
    followed.page.get_by_text(why).wait_for()
    assert not followed.box.is_checked()
    assert followed.page.get_by_text(why).count() == 1
    assert followed.page.evaluate("document.querySelectorAll('head script').length") == 0


@pytest.mark.parametrize("fault", [404, 401, 403, 500, "garbage"])
def test_an_agent_that_refuses(followed: Followed, agent: agents.Agent, fault: int | str) -> None:
    agent.fault = fault
    followed.box.click()
    stopped(followed, GAVE_UP)
    assert agent.requests == 1, "it is asked once"
    agent.fault = None
    followed.box.click()
    followed.page.get_by_text("Following").wait_for()
    agent.files[LOG] += b"well again\n"
    followed.shows("well again\n")


def test_an_agent_that_fails_later(followed: Followed, agent: agents.Agent) -> None:
    followed.box.click()
    followed.page.get_by_text("Following").wait_for()
    del agent.files[LOG]
    stopped(followed, GAVE_UP)


def test_an_agent_that_is_away(tabs: Any, renderer: Renderer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    followed = Followed(tabs(viewport={"width": 320, "height": 800}), renderer, tmp_path, url)
    followed.box.click()
    stopped(followed, GAVE_UP)
    followed.tab.screenshot("follow-stopped-320-light")


def test_an_agent_that_never_answers(followed: Followed, agent: agents.Agent) -> None:
    followed.page.clock.install()
    agent.fault = "silent"
    followed.box.click()
    until(lambda: agent.requests == 1, "the agent is asked")
    assert followed.status() == "Asking the agent …"
    followed.page.clock.run_for(10_100)
    stopped(followed, "Stopped: the agent has not answered for 10 s.")
    agent.fault = None
    agent.ends.set()


def test_a_page_from_https_cannot_ask_an_agent_of_http(tabs: Any, renderer: Renderer, tmp_path: Path) -> None:
    tab = tabs()
    followed = Followed(tab, renderer, tmp_path, "http://agent.example:5051")
    body = followed.file.content.decode()
    tab.page.route("https://pages.example/**", lambda route: route.fulfill(body=body, content_type="text/html"))
    tab.open("https://pages.example/process.html")
    followed.box.click()
    stopped(followed, "browsers forbid to mix them")


def test_a_page_may_ask_its_own_agent_only(followed: Followed, agent: agents.Agent) -> None:
    """The policy stops what a script of another agent would be."""
    with agents.running() as other:
        followed.page.evaluate("(url) => { document.querySelector('[data-agent]').dataset.agent = url; }", other.url)
        followed.box.click()
        stopped(followed, GAVE_UP)
        assert other.requests == agent.requests == 0
    assert any("Content Security Policy" in said for said in followed.tab.complaints)
