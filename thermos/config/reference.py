"""Generated references: ``python -m thermos.config.reference --write`` or ``--check``.

``docs/reference/configuration.md`` and ``docs/reference/task.schema.json``, made from the definitions of the
schema, so that neither can say something else than the code does.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from thermos import generated
from thermos.config import dsl, plain_files
from thermos.config.structs import TASK_DEFINITIONS, definitions
from thermos.definition import FieldShape, Kind, plain, shapes

#: Where the pages lie in a checkout.
DIRECTORY: Final = Path(__file__).parent.parent.parent / "docs" / "reference"

_SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
#: Numbers that are written as text, and texts with references, which may become numbers.
_WRITTEN: Final = {
    "int": r"^ *[+-]?[0-9]+ *$",
    "float": r"^ *[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)? *$",
}
_REFERENCE: Final = r"^.*\{\{.+\}\}.*$"

_HEAD: Final = """\
<!-- Made by `python -m thermos.config.reference --write`; do not edit. -->
# Configuration

A configuration is a file that says what to run:

| name ends with | what it is | what it holds |
| --- | --- | --- |
| `.thermos` | Python with the names below in scope | tasks: each given to `export(task)` |
| `.aurora` | the same | jobs: in a list called `jobs`; client hooks may be in a list called `hooks` |
| `.json` | plain data, in the fields below | a task ([its schema](task.schema.json)), a job, or `{"jobs": [...]}` |
| `.toml` | plain data, in the fields below | a task |

Files of Apache Aurora work as they are, on Python 3. A `.thermos` or `.aurora` file is executed: load only what you
would run. All problems of a file are reported at once, with the line that is at fault.

`include('other.aurora')` executes another file, relative to the one it stands in, as if it stood there. A struct is a
value: `process(name='other')` is a copy that differs in its name, `task.bind(size=3)` one in which `{{size}}` is 3.
Structs of your own are made as `class Profile(Struct): size = Default(Integer, 3)`.

## References

`{{name}}`, `{{a.b}}`, `{{a[b]}}` in any text, and in texts that stand for numbers, are replaced by what they name.
Looked up are: the fields of the object itself, what is bound to it, then the same of what it lies in. Values may hold
references, and names may be put together: `{{port[{{name}}]}}`. `{{&name}}` is the text `{{name}}` itself (in a job,
which is read once more on the agent: `{{&&name}}`). A value is bound with `.bind(...)` in the file, or with
`-E NAME=VALUE` (`aurora`: `--bind NAME=VALUE`) for all of the file.

Some are bound later, all others must have a value when the file is loaded:

| reference | value | when |
| --- | --- | --- |
| `{{thermos.task_id}}` | the task's id | a task starts |
| `{{thermos.user}}` | the user it runs as; in a job, the job's role | a task starts; a job is loaded |
| `{{thermos.ports[NAME]}}` | the number of a port; using it is what requests the port | a task starts |
| `{{mesos.instance}}` | the number of the instance | an instance starts |
| `{{mesos.hostname}}` | its agent | an instance starts |
| `{{mesos.role}}`, `{{mesos.cluster}}` | the job's | a job is loaded |

"""


def configuration_page() -> str:
    """The page on configurations, as Markdown."""
    return "".join(_page())


def _page() -> Iterator[str]:
    yield _HEAD
    yield "## Structs of a task\n\n"
    for definition in _ordered(TASK_DEFINITIONS):
        yield from _struct_section(definition)
    yield "## Structs of a job\n\n"
    jobs = {name: item for name, item in definitions().items() if name not in TASK_DEFINITIONS}
    for definition in _ordered(jobs):
        yield from _struct_section(definition)
    yield (
        "`MesosJob` is another name of `Job`; `Service` is `Job(service=True)`; `DefaultLifecycleConfig` is\n"
        "`LifecycleConfig(http=HttpLifecycleConfig())` and `DisableLifecycle` is `LifecycleConfig()`.\n\n"
    )
    yield "## Helpers\n\n| helper | what it gives |\n| --- | --- |\n"
    for call, helper in HELPERS.items():
        yield f"| `{call}` | {_summary(helper)} |\n"
    yield (
        "\n`BYTES`, `KB`, `MB`, `GB` and `TB` are numbers of bytes: `ram=256 * MB`; 1 KB is 1024 bytes.\n"
        "`Struct`, `String`, `Integer`, `Float`, `Boolean`, `List`, `Map`, `Enum`, `Choice`, `Required`, `Default`\n"
        "and `Environment` are pystachio's.\n\n"
    )
    yield f"## Plain data\n\n{_as_markdown(plain_files.__doc__ or '')}\n"


#: What stands in scope as a helper, as it is called, and where its description is.
HELPERS: Final[Mapping[str, Callable[..., Any]]] = {
    "order(a, b, ...)": dsl.order,
    "SimpleTask(name, command)": dsl.Tasks.simple,
    "Tasks.simple(name, command)": dsl.Tasks.simple,
    "SequentialTask(...)": dsl.Tasks.sequential_task,
    "Tasks.sequential(task)": dsl.Tasks.sequential,
    "Tasks.combine(a, b, ..., field=value)": dsl.Tasks.combine,
    "combine_tasks(a, b, ...)": dsl.Tasks.combine,
    "Tasks.concat(a, b, ..., field=value)": dsl.Tasks.concat,
    "concat_tasks(a, b, ...)": dsl.Tasks.concat,
    "Options.java(...)": dsl.Options.java,
    "java_options(...)": dsl.Options.java,
    "Options.python(...)": dsl.Options.python,
    "python_options(...)": dsl.Options.python,
    "Units.resources_sum(a, ...)": dsl.Units.resources_sum,
    "Units.resources_max(a, ...)": dsl.Units.resources_max,
    "Units.finalization_wait_sum(tasks)": dsl.Units.finalization_wait_sum,
    "Units.finalization_wait_max(tasks)": dsl.Units.finalization_wait_max,
    "Units.processes_merge(tasks)": dsl.Units.processes_merge,
    "Units.constraints_merge(tasks)": dsl.Units.constraints_merge,
}


def _ordered(known: Mapping[str, type]) -> Iterable[type]:
    """The structs in the order people look for them: the whole before its parts."""
    return reversed(list(known.values()))


def _struct_section(definition: type) -> Iterator[str]:
    yield f"### {definition.__name__}\n\n{_as_markdown(inspect.getdoc(definition) or '')}\n"
    yield "| field | type | default | meaning |\n| --- | --- | --- | --- |\n"
    for shape in shapes(definition):
        yield f"| `{shape.name}` | {_type(shape)} | {_default_words(shape)} | {_meaning(shape)} |\n"
    yield "\n"


def _type(shape: FieldShape) -> str:
    words = _type_words(shape.kind, shape)
    return f"{words} ({shape.meta['unit']})" if shape.meta["unit"] else words


def _type_words(kind: Kind, shape: FieldShape) -> str:
    if kind.base == "list":
        return f"list of {_type_words(kind.of[0], shape)}"
    if kind.base == "map":
        return f"map of text to {_type_words(kind.of[0], shape)}"
    if kind.base == "struct":
        return " or ".join(f"[{item.__name__}](#{item.__name__.lower()})" for item in kind.of)
    if shape.meta["enum"]:
        return f"{shape.meta['enum']}: " + ", ".join(f"`{choice}`" for choice in shape.meta["choices"])
    return {"str": "text", "int": "integer", "float": "number", "bool": "boolean"}[kind.base]


def _default_words(shape: FieldShape) -> str:
    default = shape.meta["dsl_default"]
    if default is None and shape.required:
        return "required"
    if default is None:
        default = shape.default
    if default is None or (shape.meta["sparse"] and not default and shape.kind.base != "bool"):
        return "none"
    if shape.kind.base == "struct":
        given = {
            item.name: getattr(default, item.name)
            for item in shapes(type(default))
            if getattr(default, item.name) != item.default
        }
        inner = ", ".join(f"{name}={type(value).__name__}()" for name, value in given.items())
        return f"`{type(default).__name__}({inner})`"
    return f"`{json.dumps(plain(default))}`"


def _meaning(shape: FieldShape) -> str:
    meta = shape.meta
    words = [str(meta["doc"])]
    limits = [
        f"{label} {meta[key]}"
        for key, label in (("at_least", "at least"), ("more_than", "more than"), ("at_most", "at most"))
        if meta[key] is not None
    ]
    if limits:
        words.append(f"{', '.join(limits).capitalize()}.")
    return " ".join(words).replace("|", "\\|")


def _summary(helper: Callable[..., Any]) -> str:
    """The paragraphs of a helper's description as one line."""
    text = (inspect.getdoc(helper) or "").replace("``", "`").replace("*", "`")
    return " ".join(text.partition("\n\nRaises:")[0].split()).replace("|", "\\|")


def _as_markdown(text: str) -> str:
    """A docstring's markup as Markdown's."""
    lines = []
    for line in text.replace("``", "`").splitlines():
        lines.append(line.replace("::", ":") if line.endswith("::") else line)
    return "\n".join(lines).rstrip() + "\n"


def task_schema() -> str:
    """The JSON Schema of a task, as JSON text."""
    schema = {
        "$schema": _SCHEMA_DIALECT,
        "title": "Thermos task",
        "$comment": "Made by python -m thermos.config.reference --write; do not edit.",
        "$ref": "#/$defs/Task",
        "$defs": {name: _struct_schema(definition) for name, definition in sorted(TASK_DEFINITIONS.items())},
    }
    return json.dumps(schema, indent=2) + "\n"


def _struct_schema(definition: type) -> dict[str, Any]:
    required = [s.name for s in shapes(definition) if s.required and s.meta["dsl_default"] is None]
    properties = {}
    for shape in shapes(definition):
        unit = f" In {shape.meta['unit']}." if shape.meta["unit"] else ""
        properties[shape.name] = {"description": _meaning(shape) + unit, **_value_schema(shape.kind, shape)}
        if not shape.required and shape.default is not None:
            properties[shape.name]["default"] = plain(shape.default)
    result = {
        "type": "object",
        "description": (inspect.getdoc(definition) or "").partition("\n\n")[0].replace("\n", " "),
        "properties": properties,
    }
    return {**result, "required": required} if required else result


def _value_schema(kind: Kind, shape: FieldShape) -> dict[str, Any]:
    if kind.base == "list":
        return {"type": "array", "items": _value_schema(kind.of[0], shape)}
    if kind.base == "map":
        return {"type": "object", "additionalProperties": _value_schema(kind.of[0], shape)}
    if kind.base == "struct":
        return {"$ref": f"#/$defs/{kind.of[0].__name__}"}
    if shape.meta["choices"]:
        return {"enum": list(shape.meta["choices"])}
    if kind.base == "str":
        return {"type": "string"}
    if kind.base == "bool":
        return {"anyOf": [{"type": "boolean"}, {"enum": ["true", "false"]}, {"type": "string", "pattern": _REFERENCE}]}
    number: dict[str, Any] = {"type": "integer" if kind.base == "int" else "number"}
    for key, word in (("at_least", "minimum"), ("more_than", "exclusiveMinimum"), ("at_most", "maximum")):
        if shape.meta[key] is not None:
            number[word] = shape.meta[key]
    written = (
        r"^ *[+-]?[0-9]+ *$" if kind.base == "int" else r"^ *[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)? *$"
    )
    return {"anyOf": [number, {"type": "string", "anyOf": [{"pattern": written}, {"pattern": _REFERENCE}]}]}


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "configuration.md": configuration_page,
    "task.schema.json": task_schema,
}


def main(argv: list[str] | None = None) -> int:
    """Write the pages, or check that they are what would be written; the exit code."""
    return generated.main("thermos.config.reference", PAGES, DIRECTORY, argv)


if __name__ == "__main__":
    sys.exit(main())
