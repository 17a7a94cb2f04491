"""Plays the story once for every call that changes the disk, with that call failing: run with disk.c in it.

``python failing_disk.py DIRECTORY ERRNO once|ever stop|again`` prints what went wrong, a line each, and how often it
was played.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path

from scheduler.store.backups import read_backup
from scheduler.store.interface import NoSpace, StoreError
from scheduler.store.sqlite import SqliteStore
from tests.scheduler.store.story import BACKED_UP, BACKUP, COMMITS, PICTURES, STORE, play
from tests.scheduler.store.values import picture, state_of

DISK = ctypes.CDLL(None)


def once(directory: Path, at: int, number: int, is_ever: bool, is_stubborn: bool) -> tuple[list[str], int]:
    """The story with call *at* failing, played by a child that ends without closing: (what it noted, failed calls)."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(receive)

            def note(text: str) -> None:
                os.write(send, f"{text}\n".encode())
                if text == "full":
                    DISK.disk_fail(0, 0, 0)  # somebody made room

            DISK.disk_fail(at, number, int(is_ever))
            try:
                play(str(directory), note, is_stubborn)
                note("end")
            except NoSpace:
                note("no space")
            except StoreError as error:
                note(f"error {error}".replace("\n", " "))
            note(f"failed {DISK.disk_failed()}")
        finally:
            os._exit(0)
    os.close(send)
    with open(receive) as answers:
        notes = answers.read().splitlines()
    _, status = os.waitpid(child, 0)
    if status or not notes or not notes[-1].startswith("failed "):
        return [*notes, f"died with {status}"], -1
    return notes[:-1], int(notes[-1].split()[1])


def problems(directory: Path, notes: list[str], is_stubborn: bool) -> list[str]:
    """What is not as it should be on the disk after such a life."""
    acknowledged = max((int(note.split()[1]) for note in notes if note.startswith("commit ")), default=0)
    led = max((int(note.split()[1]) for note in notes if note.startswith("lead ")), default=0)
    found = []
    try:
        store = SqliteStore(str(directory / STORE))
        epoch = store.lead()
        seen = picture(state_of(store.load()))
        store.close()
    except StoreError as error:
        return [f"cannot be opened again: {error}"]
    # An error that is no full disk leaves open whether the commit is there; a full disk does not.
    allowed = [acknowledged] if notes[-1] in ("no space", "end") else [acknowledged, acknowledged + 1]
    if seen not in [PICTURES[count] for count in allowed if count < len(PICTURES)]:
        known = [count for count, one in enumerate(PICTURES) if one == seen]
        found.append(f"acknowledged {acknowledged}, and there are {known}")
    if epoch <= led:
        found.append(f"epoch {epoch} after {led}")
    if "backup" in notes or (directory / BACKUP).exists():
        try:
            if picture(state_of(read_backup(str(directory / BACKUP)))) != PICTURES[BACKED_UP]:
                found.append("the backup holds something else")
        except StoreError as error:
            found.append(f"the backup cannot be read: {error}")
    if is_stubborn and notes[-1] == "end" and acknowledged != len(COMMITS):
        found.append("it ended early")
    return found


def main(root: str, number: str, how: str, then: str) -> None:
    at, fulls = 0, 0
    while True:
        at += 1
        directory = Path(root, str(at))
        directory.mkdir()
        notes, failed = once(directory, at, int(number), how == "ever", then == "again")
        for problem in problems(directory, notes, then == "again"):
            print(f"call {at}: {problem}; it said: {notes[-3:]}")
        fulls += "no space" in notes or "full" in notes
        shutil.rmtree(directory)
        if failed == 0:
            break  # it made fewer calls
    print(f"played {at} full {fulls}")


if __name__ == "__main__":
    main(*sys.argv[1:])
