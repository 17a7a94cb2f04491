"""One turn of the scheduler's loop: decide, make it durable, act, and only then answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import NamedTuple, TypeAlias

from scheduler.api.backend import View
from scheduler.core.changes import Change
from scheduler.core.commands import Answer, refused
from scheduler.core.decision import Decision, Transition
from scheduler.core.engine import Engine
from scheduler.core.events import Action, Event, Now
from scheduler.requests import Asked, Looking, Replacing, Request, give_up, is_wanted
from thermos.formats.aurora_api import ResponseCode


class Ended(NamedTuple):
    """The program is to end, and why; *code* is its exit code."""

    code: int
    reason: str


Item: TypeAlias = Event | Request | Ended


def carry_out(
    engine: Engine,
    decisions: Iterable[Decision],
    commit: Callable[[Sequence[Change]], object],
    act: Callable[[Action], object],
) -> None:
    """Make durable what *engine* decided, all at once, then act on it in order: what a crash between the two costs is
    only that something is not begun. What *commit* raises goes on, and nothing is done then."""
    made = tuple(decisions)
    changes = [change for decision in made for change in decision.changes]
    if changes:
        commit(changes)
    engine.committed()
    for decision in made:
        for action in decision.actions:
            act(action)


class Turn:
    """What came together, and what was decided about it. Nobody hears of that before it is durable."""

    def __init__(self, items: Iterable[Item]) -> None:
        #: Without what nobody waits for any more.
        self.items = [item for item in items if not isinstance(item, Request) or is_wanted(item)]
        self.decisions: list[Decision] = []
        self._answers: list[tuple[Future[Answer], Answer]] = []

    @property
    def transitions(self) -> list[Transition]:
        """Tasks that came into another state."""
        return [transition for decision in self.decisions for transition in decision.transitions]

    @property
    def replacing(self) -> Replacing | None:
        """What comes after all else: the state is not what is kept any more."""
        return next((item for item in self.items if isinstance(item, Replacing)), None)

    @property
    def ended(self) -> Ended | None:
        """Why the program is to end after this, if it is."""
        return next((item for item in self.items if isinstance(item, Ended)), None)

    def decide(self, engine: Engine, now: Callable[[], Now]) -> None:
        """About each thing, in order."""
        for item in self.items:
            if isinstance(item, Asked):
                answer, decision = engine.command(item.command, now())
                self._answers.append((item.result, answer))
                self.decisions.append(decision)
            elif not isinstance(item, (Looking, Replacing, Ended)):
                self.decisions.append(engine.handle(item, now()))

    def refuse(self, why: str) -> None:
        """Nothing of what was decided can be kept: it was never decided."""
        self.decisions.clear()
        self._answers = [(result, refused(why, code=ResponseCode.ERROR_TRANSIENT)) for result, _ in self._answers]

    def answer(self, view: Callable[[], View]) -> None:
        """All who asked, then all who look."""
        for result, answer in self._answers:
            result.set_result(answer)
        for item in self.items:
            if isinstance(item, Looking):
                _show(item, view())

    def give_up(self, error: BaseException) -> bool:
        """The program ends over *error*: whoever was not answered is told what that means for them. Whether there was
        anybody."""
        given_up = [give_up(item, error) for item in self.items if isinstance(item, Request)]
        return any(given_up)


def _show(looking: Looking, view: View) -> None:
    try:
        found = looking.at(view)
    except Exception as error:  # noqa: BLE001  # whoever looks gets it, and goes on from there
        looking.result.set_exception(error)
    else:
        looking.result.set_result(found)
