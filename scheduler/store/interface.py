"""What every store does, and what may go wrong with one. ``open_store`` in :mod:`scheduler.store.opening` chooses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from scheduler.core.changes import Change
from thermos.errors import ExitCode, ThermosError


class StoreError(ThermosError):
    """The store cannot be used; says which, why, and what to do."""

    exit_code = ExitCode.INTERNAL


class Fenced(StoreError):
    """Another scheduler leads since: what this one wanted to write was refused, and it must end."""

    exit_code = ExitCode.REFUSED


class NewerSchema(StoreError):
    """The store was written by a later version of this software."""

    exit_code = ExitCode.NEWER_FORMAT


class NoSpace(StoreError):
    """Nothing was written, and nothing that was there is lost: the disk is full."""

    exit_code = ExitCode.NO_SPACE


class Misused(StoreError):
    """What was asked for cannot be done as things are; nothing is wrong with the store."""

    exit_code = ExitCode.USAGE


class Store(Protocol):
    """A place for the state. All methods may raise StoreError; used by one thread at a time."""

    def lead(self) -> int:
        """Become the one who writes; gives our epoch. Whoever had a smaller one is refused from now on."""

    def load(self) -> Iterable[Change]:
        """All that is kept, as the changes that make it of nothing."""

    def commit(self, changes: Sequence[Change]) -> None:
        """Make *changes* durable, all or none, before returning. Raises Fenced, NoSpace, StoreError."""

    def backup(self, path: str) -> None:
        """Write a copy of all that is kept to a new file at *path*, whole or not at all. Any thread may."""

    def compact(self) -> None:
        """Give back the room that changes of before still take. Any thread may; a commit may have to wait for it."""

    def close(self) -> None:
        """Let it go."""
