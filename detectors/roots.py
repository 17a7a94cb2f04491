"""Where are checkpoint roots on this host? Names and meanings are those of Aurora's path detectors."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from detectors.closed import closed_at

#: Where Aurora's runner keeps its checkpoints unless told otherwise.
DEFAULT_ROOT: Final = "/var/run/thermos"
#: The Mesos agent's ``--work_dir`` in Aurora's packages.
DEFAULT_MESOS_ROOT: Final = "/var/lib/mesos"
#: Directory of checkpoints within an executor's sandbox.
SANDBOX_PATH: Final = "checkpoints"
#: What lies between the agent's work directory and a run's sandbox: names of directories; none stands for an id.
#: Agents of today write ``slaves``, the v1 names say ``agents``. Source: mesos/src/slave/paths.hpp.
_LEVELS: Final[tuple[tuple[str, ...], ...]] = (
    ("agents", "slaves"), (), ("frameworks",), (), ("executors",), (), ("runs",), (),
)  # fmt: skip
#: The level of runs, where the agent's symbolic link to the newest one lies among them.
_RUN: Final = len(_LEVELS) - 1
_LATEST: Final = "latest"


class Look(NamedTuple):
    """What a detector saw."""

    #: The directory at and below which the answer is complete; None: everywhere.
    scope: str | None
    #: The roots there.
    roots: list[str]
    #: The directories there in which an entry that comes or goes may mean another root, or one less.
    parents: list[str]
    #: The directories there that may not be read: below them may be more.
    closed: Sequence[str] = ()


class MesosRun(NamedTuple):
    """One run of an executor, as its sandbox's path names it."""

    #: The agent's work directory.
    root: str
    agent_id: str
    framework_id: str
    executor_id: str
    run: str
    #: The sandbox itself.
    sandbox: str


@runtime_checkable
class PathDetector(Protocol):
    """Finds checkpoint roots."""

    def get_paths(self) -> list[str]:
        """The roots, each once, in a stable order; never raises for what lies on disk, OSError if nobody can tell."""
        ...


@runtime_checkable
class LookingPathDetector(PathDetector, Protocol):
    """One that also says where its roots may appear, so that new ones are noticed at once."""

    def look(self, changed: str | None = None) -> Look:
        """What there is now. *changed*: only what the entry at that path, which came or went, can have to do with.

        A detector may look at more than it was asked for: ``scope`` says at what it looked.
        """
        ...


def default_state_dir() -> str:
    """Where an unprivileged user's tasks are kept: ``thermos`` below the XDG state directory."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "thermos")


def default_root() -> str:
    """The checkpoint root unless the command line names one."""
    return DEFAULT_ROOT if os.geteuid() == 0 else default_state_dir()


class FixedPathDetector:
    """One root, whether it exists or not."""

    def __init__(self, path: str = DEFAULT_ROOT) -> None:
        if not isinstance(path, str):
            raise TypeError(f"a root is a string, not {type(path).__name__}")
        self._path = path

    def get_paths(self) -> list[str]:
        """That one root."""
        return [self._path]

    def look(self, changed: str | None = None) -> Look:
        """That one root; no other will ever come."""
        return Look(None, [self._path], [])


class ChainedPathDetector:
    """The roots of several detectors, in their order, each once."""

    def __init__(self, *detectors: PathDetector) -> None:
        for detector in detectors:
            if not isinstance(detector, PathDetector):
                raise TypeError(f"{detector!r} has no get_paths()")
        self._detectors = detectors

    @property
    def detectors(self) -> tuple[PathDetector, ...]:
        """Its members."""
        return self._detectors

    def get_paths(self) -> list[str]:
        """All roots; the first detector that names one says where it comes in the order, and how it is spelled.

        One directory is one root, whatever its names: through a link further up, a bind mount, a doubled slash.
        """
        return distinct(path for detector in self._detectors for path in detector.get_paths())


def distinct(paths: Iterator[str] | Sequence[str]) -> list[str]:
    """*paths* without those that name a directory which another one before named."""
    found: dict[object, str] = {}
    for path in paths:
        found.setdefault(identity(path), path)
    return list(found.values())


def flat(detector: PathDetector) -> Iterator[PathDetector]:
    """The detectors that *detector* is made of."""
    if isinstance(detector, ChainedPathDetector):
        for member in detector.detectors:
            yield from flat(member)
    else:
        yield detector


def survey(detector: PathDetector) -> tuple[list[str], list[str]]:
    """(all roots of *detector*, the directories that may hold more and may not be read). Raises as ``get_paths``."""
    roots: list[str] = []
    closed: dict[str, None] = {}
    for each in flat(detector):
        if isinstance(each, LookingPathDetector):
            look = each.look()
            roots += look.roots
            closed |= dict.fromkeys(look.closed)
        else:
            roots += each.get_paths()
    return distinct(roots), list(closed)


def identity(path: str) -> object:
    """What tells one directory from another: device and inode; of what is not there, its path."""
    try:
        info = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in it
        return os.path.normpath(path)
    return info.st_dev, info.st_ino


class _Found:
    """What one look at an agent's work directory finds on its way down."""

    def __init__(self) -> None:
        self.roots: list[str] = []
        self.parents: list[str] = []
        self.closed: dict[str, None] = {}

    def is_directory(self, path: str) -> bool:
        """Whether *path* is a directory, and no link to one."""
        try:
            return stat.S_ISDIR(os.lstat(path).st_mode)
        except PermissionError:
            self._note(path)
            return False
        except (OSError, ValueError):
            return False

    def directories(self, path: str, skip: str | None) -> list[str]:
        """The directories in *path* but the one named *skip*, by name; links are not followed. Absent: none.

        Raises OSError where nobody can tell, for want of a descriptor or because the disk fails.
        """
        try:
            with os.scandir(path) as entries:
                names = [e.name for e in entries if e.name != skip and e.is_dir(follow_symlinks=False)]
        except PermissionError:
            self._note(path)
            return []
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [f"{path}/{name}" for name in sorted(names)]

    def _note(self, path: str) -> None:
        closed = closed_at(path)
        if closed is not None:
            self.closed[closed] = None


class MesosPathDetector:
    """The checkpoint roots in the sandboxes of all runs that a Mesos agent's work directory holds."""

    def __init__(self, root: str = DEFAULT_MESOS_ROOT, sandbox_path: str = SANDBOX_PATH) -> None:
        for value in (root, sandbox_path):
            if not isinstance(value, str):
                raise TypeError(f"a path is a string, not {type(value).__name__}")
        parts = sandbox_path.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"{sandbox_path!r} is no path below a sandbox")
        self._root = root.rstrip("/") or "/"
        self._levels = (*_LEVELS, *((part,) for part in parts))

    def get_paths(self) -> list[str]:
        """``RUN/checkpoints`` of every run that has one, ordered by path; each directory once."""
        return distinct(self.look().roots)

    def look(self, changed: str | None = None) -> Look:
        """The roots, and every directory on the way in which another may appear. Links are not followed."""
        scope, level = self._scope(changed) if changed is not None else (self._root, 0)
        found = _Found()
        if level is not None and (level == 0 or found.is_directory(scope)):
            self._descend(scope, level, found)
        return Look(None if level == 0 else scope, found.roots, found.parents, tuple(found.closed))

    def _scope(self, changed: str) -> tuple[str, int | None]:
        """The directory to look at when the entry *changed* came or went, and its level; None: no root is there."""
        start = self._root.rstrip("/") + "/"
        if not changed.startswith(start):  # the work directory itself, or one above it
            return self._root, 0
        parts = changed.removeprefix(start).strip("/").split("/")
        if len(parts) > len(self._levels):
            return changed, None
        for part, names in zip(parts, self._levels, strict=False):
            if names and part not in names:
                return changed, None
        if len(parts) > _RUN and parts[_RUN] == _LATEST:
            return changed, None
        if self._levels[len(parts) - 1]:  # with a name that there is one of, what holds it is to be looked at
            return (os.path.dirname(changed), len(parts) - 1) if len(parts) > 1 else (self._root, 0)
        return changed, len(parts)

    def _descend(self, path: str, level: int, found: _Found) -> None:
        if level == len(self._levels):
            found.roots.append(path)
            return
        names = self._levels[level]
        if names:
            there = [below for name in names if found.is_directory(below := f"{path}/{name}")]
            if level == 0 or not there:
                found.parents.append(path)
        else:
            found.parents.append(path)
            there = found.directories(path, skip=_LATEST if level == _RUN else None)
        for below in there:
            self._descend(below, level + 1, found)


def find_root(path: str) -> MesosRun | None:
    """The run of an executor in whose sandbox *path* lies, or which it is; None: in none.

    Goes by the path alone; where several match, as for an agent within a sandbox, the innermost is meant.
    """
    parts = path.rstrip("/").split("/")
    depth = len(_LEVELS)
    for end in range(len(parts), depth, -1):
        last = parts[end - depth : end]
        if all(
            part in names if names else part not in ("", ".", "..") for part, names in zip(last, _LEVELS, strict=True)
        ):
            agent_id, framework_id, executor_id, run = last[1::2]
            root = "/".join(parts[: end - depth]) or "/"
            return MesosRun(root, agent_id, framework_id, executor_id, run, "/".join(parts[:end]))
    return None
