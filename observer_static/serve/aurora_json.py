"""The JSON of Aurora's observer, from what lies on disk. Pure.

Names and meaning are the original's (``thermos/observer/task_observer.py``), as scripts know them. Where it was wrong
we are not, and nothing that it told is missing:

- ``return_code`` is there whenever it is recorded: 0 as well, and of FAILED runs, whose ``stop_time`` and
  ``return_code`` the original lost when it read them back.
- ``state_timestamp`` is the time of the state also of a task that has had only one; the original said 0.
- Of two tasks asked for of which one is unknown, the known one is told; the original's server failed.

``resource_consumption`` has numbers always, as the original: 0 where nothing was measured or nothing runs. The pages
tell the two apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from observer_static.facts import TaskFacts
from thermos.core.state import History, Run
from thermos.states import ProcessState

if TYPE_CHECKING:
    from observer_static.secrets import Redactor
    from thermos.host.usage import TaskUsage, Usage

Json: TypeAlias = dict[str, Any]

#: Rows of one answer unless asked for otherwise.
ROWS: Final = 20
#: JSON nested deeper than this is no task's.
MAX_DEPTH: Final = 100

_GROUPS: Final[Mapping[ProcessState, str]] = {
    ProcessState.WAITING: "waiting",
    ProcessState.LOST: "waiting",
    ProcessState.FORKED: "running",
    ProcessState.RUNNING: "running",
    ProcessState.SUCCESS: "success",
    ProcessState.FAILED: "failed",
    ProcessState.KILLED: "killed",
}


def consumption(usage: Usage | None) -> Json:
    """What processes use; zeroes where it is not known."""
    if usage is None:
        return {
            "cpu": 0, "ram": 0, "user": 0, "system": 0, "rss": 0, "vms": 0, "nice": None, "status": "None", "threads": 0
        }  # fmt: skip
    rss_bytes = usage.rss_bytes if usage.rss_bytes is not None else usage.ram_bytes
    return {
        "cpu": usage.cpu or 0,
        "ram": rss_bytes or 0,  # the original's is the resident set; a page's may be the proportional share
        "user": usage.user_cpu_s or 0,
        "system": usage.system_cpu_s or 0,
        "rss": rss_bytes or 0,
        "vms": usage.vms_bytes or 0,
        "nice": usage.nice,
        "status": usage.status if usage.status is not None else "None",
        "threads": usage.threads or 0,
    }


def task_consumption(usage: TaskUsage | None) -> Json:
    """What a task uses, with its disk."""
    disk_bytes = usage.disk_bytes if usage is not None else None
    return {**consumption(usage.task if usage is not None else None), "disk": disk_bytes or 0}


def task(facts: TaskFacts, usage: TaskUsage | None, redactor: Redactor) -> Json:
    """One task of ``/j/task``; empty while nothing readable is recorded of it, as the original says it."""
    common = _common(facts)
    if common is None:
        return {}
    definition = parsed(facts.raw)
    return {
        **common,
        "user": facts.state.header.user if facts.state.header is not None else None,
        "resource_consumption": task_consumption(usage),
        "processes": groups(facts),
        "task": redactor.json(definition)[0] if definition is not None else {},
    }


def row(facts: TaskFacts, usage: TaskUsage | None) -> Json | None:
    """One task of ``/j/task_ids``; None: nothing readable is recorded of it, and the original leaves it out."""
    common = _common(facts)
    if common is None:
        return None
    role = facts.state.header.user if facts.state.header is not None else None
    return {**common, "role": role, **task_consumption(usage)}


def _common(facts: TaskFacts) -> Json | None:
    header, statuses = facts.state.header, facts.state.statuses
    if header is None or not statuses:
        return None
    newest = statuses[-1]
    since_ms = newest.timestamp_ms
    for status in reversed(statuses):
        if status.state is not newest.state:
            break
        since_ms = status.timestamp_ms  # the same state again: a takeover by another runner is no move
    return {
        "task_id": facts.task_id,
        "name": facts.task.name if facts.task is not None else facts.task_id,
        "launch_timestamp": statuses[0].timestamp_ms // 1000,
        "state": newest.state.name,
        "state_timestamp": since_ms // 1000,
        "ports": dict(header.ports or {}),
    }


def groups(facts: TaskFacts) -> dict[str, list[str]]:
    """The names of processes that had a run, by where the newest one is."""
    found: dict[str, list[str]] = {"waiting": [], "running": [], "success": [], "failed": [], "killed": []}
    for name, history in facts.state.processes.items():
        found[_GROUPS[history.last.state]].append(name)
    return found


def run(facts: TaskFacts, usage: TaskUsage | None, process: str, number: int = -1) -> Json:
    """One run of ``/j/process``, the newest one for -1; empty: there is none."""
    history = facts.state.processes.get(process)
    found = find_run(history, number) if history is not None else None
    if found is None:
        return {}
    answer: Json = {"process_name": process, "process_run": found.number, "state": found.state.name}
    for name in ("start_time", "stop_time", "return_code"):
        value = getattr(found, name)
        if value is not None:
            answer[name] = value
    if found.state is ProcessState.RUNNING:
        answer["used"] = consumption(usage.processes.get(process) if usage is not None else None)
    return answer


def find_run(history: History, number: int) -> Run | None:
    """The run of that number; negative ones count from the newest, which is -1."""
    runs = history.runs
    if not -len(runs) <= number < len(runs):
        return None
    return runs[number]


def processes(facts: TaskFacts, usage: TaskUsage | None) -> dict[str, Json]:
    """The newest run of each process, of ``/j/processes``."""
    return {name: run(facts, usage, name) for name in facts.state.processes}


def slice_of(count: int, offset: int, num: int) -> tuple[int, int]:
    """(first, behind the last) of *num* among *count*; a negative *offset* counts from the end."""
    if offset < 0:
        offset = offset % count if count > -offset else 0
    return offset, max(min(offset + num, count), offset)


def task_ids(kind: str, offset: int, num: int, count: int, rows: Iterable[Json | None]) -> Json:
    """The answer of ``/j/task_ids``."""
    return {
        "tasks": [row for row in rows if row is not None],
        "type": kind,
        "offset": offset,
        "num": num,
        "task_count": count,
    }


def dumped(answer: object) -> bytes:
    """*answer* as JSON, in ASCII; a number that JSON does not have is null."""
    try:
        return json.dumps(answer, allow_nan=False).encode("ascii")
    except ValueError:
        return json.dumps(_finite(answer), allow_nan=False).encode("ascii")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def parsed(raw: bytes | None) -> Any:
    """The JSON in a task file; None: there is none, or it is nested beyond reason."""
    if raw is None:
        return None
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if _is_shallow(value) else None


def _is_shallow(value: Any) -> bool:
    level: Sequence[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for one in level
            for item in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        ]
        if not level:
            return True
    return False


def chunk(offset: int, data: bytes) -> Json:
    """The answer of ``/logdata`` and ``/filedata``: bytes as text, escaped for HTML as the original does it."""
    if not data:
        return {"offset": offset, "length": 0}
    text = data.decode("utf-8", "replace").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"offset": offset, "length": len(data), "data": text}
