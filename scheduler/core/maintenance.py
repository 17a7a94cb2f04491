"""Hosts that are to be maintained: nothing new comes to them, and what runs there goes, at once or as SLA policies
allow (``MaintenanceController.java``).

A host is SCHEDULED (used only where no other can be), DRAINING, or DRAINED: nothing of ours is on it. What may not go
yet is looked at again every minute, and goes in any case when the drain's time is over. A host is DRAINED in the same
decision in which its last task ends; then nothing is kept of the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

from scheduler.core.changes import DropMaintenance, PutHost, PutMaintenance
from scheduler.core.commands import Answer, Command, DrainHosts, EndMaintenance, StartMaintenance, done, refused
from scheduler.core.deadlines import Due
from scheduler.core.events import AcceptInverseOffers, DeclineInverseOffers, Event, InverseOffers, RescindInverseOffer
from scheduler.core.parts import Part, Tools
from scheduler.core.sla import NO_PROMISE, Standings, may_kill, problems_of
from scheduler.core.state import State
from scheduler.model import Mode, Task
from scheduler.states import ACTIVE, AGENT_ASSIGNED, MOVES, ScheduleStatus
from thermos.formats.aurora_api import (
    DrainHostsResult,
    EndMaintenanceResult,
    HostMaintenanceRequest,
    HostStatus,
    MaintenanceMode,
    Result,
    StartMaintenanceResult,
)

_PLANNED: Final = "Its host is to be maintained"
_OVERDUE: Final = (
    "Its host is to be maintained, and was to be empty by now: its SLA policy is not waited for any longer"
)
_UNAVAILABLE: Final = "Mesos says that its agent is about to be unavailable"
#: Tasks that can be told to go; of the others that are on a host, somebody wants the end already.
_CAN_GO: Final = frozenset(status for status, moves in MOVES.items() if ScheduleStatus.DRAINING in moves)


def statuses_of(state: State, hosts: Iterable[str]) -> tuple[tuple[HostStatus, ...], tuple[str, ...]]:
    """The hosts' modes, and words for those that we do not know. Both by name."""
    names = sorted(hosts)
    known = tuple(HostStatus(name, MaintenanceMode(state.hosts[name].mode)) for name in names if name in state.hosts)
    unknown = [name for name in names if name not in state.hosts]
    if not unknown:
        return known, ()
    return known, (f"No agent of this name is known: {', '.join(unknown)}",)


class Maintenance(Part):
    """Modes of hosts, and drains."""

    dues: ClassVar[frozenset[Due]] = frozenset({Due.DRAIN})
    commands: ClassVar[tuple[type, ...]] = (StartMaintenance, DrainHosts, EndMaintenance)
    events: ClassVar[tuple[type, ...]] = (InverseOffers, RescindInverseOffer)

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.counts.update({"missing_maintenance_request": 0, "inverse_offers": 0})
        self._state = tools.draft.state
        #: Hosts that are DRAINING → ids of the active tasks on them.
        self._draining: dict[str, dict[str, None]] = {}
        #: Of these the log says already that it is not known how they are to be drained.
        self._unexplained: set[str] = set()

    # -- what clients ask for ------------------------------------------------------------------------------------------

    def command(self, command: Command) -> Answer:
        match command:
            case StartMaintenance(hosts, _):
                return self._start(hosts)
            case DrainHosts():
                return self._drain_hosts(command)
            case EndMaintenance(hosts, _):
                return self._end(hosts)
        return super().command(command)

    def _start(self, hosts: frozenset[str]) -> Answer:
        for name in self._known(hosts):
            self._drop_request(name)
            self._set_mode(name, Mode.SCHEDULED)
        statuses, words = statuses_of(self._state, hosts)
        return done(*words, result=Result(start_maintenance_result=StartMaintenanceResult(statuses)))

    def _drain_hosts(self, command: DrainHosts) -> Answer:
        policy = command.policy if command.policy is not None else NO_PROMISE
        problems = [*problems_of(policy, self.tools.settings)]
        if command.timeout_s < 0:
            problems.append(f"The time after which tasks go in any case must be 0 s or more, not {command.timeout_s}")
        if problems:
            return refused(*problems)
        names = self._known(command.hosts)
        for name in names:
            now = self.tools.draft.now
            request = HostMaintenanceRequest(name, policy, command.timeout_s, created_timestamp_ms=now.wall_ms)
            self.tools.draft.put(PutMaintenance(request))
            self.tools.draft.elapsed.note((Due.DRAIN, name), now)
            self._set_mode(name, Mode.DRAINING)
        self._watch(names)
        self._drain(names)
        self._look_again()
        statuses, words = statuses_of(self._state, command.hosts)
        return done(*words, result=Result(drain_hosts_result=DrainHostsResult(statuses)))

    def _end(self, hosts: frozenset[str]) -> Answer:
        for name in self._known(hosts):
            self._drop_request(name)
            self._set_mode(name, Mode.NONE)
        statuses, words = statuses_of(self._state, hosts)
        return done(*words, result=Result(end_maintenance_result=EndMaintenanceResult(statuses)))

    def _known(self, hosts: Iterable[str]) -> list[str]:
        return sorted(name for name in hosts if name in self._state.hosts)

    def _set_mode(self, name: str, mode: int) -> None:
        if mode != Mode.DRAINING:
            self._draining.pop(name, None)
        host = self._state.hosts[name]
        if host.mode != mode:
            self.tools.draft.put(PutHost(host._replace(mode=mode)))
            self.tools.offers.set_mode(name, mode)

    def _drop_request(self, name: str) -> None:
        if name in self._state.maintenance:
            self.tools.draft.put(DropMaintenance(name))
            self.tools.draft.elapsed.forget((Due.DRAIN, name))

    # -- draining ------------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        self._draining.clear()
        self._watch([name for name, host in self._state.hosts.items() if host.mode == Mode.DRAINING])
        self._look_again()

    def _watch(self, names: Iterable[str]) -> None:
        """Know from now on which active tasks are on these hosts. One look at all tasks, however many hosts."""
        found: dict[str, dict[str, None]] = {name: {} for name in names}
        if not found:
            return
        tasks = self._state.tasks
        for status in AGENT_ASSIGNED:
            for task_id in self._state.by_status[status]:
                there = found.get(tasks[task_id].host or "")
                if there is not None:
                    there[task_id] = None
        self._draining.update(found)

    def task_changed(self, before: Task | None, after: Task | None) -> None:
        if not self._draining:
            return
        task = after or before
        assert task is not None
        there = self._draining.get(task.host or "")
        if there is None:
            return
        if after is not None and after.status in ACTIVE:
            there[task.task_id] = None
        elif task.task_id in there:
            del there[task.task_id]
            if not there:
                self._drained(task.host or "")

    def _drained(self, name: str) -> None:
        self.counts["hosts_drained"] += 1
        self._drop_request(name)
        self._set_mode(name, Mode.DRAINED)

    def due(self, due: Due, about: object) -> None:
        self._drain(list(self._draining))
        self._look_again()

    def _look_again(self) -> None:
        """As long as something drains: every minute, and when a drain's time is over."""
        if not self._draining:
            return
        now = self.tools.draft.now
        wait_s = self.tools.settings.host_maintenance_polling_interval_s
        for name in self._draining:
            request = self._state.maintenance.get(name)
            if request is not None and (left_s := self._ends_at_s(request) - now.mono_s) > 0:
                wait_s = min(wait_s, left_s)
        self.tools.deadlines.set(Due.DRAIN, None, now.mono_s + wait_s)

    def _drain(self, names: Iterable[str]) -> None:
        """Let go from these hosts, which are DRAINING, what may go now."""
        now = self.tools.draft.now
        standings = Standings(self._state, self.tools.draft.elapsed, now)
        for name in names:
            there = [self._state.tasks[task_id] for task_id in self._draining[name]]
            if not there:
                self._drained(name)
                continue
            request = self._state.maintenance.get(name)
            if request is None:
                # Which policy was to hold is not known, so none can be kept: a person has to drain the host again.
                self.counts["missing_maintenance_request"] += 1
                if name not in self._unexplained:
                    self._unexplained.add(name)
                    self.note(
                        f"host {name} is DRAINING, and no request says how: drain it again, or end its maintenance"
                    )
                continue
            if request.timeout_secs and self._ends_at_s(request) <= now.mono_s:
                self.note(f"host {name} was to be empty after {request.timeout_secs} s: all tasks on it go now")
            # In any order: else the same task would be the first of its job each time, and the same one the last.
            there.sort(key=lambda _: self.tools.chance())
            for task in there:
                if task.status in _CAN_GO:
                    self._let_go(task, request, standings)

    def _let_go(self, task: Task, request: HostMaintenanceRequest, standings: Standings) -> None:
        now = self.tools.draft.now
        ends_at_s = self._ends_at_s(request)
        if ends_at_s <= now.mono_s:
            self._move(task, _OVERDUE if request.timeout_secs else _PLANNED, standings)
            return
        settings, policy = self.tools.settings, request.default_sla_policy
        verdict = may_kill(task, self._state, now.wall_ms, settings, policy, standings)
        if verdict.is_allowed:
            self._move(task, _PLANNED, standings)
        elif verdict.coordinator is not None:
            self.tools.coordinators.ask(task, verdict.coordinator, self._answered, self._is_to_go, until_s=ends_at_s)
        else:
            self.counts["sla_drains_put_off"] += 1

    def _move(self, task: Task, why: str, standings: Standings | None = None) -> None:
        self.tools.tasks.move(task.task_id, ScheduleStatus.DRAINING, why)
        if standings is not None:
            standings.left(task)

    def _is_to_go(self, task: Task) -> bool:
        return task.status in _CAN_GO and task.task_id in self._draining.get(task.host or "", ())

    def _answered(self, task: Task, is_allowed: bool) -> None:
        """A coordinator said whether the task may go."""
        if is_allowed and self._is_to_go(task):
            self._move(task, _PLANNED)

    # -- Mesos' own maintenance ----------------------------------------------------------------------------------------

    def heard(self, event: Event) -> None:
        """Mesos wants its agents back at a certain time: granted. As soon as nothing new is placed there any more, what
        is there goes, whatever it was promised: Mesos would not wait for it. Mesos asks again until nothing is."""
        if not isinstance(event, InverseOffers):
            return
        now_ms = self.tools.draft.now.wall_ms
        accepted, declined = [], []
        for offer in event.offers:
            self.counts["inverse_offers"] += 1
            if offer.agent_id is None:
                declined.append(offer.offer_id)  # of what we should let go, it does not say
                continue
            accepted.append(offer.offer_id)
            begins_ms = offer.unavailability.start_ns / 1e6
            if begins_ms - self.tools.settings.unavailability_threshold_s * 1000 <= now_ms:
                for task in self._state.on_agent(offer.agent_id):
                    if task.status in _CAN_GO:
                        self._move(task, _UNAVAILABLE)
        if accepted:
            self.tools.draft.ask(AcceptInverseOffers(tuple(accepted)))
        if declined:
            self.tools.draft.ask(DeclineInverseOffers(tuple(declined)))

    # -- looking -------------------------------------------------------------------------------------------------------

    def metrics(self) -> Mapping[str, float]:
        found: dict[str, float] = dict(self.counts)
        found["hosts_draining"] = len(self._draining)
        now_s = self.tools.draft.now.mono_s
        for name, there in self._draining.items():
            request = self._state.maintenance.get(name)
            if request is not None and request.timeout_secs:
                left_ms = round((self._ends_at_s(request) - now_s) * 1000)
                for task_id in there:
                    task = self._state.tasks[task_id]
                    found[f"maintenance_countdown_ms_{task.job}/{task.instance}"] = left_ms
        return found

    def _ends_at_s(self, request: HostMaintenanceRequest) -> float:
        """When, monotonic, nothing is waited for any longer."""
        began_s = self.tools.draft.elapsed.at_s((Due.DRAIN, request.host), request.created_timestamp_ms or 0)
        return began_s + (request.timeout_secs or 0)
