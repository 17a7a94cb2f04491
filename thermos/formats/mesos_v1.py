"""The v1 APIs of Mesos as JSON: what the executor's and the scheduler's have in common.

Messages are the protocol buffers of ``mesos/include/mesos/v1``, written as JSON objects with their fields' own names:
``bytes`` in base64, an id as ``{"value": ID}``, a duration as ``{"nanoseconds": N}``, enum values by name. Source:
mesos/docs/executor-http-api.md, and what an agent of 1.11 sends. A field that is unknown here is passed over, one
that is null counts as absent, one of a wrong type is an error that names its path.
"""

from __future__ import annotations

import json
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from thermos.mesos import AgentInfo, ExecutorInfo, FrameworkInfo, Label, Raw, TaskInfo, TaskStatus

#: Of both APIs. The path says so, too: ``/api/v1/…``.
VERSION: Final = 1
CONTENT_TYPE: Final = "application/json"

T = TypeVar("T")

_NANOSECONDS: Final = 1_000_000_000
_KINDS: Final = {
    dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number",
    type(None): "null",
}  # fmt: skip


class WireError(ValueError):
    """A message is no JSON, or a field of it has a wrong type or is missing; says which."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}" if path else reason)


def parse(payload: bytes) -> Object:
    """The JSON object in *payload*. Raises WireError."""
    try:
        raw = json.loads(payload)
    except UnicodeDecodeError as error:
        raise WireError("", f"is not UTF-8: byte {error.start} is wrong") from None
    except RecursionError:
        raise WireError("", "is nested too deeply") from None
    except ValueError as error:
        raise WireError("", f"is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise WireError("", f"should be an object, is {_KINDS[type(raw)]}")
    return Object(raw, "")


class Object:
    """A JSON object that knows where it lies. Each method reads one field; ``maybe_*`` give None for an absent one."""

    __slots__ = ("path", "raw")

    def __init__(self, raw: Raw, path: str) -> None:
        self.raw = raw
        self.path = path

    def where(self, key: str) -> str:
        """The path of field *key*."""
        return f"{self.path}.{key}" if self.path else key

    def _maybe(self, key: str, kind: type[T], *, name: str) -> T | None:
        value = self.raw.get(key)
        if value is None:
            return None
        # bool is a subclass of int, and no number
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise WireError(self.where(key), f"should be {name}, is {_KINDS[type(value)]}")
        return value

    def _needed(self, key: str, value: T | None) -> T:
        if value is None:
            raise WireError(self.where(key), "is missing")
        return value

    def maybe_text(self, key: str) -> str | None:
        return self._maybe(key, str, name="a string")

    def text(self, key: str) -> str:
        return self._needed(key, self.maybe_text(key))

    def maybe_flag(self, key: str) -> bool | None:
        return self._maybe(key, bool, name="a boolean")

    def maybe_integer(self, key: str) -> int | None:
        return self._maybe(key, int, name="an integer")

    def maybe_data(self, key: str) -> bytes | None:
        text = self._maybe(key, str, name="a string of base64")
        if text is None:
            return None
        try:
            return a2b_base64(text, strict_mode=True)
        except (Base64Error, ValueError) as error:  # ValueError: not ASCII
            raise WireError(self.where(key), f"is not base64: {error}") from None

    def data(self, key: str) -> bytes:
        return self._needed(key, self.maybe_data(key))

    def maybe_object(self, key: str) -> Object | None:
        raw: dict[str, Any] | None = self._maybe(key, dict, name="an object")
        return None if raw is None else Object(raw, self.where(key))

    def object(self, key: str) -> Object:
        return self._needed(key, self.maybe_object(key))

    def each(self, key: str, read: Callable[[Object], T]) -> tuple[T, ...]:
        """*read* of every object in the list *key*; an absent list is empty."""
        items: list[object] | None = self._maybe(key, list, name="a list")
        values = []
        for index, item in enumerate(items or ()):
            path = f"{self.where(key)}[{index}]"
            if not isinstance(item, dict):
                raise WireError(path, f"should be an object, is {_KINDS[type(item)]}")
            values.append(read(Object(item, path)))
        return tuple(values)

    def identity(self, key: str) -> str:
        """The value of an id."""
        return self.object(key).text("value")

    def maybe_identity(self, key: str) -> str | None:
        found = self.maybe_object(key)
        return None if found is None else found.text("value")

    def maybe_duration_s(self, key: str) -> float | None:
        found = self.maybe_object(key)
        if found is None:
            return None
        nanoseconds = found._needed("nanoseconds", found.maybe_integer("nanoseconds"))
        return max(nanoseconds, 0) / _NANOSECONDS


#: Units of ``Duration::parse`` (mesos/3rdparty/stout/include/stout/duration.hpp), in seconds.
_UNITS_S: Final = {
    "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "secs": 1.0, "mins": 60.0, "hrs": 3600.0, "days": 86400.0, "weeks": 604800.0,
}  # fmt: skip


def duration_s(text: str) -> float:
    """Seconds of a duration as Mesos writes them into flags and environments: ``15mins``, ``2.5secs``.

    Raises ValueError.
    """
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit_s = _UNITS_S.get(text[len(number) :])
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if unit_s is None or not 0 <= value < float("inf"):
        raise ValueError(f"{text!r} is no duration: it should be like 15mins, 2secs or 250ms")
    return value * unit_s


# -- shared messages, read --------------------------------------------------------------------------------------------


def read_labels(owner: Object) -> tuple[Label, ...]:
    """``labels`` of *owner*."""
    labels = owner.maybe_object("labels")
    if labels is None:
        return ()
    return labels.each("labels", lambda label: Label(label.text("key"), label.maybe_text("value")))


def read_kill_grace_s(owner: Object) -> float | None:
    """The grace period of *owner*'s ``kill_policy``."""
    policy = owner.maybe_object("kill_policy")
    return None if policy is None else policy.maybe_duration_s("grace_period")


def read_task(task: Object) -> TaskInfo:
    """A ``TaskInfo``. Raises WireError."""
    return TaskInfo(
        task_id=task.identity("task_id"),
        name=task.maybe_text("name") or "",
        agent_id=task.identity("agent_id"),
        data=task.maybe_data("data"),
        kill_grace_s=read_kill_grace_s(task),
        labels=read_labels(task),
        raw=task.raw,
    )


def read_executor(executor: Object) -> ExecutorInfo:
    """An ``ExecutorInfo``. Raises WireError."""
    return ExecutorInfo(
        executor_id=executor.identity("executor_id"),
        framework_id=executor.maybe_identity("framework_id"),
        name=executor.maybe_text("name"),
        source=executor.maybe_text("source"),
        data=executor.maybe_data("data"),
        shutdown_grace_s=executor.maybe_duration_s("shutdown_grace_period"),
        raw=executor.raw,
    )


def read_framework(framework: Object) -> FrameworkInfo:
    """A ``FrameworkInfo``. Raises WireError."""
    capabilities = framework.each("capabilities", lambda one: one.maybe_text("type") or "")
    return FrameworkInfo(
        framework_id=framework.maybe_identity("id"),
        name=framework.maybe_text("name") or "",
        user=framework.maybe_text("user") or "",
        checkpoint=framework.maybe_flag("checkpoint") or False,
        capabilities=frozenset(capabilities) - {""},
        raw=framework.raw,
    )


def read_agent(agent: Object) -> AgentInfo:
    """An ``AgentInfo``. Raises WireError."""
    return AgentInfo(
        agent_id=agent.maybe_identity("id"),
        hostname=agent.text("hostname"),
        port=agent.maybe_integer("port"),
        raw=agent.raw,
    )


# -- shared messages, written -----------------------------------------------------------------------------------------


def dump(message: Mapping[str, Any]) -> bytes:
    """*message* as the body of a request."""
    return json.dumps(message, separators=(",", ":")).encode("ascii")


def write_text(text: str) -> str:
    """*text* as Mesos takes it: what is no character (half a surrogate pair, from bytes in no encoding) is "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")


def write_data(data: bytes) -> str:
    """*data* in base64."""
    return b2a_base64(data, newline=False).decode("ascii")


def write_identity(value: str) -> dict[str, str]:
    """An id."""
    return {"value": value}


def write_labels(labels: Sequence[Label]) -> dict[str, Any]:
    """``Labels``."""
    written = []
    for label in labels:
        one = {"key": write_text(label.key)}
        if label.value is not None:
            one["value"] = write_text(label.value)
        written.append(one)
    return {"labels": written}


def write_status(status: TaskStatus) -> dict[str, Any]:
    """A ``TaskStatus``; fields that are None are left out."""
    message: dict[str, Any] = {
        "task_id": write_identity(status.task_id),
        "state": status.state.value,
        "source": status.source.value,
        "uuid": write_data(status.uuid),
        "timestamp": status.timestamp_s,
    }
    if status.executor_id is not None:
        message["executor_id"] = write_identity(status.executor_id)
    if status.reason is not None:
        message["reason"] = status.reason.value
    if status.message is not None:
        message["message"] = write_text(status.message)
    if status.healthy is not None:
        message["healthy"] = status.healthy
    if status.labels:
        message["labels"] = write_labels(status.labels)
    if status.container_status is not None:
        message["container_status"] = status.container_status
    if status.data is not None:
        message["data"] = write_data(status.data)
    return message
