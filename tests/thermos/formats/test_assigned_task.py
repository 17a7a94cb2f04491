"""``AssignedTask``: what the original scheduler sends is read whole, and anything else refused in words."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thermos.formats import assigned_task
from thermos.formats.assigned_task import (
    AssignedTask,
    AssignedTaskError,
    Constraint,
    Container,
    DockerContainer,
    DockerParameter,
    ExecutorConfig,
    Identity,
    Image,
    JobKey,
    LimitConstraint,
    MesosContainer,
    MesosFetcherURI,
    Metadata,
    PartitionPolicy,
    Resource,
    SlaPolicy,
    TaskConfig,
    TaskConstraint,
    ValueConstraint,
    Volume,
)

JOBS = Path(__file__).parents[4] / "shared" / "golden" / "jobs"
GOLDEN = sorted(JOBS.glob("**/assigned.bin"))


def readable(value: Any) -> Any:
    """*value* with the original's names, sets as sorted lists, unset fields absent."""
    if hasattr(value, "_asdict"):
        return {camel(name): readable(item) for name, item in value._asdict().items() if item is not None}
    if isinstance(value, tuple):
        return sorted((readable(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def sorted_sets(value: Any) -> Any:
    """A ``readable.json`` with its sets in the same order, without the executor's data parsed a second time."""
    if isinstance(value, dict):
        return {key: sorted_sets(item) for key, item in value.items() if key != "data_parsed"}
    if isinstance(value, list):
        return sorted((sorted_sets(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


if not GOLDEN:

    def test_the_originals_own() -> None:
        pytest.skip(f"no golden jobs at {JOBS}")


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: str(path.parent.relative_to(JOBS)))
def test_what_the_original_sends_is_read_whole(path: Path) -> None:
    task = assigned_task.decode(path.read_bytes())
    expected = json.loads(path.with_name("assigned.readable.json").read_text("utf-8"))
    assert readable(task) == sorted_sets(expected)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: str(path.parent.relative_to(JOBS)))
def test_what_the_original_sends_is_written_byte_for_byte(path: Path) -> None:
    """Fields by id, sets in the order they came in; only a map of several ports has an order of its own."""
    data = path.read_bytes()
    task = assigned_task.decode(data)
    again = assigned_task.encode(task)
    if len(task.assigned_ports or ()) > 1:
        assert assigned_task.decode(again) == task
        again, data = bytes(sorted(again)), bytes(sorted(data))
    assert again == data


@pytest.mark.parametrize("path", GOLDEN[:2], ids=lambda path: str(path.parent.relative_to(JOBS)))
def test_cut_off_anywhere_it_is_refused(path: Path) -> None:
    data = path.read_bytes()
    for end in range(len(data)):
        with pytest.raises(AssignedTaskError):
            assigned_task.decode(data[:end])


FULL = AssignedTask(
    task_id="t",
    slave_id="S0",
    slave_host="host",
    task=TaskConfig(
        job=JobKey("role", "prod", "name"),
        owner=Identity("me"),
        is_service=True,
        priority=-3,
        max_task_failures=-1,
        production=False,
        tier="preferred",
        resources=(Resource(num_cpus=0.5), Resource(ram_mb=1 << 40), Resource(named_port="http"), Resource(num_gpus=1)),
        constraints=(
            Constraint("rack", TaskConstraint(value=ValueConstraint(True, ("a", "b")))),
            Constraint("host", TaskConstraint(limit=LimitConstraint(1))),
        ),
        mesos_fetcher_uris=(MesosFetcherURI("http://x", True, False, "out"),),
        task_links={"stdout": "http://x"},
        contact_email="a@b",
        executor_config=ExecutorConfig("AuroraExecutor", '{"ü": 1}'),
        metadata=(Metadata("k", "v"),),
        partition_policy=PartitionPolicy(True, 1 << 33),
        sla_policy=SlaPolicy(),
        container=Container(
            MesosContainer(Image(), (Volume("/a", "/b", 2),)), DockerContainer("i", (DockerParameter("a", "b"),))
        ),
    ),
    assigned_ports={"http": 31000, "admin": 31001},
    instance_id=7,
)


def test_every_field_comes_back() -> None:
    assert assigned_task.decode(assigned_task.encode(FULL)) == FULL


def test_fields_of_a_later_scheduler_are_passed_over() -> None:
    data = assigned_task.encode(FULL)
    more = b"\x0b\x00\x63" + struct.pack(">i", 3) + b"new"  # field 99, a string
    nested = b"\x0d\x00\x64\x0b\x0f" + struct.pack(">i", 1) + struct.pack(">i", 1) + b"k" + b"\x03\0\0\0\x02\1\2"
    assert assigned_task.decode(more + data[:-1] + nested + b"\0") == FULL


def test_a_field_of_another_type_counts_as_not_set() -> None:
    instance_as_text = b"\x0b\x00\x06" + struct.pack(">i", 1) + b"7"
    data = assigned_task.encode(FULL._replace(instance_id=None))[:-1] + instance_as_text + b"\0"
    assert assigned_task.decode(data).instance_id is None


@pytest.mark.parametrize(
    "data, told",
    [
        (b"", "is no AssignedTask (byte 0): AssignedTask ends early at byte 0"),
        (b"\0", "is no AssignedTask (byte 1): it has no task_id and no task"),
        (assigned_task.encode(FULL) + b"{}", "2 bytes follow it"),
        (b'{"task": "as JSON"}', "no Thrift type has the number 123"),
        (assigned_task.encode(FULL._replace(task_id=None)), "it has no task_id"),  # type: ignore[arg-type]
        (b"\x0b\x00\x01\x7f\xff\xff\xffx", "(byte 3): a string of 2147483647 bytes at byte 3 does not fit"),
        (b"\x0b\x00\x01\xff\xff\xff\xff", "(byte 3): a string of -1 bytes"),
        (b"\x0c\x00\x04\x0e\x00\x20\x0c\xff\xff\xff\xff\0\0", "(byte 6): a container of -1 entries"),
        (b"\x0c\x00\x04\x0e\x00\x20\x0c\x7f\xff\xff\xff", "Resource ends early"),
        (b"\x0b\x00\x01\x00\x00\x00\x01\xff\0", "not UTF-8"),
    ],
)
def test_what_is_no_task_is_refused_in_words(data: bytes, told: str) -> None:
    with pytest.raises(AssignedTaskError) as caught:
        assigned_task.decode(data)
    assert told in str(caught.value)
    assert 0 <= caught.value.offset <= len(data)


@given(st.data())
def test_a_flipped_byte_never_raises_anything_else(data: st.DataObject) -> None:
    whole = bytearray(assigned_task.encode(FULL))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        assigned_task.decode(bytes(whole))
    except AssignedTaskError as error:
        assert error.reason


@given(st.binary(max_size=100))
@example(b"\x0c\x00\x63" * 3000)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        assigned_task.decode(data)
    except AssignedTaskError as error:
        assert error.reason
