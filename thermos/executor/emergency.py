"""After a fault of our own: the task is ended, Mesos is told, the log says what it was. All of it in bounded time.

Nothing that decided before is asked again, since who knows what it would say: only the parts that kill, and that talk
with the agent, are still used, each as if it could fail too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from thermos.core.lifetime import FORCE_S, Life, Phase
from thermos.core.lifetime_events import LOST, Event, Left, RunnerEnded
from thermos.executor.agent import LINGER_S, Agent
from thermos.executor.log import Log
from thermos.executor.runner_child import RunnerChild
from thermos.host.loop import Loop
from thermos.mesos import Label, MesosTaskState

if TYPE_CHECKING:
    from thermos.executor.pages import Pages

#: An agent that restarts just now is not waited for: it tells of the executor's end by itself.
TELL_S: Final = LINGER_S + 1.0
#: For a last page; its writer has a bound of its own, which is shorter.
PAGES_S: Final = 10.0
#: After so many further faults nothing is waited for any more.
MAX_FAULTS: Final = 20
_MAX_WORDS: Final = 500


class Emergency:
    """The end of an executor that has met a fault of its own. ``hear`` is to be told what its parts tell."""

    def __init__(self, loop: Loop, log: Log, fault: Exception) -> None:
        self._loop = loop
        self._log = log
        self._faults = 0
        self._has_ended = False
        self._has_left = False
        self.message = f"A fault of ours: {type(fault).__name__}: {ascii(str(fault))[1:-1][:_MAX_WORDS]}"
        self._failed(fault)

    def hear(self, event: Event) -> None:
        """What happens meanwhile; that the runner or the connection has ended is all that matters still."""
        if isinstance(event, RunnerEnded):
            self._has_ended = True
        elif isinstance(event, Left):
            self._has_left = True

    def end(
        self,
        life: Life,
        agent: Agent,
        runner: RunnerChild | None,
        pages: Pages | None,
        stop: Sequence[Callable[[], object]],
        labels: Sequence[Label],
    ) -> None:
        """End the task of *life* and tell Mesos, unless both is done. *stop*: what is stopped before."""
        for each in stop:
            self._try(each)
        if life.plan is None:
            return
        if life.phase not in (Phase.REPORTING, Phase.CLOSED):
            if runner is not None:
                self._try(runner.force)
                self._wait(lambda: self._has_ended, FORCE_S)
            task_id, state = life.plan.task_id, self._state(life)
            self._log.error(f"{state}: {self.message}")
            self._try(lambda: agent.update(task_id, state, message=self.message, labels=labels))
        if not self._has_left:
            self._try(agent.stop)
            self._wait(lambda: self._has_left, TELL_S)
        if pages is not None:
            written: list[bool] = []
            self._try(lambda: pages.finish(lambda: written.append(True)))
            self._wait(lambda: written, PAGES_S)

    @staticmethod
    def _state(life: Life) -> MesosTaskState:
        """What the task had come to by itself, or was to come to; else another host may do better."""
        for status in (life.runner, life.cause):
            if status is not None:
                return MesosTaskState(status.state)
        return MesosTaskState(LOST)

    def _try(self, what: Callable[[], object]) -> None:
        try:
            what()
        except Exception as error:  # noqa: BLE001  one part that is broken does not keep the others
            self._failed(error)

    def _wait(self, until: Callable[[], object], seconds: float) -> None:
        end_s = self._loop.now_s() + seconds
        while not until() and self._faults < MAX_FAULTS and (left_s := end_s - self._loop.now_s()) > 0:
            self._try(lambda left_s=left_s: self._loop.step(left_s))  # type: ignore[misc]

    def _failed(self, error: Exception) -> None:
        self._faults += 1
        self._log.error(f"a fault of ours; please report it with this log\n{traceback_of(error)}")


def traceback_of(error: Exception) -> str:
    """Where *error* came from, line by line."""
    import traceback  # half a megabyte, for nobody else

    return "".join(traceback.format_exception(error)).rstrip()
