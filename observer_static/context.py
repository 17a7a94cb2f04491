"""What every page of one task is made from: its facts, worked out once."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from observer_static import layout, parts
from observer_static.charts import LATEST_S, sane_time
from observer_static.facts import TaskFacts
from observer_static.options import Options
from thermos.core.explain import Explanation, ProcessView, explain
from thermos.core.state import History
from thermos.schema import Process
from thermos.words import Clock, task_words

if TYPE_CHECKING:
    from thermos.host.usage import TaskUsage
    from thermos.host.usage import Usage as Measured

#: A name longer than this is cut: 10 MB of name are no name.
MAX_NAME: Final = 240
#: A sentence made of what others wrote.
MAX_SENTENCE: Final = 1000
#: A phrase in a table.
MAX_PHRASE: Final = 400
#: No sentence is looked at further.
MAX_LINE: Final = 8000
#: Ports that are shown.
MAX_PORTS: Final = 100

_NOT_SHOWN: Final = re.compile(r"[^\n\t\x20-\x7e]")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")


def _escaped(match: re.Match[str]) -> str:
    char = match.group()
    return char if char.isprintable() else ascii(char)[1:-1]


def shown(text: str, most: int = MAX_NAME) -> str:
    """*text* on one line: what cannot be seen, or turns text around, as an escape; the end of a long one cut off."""
    cut = text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"
    if cut.isprintable():
        return cut
    return _NOT_SHOWN.sub(_escaped, cut).replace("\n", "\\n").replace("\t", "\\t")


def shown_lines(text: str, most: int) -> str:
    """Like ``shown``, with its line ends and tabs."""
    cut = text if len(text) <= most else f"{text[:most]}\n… ({len(text)} characters)"
    return cut if cut.isprintable() else _NOT_SHOWN.sub(_escaped, cut)


def finite(value: float | None) -> float | None:
    """*value*, if it is a number that is not below 0."""
    if value is None or value < 0:
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def count(value: float | None) -> int | None:
    """*value* as a number of bytes or things."""
    number = finite(value)
    return int(number) if number is not None else None


def clamped_time(at_s: float) -> float:
    """*at_s*, or the nearest time that a calendar knows."""
    return min(max(at_s, 0.0), LATEST_S) if at_s == at_s else 0.0


def from_ms(at_ms: int | None) -> float | None:
    """Seconds of a recorded time in milliseconds; None for an absurd one."""
    if at_ms is None or not 0 < at_ms <= LATEST_S * 1000:
        return None
    return at_ms / 1000


def port_href(host: str, number: int) -> str:
    """``http://host:number``; a host that is no host's name leads to this one."""
    if _HOST.fullmatch(host) is None:
        try:
            host = f"[{ipaddress.IPv6Address(host).compressed}]" if len(host) < 64 and "%" not in host else "localhost"
        except ValueError:
            host = "localhost"
    return f"http://{host}:{number}"


def ports_of(ports: Mapping[str, int] | None, host: str) -> tuple[parts.Port, ...]:
    """A task's ports, by name."""
    return tuple(
        parts.Port(name=shown(name), number=number, href=port_href(host, number))
        for name, number in sorted((ports or {}).items())[:MAX_PORTS]
    )


def usage_of(usage: Measured | None, disk_bytes: int | None = None) -> parts.Usage | None:
    """A measurement, as pages know it."""
    if usage is None:
        return None
    return parts.Usage(
        at_s=clamped_time(usage.at_s),
        cpu=finite(usage.cpu),
        ram_bytes=count(usage.ram_bytes),
        disk_bytes=count(disk_bytes),
        processes=count(usage.processes),
        threads=count(usage.threads),
        descriptors=count(usage.descriptors),
        read_bytes=count(usage.read_bytes),
        written_bytes=count(usage.written_bytes),
        user_cpu_s=finite(usage.user_cpu_s),
        system_cpu_s=finite(usage.system_cpu_s),
    )


@dataclass(frozen=True)
class Context:
    """One task, and how its pages are to be made."""

    facts: TaskFacts
    options: Options
    now_s: float
    usage: TaskUsage | None = None
    #: What the path of each page begins with.
    prefix: str = ""
    #: Moments as words: pages are read later, so they stand there as they are.
    clock: Clock = field(default_factory=Clock)

    @cached_property
    def why(self) -> Explanation:
        """What each process does or waits for."""
        return explain(self.facts.state, self.facts.task)

    @cached_property
    def views(self) -> dict[str, ProcessView]:
        """The same by the process's name."""
        return {view.name: view for view in self.why.processes}

    @cached_property
    def definitions(self) -> dict[str, Process]:
        """The definition of each process, as far as there is one."""
        return {process.name: process for process in self.facts.task.processes} if self.facts.task is not None else {}

    @cached_property
    def after(self) -> dict[str, tuple[str, ...]]:
        """The processes that each one is ordered behind."""
        found: dict[str, dict[str, None]] = {}
        for constraint in self.facts.task.constraints if self.facts.task is not None else ():
            for before, name in zip(constraint.order, constraint.order[1:], strict=False):
                found.setdefault(name, {})[before] = None
        return {name: tuple(before) for name, before in found.items()}

    @cached_property
    def ordered(self) -> tuple[ProcessView, ...]:
        """The processes in the order of their start; those without a run last."""

        def key(view: ProcessView) -> tuple[bool, float]:
            history = self.history(view.name)
            run = history.last if history is not None else None
            start_s = (sane_time(run.start_time) or sane_time(run.fork_time)) if run is not None else None
            return start_s is None, start_s if start_s is not None else 0.0

        return tuple(sorted(self.why.processes, key=key))

    def history(self, name: str) -> History | None:
        """The runs of a process; None: it had none."""
        return self.facts.state.processes.get(name)

    def line(self, text: str) -> str:
        """A sentence made of what others wrote, secrets made unreadable."""
        return self.options.redactor.line(text[:MAX_LINE])

    @property
    def is_over(self) -> bool:
        """Whether nothing of the task is under way."""
        state = self.facts.state.task_state
        return state.is_terminal if state is not None else not self.facts.is_active

    @property
    def launched_at_s(self) -> float | None:
        """When the task was launched."""
        header = self.facts.state.header
        return from_ms(header.launch_time_ms) if header is not None else None

    @property
    def hostname(self) -> str:
        """The host that the task runs on, as its runner calls it."""
        header = self.facts.state.header
        return (header.hostname if header is not None else None) or self.options.hostname

    @property
    def task_words(self) -> str:
        """How the task is, in words."""
        return task_words(self.why, self.launched_at_s, self.clock)

    @cached_property
    def stamp(self) -> parts.Stamp:
        """Who writes the pages."""
        options = self.options
        return parts.Stamp(
            written_at_s=self.now_s, writer=options.writer, version=options.version, hostname=options.hostname
        )

    def href(self, path: str, start: str) -> str:
        """The link to the page at *path* from the one at *start*, both below the task's directory."""
        return layout.relative(path, start)

    def index_href(self, start: str) -> str | None:
        """The host's index from the page at *start*."""
        return layout.relative(layout.INDEX, self.prefix + start) if self.options.index_href else None

    def task_link(self, start: str) -> parts.Link:
        """The task from the page at *start*."""
        return parts.Link(text=shown(self.facts.task_id), href=self.href(layout.INDEX, start))
