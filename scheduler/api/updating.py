"""Methods about job updates: from a call's arguments to a command, or to an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from scheduler.api.backend import View
from scheduler.api.failures import Refused
from scheduler.core import queries, update_queries, update_request
from scheduler.core.commands import (
    AbortJobUpdate,
    Answer,
    Command,
    PauseJobUpdate,
    PulseJobUpdate,
    ResumeJobUpdate,
    RollbackJobUpdate,
    StartJobUpdate,
    done,
    refused,
)
from scheduler.core.ranges import ranges_of
from scheduler.core.submission import Invalid, checked_config
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    GetJobUpdateDetailsResult,
    GetJobUpdateSummariesResult,
    InstanceGroup,
    JobUpdateKey,
    JobUpdateQuery,
    JobUpdateRequest,
    JobUpdateSettings,
    Result,
)

Arguments = Mapping[str, Any]
#: An answer, or what makes it, away from the state.
Found = Answer | Callable[[], Answer]

#: A detail for clients that still name an update by the first argument (``ReadOnlySchedulerImpl.java``).
_DEPRECATED: Final = "The key argument is deprecated, use the query argument instead"


def _key(arguments: Arguments) -> JobUpdateKey:
    """The update's key, if all of it is there. Raises Refused."""
    key: JobUpdateKey = arguments["key"] or JobUpdateKey()
    job = key.job or wire.JobKey()
    missing = [name for name in job._fields if not getattr(job, name)]
    if not key.id:
        missing.append("id")
    if missing:
        raise Refused(f"the update's key has no {' and no '.join(missing)}")
    return key


# -- changing ----------------------------------------------------------------------------------------------------------


def _start(arguments: Arguments, user: str) -> Command:
    if arguments["request"] is None:
        raise Refused("the update's request is missing")
    return StartJobUpdate(arguments["request"], arguments["message"] or None, user)


def _pause(arguments: Arguments, user: str) -> Command:
    return PauseJobUpdate(_key(arguments), arguments["message"] or None, user)


def _resume(arguments: Arguments, user: str) -> Command:
    return ResumeJobUpdate(_key(arguments), arguments["message"] or None, user)


def _abort(arguments: Arguments, user: str) -> Command:
    return AbortJobUpdate(_key(arguments), arguments["message"] or None, user)


def _rollback(arguments: Arguments, user: str) -> Command:
    return RollbackJobUpdate(_key(arguments), arguments["message"] or None, user)


def _pulse(arguments: Arguments, user: str) -> Command:
    return PulseJobUpdate(_key(arguments), user)


#: Method → (arguments, user) → the command; raises Refused.
COMMANDS: Final[Mapping[str, Callable[[Arguments, str], Command]]] = MappingProxyType({
    "startJobUpdate": _start,
    "pauseJobUpdate": _pause,
    "resumeJobUpdate": _resume,
    "abortJobUpdate": _abort,
    "rollbackJobUpdate": _rollback,
    "pulseJobUpdate": _pulse,
})  # fmt: skip


# -- reading -----------------------------------------------------------------------------------------------------------


def _summaries(view: View, arguments: Arguments) -> Found:
    found = update_queries.summaries(view.state, arguments["job_update_query"] or JobUpdateQuery())
    return done(result=Result(get_job_update_summaries_result=GetJobUpdateSummariesResult(found)))


def _details(view: View, arguments: Arguments) -> Found:
    key: JobUpdateKey | None = arguments["key"]
    query: JobUpdateQuery | None = arguments["query"]
    if query is None and key is None:
        raise Refused("name an update, by its key or by a query")
    asked = query if query is not None else JobUpdateQuery(key=key)
    found = update_queries.details_of(view.state, asked, view.wall_ms, view.pending_reasons, view.settings)
    if query is not None:
        return done(result=Result(get_job_update_details_result=GetJobUpdateDetailsResult(details_list=found)))
    if not found:
        return refused(f"there is no update {key.id if key is not None else None}")
    result = Result(get_job_update_details_result=GetJobUpdateDetailsResult(details=found[0]))
    return done(_DEPRECATED, result=result)


def _diff(view: View, arguments: Arguments) -> Found:
    request: JobUpdateRequest | None = arguments["request"]
    if request is None or request.task_config is None:
        raise Refused("the request's task configuration is missing")
    count = request.instance_count or 0
    config = checked_config(request.task_config, view.settings, count)
    scope = (request.settings or JobUpdateSettings()).update_only_these_instances
    found = queries.job_diff(view.state, config, count, scope)
    problems: tuple[str, ...] = ()
    if request.settings is not None:  # else it is only compared: it does not say how it is to go
        try:
            groups = update_request.plan(view.state, request, view.settings)
            found = found._replace(groups=tuple(InstanceGroup(ranges_of(group)) for group in groups))
        except Invalid as error:
            # Not refused: Aurora answers what differs of any job, and its client's `job diff` shows that.
            problems = tuple(f"An update would be refused: {problem}" for problem in error.problems)
    return done(*problems, result=Result(get_job_update_diff_result=found))


#: Method → what it finds; raises Refused and Invalid.
READINGS: Final[Mapping[str, Callable[[View, Arguments], Found]]] = MappingProxyType({
    "getJobUpdateSummaries": _summaries,
    "getJobUpdateDetails": _details,
    "getJobUpdateDiff": _diff,
})  # fmt: skip
