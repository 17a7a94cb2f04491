"""Configuration files → tasks and jobs, or all their problems at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from thermos.definition import Problem, nearest
from thermos.errors import ConfigError
from thermos.schema import Task
from thermos.schema import problems as task_problems
from thermos.templates import Address, BadTemplate, parse_address

if TYPE_CHECKING:
    from thermos.config.job_schema import Job

#: Gives a value to a reference that nothing else does (``docker.image[name][tag]``), or None where it is not
#: its own.
Binder = Callable[[str], str | None]

#: References that are bound on the agent, when an instance or a task starts there.
_LATE_IN_TASKS: Final = frozenset({(".thermos", ".task_id"), (".thermos", ".user")})
_LATE_IN_JOBS: Final = _LATE_IN_TASKS | {(".mesos", ".instance"), (".mesos", ".hostname")}


@dataclass(frozen=True, slots=True)
class Config:
    """What a configuration file says: tasks to run here, jobs for a scheduler, hooks for the client.

    ``tasks`` are those the file exports; where it exports none, what instance 0 of each job would run.
    """

    path: str
    tasks: tuple[Task, ...]
    jobs: tuple[Job, ...] = ()
    hooks: tuple[object, ...] = ()
    warnings: tuple[Problem, ...] = ()
    #: Whether ``tasks`` are those of ``jobs``, in their order.
    tasks_of_jobs: bool = False

    def task(self, name: str | None = None) -> Task:
        """The task called *name*, or the only one there is. A job's task goes by the job's name or key as well.

        Raises:
            ConfigError: there is none of this name, or several to choose from; names them.
        """
        names: list[tuple[str, ...]] = [(task.name,) for task in self.tasks]
        if self.tasks_of_jobs:
            names = [(job.key, job.name, job.task.name) for job in self.jobs]
        return self.tasks[self._choose("task", name, names, "--task")]

    def job(self, selector: str | None = None) -> Job:
        """The job with this name, or key ``cluster/role/environment/name``, or the only one there is.

        Raises:
            ConfigError: there is none that fits, or several; names them.
        """
        names = [(job.key, job.name) for job in self.jobs]
        return self.jobs[self._choose("job", selector, names, "its key")]

    def _choose(self, what: str, wanted: str | None, names: Sequence[tuple[str, ...]], how: str) -> int:
        listed = ", ".join(sorted(name[0] for name in names))
        if not names:
            raise ConfigError(self.path, [Problem("", f"it defines no {what}")])
        if wanted is None:
            if len(names) > 1:
                raise ConfigError(
                    self.path, [Problem("", f"it defines several {what}s: {listed}", f"choose one with {how}")]
                )
            return 0
        found = [index for index, known in enumerate(names) if wanted in known]
        if len(found) > 1:
            exact = [index for index in found if names[index][0] == wanted]
            if len(exact) != 1:
                several = ", ".join(sorted(names[index][0] for index in found))
                raise ConfigError(
                    self.path, [Problem("", f"several {what}s are called '{wanted}': {several}", f"choose by {how}")]
                )
            found = exact
        if not found:
            close = nearest(wanted, [name for known in names for name in known])
            hint = f"did you mean '{close}'?" if close else f"it defines {listed}"
            raise ConfigError(self.path, [Problem("", f"it defines no {what} '{wanted}', but {listed}", hint)])
        return found[0]


def load(path: str, bindings: Sequence[str] = (), json: bool = False, binders: Iterable[Binder] = ()) -> Config:
    """What the configuration file at *path* says, with *bindings* (``NAME=VALUE``) applied to all of it.

    A file whose name ends with ``.json`` or ``.toml`` is plain data, with *json* any file; every other file
    is executed, as Python with the names of :mod:`thermos.config.dsl` in scope. So load only files that you
    would run.

    Raises:
        ConfigError: the file cannot be read or used; with all of its problems.
    """
    bound = _parse_bindings(path, bindings)
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise ConfigError(path, [Problem("", f"cannot be read: {error.strerror}")]) from None
    if json or path.endswith((".json", ".toml")):
        return _load_plain(path, text, bound, is_json=json or path.endswith(".json"))
    from thermos.config.execute import load_executed

    return load_executed(path, text, bound, tuple(binders))


def _parse_bindings(path: str, bindings: Iterable[str]) -> list[tuple[Address, str]]:
    found, problems = [], []
    for binding in bindings:
        name, equals, value = binding.partition("=")
        try:
            if not equals:
                raise BadTemplate(f"'{binding}' binds nothing: write NAME=VALUE")
            found.append((parse_address(name), value))
        except BadTemplate:
            message = f"'{binding}' is no binding"
            problems.append(Problem("", message, "write NAME=VALUE, with a NAME such as size or profile.size"))
    if problems:
        raise ConfigError(path, problems)
    return found


def _load_plain(path: str, text: bytes, bindings: Sequence[tuple[Address, str]], *, is_json: bool) -> Config:
    from thermos.config import plain_files

    raw = plain_files.read_json(text, path) if is_json else plain_files.read_toml(text, path)
    if not isinstance(raw, dict):
        raise ConfigError(path, [Problem("", "must be an object, a task or a job")])
    if is_json and ("jobs" in raw or "role" in raw):
        return _load_plain_jobs(path, raw, bindings)
    problems: list[Problem] = []
    unknown = list(plain_files.unknown_fields(Task, raw))
    if not is_json:
        problems += unknown
        raw = plain_files.with_sizes(Task, raw, "", problems)
    faults: list[Problem] = []
    task = plain_files.evaluate(Task, raw, plain_files.bound_scopes(bindings), faults)
    problems += faults
    if task is not None:
        problems += task_problems(task)
    if task is None or problems:
        raise ConfigError(path, problems)
    return Config(path, (task,), warnings=tuple(unknown))


def _load_plain_jobs(path: str, raw: dict[str, Any], bindings: Sequence[tuple[Address, str]]) -> Config:
    from thermos.config import plain_files
    from thermos.config.job_schema import Job

    several = "jobs" in raw
    listed = raw["jobs"] if several else [raw]
    if not isinstance(listed, list):
        raise ConfigError(path, [Problem("jobs", "must be a list of jobs")])
    if not listed:
        raise ConfigError(path, [Problem("jobs", "is empty", "a file of jobs holds at least one")])
    problems: list[Problem] = []
    warnings: list[Problem] = []
    jobs = []
    for index, item in enumerate(listed):
        prefix = f"jobs[{index}]" if several else ""
        own = item if isinstance(item, dict) else {}
        scopes = [
            {"mesos": {"role": own.get("role"), "cluster": own.get("cluster")}, "thermos": {"user": own.get("role")}},
            *plain_files.bound_scopes(bindings),
        ]
        faults: list[Problem] = []
        job = plain_files.evaluate(Job, item, scopes, faults)
        problems += under(prefix, faults)
        warnings += under(prefix, plain_files.unknown_fields(Job, item))
        if job is not None:
            jobs.append((prefix, job))
    return finish_jobs(path, jobs, problems, warnings)


def finish_jobs(
    path: str,
    jobs: Sequence[tuple[str, Job]],
    problems: list[Problem],
    warnings: list[Problem],
    hooks: tuple[object, ...] = (),
    *,
    located: Callable[[Iterable[Problem]], Iterable[Problem]] = list,
) -> Config:
    """The configuration of these jobs (each with its path), if nothing is wrong with them.

    Raises:
        ConfigError: with *problems* and all that is found; *located* adds the lines, and drops what is known.
    """
    from thermos.config.job_checks import job_problems, job_warnings

    for prefix, job in jobs:
        problems += located(under(prefix, job_problems(job)))
        warnings += located(under(prefix, job_warnings(job)))
    if not problems:
        keys: dict[str, str] = {}
        for prefix, job in jobs:
            if job.key in keys:
                problems += located([Problem(f"{prefix}.name", f"{job.key} is also {keys[job.key]}")])
            keys.setdefault(job.key, prefix)
    if problems:
        raise ConfigError(path, in_order(problems))
    tasks = tuple(instance_task(job) for _, job in jobs)
    return Config(path, tasks, tuple(job for _, job in jobs), hooks, tuple(warnings), tasks_of_jobs=True)


def instance_task(job: Job) -> Task:
    """What instance 0 of *job* would run on this host. Raises TaskInvalid."""
    from thermos.config.job_json import runner_task

    return runner_task(job, 0, os.uname().nodename)


def under(prefix: str, problems: Iterable[Problem]) -> Iterator[Problem]:
    """*problems* with their paths below *prefix*."""
    for problem in problems:
        path = problem.path
        yield replace(problem, path=f"{prefix}.{path}" if prefix and path else prefix or path)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """*problems* in the order of the file's lines, those without one last, each once."""
    unique = dict.fromkeys(problems)
    return sorted(unique, key=lambda problem: (problem.file, problem.line is None, problem.line or 0))


def is_late_in_tasks(address: Address) -> bool:
    """Whether *address* is bound when a task starts: ``thermos.*``."""
    return address in _LATE_IN_TASKS or (len(address) == 3 and address[:2] == (".thermos", ".ports"))


def is_late_in_jobs(address: Address) -> bool:
    """Whether *address* is bound when an instance of a job starts: ``thermos.*``, ``mesos.instance``, ``.hostname``."""
    return address in _LATE_IN_JOBS or is_late_in_tasks(address)
