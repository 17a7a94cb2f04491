"""A directory of the sandbox and a link out of it change places at full speed while logs and files are read.

A reader that opens paths as they are shows what lies outside, in the same test: the attack works.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from observer_static.reach import own_claim
from observer_static.sandbox import browse, open_file
from observer_static.tails import open_logs, read_log
from tests.support.box import SOON_S, until
from thermos.records import RunnerHeader

pytestmark = pytest.mark.process

SECRET = b"SECRET\n"
#: What tells of the secret in a listing: its size, and the name of a file that is nowhere else.
SECRET_NAME = "secret-name"
ATTACK_S = 1.0

#: renameat2 with RENAME_EXCHANGE: both names exist at any moment.
SWAPPER = """
import ctypes, sys
rename = ctypes.CDLL(None).renameat2
one, other = (ctypes.c_char_p(name.encode()) for name in sys.argv[1:3])
if rename(-100, one, -100, other, 2):
    sys.exit("renameat2 failed")
open(sys.argv[3], "w").close()
while True:
    rename(-100, one, -100, other, 2)
"""

Reader = Callable[[Path], list[bytes]]


def logs_of(sandbox: Path) -> list[bytes]:
    logs = open_logs(RunnerHeader("t", 0, str(sandbox)), own_claim())
    assert logs is not None
    with logs:
        return [read_log(logs, "web", 0, stream, 1 << 16).data for stream in ("stdout", "stderr")]


def naive_logs_of(sandbox: Path) -> list[bytes]:
    try:
        return [(sandbox / ".logs/web/0/stdout").read_bytes()]
    except OSError:
        return []


def names_of(sandbox: Path) -> list[bytes]:
    return [os.fsencode(entry.name) for entry in browse(str(sandbox), claim=own_claim()).entries]


def naive_names_of(sandbox: Path) -> list[bytes]:
    """As careful as one can be with paths: looks whether it is a link, then walks."""
    found = []
    waiting = [sandbox]
    while waiting:
        directory = waiting.pop()
        try:
            for path in directory.iterdir():
                found.append(os.fsencode(path.name))
                if path.is_dir() and not path.is_symlink():
                    waiting.append(path)
        except OSError:
            continue
    return found


def a_file_of(sandbox: Path) -> list[bytes]:
    fd = open_file(str(sandbox), ".logs/web/0/stdout", own_claim())
    if fd is None:
        return []
    with open(fd, "rb") as file:
        return [file.read()]


def naive_file_of(sandbox: Path) -> list[bytes]:
    """What the original's observer does: resolves, compares with the sandbox, opens."""
    path = sandbox / ".logs/web/0/stdout"
    try:
        if not os.path.realpath(path).startswith(str(sandbox) + "/"):
            return []
        return [path.read_bytes()]
    except OSError:
        return []


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Path, Path]:
    """(a sandbox, a directory elsewhere that looks the same from within and holds the secret)."""
    sandbox, outside = tmp_path / "sandbox", tmp_path / "outside"
    run = sandbox / ".logs" / "web" / "0"
    run.mkdir(parents=True)
    (run / "stdout").write_text("inside\n")
    for depth in ("", "0", "web/0", ".logs/web/0"):
        directory = outside / depth
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "stdout").write_bytes(SECRET)
        (directory / "stderr").write_bytes(SECRET)
        (directory / SECRET_NAME).touch()
    return sandbox, outside


#: What changes places: a directory or file on the way to the log, and what in the outside is like it.
PLACES = [(".logs", ".logs"), (".logs/web", "web"), (".logs/web/0", "."), (".logs/web/0/stdout", "stdout")]


@dataclass
class Tally:
    """What was seen so far."""

    looks: int = 0
    #: How often the naive reader showed the secret.
    leaked: int = 0
    #: How often ours showed what it should.
    hits: int = 0

    def check(self) -> None:
        assert self.leaked, f"the naive reader saw nothing in {self.looks} looks: the attack proves nothing"
        assert self.hits, f"in {self.looks} looks the log was never seen: the reader sees nothing at all"


def attack(place: Path, target: Path, tmp_path: Path, tally: Tally | None = None) -> Iterator[None]:
    """Once for each time that one may look, while *place* and a link to *target* change places.

    For ATTACK_S, and longer on a busy machine: until *tally* proves something.
    """
    link = tmp_path / "link"
    link.symlink_to(target)
    started = tmp_path / "started"
    words = [sys.executable, "-S", "-E", "-c", SWAPPER, str(place), str(link), str(started)]
    swapper = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        until(lambda: started.exists() or swapper.poll() is not None, "the swapper's start")
        if swapper.poll() is not None:
            pytest.skip("this file system cannot exchange two names")
        begun = time.monotonic()
        while (took_s := time.monotonic() - begun) < ATTACK_S or (
            took_s < SOON_S and tally is not None and not (tally.leaked and tally.hits)
        ):
            yield
            if tally is not None:
                tally.looks += 1
    finally:
        swapper.kill()
        swapper.wait()


def is_secret(found: list[bytes]) -> bool:
    return any(data == SECRET or data == os.fsencode(SECRET_NAME) for data in found)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "renameat2"), reason="a C library without renameat2")
@pytest.mark.parametrize("place, like", PLACES)
@pytest.mark.parametrize("reader, naive", [(logs_of, naive_logs_of), (a_file_of, naive_file_of)])
def test_no_swap_shows_what_lies_outside(
    reader: Reader, naive: Reader, place: str, like: str, scene: tuple[Path, Path], tmp_path: Path
) -> None:
    sandbox, outside = scene
    tally = Tally()
    for _ in attack(sandbox / place, outside / like, tmp_path, tally):
        found = reader(sandbox)
        assert not is_secret(found), f"look {tally.looks}"
        tally.hits += b"inside\n" in found
        tally.leaked += is_secret(naive(sandbox))
    tally.check()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "renameat2"), reason="a C library without renameat2")
@pytest.mark.parametrize("place, like", PLACES[:3])
def test_no_swap_lists_what_lies_outside(place: str, like: str, scene: tuple[Path, Path], tmp_path: Path) -> None:
    sandbox, outside = scene
    tally = Tally()
    for _ in attack(sandbox / place, outside / like, tmp_path, tally):
        found = names_of(sandbox)
        assert not is_secret(found), f"look {tally.looks}"
        tally.hits += b"stdout" in found
        tally.leaked += is_secret(naive_names_of(sandbox))
    tally.check()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "renameat2"), reason="a C library without renameat2")
def test_no_swap_of_the_sandbox_itself_leads_elsewhere(scene: tuple[Path, Path], tmp_path: Path) -> None:
    sandbox, outside = scene
    for _ in attack(sandbox, outside, tmp_path):
        assert not is_secret(logs_of(sandbox))
        assert not is_secret(names_of(sandbox))
        assert not is_secret(a_file_of(sandbox))
