"""What the observer knows, as the server may see it: a small protocol, and the one implementation of it.

The loop owns the tasks; the server's threads only read. What is handed out never changes afterwards, and what lies
on disk is read anew when it changed there, by the thread that asks.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from observer_static import layout
from observer_static.facts import TaskFacts, read_facts, read_health
from observer_static.options import Options
from thermos.checkpoints import is_owned
from thermos.formats import paths

if TYPE_CHECKING:
    from detectors.watch import TaskKey
    from observer_static.history import UsagePoint
    from thermos.host.usage import TaskUsage

#: Facts that are kept for the next request, and the bytes on disk that they were read from.
MAX_KEPT: Final = 256
MAX_KEPT_BYTES: Final = 4 << 20


class View(Protocol):
    """What the server asks for. Every method may be called from any thread, at any time."""

    @property
    def options(self) -> Options:
        """How pages are made, the redactor among it."""

    @property
    def site(self) -> str | None:
        """Directory of the static pages; None: none are kept, all are made when asked for."""

    @property
    def roots(self) -> Sequence[str]:
        """Where tasks are looked for."""

    @property
    def measures(self) -> bool:
        """Whether ``usage`` measures when it is asked, so that a page made now shows more than one that was kept."""

    @property
    def notices(self) -> Sequence[str]:
        """What could not be read or watched, in words."""

    @property
    def owner(self) -> str | None:
        """The user whose tasks alone are shown; None: everybody's."""

    def tasks(self) -> Mapping[TaskKey, bool]:
        """Every task → whether it is active. The same object until something changed, and itself never changed."""

    def facts(self, key: TaskKey) -> TaskFacts:
        """What lies on disk of that task now; never raises for what lies there."""

    def usage(self, key: TaskKey) -> TaskUsage | None:
        """What it uses; None: not measured."""

    def history(self, key: TaskKey) -> Sequence[UsagePoint]:
        """What it used."""

    def page_key(self, key: TaskKey) -> str:
        """KEY of its directory of pages, see :mod:`observer_static.layout`."""

    def variables(self) -> Mapping[str, object]:
        """What ``/vars`` shows: names → numbers or words."""

    def metrics(self) -> bytes:
        """What ``/metrics`` shows: Prometheus' text format."""


class _Kept(NamedTuple):
    signature: tuple[object, ...]
    facts: TaskFacts
    size_bytes: int


def _nothing(key: TaskKey) -> None:
    return None


def _none_yet(key: TaskKey) -> Sequence[UsagePoint]:
    return ()


def plain_key(key: TaskKey) -> str:
    """KEY of a task whose id stands in one root alone."""
    return layout.segment(key.task_id)


class Shared:
    """The View of an observer's loop. The loop calls ``changed`` after *tasks* changed; nothing else is its part.

    *tasks* is the loop's own dict, copied when somebody asks; the callables are called from the server's threads.
    """

    def __init__(
        self,
        options: Options,
        tasks: Mapping[TaskKey, bool],
        *,
        site: str | None = None,
        owner: str | None = None,
        measures: bool = False,
        roots: Callable[[], Sequence[str]] = tuple,
        notices: Callable[[], Sequence[str]] = tuple,
        page_key: Callable[[TaskKey], str] = plain_key,
        usage: Callable[[TaskKey], TaskUsage | None] = _nothing,
        history: Callable[[TaskKey], Sequence[UsagePoint]] = _none_yet,
        variables: Callable[[], Mapping[str, object]] = dict,
        metrics: Callable[[], bytes] = bytes,
    ) -> None:
        self.options = options
        self.site = site
        self.owner = owner
        self.measures = measures
        self.page_key = page_key
        self.usage = usage
        self.history = history
        self.variables = variables
        self.metrics = metrics
        self._roots = roots
        self._notices = notices
        self._theirs = tasks
        self._is_stale = True
        self._tasks: Mapping[TaskKey, bool] = MappingProxyType({})
        self._lock = threading.Lock()
        self._kept: OrderedDict[TaskKey, _Kept] = OrderedDict()
        self._kept_bytes = 0

    def changed(self) -> None:
        """The tasks are others than before; cheap."""
        self._is_stale = True

    @property
    def roots(self) -> Sequence[str]:
        """Where tasks are looked for."""
        return self._roots()

    @property
    def notices(self) -> Sequence[str]:
        """What could not be read or watched, in words."""
        return self._notices()

    def tasks(self) -> Mapping[TaskKey, bool]:
        """Every task → whether it is active, as it was when this was called."""
        with self._lock:
            if self._is_stale:
                self._is_stale = False  # first: what changes while we copy makes it stale again
                self._tasks = MappingProxyType(dict(self._theirs))  # one step of the interpreter: no lock of the loop's
            return self._tasks

    def facts(self, key: TaskKey) -> TaskFacts:
        """What lies on disk of that task now; read again only when it changed."""
        is_active = self.tasks().get(key, False)
        signature, size_bytes = _signature(key, is_active)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.signature == signature:
                self._kept.move_to_end(key)
                return _with_runner(kept.facts)
        facts = read_facts(key.root, key.task_id, is_active)
        with self._lock:
            self._keep(key, _Kept(signature, facts, size_bytes))
        return facts

    def _keep(self, key: TaskKey, kept: _Kept) -> None:
        before = self._kept.pop(key, None)
        self._kept_bytes -= before.size_bytes if before is not None else 0
        if kept.size_bytes > MAX_KEPT_BYTES:  # it would only drive out all others
            return
        self._kept_bytes += kept.size_bytes
        self._kept[key] = kept
        while len(self._kept) > MAX_KEPT or self._kept_bytes > MAX_KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.size_bytes


def _signature(key: TaskKey, is_active: bool) -> tuple[tuple[object, ...], int]:
    """(what differs when the task's files differ, their size)."""
    where = paths.ACTIVE if is_active else paths.FINISHED
    found: list[object] = [is_active]
    size_bytes = 0
    for path in (paths.runner_checkpoint(key.root, key.task_id), paths.task_path(key.root, key.task_id, where)):
        try:
            info = os.stat(path, follow_symlinks=False)
        except (OSError, ValueError):  # ValueError: a NUL
            found.append(None)
        else:
            # The time of any change: another owner makes it another's claim.
            found.append((info.st_dev, info.st_ino, info.st_size, info.st_ctime_ns))
            size_bytes += info.st_size
    return tuple(found), size_bytes


def _with_runner(facts: TaskFacts) -> TaskFacts:
    """*facts* with what the kernel says of the runner and the executor now: their death changes no file."""
    if not facts.is_active:
        return facts
    has_runner = is_owned(paths.runner_checkpoint(facts.root, facts.task_id))
    health = read_health(facts.root, facts.task_id, facts.author_uid)
    if has_runner == facts.has_runner and health == facts.health:
        return facts
    return replace(facts, has_runner=has_runner, health=health)
