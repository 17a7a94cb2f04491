"""All problems of a file at once, each with its path, its line, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from thermos.config import ConfigError, load
from thermos.definition import Problem

JOB = "cluster='c', role='r', environment='e'"
TASK = "Task(name='t', processes=[Process(name='p', cmdline='x')], resources=Resources(cpu=1, ram=MB, disk=MB))"

Faults = Callable[..., list[Problem]]


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    """The problems of a configuration with this source."""

    def found(source: str, *bindings: str, **others: str) -> list[Problem]:
        for name, text in others.items():
            (tmp_path / f"{name}.inc").write_text(text, "utf-8")
        path = tmp_path / "config.aurora"
        path.write_text(source, "utf-8")
        with pytest.raises(ConfigError) as caught:
            load(str(path), bindings)
        assert str(caught.value).startswith(f"{path}: ")
        return [problem for problem in caught.value.problems if isinstance(problem, Problem)]

    return found


MANY = """
sleeper = Process(
    name='sleeper',
    cmdlin='sleep {{seconds}}',
    max_failures='several',
)
cleaner = sleeper(name='clean/er', cmdline='''
    rm -r {{dir}}
''')

export(Task(
    name='t',
    processes=[
        sleeper,
        cleaner,
        Process(name='.hidden', cmdline=''),
    ],
    constraints=order('sleeper', 'cleaner'),
    max_concurrency=-1,
    resources=Resources(cpu='fast', ram=1),
))
"""


def test_all_at_once_with_their_lines(faults: Faults) -> None:
    assert [(problem.line, problem.path) for problem in faults(MANY)] == [
        (4, "Process.cmdlin"),
        (5, "processes[0].max_failures"),
        (5, "processes[1].max_failures"),
        (7, "processes[1].cmdline"),
        (7, "processes[1].name"),
        (16, "processes[2].name"),
        (16, "processes[2].cmdline"),
        (18, "constraints[0].order[1]"),
        (19, "max_concurrency"),
        (20, "resources.cpu"),
        (20, "resources.disk"),
    ]


ONE = {
    "an unknown field, with the nearest": (
        "export(Task(name='t', proceses=[Process(name='a', cmdline='x')]))",
        1, "Task.proceses", "a Task has no 'proceses'; did you mean 'processes'?",
    ),
    "an unknown field, with all there are": (
        f"jobs = [Job({JOB}, task={TASK}, update_config=UpdateConfig(batch_size=1, zzzzzzz=2))]",
        1, "UpdateConfig.zzzzzzz", "a UpdateConfig has no 'zzzzzzz'; a UpdateConfig has batch_size, ",
    ),
    "an unknown field of a dict": (
        "export(Task(name='t',\n processes=[{'name': 'a', 'comand': 'x', 'cmdline': 'x'}]))",
        1, "Process.comand", "a Process has no 'comand'",
    ),
    "an unknown field of a copy": (
        "p = Process(name='a', cmdline='x')\n\nexport(Task(processes=[\n p(final=True,\n   retries=3)]))",
        5, "Process.retries", "a Process has no 'retries'",
    ),
    "a required field": (
        "export(Task(name='t', processes=[\n Process(name='a')]))", 2, "processes[0].cmdline", "required",
    ),
    "no processes": ("export(Task(name='t'))", 1, "processes", "a task needs at least one process"),
    "a text for a list": (
        "export(Task(name='t', processes='a'))", 1, "Task.processes", "must be a list, each element a Process, not 'a'",
    ),
    "a struct for another": (
        f"jobs = [Job({JOB}, task=Process(name='a', cmdline='x'))]", 1, "Job.task", "must be a Task, not a Process",
    ),
    "a number for a struct": (
        f"jobs = [Job({JOB}, task={TASK}, lifecycle=3)]", 1, "Job.lifecycle", "must be a LifecycleConfig, not 3",
    ),
    "no number": (
        "export(SimpleTask('a', 'x')(max_failures='{{n}}').bind(n='many'))", 1, "max_failures", "number, not 'many'",
    ),
    "no flag": (
        f"jobs = [Job({JOB},\n task={TASK},\n service='perhaps')]",
        3, "service", "must be true or false, not 'perhaps'",
    ),
    "a late reference in a number": (
        f"jobs = [Job({JOB}, task={TASK}, instances='{{{{mesos.instance}}}}')]",
        1, "instances", "nothing gives {{mesos.instance}} a value",
    ),
    "no such choice": (
        "export(Task(processes=[Process(name='a', cmdline='x',\n logger=Logger(mode=LoggerMode('rotat')))]))",
        2, "processes[0].logger.mode", "is 'rotat'; it may be 'standard', 'rotate'",
    ),
    "none of several structs": (
        f"jobs = [Job({JOB}, task={TASK}, container={{'imag': 'x'}})]",
        1, "container", "must be one of Container, Docker, Mesos, not {'imag': 'x'}",
    ),
    "an unbound reference, with the nearest": (
        "export(SimpleTask('a', 'x {{thermos.taskid}}'))",
        1, "processes[0].cmdline", "did you mean {{thermos.task_id}}?",
    ),
    "a mesos reference in a task": (
        "export(SimpleTask('a', 'x {{mesos.instance}}'))",
        1, "processes[0].cmdline", "nothing gives {{mesos.instance}}",
    ),
    "a default that refers to what waits": (
        f"jobs = [Job({JOB}, task={TASK}(name='{{{{mesos.instance}}}}'))]",
        1, "name", "it may hold letters",
    ),
    "an image that nothing looks up": (
        f"jobs = [Job({JOB}, task={TASK}, container=Docker(image='{{{{docker.image[a/b][latest]}}}}'))]",
        1, "container.image", "looking up images in a registry is not available here",
    ),
    "a malformed reference": ("export(SimpleTask('a', 'x {{ y }}'))", 1, "processes[0].cmdline", "write {{& y }}"),
    "a name that is itself": (
        "export(Task(name='t', processes=[Process(name='{{name}}', cmdline='x').bind(name='y')]))",
        1, "processes[0].name", "its references go in a circle",
    ),
    "a circle of bindings": (
        "export(SimpleTask('a', '{{x}}').bind(x='{{y}}', y='{{x}}'))",
        1, "processes[0].cmdline", "circle: {{x}}, {{y}}",
    ),
    "a circle that grows": (
        "export(SimpleTask('a', '{{x}}').bind(x='{{y}}{{y}}', y='{{x}}{{x}}'))",
        1, "processes[0].cmdline", "grow beyond",
    ),
    "a reference to what is no text": (
        "export(SimpleTask('a', '{{processes}}'))", 1, "processes[0].cmdline", "which has no text of its own",
    ),
    "an error of the file's own": ("\nx = 1\nx / 0", 3, "", "ZeroDivisionError: division by zero"),
    "an error in a function": ("def f():\n  raise KeyError('k')\n\nf()", 2, "", "KeyError: 'k'"),
    "an exit": ("import sys\nsys.exit(3)", 2, "", "SystemExit: 3"),
    "endless recursion": ("def f():\n  f()\nf()", 2, "", "calls itself without end"),
    "an unknown name, with the nearest": (
        "\nexport(Proces(name='a'))", 2, "", "there is no 'Proces'; did you mean 'Process'?",
    ),
    "a name of Python 2": (
        "for i in xrange(3): pass", 1, "", "'xrange' is Python 2's; configurations are Python 3: write range",
    ),
    "a method of Python 2": ("{}.iteritems()", 1, "", "has no attribute 'iteritems'; configurations are Python 3"),
    "a statement of Python 2": ("x = 1\nprint 'x'", 2, "", "is not Python 3: Missing parentheses"),
    "a NUL": ("x = 1\0", None, "", "is not Python 3"),
    "no task": ("export(Process(name='a', cmdline='x'))", 1, "", "export() takes a Task, not a Process"),
    "no list": (f"jobs = Job({JOB}, task={TASK})", None, "jobs", "must be a list of jobs, not a Job"),
    "no list of hooks": (f"jobs = [Job({JOB}, task={TASK})]\nhooks = 3", None, "hooks", "must be a list, not 3"),
    "no job": ("jobs = ['x']", None, "jobs[0]", "must be a Job, not 'x'"),
    "nothing": ("x = 1", None, "", "it defines nothing to run; call export(task)"),
    "no file to include": ("\ninclude('no.inc')", 2, "", "include('no.inc'):"),
    "a file that includes itself": ("include('config.aurora')", 1, "", "include each other without end"),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_said(faults: Faults, name: str) -> None:
    source, line, path, message = ONE[name]
    [problem] = faults(source)
    assert (problem.line, problem.path) == (line, path)
    assert message in str(problem)


def test_what_is_in_an_included_file_says_so(faults: Faults) -> None:
    [problem] = faults("include('b.inc')\nexport(Task(processes=[p]))", b="\np = Process(name='p', cmdline='')\n")
    assert str(problem).startswith("b.inc line 2: processes[0].cmdline: is empty")
    [problem] = faults("include('b.inc')\n", b="\n\nx / 0\n")
    assert str(problem).startswith("b.inc line 3: there is no 'x'")


def test_trying_the_structs_of_a_choice_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "config.aurora"
    path.write_text(f"job = Job({JOB}, task={TASK}, container={{'image': 'x'}})\nstr(job.container())\njobs = [job]\n")
    assert load(str(path)).job().container is not None


def test_several_tasks_and_jobs_are_told_apart(faults: Faults) -> None:
    tasks = faults("export(SimpleTask('a', ''))\nexport(SimpleTask('b', ''))")
    assert [(problem.line, problem.path) for problem in tasks] == [
        (1, "tasks[0].processes[0].cmdline"),
        (2, "tasks[1].processes[0].cmdline"),
    ]
    jobs = faults(f"j = Job({JOB},\n task={TASK})\njobs = [j(name='x y'),\n j(instances=0)]")
    assert [(problem.line, problem.path) for problem in jobs] == [(3, "jobs[0].name"), (4, "jobs[1].instances")]


def test_problems_before_an_error_of_the_file_are_kept(faults: Faults) -> None:
    found = faults("p = Process(nme='a')\nq\nr")
    assert [problem.line for problem in found] == [1, 2]


def test_a_job_twice(faults: Faults) -> None:
    [problem] = faults(f"j = Job({JOB}, task={TASK})\njobs = [j, j]")
    assert "c/r/e/t is also jobs[0]" in str(problem)


@pytest.mark.parametrize("binding", ["", "x", "=1", "a b=1", "1=2", "a.=3"])
def test_what_binds_nothing(faults: Faults, binding: str) -> None:
    [problem] = faults("export(SimpleTask('a', 'x'))", binding)
    assert f"'{binding}' is no binding; write NAME=VALUE" in str(problem)
