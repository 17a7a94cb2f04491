"""What lies in a sandbox, within bounds and shown safely."""

from __future__ import annotations

import os
import socket
import time
import tracemalloc
from pathlib import Path

import pytest

from observer_static import layout
from observer_static.options import file_links
from observer_static.reach import Claim, own_claim
from observer_static.sandbox import MAX_LOOKS, Listing, browse, open_file, to_entries
from tests.support.box import IS_ROOT

pytestmark = pytest.mark.process  # not that any is started: nothing may be left open


def listed(sandbox: Path | str, below: str = "", max_entries: int = 2000, max_depth: int = 6) -> Listing:
    return browse(str(sandbox), below, max_entries, max_depth, claim=own_claim())


def names(listing: Listing) -> list[str]:
    return [entry.relative for entry in listing.entries]


def tree(path: Path, *files: str) -> None:
    for name in files:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)


# -- What is listed ---------------------------------------------------------------------------------------------------


def test_directories_stand_before_what_is_in_them(tmp_path: Path) -> None:
    tree(tmp_path, "b", "a/y", "a/x/1", "a/x/2", "a.txt", "c/z")
    listing = listed(tmp_path)
    assert names(listing) == ["a", "a/x", "a/x/1", "a/x/2", "a/y", "a.txt", "b", "c", "c/z"]
    assert [entry.depth for entry in listing.entries] == [0, 1, 2, 2, 1, 0, 0, 0, 1]
    assert (listing.left_out, listing.is_gone, listing.note) == (0, False, None)


def test_a_directory_below(tmp_path: Path) -> None:
    tree(tmp_path, "a/x/1", "b")
    assert names(listed(tmp_path, "a")) == ["a/x", "a/x/1"]
    assert names(listed(tmp_path, "a", max_depth=1)) == ["a/x"]


def test_what_is_deep_is_not_looked_for(tmp_path: Path) -> None:
    tree(tmp_path, "1/2/3/4/5/6/7/8")
    assert names(listed(tmp_path))[-1] == "1/2/3/4/5/6"
    assert names(listed(tmp_path, max_depth=2))[-1] == "1/2"


def test_one_full_directory_does_not_take_the_room_of_all_others(tmp_path: Path) -> None:
    tree(tmp_path, *(f"a/{number:03}" for number in range(200)), "b/1", "c")
    listing = listed(tmp_path, max_entries=10)
    assert names(listing) == ["a", *(f"a/{number:03}" for number in range(7)), "b", "c"]
    assert listing.left_out == 193 + 1


def test_our_own_pages_are_one_line(tmp_path: Path) -> None:
    tree(tmp_path, f"{layout.PAGES_NAME}/index.html", "a")
    assert names(listed(tmp_path)) == [layout.PAGES_NAME, "a"]


def test_what_is_told_of_an_entry(tmp_path: Path) -> None:
    tree(tmp_path, "plain")
    (tmp_path / "plain").chmod(0o640)
    os.utime(tmp_path / "plain", (1, 1_700_000_000.5))
    os.link(tmp_path / "plain", tmp_path / "second")
    (entry, _) = to_entries(listed(tmp_path), lambda relative: f"file/{relative}")
    assert (entry.path, entry.name, entry.depth, entry.kind) == ("plain", "plain", 0, "file")
    assert (entry.mode, entry.links, entry.size_bytes, entry.changed_at_s) == ("-rw-r-----", 2, 5, 1_700_000_000.5)
    assert (entry.target, entry.href) == (None, "file/plain")
    assert entry.owner.count(":") == 1


def test_kinds_and_links(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    tree(tmp_path, "secret/file")
    sandbox = tmp_path / "sandbox"
    sandbox.mkdir()
    os.mkfifo(sandbox / "fifo")
    (sandbox / "link").symlink_to("/etc/passwd")
    (sandbox / "loop").symlink_to("loop")
    (sandbox / "up").symlink_to("..")
    (sandbox / "way").symlink_to(tmp_path / "secret")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sandbox / "socket"))
    found = {entry.name: entry for entry in to_entries(listed(sandbox), lambda relative: relative)}
    assert {name: entry.kind for name, entry in found.items()} == {
        "fifo": "fifo",
        "link": "link",
        "loop": "link",
        "up": "link",
        "way": "link",
        "socket": "socket",
    }
    assert found["link"].target == "/etc/passwd"
    assert found["way"].target == str(tmp_path / "secret")
    assert all(entry.href is None for entry in found.values())


HOSTILE = (
    b"a\nb",
    b"\x1b[31mred",
    b"\xff\xfe",
    b"<script>alert(1)</script>",
    b'" onmouseover="x',
    b"%2e%2e",
    b"a?b#c",
    b"javascript:alert(1)",
    "\u202egpj".encode(),
    b"-rf",
    b" ",
)


def test_hostile_names_are_shown_safely_and_linked_by_their_bytes(tmp_path: Path) -> None:
    made = [name.replace(b"/", b"") for name in HOSTILE]
    for name in made:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(name)
    listing = listed(tmp_path)
    entries = to_entries(listing, lambda relative: file_links("/r", "t", str(tmp_path), relative))
    assert len(entries) == len(made)
    by_name = {entry.name: entry for entry in entries}
    assert by_name["a\\nb"].href == f"file://{tmp_path}/a%0Ab"
    assert by_name["\\xff\\xfe"].href == f"file://{tmp_path}/%FF%FE"
    assert by_name["%2e%2e"].href == f"file://{tmp_path}/%252e%252e"
    for entry, found in zip(entries, listing.entries, strict=True):
        assert entry.name.isprintable() and entry.path.isprintable()
        assert entry.href is not None and entry.href.isascii() and not set(entry.href) & set("<>\"' \n?#")
        fd = open_file(str(tmp_path), found.relative, own_claim())
        assert fd is not None
        with open(fd, "rb") as file:
            assert file.read() == os.fsencode(found.name)


def test_a_hostile_target_is_shown_safely(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/x\n\x1b[31m")
    (entry,) = to_entries(listed(tmp_path), lambda relative: relative)
    assert entry.target == "/x\\n\\x1b[31m"


def test_what_is_mounted_there_is_not_walked_into() -> None:
    if os.stat("/").st_dev == os.stat("/proc").st_dev:
        pytest.skip("/proc is no mount of its own here")
    found = names(listed("/", max_depth=2))
    assert "proc" in found
    assert not [name for name in found if name.startswith("proc/")]


# -- Bounds -----------------------------------------------------------------------------------------------------------


def test_a_million_entries_cost_no_more_than_what_is_looked_at(tmp_path: Path) -> None:
    """Made of hard links, which are made fast; 60 000 stand for a million: looking ends at 20 000."""
    (tmp_path / "0").touch()
    for number in range(1, 60_000):
        os.link(tmp_path / "0", tmp_path / str(number))
    tracemalloc.start()
    begun = time.perf_counter()
    listing = listed(tmp_path)
    took_s = time.perf_counter() - begun
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(listing.entries) == 2000
    assert listing.left_out == MAX_LOOKS - 2000
    assert took_s < 2
    assert peak_bytes < 16 << 20


def test_a_deep_and_broad_tree_is_bounded_too(tmp_path: Path) -> None:
    for number in range(300):
        tree(tmp_path, f"{number}/x/y/z")
    listing = listed(tmp_path, max_entries=100)
    assert len(listing.entries) == 100
    assert listing.left_out == 200 + 100, "what is in those that are listed was looked at, and found no room"


def test_no_room_at_all(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    assert listed(tmp_path, max_entries=0).entries == ()


# -- What is not there, or not to be seen -----------------------------------------------------------------------------


def test_a_sandbox_that_is_gone(tmp_path: Path) -> None:
    assert listed(tmp_path / "gone") == Listing(is_gone=True)
    assert listed(tmp_path, "gone") == Listing(is_gone=True)


@pytest.mark.parametrize("below", ["..", "a/..", "/etc", "a//x", "nul\0"])
def test_a_way_out(below: str, tmp_path: Path) -> None:
    tree(tmp_path, "a/x")
    listing = listed(tmp_path, below)
    assert listing.entries == () and listing.note is not None


def test_a_sandbox_swapped_by_a_link(tmp_path: Path) -> None:
    tree(tmp_path, "secret/file")
    (tmp_path / "sandbox").symlink_to("secret")
    listing = listed(tmp_path / "sandbox")
    assert (listing.entries, listing.is_gone) == ((), False)
    assert listing.note is not None and "link" in listing.note
    assert open_file(str(tmp_path / "sandbox"), "file", own_claim()) is None


def test_a_file_in_place_of_a_sandbox(tmp_path: Path) -> None:
    tree(tmp_path, "sandbox")
    assert listed(tmp_path / "sandbox").note is not None
    assert listed(tmp_path, "sandbox").note is not None


@pytest.mark.skipif(not IS_ROOT, reason="tells root's claims from a user's")
def test_a_forged_sandbox_shows_nothing_that_its_author_could_not_see(tmp_path: Path) -> None:
    """pytest's directory is closed to others; /etc is not, but for what is in it."""
    tree(tmp_path, "file")
    forged = Claim(4711, "root")
    assert browse(str(tmp_path), claim=forged).entries == ()
    assert open_file(str(tmp_path), "file", forged) is None
    assert open_file("/etc", "shadow", forged) is None
    assert browse("/root", claim=forged).entries == () or os.stat("/root").st_mode & 0o005
    found = {entry.name: entry for entry in to_entries(browse("/etc", max_depth=1, claim=forged), lambda name: name)}
    assert found["passwd"].href == "passwd"
    assert found["shadow"].href is None


@pytest.mark.skipif(not IS_ROOT, reason="only root can make files of other users")
def test_what_the_tasks_user_may_not_read_has_no_link(tmp_path: Path) -> None:
    tree(tmp_path, "private", "dir/in it")
    os.chown(tmp_path, 4711, 4711)
    (tmp_path / "private").chmod(0o600)
    (tmp_path / "dir").chmod(0o711)
    listing = browse(str(tmp_path), claim=Claim(0, None))
    assert names(listing) == ["dir", "private"], (
        "names he can see himself, what is in a directory that he may not list he cannot"
    )
    assert [entry.href for entry in to_entries(listing, lambda name: name)] == [None, None]
    assert "may not list" in str(browse(str(tmp_path), "dir", claim=Claim(0, None)).note)


# -- One file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "relative",
    [
        "",
        "a",
        "../outside",
        "a/../../outside",
        "/etc/passwd",
        "..%2foutside",
        "link",
        "dir-link/outside",
        "nul\0",
        "a/x/",
    ],
)
def test_files_that_are_not_opened(relative: str, tmp_path: Path) -> None:
    tree(tmp_path, "sandbox/a/x", "outside", "sandbox2/outside")
    sandbox = tmp_path / "sandbox"
    (sandbox / "link").symlink_to("../outside")
    (sandbox / "dir-link").symlink_to("..")
    assert open_file(str(sandbox), relative, own_claim()) is None


def test_a_file_is_opened_to_be_read_only(tmp_path: Path) -> None:
    tree(tmp_path, "a/x")
    fd = open_file(str(tmp_path), "a/x", own_claim())
    assert fd is not None
    try:
        assert os.read(fd, 10) == b"a/x"
        assert not os.get_inheritable(fd)
        with pytest.raises(OSError):
            os.write(fd, b"x")
    finally:
        os.close(fd)
