"""A cluster in which something of everything has happened, for the scheduler's pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from scheduler.api.backend import View
from scheduler.core.changes import PutCronJob, PutHost, PutMaintenance, PutQuota
from scheduler.model import Host, JobKey, Mode, Resources
from tests.support.engine_backend import EngineBackend
from tests.support.updates import Updated
from tests.support.world import JOB, World, job_of, offer
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import HostMaintenanceRequest

T = TypeVar("T")

WEB: Final = JOB
BATCH: Final = JobKey("www", "devel", "numbers")
FLAPS: Final = JobKey("www", "prod", "flaps")
STUCK: Final = JobKey("ads", "prod", "stuck")
CRON: Final = JobKey("ads", "staging1", "nightly")


class Paged(EngineBackend):
    """The backend of a world; leads."""

    def __init__(self, world: World) -> None:
        super().__init__(world.settings)
        self.world = world
        self.engine = world.engine

    def look(self, at: Callable[[View], T]) -> T:
        return at(view_of(self.world))


def view_of(world: World) -> View:
    """What pages see of it."""
    engine = world.engine
    return View(
        engine.state, engine.offers, engine.settings, engine.pending_reasons(), engine.metrics(), world.now.wall_ms,
        engine.groups.groups, engine.held, 1_699_999_000_000,
    )  # fmt: skip


def busy_world() -> World:
    """Services, a batch job, tasks that failed, wait, were killed and lost; agents of every kind; quota; a cron job."""
    world = World(
        hostname="scheduler-1.example.org",
        cluster_name="west",
        allowed_container_types=frozenset({"MESOS", "DOCKER"}),
        max_tasks_per_job=5000,
        min_required_instances_for_sla_check=3,
    )
    state = world.engine.state
    state.apply(PutQuota("www", Resources(6000, 4096, 2048)))
    state.apply(PutHost(Host("host-9", "agent-9", (("rack", frozenset({"r1", "r2"})),), Mode.DRAINING)))
    state.apply(PutCronJob(CRON, job_of(CRON, 2, is_service=False)._replace(cron_schedule="0 3 * * *")))
    world.run(
        WEB,
        5,
        production=True,
        tier="preferred",
        contact_email="web@example.org",
        metadata=(wire.Metadata("team", "storefront"), wire.Metadata("build", "1.2.3")),
        constraints=(
            wire.Constraint("host", wire.TaskConstraint(limit=wire.LimitConstraint(1))),
            wire.Constraint("rack", wire.TaskConstraint(value=wire.ValueConstraint(True, ("bad",)))),
        ),
        resources=(
            wire.Resource(num_cpus=1.0), wire.Resource(ram_mb=128), wire.Resource(disk_mb=64),
            wire.Resource(named_port="http"), wire.Resource(named_port="admin"),
        ),
        container=wire.Container(docker=wire.DockerContainer("nginx:1.27")),
        partition_policy=wire.PartitionPolicy(True, 300),
    )  # fmt: skip
    world.pass_s(600)
    # One of them fails after a while, and its successor runs on another host.
    world.status(world.tasks(WEB)[2], "FAILED", "Command exited with status 1")
    world.offers(offer(7, attributes=(("rack", "r7"), ("ssd", "yes"))))
    world.pass_s(2)
    world.status(world.tasks(WEB)[2], "STARTING", "Initializing sandbox.")
    # A batch job: done, killed, lost.
    world.run(BATCH, 3, is_service=False)
    tasks = world.tasks(BATCH)
    world.status(tasks[0], "FINISHED", "All processes ended well")
    world.kill(BATCH, frozenset({1}))
    world.status(tasks[1], "KILLED", "Killed by ann")
    world.status(tasks[2], "LOST", "The agent does not come back")
    # A service that ends at once: throttled.
    world.run(FLAPS, 1)
    world.status(world.task(FLAPS), "FAILED", "No such file: ./server")
    # What no host has room for.
    world.create(
        STUCK,
        40,
        resources=(wire.Resource(num_cpus=64.0), wire.Resource(ram_mb=1024), wire.Resource(disk_mb=1024)),
    )
    world.pass_s(6)
    world.offers(*(offer(number, attributes=(("rack", f"r{number}"),)) for number in (3, 4, 8)))
    world.pass_s(10)
    # One host is drained, as far as what is promised to the job allows it.
    promised = wire.SlaPolicy(count_sla_policy=wire.CountSlaPolicy(5, 1800))
    state.apply(PutHost(state.hosts["host-1"]._replace(mode=Mode.DRAINING)))
    state.apply(PutMaintenance(HostMaintenanceRequest("host-1", promised, 3600, world.now.wall_ms - 120_000)))
    return world


def updated_world() -> tuple[Updated, str, str]:
    """A job of five that was updated once and is being updated again: one instance is done, the next one begins.
    Gives the ids of both."""
    world = Updated(hostname="scheduler-1.example.org", cluster_name="west")
    world.run(WEB, 5)
    over = world.start(5, update_group_size=5)
    world.roll(over)
    world.pass_s(60)
    active = world.start(
        6, config={"priority": 9}, update_group_size=1, max_per_instance_failures=1,
        block_if_no_pulses_after_ms=600_000, min_wait_in_instance_running_ms=5000, progress_deadline_ms=900_000,
    )  # fmt: skip
    world.pulse(active)
    world.healthy(*world.place())
    world.pass_s(6)
    world.end_killed()
    world.pass_s(1)
    return world, over, active
