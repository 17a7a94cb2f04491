"""Whatever a file holds, loading it ends in a configuration or in a list of its problems: never in a fault of ours."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from thermos.config import ConfigError, load
from thermos.config.structs import definitions
from thermos.definition import shapes

LITERALS = st.sampled_from([
    "3", "-1", "10**400", "0.5", "float('nan')", "True", "None", "'x'", "''", "b'z'", "'{{'", "'{{a}}'", "'{{&a}}'",
    "[]", "[1]", "{}", "{'a': 1}", "{'image': 'x'}", "object()", "len", "Process", "Process()", "Empty", "Mesos()",
    "String('{{x}}')", "Integer('q')", "LoggerMode('q')", "LoggerMode('{{a}}')", "Environment(a=1)", "order('a')",
    "Map(String, String)({'a': 'b'})", "List(String)(['a'])", "Announcer(portmap={'a': 'a'})", "Choice([String])('x')",
    "Task(name='t', processes=[Process(name='p', cmdline='x')], resources=Resources(cpu=1, ram=MB, disk=MB))",
])  # fmt: skip

FIELDS = {
    "Process": ["name", "cmdline", "max_failures", "daemon", "logger", "resources", "zzz"],
    "Task": ["name", "processes", "constraints", "resources", "x_processes", "user"],
    "Job": [
        "name", "role", "cluster", "environment", "task", "instances", "announce", "container", "update_config",
        "constraints", "metadata", "health_check_config", "lifecycle", "sla_policy", "executor_config",
    ],
}  # fmt: skip


@st.composite
def calls(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    struct = draw(st.sampled_from(sorted(FIELDS)))
    fields = draw(st.lists(st.sampled_from(FIELDS[struct]), unique=True, max_size=6))
    call = f"{struct}({', '.join(f'{field}={draw(values)}' for field in fields)})"
    if draw(st.booleans()):
        call += f".bind({draw(st.sampled_from('axi'))}={draw(LITERALS)})"
    return draw(st.sampled_from([call, call, f"[{call}, {call}]"]))


SOURCES = st.tuples(
    st.sampled_from(["export({})", "jobs = [{}]", "jobs = {}"]), st.recursive(LITERALS, calls, max_leaves=8)
).map(lambda pair: pair[0].format(pair[1]))


def loaded(text: str, suffix: str, bindings: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"config{suffix}"
        path.write_text(text, "utf-8")
        try:
            config = load(str(path), bindings)
        except ConfigError as error:
            assert error.problems
            assert str(error)
        else:
            assert config.tasks


@settings(max_examples=80, deadline=None)
@given(SOURCES, st.sampled_from([(), ("a=1",), ("a={{a}}",), ("a={{&b}}", "x.y=2")]))
def test_executed(source: str, bindings: tuple[str, ...]) -> None:
    loaded(source, ".aurora", bindings)


NAMES = sorted({shape.name for definition in definitions().values() for shape in shapes(definition)} | {"jobs", "zzz"})
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "x", "{{name}}", "{{a}}", "3"])
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=12,
)
#: Something close to a task or a job, with one part of it replaced.
TASK: dict[str, Any] = {
    "name": "t",
    "processes": [{"name": "p", "cmdline": "x", "logger": {"mode": "rotate", "rotate": {}}}],
    "constraints": [{"order": ["p"]}],
    "resources": {"cpu": 1, "ram": 1 << 20, "disk": 1 << 20},
}
JOB = {"role": "r", "cluster": "c", "environment": "e", "task": TASK, "announce": {}, "container": {"image": "x"}}


@settings(max_examples=120, deadline=None)
@given(st.sampled_from([TASK, JOB]), st.sampled_from(NAMES), JSON)
def test_plain(base: dict[str, Any], name: str, value: Any) -> None:
    loaded(json.dumps({**base, name: value}), ".json", ("a=1",))


@settings(max_examples=80, deadline=None)
@given(JSON)
def test_any_json(value: Any) -> None:
    loaded(json.dumps(value), ".json", ())


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30) | st.sampled_from(NAMES).map("{} = 1".format) | st.sampled_from(NAMES).map("[[{}]]".format))
def test_any_toml(text: str) -> None:
    loaded(text, ".toml", ())
