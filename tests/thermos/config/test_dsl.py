"""What configuration files have in scope does what Aurora's documents and code say."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from thermos.config import ConfigError, dsl, load, structs
from thermos.schema import Constraint, Logger, Process, Resources, RotatePolicy, Task

HEAD = """
a, b, c = [Process(name=name, cmdline='run ' + name) for name in 'abc']
one = Task(name='one', processes=[a, b], constraints=order(a, b), resources=Resources(cpu=1, ram=2*GB, disk=1*MB))
two = Task(name='two', processes=[b, c], constraints=order(b, c), finalization_wait=40, max_failures=7,
           resources=Resources(cpu=0.5, ram=3*GB, disk=1*MB, gpu=1))
"""


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., Task]:
    def made(source: str, *bindings: str) -> Task:
        path = tmp_path / "config.thermos"
        path.write_text(HEAD + source, "utf-8")
        return load(str(path), bindings).task()

    return made


Made = Callable[..., Task]


def names(given: Task) -> list[str]:
    return [process.name for process in given.processes]


def orders(given: Task) -> list[tuple[str, ...]]:
    return [constraint.order for constraint in given.constraints]


def test_order_takes_processes_and_names(task: Made) -> None:
    made = task("export(Task(name='t', processes=[a, b, c], constraints=order(a, 'b', String('c')) + order('a', c)))")
    assert orders(made) == [("a", "b", "c"), ("a", "c")]


def test_combine(task: Made) -> None:
    made = task("export(Tasks.combine(one, two))")
    assert made.name == "two"
    assert names(made) == ["a", "b", "c"]
    assert orders(made) == [("a", "b"), ("b", "c")]
    assert made.resources == Resources(1.5, 5 << 30, 2 << 20, 1)
    assert (made.finalization_wait, made.max_failures) == (40, 7)
    assert task("export(combine_tasks(one, two, name='three', max_failures=2))").name == "three"


def test_times_of_tasks_are_added_and_compared(task: Made) -> None:
    source = "x = Units.%s([one, two, 5])\nexport(one(finalization_wait=x))"
    assert task(source % "finalization_wait_sum").finalization_wait == 75
    assert task(source % "finalization_wait_max").finalization_wait == 40


def test_concat(task: Made) -> None:
    made = task("export(concat_tasks(one, two(processes=[c]), name='both'))")
    assert made.name == "both"
    assert names(made) == ["a", "b", "c"]
    assert orders(made) == [("a", "b"), ("b", "c"), ("a", "c")]
    assert made.resources == Resources(1.0, 3 << 30, 1 << 20, 1)
    assert made.finalization_wait == 70


def test_concat_of_overlapping_tasks_orders_no_process_after_itself(task: Made) -> None:
    made = task("export(Tasks.concat(Task(name='x', processes=[a]), Task(name='y', processes=[a, b])))")
    assert orders(made) == [("a", "b")]


def test_simple_and_sequential(task: Made) -> None:
    made = task("export(SimpleTask('s', 'echo {{name}}'))")
    assert made == Task("s", (Process("s", "echo s"),), resources=Resources(1.0, 1 << 30, 1 << 30))
    assert orders(task("export(SequentialTask(name='s', processes=[c, a, b]))")) == [("c", "a", "b")]
    assert orders(task("export(Tasks.sequential(Task(name='s', processes=[a])))")) == [("a",)]


def test_a_sequential_task_has_no_other_order(task: Made) -> None:
    with pytest.raises(ConfigError, match=r"line 7: .*leave out its constraints"):
        task("\nexport(SequentialTask(processes=[a, b], constraints=order(a, b)))")


@pytest.mark.parametrize(
    "call, words",
    [
        ("java_options('a', 'b')", "-a -b"),
        ("java_options({'Xmx': '1g', 'server': None}, D=3)", "-Xmx 1g -server -D 3"),
        ("Options.python('v', 'verbose', {'n': 1}, level=2, quiet=False)", "-v --verbose -n 1 --level 2 --quiet"),
        ("python_options()", ""),
    ],
)
def test_options(task: Made, call: str, words: str) -> None:
    assert task(f"export(SimpleTask('s', 'x ' + {call}))").processes[0].cmdline == f"x {words}"


@pytest.mark.parametrize("call", ["java_options(1)", "order(1)", "order(one)", "Tasks.combine()", "Tasks.concat()"])
def test_what_helpers_cannot_take(task: Made, call: str) -> None:
    with pytest.raises(ConfigError, match="line 6: ValueError: "):
        task(call)


def test_units(task: Made) -> None:
    made = task("export(SimpleTask('s', 'x %d %d %d %d %d' % (BYTES, KB, MB, GB, TB)))")
    assert made.processes[0].cmdline == "x 1 1024 1048576 1073741824 1099511627776"


def test_values_are_copied_not_changed(task: Made) -> None:
    made = task("d = a(name='d')\nexport(Task(name='t', processes=[a, d]))")
    assert names(made) == ["a", "d"]


def test_scopes(task: Made) -> None:
    made = task(
        """
class Profile(Struct):
  kind = Required(String)
  label = Default(String, '{{kind}}-{{size}}')
  size = Default(Integer, 2)
inner = Process(name='p',
                cmdline='{{profile.label}} {{name}} {{self.name}} {{max_concurrency}} {{x[0]}} {{m[k]}} {{y}}')
export(Task(name='t', processes=[inner.bind(y='near')], max_concurrency='{{profile.size}}')
       .bind(profile=Profile(kind='K'), x=List(String)(['X']), m=Map(String, String)({'k': 'M'}), y='far'))
"""
    )
    assert made.processes[0].cmdline == "K-2 p p 2 X M near"
    assert made.max_concurrency == 2


def test_the_command_line_binds_all_and_first(task: Made) -> None:
    source = "export(Task(processes=[Process(name='p', cmdline='{{a}} {{b.c}} {{d[e]}}')]).bind(a='file'))"
    assert task(source, "a=x=y", "b.c=2", "d[e]=3").processes[0].cmdline == "x=y 2 3"


def test_literals_and_late_references_are_left_for_the_runner(task: Made) -> None:
    made = task("export(SimpleTask('s', '{{&a}} {{thermos.task_id}} {{thermos.ports[x]}} {{thermos.user}}'))")
    assert made.processes[0].cmdline == "{{&a}} {{thermos.task_id}} {{thermos.ports[x]}} {{thermos.user}}"


def test_numbers_lose_fractions_and_may_be_text(task: Made) -> None:
    made = task("export(one(resources=Resources(cpu='0.5', ram=0.3 * GB, disk='{{d}}')).bind(d=5 * MB))")
    assert made.resources == Resources(0.5, 322122547, 5 << 20)


def test_loggers(task: Made) -> None:
    made = task(
        "export(one(constraints=[], processes=[a(logger=Logger(destination=LoggerDestination('both'), mode='rotate',"
        "rotate=RotatePolicy(backups=2))), b(logger={'destination': 'none'})]))"
    )
    assert [process.logger for process in made.processes] == [
        Logger("both", "rotate", RotatePolicy(backups=2)),
        Logger("none"),
    ]


def test_extensions(task: Made) -> None:
    made = task(
        "export(one(x_processes={'a': ProcessExtension(backoff=Backoff(max_s=9)), 'b': {'compress_rotated': True}}))"
    )
    assert made.x_processes["a"].backoff is not None
    assert made.x_processes["a"].backoff.max_s == 9.0
    assert made.x_processes["b"].compress_rotated


def test_ordinary_python_is_allowed(task: Made) -> None:
    made = task(
        "import math\ndef many(n):\n  return [Process(name='p%d' % i, cmdline='x') for i in range(n)]\n"
        "export(Task(name='t', processes=many(int(math.sqrt(9)))))"
    )
    assert names(made) == ["p0", "p1", "p2"]


def test_names_that_the_code_does_not_show_are_there_as_well(task: Made) -> None:
    source = "export(SimpleTask('s', globals()['Options'].java('a') + eval('java_options')('b')))"
    assert task(source).processes[0].cmdline == "-a-b"


def test_the_last_binding_counts(task: Made) -> None:
    assert task("export(SimpleTask('s', '{{a}}'))", "a=1", "a=2").processes[0].cmdline == "2"


def test_includes_are_relative_to_the_file_they_stand_in(tmp_path: Path) -> None:
    (tmp_path / "lib" / "deep").mkdir(parents=True)
    (tmp_path / "lib" / "deep" / "c.inc").write_text("command = 'deep'\n")
    (tmp_path / "lib" / "b.inc").write_text("include('deep/c.inc')\np = Process(name='p', cmdline=command)\n")
    (tmp_path / "a.thermos").write_text("include('lib/b.inc')\nexport(Task(processes=[p]))\n")
    assert load(str(tmp_path / "a.thermos")).task() == Task("p", (Process("p", "deep"),), ())


def test_equal_processes_with_loggers_are_one(task: Made) -> None:
    """pystachio compared enumerations by the identity of their classes."""
    made = task(
        "def p(): return Process(name='p', cmdline='x', logger=Logger(mode=LoggerMode('rotate')))\n"
        "export(Tasks.combine(Task(processes=[p()]), Task(name='n', processes=[p()])))"
    )
    assert names(made) == ["p"]


def test_every_struct_is_in_scope() -> None:
    assert set(structs.definitions()) <= dsl.all_names()
    made = dsl.namespace(dsl.all_names())
    assert set(made) == dsl.all_names()
    for name in structs.definitions():
        assert made[name].__name__ == name


def test_names_of_jobs_are_those_defined() -> None:
    """They are written out once more, so that knowing them does not take their import."""
    jobs = {*structs.definitions()} - {*structs.TASK_DEFINITIONS}
    assert jobs | {"Mode"} == dsl.JOB_NAMES


def test_structs_say_what_the_definitions_say() -> None:
    for name, definition in structs.definitions().items():
        parameters = inspect.signature(definition).parameters
        struct = structs.struct(name)
        assert set(struct.TYPEMAP) == set(parameters)
        for field, signature in struct.TYPEMAP.items():
            if parameters[field].default is inspect.Parameter.empty:
                assert signature.required or not signature.empty, (name, field)
            else:
                assert not signature.required, (name, field)


def test_a_struct_with_its_defaults_is_the_definition_with_its_defaults() -> None:
    task = structs.struct("Task")(processes=[structs.struct("Process")(name="p", cmdline="x", logger={})])
    raw = task.interpolate()[0].get()
    assert raw["constraints"] == ()
    assert "x_processes" not in raw
    assert raw["processes"][0]["logger"] == {"destination": "file", "mode": "standard"}
    assert Constraint() == Constraint(())
