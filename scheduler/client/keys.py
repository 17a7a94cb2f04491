"""Names of jobs and instances on the command line, as argparse types.

``CLUSTER/ROLE/ENV/NAME``, with ``/INSTANCES`` such as ``0-2,5`` behind it; patterns have fewer parts or ``*``.
Source: ``aurora/common/aurora_job_key.py`` and ``aurora/client/cli/options.py``.
"""

from __future__ import annotations

import argparse
import re
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from thermos.formats.assigned_task import JobKey

_PART: Final = re.compile(r"[\w\-.]+", re.ASCII)
_INSTANCES: Final = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")
#: No job has more instances than the scheduler allows by a wide margin (``max_tasks_per_job`` is 4000).
_MAX_INSTANCE: Final = 1_000_000


class JobRef(NamedTuple):
    """One job of one cluster."""

    cluster: str
    role: str
    environment: str
    name: str

    def __str__(self) -> str:
        return "/".join(self)

    @property
    def env(self) -> str:
        """The environment, as hooks for Aurora's client call it."""
        return self.environment

    def to_path(self) -> str:
        """The key as it is written, as hooks for Aurora's client ask for it."""
        return str(self)

    @property
    def key(self) -> JobKey:
        """The job's key within its cluster, as the API has it."""
        return JobKey(self.role, self.environment, self.name)


class InstancesRef(NamedTuple):
    """Instances of a job; *instances* None: all of them."""

    job: JobRef
    instances: tuple[int, ...] | None

    def __str__(self) -> str:
        return str(self.job) if self.instances is None else f"{self.job}/{ranges(self.instances)}"


class Pattern(NamedTuple):
    """Jobs that match, part by part, as a shell matches file names."""

    cluster: str
    role: str
    environment: str
    name: str

    def __str__(self) -> str:
        return "/".join(self)

    @property
    def is_exact(self) -> bool:
        """Whether it can only mean one job."""
        return not any(character in part for part in self for character in "*?[")

    def matches(self, job: JobRef) -> bool:
        """Whether *job* is meant; the cluster is not looked at."""
        return all(fnmatchcase(part, wanted) for part, wanted in zip(job[1:], self[1:], strict=True))


def job(text: str) -> JobRef:
    """The job that *text* names. For argparse."""
    parts = text.split("/")
    if len(parts) != 4:
        raise argparse.ArgumentTypeError(f"'{text}' is no job key: write CLUSTER/ROLE/ENV/NAME")
    _check(text, parts)
    return JobRef(*parts)


def instances(text: str) -> InstancesRef:
    """The instances that *text* names; without a fifth part: all. For argparse."""
    parts = text.split("/")
    if len(parts) not in (4, 5):
        raise argparse.ArgumentTypeError(f"'{text}' names no instances: write CLUSTER/ROLE/ENV/NAME/0-2,5")
    _check(text, parts[:4])
    return InstancesRef(JobRef(*parts[:4]), _numbers(parts[4]) if len(parts) == 5 else None)


def one_instance(text: str) -> InstancesRef:
    """The one instance that *text* names. For argparse."""
    found = instances(text)
    if found.instances is None or len(found.instances) != 1:
        raise argparse.ArgumentTypeError(f"'{text}' names no single instance: write CLUSTER/ROLE/ENV/NAME/INSTANCE")
    return found


def pattern(text: str) -> Pattern:
    """The jobs that *text* means; parts that are missing are ``*``. For argparse."""
    parts = text.split("/")
    if len(parts) > 4 or not all(parts):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no key or pattern: write CLUSTER[/ROLE[/ENV[/NAME]]], where a part may be *"
        )
    return Pattern(*parts, *["*"] * (4 - len(parts)))


def role(text: str) -> tuple[str, str]:
    """The cluster and role that *text* names. For argparse."""
    parts = text.split("/")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"'{text}' names no role: write CLUSTER/ROLE")
    _check(text, parts)
    return parts[0], parts[1]


def ranges(numbers: tuple[int, ...] | list[int]) -> str:
    """*numbers* as ``0-2,5``."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def _check(text: str, parts: list[str]) -> None:
    for part in parts:
        if not _PART.fullmatch(part):
            raise argparse.ArgumentTypeError(
                f"'{text}' is no key: '{part}' may hold letters, digits, '_', '-' and '.', and not be empty"
            )


def _numbers(text: str) -> tuple[int, ...]:
    if not _INSTANCES.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}' are no instances: write numbers and ranges, such as 0-2,5")
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if low > high:
            raise argparse.ArgumentTypeError(f"'{part}' goes backwards: write {high}-{low}")
        if high > _MAX_INSTANCE:
            raise argparse.ArgumentTypeError(f"'{part}': no instance has a number above {_MAX_INSTANCE}")
        found.update(range(low, high + 1))
    return tuple(sorted(found))
