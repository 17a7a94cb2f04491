"""Who may see what: claims, owners, names and kinds of files."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from observer_static.facts import read_facts
from observer_static.reach import Claim, NotShown, below, claim_of, kind_of, open_place, own_claim, parts_of
from tests.support.box import IS_ROOT, NOBODY, SOON_S
from thermos.formats import checkpoint
from thermos.host.inotify import Watcher
from thermos.records import RunnerHeader

as_root = pytest.mark.skipif(not IS_ROOT, reason="only root can make files of other users")
US = os.geteuid()
IN_OPEN = 0x20  # linux/inotify.h
#: Two users of no importance, neither of them anybody here.
ALICE, BOB = 54321, 54322


@pytest.fixture
def world() -> Iterator[Path]:
    """A directory that everybody can reach, which pytest's own is not."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def write(path: Path, text: str, uid: int = US, mode: int = 0o644) -> Path:
    path.write_text(text)
    path.chmod(mode)
    if uid != US:
        os.chown(path, uid, uid)
    return path


def make_dir(path: Path, uid: int = US, mode: int = 0o755) -> Path:
    path.mkdir()
    path.chmod(mode)
    if uid != US:
        os.chown(path, uid, uid)
    return path


def read(directory: Path, relative: str, claim: Claim) -> str:
    """What the file holds, or why it is not shown."""
    try:
        with open_place(str(directory), claim) as place:
            fd = place.open_file(parts_of(relative))
    except NotShown as error:
        return f"it is {error}"
    with open(fd) as file:
        return file.read()


# -- Names ------------------------------------------------------------------------------------------------------------


_OUT = ["/etc/passwd", "/", "..", "a/../b", "a/..", "../sandbox2/file"]
_NOT_PLAIN = [".", "a/./b", "a//b", "a/", "a\0b", "\ud800", "x" * 256, "a/" * 200 + "b"]


@pytest.mark.parametrize("relative", [*_OUT, *_NOT_PLAIN])
def test_paths_that_do_not_simply_lead_down(relative: str, tmp_path: Path) -> None:
    write(tmp_path / "file", "inside")
    with pytest.raises(NotShown):
        parts_of(relative)
    assert read(tmp_path, relative, own_claim()).startswith("it is ")


@pytest.mark.parametrize("relative", ["%2e%2e", "%2e%2e%2ffile", "...", "..a", "a b", "\udcff", "-rf", "~root"])
def test_names_that_only_look_odd_are_names(relative: str, tmp_path: Path) -> None:
    write(tmp_path / relative, "inside")
    assert read(tmp_path, relative, own_claim()) == "inside"


@pytest.mark.parametrize(
    "path, directory, found",
    [
        ("/x/sandbox/.logs", "/x/sandbox", ".logs"),
        ("/x/sandbox/a/b/", "/x/sandbox/", "a/b"),
        ("/x/sandbox2/a", "/x/sandbox", None),
        ("/x/sandbox", "/x/sandbox", None),
        ("/x/sandbox/", "/x/sandbox", None),
        ("/x/sandbox/../sandbox2", "/x/sandbox", None),
        ("/x/sandbox/a\0b", "/x/sandbox", None),
        ("/etc", "", None),
    ],
)
def test_below(path: str, directory: str, found: str | None) -> None:
    assert below(path, directory) == found


@pytest.mark.parametrize("path", ["relative", "", "/tmp/../etc", "/nul\0", "/sur\ud800"])
def test_a_place_has_a_plain_absolute_path(path: str) -> None:
    with pytest.raises(NotShown):
        open_place(path, own_claim())


# -- Kinds ------------------------------------------------------------------------------------------------------------


def a_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def a_link_inside(path: Path) -> None:
    write(path.parent / "target", "inside")
    path.symlink_to("target")


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def a_directory(path: Path) -> None:
    path.mkdir()


def a_device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root can make devices")


@pytest.mark.parametrize(
    "make, words",
    [
        (a_link, "a link, which is not followed"),
        (a_link_inside, "a link, which is not followed"),
        (a_fifo, "a FIFO, not a file"),
        (a_socket, "a socket, not a file"),
        (a_directory, "a directory, not a file"),
        (a_device, "a device, not a file"),
    ],
)
def test_what_is_no_file_is_not_opened(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    make(tmp_path / "it")
    assert read(tmp_path, "it", own_claim()) == f"it is {words}"


@pytest.mark.process
def test_a_fifo_is_not_even_opened_for_a_moment(tmp_path: Path) -> None:
    """Whoever waits for a reader of it would be told that there is one."""
    os.mkfifo(tmp_path / "fifo")
    write(tmp_path / "file", "inside")
    with Watcher() as watcher:
        if watcher.watch(str(tmp_path), IN_OPEN) is None:
            pytest.skip("no inotify")
        for name in ("fifo", "file"):
            read(tmp_path, name, own_claim())
        opened = {event.name for event in watcher.wait(SOON_S)}
    assert "file" in opened, "a real file is opened, and that is seen"
    assert "fifo" not in opened


def test_a_lease_does_not_hold_the_reader_up(tmp_path: Path) -> None:
    """Its owner may make every open() of a file wait for 45 s, root's as well."""
    write(tmp_path / "file", "inside")
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # how the kernel asks for it back
    holder = os.open(tmp_path / "file", os.O_RDWR)
    try:
        try:
            fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            pytest.skip("this file system has no leases")
        begun = time.monotonic()
        assert "leased" in read(tmp_path, "file", own_claim())
        assert time.monotonic() - begun < 5
    finally:
        os.close(holder)
        signal.signal(signal.SIGIO, before)
    assert read(tmp_path, "file", own_claim()) == "inside"


@pytest.mark.parametrize("target", ["/etc", "inside"])
def test_a_link_on_the_way_is_not_followed(target: str, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    write(tmp_path / "inside" / "passwd", "inside")
    (tmp_path / "way").symlink_to(target)
    assert "link" in read(tmp_path, "way/passwd", own_claim())
    with pytest.raises(NotShown):
        open_place(str(tmp_path / "way"), own_claim())


def test_kinds() -> None:
    assert kind_of(os.stat("/dev/null").st_mode) == "device"
    assert kind_of(os.stat("/").st_mode) == "directory"


# -- Claims -----------------------------------------------------------------------------------------------------------


def claim_in(root: Path) -> Claim:
    return claim_of(read_facts(str(root), "t", True))


def test_who_claims_is_the_author_of_the_checkpoint(tmp_path: Path) -> None:
    assert claim_in(tmp_path) == Claim(None, None), "there is none"
    directory = tmp_path / "checkpoints" / "t"
    directory.mkdir(parents=True)
    runner = write(directory / "runner", "")
    assert claim_in(tmp_path) == Claim(US, None)
    runner.chmod(0o666)
    assert claim_in(tmp_path) == Claim(None, None), "who wrote it?"
    runner.chmod(0o644)
    os.link(runner, tmp_path / "second")
    assert claim_in(tmp_path) == Claim(None, None), "who gave it that name?"
    assert claim_of(read_facts(str(tmp_path), "nul\0", True)) == Claim(None, None)


@as_root
def test_a_checkpoint_that_is_swapped_after_it_was_read_is_no_better(tmp_path: Path) -> None:
    """Its author cannot forge a header and then put a file of root's in its place, to have it believed."""
    directory = tmp_path / "checkpoints" / "t"
    directory.mkdir(parents=True)
    header = RunnerHeader("t", 0, sandbox="/etc", user="root")
    runner = directory / "runner"
    runner.write_bytes(checkpoint.encode(header))
    os.chown(runner, ALICE, ALICE)
    facts = read_facts(str(tmp_path), "t", True)
    write(tmp_path / "roots", "").replace(runner)
    assert facts.state.header == header
    assert claim_of(facts) == Claim(ALICE, "root")


@as_root
def test_a_users_claim_leads_no_further_than_he_could_go(world: Path) -> None:
    """A forged checkpoint names a sandbox: root shows its author what he could have read himself, and no more."""
    claim = Claim(ALICE, "root")
    secret = make_dir(world / "secret", mode=0o700)
    open_dir = make_dir(secret / "open")
    write(open_dir / "public", "behind a closed door")
    write(world / "public", "for all")
    write(world / "private", "root's", mode=0o600)
    write(world / "bobs", "bob's", BOB, 0o600)
    write(world / "hers", "hers", ALICE, 0o600)
    write(world / "closed to groups", "a group's", US, 0o640)
    assert read(world, "public", claim) == "for all"
    assert read(world, "hers", claim) == "hers"
    for name in ("private", "bobs", "closed to groups"):
        assert "may not read" in read(world, name, claim)
    assert "may not enter" in read(world, "secret/open/public", claim)
    assert "may not enter" in read(open_dir, "public", claim), "the door is above what she named"
    assert "it is" in read(Path("/etc"), "shadow", claim)


@as_root
def test_nobody_in_particular_sees_what_all_may_see(world: Path) -> None:
    claim = Claim(None, "root")
    write(world / "public", "for all")
    write(world / "private", "root's", mode=0o600)
    assert read(world, "public", claim) == "for all"
    assert "may not read" in read(world, "private", claim)


@as_root
@pytest.mark.parametrize("user", [str(ALICE), "no such user", None, "nul\0"])
def test_roots_word_is_believed_and_the_tasks_user_is_not(user: str | None, world: Path) -> None:
    """Root's runner keeps a task of another user, whose sandbox it is."""
    outer = make_dir(world / "agent", mode=0o700)
    sandbox = make_dir(outer / "sandbox", ALICE, 0o700)
    claim = Claim(0, user)
    write(sandbox / "hers", "hers", ALICE, 0o000)
    write(sandbox / "runner.log", "root's log", 0, 0o644)
    write(sandbox / "private", "root's", 0, 0o600)
    os.link(write(world / "public", "elsewhere", 0, 0o644), sandbox / "second name")
    own = write(world / "own", "hers too", ALICE)
    os.link(own, sandbox / "own second name")
    inner = make_dir(sandbox / "docker", 0, 0o700)
    write(inner / "layer", "root's", 0, 0o644)
    assert read(sandbox, "hers", claim) == "hers"
    assert read(sandbox, "runner.log", claim) == "root's log"
    assert read(sandbox, "own second name", claim) == "hers too"
    assert "may not read" in read(sandbox, "private", claim)
    assert "hard link to a file of uid 0" in read(sandbox, "second name", claim)
    assert "may not enter" in read(sandbox, "docker/layer", claim)


@as_root
def test_a_task_of_roots_sees_all_but_strange_hard_links(world: Path) -> None:
    sandbox = make_dir(world / "sandbox", 0, 0o700)
    write(sandbox / "worker.log", "a worker's", BOB, 0o600)
    os.link(write(world / "bobs", "bob's", BOB, 0o600), sandbox / "second name")
    assert read(sandbox, "worker.log", Claim(0, "root")) == "a worker's"
    assert "hard link" in read(sandbox, "second name", Claim(0, "root"))


@as_root
@pytest.mark.process
def test_somebody_else_than_root_is_as_careful_with_the_claims_of_others(world: Path) -> None:
    """The observer's own files are not shown because another user's checkpoint names their directory."""
    mine = make_dir(world / "mine", NOBODY, 0o755)
    hers = make_dir(world / "hers", ALICE, 0o755)
    write(hers / "key", "the observer's", NOBODY, 0o600)
    write(mine / "key", "the observer's", NOBODY, 0o600)
    pid = os.fork()
    if pid == 0:  # nothing may escape: pytest's stack lies above
        code = 1
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            theirs = read(mine, "key", Claim(ALICE, None))
            ours = read(mine, "key", own_claim())
            roots = read(hers, "key", Claim(0, None))
            is_right = "may not read" in theirs and "may not read" in roots and ours == "the observer's"
            code = 0 if is_right else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
