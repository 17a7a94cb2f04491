"""Documents say what is there: links lead somewhere, commands exist, nothing is about what readers lack."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
INLINE: Final = re.compile(r"`[^`\n]*/[^`\n]*`")
CODE: Final = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)

#: What no file of ours may say, with the reason; a letter in brackets keeps a pattern from finding itself.
FORBIDDEN: Final = {
    "work left undone": re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X])\b"),
    "a number in a tracker that readers cannot open": re.compile(r"(?i)\b(?:issu[e]|pull reques[t])s? #?\d+"),
    "a path of one machine": re.compile(r"(?<![\w.-])/(?:wor[k]|roo[t])/"),
}

#: Mesos' word is "agent". The other one is part of names in formats of old, which code must spell out.
OLD_WORD: Final = re.compile(r"(?i)\bslav[e]s?\b")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tracked_text() -> Iterator[tuple[Path, str]]:
    """Every file of the tree that is text, as git lists it: new ones that are not ignored too."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs a git checkout and git, to know which files are ours")
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for entry in listed.stdout.decode().split("\0"):
        path = ROOT / entry
        if entry and path.is_file() and not path.is_symlink():
            try:
                yield path, path.read_text("utf-8")
            except UnicodeDecodeError:
                continue


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a Markdown page."""
    headings = re.findall(r"^#+ +(.+?) *$", CODE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    found = []
    for target in LINK.findall(CODE.sub("", text)):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        if not there.exists():
            found.append(f"{name(page)} links to {target}, which is not there")
        elif anchor and there.suffix == ".md" and anchor not in anchors(there.read_text("utf-8")):
            found.append(f"{name(page)} links to {target}, which has no such heading")
    return found


def forbidden(where: str, text: str) -> list[str]:
    return [
        f"{where}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()!r} is {why}"
        for why, pattern in FORBIDDEN.items()
        for match in pattern.finditer(text)
    ]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    found = broken_links(page, page.read_text("utf-8"))
    assert not found, "\n".join(found)


def test_a_broken_link_is_found() -> None:
    text = "# One heading\n[a](nowhere.md) [b](README.md#no-such) [c](#one-heading) [d](https://example.org)"
    assert [line.split()[3].rstrip(",") for line in broken_links(ROOT / "README.md", text)] == [
        "nowhere.md",
        "README.md#no-such",
        "#one-heading",
    ]


def test_every_page_can_be_reached_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    reached = {index}
    new = [index]
    while new:
        page = new.pop()
        for target in LINK.findall(page.read_text("utf-8")):
            there = (page.parent / target.partition("#")[0]).resolve()
            if there.suffix == ".md" and there.exists() and there not in reached:
                reached.add(there)
                new.append(there)
    missing = [name(page) for page in ROOT.glob("docs/**/*.md") if page.resolve() not in reached]
    assert not missing, f"docs/README.md leads to none of: {', '.join(sorted(missing))}"


def test_nothing_says_what_it_must_not() -> None:
    found = [line for path, text in tracked_text() for line in forbidden(name(path), text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("line", ["# TOD" + "O: later", "see issu" + "e 12", "cd /wor" + "k/here", "in /roo" + "t/x"])
def test_what_must_not_be_said_is_found(line: str) -> None:
    assert len(forbidden("somewhere", f"fine\n{line}\n")) == 1


def test_documents_say_agent() -> None:
    # A path that is spelled out, as `slaves/` in an agent's work directory, is no word of ours.
    found = [name(page) for page in PAGES if OLD_WORD.search(INLINE.sub("", page.read_text("utf-8")))]
    assert not found, f"say agent: {', '.join(found)}"


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/decisions/[0-9]*.md")), ids=name)
def test_a_decision_has_context_choice_and_price(page: Path) -> None:
    headings = re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE)
    assert headings == ["Context", "Choice", "Price"]


def test_every_dev_command_that_is_mentioned_exists() -> None:
    script = (ROOT / "dev").read_text("utf-8")
    commands = set(re.findall(r"^  ([a-z]+) ", script, re.MULTILINE))
    assert {"demo", "check", "test", "bench", "torture", "doc", "help"} <= commands
    for page in PAGES:
        mentioned = set(re.findall(r"(?<![\w/])\./dev ([a-z]+)", page.read_text("utf-8")))
        assert mentioned <= commands, name(page)


def test_packaging_and_tests_are_no_packages() -> None:
    assert not (ROOT / "packaging" / "__init__.py").exists(), "`packaging` is the name of a package of PyPI"
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_wheel_names_its_packages() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        pyproject = tomllib.load(file)
    patterns = pyproject["tool"]["setuptools"]["packages"]["find"]["include"]
    assert patterns == ["thermos*", "detectors*", "observer_static*", "scheduler*"]
    for top in patterns:
        package = ROOT / top.rstrip("*")
        assert (package / "py.typed").exists()
        for directory in {path.parent for path in package.rglob("*.py")}:
            assert (directory / "__init__.py").exists(), f"{name(directory)} would be left out of the wheel"
