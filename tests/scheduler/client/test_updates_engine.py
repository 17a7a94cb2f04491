"""``aurora update`` and ``aurora cron`` against the scheduler's own engine, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from scheduler.api.app import ApiOptions, create_app
from scheduler.api.server import Server
from scheduler.core.commands import KillTasks, ScheduleCronJob
from scheduler.core.events import Woke
from scheduler.model import JobKey
from scheduler.states import ScheduleStatus
from tests.support.aurora_client import Client, Done
from tests.support.engine_backend import EngineBackend, task_config
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import JobConfiguration, ResponseCode

pytestmark = pytest.mark.process

RUNS = (ScheduleStatus.ASSIGNED, ScheduleStatus.STARTING, ScheduleStatus.RUNNING)
KEY = "west/www/devel/hello"
FILE = """
task = Task(processes=[Process(name='web', cmdline='serve {{greeting}}')],
    resources=Resources(cpu=0.5, ram=64*MB, disk=32*MB))
jobs = [Service(name='hello', cluster='west', role='www', environment='devel', instances=5, task=task,
    update_config=UpdateConfig(watch_secs=5, update_strategy=VariableBatchUpdateStrategy(batch_sizes=[1, 2],
        autopause_after_batch=True)))]
"""


class West:
    """A cluster whose tasks do what the test says."""

    def __init__(self, client: Client) -> None:
        self.backend = EngineBackend()
        self.server = Server(create_app(self.backend, ApiOptions(cluster_name="west")), "127.0.0.1", 0)
        self.server.start()
        client.cluster(scheduler_uri=f"http://127.0.0.1:{self.server.port}")
        self.client = client
        self.file = client.path / "hello.aurora"
        self.file.write_text(FILE)

    def run(self, *words: str) -> Done:
        return self.client.aurora(*words)

    def end_killed(self) -> None:
        """Mesos says that what was to be killed is."""
        tasks = [task for task in self.backend.engine.state.tasks.values() if task.status is ScheduleStatus.KILLING]
        assert tasks
        self.backend.move(tasks, ScheduleStatus.KILLED)
        self.backend.tell(Woke())

    def by_the_clock(self) -> None:
        """The job is ended, and scheduled instead."""
        self.backend.command(KillTasks(JobKey("www", "devel", "hello"), None, None, "ann"))
        self.backend.move(list(self.backend.engine.state.tasks.values()), ScheduleStatus.KILLED)
        name = wire.JobKey("www", "devel", "hello")
        config = task_config("www", "devel", "hello", is_service=False)
        nightly = JobConfiguration(name, wire.Identity("ann"), "0 1 * * *", task_config=config, instance_count=1)
        assert self.backend.command(ScheduleCronJob(nightly, "ann")).code is ResponseCode.OK

    def with_file(self, noun: str, verb: str, greeting: str, *words: str) -> Done:
        return self.run(noun, verb, KEY, str(self.file), "--bind", f"greeting={greeting}", *words)


@pytest.fixture
def west(client: Client) -> Iterator[West]:
    made = West(client)
    made.with_file("job", "create", "hi")
    made.backend.move(made.backend.engine.state.tasks.values(), *RUNS)
    yield made
    made.server.close()


def test_the_scheduler_tells_the_groups(west: West) -> None:
    done = west.with_file("update", "start", "bye", "--plan")
    assert done.code == 0, done.err
    assert done.out.endswith(
        "each group when the one before is done, after a pause that `aurora update resume` ends:\n"
        "  1. update 0\n  2. update 1-2\n  3. update 3-4\nNothing was started.\n"
    )
    assert west.run("update", "list", "west").out == ""


#: What it is: what comes before, and what is other in the file.
REFUSED: dict[str, tuple[Callable[[West], object], dict[str, str]]] = {
    "a job without quota": (lambda west: None, {"environment='devel'": "environment='devel', tier='preferred'"}),
    "a job that ends": (lambda west: None, {"Service(": "Job("}),
    "one that is being updated": (lambda west: west.with_file("update", "start", "ciao"), {}),
    "one by the clock": (lambda west: west.by_the_clock(), {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_plan_of_what_would_be_refused(west: West, name: str) -> None:
    """The same words as when it is started, and the same code."""
    prepare, changed = REFUSED[name]
    prepare(west)
    for old, new in changed.items():
        west.file.write_text(west.file.read_text().replace(old, new))
    planned = west.with_file("update", "start", "bye", "--plan")
    started = west.with_file("update", "start", "bye")
    assert (planned.code, started.code) == (10, 10), (planned.err, started.err)
    words = started.err.partition("Failed to start update due to error:\n\t")[2].strip()
    assert words
    assert f"The scheduler would not start this update:\n\tAn update would be refused: {words}" in planned.err
    assert "Groups" not in planned.out


def test_nothing_changes(west: West) -> None:
    done = west.with_file("update", "start", "hi")
    assert done.code == 0, done.err
    assert done.out.startswith("This job update will:\nnot change instances: [0-4]\n")
    assert "unchanged" in done.out.splitlines()[-1]


def test_what_an_update_waits_for(west: West) -> None:
    started = json.loads(west.with_file("update", "start", "bye", "--json").out)
    assert started["update"] == [0, 1, 2, 3, 4]
    shown = json.loads(west.run("update", "info", KEY, "--json").out)
    assert (shown["updateId"], shown["status"]) == (started["update_id"], "ROLLING_FORWARD")
    assert [wait["instances"] for wait in shown["waits"]] == [[0], [1, 2]]
    assert shown["waits"][1]["reason"] == "it is its turn when the instances before it are done"
    assert "Waits for:\n  instance 0: " in west.run("update", "info", KEY).out
    again = west.with_file("update", "start", "bye")
    assert again.code == 10
    assert "Failed to start update due to error:" in again.err
    assert west.run("update", "pause", KEY, "-m", "lunch").code == 0
    assert "  paused by " in west.run("update", "info", KEY).out
    aborted = west.run("update", "abort", KEY, "-m", "enough")
    assert (aborted.code, aborted.out) == (0, "Update is being aborted.\n")
    assert (
        "is being aborted: it ends when these instances are back, whose old tasks are being killed: 0\n" in aborted.err
    )
    told = west.run("update", "info", KEY).out
    assert "  being aborted by " in told and "resume" not in told
    west.client.on_sleep = west.end_killed
    assert west.run("update", "wait", KEY, started["update_id"]).code == 20
    [entry] = json.loads(west.run("update", "list", "w*/w*", "--status", "inactive", "--write-json").out)
    assert (entry["job"], entry["status"]) == (KEY, "ABORTED")
