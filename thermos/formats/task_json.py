"""A task as JSON: what the executor gives the runner, and what lies under ``tasks/active`` and ``finished``.

One object, in the fields of :class:`thermos.schema.Task`, every default written out, fields that are not set
left out, ASCII only. Aurora writes it with pystachio's ``json_dumps`` (``thermos/runner``), in the order of a
Python 2 hash; here the order is that of the definition. Only ``{{thermos.*}}`` references are left in it, for
the runner to bind.

Version 1; whatever is added later is a new optional field, which readers that do not know it pass over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from thermos.definition import Problem, build, plain
from thermos.errors import TaskInvalid
from thermos.schema import Constraint, Process, Task, ports_wanted
from thermos.templates import Address, BadTemplate, resolve

__all__ = ["VERSION", "bind_thermos", "decode", "encode", "from_plain", "ports_wanted", "same_task"]

VERSION = 1


def decode(text: str | bytes, source: str) -> Task:
    """The task that *text* holds; *source* says in errors where it came from.

    Whether it could be run is not looked at (:func:`thermos.schema.problems` does): tasks that ended long ago
    must stay readable.

    Raises:
        TaskInvalid: no JSON, or not in the shape of a task; with every fault of the shape.
    """
    try:
        raw = json.loads(text)
    except UnicodeDecodeError as error:
        raise TaskInvalid(source, [Problem("", f"is not UTF-8: byte {error.start} is wrong")]) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise TaskInvalid(source, [Problem("", f"is not JSON: {error.msg} at {where}")]) from None
    except RecursionError:
        raise TaskInvalid(source, [Problem("", "is not a task: its JSON is nested too deeply")]) from None
    found: list[Problem] = []
    task = from_plain(raw, "", found)
    if task is None:
        raise TaskInvalid(source, found)
    return task


def from_plain(raw: object, path: str, problems: list[Problem]) -> Task | None:
    """The task in parsed JSON or TOML, or None, with the reasons added to *problems*.

    Without a name, it has that of its first process.
    """
    if isinstance(raw, Mapping) and raw.get("name") in (None, "{{processes[0].name}}"):
        processes = raw.get("processes")
        if isinstance(processes, (list, tuple)) and processes and isinstance(processes[0], Mapping):
            raw = {**raw, "name": processes[0].get("name")}
    return build(Task, raw, path, problems)


def encode(task: Task) -> str:
    """*task* as one line of JSON; the same task always gives the same text."""
    return json.dumps(plain(task))


def same_task(one: str | bytes | Task, other: str | bytes | Task) -> bool:
    """Whether two tasks, parsed or as JSON, are equal in every field, however their JSON is written.

    Raises:
        TaskInvalid: one of them is no task.
    """
    first, second = (item if isinstance(item, Task) else decode(item, "task") for item in (one, other))
    return bool(plain(first) == plain(second))


def bind_thermos(task: Task, task_id: str, user: str, ports: Mapping[str, int]) -> Task:
    """*task* with every reference replaced and each literal ``{{&x}}`` turned into ``{{x}}``.

    The references are ``{{thermos.task_id}}``, ``{{thermos.user}}`` and ``{{thermos.ports[NAME]}}``.

    Raises:
        TaskInvalid: a port that is not in *ports*, or another reference that is left; names all of them, with
        the
            processes they are in.
    """
    known: dict[Address, str] = {(".thermos", ".task_id"): task_id, (".thermos", ".user"): user}
    known |= {(".thermos", ".ports", f"[{name}]"): str(number) for name, number in ports.items()}
    lookup: Callable[[Address], str | None] = known.get
    found: list[Problem] = []

    def bound(text: str, path: str, owner: str) -> str:
        if "{{" not in text:
            return text
        try:
            result, unbound = resolve(text, lookup)
        except BadTemplate as error:
            found.append(Problem(path, f"{owner}: {error}"))
            return text
        found.extend(_unbound(path, owner, address) for address in unbound)
        return result

    processes = tuple(
        _bound_process(process, bound, f"processes[{index}]") for index, process in enumerate(task.processes)
    )
    constraints = tuple(
        Constraint(tuple(bound(name, f"constraints[{index}].order", "an order") for name in constraint.order))
        for index, constraint in enumerate(task.constraints)
    )
    result = replace(
        task,
        name=bound(task.name, "name", "the task"),
        processes=processes,
        constraints=constraints,
        user=None if task.user is None else bound(task.user, "user", "the task"),
        x_processes={bound(name, "x_processes", "an extension"): x for name, x in task.x_processes.items()},
    )
    if found:
        raise TaskInvalid(f"task {task_id}", list(dict.fromkeys(found)))
    return result


def _bound_process(process: Process, bound: Callable[[str, str, str], str], path: str) -> Process:
    if "{{" not in process.cmdline and "{{" not in process.name:
        return process
    owner = f"process '{process.name}'"
    return replace(
        process,
        name=bound(process.name, f"{path}.name", owner),
        cmdline=bound(process.cmdline, f"{path}.cmdline", owner),
    )


def _unbound(path: str, owner: str, address: str) -> Problem:
    if address.startswith("thermos.ports["):
        name = address[len("thermos.ports[") : -1]
        return Problem(path, f"{owner} needs port '{name}', which was not given", f"add -P {name}:NUMBER")
    return Problem(
        path,
        f"{owner} refers to {{{{{address}}}}}, which nothing gives a value",
        "bind it in the configuration",
    )
