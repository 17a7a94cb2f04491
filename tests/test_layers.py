"""Every import points the allowed way, and pure code imports only what is pure."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parent.parent
OURS: Final = ("thermos", "detectors", "observer_static", "scheduler")

FACTS: Final = frozenset({
    "thermos.states", "thermos.errors", "thermos.definition", "thermos.templates", "thermos.schema",
    "thermos.records", "thermos.mesos",
})  # fmt: skip
SHELL: Final = FACTS | {"thermos.core", "thermos.formats", "thermos.checkpoints", "thermos.host"}
ANYTHING_BUT_CLI: Final = SHELL | {
    "thermos", "thermos.config", "thermos.runner", "thermos.executor", "thermos.health",
    "thermos.announce", "thermos.testing", "thermos.generated", "thermos.lean", "thermos.words",
    "thermos.host.usage", "thermos.host.http_client",
    "detectors", "observer_static", "scheduler",
}  # fmt: skip

SCHEDULER_FACTS: Final = FACTS | {"scheduler.states", "scheduler.model", "thermos.formats"}

#: Layer → the layers it may import besides itself. A module lies in the longest one that fits its name.
ARROWS: Final[dict[str, frozenset[str]]] = {
    "thermos.states": frozenset(),
    "thermos.errors": frozenset({"thermos.states"}),
    "thermos.definition": frozenset({"thermos.states", "thermos.errors"}),
    "thermos.templates": frozenset({"thermos.states", "thermos.errors"}),
    "thermos.schema": frozenset({"thermos.states", "thermos.errors", "thermos.definition", "thermos.templates"}),
    "thermos.records": frozenset({"thermos.states", "thermos.errors"}),
    "thermos.mesos": frozenset({"thermos.states", "thermos.errors"}),
    "thermos.core": FACTS,
    "thermos.formats": FACTS,
    "thermos.config": FACTS | {"thermos.formats", "thermos.generated"},
    "thermos.checkpoints": FACTS | {"thermos.core", "thermos.formats"},
    "thermos.words": FACTS | {"thermos.core"},
    "thermos.host": FACTS | {"thermos.core", "thermos.formats"},
    "thermos.host.usage": FACTS | {"thermos.core", "thermos.host"},
    "thermos.host.http_client": frozenset({"thermos.host"}),
    "thermos.runner": SHELL | {"thermos.lean", "thermos"},  # its version, where it is asked for
    "thermos.executor": SHELL
    | {"thermos", "thermos.lean"}
    | {"thermos.runner.boot", "thermos.runner.spawn", "thermos.runner.control", "thermos.words", "thermos.health"}
    | {"thermos.config.job_json", "thermos.config.job_schema", "thermos.config.ports", "thermos.announce"}
    | {"thermos.config.probe_schema", "thermos.config.probe_checks"}
    | {"thermos.host.http_client", "thermos.host.usage", "observer_static", "detectors"},
    "thermos.health": SHELL | {"thermos.host.http_client", "thermos.config.job_schema"},
    "thermos.announce": SHELL | {"thermos.config.job_schema"},
    "thermos.cli": ANYTHING_BUT_CLI,
    "thermos.testing": ANYTHING_BUT_CLI,
    "thermos.generated": frozenset(),
    "thermos.lean": frozenset(),
    "thermos.reference": ANYTHING_BUT_CLI,  # describes all of it
    "thermos": ANYTHING_BUT_CLI,  # its __init__: the public API
    "detectors": SHELL,
    "observer_static": SHELL | {"thermos", "detectors", "thermos.words", "thermos.host.usage", "thermos.generated"},
    "scheduler.states": frozenset({"thermos.formats"}),
    "scheduler.model": frozenset({"scheduler.states", "thermos.formats"}),
    "scheduler.core": SCHEDULER_FACTS,
    "scheduler.wire": SCHEDULER_FACTS,
    "scheduler.store": SCHEDULER_FACTS | {"scheduler.core", "scheduler.wire"},
    "scheduler.mesos": SCHEDULER_FACTS | {"scheduler.core", "thermos.announce"},
    "scheduler.api": SCHEDULER_FACTS
    | {"scheduler.core", "scheduler.wire", "thermos", "thermos.config", "thermos.generated"}
    | {"observer_static.serve.server"},  # waitress with its limits: hardened once, for both
    "scheduler.pages": SCHEDULER_FACTS
    | {"scheduler.core", "scheduler.api.backend", "scheduler.api.options", "observer_static"}
    | {"thermos", "thermos.generated"},
    "scheduler.local": SCHEDULER_FACTS | {"thermos.host"},
    "scheduler.client": SCHEDULER_FACTS
    | {"scheduler.wire", "scheduler.core.submission", "thermos", "thermos.config", "thermos.generated"},
    "scheduler": SCHEDULER_FACTS
    | {"scheduler.core", "scheduler.wire", "scheduler.store", "scheduler.mesos", "scheduler.api", "scheduler.pages"}
    | {"scheduler.local", "thermos", "thermos.generated", "thermos.config", "thermos.host.clock"},
}

#: All that a pure layer may import from the standard library: nothing with a clock, a file or chance in it.
PURE_STDLIB: Final = frozenset({
    "__future__", "abc", "bisect", "collections", "copy", "dataclasses", "enum", "fractions",
    "functools", "graphlib", "heapq", "itertools", "json", "math", "operator", "re", "string", "sys", "types",
    "typing",
})  # fmt: skip
#: What one of them has beside it. A time zone is a value, too; what time it is nobody there may ask.
PURE_MORE: Final[dict[str, frozenset[str]]] = {"scheduler.core": frozenset({"datetime"})}
PURE_LAYERS: Final = frozenset({*FACTS, "thermos.core", "scheduler.core"})

#: Bytes in, values out: a format neither waits nor talks nor rolls dice.
NOT_IN_FORMATS: Final = frozenset({
    "asyncio", "fcntl", "http", "logging", "multiprocessing", "os", "pathlib", "random", "secrets",
    "select", "selectors", "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time",
})  # fmt: skip

#: Other people's packages: who may import which.
THIRD_PARTY: Final[dict[str, frozenset[str]]] = {
    "thermos.config": frozenset({"pystachio"}),
    "thermos.host.usage": frozenset({"psutil"}),
    "thermos.executor": frozenset({"h11"}),
    "thermos.host.http_client": frozenset({"h11"}),
    "thermos.health": frozenset({"h2"}),
    "thermos.announce": frozenset({"kazoo"}),
    "observer_static": frozenset({"jinja2", "markupsafe", "prometheus_client", "regex", "waitress", "werkzeug"}),
    "scheduler": frozenset({"h11"}),
    "scheduler.core": frozenset({"cronsim"}),  # pure: a schedule and a time in, times out
    "scheduler.store": frozenset({"psycopg"}),
    "scheduler.mesos": frozenset({"kazoo"}),
    "scheduler.api": frozenset({"waitress", "werkzeug", "prometheus_client"}),
    "scheduler.pages": frozenset({"jinja2", "markupsafe"}),
    "scheduler.local": frozenset({"h11"}),
    "scheduler.client": frozenset({"kazoo", "requests", "urllib3"}),
}


class Import(NamedTuple):
    module: str
    line: int


def layer_of(module: str, layers: frozenset[str] = frozenset(ARROWS)) -> str | None:
    """The longest layer that *module* lies in, or None; ``thermos``, the public API, holds only itself."""
    name = module
    while name:
        if name in layers and (name != "thermos" or module == "thermos"):
            return name
        name = name.rpartition(".")[0]
    return None


def imports(tree: ast.AST, module: str, is_package: bool, known: frozenset[str]) -> Iterator[Import]:
    """Every module that *tree* imports, by absolute name; ``from a import b`` names a.b if that is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                yield Import(submodule if submodule in known else base, node.lineno)
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0] if node.args else None
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield Import(str(first.value), node.lineno)


def faults(module: str, source: str, *, is_package: bool = False, known: frozenset[str]) -> list[str]:
    """One line for each import in *source* that *module* may not make."""
    layer = layer_of(module)
    if layer is None:
        return [f"{module} lies in no layer: give it one in ARROWS"]
    found = []
    for target, line in imports(ast.parse(source), module, is_package, known):
        top = target.partition(".")[0]
        if top in OURS:
            target_layer = layer_of(target)
            if target_layer is None:
                found.append(f"{module}:{line} imports {target}, which lies in no layer")
            elif target_layer != layer and not {target, target_layer} & ARROWS[layer]:
                found.append(f"{module}:{line} imports {target}: {layer} may not import {target_layer}")
        elif top in sys.stdlib_module_names:
            if layer in PURE_LAYERS and top not in PURE_STDLIB | PURE_MORE.get(layer, frozenset()):
                found.append(f"{module}:{line} imports {target}: {layer} is pure")
            elif layer == "thermos.formats" and top in NOT_IN_FORMATS:
                found.append(f"{module}:{line} imports {target}: a format only turns bytes into values")
        elif top not in THIRD_PARTY.get(layer, frozenset()):
            found.append(f"{module}:{line} imports {target}: {layer} may not import other people's {top}")
    return found


def modules() -> dict[str, Path]:
    found = {}
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES: Final = modules()
KNOWN: Final = frozenset(MODULES)


def test_the_walk_finds_the_packages() -> None:
    assert set(OURS) <= KNOWN
    assert {"thermos.core", "thermos.formats", "thermos.states"} <= KNOWN


@pytest.mark.parametrize("module", MODULES)
def test_imports(module: str) -> None:
    path = MODULES[module]
    found = faults(module, path.read_text("utf-8"), is_package=path.name == "__init__.py", known=KNOWN)
    assert not found, "\n".join(found)


def test_every_arrow_names_layers() -> None:
    for layer, allowed in ARROWS.items():
        assert all(layer_of(name) for name in allowed), layer
        assert "thermos.cli" not in allowed, f"{layer}: nothing imports cli"


def test_the_arrows_have_no_cycle_below_the_programs() -> None:
    """Without those that may see everything, an order exists: each layer comes after all it imports."""
    rest = {
        layer: {layer_of(name) for name in allowed}
        for layer, allowed in ARROWS.items()
        if layer not in ("thermos", "thermos.cli", "thermos.testing", "thermos.reference")
    }
    while rest:
        free = [layer for layer, allowed in rest.items() if not allowed & rest.keys() - {layer}]
        assert free, f"these import each other: {sorted(rest)}"
        for layer in free:
            del rest[layer]


@pytest.mark.parametrize(
    "module, source, why",
    [
        ("thermos.core.x", "import os", "is pure"),
        ("thermos.core.x", "from time import monotonic", "is pure"),
        ("thermos.core.x", "def f():\n    import random", "is pure"),
        ("thermos.core.x", "import logging.handlers", "is pure"),
        ("thermos.core.x", "import pystachio", "other people's"),
        ("thermos.core.x", "from thermos.formats import paths", "may not import thermos.formats"),
        ("thermos.core.x", "from ..formats import paths", "may not import thermos.formats"),
        ("thermos.core.x", "from .. import formats", "may not import thermos.formats"),
        ("thermos.core.x", "import thermos", "may not import thermos"),
        ("thermos.core.x", "from importlib import import_module", "is pure"),
        ("thermos.formats.x", "from thermos.core.state import RunnerState", "may not import thermos.core"),
        ("thermos.formats.x", "import socket", "only turns bytes"),
        ("thermos.states", "import thermos.records", "may not import thermos.records"),
        ("thermos.host.x", "import thermos.runner", "may not import thermos.runner"),
        ("thermos.runner.x", "from thermos.cli import main", "may not import thermos.cli"),
        ("thermos.runner.x", "from thermos import config", "may not import thermos.config"),
        ("thermos.runner.x", "if TYPE_CHECKING:\n    import jinja2", "other people's jinja2"),
        ("thermos.executor.x", "import scheduler", "may not import scheduler"),
        ("scheduler.x", "import thermos.executor.main", "may not import thermos.executor"),
        ("scheduler.x", "import thermos.host.journal", "may not import thermos.host"),
        ("thermos", "from .cli.main import main", "may not import thermos.cli"),
        ("thermos.runner.x", 'importlib.import_module("thermos.cli.main")', "may not import thermos.cli"),
        ("thermos.novelty", "", "lies in no layer"),
        ("thermos.cli.x", "import thermos.novelty", "lies in no layer"),
    ],
)
def test_a_wrong_arrow_is_found(module: str, source: str, why: str) -> None:
    known = KNOWN | {"thermos.config", "thermos.formats.paths"}
    found = faults(module, source, is_package=module in OURS, known=known)
    assert len(found) == 1
    assert why in found[0]


@pytest.mark.parametrize(
    "module, source",
    [
        ("thermos.core.x", "import dataclasses\nfrom collections.abc import Mapping\nfrom . import planner"),
        ("thermos.runner.x", "import os\nfrom thermos.host import clock\nimport thermos.states"),
        ("thermos.config.load", "import pystachio.config"),
        ("scheduler.main", "import thermos.host.clock"),
        ("scheduler.main", "from thermos.host import clock"),
        ("thermos.cli.main", "import scheduler\nimport thermos\nfrom . import run"),
    ],
)
def test_a_right_arrow_is_not(module: str, source: str) -> None:
    known = KNOWN | {"thermos.core.planner", "thermos.host.clock"}
    assert faults(module, source, known=known) == []
