"""A listener on a scheduler's connection to Mesos, for tests: keeps all that it is told, and launches small tasks."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from scheduler.core.events import MesosEvent
from scheduler.mesos.connection import MasterConnection
from scheduler.mesos.finder import finder_of
from scheduler.mesos.task_info import Room
from tests.support.box import SOON_S, until
from tests.support.mini_executor import tell
from thermos.formats.mesos_v1_scheduler import Accept, Acknowledge, Offer, Offers, Rescind, Status, Subscribed, Update
from thermos.mesos import MesosTaskState

EXECUTOR: Final = str(Path(__file__).with_name("mini_executor.py"))

T = TypeVar("T")
FRAMEWORK: Final[dict[str, Any]] = {
    "user": "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody"),
    "name": "Aurora",
    "checkpoint": True,
    "failover_timeout": 600.0,
    "roles": ["*"],
    "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}],
}


class Listener:
    """Keeps all that it is told, and acknowledges every status as it comes."""

    def __init__(self, port: int, framework_id: str | None = None, framework: Any = None, **more: Any) -> None:
        self.events: list[MesosEvent] = []
        self.said: list[str] = []
        #: Why threads of the connection ended that should not have.
        self.failures: list[str] = []
        self.offers: dict[str, Offer] = {}
        info = {**FRAMEWORK, **(framework or {})}
        if framework_id is not None:
            info["id"] = {"value": framework_id}
        finder = more.pop("finder", None) or finder_of(f"127.0.0.1:{port}")
        self.connection = MasterConnection(finder, info, self._take, self.failures.append, say=self.said.append, **more)
        self.connection.start()

    def _take(self, event: MesosEvent) -> None:
        if isinstance(event, Offers):
            self.offers.update((offer.offer_id, offer) for offer in event.offers)
        elif isinstance(event, Rescind):
            self.offers.pop(event.offer_id, None)
        elif isinstance(event, Subscribed):
            self.offers.clear()
        elif isinstance(event, Update) and event.status.uuid is not None:
            assert event.status.agent_id is not None
            call = Acknowledge(event.status.agent_id, event.status.task_id, event.status.uuid)
            self.connection.call(call)
        self.events.append(event)

    def of(self, kind: type[T]) -> list[T]:
        return [one for one in list(self.events) if isinstance(one, kind)]

    def statuses(self, task_id: str) -> list[Status]:
        return [one.status for one in self.of(Update) if one.status.task_id == task_id]

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = SOON_S) -> None:
        until(condition, lambda: f"{what}; told was {self.events[-5:]}, said {self.said[-5:]}", timeout_s)

    def wait_for(self, task_id: str, state: MesosTaskState) -> Status:
        self.wait(lambda: any(one.state is state for one in self.statuses(task_id)), f"{task_id} is {state}")
        return next(one for one in self.statuses(task_id) if one.state is state)

    def take_offer(self) -> Offer:
        self.wait(lambda: self.offers, "an offer comes")
        return self.offers.pop(next(iter(self.offers)))

    def launch(self, task_id: str, offer: Offer | None = None) -> Mini:
        """With the mini executor, which does what it is told."""
        offer = offer or self.take_offer()
        control, command = mini_command()
        room = Room(offer)
        info = {
            "name": task_id,
            "task_id": {"value": task_id},
            "agent_id": {"value": offer.agent_id},
            "resources": [*room.take("cpus", 100), *room.take("mem", 32_000)],
            "executor": {
                "type": "CUSTOM",
                "executor_id": {"value": f"executor-{task_id}"},
                "command": command,
                "resources": [*room.take("cpus", 100), *room.take("mem", 32_000)],
            },
        }
        self.connection.call(Accept((offer.offer_id,), (info,)))
        return Mini(self, task_id, control)


class Mini(NamedTuple):
    """A launched task."""

    listener: Listener
    task_id: str
    control: str

    def is_running(self) -> Mini:
        self.listener.wait_for(self.task_id, MesosTaskState.TASK_RUNNING)
        return self

    def ends(self) -> None:
        tell(self.control, "update", self.task_id, "TASK_FINISHED", {"message": "done"})
        tell(self.control, "stop")
        self.listener.wait_for(self.task_id, MesosTaskState.TASK_FINISHED)


def mini_command() -> tuple[str, dict[str, Any]]:
    """How to run the mini executor: the name of its control, and its ``CommandInfo``."""
    control = f"mini-{secrets.token_hex(8)}"
    environ = {"MINI_CONTROL": control, "PYTHONPATH": str(Path(EXECUTOR).parents[2])}
    return control, {
        "shell": False,
        "value": sys.executable,
        "arguments": [sys.executable, EXECUTOR],
        "environment": {"variables": [{"name": name, "value": value} for name, value in environ.items()]},
    }
