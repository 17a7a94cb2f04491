"""Runs a configuration file, and makes tasks and jobs of what it leaves behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import CodeType, TracebackType
from typing import Any, Final

from thermos.config import dsl
from thermos.config.evaluate import Evaluation, Scope
from thermos.config.loader import (
    Binder,
    Config,
    finish_jobs,
    in_order,
    is_late_in_jobs,
    is_late_in_tasks,
    under,
)
from thermos.config.problems import Call, Place, Recording, Sources, said
from thermos.config.pystachio_fixes import Ref, pystachio, recording
from thermos.config.structs import struct
from thermos.definition import Problem, build, nearest
from thermos.errors import ConfigError
from thermos.schema import Task
from thermos.schema import problems as task_problems
from thermos.templates import Address, join_address

#: Files that include files that include files: beyond this many, one of them includes itself.
_MAX_INCLUDES: Final = 50

#: With one of these a file may use names that its code does not show.
_SEES_ALL: Final = frozenset({"globals", "locals", "vars", "dir", "eval", "exec"})

#: What Python 2 had and configurations of old use, and what is written now.
_PYTHON_2: Final = {"basestring": "str", "long": "int", "unicode": "str", "unichr": "chr", "xrange": "range"}


class _Stop(Exception):
    """The file cannot be executed any further; why is among the problems."""


class _Execution:
    """One configuration file and what it includes, while they run."""

    def __init__(self, path: str) -> None:
        self.sources = Sources(path)
        self.recording = Recording(self.sources)
        self.environment: dict[str, Any] = {"include": self.include, "export": self.export}
        self.exported: list[tuple[Any, Call | None]] = []
        self._including: list[str] = []

    def run(self, path: str, text: bytes) -> None:
        """Execute *text*, the file at *path*, in the environment of those before it. Raises _Stop."""
        self.sources.add(path, text)
        try:
            code = compile(text, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            message = f"is not Python 3: {getattr(error, 'msg', error)}"
            self._stop(Place(path, line) if line else None, message, error)
        names = set(_names(code))
        wanted = dsl.all_names() if names & _SEES_ALL else names
        for name, value in dsl.namespace(wanted).items():
            self.environment.setdefault(name, value)
        self._including.append(path)
        try:
            exec(code, self.environment)
        except _Stop:
            raise
        except RecursionError as error:
            self._stop(self._place_of(error.__traceback__), "calls itself without end", error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - any error of the file's own code is the user's to see
            message, hint = self._explain(error)
            self._stop(self._place_of(error.__traceback__), message, error, hint)
        finally:
            self._including.pop()

    def include(self, path: str) -> None:
        """``include('other.aurora')``: execute another file, relative to this one, as if it stood here."""
        actual = os.path.join(os.path.dirname(self._including[-1]), path)
        if len(self._including) >= _MAX_INCLUDES:
            raise ValueError(f"include('{path}'): files include each other without end")
        try:
            with open(actual, "rb") as file:
                text = file.read()
        except OSError as error:
            raise ValueError(f"include('{path}'): {actual} cannot be read: {error.strerror}") from None
        self.run(actual, text)

    def export(self, task: Any) -> None:
        """``export(task)``: make *task* one that can be run."""
        self.exported.append((task, self.sources.here(sys._getframe(1))))

    def _stop(self, place: Place | None, message: str, cause: BaseException, hint: str = "") -> None:
        self.recording.problems.append(self.sources.problem(place, "", message, hint))
        raise _Stop from cause

    def _place_of(self, traceback: TracebackType | None) -> Place | None:
        """The last line of the configuration that *traceback* went through."""
        place = None
        while traceback is not None:
            name = traceback.tb_frame.f_code.co_filename
            if name in self.sources:
                place = Place(name, traceback.tb_lineno)
            traceback = traceback.tb_next
        return place

    def _explain(self, error: BaseException) -> tuple[str, str]:
        name = getattr(error, "name", None)
        if isinstance(error, NameError) and isinstance(name, str):
            if name in _PYTHON_2:
                return f"'{name}' is Python 2's", f"configurations are Python 3: write {_PYTHON_2[name]}"
            close = nearest(name, [*dsl.all_names(), *self.environment])
            return f"there is no '{name}'", f"did you mean '{close}'?" if close else "define it, or include its file"
        if isinstance(error, AttributeError) and name in ("iteritems", "iterkeys", "itervalues", "has_key"):
            return str(error), "configurations are Python 3"
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, ""


def _names(code: CodeType) -> Iterator[str]:
    """Every name that *code* and the functions and classes in it use."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def load_executed(path: str, text: bytes, bindings: Sequence[tuple[Address, str]], binders: Sequence[Binder]) -> Config:
    """The configuration that executing *text*, the file at *path*, defines.

    Raises:
        ConfigError: it cannot be executed, defines nothing, or what it defines cannot be used; with all
        problems.
    """
    execution = _Execution(path)
    problems = execution.recording.problems
    with recording(execution.recording):
        try:
            execution.run(path, text)
        except _Stop as stop:
            raise ConfigError(path, in_order(problems)) from stop.__cause__
        environment = execution.environment
        jobs, hooks = environment.get("jobs"), environment.get("hooks", ())
    if jobs is not None and not isinstance(jobs, (list, tuple)):
        problems.append(Problem("jobs", f"must be a list of jobs, not {said(jobs)}"))
        jobs = None
    if not isinstance(hooks, (list, tuple)):
        problems.append(Problem("hooks", f"must be a list, not {said(hooks)}"))
        hooks = ()
    if not execution.exported and not jobs and not problems:
        problems.append(
            Problem("", "it defines nothing to run", "call export(task), or set jobs = [...], as the examples do")
        )
    table = pystachio.Environment({Ref.from_address(join_address(address)): value for address, value in bindings})
    tasks = _tasks(execution, table, binders, problems)
    config = _jobs(execution, list(jobs or ()), table, binders, problems, tuple(hooks))
    return Config(path, tuple(tasks), config.jobs, config.hooks, config.warnings) if tasks else config


def _tasks(execution: _Execution, table: Any, binders: Sequence[Binder], problems: list[Problem]) -> list[Task]:
    """What was exported, as tasks. Whatever is wrong is added to *problems*."""
    tasks: list[Task] = []
    for index, (exported, call) in enumerate(execution.exported):
        prefix = f"tasks[{index}]" if len(execution.exported) > 1 else ""
        place = execution.sources.place(call) if call is not None else None
        if not isinstance(exported, struct("Task")):
            message = f"export() takes a Task, not {said(exported)}"
            problems.append(execution.sources.problem(place, prefix, message))
            continue
        evaluation = Evaluation(execution.sources, is_late_in_tasks, binders, keep_literals=True)
        raw = evaluation.struct(Task, exported.bind(table), prefix)
        found = evaluation.problems or list(() if problems else evaluation.consequences)
        task = build(Task, raw, "", [])
        if task is not None:
            found += _located(execution, evaluation, under(prefix, task_problems(task)))
            tasks.append(task)
        problems += found
    return tasks


def _jobs(
    execution: _Execution,
    jobs: Sequence[Any],
    table: Any,
    binders: Sequence[Binder],
    problems: list[Problem],
    hooks: tuple[object, ...],
) -> Config:
    """What ``jobs`` holds, as jobs. Raises ConfigError with *problems* and what else is found."""
    path = execution.sources.main
    if not jobs:
        if problems:
            raise ConfigError(path, in_order(problems))
        return Config(path, (), hooks=hooks)
    from thermos.config.job_schema import Job

    evaluation = Evaluation(execution.sources, is_late_in_jobs, binders)
    built: list[tuple[str, Job]] = []
    for index, value in enumerate(jobs):
        prefix = f"jobs[{index}]" if len(jobs) > 1 else ""
        if not isinstance(value, struct("Job")):
            problems.append(Problem(prefix or "jobs[0]", f"must be a Job, not {said(value)}"))
            continue
        bound = value.bind(table)
        raw = evaluation.struct(Job, bound.bind(_of_the_job(evaluation, bound)), prefix)
        job = build(Job, raw, "", [])
        if job is not None:
            built.append((prefix, job))
    problems += evaluation.problems
    if not problems:
        problems += evaluation.consequences
    return finish_jobs(path, built, problems, [], hooks, located=lambda found: _located(execution, evaluation, found))


def _of_the_job(evaluation: Evaluation, job: Any) -> Any:
    """What a job's own fields bind for its task: ``mesos.role``, ``mesos.cluster`` and ``thermos.user``."""
    scope = Scope(job, None)
    found = {}
    for field, addresses in (("role", ("mesos.role", "thermos.user")), ("cluster", ("mesos.cluster",))):
        value = job._schema_data[field]
        text = None if value is pystachio.Empty else evaluation.text(value, scope)
        if text is not None:
            found.update(dict.fromkeys(addresses, text))
    return pystachio.Environment(found)


def _located(execution: _Execution, evaluation: Evaluation, problems: Iterable[Problem]) -> list[Problem]:
    """*problems* with their lines, without those whose path is at fault already."""
    return [
        execution.sources.problem(evaluation.place(problem.path), problem.path, problem.message, problem.hint)
        for problem in problems
        if problem.path not in evaluation.faulty
    ]
