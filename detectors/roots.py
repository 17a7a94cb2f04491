"""Where are checkpoint roots on this host? Names and meanings are those of Aurora's path detectors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, Protocol, runtime_checkable

#: Where Aurora's runner keeps its checkpoints unless told otherwise.
DEFAULT_ROOT: Final = "/var/run/thermos"
#: The Mesos agent's ``--work_dir`` in Aurora's packages.
DEFAULT_MESOS_ROOT: Final = "/var/lib/mesos"
#: Directory of checkpoints within an executor's sandbox.
SANDBOX_PATH: Final = "checkpoints"
#: What lies between the agent's work directory and a run's sandbox; None stands for an id.
#: Source: mesos/src/slave/paths.hpp.
_LEVELS: Final = ("slaves", None, "frameworks", None, "executors", None, "runs", None)
#: The agent's symbolic link to the newest run, which is among the runs itself.
_LATEST: Final = "latest"


@runtime_checkable
class PathDetector(Protocol):
    """Finds checkpoint roots."""

    def get_paths(self) -> list[str]:
        """The roots, each once, in a stable order; never raises for what lies on disk."""
        ...


class FixedPathDetector:
    """One root, whether it exists or not."""

    def __init__(self, path: str = DEFAULT_ROOT) -> None:
        if not isinstance(path, str):
            raise TypeError(f"a root is a string, not {type(path).__name__}")
        self._path = path

    def get_paths(self) -> list[str]:
        """That one root."""
        return [self._path]


class ChainedPathDetector:
    """The roots of several detectors, in their order, each once."""

    def __init__(self, *detectors: PathDetector) -> None:
        for detector in detectors:
            if not isinstance(detector, PathDetector):
                raise TypeError(f"{detector!r} has no get_paths()")
        self._detectors = detectors

    def get_paths(self) -> list[str]:
        """All roots; the first detector that names one says where it comes in the order."""
        return list(dict.fromkeys(path for detector in self._detectors for path in detector.get_paths()))


class MesosPathDetector:
    """The checkpoint roots in the sandboxes of all runs that a Mesos agent's work directory holds."""

    def __init__(self, root: str = DEFAULT_MESOS_ROOT, sandbox_path: str = SANDBOX_PATH) -> None:
        for value in (root, sandbox_path):
            if not isinstance(value, str):
                raise TypeError(f"a path is a string, not {type(value).__name__}")
        self._root = root
        self._sandbox_path = sandbox_path

    def get_paths(self) -> list[str]:
        """``RUN/checkpoints`` of every run that has one, ordered by path."""
        runs = [self._root]
        for level in _LEVELS:
            if level is None:
                runs = [below for run in runs for below in _directories(run)]
            else:
                runs = [f"{run}/{level}" for run in runs]
        roots = (f"{run}/{self._sandbox_path}" for run in runs)
        return [root for root in roots if os.path.isdir(root) and not os.path.islink(root)]


def _directories(path: str) -> Iterator[str]:
    """The directories in *path*, by name; links are not followed, ``latest`` is skipped. Absent: none."""
    try:
        with os.scandir(path) as entries:
            names = [e.name for e in entries if e.name != _LATEST and e.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for name in sorted(names):
        yield f"{path}/{name}"
