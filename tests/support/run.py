"""One executor whose agent is a fake: what it says, what it logs, what it exits with."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from tests.support.box import until, with_words
from tests.support.executor import COMMAND, ME, PROJECT
from tests.support.fake_agent import FakeAgent
from thermos.executor import log as logs
from thermos.formats.mesos_v1 import write_data

SOON_S: Final = 30.0


class Run:
    """One executor and its agent, which is a fake."""

    def __init__(self, agent: FakeAgent, path: Path, *flags: str, **environ: str) -> None:
        self.agent = agent
        self.path = path
        self.word = f"thermos-test-{secrets.token_hex(8)}"
        self.began_s = time.monotonic()
        variables = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": PROJECT,
            "MESOS_FRAMEWORK_ID": "F",
            "MESOS_EXECUTOR_ID": "e",
            "MESOS_DIRECTORY": str(path),
            "MESOS_SANDBOX": str(path),
            "MESOS_AGENT_ENDPOINT": f"127.0.0.1:{agent.port}",
            "MESOS_CHECKPOINT": "1",
            "MESOS_RECOVERY_TIMEOUT": "3secs",
            "MESOS_SUBSCRIPTION_BACKOFF_MAX": "1secs",
            **environ,
        }
        self.stderr = path.parent / f"stderr-{self.word}"
        with open(self.stderr, "wb") as said:
            self.process = subprocess.Popen(
                [*COMMAND, *flags],
                env={name: value for name, value in variables.items() if value != "UNSET"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd="/",
                start_new_session=True,
            )

    def exit_code(self, timeout_s: float = SOON_S) -> int:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended in {timeout_s:g} s: {self.said}") from None

    @property
    def said(self) -> str:
        return self.stderr.read_text()

    @property
    def log(self) -> str:
        return (self.path / logs.NAME).read_text()

    def launch(self, *processes: dict[str, object], **more: Any) -> None:
        """Have the agent give it a task."""
        until(lambda: self.agent.connections and self.agent.calls, lambda: f"it subscribes; it said {self.said}")
        task = {"name": "task", "finalization_wait": 2, "processes": list(processes), **more.pop("task", {})}
        whole = {"task": task, "role": ME, "name": "job", **more}
        data = more.pop("data", None) or json.dumps(whole).replace("WORD", self.word).encode()
        info = {"name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "S"}, "data": write_data(data)}
        self.agent.say({"type": "LAUNCH", "launch": {"task": info}})

    def kill(self) -> None:
        self.agent.say({"type": "KILL", "kill": {"task_id": {"value": "t"}}})

    def statuses(self) -> list[dict[str, Any]]:
        """Every status that it told, once."""
        found: dict[str, dict[str, Any]] = {}
        for call in self.agent.calls:
            updates = (
                [call["update"]] if "update" in call else call.get("subscribe", {}).get("unacknowledged_updates", [])
            )
            for update in updates:
                found.setdefault(update["status"]["uuid"], update["status"])
        return list(found.values())

    def until(self, state: str) -> dict[str, Any]:
        """The status of that state; everything is acknowledged on the way."""
        acknowledged: set[str] = set()

        def told() -> list[dict[str, Any]]:
            for status in self.statuses():
                if status["uuid"] not in acknowledged:
                    acknowledged.add(status["uuid"])
                    body = {"task_id": status["task_id"], "uuid": status["uuid"]}
                    self.agent.say({"type": "ACKNOWLEDGED", "acknowledged": body})
            return [status for status in self.statuses() if status["state"] == state]

        until(told, lambda: f"{state} is told; told was {self.statuses()}, said {self.said}")
        (status,) = told()
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        until(lambda: not with_words(self.word), "no process of the task is left")
