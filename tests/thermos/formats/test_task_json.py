"""Tasks as JSON: the original's files read and written the same, old and new ones read, thermos.* bound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermos.errors import TaskInvalid
from thermos.formats.task_json import bind_thermos, decode, encode, ports_wanted, same_task
from thermos.schema import (
    LOGGER_DESTINATIONS,
    LOGGER_MODES,
    Backoff,
    Constraint,
    Logger,
    Process,
    ProcessExtension,
    Resources,
    RotatePolicy,
    Task,
)

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT.parent / "shared" / "golden"
WRITTEN = sorted([*GOLDEN.glob("root/tasks/finished/*"), *GOLDEN.glob("jobs/**/runner_task.json")])
golden = pytest.mark.skipif(not WRITTEN, reason="the original's files (../shared/golden) are not on this machine")


@golden
@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_the_original_wrote_is_read_and_written_the_same(path: Path) -> None:
    text = path.read_bytes()
    task = decode(text, str(path))
    assert json.loads(encode(task)) == json.loads(text)
    assert same_task(text, task)


TEXT = st.text(max_size=8)
COUNT = st.integers(-(2**40), 2**40)
NUMBER = st.floats(-1e9, 1e9)
ROTATIONS = st.builds(RotatePolicy, COUNT, COUNT)
LOGGERS = st.builds(Logger, st.sampled_from(LOGGER_DESTINATIONS), st.sampled_from(LOGGER_MODES), st.none() | ROTATIONS)
RESOURCES = st.builds(Resources, NUMBER, COUNT, COUNT, COUNT)
FLAG = st.booleans()
PROCESSES = st.builds(Process, TEXT, TEXT, COUNT, FLAG, FLAG, COUNT, FLAG, st.none() | LOGGERS, st.none() | RESOURCES)
EXTENSIONS = st.builds(ProcessExtension, st.none() | st.builds(Backoff, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER), FLAG)
TASKS = st.builds(
    Task,
    TEXT.filter(bool),
    st.lists(PROCESSES, max_size=3).map(tuple),
    st.lists(st.builds(Constraint, st.lists(TEXT, max_size=3).map(tuple)), max_size=2).map(tuple),
    st.none() | RESOURCES,
    COUNT,
    COUNT,
    COUNT,
    st.none() | TEXT,
    st.dictionaries(TEXT, EXTENSIONS, max_size=2),
)


@given(TASKS)
def test_there_and_back(task: Task) -> None:
    text = encode(task)
    assert decode(text, "x") == task
    assert encode(decode(text.encode(), "x")) == text
    assert "\n" not in text
    assert text.isascii()


def test_the_fields_in_their_order_with_defaults_and_without_what_is_not_set() -> None:
    assert encode(Task("t", (Process("a", "é"),))) == (
        '{"name": "t", "processes": [{"name": "a", "cmdline": "\\u00e9", "max_failures": 1, "daemon": false, '
        '"ephemeral": false, "min_duration": 5, "final": false}], "constraints": [], "max_failures": 1, '
        '"max_concurrency": 0, "finalization_wait": 30}'
    )


def test_extensions_lie_beside_the_list_and_only_when_set() -> None:
    plain = Task("t", (Process("a", "x"),))
    extended = Task(
        "t",
        plain.processes,
        x_processes={"a": ProcessExtension(Backoff()), "b": ProcessExtension(compress_rotated=True)},
    )
    raw = json.loads(encode(extended))
    assert raw.pop("x_processes") == {
        "a": {"backoff": {"initial_s": 1.0, "factor": 2.0, "max_s": 300.0, "jitter": 0.1, "reset_after_s": 60.0}},
        "b": {"compress_rotated": True},
    }
    assert raw == json.loads(encode(plain))


def test_what_a_newer_version_added_is_passed_over_at_any_depth() -> None:
    raw: dict[str, Any] = json.loads(encode(Task("t", (Process("a", "x", logger=Logger()),), (Constraint(("a",)),))))
    wanted = decode(json.dumps(raw), "x")
    raw["new"] = {"deep": [1]}
    raw["processes"][0]["new"] = 1
    raw["processes"][0]["logger"]["new"] = None
    raw["constraints"][0]["when"] = "ready"
    raw["x_processes"] = {"a": {"new": 1}}
    assert decode(json.dumps(raw), "x").processes == wanted.processes


def test_numbers_and_flags_as_text() -> None:
    process = {"name": "a", "cmdline": "x", "max_failures": " 3 ", "daemon": "True", "ephemeral": "0", "final": 1}
    resources = {"cpu": "0.5", "ram": 1e6, "disk": 1.9}
    task = decode(json.dumps({"name": "t", "processes": [process], "resources": resources}), "x")
    assert task.processes == (Process("a", "x", 3, daemon=True, final=True),)
    assert task.resources == Resources(0.5, 1000000, 1)


def test_a_task_without_a_name_has_that_of_its_first_process() -> None:
    process = {"name": "a", "cmdline": "x"}
    assert decode(json.dumps({"processes": [process]}), "x").name == "a"
    assert decode(json.dumps({"processes": [process], "name": "{{processes[0].name}}"}), "x").name == "a"


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "is not JSON"),
        ("{", "is not JSON: .* at line 1, column 2"),
        (b"\xff", "is not UTF-8|is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "must be an object, a Task, not a list"),
        ('"x"', "must be an object, a Task, not 'x'"),
        ('{"processes": []}', "name: is required in a Task and missing"),
        ('{"name": "t", "processes": {}}', "processes: must be a list, not an object"),
        ('{"name": "t", "processes": [null]}', r"processes\[0\]: must be an object, a Process, not null"),
        ('{"name": "t", "processes": [{"name": "a"}]}', r"processes\[0\].cmdline: is required in a Process"),
        ('{"name": [], "processes": []}', "name: must be text, not a list"),
        ('{"name": "t", "processes": [], "max_failures": "many"}', "max_failures: must be a whole number, not 'many'"),
        ('{"name": "t", "processes": [], "max_failures": "1_0"}', "must be a whole number, not '1_0'"),
        ('{"name": "t", "processes": [], "max_failures": NaN}', "must be a number of sensible size, not nan"),
        ('{"name": "t", "processes": [], "max_failures": 1e999}', "must be a number of sensible size, not inf"),
        ('{"name": "t", "processes": [], "max_failures": "' + "9" * 5000 + '"}', "sensible size"),
        ('{"name": "t", "processes": [], "x_processes": []}', "x_processes: must be an object, not a list"),
        ('{"name": "t", "processes": [{"name": "a", "cmdline": "x", "daemon": "yes"}]}', "must be true or false"),
    ],
)
def test_what_is_no_task_says_why_and_where(text: str | bytes, said: str) -> None:
    with pytest.raises(TaskInvalid, match=said) as caught:
        decode(text, "/some/task.json")
    assert str(caught.value).startswith("/some/task.json: ")


def test_all_faults_at_once() -> None:
    with pytest.raises(TaskInvalid) as caught:
        decode('{"name": "t", "max_failures": "x", "processes": [{"name": "a"}, {"cmdline": "b"}]}', "x")
    assert len(caught.value.problems) == 3


def test_a_task_that_could_not_run_can_be_read() -> None:
    """It may have ended long ago; duplicates were possible once."""
    twice = {"name": "a", "cmdline": "x"}
    assert len(decode(json.dumps({"name": "t", "processes": [twice, twice]}), "x").processes) == 2


def test_the_same_task_however_it_is_written() -> None:
    one = '{"name": "t", "processes": [{"name": "a", "cmdline": "x"}]}'
    other = '{"processes": [{"cmdline": "x", "max_failures": "1", "name": "a"}], "finalization_wait": 30, "name": "t"}'
    assert same_task(one, other)
    assert same_task(one.encode(), decode(other, "x"))
    assert not same_task(one, other.replace("30", "31"))
    logger = {"name": "t", "processes": [{"name": "a", "cmdline": "x", "logger": {"destination": "none"}}]}
    assert same_task(json.dumps(logger), decode(json.dumps(logger), "x"))


BOUND = Task(
    "{{thermos.task_id}}-t",
    (
        Process("serve-{{thermos.ports[http]}}", "{{thermos.user}} {{thermos.ports[http]}} {{&x}} {{{thermos.user}}}"),
        Process("plain", "true"),
    ),
    (Constraint(("serve-{{thermos.ports[http]}}", "plain")),),
    user="{{thermos.user}}",
    x_processes={"serve-{{thermos.ports[http]}}": ProcessExtension(compress_rotated=True)},
)


def test_binding() -> None:
    bound = bind_thermos(BOUND, "id-1", "me", {"http": 8080, "unused": 1})
    assert bound == Task(
        "id-1-t",
        (Process("serve-8080", "me 8080 {{x}} {me}"), Process("plain", "true")),
        (Constraint(("serve-8080", "plain")),),
        user="me",
        x_processes={"serve-8080": ProcessExtension(compress_rotated=True)},
    )
    assert bound.processes[1] is BOUND.processes[1]
    assert ports_wanted(BOUND) == {"http"}


def test_values_may_hold_references() -> None:
    task = Task("t", (Process("a", "{{thermos.task_id}}"),))
    assert bind_thermos(task, "x-{{thermos.user}}", "me", {}).processes[0].cmdline == "x-me"


def test_what_cannot_be_bound_is_named_with_its_process() -> None:
    task = Task("t", (Process("a", "{{thermos.ports[http]}} {{other}}"), Process("b", "{{thermos.ports[admin]}}")))
    with pytest.raises(TaskInvalid) as caught:
        bind_thermos(task, "id", "me", {})
    assert [str(problem).partition(";")[0] for problem in caught.value.problems] == [
        "processes[0].cmdline: process 'a' needs port 'http', which was not given",
        "processes[0].cmdline: process 'a' refers to {{other}}, which nothing gives a value",
        "processes[1].cmdline: process 'b' needs port 'admin', which was not given",
    ]


def test_a_circle_in_what_is_bound_is_no_endless_loop() -> None:
    with pytest.raises(TaskInvalid, match="process 'a': its references go in a circle"):
        bind_thermos(Task("t", (Process("a", "{{thermos.user}}"),)), "id", "{{thermos.user}}", {})
