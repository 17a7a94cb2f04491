"""SLA coordinators: others who say whether a task may go. Who is asked when; the asking itself is
:mod:`scheduler.sla_coordinator`'s.

A coordinator is asked one question at a time, and the next only when what it allowed is decided: so it need not keep
count of what it has allowed and does not yet see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from scheduler.core.deadlines import Deadlines, Due
from scheduler.core.decision import Draft
from scheduler.core.events import AskCoordinator, CoordinatorAnswered
from scheduler.core.settings import Settings
from scheduler.model import Task
from scheduler.states import ACTIVE
from thermos.formats.assigned_task import CoordinatorSlaPolicy

#: The field of an answer that counts where the policy names none (``SlaManager.java``).
_STATUS_KEY: Final = "drain"
#: Whoever asks gives up after the time-out; what is not heard of it so much later was lost on the way.
_LOST_S: Final = 15.0

#: Told whether the task, as it is now, may go.
Then = Callable[[Task, bool], None]


class _Question(NamedTuple):
    task_id: str
    url: str
    status_key: str
    then: Then
    is_wanted: Callable[[Task], bool]
    until_s: float | None


def _always(task: Task) -> bool:
    return True


class Coordinators:
    """What is to be asked, and what is being asked."""

    def __init__(self, draft: Draft, deadlines: Deadlines, settings: Settings) -> None:
        self._draft = draft
        self._deadlines = deadlines
        self._settings = settings
        #: URL → what waits to be asked there. Who was asked longest ago comes first.
        self._waiting: dict[str, dict[tuple[str, Then], _Question]] = {}
        self._asked: dict[int, _Question] = {}
        self._number = 0
        self.counts: Counter[str] = Counter(
            dict.fromkeys(("sla_coordinator_attempts", "sla_coordinator_success", "sla_coordinator_errors",
                           "sla_coordinator_lock_starvation"), 0)
        )  # fmt: skip

    def ask(
        self,
        task: Task,
        policy: CoordinatorSlaPolicy,
        then: Then,
        is_wanted: Callable[[Task], bool] = _always,
        until_s: float | None = None,
    ) -> None:
        """Ask, now or when it is the task's turn, whether it may go; *then* hears of it, once, unless the task ends
        before or is not *is_wanted* any more when its turn comes. Asked twice is asked once. *until_s*: monotonic,
        when the task goes in any case."""
        url = policy.coordinator_url or ""
        key = (task.task_id, then)
        if any((one.task_id, one.then) == key for one in self._asked.values()):
            return
        question = _Question(task.task_id, url, policy.status_key or _STATUS_KEY, then, is_wanted, until_s)
        self._waiting.setdefault(url, {})[key] = question
        self._ask_next()
        if key in self._waiting.get(url, ()):
            self.counts["sla_coordinator_lock_starvation"] += 1

    def answered(self, event: CoordinatorAnswered) -> None:
        """A coordinator answered, or did not."""
        question = self._asked.pop(event.number, None)
        if question is None:
            return  # nobody waits for it any more
        self._deadlines.cancel(Due.COORDINATOR, event.number)
        self.counts["sla_coordinator_success" if event.failure is None else "sla_coordinator_errors"] += 1
        task = self._draft.state.tasks.get(question.task_id)
        if task is not None and task.status in ACTIVE:
            question.then(task, event.is_allowed and event.failure is None)
        self._ask_next()

    def due(self, number: int) -> None:
        """Nothing was heard of that question."""
        self.answered(CoordinatorAnswered(number, False, "nothing was heard of it"))

    def clear(self) -> None:
        """Forget all that is asked or to be asked: whoever wants to know asks again."""
        self._waiting.clear()
        self._asked.clear()

    def _ask_next(self) -> None:
        """Ask whom nothing is asked at the moment, as many at once as may be."""
        busy = {question.url for question in self._asked.values()}
        for url in list(self._waiting):
            if len(self._asked) >= self._settings.max_parallel_coordinated_maintenance:
                return
            if url in busy:
                continue
            questions = self._waiting.pop(url)
            while questions:
                question = questions.pop(next(iter(questions)))
                task = self._draft.state.tasks.get(question.task_id)
                if task is not None and task.status in ACTIVE and question.is_wanted(task):
                    self._send(question, task)
                    break
            if questions:
                self._waiting[url] = questions  # behind all others

    def _send(self, question: _Question, task: Task) -> None:
        self._number += 1
        self._asked[self._number] = question
        self.counts["sla_coordinator_attempts"] += 1
        now = self._draft.now
        countdown_ms = None if question.until_s is None else max(0, round((question.until_s - now.mono_s) * 1000))
        self._draft.ask(AskCoordinator(self._number, question.url, question.status_key, task, countdown_ms))
        lost_at_s = now.mono_s + self._settings.sla_coordinator_timeout_s + _LOST_S
        self._deadlines.set(Due.COORDINATOR, self._number, lost_at_s)
