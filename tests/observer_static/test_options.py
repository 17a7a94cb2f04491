"""How raw files are linked."""

from __future__ import annotations

import pytest

from observer_static.options import AgentLinks, Options, RawLinks, file_links, relative_links, served_links

RUN = "/var/lib/mesos/slaves/S/frameworks/F/executors/E/runs/R"
SANDBOX = f"{RUN}/sandbox"
AGENT = AgentLinks("http://h:5051/")

BAD = ("", "..", "a/../b", "./a", "a//b", "/etc/passwd", "a/", "\0", "\ud800", "x" * 5000)


@pytest.mark.parametrize("links", [file_links, AGENT, served_links, relative_links()])
@pytest.mark.parametrize("relative", BAD)
def test_nothing_but_what_lies_below_is_linked(links: RawLinks, relative: str) -> None:
    assert links("/root", "t", SANDBOX, relative) is None


NAME = 'a b/"<?#%+&;é\udcff'
ENCODED = "a%20b/%22%3C%3F%23%25%2B%26%3B%C3%A9%FF"


def test_names_are_encoded() -> None:
    assert file_links("/r", "t", "/s", NAME) == f"file:///s/{ENCODED}"
    assert AGENT("/r", "t", SANDBOX, NAME) == f"http://h:5051/files/download?path={SANDBOX}/{ENCODED}"
    assert served_links("/r", "t", "/s", NAME) == f"/download/t/{ENCODED}"
    assert relative_links()("/r", "t", "/s", NAME) == f"../{ENCODED}"


def test_relative_links_know_their_page() -> None:
    options = Options(writer="w", version="1", hostname="h", raw_links=relative_links())
    links = options.on_page("log/web/3.html").raw_links
    assert links("/r", "t", "/s", ".logs/web/3/stdout") == "../../../.logs/web/3/stdout"
    assert Options(writer="w", version="1", hostname="h").on_page("x/y.html").raw_links is file_links


def test_an_agent_has_only_what_lies_in_a_run() -> None:
    assert AGENT("/r", "t", "/elsewhere", "a") is None
    assert AGENT("/r", "t", "/agents/S/frameworks/F/executors/E/runs/R", "a") is not None
    assert AGENT.absolute(RUN, is_directory=True) is None


def test_files_outside_of_a_sandbox() -> None:
    assert file_links.absolute("/a/b c") == "file:///a/b%20c"
    assert file_links.absolute("a/b") is None and file_links.absolute("/a/../b") is None
    assert served_links.absolute("/a") is None and relative_links().absolute("/a") is None
    assert RawLinks()("/r", "t", "/s", "a") is None
