"""What installed distributions add to the clients, by entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from scheduler.client.errors import ClientError


def load_all(group: str, skipped: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What the entry points of *group* name, by their names, in the order of these; without those *skipped*.

    Raises:
        ClientError: one cannot be loaded; it says which, and of which distribution. A check that is missing must not
            look like one that was passed.
    """
    return {
        entry.name: _load(entry)
        for entry in sorted(entry_points(group=group), key=lambda entry: entry.name)
        if entry.name not in skipped
    }


def _load(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        owner = entry.dist.name if entry.dist is not None else "unknown"
        raise ClientError(
            f"plug-in '{entry.name}' ({entry.group}, of distribution {owner}) cannot be loaded: "
            f"{type(error).__name__}: {error}; repair it or uninstall {owner}"
        ) from error
