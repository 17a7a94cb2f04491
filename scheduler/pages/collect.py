"""What pages have in common: values of the state as people read them.

Collecting has two halves. What *picks* runs on the thread that owns the state, and takes values out of the view, no
more; what makes a page of them runs on the thread of whoever asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from observer_static.context import MAX_PHRASE, MAX_SENTENCE, from_ms, ports_of, shown
from observer_static.parts import Link, Notice, Stamp
from scheduler.api.backend import View
from scheduler.core.offers import room_of
from scheduler.core.ranges import ranges_of
from scheduler.model import Config, Constraint, JobKey, Resources, Task
from scheduler.pages import paths
from scheduler.pages.parts import Amounts, ConfigView, JobName, Labeled, Paging, StateCount, TaskRow
from scheduler.states import ACTIVE, ScheduleStatus
from thermos import __version__
from thermos.formats import assigned_task as wire
from thermos.formats.mesos_v1_scheduler import Offer

T = TypeVar("T")

#: Of a configuration's labels, constraints and the like, so many are shown.
MAX_LABELS: Final = 100
#: So many characters tell configurations of a job apart.
_DIGEST: Final = 12
_MIB: Final = 1 << 20
#: Rows of one page of a list.
ROWS: Final = 200
#: The order in which states are counted: what people look for first.
_ORDER: Final = (
    "PENDING", "THROTTLED", "PARTITIONED", "ASSIGNED", "STARTING", "RUNNING", "RESTARTING", "PREEMPTING", "DRAINING",
    "KILLING",
)  # fmt: skip


# -- What every page tells ---------------------------------------------------------------------------------------------


class Common(NamedTuple):
    """Of the scheduler, for every page."""

    cluster: str
    hostname: str
    wall_ms: int
    holds: tuple[str, ...]
    framework_id: str | None

    def stamp(self) -> Stamp:
        """Who makes the page, and when."""
        return Stamp(
            written_at_s=self.wall_ms / 1000,
            writer="aurora-scheduler",
            version=__version__,
            hostname=self.hostname,
        )

    def notices(self) -> tuple[Notice, ...]:
        """What keeps the scheduler from launching anything."""
        return tuple(Notice(level="error", text=shown(hold, MAX_SENTENCE)) for hold in self.holds)


def common(view: View) -> Common:
    """Picks it."""
    settings = view.settings
    return Common(shown(settings.cluster_name), settings.hostname, view.wall_ms, view.holds, view.state.framework_id)


# -- Parts -------------------------------------------------------------------------------------------------------------


def amounts(resources: Resources) -> Amounts:
    """The same for people."""
    return Amounts(
        cpu=resources.cpus,
        ram_bytes=resources.ram_mb * _MIB,
        disk_bytes=resources.disk_mb * _MIB,
        gpus=resources.gpus,
    )


def fixed(offer: Offer) -> Resources:
    """What an offer has that is not taken back."""
    room = room_of(offer)
    return Resources(room.milli_cpus, room.ram_mb, room.disk_mb, room.gpus)


def job_name(job: JobKey) -> JobName:
    """A job's name, and where its parts lead."""
    return JobName(
        role=shown(job.role),
        environment=shown(job.environment),
        name=shown(job.name),
        role_href=paths.role_path(job.role),
        environment_href=paths.role_path(job.role, job.environment),
        href=paths.job_path(job),
    )


def host_link(host: str | None) -> Link | None:
    """A host, leading to its agent's page."""
    return Link(text=shown(host), href=paths.agent_path(host)) if host is not None else None


def paged(
    items: Sequence[T], wanted: str | None, size: int, href: Callable[[int | None], str]
) -> tuple[Sequence[T], Paging]:
    """The part of *items* that stands on the page of that number, the last one if it is too high. *href* gives the
    address of a page, the first one's for None."""
    pages = max(1, -(-len(items) // size))
    number = int(wanted) if wanted is not None and wanted.isascii() and wanted.isdigit() and len(wanted) < 10 else 1
    number = min(max(number, 1), pages)
    found = items[(number - 1) * size : number * size]
    return found, Paging(
        first=(number - 1) * size + 1 if found else 0,
        last=(number - 1) * size + len(found),
        total=len(items),
        back_href=href(number - 1 if number > 2 else None) if number > 1 else None,
        on_href=href(number + 1) if number < pages else None,
    )


def state_counts(
    tasks: Iterable[Task], href: Callable[[str], str] | None = None, chosen: str | None = None
) -> tuple[StateCount, ...]:
    """How many of *tasks*, the active ones only, are in each state."""
    counts = Counter(task.status for task in tasks)
    return tuple(
        StateCount(
            state=name,
            count=counts[ScheduleStatus[name]],
            href=href(name) if href is not None else None,
            is_chosen=name == chosen,
        )
        for name in _ORDER
        if counts[ScheduleStatus[name]]
    )


def is_active(task: Task) -> bool:
    """Whether it is not over."""
    return task.status in ACTIVE


def message(text: str | None) -> str | None:
    """What was said about something; None: nothing."""
    return shown(text, MAX_SENTENCE) if text else None


def reasons_of(view: View, tasks: Iterable[Task]) -> dict[str, str]:
    """Picks why those of *tasks* wait that do: a configuration's digest → the reason."""
    digests = {task.config.digest for task in tasks if task.status is ScheduleStatus.PENDING}
    return {digest: view.groups[digest].reason for digest in digests if digest in view.groups}


class Teller:
    """Makes parts of tasks."""

    def __init__(self, seen: Common, reasons: Mapping[str, str], task_page_url: str) -> None:
        self._seen = seen
        self._reasons = reasons
        self._task_page_url = task_page_url

    def why(self, task: Task) -> str | None:
        """Why the task waits; None: it does not."""
        if task.status is ScheduleStatus.THROTTLED:
            return message(task.events[-1].message) or "Waits, since it ended so soon"
        if task.status is not ScheduleStatus.PENDING:
            return None
        if self._seen.holds:
            return shown(self._seen.holds[0], MAX_SENTENCE)
        reason = self._reasons.get(task.config.digest)
        return shown(reason, MAX_SENTENCE) if reason is not None else "Waits for the scheduler, which has just started"

    def task_href(self, task: Task) -> str | None:
        """Its page on its agent."""
        return paths.task_url(self._task_page_url, task, self._seen.framework_id)

    def row(self, task: Task) -> TaskRow:
        """The task in a list."""
        why = self.why(task)
        return TaskRow(
            job=job_name(task.job),
            task_id=shown(task.task_id),
            instance=task.instance,
            instance_href=paths.instance_path(task.job, task.instance),
            state=task.status.name,
            since_s=from_ms(task.changed_at_ms),
            began_s=from_ms(task.created_at_ms),
            host=host_link(task.host),
            task_href=self.task_href(task),
            ports=ports_of(dict(task.ports), task.host) if task.host is not None else (),
            why=why,
            message=message(task.events[-1].message) if why is None else None,
        )


# -- Configurations ----------------------------------------------------------------------------------------------------


def config_view(config: Config, instances: Iterable[int]) -> ConfigView:
    """A configuration, which *instances* have."""
    given = set(instances)
    task = config.wire
    return ConfigView(
        instances=", ".join(
            f"{one.first}" if one.first == one.last else f"{one.first}-{one.last}" for one in ranges_of(given)
        ),
        count=len(given),
        digest=config.digest[:_DIGEST],
        owner=shown(config.owner),
        contact=shown(task.contact_email) if task.contact_email else None,
        tier=shown(config.tier),
        priority=config.priority,
        is_production=config.is_production,
        max_failures=config.max_task_failures,
        resources=amounts(config.resources),
        ports=tuple(shown(port) for port in config.ports[:MAX_LABELS]),
        constraints=tuple(_constraint(one) for one in config.constraints[:MAX_LABELS]),
        container=_container(task.container),
        executor=shown(task.executor_config.name) if task.executor_config and task.executor_config.name else None,
        partition=_partition(config),
        metadata=tuple(
            Labeled(name=shown(one.key or ""), value=shown(one.value or "", MAX_PHRASE))
            for one in (task.metadata or ())[:MAX_LABELS]
        ),
        fetched=tuple(shown(one.value or "", MAX_PHRASE) for one in (task.mesos_fetcher_uris or ())[:MAX_LABELS]),
    )


def _constraint(one: Constraint) -> Labeled:
    if one.limit is not None:
        words = f"at most {one.limit} of the job's tasks for each value"
    else:
        values = ", ".join(sorted(one.values))
        words = f"not {values}" if one.is_negated else values
    return Labeled(name=shown(one.name), value=shown(words, MAX_PHRASE))


def _container(container: wire.Container | None) -> str:
    if container is not None and container.docker is not None:
        return f"Docker, {shown(container.docker.image or 'no image')}"
    mesos = container.mesos if container is not None else None
    if mesos is None or mesos.image is None:
        return "Mesos, without an image"
    if mesos.image.docker is not None:
        return f"Mesos, Docker image {shown(f'{mesos.image.docker.name}:{mesos.image.docker.tag}')}"
    appc = mesos.image.appc
    return f"Mesos, appc image {shown(appc.name or '')}" if appc is not None else "Mesos, without an image"


def _partition(config: Config) -> str:
    if not config.is_rescheduled_when_partitioned:
        return "they are left alone"
    if config.partition_delay_s:
        return f"they are replaced after {config.partition_delay_s} s"
    return "they are replaced at once"
