"""The scheduler's mind: what happened goes in, decisions come out. Owns the state; knows no clock, disk or network.

``handle`` and ``command`` change the state at once and give what is to be made durable and then asked of Mesos. The
owner says ``committed`` when it is durable, or ``undo`` when it cannot be. ``wake_at_s`` says when to come back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, cast

from scheduler.core import lifecycle, pruning
from scheduler.core.changes import PutFramework, PutHost
from scheduler.core.commands import Answer, Command, JobCommand
from scheduler.core.coordinators import Coordinators
from scheduler.core.cron_jobs import CronJobs
from scheduler.core.deadlines import Deadlines, Due
from scheduler.core.decision import Decision, Draft
from scheduler.core.events import (
    AcceptInverseOffers,
    Acknowledge,
    Action,
    CoordinatorAnswered,
    Decline,
    DeclineInverseOffers,
    Disconnected,
    DiskFull,
    DiskHasRoom,
    Elected,
    Event,
    Failure,
    InverseOffers,
    Launch,
    MasterError,
    Message,
    Now,
    Offers,
    Rescind,
    RescindInverseOffer,
    Resumed,
    Subscribed,
    Suspended,
    Update,
    Woke,
)
from scheduler.core.groups import TaskGroups
from scheduler.core.hosts import Hosts
from scheduler.core.jobs import Jobs
from scheduler.core.maintenance import Maintenance
from scheduler.core.offers import OfferBook
from scheduler.core.parts import Part, Tools
from scheduler.core.preempting import Preempting
from scheduler.core.reconciling import Reconciling
from scheduler.core.scheduling import Scheduling
from scheduler.core.settings import Settings
from scheduler.core.sla_metrics import SlaMetrics
from scheduler.core.state import State
from scheduler.core.tasks import Tasks
from scheduler.core.updating import Updating
from scheduler.states import TERMINAL, ScheduleStatus
from thermos.formats.mesos_v1_scheduler import Offer, Status

#: What looks after something of its own; see :mod:`scheduler.core.parts`.
PARTS: Final[tuple[type[Part], ...]] = (Maintenance, Hosts, SlaMetrics, CronJobs, Updating, Preempting)
#: Why nothing new is launched, most telling first.
_HOLDS: Final = ("refused", "mesos", "zookeeper", "disk")
_AWAY: Final = "The scheduler has no connection to Mesos"
#: A refusal for no time at all: the master may offer it again at once, in another shape.
_NOT_REFUSED_S: Final = 0.0


class Engine:
    """One scheduler. *fresh* gives ids that nobody had before, *chance* numbers in [0, 1)."""

    def __init__(
        self, settings: Settings, fresh: Callable[[], str], chance: Callable[[], float], state: State | None = None
    ) -> None:
        self.settings = settings
        self.state = state or State()
        self.offers = OfferBook(settings, chance)
        self.groups = TaskGroups(settings)
        self.deadlines = Deadlines()
        self.counts: Counter[str] = Counter()
        self._draft = Draft(self.state)
        self.tasks = Tasks(self._draft, self.groups, self.deadlines, settings, fresh, chance)
        self.reconciling = Reconciling(self._draft, self.deadlines, settings)
        self.scheduling = Scheduling(self._draft, self.offers, self.groups, self.tasks, settings, chance)
        self.jobs = Jobs(self._draft, self.tasks, self.reconciling, settings)
        self.coordinators = Coordinators(self._draft, self.deadlines, settings)
        tools = Tools(
            self._draft,
            self.tasks,
            self.deadlines,
            self.offers,
            self.groups,
            self.coordinators,
            settings,
            fresh,
            chance,
        )
        self.parts: tuple[Part, ...] = tuple(kind(tools) for kind in PARTS)
        self._of_due = {due: part for part in self.parts for due in part.dues}
        self._of_command = {kind: part for part in self.parts for kind in part.commands}
        self.is_leading = False
        #: Why nothing new is launched, for people: Mesos does not want us (a person has to see to it) or is away,
        #: ZooKeeper does not say whether we lead, no room. Names are those of ``_HOLDS``.
        self.holds: dict[str, str] = {"mesos": _AWAY}
        #: That the master gave us, whether it could be kept or not.
        self._framework_id: str | None = None

    # -- deciding ------------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: Now) -> Decision:
        """Decide about what happened."""
        self._draft.now = now
        match event:
            case Woke():
                if "disk" not in self.holds:
                    self._wake()
            case Update(status):
                self._update(status)
            case Offers(offers):
                self._offered(offers)
            case Rescind(offer_id):
                self.counts["offers_rescinded"] += 1
                self.offers.rescind(offer_id)
            case Subscribed():
                self._subscribed(event)
            case Disconnected():
                self._disconnected()
            case MasterError(message):
                self.counts["master_errors"] += 1
                self._disconnected()
                self.holds["refused"] = f"Mesos refuses this scheduler: {message}"
            case Failure(agent_id, executor_id, _):
                self.counts["executors_lost" if executor_id is not None else "agents_lost"] += 1
                if executor_id is None and agent_id is not None:
                    self.offers.lose_agent(agent_id)
            case Elected():
                self.is_leading = True
                self._resume()
            case Suspended():
                self.holds["zookeeper"] = (
                    "The scheduler cannot reach ZooKeeper, and launches nothing until it knows that it still leads"
                )
            case Resumed():
                self.holds.pop("zookeeper", None)
            case DiskFull():
                self.holds["disk"] = "The scheduler's disk is full, and what it would decide cannot be kept"
            case DiskHasRoom():
                self._has_room()
            case CoordinatorAnswered():
                self.coordinators.answered(event)
            case InverseOffers() | RescindInverseOffer():
                pass  # a part's
            case Message():
                self.counts["executor_messages"] += 1
        for part in self.parts:
            if isinstance(event, part.events):
                part.heard(event)
        return self._decided()

    def command(self, command: Command, now: Now) -> tuple[Answer, Decision]:
        """Do what a client asks for, or say why not. The answer may be given once the decision is durable."""
        self._draft.now = now
        part = self._of_command.get(type(command))
        answer = self.jobs.command(cast(JobCommand, command)) if part is None else part.command(command)
        return answer, self._decided()

    def _decided(self) -> Decision:
        self._tell_parts()
        if self.is_leading and not self.holds:
            self.scheduling.step()
            self._tell_parts()
        return self._draft.take()

    def _tell_parts(self) -> None:
        """Tell every part of every task that changed, also of those that change because of it."""
        while self.tasks.changed:
            changed, self.tasks.changed = self.tasks.changed, []
            for before, after in changed:
                if after is not None:
                    self._draft.moved(before, after)
                for part in self.parts:
                    part.task_changed(before, after)
            for part in self.parts:
                part.told()

    def _resume(self) -> None:
        self.coordinators.clear()
        self.tasks.resume()
        self.reconciling.resume()
        for part in self.parts:
            part.resume()

    def committed(self) -> None:
        """What was decided so far is durable."""
        self._draft.committed()

    def undo(self, now: Now) -> Decision:
        """What was decided since the last ``committed`` could not be made durable: it was never decided. Gives back
        all offers: those that we hold, and those that somebody was to be told of."""
        offers, inverse_offers = _offers_of(self._draft.undo())
        self.take_notes()
        self._draft.now = now
        declined = (*self.offers.clear(), *offers)
        self.groups.clear()
        self.deadlines.clear()
        self._resume()
        if declined and self.is_registered:
            self._draft.ask(Decline(declined, _NOT_REFUSED_S))
        if inverse_offers and self.is_registered:
            self._draft.ask(DeclineInverseOffers(inverse_offers))  # Mesos asks again
        return self._draft.take()

    @property
    def wake_at_s(self) -> float | None:
        """When ``Woke`` is to be handled, in monotonic seconds; None: something else has to happen first. So it is
        while there is no room: what is due could not be kept, would be taken back, and be due at once again."""
        if "disk" in self.holds:
            return None
        times = [self.deadlines.next_s, self.offers.next_expiry_s]
        if self.is_leading and not self.holds:
            times.append(self.scheduling.next_s)
        return min((at_s for at_s in times if at_s is not None), default=None)

    # -- what happens --------------------------------------------------------------------------------------------------

    @property
    def is_registered(self) -> bool:
        """The master knows us, and we hear it."""
        return "mesos" not in self.holds

    def _disconnected(self) -> None:
        self.holds["mesos"] = _AWAY
        self.offers.clear()

    def _subscribed(self, event: Subscribed) -> None:
        self.holds.pop("mesos", None)
        self.holds.pop("refused", None)
        self.counts["subscriptions"] += 1
        self.offers.clear()  # offers of a connection end with it
        self._framework_id = event.framework_id
        if event.framework_id != self.state.framework_id:
            self._draft.put(PutFramework(event.framework_id))
        self._ask_all()

    def _ask_all(self) -> None:
        """What Mesos told meanwhile may be lost: it is asked about all tasks; none is given up before it answers."""
        self.tasks.heard_again()
        self.reconciling.registered()

    def _has_room(self) -> None:
        """There may be room: what is written first shows whether there is, before Mesos is asked for anything."""
        self.holds.pop("disk", None)
        known = self._framework_id or self.state.framework_id
        if known is not None:
            self._draft.put(PutFramework(known))
        if self.is_registered:
            self._ask_all()

    def _offered(self, offers: Iterable[Offer]) -> None:
        for offer in offers:
            known = self.state.hosts.get(offer.hostname)
            host = self.offers.host_of(offer, known)
            if host != known:
                self._draft.put(PutHost(host))
            declined = self.offers.add(offer, self._draft.now.mono_s, host)
            if declined:
                self._draft.ask(Decline(declined, _NOT_REFUSED_S))

    def _update(self, status: Status) -> None:
        """A status is taken in, and acknowledged when that is durable."""
        target = lifecycle.from_mesos(status.state, self.settings.is_partition_aware)
        self.counts[f"updates_{status.state.name}"] += 1
        task = self.state.tasks.get(status.task_id)
        is_over = task is not None and task.status in TERMINAL and target not in TERMINAL
        # Without an agent it is pending here, and Mesos has it: it was launched, and that was taken back.
        if task is None or is_over or task.agent_id is None:
            if lifecycle.zombie_kill(target):
                self.tasks.kill_unknown(status.task_id, status.agent_id)
        else:
            self.tasks.note_health(task, lifecycle.health_of(status))
            self.tasks.move(task.task_id, *lifecycle.told(task.status, status, self.settings.is_partition_aware))
        if status.uuid is not None and status.agent_id is not None:
            self._draft.ask(Acknowledge(status.agent_id, status.task_id, status.uuid))

    def _wake(self) -> None:
        now = self._draft.now
        for due, about in self.deadlines.due(now.mono_s):
            if due is Due.RECONCILE:
                self.reconciling.due(self.is_registered)
            elif due is Due.COORDINATOR:
                assert isinstance(about, int)
                self.coordinators.due(about)
            elif due is Due.PRUNE:
                assert isinstance(about, tuple)
                self._prune(about)
            elif due in self._of_due:
                self._of_due[due].due(due, about)
            else:
                assert isinstance(about, str)
                self.tasks.due(due, about, is_heard=self.is_registered)
        expired = self.offers.expired(now.mono_s)
        if expired:
            self._draft.ask(Decline(tuple(expired), self.settings.offer_filter_duration_s))

    def _prune(self, about: tuple[object, ...]) -> None:
        job = about[0]
        tasks = list(self.state.tasks_of(job))  # type: ignore[arg-type]
        for task_id in pruning.prunable(tasks, self._draft.now.wall_ms, self.settings):
            self.counts["tasks_pruned"] += 1
            self.tasks.forget(self.state.tasks[task_id])

    def take_notes(self) -> list[str]:
        """What the log should say of what was decided, each once."""
        found = [words for part in self.parts for words in part.notes]
        for part in self.parts:
            part.notes.clear()
        return found

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def held(self) -> tuple[str, ...]:
        """Why nothing new is launched at all, for people."""
        return tuple(self.holds[name] for name in _HOLDS if name in self.holds)

    def pending_reasons(self) -> Mapping[str, str]:
        """Why each task waits that does, for people."""
        held = next(iter(self.held), None)
        found = {
            task.task_id: held or self.groups.reason(task) for task in self.state.with_status([ScheduleStatus.PENDING])
        }
        for task in self.state.with_status([ScheduleStatus.THROTTLED]):
            found[task.task_id] = task.events[-1].message or "Waits, since it ended so soon"
        return found

    def metrics(self) -> Mapping[str, float]:
        """Every figure that the engine has: counts of what happened, and how things stand."""
        found: dict[str, float] = dict(self.tasks.census())
        found["framework_registered"] = int(self.is_registered and self.is_leading)
        for one in (self, self.tasks, self.scheduling, self.reconciling, self.coordinators):
            found.update(one.counts)
        for part in self.parts:
            found.update(part.metrics())
        return found


def _offers_of(actions: Iterable[Action]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of the offers, and of the inverse offers, that *actions* are about: Mesos waits for a word on each."""
    offers: list[str] = []
    inverse_offers: list[str] = []
    for action in actions:
        if isinstance(action, Launch):
            offers += [offer.offer_id for offer in action.offers]
        elif isinstance(action, Decline):
            offers += action.offer_ids
        elif isinstance(action, (AcceptInverseOffers, DeclineInverseOffers)):
            inverse_offers += action.offer_ids
    return tuple(offers), tuple(inverse_offers)
