"""What other threads ask of the scheduler's one thread, and how they wait for it.

Whoever waits for too long takes back what nobody has begun with: then it is certain that it is not done later on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from scheduler.api.backend import NotBegun, OutcomeUnknown, View
from scheduler.core.changes import Change
from scheduler.core.commands import Answer, Command
from scheduler.core.state import State
from scheduler.store.interface import Fenced, StoreError

T = TypeVar("T")

#: A client that got no answer for so long is told so.
ANSWER_S: Final = 60.0
_ENDED: Final = "this scheduler has just ended, and has done nothing of it: ask the one that leads now"
_LOOK: Final = "whether it was done is not known: look at what it was to change before you repeat it"


class Looking(NamedTuple):
    """Somebody wants to see something."""

    at: Callable[[View], Any]
    result: Future[Any]


class Asked(NamedTuple):
    """Somebody wants something done."""

    command: Command
    result: Future[Answer]


class Replacing(NamedTuple):
    """Everything that is kept is to become something else, by these changes; after that nothing here is true."""

    changes: Callable[[State], Sequence[Change]]
    result: Future[None]


Request: TypeAlias = Looking | Asked | Replacing


def is_wanted(request: Request) -> bool:
    """Whether somebody still waits for it. From then on they cannot take it back: it is begun."""
    return request.result.set_running_or_notify_cancel()


def answer_of(result: Future[T], within_s: float = ANSWER_S) -> T:
    """What comes of it. Raises NotBegun, OutcomeUnknown: nothing came within that time."""
    try:
        return result.result(within_s)
    except TimeoutError:
        if result.cancel():
            raise NotBegun(f"the scheduler came to nothing new within {within_s:g} s; nothing of it was done") from None
        if result.done():  # in this very moment, or it is what came of it
            return result.result()
        raise OutcomeUnknown(f"the scheduler began with it, and was not done within {within_s:g} s; {_LOOK}") from None


def turn_away(request: Request) -> None:
    """Nobody has begun with it, and nobody will."""
    if is_wanted(request):
        request.result.set_exception(StoreError(_ENDED))


def give_up(request: Request, error: BaseException) -> bool:
    """It was begun, and the scheduler ends over *error*: unless it was answered, say what that means for it. Whether
    that was so."""
    if request.result.done():
        return False
    is_nothing_done = isinstance(error, Fenced) or isinstance(request, Looking)
    request.result.set_exception(
        StoreError(_ENDED) if is_nothing_done else OutcomeUnknown(f"this scheduler ends over it ({error}); {_LOOK}")
    )
    return True
