"""What a change writes: just the pages that it touches, in a directory that holds what else it holds."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from detectors.roots import ChainedPathDetector, FixedPathDetector
from detectors.watch import HostWatcher
from observer_static.options import Options
from observer_static.output import Output
from observer_static.pagedir import MARKER, PRIVATE
from observer_static.site import Site
from observer_static.sources import Sources
from tests.support.box import IS_ROOT, NOBODY, until
from tests.support.tasks import BEGIN_S, FakeTask, finished

pytestmark = pytest.mark.process


class Bench:
    """A host with two roots, and its site."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "one"
        self.other_root = directory / "two"
        self.path = directory / "site"

    @contextlib.contextmanager
    def site(
        self,
        owner: pwd.struct_passwd | None = None,
        finished_pages: int = 1000,
        salt: str = "salt",
        writer: str = "test",
        notices: Sequence[str] = (),
    ) -> Iterator[Keeper]:
        options = Options(writer=writer, version="1", hostname="here", index_href=True)
        detector = ChainedPathDetector(FixedPathDetector(str(self.root)), FixedPathDetector(str(self.other_root)))
        with (
            HostWatcher(detector) as watcher,
            contextlib.closing(Output(str(self.path), PRIVATE)) as output,
            Site(
                output, options, salt, Sources(notices=lambda: notices), owner=owner, finished_pages=finished_pages
            ) as site,
        ):
            watcher.scan()
            site.begin(watcher.tasks)
            yield Keeper(watcher, site)

    def pages(self) -> dict[str, tuple[int, int]]:
        """Every page, and which writing of it this is."""
        return {
            str(path.relative_to(self.path)): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in sorted(self.path.rglob("*.html"))
        }

    def text(self, page: str) -> str:
        return (self.path / page).read_text()

    def listed(self, page: str) -> list[str]:
        """Ids of the tasks on that page of the index, in its order."""
        return list(dict.fromkeys(re.findall(r"\b(?:done|task)-[a-z0-9]+\b", self.text(page))))

    def links(self, page: str) -> set[str]:
        """Where that page's links to other pages lead, below the site."""
        found = set()
        for href in re.findall(r'href="([^"#:]+\.html)', self.text(page)):
            found.add(os.path.normpath(os.path.join(os.path.dirname(page), href)))
        return found

    def dead_links(self) -> set[tuple[str, str]]:
        pages = set(self.pages())
        return {(page, link) for page in pages for link in self.links(page) if link not in pages}


class Keeper:
    def __init__(self, watcher: HostWatcher, site: Site) -> None:
        self.watcher = watcher
        self.site = site

    def follow(self) -> None:
        """Notice what has changed, and write all of it."""
        self.site.apply(self.watcher.scan(), self.watcher.tasks)
        self.write()

    def write(self) -> None:
        self.site.write()
        while not self.site.is_complete:
            self.site.work()
        assert not self.site.complaints


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def changed(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> set[str]:
    """Pages that were written, or taken away."""
    return {page for page in before.keys() | after.keys() if before.get(page) != after.get(page)}


TASK_1_PAGES = {
    f"task/task-1/{page}" for page in ("index.html", "raw.html", "browse.html", "process/p0.html", "process/p1.html")
}


def test_a_host_without_tasks_has_an_index(bench: Bench) -> None:
    with bench.site() as keeper:
        keeper.write()
    assert set(bench.pages()) == {"index.html", "finished.html"}
    assert not bench.dead_links()


def test_all_lists_of_a_new_site_are_there_before_any_tasks_pages(bench: Bench) -> None:
    FakeTask(bench.root, "task-1")
    finished(bench.root, 210)
    lists = {"index.html", "finished.html", "finished/1.html"}
    with bench.site() as keeper:
        keeper.site.write_lists()
        first = bench.pages()
        assert set(first) == lists
        assert bench.listed("index.html") == ["task-1"]
        both = bench.listed("finished.html") + bench.listed("finished/1.html")
        assert both == [f"done-{number:03}" for number in reversed(range(210))]
        keeper.write()
    assert not changed({page: first[page] for page in lists}, {page: bench.pages()[page] for page in lists})
    assert not bench.dead_links()
    with bench.site(salt="another") as keeper:  # links lead to pages that are there: those come first, as ever
        keeper.site.write_lists()
        assert not keeper.site.written


def test_a_new_site_may_be_left_before_its_lists_are_written(bench: Bench) -> None:
    FakeTask(bench.root, "task-1")
    with bench.site() as keeper:
        keeper.site.write_lists(lambda: True)
        assert bench.pages() == {}


def test_what_cannot_be_watched_stands_on_the_index(bench: Bench) -> None:
    said: list[str] = []
    with bench.site(notices=said) as keeper:
        keeper.write()
        said.append("no more <watches>")
        keeper.site.roster.listing_changed()
        keeper.write()
    assert "no more &lt;watches&gt;" in bench.text("index.html")


def test_every_task_has_pages_and_every_link_leads_to_one(bench: Bench) -> None:
    FakeTask(bench.root, "task-1", processes=2)
    FakeTask(bench.root, "task-2", at_s=BEGIN_S + 5)
    finished(bench.root, 3)
    with bench.site() as keeper:
        keeper.write()
    assert bench.listed("index.html") == ["task-2", "task-1"]
    assert bench.listed("finished.html") == ["done-002", "done-001", "done-000"]
    assert set(bench.pages()) >= TASK_1_PAGES
    assert "task-1 says hello from p1" in bench.text("task/task-1/process/p1.html")
    assert {"task/task-1/index.html", "task/task-1/browse.html", "finished.html"} <= bench.links("index.html")
    assert not bench.dead_links()


def test_a_process_that_fails_touches_its_page_and_its_tasks_and_no_other(bench: Bench) -> None:
    task = FakeTask(bench.root, "task-1", processes=2)
    FakeTask(bench.root, "task-2")
    with bench.site() as keeper:
        keeper.write()
        before = bench.pages()
        task.fail("p0")
        keeper.follow()
        touched = changed(before, bench.pages())
    assert {"task/task-1/index.html", "task/task-1/process/p0.html"} <= touched
    assert touched <= TASK_1_PAGES - {"task/task-1/process/p1.html", "task/task-1/raw.html"}


def test_pages_of_processes_that_do_nothing_new_are_not_made_again_at_every_change(bench: Bench) -> None:
    task = FakeTask(bench.root, "task-1", processes=2)
    with bench.site() as keeper:
        keeper.write()
        with (task.sandbox / ".logs" / "p1" / "0" / "stdout").open("a") as log:
            log.write("one more line\n")
        task.fail("p0")
        keeper.follow()
        assert "one more line" not in bench.text("task/task-1/process/p1.html")
        task.fail("p1")
        keeper.follow()
        assert "one more line" in bench.text("task/task-1/process/p1.html")
        with (task.sandbox / ".logs" / "p0" / "0" / "stdout").open("a") as log:
            log.write("and another\n")
        keeper.site.refresh()
        keeper.write()
        assert "and another" in bench.text("task/task-1/process/p0.html")


def test_nothing_is_written_when_nothing_changed(bench: Bench) -> None:
    FakeTask(bench.root, "task-1", processes=2)
    finished(bench.root, 2)
    with bench.site() as keeper:
        keeper.write()
        before = bench.pages()
        keeper.follow()
        keeper.site.refresh()
        keeper.write()
        touched = changed(before, bench.pages())
    # Whoever asks for all gets finished tasks anew; the picture of a task that is under way goes on to now.
    assert not {page for page in touched if not page.startswith("task/done")} - {"task/task-1/index.html"}


def test_a_restart_writes_nothing_that_is_as_it_should_be(bench: Bench) -> None:
    task = FakeTask(bench.root, "task-1", processes=2)
    finished(bench.root, 2)
    with bench.site() as keeper:
        keeper.write()
    before = bench.pages()
    with bench.site() as keeper:
        keeper.write()
    assert changed(before, bench.pages()) <= {"task/task-1/index.html"}
    before = bench.pages()
    task.finish()
    (bench.path / "task" / "done-001" / "index.html").write_text("touched")
    with bench.site() as keeper:
        keeper.write()
    touched = changed(before, bench.pages())
    assert {"index.html", "finished.html", "task/task-1/index.html", "task/done-001/index.html"} <= touched
    assert "touched" not in bench.text("task/done-001/index.html")
    assert not any(page.startswith("task/done-000") for page in touched)


def test_what_was_made_in_another_way_is_made_again(bench: Bench) -> None:
    FakeTask(bench.root, "task-1")
    finished(bench.root, 210)
    with bench.site() as keeper:
        keeper.write()
    assert not any("another-writer" in bench.text(page) for page in bench.pages())
    with bench.site(salt="other", writer="another-writer") as keeper:
        keeper.write()
    assert [page for page in bench.pages() if "another-writer" not in bench.text(page)] == []


def test_a_task_that_ends_moves_to_the_finished_ones(bench: Bench) -> None:
    task = FakeTask(bench.root, "task-1")
    FakeTask(bench.root, "task-2")
    with bench.site() as keeper:
        keeper.write()
        task.finish()
        keeper.follow()
    assert (bench.listed("index.html"), bench.listed("finished.html")) == (["task-2"], ["task-1"])
    assert "SUCCESS" in bench.text("finished.html")
    assert not bench.dead_links()


def test_a_task_that_vanishes_takes_its_pages_along(bench: Bench) -> None:
    task, done = FakeTask(bench.root, "task-1"), finished(bench.root, 2)[0]
    with bench.site() as keeper:
        keeper.write()
        task.vanish()
        done.vanish()
        keeper.follow()
    assert (bench.listed("index.html"), bench.listed("finished.html")) == ([], ["done-001"])
    assert sorted(os.listdir(bench.path / "task")) == ["done-001"]
    assert not bench.dead_links()


def test_what_vanished_while_nobody_looked_goes_too_and_only_that(bench: Bench) -> None:
    task = FakeTask(bench.root, "task-1")
    FakeTask(bench.root, "task-2")
    with bench.site() as keeper:
        keeper.write()
    task.vanish()
    (bench.path / "task" / "mine").mkdir()
    (bench.path / "task" / "mine" / "notes.html").write_text("mine")
    (bench.path / "notes.html").write_text("mine")
    (bench.path / "task" / "task-1" / "process" / "notes.html").write_text("mine")
    with bench.site() as keeper:
        keeper.write()
    mine = {"notes.html", "task/mine/notes.html", "task/task-1/process/notes.html"}
    assert {page for page in bench.pages() if "task-2" not in page} == mine | {"index.html", "finished.html"}


def test_the_same_id_in_two_roots_is_two_tasks(bench: Bench) -> None:
    FakeTask(bench.root, "task-1")
    with bench.site() as keeper:
        keeper.write()
        assert "task/task-1/index.html" in bench.pages()
        other = FakeTask(bench.other_root, "task-1", at_s=BEGIN_S + 1)
        keeper.follow()
        assert len(os.listdir(bench.path / "task")) == 2
        assert "task/task-1/index.html" not in bench.pages()
        assert len({link for link in bench.links("index.html") if link.endswith("/index.html")}) == 2
        assert not bench.dead_links()
        other.vanish()
        keeper.follow()
    assert os.listdir(bench.path / "task") == ["task-1"]
    assert not bench.dead_links()


ME = pwd.getpwuid(os.getuid())


def test_with_an_owner_only_that_users_tasks_are_shown_and_the_index_says_so(bench: Bench) -> None:
    FakeTask(bench.root, "task-1", user=ME.pw_name)
    FakeTask(bench.root, "task-2", user="secret-agent")
    garbage = FakeTask(bench.root, "task-3")
    garbage.stream.write_bytes(b"\0\0\0\x05hello")
    with bench.site(owner=ME) as keeper:
        keeper.write()
        FakeTask(bench.root, "task-4", user="secret-agent")
        FakeTask(bench.root, "task-5", user=ME.pw_name).finish()
        keeper.follow()
    everything = "".join(map(bench.text, bench.pages()))
    assert "secret-agent" not in everything
    assert sorted(os.listdir(bench.path / "task")) == ["task-1", "task-5"]
    assert bench.listed("index.html") == ["task-1"]
    assert re.search(rf"tasks of[^.]*\b{ME.pw_name}\b", re.sub(r"<[^>]*>", "", bench.text("index.html")))
    with bench.site() as keeper:
        keeper.write()
    assert sorted(os.listdir(bench.path / "task")) == [f"task-{n}" for n in range(1, 6)]


@pytest.mark.skipif(not IS_ROOT, reason="giving files away takes root")
def test_a_task_that_somebody_else_made_up_is_not_shown_as_the_owners(bench: Bench) -> None:
    FakeTask(bench.root, "task-1", user=ME.pw_name)
    forged = FakeTask(bench.other_root, "task-2", user=ME.pw_name)
    for path in (bench.other_root, *bench.other_root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    assert forged.stream.stat().st_uid == NOBODY
    with bench.site(owner=ME) as keeper:
        keeper.write()
    assert os.listdir(bench.path / "task") == ["task-1"]


def test_older_finished_tasks_stand_on_numbered_pages(bench: Bench) -> None:
    finished(bench.root, 230)
    with bench.site() as keeper:
        keeper.write()
    assert bench.listed("finished/1.html")[0] == "done-099"
    assert len(bench.listed("finished.html")) == 130
    assert {"finished/1.html", "index.html"} <= bench.links("finished.html")
    assert {"finished.html", "index.html", "task/done-000/index.html"} <= bench.links("finished/1.html")
    assert not bench.dead_links()


def test_a_task_that_ends_does_not_touch_older_pages(bench: Bench) -> None:
    finished(bench.root, 230)
    with bench.site() as keeper:
        keeper.write()
        before = bench.pages()
        finished(bench.root, 1, first=230)
        keeper.follow()
        touched = changed(before, bench.pages())
    assert {page for page in touched if not page.startswith("task/done-230/")} == {"index.html", "finished.html"}


def test_only_the_newest_finished_tasks_keep_pages(bench: Bench) -> None:
    finished(bench.root, 210)
    with bench.site(finished_pages=210) as keeper:
        keeper.write()
        assert len(os.listdir(bench.path / "task")) == 210
        finished(bench.root, 1, first=210)
        keeper.follow()
        assert sorted(os.listdir(bench.path / "task")) == [f"done-{n}" for n in range(100, 211)]
        assert bench.listed("finished/1.html")[-1] == "done-000"
        assert not bench.dead_links()
    with bench.site(finished_pages=2) as keeper:
        keeper.write()
        assert sorted(os.listdir(bench.path / "task")) == ["done-209", "done-210"]
        finished(bench.root, 1, first=211)
        keeper.follow()
    assert sorted(os.listdir(bench.path / "task")) == ["done-210", "done-211"]
    assert not bench.dead_links()


def test_a_directory_that_is_not_ours_is_told_and_costs_no_other_task_its_pages(bench: Bench) -> None:
    FakeTask(bench.root, "task-1")
    FakeTask(bench.root, "task-2")
    taken = bench.path / "task" / "task-1"
    with bench.site() as keeper:
        taken.mkdir(parents=True)
        (taken / "mine.txt").write_text("mine")
        keeper.site.write()
        assert [key.task_id for key in keeper.site.complaints] == ["task-1"]
    assert os.listdir(taken) == ["mine.txt"]
    assert "task/task-2/index.html" in bench.pages()
    assert bench.listed("index.html") == ["task-1", "task-2"]


def test_an_output_that_was_removed_is_made_anew(bench: Bench) -> None:
    task = FakeTask(bench.root, "task-1", processes=2)
    finished(bench.root, 1)
    with bench.site() as keeper:
        keeper.write()
        before = set(bench.pages())
        shutil.rmtree(bench.path)
        task.fail("p0")
        keeper.follow()
        assert set(bench.pages()) == before
    assert not bench.dead_links()


def test_two_processes_write_what_one_would(bench: Bench) -> None:
    finished(bench.root, 450)
    with bench.site() as keeper:
        keeper.write()
    alone = {page: bench.text(page) for page in bench.pages()}
    markers = set(bench.path.rglob(MARKER))
    shutil.rmtree(bench.path)
    with bench.site() as keeper:
        keeper.site.call_help(processors=2)
        assert keeper.site.helper_fd is not None
        keeper.site.write()
        while not keeper.site.is_complete:
            if keeper.site.has_work:
                keeper.site.work()
            else:
                keeper.site.helper_ended()
        assert keeper.site.written < len(alone)
    stamp = re.compile(r"20\d\d-\d\d-\d\d[^<\"]*|\d{10}(?:\.\d+)?")
    together = {page: bench.text(page) for page in bench.pages()}
    assert {page: stamp.sub("", text) for page, text in together.items()} == {
        page: stamp.sub("", text) for page, text in alone.items()
    }
    assert set(bench.path.rglob(MARKER)) == markers
    with bench.site() as keeper:
        keeper.write()
        assert keeper.site.written == 0


def test_what_a_helper_that_died_left_is_done_by_the_first_process(bench: Bench) -> None:
    finished(bench.root, 450)
    with bench.site() as keeper:
        keeper.site.call_help(processors=2)
        helper = keeper.site.helper_pid
        assert helper is not None
        until((bench.path / "task").exists, "the helper has begun")
        os.kill(helper, signal.SIGKILL)
        keeper.site.write()
        while not keeper.site.is_complete:
            if keeper.site.has_work:
                keeper.site.work()
            else:
                keeper.site.helper_ended()
    assert len(os.listdir(bench.path / "task")) == 450
    assert not bench.dead_links()


def test_changes_while_a_helper_works_are_not_lost(bench: Bench) -> None:
    done = finished(bench.root, 450)
    task = FakeTask(bench.root, "task-1", at_s=BEGIN_S + 1000)
    with bench.site() as keeper:
        keeper.site.call_help(processors=2)
        done[3].vanish()
        done[449].vanish()
        task.finish()
        keeper.site.apply(keeper.watcher.scan(), keeper.watcher.tasks)
        keeper.site.write()
        while not keeper.site.is_complete:
            if keeper.site.has_work:
                keeper.site.work()
            else:
                keeper.site.helper_ended()
    assert "done-003" not in bench.listed("finished/1.html")
    assert bench.listed("finished.html")[0] == "task-1"
    assert len(os.listdir(bench.path / "task")) == 449
    assert not bench.dead_links()


def test_what_a_killed_observer_left_half_done_is_cleaned(bench: Bench) -> None:
    FakeTask(bench.root, "task-1")
    with bench.site() as keeper:
        keeper.write()
    left = [bench.path / ".new-dead", bench.path / "task" / "task-1" / "process" / ".new-dead"]
    for path in left:
        path.write_text("half a pa")
    with bench.site() as keeper:
        keeper.write()
    assert [path.exists() for path in left] == [False, False]
