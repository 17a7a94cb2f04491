"""Run tasks of shell processes, checkpoint every transition, and show what became of them.

The names in ``__all__`` are the library's public face; every other path is private and may change. They are loaded
when they are first used: the runner imports this package too, and must stay small.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from thermos.checkpoints import Finding, TaskCheckpoint, is_owned, list_tasks, read_task
    from thermos.config import Config, load
    from thermos.errors import ConfigError, ExitCode, TaskInvalid, ThermosError
    from thermos.records import DeathCertificate, Note, ProcessStatus, RunnerHeader, TaskStatus
    from thermos.runner.control import KillOutcome, kill_task
    from thermos.runner.spawn import RunnerCommand, Started, start
    from thermos.schema import Constraint, Process, Resources, Task
    from thermos.states import ProcessState, TaskState

__version__ = "0.1.0"

#: Module → the public names in it.
_HOMES = {
    "thermos.checkpoints": ("Finding", "TaskCheckpoint", "is_owned", "list_tasks", "read_task"),
    "thermos.config": ("Config", "load"),
    "thermos.errors": ("ConfigError", "ExitCode", "TaskInvalid", "ThermosError"),
    "thermos.records": ("DeathCertificate", "Note", "ProcessStatus", "RunnerHeader", "TaskStatus"),
    "thermos.runner.control": ("KillOutcome", "kill_task"),
    "thermos.runner.spawn": ("RunnerCommand", "Started", "start"),
    "thermos.schema": ("Constraint", "Process", "Resources", "Task"),
    "thermos.states": ("ProcessState", "TaskState"),
}

__all__ = [
    "Config",
    "ConfigError",
    "Constraint",
    "DeathCertificate",
    "ExitCode",
    "Finding",
    "KillOutcome",
    "Note",
    "Process",
    "ProcessState",
    "ProcessStatus",
    "Resources",
    "RunnerCommand",
    "RunnerHeader",
    "Started",
    "Task",
    "TaskCheckpoint",
    "TaskInvalid",
    "TaskState",
    "TaskStatus",
    "ThermosError",
    "__version__",
    "is_owned",
    "kill_task",
    "list_tasks",
    "load",
    "read_task",
    "start",
]


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            import importlib

            value: object = getattr(importlib.import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
