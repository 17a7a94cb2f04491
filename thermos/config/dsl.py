"""What configuration files find in scope without importing it: schema, helpers, constants, and pystachio's types.

Names and behaviour are those of Aurora's ``thermos/config/schema_helpers.py`` and
``aurora/config/schema/base.py``. Where processes and constraints are merged, they keep the order in which
they were given; Aurora's order was a hash's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from thermos import schema
from thermos.config.pystachio_fixes import pystachio
from thermos.config.structs import TASK_DEFINITIONS, TASK_ENUMS, enum, struct

#: What pystachio itself puts in scope (``from pystachio import *``).
PYSTACHIO_NAMES: Final = (
    "Boolean", "Choice", "Default", "Empty", "Enum", "Environment", "Float", "Integer", "List", "Map",
    "MustacheParser", "Namable", "Ref", "Required", "String", "Struct", "Type", "TypeCheck", "TypeFactory",
)  # fmt: skip
UNITS: Final = ("BYTES", "KB", "MB", "GB", "TB")


def order(*processes: Any) -> list[Any]:
    """A list with one constraint: these processes, or names of processes, one after the other.

    Raises:
        ValueError: something that is neither.
    """
    names = []
    for process in processes:
        if isinstance(process, (str, pystachio.String)):
            names.append(process)
        elif isinstance(process, struct("Process")):
            names.append(process.name())
        else:
            raise ValueError(f"order() takes processes or their names, not {type(process).__name__} {process!r}")
    return [struct("Constraint")(order=names)]


class Units:
    """Arithmetic on parts of tasks."""

    @classmethod
    def resources_sum(cls, *resources: Any) -> Any:
        """Resources that are the sum of these, each kind by itself."""
        return cls._resources(lambda one, other: one + other, resources)

    @classmethod
    def resources_max(cls, *resources: Any) -> Any:
        """Resources that are the greatest of these, each kind by itself."""
        return cls._resources(max, resources)

    @staticmethod
    def _resources(fold: Callable[[float, float], float], resources: Iterable[Any]) -> Any:
        totals: dict[str, float] = {"cpu": 0.0, "ram": 0, "disk": 0, "gpu": 0}
        for item in resources:
            if item is not pystachio.Empty:
                for name, total in totals.items():
                    totals[name] = fold(total, _number(getattr(item, name)(), f"resources.{name}"))
        return struct("Resources")(**totals)

    @staticmethod
    def finalization_wait_sum(tasks: Iterable[Any]) -> Any:
        """The sum of the times that these tasks may take to end, in seconds."""
        return pystachio.Integer(sum(map(_finalization_wait, tasks)))

    @staticmethod
    def finalization_wait_max(tasks: Iterable[Any]) -> Any:
        """The longest of the times that these tasks may take to end, in seconds."""
        return pystachio.Integer(max(map(_finalization_wait, tasks), default=0))

    @staticmethod
    def processes_merge(tasks: Iterable[Any]) -> list[Any]:
        """All processes of these tasks, equal ones once."""
        return _unique(process for task in tasks for process in _items(task.processes()))

    @staticmethod
    def constraints_merge(tasks: Iterable[Any]) -> list[Any]:
        """All constraints of these tasks, equal ones once."""
        return _unique(constraint for task in tasks for constraint in _items(task.constraints()))


class Tasks:
    """Tasks made of tasks."""

    @staticmethod
    def simple(name: str, command: str) -> Any:
        """A task of one process; with a core, and a gigabyte each of memory and disk."""
        return struct("Task")(
            name=name,
            processes=[struct("Process")(name=name, cmdline=command)],
            resources=struct("Resources")(cpu=1.0, ram=1 * schema.GB, disk=1 * schema.GB),
        )

    @staticmethod
    def combine(*tasks: Any, **fields: Any) -> Any:
        """A task that does what all of *tasks* do, side by side, with the sum of their resources.

        Everything else is as in the last of them, or as *fields* says.
        """
        if not tasks:
            raise ValueError("Tasks.combine needs at least one task")
        return tasks[-1](
            processes=Units.processes_merge(tasks),
            constraints=Units.constraints_merge(tasks),
            resources=Units.resources_sum(*(task.resources() for task in tasks)),
            finalization_wait=Units.finalization_wait_max(tasks),
        )(**fields)

    @staticmethod
    def concat(*tasks: Any, **fields: Any) -> Any:
        """A task that does what *tasks* do, one after the other, with the greatest of their resources.

        Each process waits for all processes of the task before its own. Everything else is as in the last
        task, or as *fields* says.
        """
        if not tasks:
            raise ValueError("Tasks.concat needs at least one task")
        constraints = Units.constraints_merge(tasks)
        for before, after in pairwise(tasks):
            for first in _items(before.processes()):
                for second in _items(after.processes()):
                    if first != second:
                        constraints.extend(order(first, second))
        return tasks[-1](
            processes=Units.processes_merge(tasks),
            constraints=_unique(constraints),
            resources=Units.resources_max(*(task.resources() for task in tasks)),
            finalization_wait=Units.finalization_wait_sum(tasks),
        )(**fields)

    @staticmethod
    def sequential(task: Any) -> Any:
        """*task* with its processes in the order of its list, each after the one before.

        Raises:
            ValueError: it has constraints already.
        """
        processes = _items(task.processes())
        if _items(task.constraints()):
            raise ValueError("a sequential task has its order from its list of processes: leave out its constraints")
        return task(constraints=order(*processes)) if processes else task

    @classmethod
    def sequential_task(cls, **fields: Any) -> Any:
        """``SequentialTask(...)``: a Task with these fields whose processes run in the order of their list."""
        return cls.sequential(struct("Task")(**fields))


class Options:
    """Options for command lines out of Python values."""

    @classmethod
    def java(cls, *args: Any, **kwargs: Any) -> str:
        """``-name value`` for each; a value that is false leaves the name alone."""
        return cls._render(lambda _: "-", args, kwargs)

    @classmethod
    def python(cls, *args: Any, **kwargs: Any) -> str:
        """``--name value`` for each, ``-n value`` for names of one letter."""
        return cls._render(lambda name: "-" if len(name) == 1 else "--", args, kwargs)

    @staticmethod
    def _render(dashes: Callable[[str], str], args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
        words = []
        for argument in (*args, dict(kwargs)):
            if isinstance(argument, str):
                argument = {argument: None}
            elif not isinstance(argument, Mapping):
                raise ValueError(f"options are names, dicts or keyword arguments, not {argument!r}")
            for name, value in argument.items():
                words.append(f"{dashes(name)}{name} {value}" if value else f"{dashes(name)}{name}")
        return " ".join(words)


def _items(values: Any) -> list[Any]:
    return [] if values is pystachio.Empty else list(values)


def _unique(values: Iterable[Any]) -> list[Any]:
    """These values without those equal to an earlier one: as a set finds them, but in their order."""
    found: dict[Any, list[Any]] = {}
    result = []
    for value in values:
        alike = found.setdefault(value.get(), [])
        if not any(value == earlier for earlier in alike):
            alike.append(value)
            result.append(value)
    return result


def _finalization_wait(task: Any) -> int:
    """Of a task; or, since both are found in configurations, the time itself."""
    wait = task.finalization_wait() if hasattr(task, "finalization_wait") else task
    return int(_number(wait, "finalization_wait"))


def _number(value: Any, what: str) -> float:
    if value is pystachio.Empty:
        return 0
    raw = value.get() if hasattr(value, "get") else value
    if isinstance(raw, (int, float)):
        return raw
    raise ValueError(f"{what} is {raw!r} here, and only a number can be added or compared: bind it first")


def namespace(names: Iterable[str]) -> dict[str, Any]:
    """The values of those of *names* that configuration files have in scope; what is not asked for is not made."""
    found: dict[str, Any] = {}
    for name in names:
        if name in _MAKERS:
            found[name] = _MAKERS[name]()
        elif name in TASK_ENUMS or name == "Mode":
            found[name] = enum(name)
        elif name in TASK_DEFINITIONS or name in JOB_NAMES:
            found[name] = struct(name)
    return found


def all_names() -> frozenset[str]:
    """Every name that configuration files have in scope, but for ``export``, ``include``, ``jobs`` and ``hooks``."""
    return frozenset({*_MAKERS, *TASK_DEFINITIONS, *TASK_ENUMS, *JOB_NAMES})


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _contexts(name: str) -> Any:
    """The types of what is bound late: when a task is started, or when an instance is."""
    integer, string = pystachio.Integer, pystachio.String
    fields = {
        "ThermosContext": {"ports": pystachio.Map(string, integer), "task_id": string, "user": string},
        "MesosContext": {"instance": pystachio.Required(integer), "hostname": pystachio.Required(string)},
    }[name]
    return type(pystachio.Struct)(name, (pystachio.Struct,), fields)


#: Names of the structs of jobs. (Written out: knowing them must not take their import.)
JOB_NAMES: Final = frozenset({
    "Announcer", "AppcImage", "BatchUpdateStrategy", "Container", "CoordinatorSlaPolicy", "CountSlaPolicy", "Docker",
    "DockerImage", "ExecutorConfig", "GrpcProbe", "HealthCheckConfig", "HealthCheckerConfig", "HttpHealthChecker",
    "HttpLifecycleConfig", "HttpProbe", "Job", "LifecycleConfig", "Mesos", "MesosTaskInstance", "Metadata", "Mode",
    "Parameter", "PartitionPolicy", "PercentageSlaPolicy", "Probe", "QueueUpdateStrategy", "ShellHealthChecker",
    "ShellProbe", "TcpProbe", "UpdateConfig", "VariableBatchUpdateStrategy", "Volume",
})  # fmt: skip

_MAKERS: Final[Mapping[str, Callable[[], Any]]] = {
    **{name: _constant(getattr(pystachio, name)) for name in PYSTACHIO_NAMES},
    **{name: _constant(getattr(schema, name)) for name in UNITS},
    "Options": _constant(Options),
    "Tasks": _constant(Tasks),
    "Units": _constant(Units),
    "order": _constant(order),
    "combine_tasks": _constant(Tasks.combine),
    "concat_tasks": _constant(Tasks.concat),
    "SimpleTask": _constant(Tasks.simple),
    "SequentialTask": _constant(Tasks.sequential_task),
    "java_options": _constant(Options.java),
    "python_options": _constant(Options.python),
    "MesosJob": lambda: struct("Job"),
    "Service": lambda: struct("Job")(service=True),
    "DefaultLifecycleConfig": lambda: struct("LifecycleConfig")(http=struct("HttpLifecycleConfig")()),
    "DisableLifecycle": lambda: struct("LifecycleConfig")(http=pystachio.Empty),
    "ThermosContext": lambda: _contexts("ThermosContext"),
    "MesosContext": lambda: _contexts("MesosContext"),
}
