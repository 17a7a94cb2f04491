"""One call of a method: who may make it, what it does, and Aurora's ``Response`` to it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from scheduler.api.backend import Backend, OutcomeUnknown
from scheduler.api.changing import COMMANDS
from scheduler.api.counting import Counts
from scheduler.api.failures import HttpFailure, Refused
from scheduler.api.options import ApiOptions
from scheduler.api.reading import READINGS
from scheduler.api.recovering import RECOVERING
from scheduler.api.security import User, wanted_by
from scheduler.core.commands import Answer, done, refused
from scheduler.core.submission import Invalid
from scheduler.wire.thrift import Call
from thermos.errors import ExitCode, ThermosError
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    METHODS,
    InstanceKey,
    JobConfiguration,
    JobUpdateKey,
    JobUpdateRequest,
    ListBackupsResult,
    Response,
    ResponseCode,
    ResponseDetail,
    Result,
    ServerInfo,
    Service,
)

log = logging.getLogger(__name__)

#: Whoever calls where nobody has to say who they are (Aurora's name).
UNSECURE: Final = "UNSECURE"
#: What browsers and clients show when they ask for a password (Aurora's words).
CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="Apache Aurora Scheduler", charset="UTF-8"'}

_KEEPING: Final = frozenset({"performBackup", "listBackups", "snapshot"})


class Methods:
    """All methods, over a backend. May be used by many threads at once."""

    def __init__(self, backend: Backend, options: ApiOptions, counts: Counts) -> None:
        self._backend = backend
        self._options = options
        self._counts = counts
        self._server = ServerInfo(options.cluster_name, options.stats_url_prefix)

    def call(self, call: Call, user: User | None) -> Response:
        """What the call is answered. *user*: who proved to be one. Raises HttpFailure where one must, and did not."""
        answer = self._permitted(call, user)
        if answer is None:
            name = user.name if user is not None else UNSECURE
            answer = self._answer(call, name)
        return self.response(answer)

    def response(self, answer: Answer) -> Response:
        """The answer with all that clients expect around it."""
        self._counts.answered(answer.code)
        details = tuple(ResponseDetail(message) for message in answer.messages)
        return Response(answer.code, self._server, answer.result, details)

    def _permitted(self, call: Call, user: User | None) -> Answer | None:
        """Why the call is not allowed; None: it is."""
        security = self._options.security
        service = METHODS[call.name].service
        if security is None or (service is Service.READ_ONLY and not self._options.is_auth_required_for_reads):
            return None
        if user is None:
            raise HttpFailure(401, f"{call.name} needs a user's name and password", CHALLENGE)
        if service is Service.READ_ONLY:
            return None
        wanted = wanted_by(service, call.name, _job_of(call.arguments.values()))
        if security.allows(user, wanted):
            return None
        self._counts.add("shiro_authorization_failures")
        log.warning("%s may not %s", user.name, ":".join(wanted))
        message = f"Subject {user.name} lacks permission {':'.join(wanted)}"
        return refused(message, code=ResponseCode.AUTH_FAILED)

    def _answer(self, call: Call, user: str) -> Answer:
        name = call.name
        try:
            if (reading := READINGS.get(name)) is not None:
                found = self._backend.look(lambda view: reading(view, call.arguments))
                return found() if callable(found) else found
            if not self._backend.leader().is_us:
                return refused("this scheduler does not lead, and changes nothing", code=ResponseCode.ERROR_TRANSIENT)
            if (recovering := RECOVERING.get(name)) is not None:
                log.warning("%s by %s", name, user)
                return recovering(self._backend, call.arguments)
            if name in _KEEPING:
                return self._keep(name)
            answer = self._backend.command(COMMANDS[name](call.arguments, user))
            if answer.code is ResponseCode.OK:
                self._counts.add(f"thrift_workload_{name}")
            return answer
        except Refused as error:
            return refused(*error.problems, code=error.code)
        except Invalid as error:
            return refused(*error.problems)
        except OutcomeUnknown as error:  # never transient: clients repeat that by themselves
            log.error("%s by %s: %s", name, user, error)
            return refused(f"{name}: {error}", code=ResponseCode.ERROR)
        except ThermosError as error:
            log.warning("%s failed: %s", name, error)
            is_theirs = error.exit_code is ExitCode.USAGE  # clients try again what is only transient
            return refused(str(error), code=ResponseCode.INVALID_REQUEST if is_theirs else ResponseCode.ERROR_TRANSIENT)
        except Exception:  # the call's top: one fails, the server goes on
            log.exception("%s failed", name)
            self._counts.add("uncaught_exceptions")
            return refused(f"{name} failed; the scheduler's log says why", code=ResponseCode.ERROR)

    def _keep(self, name: str) -> Answer:
        if name == "performBackup":
            return done(f"Wrote the backup {self._backend.backup()}")
        if name == "listBackups":
            return done(result=Result(list_backups_result=ListBackupsResult(self._backend.backups())))
        self._backend.snapshot()
        return done("Compacted the store")


def _job_of(arguments: Iterable[Any]) -> tuple[str, ...]:
    """(role, environment, name) of the job that a call is about; empty: it is about none, or does not say."""
    for argument in arguments:
        match argument:
            case wire.JobKey():
                key: wire.JobKey | None = argument
            case JobConfiguration():
                # Both should agree; where they do not, the job is refused later on.
                task = argument.task_config
                key = argument.key or (task.job if task is not None else None)
            case InstanceKey():
                key = argument.job_key
            case JobUpdateKey():
                key = argument.job
            case JobUpdateRequest():
                key = argument.task_config.job if argument.task_config is not None else None
            case _:
                continue
        if key is not None and key.role and key.environment and key.name:
            return (key.role, key.environment, key.name)
    return ()
