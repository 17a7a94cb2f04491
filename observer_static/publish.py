"""Publishes pages: makes a directory hold just what it should, as the user it should belong to."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from typing import Final, NamedTuple

from observer_static.pagedir import MARKER, Modes, NotOurs, open_pages
from observer_static.pages import File
from thermos.errors import NotPermitted

__all__ = ["MARKER", "NotOurs", "Published", "publish"]

#: How long a child that writes as somebody else may take.
TIMEOUT_S: Final = 60.0


class Published(NamedTuple):
    """How many pages were written, were as they should be, and were removed."""

    written: int
    unchanged: int
    removed: int


def publish(
    files: Iterable[File],
    directory: str | int,
    *,
    below: str = "",
    owner: tuple[int, int] | None = None,
    dir_mode: int = 0o700,
    file_mode: int = 0o600,
    keep: Container[str] = (),
    timeout_s: float = TIMEOUT_S,
) -> Published:
    """Make *directory*, or the directory *below* it, hold just *files* and those pages of ours that are in *keep*.

    With *owner* (uid, gid) and as root, a child that has become that owner makes the files and writes them: what is
    given as a path is opened by it; a file that is generated may use no descriptor but *directory* that is open now.
    Raises OSError; NotOurs: the directory holds something else; NotPermitted: *owner* is somebody else, and we are
    not root.
    """
    modes = Modes(dir_mode, file_mode)
    if owner is None or owner[0] == os.geteuid():
        return _publish(files, directory, below, modes, keep)
    if os.geteuid() != 0:
        raise NotPermitted(f"only root can write pages as uid {owner[0]}")
    from observer_static.as_owner import run_as

    kept = (directory,) if isinstance(directory, int) else ()
    return Published(*run_as(owner, lambda: _publish(files, directory, below, modes, keep), kept, timeout_s))


def _publish(files: Iterable[File], directory: str | int, below: str, modes: Modes, keep: Container[str]) -> Published:
    with open_pages(directory, below, modes) as pages:
        pages.tidy()
        written = unchanged = removed = 0
        wanted = set()
        try:
            for file in files:
                wanted.add(file.path)
                if pages.write(file):
                    written += 1
                else:
                    unchanged += 1
            for path in [path for path in pages.made if path not in wanted and path not in keep]:
                removed += pages.remove(path)
        finally:
            pages.finish()
        return Published(written, unchanged, removed)
