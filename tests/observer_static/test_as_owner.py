"""Root writes pages into a directory of somebody else: as that user, and never anywhere else."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from observer_static.as_owner import run_as
from observer_static.pages import File
from observer_static.publish import NotOurs, Published, publish
from tests.support.box import IS_ROOT, NOBODY, until
from thermos.errors import Internal, NotPermitted, ThermosError

pytestmark = [pytest.mark.process, pytest.mark.skipif(not IS_ROOT, reason="becoming another user takes root")]

OWNER = (NOBODY, NOBODY)

#: Swaps the directory of pages, and directories in it, for links to the victim, as fast as it can.
SWAP = """
import os, sys
sandbox, victim = sys.argv[1:]
pages = sandbox + "/.thermos-pages"
os.setgid(65534); os.setuid(65534)
print("ready", flush=True)
n = 0
temporary = set()
def attempt(call, *paths):
    try:
        call(*paths)
    except OSError:
        pass
while True:
    n += 1
    for directory in (pages, pages + "/process"):
        try:
            temporary.update(f"{directory}/{name}" for name in os.listdir(directory) if name.startswith(".new-"))
        except OSError:
            pass
    for name in temporary:  # the next page may come by the same name
        attempt(os.symlink, victim + "/mine.html", name)
    for name in (pages, pages + "/process", pages + "/index.html"):
        aside = f"{sandbox}/aside-{n % 7}-{os.path.basename(name)}"
        attempt(os.rename, name, aside)
        targets = (victim, victim + "/empty") if not name.endswith(".html") else (victim + "/mine.html",)
        attempt(os.symlink, targets[n % len(targets)], name)
        attempt(os.unlink, name)
        attempt(os.rename, aside, name)
    if len(temporary) > 20:
        temporary.clear()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter, with a sandbox of somebody else's and a victim that is ours."""
    with tempfile.TemporaryDirectory(prefix="as-owner-") as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "sandbox").mkdir()
        os.chown(path / "sandbox", *OWNER)
        (path / "victim" / "empty").mkdir(parents=True)
        (path / "victim" / "mine.html").write_text("mine")
        yield path


def files(count: int = 3, text: str = "page") -> list[File]:
    return [File(path=f"process/p{n}.html", content=text.encode()) for n in range(count)] + [
        File(path="index.html", content=text.encode())
    ]


def seen(directory: Path) -> list[tuple[str, int, int, int, str]]:
    """All that can be told of what lies below, and of the directory itself."""
    found = []
    for path in (directory, *sorted(directory.rglob("*"))):
        info = path.lstat()
        text = path.read_text() if path.is_file() else ""
        found.append((str(path), info.st_mode, info.st_uid, info.st_mtime_ns, text))
    return found


def test_pages_belong_to_the_owner(place: Path) -> None:
    sandbox_fd = os.open(place / "sandbox", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert publish(files(), sandbox_fd, below=".thermos-pages", owner=OWNER) == Published(4, 0, 0)
        assert publish(files(2), sandbox_fd, below=".thermos-pages", owner=OWNER) == Published(0, 3, 1)
    finally:
        os.close(sandbox_fd)
    pages = place / "sandbox" / ".thermos-pages"
    assert {path.name for path in pages.rglob("*.html")} == {"index.html", "p0.html", "p1.html"}
    assert {path.lstat().st_uid for path in (pages, *pages.rglob("*"))} == {NOBODY}
    assert {stat.S_IMODE(path.lstat().st_mode) for path in pages.rglob("*.html")} == {0o600}


def test_the_child_is_the_owner_for_good(place: Path) -> None:
    """No other groups, no way back, no new rights, nothing of the parent's open, and gone with its parent."""
    kept = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    secret = os.open(__file__, os.O_RDONLY)
    high = fcntl.fcntl(secret, fcntl.F_DUPFD_CLOEXEC, 300)

    def look() -> list[int]:
        status = dict(
            line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
        )
        numbers = [len(set(os.getresuid() + os.getresgid())), os.getuid(), len(os.getgroups())]
        numbers += [int(status["NoNewPrivs"]), int(status["CapEff"], 16), int(status["CapPrm"], 16)]
        numbers += sorted(int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) > 2)
        try:
            os.setuid(0)
            numbers.append(-1)
        except PermissionError:
            pass
        return numbers

    try:
        same, uid, groups, no_new, effective, permitted, *fds = run_as(OWNER, look, [kept], 30)
    finally:
        os.close(kept)
        os.close(secret)
        os.close(high)
    assert (same, uid, groups, no_new, effective, permitted) == (1, NOBODY, 0, 1, 0, 0)
    assert kept in fds and not {secret, high, -1} & set(fds)
    assert len(fds) == 3  # the directory that lists them, the report, and what was to be kept


def test_what_the_owner_may_not_do_is_not_done(place: Path) -> None:
    with pytest.raises(PermissionError):
        publish(files(), str(place / "victim" / "pages"), owner=OWNER)
    assert sorted(os.listdir(place / "victim")) == ["empty", "mine.html"]


def test_a_directory_of_something_else_is_refused(place: Path) -> None:
    (place / "sandbox" / "data").write_text("theirs")
    with pytest.raises(ThermosError, match="not a directory of pages") as refused:
        publish(files(), str(place / "sandbox"), owner=OWNER)
    assert refused.value.exit_code is NotOurs.exit_code


def test_an_endless_page_is_cut_off(place: Path) -> None:
    def endless() -> Iterator[File]:
        while True:
            time.sleep(0.01)  # as one that waits for a disk would
            yield files(1)[0]

    with pytest.raises(OSError, match="longer than") as late:
        publish(endless(), str(place / "sandbox" / "pages"), owner=OWNER, timeout_s=0.3)
    assert late.value.errno == errno.ETIMEDOUT


def test_a_fault_of_ours_in_the_child_is_told(place: Path) -> None:
    def broken() -> Iterator[File]:
        yield files(1)[0]
        raise KeyError("oh")

    with pytest.raises(Internal, match="KeyError"):
        publish(broken(), str(place / "sandbox" / "pages"), owner=OWNER)


def test_only_root_becomes_somebody_else(place: Path) -> None:
    def try_it() -> list[int]:
        try:
            publish(files(), str(place / "sandbox" / "pages"), owner=(0, 0))
        except NotPermitted:
            return [1]
        return [0]

    assert run_as(OWNER, try_it, [], 30) == [1]


@contextlib.contextmanager
def swapping(place: Path) -> Iterator[None]:
    """The sandbox's owner swaps links in and out at full speed."""
    child = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", SWAP, str(place / "sandbox"), str(place / "victim")],
        stdout=subprocess.PIPE,
        cwd="/",
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        yield
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def naive(place: Path) -> None:
    """As one writes pages without a thought: by their paths, as root."""
    pages = place / "sandbox" / ".thermos-pages"
    with contextlib.suppress(OSError):
        (pages / "process").mkdir(parents=True, exist_ok=True)
    for file in files():
        with contextlib.suppress(OSError):
            (pages / file.path).write_bytes(file.content)


def ours(place: Path) -> None:
    with contextlib.suppress(OSError, ThermosError):
        publish(files(), str(place / "sandbox"), below=".thermos-pages", owner=OWNER)


def as_root(place: Path) -> None:
    """Even with root's rights: nothing is reached but through descriptors."""
    with contextlib.suppress(OSError, ThermosError):
        publish(files(), str(place / "sandbox"), below=".thermos-pages")


def test_the_naive_writer_is_led_astray(place: Path) -> None:
    """So the attack is one."""
    before = seen(place / "victim")

    def is_astray() -> bool:
        naive(place)
        return seen(place / "victim") != before

    with swapping(place):
        until(is_astray, "the naive writer has written outside")


@pytest.mark.parametrize("write", [ours, as_root])
def test_ours_is_not(place: Path, write: Callable[[Path], None]) -> None:
    before = seen(place / "victim")
    outside = set(os.listdir(place))
    end_s = time.monotonic() + 4
    rounds = 0
    with swapping(place):
        while time.monotonic() < end_s:
            write(place)
            rounds += 1
    assert rounds > 20
    assert seen(place / "victim") == before
    assert set(os.listdir(place)) == outside
