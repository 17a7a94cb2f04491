"""The observer's numbers as Prometheus' text format. Imported only by whoever is asked for it: 11 MB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from observer_static.metrics import Metrics, Series, by_process, own_usage


class _Numbers(Collector):
    """Makes all families anew whenever somebody asks; nothing is kept here."""

    def __init__(self, metrics: Metrics[Any]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Every family, in a fixed order."""
        yield self._tasks()
        yield from self._processes()
        yield from self._own()

    def _tasks(self) -> Metric:
        family = GaugeMetricFamily("thermos_tasks", "Tasks on this host.", labels=["state", "active"])
        for (state, is_active), number in self._metrics.tasks_by_state().items():
            family.add_metric([state, "true" if is_active else "false"], number)
        return family

    def _processes(self) -> Iterator[Metric]:
        labels = list(Series._fields)
        runs = CounterMetricFamily("thermos_process_runs", "Runs of processes.", labels=labels)
        failures = CounterMetricFamily("thermos_process_failures", "Runs that failed.", labels=labels)
        restarts = CounterMetricFamily("thermos_process_restarts", "Runs beyond the first of each task.", labels=labels)
        cpu = CounterMetricFamily(
            "thermos_process_cpu_seconds",
            "Processor time of processes: of ended runs what is recorded, of others what was measured.",
            labels=[*labels, "mode"],
        )
        running = GaugeMetricFamily(
            "thermos_process_running", "Processes that run, as far as is recorded.", labels=labels
        )
        cores = GaugeMetricFamily(
            "thermos_process_cpu_cores", "Processor cores in use between the last two measurements.", labels=labels
        )
        memory = GaugeMetricFamily(
            "thermos_process_memory_bytes",
            "Memory in use when last measured: proportional share where cheap, else resident.",
            labels=labels,
        )
        everything = by_process(self._metrics.now(), self._metrics.totals())
        for series, (total, now) in sorted(everything.items()):
            runs.add_metric(list(series), total.runs)
            failures.add_metric(list(series), total.failures)
            restarts.add_metric(list(series), total.restarts)
            if total.cpu is not None:
                cpu.add_metric([*series, "user"], total.cpu.user_s)
                cpu.add_metric([*series, "system"], total.cpu.system_s)
            running.add_metric(list(series), now.running)
            if now.cpu is not None:
                cores.add_metric(list(series), now.cpu)
            if now.ram_bytes is not None:
                memory.add_metric(list(series), now.ram_bytes)
        yield from (runs, failures, restarts, cpu, running, cores, memory)
        yield GaugeMetricFamily(
            "thermos_observer_series_left_out",
            "Processes by role, task and name that are counted together as (other): there are too many.",
            value=self._metrics.series_left_out,
        )

    def _own(self) -> Iterator[Metric]:
        own = self._metrics.own
        disk_bytes = self._metrics.disk_bytes()
        cpu_s, rss_bytes = own_usage()
        if disk_bytes is not None:
            yield GaugeMetricFamily(
                "thermos_tasks_disk_bytes", "Disk of all active sandboxes that were counted.", value=disk_bytes
            )
        yield InfoMetricFamily("thermos_observer", "This observer.", value={"version": own.version})
        # Not process_*, which in a file for node_exporter were node_exporter's own.
        yield CounterMetricFamily("thermos_observer_cpu_seconds", "Processor time of the observer.", value=cpu_s)
        if rss_bytes is not None:
            yield GaugeMetricFamily(
                "thermos_observer_resident_memory_bytes", "Resident memory of the observer.", value=rss_bytes
            )
        for name, text, number in (
            ("start_time_seconds", "When the observer began.", own.started_at_s),
            ("roots", "Checkpoint roots that are watched.", own.roots),
            ("polling", "1 while the observer polls for want of inotify.", int(own.is_polling)),
            ("last_change_timestamp_seconds", "When a task was last seen to change.", own.last_change_s),
        ):
            if number is not None:
                yield GaugeMetricFamily(f"thermos_observer_{name}", text, value=number)
        for name, text, count in (
            ("notices", "Times that something was noticed.", own.notices),
            ("pages_written", "Pages written.", own.pages_written),
            ("measurements", "Measurements of what tasks use.", own.measurements),
        ):
            yield CounterMetricFamily(f"thermos_observer_{name}", text, value=count)


def text(metrics: Metrics[Any]) -> bytes:
    """Everything that is counted, in the text format of version 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_Numbers(metrics))
    return generate_latest(registry)
