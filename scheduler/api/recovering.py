"""Methods that put a backup back while the scheduler runs: it is staged, looked at, thinned out, and committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from scheduler.api.backend import Backend, Recovery
from scheduler.api.failures import Refused
from scheduler.core import queries
from scheduler.core.commands import Answer, done
from thermos.formats.aurora_api import QueryRecoveryResult, Result, TaskQuery

Arguments = Mapping[str, Any]


def _stage(backend: Backend, arguments: Arguments) -> Answer:
    name = arguments["backup_id"]
    if not name:
        raise Refused("the backup's id is missing; listBackups names those there are")
    backend.recover(lambda recovery: recovery.stage(name))
    return done(f"Staged {name}. Nothing is changed until commitRecovery")


def _query(backend: Backend, arguments: Arguments) -> Answer:
    query: TaskQuery = arguments["query"] or TaskQuery()
    tasks = backend.recover(lambda recovery: queries.select(recovery.staged, query))
    return done(result=Result(query_recovery_result=QueryRecoveryResult(queries.all_to_wire(tasks))))


def _delete_tasks(backend: Backend, arguments: Arguments) -> Answer:
    query: TaskQuery | None = arguments["query"]
    # gorealis and others send empty sets for what is not asked for.
    if query is None or not any(query):
        raise Refused("the query is empty: it would delete every task of the staged backup. Say which, or all states")
    wanted = query

    def delete(recovery: Recovery) -> int:
        found = [task.task_id for task in queries.select(recovery.staged, wanted)]
        recovery.delete_tasks(found)
        return len(found)

    return done(f"Deleted {backend.recover(delete)} tasks of the staged backup")


def _commit(backend: Backend, arguments: Arguments) -> Answer:
    backend.commit_recovery()
    return done("The backup is the scheduler's store now; this process ends, and whoever leads next loads it")


def _unload(backend: Backend, arguments: Arguments) -> Answer:
    backend.recover(lambda recovery: recovery.unload())
    return done("Nothing is staged now")


#: Method → what it does; raises Refused and StoreError.
RECOVERING: Final[Mapping[str, Callable[[Backend, Arguments], Answer]]] = MappingProxyType({
    "stageRecovery": _stage,
    "queryRecovery": _query,
    "deleteRecoveryTasks": _delete_tasks,
    "commitRecovery": _commit,
    "unloadRecovery": _unload,
})  # fmt: skip
