"""The file store on disks that fail and machines that go dark: what was acknowledged is there, all else whole or not.

The story is played by a process with ``disk.c`` in it. Either one call after the other fails, or its log of all that it
did to the disk is replayed up to every moment: as a kill leaves the disk, and as a loss of power may leave it.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import EIO, ENOSPC
from pathlib import Path
from typing import Final

import pytest

from scheduler.store.backups import read_backup
from scheduler.store.interface import StoreError
from scheduler.store.sqlite import SqliteStore
from tests.scheduler.store.story import BACKED_UP, BACKUP, COMMITS, PICTURES, STORE
from tests.scheduler.store.values import picture, state_of

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
]

#: A disk writes this much whole or not at all.
_SECTOR: Final = 512


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("disk") / "disk.so")
    compiled = subprocess.run(
        ["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", path, HERE / "disk.c", "-ldl"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr
    return path


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory: what is tried are thousands of disks, none of them the real one."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    directory = tempfile.mkdtemp(prefix="store.", dir=where)
    yield Path(directory)
    shutil.rmtree(directory)


def run(library: str, directory: Path, *arguments: str, **more: str) -> str:
    environment = dict(os.environ, LD_PRELOAD=library, DISK_DIR=str(directory), PYTHONPATH=str(ROOT), **more)
    ran = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300, cwd=ROOT
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "number, how, then",
    [(ENOSPC, "ever", "stop"), (ENOSPC, "ever", "again"), (EIO, "once", "stop"), (EIO, "ever", "stop")],
    ids=["full", "full for a while", "an error", "errors from then on"],
)
def test_every_call_may_fail(library: str, memory: Path, number: int, how: str, then: str) -> None:
    lines = run(library, memory, str(HERE / "failing_disk.py"), str(memory), str(number), how, then).splitlines()
    *found, last = lines
    assert not found, "\n".join(found[:20])
    _, played, _, fulls = last.split()
    assert int(played) > 200, "the story makes more calls than that"
    assert (int(fulls) > 100) == (number == ENOSPC), "a full disk is told from a broken one"


# -- what is left of a disk --------------------------------------------------------------------------------------------


@dataclass
class File:
    """A file as the disk has it, and what was done to it since it was synced last."""

    durable: bytes = b""
    pending: list[tuple[int, bytes] | int] = field(default_factory=list)

    def content(self, chance: random.Random | None = None, is_all: bool = False) -> bytes:
        """What is found after the end: all of what is pending, none of it, or by chance any sectors."""
        content = bytearray(self.durable)
        for change in self.pending:
            if isinstance(change, int):
                if is_all or (chance is not None and chance.random() < 0.5):
                    del content[change:]
                    content.extend(bytes(change - len(content)))
                continue
            offset, data = change
            for begin in range(0, len(data), _SECTOR):
                if is_all or (chance is not None and chance.random() < 0.5):
                    part = data[begin : begin + _SECTOR]
                    content.extend(bytes(max(0, offset + begin + len(part) - len(content))))
                    content[offset + begin : offset + begin + len(part)] = part
        return bytes(content)


class Disk:
    """Files and names, changed by the records of a log."""

    def __init__(self) -> None:
        self.files: dict[int, File] = {}
        #: name → file, as a running system sees it, and as the disk has it.
        self.names: dict[str, int] = {}
        self.durable_names: dict[str, int] = {}
        self.pending_names: list[tuple[str, int | None]] = []

    def _name(self, path: str, number: int | None) -> None:
        if number is None:
            self.names.pop(path, None)
        else:
            self.names[path] = number
        self.pending_names.append((path, number))

    def _file(self, path: str) -> File:
        return self.files[self.names[path]]

    def apply(self, kind: str, path: str, more: tuple[object, ...]) -> None:
        if kind == "c":
            number = len(self.files)
            self.files[number] = File()
            self._name(path, number)
        elif kind == "w":
            offset, data = more
            assert isinstance(offset, int) and isinstance(data, bytes)
            self._file(path).pending.append((offset, data))
        elif kind == "t":
            (size,) = more
            assert isinstance(size, int)
            self._file(path).pending.append(size)
        elif kind == "s":
            file = self._file(path)
            file.durable, file.pending = file.content(is_all=True), []
        elif kind == "d":
            self.durable_names, self.pending_names = dict(self.names), []
        elif kind == "u":
            self._name(path, None)
        elif kind == "r":
            (target,) = more
            assert isinstance(target, str)
            number = self.names[path]
            self._name(target, number)
            self._name(path, None)

    def killed(self) -> dict[str, bytes]:
        """What is found when the process died and the system went on."""
        return {name: self.files[number].content(is_all=True) for name, number in self.names.items()}

    def dark(self, chance: random.Random | None) -> dict[str, bytes]:
        """What is found when the power was gone: what was synced, and by *chance* anything of the rest. Names change in
        the order in which they were changed."""
        names = dict(self.durable_names)
        for path, number in self.pending_names[: chance.randint(0, len(self.pending_names)) if chance else 0]:
            if number is None:
                names.pop(path, None)
            else:
                names[path] = number
        return {name: self.files[number].content(chance) for name, number in names.items()}


def records(log: bytes) -> Iterator[tuple[str, str, tuple[object, ...]]]:
    """(kind, name or note, the rest) of each record that disk.c wrote."""
    offset = 0

    def word() -> str:
        nonlocal offset
        end = log.index(b"\0", offset)
        text = log[offset:end].decode()
        offset = end + 1
        return text

    while offset < len(log):
        first = word()
        kind, path = first[0], first[1:]
        if kind == "w":
            at, size = int(word()), int(word())
            yield kind, path, (at, log[offset : offset + size])
            offset += size
        elif kind == "t":
            yield kind, path, (int(word()),)
        elif kind == "r":
            yield kind, path, (word(),)
        else:
            yield kind, path, ()


class Found:
    """What is left of a disk is looked at once, however many moments leave it so."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: dict[str, tuple[int | None, int, str]] = {}

    def look(self, image: dict[str, bytes]) -> tuple[int | None, int, str]:
        """(number of commits that are there or None, epoch, what is wrong)."""
        image = {Path(name).name: content for name, content in image.items() if not name.endswith("-shm")}
        key = hashlib.sha256(repr(sorted((name, hash(data)) for name, data in image.items())).encode()).hexdigest()
        if key not in self._seen:
            for old in self._directory.iterdir():
                old.unlink()
            for name, content in image.items():
                (self._directory / name).write_bytes(content)
            self._seen[key] = self._opened()
        return self._seen[key]

    def _opened(self) -> tuple[int | None, int, str]:
        try:
            if (self._directory / BACKUP).exists():
                backup = picture(state_of(read_backup(str(self._directory / BACKUP))))
                if backup != PICTURES[BACKED_UP]:
                    return None, 0, "the backup holds something else"
            store = SqliteStore(str(self._directory / STORE))
            try:
                epoch = store.lead()
                seen = picture(state_of(store.load()))
            finally:
                store.close()
        except StoreError as error:
            return None, 0, str(error)
        return (PICTURES.index(seen) if seen in PICTURES else None), epoch, "it is as it never was"

    def __len__(self) -> int:
        return len(self._seen)


@pytest.mark.timeout(400)
def test_every_moment_may_be_the_last(library: str, memory: Path) -> None:
    """Killed or dark after every call: acknowledged commits and epochs are there, and at most the next commit."""
    played, replayed, log = memory / "played", memory / "replayed", memory / "log"
    played.mkdir()
    replayed.mkdir()
    play = (
        "import ctypes, sys; from tests.scheduler.store.story import play; disk = ctypes.CDLL(None);"
        "play(sys.argv[1], lambda text: disk.disk_note(text.encode()))"
    )
    run(library, played, "-c", play, str(played), DISK_LOG=str(log))

    disk, found = Disk(), Found(replayed)
    acknowledged = led = 0
    backed_up = False
    wrong: list[str] = []
    for number, (kind, path, more) in enumerate(records(log.read_bytes())):
        if kind == "a":
            what, *count = path.split()
            acknowledged = int(count[0]) if what == "commit" else acknowledged
            led = int(count[0]) if what == "lead" else led
            backed_up = backed_up or what == "backup"
        else:
            disk.apply(kind, path, more)
        images = {"killed": disk.killed(), "dark": disk.dark(None)}
        images |= {f"dark by chance {seed}": disk.dark(random.Random(1000 * number + seed)) for seed in range(3)}
        for how, image in images.items():
            commits, epoch, why = found.look(image)
            if commits is None:
                wrong.append(f"record {number}, {how}, {acknowledged} acknowledged: {why}")
            elif commits not in (acknowledged, acknowledged + 1):
                wrong.append(f"record {number}, {how}: acknowledged {acknowledged}, and there are {commits}")
            elif epoch <= led:
                wrong.append(f"record {number}, {how}: epoch {epoch} after {led}")
            elif backed_up and not any(Path(name).name == BACKUP for name in image):
                wrong.append(f"record {number}, {how}: the backup is gone")
    assert not wrong, f"{len(wrong)} of them:\n" + "\n".join(wrong[:20])
    assert acknowledged == len(COMMITS)
    assert backed_up
    assert len(found) > 200, "these are too few disks to be all moments"
