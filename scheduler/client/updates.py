"""Job updates as a client sees them: which there are, waiting for one, and the exit code of how it ended.

Source: ``aurora/client/cli/update.py`` and ``aurora/client/api/__init__.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from scheduler.client.errors import ApiError, InvalidParameter
from scheduler.client.exit_codes import ExitCode
from scheduler.client.keys import JobRef
from scheduler.client.printing import clean
from scheduler.client.scheduler_api import Scheduler
from scheduler.client.update_waits import waits
from scheduler.client.waiting import Teller
from scheduler.client.world import World
from scheduler.states import ACTIVE_UPDATE
from thermos.formats import aurora_api as api
from thermos.formats.aurora_api import JobUpdateStatus

#: Metadata that says which run of a client asked for an update, so that asking twice starts one.
UPDATE_ID_KEY: Final = "org.apache.aurora.client.update_id"
#: How often a client that waits looks.
POLL_S: Final = 5.0
#: Why an update does not go on is asked for only after so long in one state, and then as often: the answer is long.
ASK_WHY_S: Final = 30.0

#: Of many different reasons, as many are told as fit on a line.
_MAX_REASONS: Final = 3

_Status: Final = JobUpdateStatus
#: What ``update list --status`` takes: names of states, and of groups of them.
STATUS_GROUPS: Final[Mapping[str, frozenset[JobUpdateStatus]]] = MappingProxyType(
    {
        "active": ACTIVE_UPDATE,
        "all": frozenset(JobUpdateStatus),
        "blocked": frozenset({_Status.ROLL_FORWARD_AWAITING_PULSE, _Status.ROLL_BACK_AWAITING_PULSE}),
        "failed": frozenset({_Status.ERROR, _Status.FAILED, _Status.ROLLED_BACK}),
        "inactive": frozenset(JobUpdateStatus) - ACTIVE_UPDATE,
        "paused": frozenset({_Status.ROLL_FORWARD_PAUSED, _Status.ROLL_BACK_PAUSED}),
        "succeeded": frozenset({_Status.ROLLED_FORWARD}),
        **{status.name: frozenset({status}) for status in JobUpdateStatus},
    }
)

#: Exit code of an update that was waited for, by its end; of every other end it is UNKNOWN_ERROR.
FORWARD_CODES: Final = MappingProxyType(
    {_Status.ROLLED_FORWARD: ExitCode.OK, _Status.ROLLED_BACK: ExitCode.COMMAND_FAILURE}
)
BACK_CODES: Final = MappingProxyType(
    {_Status.ROLLED_BACK: ExitCode.OK, _Status.ROLLED_FORWARD: ExitCode.COMMAND_FAILURE}
)


def iso(at_ms: int | None) -> str:
    """A time as ``update list`` shows it: UTC, to the second."""
    return datetime.fromtimestamp((at_ms or 0) // 1000, UTC).isoformat().removesuffix("+00:00")


def summaries(scheduler: Scheduler, query: api.JobUpdateQuery) -> tuple[api.JobUpdateSummary, ...]:
    """The updates that *query* means, as the scheduler orders them."""
    result = scheduler.result("getJobUpdateSummaries", "get_job_update_summaries_result", job_update_query=query)
    return tuple(each for each in result.update_summaries or () if each.key is not None and each.state is not None)


def active(scheduler: Scheduler, job: JobRef) -> api.JobUpdateKey:
    """The key of the update of *job* that is under way.

    Raises:
        InvalidParameter: there is none.
        ApiError: there are several, which no scheduler should allow.
    """
    query = api.JobUpdateQuery(job_key=job.key, update_statuses=tuple(sorted(ACTIVE_UPDATE)))
    found = summaries(scheduler, query)
    if not found:
        raise InvalidParameter(f"No active update found for this job: {job}; `aurora update list {job}` shows old ones")
    if len(found) > 1:
        ids = ", ".join(clean(each.key.id) for each in found if each.key is not None)
        raise ApiError(f"scheduler returned multiple active updates for this job: {ids}")
    key = found[0].key
    assert key is not None
    return key


def details(scheduler: Scheduler, key: api.JobUpdateKey) -> api.JobUpdateDetails:
    """All about one update. Raises InvalidParameter where there is none."""
    result = scheduler.result(
        "getJobUpdateDetails", "get_job_update_details_result", key=key, query=api.JobUpdateQuery(key=key)
    )
    found: api.JobUpdateDetails | None = result.details_list[0] if result.details_list else result.details
    if found is None or found.update is None or found.update.summary is None or found.update.summary.state is None:
        raise InvalidParameter(f"Job update not found: {clean(key.id)}")
    return found


def wait(
    scheduler: Scheduler, job: JobRef, key: api.JobUpdateKey, world: World, show: Callable[[str], None]
) -> JobUpdateStatus:
    """The state in which the update ended. *show* is called with each new state; what is waited for goes to stderr."""
    teller = Teller(world, f"update {clean(key.id)} of {job}")
    last: JobUpdateStatus | None = None
    ask_at_s = world.mono_s() + ASK_WHY_S
    while True:
        found = summaries(scheduler, api.JobUpdateQuery(key=key))
        if not found:
            raise InvalidParameter(f"Job update not found: {clean(key.id)} of {job}")
        if len(found) > 1:
            raise ApiError(f"scheduler returned several updates with the id {clean(key.id)}")
        state = found[0].state
        assert state is not None
        if state.status is not last and state.status is not None:
            last = state.status
            show(str(last))
            teller.tell(str(last))
            ask_at_s = world.mono_s() + ASK_WHY_S
        if last is not None and last not in ACTIVE_UPDATE:
            return last
        if world.mono_s() >= ask_at_s:
            ask_at_s = world.mono_s() + ASK_WHY_S
            reasons = waits(scheduler, job, details(scheduler, key), None)
            teller.tell("; ".join([str(last), *map(str, reasons[:_MAX_REASONS])]))
        world.sleep(POLL_S)


def id_of(metadata: Iterable[object] | None) -> str | None:
    """The client's own id in an update's *metadata*."""
    for label in metadata or ():
        if getattr(label, "key", None) == UPDATE_ID_KEY:
            return str(getattr(label, "value", ""))
    return None
