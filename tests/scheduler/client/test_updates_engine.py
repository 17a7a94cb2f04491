"""``aurora update`` and ``aurora cron`` against the scheduler's own engine, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from scheduler.api.app import ApiOptions, create_app
from scheduler.api.server import Server
from scheduler.states import ScheduleStatus
from tests.support.aurora_client import Client, Done
from tests.support.engine_backend import EngineBackend

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
    assert west.run("update", "abort", KEY).out == "Update has been aborted.\n"
    assert west.run("update", "wait", KEY, started["update_id"]).code == 20
    [entry] = json.loads(west.run("update", "list", "w*/w*", "--status", "inactive", "--write-json").out)
    assert (entry["job"], entry["status"]) == (KEY, "ABORTED")
