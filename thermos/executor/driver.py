"""pymesos' callbacks, for executors that were written for it: on our own connection, in one thread.

The names are pymesos 0.3's (``registered``, ``launchTask``, …). What is different: values are typed, with the JSON
object they came in as ``.raw``; nothing is lost when the agent restarts; an exception in a callback ends ``run`` with
it, and not the process by a signal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from typing import Any, assert_never

from thermos.core.session_events import (
    Close,
    Deliver,
    Disconnected,
    Failed,
    HurryKill,
    KillTask,
    LaunchTask,
    Notice,
    Registered,
    Reregistered,
    ShutDown,
    Told,
    UpdateAcknowledged,
)
from thermos.executor import environment
from thermos.executor.agent import LINGER_S, Agent
from thermos.host.loop import Loop
from thermos.mesos import AgentInfo, ExecutorInfo, FrameworkInfo, MesosTaskState, TaskInfo, TaskStatus


class Executor:
    """What can happen to an executor: override what matters to you. Called from ``run``; must not block."""

    def registered(
        self, driver: ExecutorDriver, executorInfo: ExecutorInfo, frameworkInfo: FrameworkInfo, agentInfo: AgentInfo
    ) -> None:
        """The agent knows this executor."""

    def reregistered(self, driver: ExecutorDriver, agentInfo: AgentInfo) -> None:
        """The agent knows this executor again."""

    def disconnected(self, driver: ExecutorDriver) -> None:
        """The agent is gone; updates are kept until it is back."""

    def launchTask(self, driver: ExecutorDriver, task: TaskInfo) -> None:
        """Start this task."""

    def killTask(self, driver: ExecutorDriver, taskId: str, graceSeconds: float | None) -> None:
        """End this task; again with a shorter grace, if it is in a hurry."""

    def frameworkMessage(self, driver: ExecutorDriver, message: bytes) -> None:
        """A message of the framework."""

    def shutdown(self, driver: ExecutorDriver) -> None:
        """End all tasks, send their updates, and stop."""

    def error(self, driver: ExecutorDriver, message: str) -> None:
        """Something is wrong."""


class ExecutorDriver:
    """Runs *executor* until it stops. *log* is told what an operator might want to know."""

    def __init__(
        self,
        executor: Executor,
        environ: MutableMapping[str, str] = os.environ,
        log: Callable[[str], object] = lambda text: None,
    ) -> None:
        self.loop = Loop()
        self._executor = executor
        self._log = log
        self._agent = Agent(self.loop, environment.take(environ), self._told)

    def run(self) -> None:
        """Serve the agent, in this thread, until ``stop`` is done. Raises what a callback raises."""
        try:
            self._agent.start()
            self.loop.run()
        finally:
            self._agent.close()
            self.loop.close()

    def sendStatusUpdate(self, taskId: str, state: MesosTaskState | str, **fields: Any) -> TaskStatus:
        """Tell the framework; *fields* are those of :meth:`thermos.executor.agent.Agent.update`."""
        return self._agent.update(taskId, MesosTaskState(state), **fields)

    def sendFrameworkMessage(self, data: bytes) -> None:
        """Send *data* to the framework, without a guarantee."""
        self._agent.message(data)

    def stop(self, lingerSeconds: float = LINGER_S) -> None:
        """Leave ``run`` once all updates are acknowledged."""
        self._agent.stop(lingerSeconds)

    def _told(self, notice: Notice | Close) -> None:
        match notice:
            case Registered():
                self._executor.registered(
                    self, notice.subscribed.executor, notice.subscribed.framework, notice.subscribed.agent
                )
            case Reregistered():
                self._executor.reregistered(self, notice.subscribed.agent)
            case Disconnected():
                self._log(f"disconnected: {notice.reason}")
                self._executor.disconnected(self)
            case LaunchTask():
                self._executor.launchTask(self, notice.task)
            case KillTask() | HurryKill():
                self._executor.killTask(self, notice.task_id, notice.grace_s)
            case Deliver():
                self._executor.frameworkMessage(self, notice.data)
            case ShutDown():
                self._log(f"shutdown: {notice.reason}")
                self._executor.shutdown(self)
            case Failed():
                self._executor.error(self, notice.message)
            case Told():
                self._log(notice.text)
            case UpdateAcknowledged():
                pass
            case Close():
                lost = (f", {status.state.value} of task {status.task_id} undelivered" for status in notice.undelivered)
                self._log(f"closed: {notice.reason}{''.join(lost)}")
                self.loop.stop()
            case _:
                assert_never(notice)
