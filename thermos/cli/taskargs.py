"""What ``run``, ``simplerun`` and ``inspect`` have in common: a configuration, bindings, ports."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from thermos.errors import ConfigError, TaskInvalid

if TYPE_CHECKING:
    from thermos.schema import Task
    from thermos.templates import Address

_HIGHEST_PORT = 65535


def add_bindings(parser: argparse.ArgumentParser) -> None:
    """``-P`` and ``-E``."""
    parser.add_argument(
        "-P",
        "--port",
        metavar="NAME:PORT",
        action="append",
        default=[],
        help="give the port that the task calls NAME; repeatable",
    )
    parser.add_argument(
        "-E",
        "--environment",
        "--bind",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="give {{NAME}} in the configuration a value; repeatable",
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """The configuration file and which of its tasks is meant."""
    parser.add_argument("config", help="configuration file: .thermos, .aurora, .json or .toml")
    parser.add_argument("--task", metavar="NAME", help="which of its tasks; needed where it has several")
    parser.add_argument("--json", action="store_true", help="the configuration is JSON, whatever its name")
    add_bindings(parser)


def parse_ports(words: Sequence[str], problems: list[object]) -> dict[str, int]:
    """Name → number; what cannot be used is added to *problems*."""
    ports: dict[str, int] = {}
    for word in words:
        match = re.fullmatch(r"([^:\s]+):([0-9]{1,5})", word)
        if match is None or int(match[2]) > _HIGHEST_PORT:
            problems.append(f"port {word!r} is not of the form NAME:PORT, with a PORT of 0 to {_HIGHEST_PORT}")
        elif match[1] in ports:
            problems.append(f"port {match[1]!r} is given twice")
        else:
            ports[match[1]] = int(match[2])
    return ports


def load_task(
    args: argparse.Namespace, task_id: str | None = None, needs_ports: bool = True
) -> tuple[Task, dict[str, int]]:
    """The task that the command line means, and its ports. Raises ConfigError with all problems at once."""
    from thermos import config, schema
    from thermos.formats.paths import check_task_id

    found: list[object] = []
    ports = parse_ports(args.port, found)
    if task_id is not None:
        try:
            check_task_id(task_id)
        except TaskInvalid as error:
            found += error.problems
    task = None
    try:
        task = config.load(args.config, args.environment, args.json).task(args.task)
    except ConfigError as error:
        found += error.problems
    if task is not None:
        found += schema.problems(task, ports if needs_ports else None)
    if found or task is None:
        raise ConfigError(args.config, found)
    return task, ports


def bound_cmdline(cmdline: str, bindings: Sequence[str], problems: list[object]) -> str:
    """*cmdline* with ``{{NAME}}`` replaced as *bindings* say."""
    from thermos.templates import BadTemplate, parse_address, resolve

    values: dict[Address, str] = {}
    for binding in bindings:
        name, equals, value = binding.partition("=")
        try:
            if not equals:
                raise BadTemplate(binding)
            values[parse_address(name)] = value
        except BadTemplate:
            problems.append(f"{binding!r} is no binding: write NAME=VALUE")
    try:
        return resolve(cmdline, values.get, keep_literals=True)[0]
    except BadTemplate as error:
        problems.append(f"the command line: {error}")
        return cmdline


def partly_bound(value: object, ports: Mapping[str, int]) -> object:
    """*value* (parsed JSON) with the ports that are known filled in, everything else left as it is."""
    from thermos.templates import resolve

    if isinstance(value, str):
        known: dict[Address, str] = {(".thermos", ".ports", f"[{name}]"): str(number) for name, number in ports.items()}
        return resolve(value, known.get, keep_literals=True)[0]
    if isinstance(value, dict):
        return {key: partly_bound(item, ports) for key, item in value.items()}
    if isinstance(value, list):
        return [partly_bound(item, ports) for item in value]
    return value
