"""What the API needs of the scheduler behind it: to look, to ask for a change, to know who leads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from scheduler.core.commands import Answer, Command
from scheduler.core.settings import Settings
from scheduler.core.state import State
from thermos.errors import ThermosError

if TYPE_CHECKING:
    from scheduler.core.groups import Group
    from scheduler.core.offers import OfferBook

T = TypeVar("T")


class NotBegun(ThermosError):
    """The scheduler was too busy: nothing of what was asked for was done, and nothing of it will be."""


class OutcomeUnknown(ThermosError):
    """Whether it was done is not known; says what to look at."""


class View(NamedTuple):
    """All there is to see, at one moment; for reading only, and only within ``Backend.look``."""

    state: State
    offers: OfferBook
    settings: Settings
    #: Why a task waits, for people; only of tasks that wait.
    pending_reasons: Mapping[str, str]
    #: Since when offers are gone, penalties of groups and the like: name → number, for ``/vars``.
    metrics: Mapping[str, float]
    #: When this is, wall time.
    wall_ms: int
    #: Tasks that wait, by their configuration's digest.
    groups: Mapping[str, Group] = MappingProxyType({})
    #: Why nothing new is launched at all, for people.
    holds: tuple[str, ...] = ()
    #: Since when this scheduler leads, wall time; None: it does not.
    leading_since_ms: int | None = None


class Leader(NamedTuple):
    """Who leads. *url* None: nobody, or nobody that we know."""

    is_us: bool
    url: str | None


class Recovery(Protocol):
    """A backup that may take the place of what there is. Methods raise StoreError where there is none to do it with."""

    @property
    def staged(self) -> State:
        """What is staged."""

    def stage(self, name: str) -> None:
        """Load the backup with this id."""

    def delete_tasks(self, task_ids: Iterable[str]) -> None:
        """Forget these tasks of what is staged."""

    def unload(self) -> None:
        """Let go of what is staged, if anything is."""


class Backend(Protocol):
    """The scheduler, as its API sees it. Methods may be called from any thread, and block until there is an answer, or
    raise NotBegun or OutcomeUnknown where none comes in time."""

    def look(self, at: Callable[[View], T]) -> T:
        """What *at* makes of the view, on the thread that owns the state. Give back values, not live collections."""

    def command(self, command: Command) -> Answer:
        """Do it: decided, durable, and on its way to Mesos when this returns."""

    def leader(self) -> Leader:
        """Who leads, as of now."""

    def backup(self) -> str:
        """Write a backup now; gives its id. Raises StoreError."""

    def backups(self) -> tuple[str, ...]:
        """Ids of the backups that are kept, oldest first."""

    def snapshot(self) -> None:
        """Compact the store now."""

    def recover(self, do: Callable[[Recovery], T]) -> T:
        """What *do* makes of the recovery; only one at a time. Raises StoreError."""

    def commit_recovery(self) -> None:
        """Put what is staged in the place of what there is: durable when this returns. Then this scheduler ends, and
        whoever leads next loads it. Raises StoreError: nothing is changed."""
