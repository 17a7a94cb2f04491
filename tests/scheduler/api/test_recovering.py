"""Recovery from a backup over the API: what each step does, and what it says when it comes too early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response

from scheduler.api.app import create_app
from scheduler.core.changes import PutFramework, PutTask
from scheduler.states import ScheduleStatus
from scheduler.store.sqlite import SqliteStore
from tests.support.engine_backend import EngineBackend
from tests.support.scheduled import task

NAME = "scheduler-backup-2026-01-31-12-00"


@pytest.fixture
def backend(tmp_path: Path) -> EngineBackend:
    """One with a backup of two tasks."""
    store = SqliteStore(str(tmp_path / "store.db"))
    store.lead()
    running = (ScheduleStatus.PENDING, ScheduleStatus.RUNNING)
    store.commit([PutFramework("old"), *(PutTask(task(*running, task_id=task_id)) for task_id in ("a", "b"))])
    (tmp_path / "backups").mkdir()
    store.backup(str(tmp_path / "backups" / NAME))
    store.close()
    return EngineBackend(backup_dir=str(tmp_path / "backups"))


class Calls:
    def __init__(self, backend: EngineBackend) -> None:
        self._http = Client(create_app(backend), Response)

    def __call__(self, method: str, **arguments: Any) -> tuple[str, str]:
        """(code, words)"""
        found = self._http.post(f"/apibeta/{method}", json=arguments).get_json()
        return found["responseCode"], " ".join(detail["message"] for detail in found["details"])

    def staged(self, **query: Any) -> list[str]:
        found = self._http.post("/apibeta/queryRecovery", json={"query": query}).get_json()
        return sorted(
            one["assignedTask"]["taskId"] for one in found["result"]["queryRecoveryResult"]["tasks"]
        )  # fmt: skip


@pytest.fixture
def calls(backend: EngineBackend) -> Calls:
    return Calls(backend)


def test_a_backup_is_staged_thinned_out_and_committed(backend: EngineBackend, calls: Calls) -> None:
    assert calls("stageRecovery", backupId=NAME)[0] == "OK"
    assert calls.staged() == ["a", "b"]
    assert calls.staged(taskIds=["b"], statuses=["RUNNING"]) == ["b"]
    assert calls("deleteRecoveryTasks", query={"taskIds": ["a", "c"]}) == (
        "OK", "Deleted 1 tasks of the staged backup",
    )  # fmt: skip
    assert calls.staged() == ["b"]
    assert backend.engine.state.tasks == {}
    assert backend.recoveries == []
    assert calls("commitRecovery")[0] == "OK"
    ((*_, put),) = backend.recoveries
    assert isinstance(put, PutTask)
    assert put.task.task_id == "b"


@pytest.mark.parametrize("method", ["queryRecovery", "deleteRecoveryTasks", "commitRecovery"])
def test_what_comes_first_is_said(calls: Calls, method: str) -> None:
    arguments = {"query": {"taskIds": ["a"]}} if method != "commitRecovery" else {}
    code, words = calls(method, **arguments)
    assert code == "INVALID_REQUEST"  # not transient, which clients would try again
    assert "stageRecovery comes first" in words


def test_only_one_is_staged(calls: Calls) -> None:
    assert calls("unloadRecovery")[0] == "OK"
    assert calls("stageRecovery", backupId=NAME)[0] == "OK"
    code, words = calls("stageRecovery", backupId=NAME)
    assert (code, words) == ("INVALID_REQUEST", "another backup is staged already: commit it, or unload it first")
    assert calls("unloadRecovery")[0] == "OK"
    assert calls("queryRecovery", query={})[0] == "INVALID_REQUEST"
    assert calls("stageRecovery", backupId=NAME)[0] == "OK"


@pytest.mark.parametrize(
    "method, arguments, words",
    [
        ("stageRecovery", {}, "id is missing"),
        ("stageRecovery", {"backupId": "../store.db"}, "there is no backup"),
        ("deleteRecoveryTasks", {}, "every task"),
        ("deleteRecoveryTasks", {"query": {"taskIds": []}}, "every task"),
    ],
)
def test_what_makes_no_sense(calls: Calls, method: str, arguments: dict[str, Any], words: str) -> None:
    assert calls("stageRecovery", backupId=NAME)[0] == "OK"
    assert calls("unloadRecovery")[0] == "OK" or method == "deleteRecoveryTasks"
    code, said = calls(method, **arguments)
    assert (code, words in said) == ("INVALID_REQUEST", True), said


def test_the_frameworks_id_of_now_stays(backend: EngineBackend, calls: Calls) -> None:
    """Mesos may have removed the older one; under this one it hears us."""
    backend.engine.state.apply(PutFramework("new"))
    calls("stageRecovery", backupId=NAME)
    calls("commitRecovery")
    (changes,) = backend.recoveries
    assert not [change for change in changes if isinstance(change, PutFramework)]
