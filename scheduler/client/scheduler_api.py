"""The scheduler's API as a client needs it: methods with values, retries, and answers that are checked.

Retries are those of Aurora's client (``aurora/client/api/scheduler_client.py``): five attempts to get through, a
second apart; then, every 5 s for 10 min, what says of itself that it is transient and, for calls that do no harm twice,
whatever went wrong on the way. Who leads is found out anew each time. Unlike there, a connection that was refused is
tried again for every call, since nobody heard of it; an answer that will not change (HTTP 404) is not asked for again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from scheduler.client import leader
from scheduler.client.clusters import Cluster
from scheduler.client.errors import ApiError, ClientError, InvalidConfiguration, NetworkError, TimedOut
from scheduler.client.exit_codes import ExitCode
from scheduler.client.printing import clean
from scheduler.client.transport import NotSent, Transport, Unanswered
from scheduler.client.world import World, say
from scheduler.wire import thrift
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import JobKey
from thermos.formats.aurora_api import ResponseCode, ScheduleStatus, Service

log = logging.getLogger(__name__)

#: How often, and with which pauses, a call is tried that nobody heard of.
REACH_ATTEMPTS: Final = 5
REACH_PAUSE_S: Final = 1.0
#: Pauses, and the whole time, of all other retries.
RETRY_PAUSE_S: Final = 5.0
RETRY_FOR_S: Final = 600.0
#: The same trouble is told only this often.
REPEAT_S: Final = 60.0
#: Changes that are the same when they arrive twice: restarting instances once more is what was asked for, and an
#: update carries an id.
_HARMLESS_TWICE: Final = frozenset({"restartShards", "startJobUpdate"})
#: The original does not count its calls.
_SEQID: Final = 0
#: The one way of proving who one is that is built in: what ``~/.netrc`` says, or nothing.
_NETRC: Final = "UNAUTHENTICATED"


def may_repeat(method: str) -> bool:
    """Whether *method* may arrive twice."""
    return api.METHODS[method].service is Service.READ_ONLY or method in _HARMLESS_TWICE


class Scheduler:
    """The scheduler of one cluster."""

    def __init__(
        self, cluster: Cluster, world: World, transport: Transport, members: leader.Members | None = None
    ) -> None:
        mechanism = cluster.get("auth_mechanism", _NETRC)
        if mechanism != _NETRC:
            raise InvalidConfiguration(
                f"cluster '{cluster.name}' in {cluster.source}: auth_mechanism '{mechanism}' is not known here; "
                f"'{_NETRC}' sends what ~/.netrc has for the scheduler's host"
            )
        self.cluster = cluster
        self._world = world
        self._transport = transport
        self._members = members
        self._url: str | None = None

    def url(self) -> str:
        """The leader's URL, ending with ``/``."""
        if self._url is None:
            self._url = self._patiently(
                "looking for the leader", False, lambda: leader.find(self.cluster, self._members)
            )
        return self._url

    def page(self, *parts: str) -> str:
        """The page of a role, an environment, a job: for people, so below ``proxy_url`` where the cluster has one."""
        proxy = self.cluster.get("proxy_url")
        base = leader.with_slash(proxy, self.cluster) if proxy else self.url()
        return "/".join([f"{base}scheduler", *parts])

    def call(self, method: str, **arguments: Any) -> api.Response:
        """What the scheduler answers, whatever it is. Raises ClientError where it does not."""
        body = thrift.encode_call(method, _SEQID, arguments, thrift.Protocol.BINARY)
        response: api.Response = self._patiently(method, may_repeat(method), lambda: self._once(method, body))
        return response

    def ask(
        self, method: str, heading: str = "", code: ExitCode = ExitCode.API_ERROR, **arguments: Any
    ) -> api.Response:
        """As `call`, of an answer that is OK; its words go to stderr. Else raises ApiError: *heading* and its words."""
        response = self.call(method, **arguments)
        if response.response_code is not ResponseCode.OK:
            raise ApiError(refusal(response, heading or f"The scheduler refused {method}"), code, response)
        for message in messages(response):
            say(f"Message from scheduler: {clean(message)}")
        return response

    def tasks(
        self,
        job: JobKey,
        instances: Iterable[int] | None = None,
        statuses: Iterable[ScheduleStatus] | None = None,
        code: ExitCode = ExitCode.API_ERROR,
    ) -> tuple[api.ScheduledTask, ...]:
        """The tasks of the job with this key, those of *instances* and in *statuses* where they are given."""
        query = api.TaskQuery(
            job_keys=(job,),
            instance_ids=None if instances is None else tuple(sorted(instances)),
            statuses=None if statuses is None else tuple(sorted(statuses)),
        )
        return self.query(query, code)

    def query(self, query: api.TaskQuery, code: ExitCode = ExitCode.API_ERROR) -> tuple[api.ScheduledTask, ...]:
        """The tasks that *query* means, without the executors' data."""
        result = self.result("getTasksWithoutConfigs", "schedule_status_result", code=code, query=query)
        return result.tasks or ()

    def result(self, method: str, field: str, code: ExitCode = ExitCode.API_ERROR, **arguments: Any) -> Any:
        """The part *field* of a successful answer's result. Raises NetworkError where it has none."""
        response = self.ask(method, code=code, **arguments)
        found = None if response.result is None else getattr(response.result, field)
        if found is None:
            raise NetworkError(f"{self.url()}: the scheduler's answer to {method} lacks its result")
        return found

    def pending_reasons(self, job: JobKey) -> Mapping[str, str]:
        """Why tasks of a job wait, by task id; nothing where the scheduler does not say."""
        response = self.call("getPendingReason", query=api.TaskQuery(job_keys=(job,)))
        result = response.result.get_pending_reason_result if response.result is not None else None
        reasons = (result.reasons or ()) if result is not None else ()
        return {each.task_id or "": each.reason or "" for each in reasons}

    def _once(self, method: str, body: bytes) -> api.Response:
        if self._url is None:
            self._url = leader.find(self.cluster, self._members)
        log.debug("%s of %sapi", method, self._url)
        reply = self._transport.post(f"{self._url}api", body)
        try:
            response = thrift.decode_reply(reply, method, _SEQID, thrift.Protocol.BINARY)
        except thrift.ApplicationError as error:
            raise ApiError(f"the scheduler cannot do {method}: {error}") from None
        except thrift.WireError as error:
            raise NetworkError(
                f"{self._url}api: the answer is none of Aurora's API ({error}); is the address right?"
            ) from None
        log.debug("%s: %s %s", method, response.response_code, "; ".join(messages(response)))
        if response.response_code is ResponseCode.ERROR_TRANSIENT:
            raise _Transient(refusal(response, "the scheduler is not ready"))
        return response

    def _patiently(self, what: str, repeat: bool, attempt: Callable[[], Any]) -> Any:
        """The result of *attempt*, tried as often as is safe and sensible."""
        began_s = self._world.mono_s()
        unheard = 0
        told, told_s = "", 0.0
        while True:
            try:
                return attempt()
            except (NotSent, leader.NoLeader) as error:
                unheard += 1
                if unheard < REACH_ATTEMPTS:
                    pause_s = REACH_PAUSE_S
                elif repeat:
                    pause_s = RETRY_PAUSE_S
                else:
                    raise TimedOut(f"{error}; given up after {unheard} attempts, nothing was changed") from None
                reason = str(error)
            except _Transient as error:
                pause_s, reason = RETRY_PAUSE_S, str(error)
            except Unanswered as error:
                if not repeat:
                    raise NetworkError(
                        f"{error}; {what} may have been done or not: look before you repeat it"
                    ) from None
                pause_s, reason = RETRY_PAUSE_S, str(error)
            self._url = None
            spent_s = self._world.mono_s() - began_s
            if spent_s + pause_s > RETRY_FOR_S:
                raise TimedOut(f"{reason}; given up after {spent_s:.0f} s")
            if reason != told or spent_s - told_s >= REPEAT_S:
                say(f"{what}: {reason}; trying again in {pause_s:g} s ({spent_s:.0f} of {RETRY_FOR_S:.0f} s spent)")
                told, told_s = reason, spent_s
            self._world.sleep(pause_s)


class _Transient(ClientError):
    """The scheduler said ERROR_TRANSIENT: it did nothing."""


def messages(response: api.Response) -> list[str]:
    """The scheduler's words, if any."""
    return [detail.message for detail in response.details or () if detail.message]


def refusal(response: api.Response, heading: str) -> str:
    """*heading* and the scheduler's words below it, indented."""
    words = [clean(message) for message in messages(response)] or [str(response.response_code)]
    if response.response_code is ResponseCode.JOB_UPDATING_ERROR:
        words.append("wait for the update to end, or abort it with `aurora update abort`, then try again")
    return "\n\t".join([heading.rstrip(":") + ":", *words])
