"""The figures of ``/vars`` for Prometheus: what has a job, a state or an instance in its name has labels instead.

Names are those of aurora_exporter (``vars.go``): ``aurora_`` before each, ``aurora_task_store{state}``,
``aurora_tasks{state,role,env,job}``, ``aurora_sla_…{role,env,job}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

Number = int | float

#: So many samples that are of single jobs: more would be trouble for who scrapes and for us. The last kinds go first.
MAX_OF_JOBS: Final = 20_000

_JOB: Final = r"(?P<role>[^/]+)/(?P<env>[^/]+)/(?P<job>[^/]+)"
_WAITS: Final = "mtta_ms|mtts_ms|mttr_ms"
_SUFFIX: Final = "(?P<suffix>|_nonprod)"


class _Kind(NamedTuple):
    """Figures that differ in labels alone. *metric* names them, with groups of *pattern* that are no labels."""

    pattern: re.Pattern[str]
    metric: str
    labels: tuple[str, ...]
    doc: str
    is_of_jobs: bool = True


_OF_JOB: Final = ("role", "env", "job")
_KINDS: Final = (
    _Kind(re.compile("task_store_(?P<state>[A-Z]+)"), "task_store", ("state",), "Tasks that are known", False),
    _Kind(re.compile("update_transition_(?P<state>[A-Z_]+)"), "update_transition", ("state",),
          "Job updates that came into a state", False),
    _Kind(re.compile(f"tasks_(?P<state>[A-Z]+)_{_JOB}"), "tasks", ("state", *_OF_JOB), "Tasks of a job that are known"),
    _Kind(re.compile(f"maintenance_countdown_ms_{_JOB}/(?P<instance>[0-9]+)"), "maintenance_countdown_ms",
          (*_OF_JOB, "instance"), "How long an instance may still stay where it is"),
    _Kind(re.compile(f"sla_{_JOB}_platform_uptime_percent{_SUFFIX}"), "sla_platform_uptime_percent{suffix}", _OF_JOB,
          "Which part of the time the platform kept a job's instances up"),
    _Kind(re.compile(f"sla_{_JOB}_(?P<figure>{_WAITS}){_SUFFIX}"), "sla_{figure}{suffix}", _OF_JOB,
          "Median of how long a job's tasks waited"),
    _Kind(re.compile(f"sla_{_JOB}_job_uptime_(?P<percentile>[0-9.]+)_sec{_SUFFIX}"), "sla_job_uptime_sec{suffix}",
          (*_OF_JOB, "percentile"), "For how long that part of a job's instances has been running"),
)  # fmt: skip


class _Figures(Collector):
    def __init__(self, figures: Mapping[str, Number]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        found: list[list[tuple[re.Match[str], Number]]] = [[] for _ in _KINDS]
        for name, value in self._figures.items():
            for of_kind, kind in zip(found, _KINDS, strict=True):
                match = kind.pattern.fullmatch(name)
                if match is not None:
                    of_kind.append((match, value))
                    break
            else:
                if name.isascii() and name.isidentifier():
                    yield GaugeMetricFamily(f"aurora_{name}", f"{name} of /vars", value=value)
        left = MAX_OF_JOBS
        left_out = 0
        for kind, of_kind in zip(_KINDS, found, strict=True):
            count = min(left, len(of_kind)) if kind.is_of_jobs else len(of_kind)
            if kind.is_of_jobs:
                left -= count
                left_out += len(of_kind) - count
            yield from _families(kind, islice(of_kind, count))
        yield GaugeMetricFamily(
            "aurora_samples_left_out", "What jobs have in /vars, and is not here because it is too much", value=left_out
        )


def _families(kind: _Kind, samples: Iterator[tuple[re.Match[str], Number]]) -> Iterator[Metric]:
    families: dict[str, GaugeMetricFamily] = {}
    for match, value in samples:
        metric = kind.metric.format_map(match.groupdict())
        if metric not in families:
            families[metric] = GaugeMetricFamily(f"aurora_{metric}", kind.doc, labels=kind.labels)
        families[metric].add_metric([match[label] for label in kind.labels], value)
    yield from families.values()


def as_prometheus(figures: Mapping[str, Number]) -> bytes:
    """Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Figures(figures))
    return generate_latest(registry)
