"""The smallest executor: for tests of the connection to the agent, on which nothing else is built.

STARTING and RUNNING at each launch; what comes then is told it through a datagram socket, whose abstract name is in
``MINI_CONTROL``: lines of JSON, each a list of a command and its arguments. All it hears is a line in ``heard``,
in its sandbox.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import Any

from thermos.executor.driver import Executor, ExecutorDriver
from thermos.mesos import AgentInfo, ExecutorInfo, FrameworkInfo, MesosTaskState, TaskInfo


class Mini(Executor):
    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.heard = open("heard", "a", buffering=1)  # noqa: SIM115 - for as long as it runs

    def hear(self, *what: object) -> None:
        self.heard.write(json.dumps(what) + "\n")

    def registered(
        self, driver: ExecutorDriver, executorInfo: ExecutorInfo, frameworkInfo: FrameworkInfo, agentInfo: AgentInfo
    ) -> None:
        self.hear("registered", executorInfo.executor_id, frameworkInfo.name, agentInfo.hostname)

    def reregistered(self, driver: ExecutorDriver, agentInfo: AgentInfo) -> None:
        self.hear("reregistered", agentInfo.hostname)

    def disconnected(self, driver: ExecutorDriver) -> None:
        self.hear("disconnected")

    def launchTask(self, driver: ExecutorDriver, task: TaskInfo) -> None:
        self.hear("launchTask", task.task_id, (task.data or b"").decode())
        self.tasks.append(task.task_id)
        driver.sendStatusUpdate(task.task_id, "TASK_STARTING")
        driver.sendStatusUpdate(task.task_id, "TASK_RUNNING", message="as told", healthy=True)

    def killTask(self, driver: ExecutorDriver, taskId: str, graceSeconds: float | None) -> None:
        self.hear("killTask", taskId, graceSeconds)

    def frameworkMessage(self, driver: ExecutorDriver, message: bytes) -> None:
        self.hear("frameworkMessage", message.decode())
        driver.sendFrameworkMessage(message.upper())

    def shutdown(self, driver: ExecutorDriver) -> None:
        self.hear("shutdown")
        for task_id in self.tasks:
            driver.sendStatusUpdate(task_id, MesosTaskState.TASK_KILLED, message="shut down")
        driver.stop()

    def error(self, driver: ExecutorDriver, message: str) -> None:
        self.hear("error", message)


def main() -> None:
    executor = Mini()
    executor.hear("pid", os.getpid())
    driver = ExecutorDriver(executor, log=lambda text: executor.hear("log", text))
    control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    control.bind("\0" + os.environ["MINI_CONTROL"])

    def obey() -> None:
        command, *arguments = json.loads(control.recv(1 << 16))
        if command == "update":
            task_id, state, fields = arguments
            driver.sendStatusUpdate(task_id, state, **fields)
        elif command == "stop":
            driver.stop(*arguments)
        else:
            raise ValueError(command)

    driver.loop.watch(control.fileno(), obey)
    driver.run()
    executor.hear("end")


def tell(name: str, *command: Any) -> None:
    """From the test: have the executor whose control is *name* do that."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(json.dumps(command).encode(), "\0" + name)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    main()
