"""The JSON of Aurora's observer: beside what the original answered, and where it was wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from detectors.watch import TaskKey
from observer_static.serve.aurora_json import dumped, find_run, parsed, slice_of
from tests.support.served import LAUNCHED_MS, Client, Host, a_run
from thermos.checkpoints import read_task
from thermos.core.state import replay
from thermos.host.usage import TaskUsage, Usage
from thermos.records import ProcessStatus, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

pytestmark = pytest.mark.process

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"
EXPECTED = GOLDEN / "expected" / "observer"
TASKS = sorted(path.name for path in EXPECTED.glob("*"))
needs_golden = pytest.mark.skipif(not TASKS, reason=f"needs answers of the original in {EXPECTED}")


@pytest.fixture
def golden(tmp_path: Path) -> Iterator[Client]:
    """A server of the checkpoints that the original's observer was asked about."""
    host = Host(tmp_path)
    root = str(GOLDEN / "root")
    for task_id in TASKS:
        host.tasks[TaskKey(root, task_id)] = False
    with host.serving() as client:
        yield client


def told(task_id: str, name: str) -> Any:
    return json.loads((EXPECTED / task_id / name).read_text("utf-8"))


def as_we_say(run: dict[str, Any], task_id: str) -> dict[str, Any]:
    """What the original said of a run, with what it left out although its own checkpoint has it."""
    if not run:
        return run
    history = read_task(str(GOLDEN / "root"), task_id).state.processes[run["process_name"]]
    recorded = history.runs[run["process_run"]]
    if recorded.state is ProcessState.FAILED:  # lost when it read the checkpoint
        assert "stop_time" not in run and "return_code" not in run
        run = run | {"stop_time": recorded.stop_time, "return_code": recorded.return_code}
    if recorded.return_code == 0:  # hidden
        assert "return_code" not in run
        run = run | {"return_code": 0}
    return run


@needs_golden
@pytest.mark.parametrize("task_id", TASKS)
def test_a_task_is_told_as_the_original_told_it(golden: Client, task_id: str) -> None:
    expected = told(task_id, "j-task.json")[task_id]
    for target in (f"/j/task/{task_id}", f"/j/task?task_id={task_id}"):
        answer = golden.json(target)
        assert list(answer) == [task_id]
        found = answer[task_id]
        for names in (*found["processes"].values(), *expected["processes"].values()):
            names.sort()  # the original's order is that of a hash
        assert found == expected


@needs_golden
@pytest.mark.parametrize("task_id", TASKS)
def test_runs_are_told_as_the_original_told_them(golden: Client, task_id: str) -> None:
    runs = told(task_id, "j-processes.json")[task_id]
    runs = {name: as_we_say(run, task_id) for name, run in runs.items()}
    assert golden.json(f"/j/processes?task_id={task_id}") == {task_id: runs}
    for file in EXPECTED.joinpath(task_id).glob("j-process.*.json"):
        expected = told(task_id, file.name)
        if not expected:
            continue  # a name that the original could not take from an address: below
        name, number = quote(expected["process_name"], safe=""), expected["process_run"]
        if ".run0." not in file.name:
            assert golden.json(f"/j/process/{task_id}/{name}") == as_we_say(expected, task_id)
            assert golden.json(f"/j/process/{task_id}/{name}/-1") == as_we_say(expected, task_id)
        assert golden.json(f"/j/process/{task_id}/{name}/{number}") == as_we_say(expected, task_id)


@needs_golden
def test_names_that_are_not_ascii_are_found(golden: Client) -> None:
    """The original answered {} or failed."""
    found = golden.json(f"/j/process/g17-unicode-names/{quote('héllo wörld')}")
    assert found["process_name"] == "héllo wörld"
    assert found["state"] == "SUCCESS"


@needs_golden
def test_the_list_has_every_task_newest_first(golden: Client) -> None:
    answer = golden.json("/j/task_ids")
    assert {key: answer[key] for key in ("type", "offset", "num", "task_count")} == {
        "type": "all", "offset": 0, "num": 20, "task_count": len(TASKS)
    }  # fmt: skip
    assert sorted(row["task_id"] for row in answer["tasks"]) == TASKS
    for row in answer["tasks"]:
        task = told(row["task_id"], "j-task.json")[row["task_id"]]
        expected = {name: task[name] for name in ("task_id", "name", "launch_timestamp", "state", "ports")}
        assert row == expected | task["resource_consumption"] | {
            "role": task["user"], "state_timestamp": task["state_timestamp"]
        }  # fmt: skip
    assert golden.json("/j/task_id_count") == {"active": 0, "finished": len(TASKS), "all": len(TASKS)}


# -- Beyond the original ----------------------------------------------------------------------------------------------


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_lists_are_cut_as_the_original_cut_them(host: Host) -> None:
    for number in range(25):
        host.add(f"done-{number:02}", changed_s=1000 + number)
    host.add("live", end=None, changed_s=500)
    with host.serving() as client:

        def ids(target: str) -> list[str]:
            return [row["task_id"] for row in client.json(target)["tasks"]]

        assert ids("/j/task_ids")[:2] == ["done-24", "done-23"]
        assert len(ids("/j/task_ids")) == 20
        assert ids("/j/task_ids/active") == ["live"]
        assert ids("/j/task_ids/finished/20") == [f"done-{number:02}" for number in (4, 3, 2, 1, 0)]
        assert ids("/j/task_ids/finished/1/2") == ["done-23", "done-22"]
        assert ids("/j/task_ids/all/-1") == ["live"]
        assert client.json("/j/task_ids/finished/-5/2")["offset"] == 20
        assert ids("/j/task_ids/finished/-1000/2") == ["done-24", "done-23"]
        assert ids("/j/task_ids/all/1000") == []
        assert client.get("/j/task_ids/nonsense").status == 404
        assert client.get("/j/task_ids/all/x").status == 400
        assert client.json("/j/task_id_count") == {"active": 1, "finished": 25, "all": 26}


@pytest.mark.parametrize(
    "count, offset, num, expected",
    [(0, 0, 20, (0, 0)), (5, 0, 20, (0, 5)), (5, 3, 1, (3, 4)), (5, -2, 20, (3, 5)), (5, -5, 2, (0, 2)),
     (5, -9, 2, (0, 2)), (5, 7, 2, (7, 7)), (0, -1, 2, (0, 0))],
)  # fmt: skip
def test_slices(count: int, offset: int, num: int, expected: tuple[int, int]) -> None:
    assert slice_of(count, offset, num) == expected


def test_an_unknown_task_is_no_crash(host: Host) -> None:
    """The original's server failed, also when one of several was unknown."""
    host.add("one", a_run("p"))
    with host.serving() as client:
        answer = client.get("/j/task/nobody")
        assert answer.status == 404
        assert answer.headers["Content-Type"] == "application/json"
        assert "nobody" in answer.json["error"]
        both = client.json("/j/task?task_id=one,nobody")
        assert both["one"]["state"] == "SUCCESS"
        assert both["nobody"] == {}
        assert client.json("/j/task") == {}
        assert client.json("/j/process/nobody/p") == {}
        assert client.json("/j/process/one/nobody") == {}
        assert client.json("/j/process/one") == {}
        assert client.json("/j/process/one/p/7") == {}
        assert client.json("/j/process/one/p/-2") == {}
        assert client.json("/j/processes?task_id=one,nobody")["nobody"] == {}
        assert client.get("/j/process/one/p/x").status == 400
        assert client.get("/j/nonsense").status == 404
        many = ",".join(f"t{number}" for number in range(2000))
        assert client.get(f"/j/task?task_id={many}").status == 400


def test_ends_of_failed_runs_and_codes_of_0_are_told(host: Host) -> None:
    host.add("one", [*a_run("good"), *a_run("bad", ProcessState.FAILED, 3), *a_run("gone", ProcessState.LOST, 0)])
    with host.serving() as client:
        good, bad = client.json("/j/process/one/good"), client.json("/j/process/one/bad")
    assert good["return_code"] == 0
    assert bad["return_code"] == 3
    assert bad["stop_time"] == LAUNCHED_MS / 1000 + 2.25


def test_groups_are_those_of_the_original(host: Host) -> None:
    waiting = ProcessStatus(0, "w", ProcessState.WAITING)
    forked = a_run("f", None)[:2]
    ends = [*a_run("k", ProcessState.KILLED, -9), *a_run("l", ProcessState.LOST), *a_run("s")]
    host.add("one", [waiting, *forked, *a_run("r", None), *ends, *a_run("b", ProcessState.FAILED, 1)], end=None)
    with host.serving() as client:
        task = client.json("/j/task/one")["one"]
    assert task["processes"] == {
        "waiting": ["w", "l"], "running": ["f", "r"], "success": ["s"], "failed": ["b"], "killed": ["k"]
    }  # fmt: skip
    assert task["state"] == "ACTIVE"
    assert task["state_timestamp"] == LAUNCHED_MS // 1000  # the original said 0
    assert task["ports"] == {"http": 31000}


def test_a_takeover_by_another_runner_is_no_move(host: Host) -> None:
    again = TaskStatus(TaskState.ACTIVE, LAUNCHED_MS + 9000, 2, 0)
    host.add("one", [again], end=None)
    with host.serving() as client:
        assert client.json("/j/task/one")["one"]["state_timestamp"] == LAUNCHED_MS // 1000


def test_what_a_task_uses(host: Host) -> None:
    used = Usage(1.0, 0.5, 300, 400, 5000, 1.5, 0.25, 7, 8, 9, 10, 2, 5, "sleeping", "pss")
    key = TaskKey(host.root, "one")
    usages = {key: TaskUsage(used, {"r": used}, 12345)}
    host = Host(host.path, usage=usages.get)
    host.add("one", [*a_run("r", None), *a_run("done")], end=None)
    with host.serving() as client:
        task = client.json("/j/task/one")["one"]
        runs = client.json("/j/processes?task_id=one")["one"]
        row = client.json("/j/task_ids/active")["tasks"][0]
    expected = {"cpu": 0.5, "ram": 400, "user": 1.5, "system": 0.25, "rss": 400, "vms": 5000, "nice": 5,
                "status": "sleeping", "threads": 7}  # fmt: skip
    assert task["resource_consumption"] == expected | {"disk": 12345}
    assert runs["r"]["used"] == expected
    assert "used" not in runs["done"]
    assert row["cpu"] == 0.5 and row["disk"] == 12345 and row["role"] == "root"


def test_the_same_id_in_two_roots(host: Host) -> None:
    other, third = str(host.path / "other"), str(host.path / "third")
    host.add("one", a_run("old"), changed_s=1000)
    host.add("one", a_run("new"), root=other, changed_s=2000)
    with host.serving() as client:
        assert list(client.json("/j/processes?task_id=one")["one"]) == ["new"]
        assert list(client.json(f"/j/processes?task_id=one&root={quote(host.root)}")["one"]) == ["old"]
        assert client.json("/j/processes?task_id=one&root=/nowhere")["one"] == {}
        host.add("one", a_run("live"), root=third, changed_s=500, end=None)
        assert list(client.json("/j/processes?task_id=one")["one"]) == ["live"]
        assert client.json("/j/task_id_count") == {"active": 1, "finished": 2, "all": 3}


@pytest.mark.parametrize(
    "definition",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"9" * 10_000, b"null", b'"x"',
     b'{"name": "x", "processes": [{"name": "p", "cmdline": NaN}]}', b'{"x": 1e999, "y": -Infinity}',
     b'{"name": "\\ud800", "processes": []}'],
)  # fmt: skip
def test_what_a_task_file_may_hold(host: Host, definition: bytes) -> None:
    host.add("one", a_run("p"), definition=definition)
    with host.serving() as client:
        task = client.json("/j/task/one")["one"]
        client.json("/j/task_ids")
    assert task["state"] == "SUCCESS"
    json.dumps(task, allow_nan=False)


def test_a_task_without_a_checkpoint_is_known_and_says_nothing(host: Host) -> None:
    host.add("one")
    Path(host.root, "checkpoints", "one", "runner").unlink()
    with host.serving() as client:
        assert client.json("/j/task/one") == {"one": {}}
        assert client.json("/j/task_ids")["tasks"] == []
        assert client.json("/j/task_ids")["task_count"] == 1


def test_odd_records(host: Host) -> None:
    header = RunnerHeader("other-id", -(2**62), None, None, None, None)
    nan = ProcessStatus(2, "p", ProcessState.RUNNING, start_time=float("nan"), pid=-1)
    host.add("one", [*a_run("p", None)[:2], nan], header=header, end=None)
    with host.serving() as client:
        assert client.json("/j/task/one")["one"]["user"] is None
        assert client.json("/j/process/one/p")["start_time"] is None


def test_numbers_that_json_does_not_have_are_null() -> None:
    assert dumped({"a": [float("inf"), 1.5, {"b": float("nan")}]}) == b'{"a": [null, 1.5, {"b": null}]}'


def test_json_that_is_nested_beyond_reason_is_not_read() -> None:
    assert parsed(b"[" * 99 + b"]" * 99) is not None
    assert parsed(b"[" * 500 + b"]" * 500) is None


def test_runs_by_number() -> None:
    records = [TaskStatus(TaskState.ACTIVE, 1, 1, 0)]
    state = replay([*records, *a_run("p", ProcessState.FAILED, 1), *a_run("p", seq=4)])
    history = state.processes["p"]
    assert [getattr(find_run(history, number), "number", None) for number in (0, 1, 2, -1, -2, -3)] == [
        0, 1, None, 1, 0, None
    ]  # fmt: skip


def test_secrets_are_not_told(host: Host) -> None:
    definition = {"name": "x", "processes": [{"name": "p", "cmdline": "PASSWORD=hunter2hunter2 run"}]}
    host.add("one", a_run("p"), definition=definition)
    with host.serving() as client:
        assert b"hunter2hunter2" not in client.get("/j/task/one").body
