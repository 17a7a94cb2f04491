"""Pages are written whole or not at all, only where they belong, and only ours are ever removed."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from observer_static.pagedir import open_pages
from observer_static.pages import File
from observer_static.publish import MARKER, NotOurs, Published, publish
from thermos.host.inotify import IN_CREATE, Watcher


def page(path: str, text: str = "<p>page</p>") -> File:
    return File(path=path, content=text.encode())


def tree(directory: Path) -> dict[str, str]:
    """Every file below, but the marker, and what it holds."""
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != MARKER
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_pages_lie_where_they_say(tmp_path: Path) -> None:
    done = publish([page("index.html", "a"), page("process/web.html", "b")], str(tmp_path / "new" / "pages"))
    assert done == Published(written=2, unchanged=0, removed=0)
    assert tree(tmp_path / "new" / "pages") == {"index.html": "a", "process/web.html": "b"}


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    site = tmp_path / "site"
    publish([page("index.html", "a"), page("raw.html", "b")], str(site))
    before = (site / "index.html").stat()
    assert publish([page("index.html", "a"), page("raw.html", "c")], str(site)) == Published(1, 1, 0)
    assert (site / "index.html").stat() == before
    assert tree(site) == {"index.html": "a", "raw.html": "c"}


def test_pages_that_are_no_more_are_removed_with_their_directories(tmp_path: Path) -> None:
    site = tmp_path / "site"
    publish([page("index.html"), page("log/web/1.html"), page("process/web.html")], str(site))
    assert publish([page("index.html")], str(site), keep={"process/web.html"}) == Published(0, 1, 1)
    assert sorted(tree(site)) == ["index.html", "process/web.html"]
    assert not (site / "log").exists()


def test_what_we_did_not_make_stays(tmp_path: Path) -> None:
    site = tmp_path / "site"
    publish([page("index.html"), page("process/web.html")], str(site))
    (site / "process" / "notes.html").write_text("mine")
    (site / "notes.txt").write_text("mine")
    publish([], str(site))
    assert tree(site) == {"notes.txt": "mine", "process/notes.html": "mine"}


def test_a_directory_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.html").write_text("mine")
    with pytest.raises(NotOurs, match="not a directory of pages"):
        publish([page("index.html")], str(tmp_path))
    assert tree(tmp_path) == {"thesis.html": "mine"}


def test_a_link_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "site").symlink_to("elsewhere")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        publish([page("index.html")], str(tmp_path / "site"))
    assert tree(tmp_path / "elsewhere") == {}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    site = tmp_path / "site"
    old = os.umask(umask)
    try:
        publish([page("index.html"), page("process/web.html")], str(site), dir_mode=0o750, file_mode=0o640)
        publish([page("index.html")], str(tmp_path / "private"))
    finally:
        os.umask(old)
    assert {mode(site / name) for name in ("", "process")} == {0o750}
    assert {mode(site / name) for name in ("index.html", "process/web.html", MARKER)} == {0o640}
    assert mode(tmp_path / "private") == 0o700
    assert mode(tmp_path / "private" / "index.html") == 0o600


@pytest.mark.parametrize(
    "path", ["../x.html", "/x.html", "a/../x.html", "a//x.html", ".hidden.html", "x", "x.html\n", "a\0.html", ""]
)
def test_a_path_that_leads_elsewhere_is_a_mistake_of_ours(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="no path of a page"):
        publish([page(path)], str(tmp_path / "site"))
    assert tree(tmp_path) == {}


def test_a_marker_that_names_other_files_removes_none_of_them(tmp_path: Path) -> None:
    site = tmp_path / "site"
    publish([page("index.html")], str(site))
    (tmp_path / "victim.html").write_text("mine")
    (site / "process").symlink_to(tmp_path)
    names = ("../victim.html", f"{tmp_path}/victim.html", "process/victim.html")
    (site / MARKER).write_text("".join(f"- 0 0 {name}\n" for name in names) + "- 9 torn")
    publish([page("index.html")], str(site))
    assert (tmp_path / "victim.html").read_text() == "mine"


def test_a_marker_of_garbage_is_survived(tmp_path: Path) -> None:
    site = tmp_path / "site"
    publish([page("index.html")], str(site))
    (site / MARKER).write_bytes(os.urandom(5000) + b"\n- 1 2\n- x y index.html\n- 1 1 a b.html\n")
    assert publish([page("index.html", "new")], str(site)) == Published(1, 0, 0)


def test_links_and_hard_links_in_place_of_pages_are_replaced_not_followed(tmp_path: Path) -> None:
    site = tmp_path / "site"
    publish([page("index.html"), page("raw.html")], str(site))
    (tmp_path / "victim").write_text("mine")
    for name in ("index.html", "raw.html"):
        (site / name).unlink()
    (site / "index.html").symlink_to(tmp_path / "victim")
    (site / "raw.html").hardlink_to(tmp_path / "victim")
    publish([page("index.html", "new"), page("raw.html", "mine")], str(site))
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (site / "index.html").is_symlink()
    assert (site / "raw.html").stat().st_nlink == 1


def test_a_link_in_place_of_the_next_temporary_file_is_not_followed(tmp_path: Path) -> None:
    """Whoever watches the directory knows the name after the first page."""
    site = tmp_path / "site"
    (tmp_path / "victim").write_text("mine")
    with Watcher() as watcher:

        def files() -> Iterator[File]:
            watcher.watch(str(site), IN_CREATE)
            yield page("index.html")
            (name,) = {event.name for event in watcher.wait(10) if event.name.startswith(".new-")}
            (site / name).symlink_to(tmp_path / "victim")
            yield page("raw.html")

        with pytest.raises(FileExistsError):
            publish(files(), str(site))
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_fifo_in_place_of_a_page_or_of_the_marker_does_not_block(tmp_path: Path) -> None:
    site = tmp_path / "site"
    publish([page("index.html")], str(site))
    (site / "index.html").unlink()
    os.mkfifo(site / "index.html")
    publish([page("index.html", "new")], str(site))
    assert (site / "index.html").read_text() == "new"
    (site / MARKER).unlink()
    os.mkfifo(site / MARKER)
    with pytest.raises(NotOurs, match="regular"):
        publish([page("index.html")], str(site))


def test_a_page_is_known_by_its_digest_only_while_nobody_touches_it(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with open_pages(str(site)) as pages:
        assert not pages.is_as_made("index.html", "d1")
        pages.write(page("index.html"), "d1")
        pages.finish()
    with open_pages(str(site)) as pages:
        assert pages.is_as_made("index.html", "d1")
        assert not pages.is_as_made("index.html", "d2")
    (site / "index.html").write_text("touched")
    with open_pages(str(site)) as pages:
        assert not pages.is_as_made("index.html", "d1")
        assert pages.write(page("index.html"), "d1")


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    site = tmp_path / "site"
    publish([page("index.html"), page("process/web.html")], str(site))
    left = [site / ".new-dead", site / "process" / ".new-dead"]
    for path in left:
        path.write_text("half a pa")
        os.utime(path, (1, 1))
    (site / ".new-alive").write_text("half")
    publish([page("index.html"), page("process/web.html")], str(site))
    assert [path.exists() for path in left] == [False, False]
    assert (site / ".new-alive").exists()  # young: another writer may be at it


@pytest.mark.process
@pytest.mark.parametrize("done", range(4))
def test_a_page_of_a_writer_that_was_killed_is_known_and_removed(tmp_path: Path, done: int) -> None:
    site = tmp_path / "site"
    files = [page("index.html"), page("log/web/1.html"), page("process/web.html"), page("raw.html")]

    def dying() -> Iterator[File]:
        for n, file in enumerate(files):
            yield file
            if n == done:
                os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        publish(dying(), str(site))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert len(tree(site)) == done + 1
    publish([page("task.html")], str(site))
    assert tree(site) == {"task.html": "<p>page</p>"}
    assert sorted(os.listdir(site)) == [MARKER, "task.html"]


@pytest.mark.parametrize("other", [False, True])
def test_all_of_ours_can_be_taken_away(tmp_path: Path, other: bool) -> None:
    site = tmp_path / "site"
    publish([page("index.html"), page("log/web/1.html")], str(site))
    (site / "log" / "web" / ".new-dead").write_text("half")
    if other:
        (site / "notes.txt").write_text("mine")
    with open_pages(str(site)) as pages:
        assert pages.clear() is not other
    assert [path.name for path in site.rglob("*")] == ["notes.txt"] * other
