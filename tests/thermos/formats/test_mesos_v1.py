"""What the v1 APIs share: fields of JSON by path, durations, a status as it is written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermos.formats import mesos_v1
from thermos.formats.mesos_v1 import WireError
from thermos.mesos import Label, MesosTaskState, Reason, TaskStatus

UUID = bytes(range(16))


@pytest.mark.parametrize(
    "payload, reason",
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        (b"[]", "should be an object, is a list"),
        (b"null", "should be an object, is null"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 10_000, "is not JSON"),
        (b'{"a": ' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_object_is_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        mesos_v1.parse(payload)
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("15mins", 900),
        ("2secs", 2),
        ("250ms", 0.25),
        ("0ns", 0),
        ("1.5hrs", 5400),
        ("3days", 259200),
        ("1weeks", 604800),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert mesos_v1.duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "secs", "2 fortnights", "-1secs", "nansecs", "infsecs", "2secs ", "٣secs x"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        mesos_v1.duration_s(text)


def test_a_status_with_everything() -> None:
    status = TaskStatus(
        task_id="t",
        state=MesosTaskState.TASK_FAILED,
        uuid=UUID,
        timestamp_s=1.5,
        executor_id="e",
        reason=Reason.REASON_CONTAINER_LIMITATION_DISK,
        message="half a pair \ud800, ü",
        healthy=False,
        labels=(Label("a"), Label("b", "c")),
        container_status={"network_infos": []},
        data=b"\0\xff",
    )
    assert mesos_v1.write_status(status) == {
        "task_id": {"value": "t"},
        "state": "TASK_FAILED",
        "source": "SOURCE_EXECUTOR",
        "uuid": "AAECAwQFBgcICQoLDA0ODw==",
        "timestamp": 1.5,
        "executor_id": {"value": "e"},
        "reason": "REASON_CONTAINER_LIMITATION_DISK",
        "message": "half a pair ?, ü",
        "healthy": False,
        "labels": {"labels": [{"key": "a"}, {"key": "b", "value": "c"}]},
        "container_status": {"network_infos": []},
        "data": "AP8=",
    }


def test_a_status_with_as_little_as_can_be() -> None:
    assert mesos_v1.write_status(TaskStatus("t", MesosTaskState.TASK_RUNNING, UUID, 0.0)) == {
        "task_id": {"value": "t"},
        "state": "TASK_RUNNING",
        "source": "SOURCE_EXECUTOR",
        "uuid": "AAECAwQFBgcICQoLDA0ODw==",
        "timestamp": 0.0,
    }


@given(st.text(st.characters()))
def test_any_message_can_be_sent(text: str) -> None:
    sent = mesos_v1.dump({"message": mesos_v1.write_text(text)})
    json.loads(sent)["message"].encode("utf-8")


@given(st.binary())
def test_data_comes_back(data: bytes) -> None:
    assert mesos_v1.parse(mesos_v1.dump({"data": mesos_v1.write_data(data)})).data("data") == data


def test_a_terminal_state_is_one_after_which_mesos_gives_the_resources_away() -> None:
    terminal = {state.value for state in MesosTaskState if state.is_terminal}
    assert terminal == {
        "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED", "TASK_GONE",
    }  # fmt: skip
