"""The executors that jobs may name: the Thermos executor from flags, others from a file in Aurora's form.

Source of the file's form: Aurora 0.22, ``docs/features/custom-executors.md`` and ``ExecutorSettingsLoader``: a list of
``{"executor": ExecutorInfo, "task_prefix": TEXT, "volume_mounts": [Volume]}``, with Mesos' own names of fields.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final

from scheduler.core.settings import ExecutorSettings
from scheduler.model import Resources, milli
from thermos.errors import ExitCode, ThermosError

#: What Aurora's client writes into a job for Thermos.
THERMOS: Final = "AuroraExecutor"
_MODES: Final = ("RW", "RO")
_FLAGS_OF_URI: Final = ("executable", "extract", "cache")
_RESOURCES: Final = ("cpus", "mem", "disk", "gpus")


class ExecutorsInvalid(ThermosError):
    """A flag or file that describes executors is not what it should be; *problems* has all that is wrong with it."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


def executor_settings_from_flags(
    thermos_executor_path: str,
    thermos_executor_flags: str = "",
    thermos_executor_resources: Sequence[str] = (),
    thermos_executor_cpu: float = 0.25,
    thermos_executor_ram_mb: int = 128,
    thermos_home_in_sandbox: bool = False,
    global_container_mounts: Sequence[str] = (),
    name: str = THERMOS,
) -> ExecutorSettings:
    """The Thermos executor, as the scheduler's flags of those names describe it.

    A mount is ``host:container:mode``. Raises ExecutorsInvalid.
    """
    problems = []
    file = thermos_executor_path.rpartition("/")[2]
    if not file:
        problems.append(f"thermos_executor_path is {thermos_executor_path!r}: it names no file")
    mounts = []
    for mount in global_container_mounts:
        parts = mount.split(":")
        if len(parts) != 3 or not all(parts) or parts[2].upper() not in _MODES:
            problems.append(f"global_container_mounts: {mount!r} should be like /on/host:/in/container:RO, or RW")
        else:
            mounts.append({"host_path": parts[0], "container_path": parts[1], "mode": parts[2].upper()})
    if problems:
        raise ExecutorsInvalid(problems)
    # In a Docker container Mesos sets MESOS_SANDBOX; elsewhere the executor starts in its sandbox.
    home = "HOME=${MESOS_SANDBOX=.} " if thermos_home_in_sandbox else ""
    uris = [{"value": one, "executable": True} for one in (thermos_executor_path, *thermos_executor_resources)]
    command = f"{home}${{MESOS_SANDBOX=.}}/{file} {thermos_executor_flags}".strip()
    return ExecutorSettings(
        name=name,
        overhead=Resources(milli(thermos_executor_cpu), thermos_executor_ram_mb),
        raw={"name": "aurora.task", "command": {"value": command, "uris": uris}},
        volume_mounts=tuple(mounts),
    )


def parse_custom_executor_config(text: str) -> MappingProxyType[str, ExecutorSettings]:
    """The executors that *text*, the content of ``-custom_executor_config``, describes, by name.

    Raises ExecutorsInvalid with all that is wrong.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ExecutorsInvalid([f"it is no JSON: {error}"]) from None
    if not isinstance(document, list):
        raise ExecutorsInvalid(["it should be a list of executors"])
    problems: list[str] = []
    found: dict[str, ExecutorSettings] = {}
    for index, entry in enumerate(document):
        settings = _executor(entry, f"[{index}]", problems)
        if settings is not None:
            if settings.name in found:
                problems.append(f"[{index}].executor.name: there is an executor {settings.name} before it")
            found[settings.name] = settings
    if problems:
        raise ExecutorsInvalid(problems)
    return MappingProxyType(found)


def _executor(entry: object, path: str, problems: list[str]) -> ExecutorSettings | None:
    if not isinstance(entry, dict):
        problems.append(f"{path} should be an object")
        return None
    before = len(problems)
    problems += [
        f"{path}.{name} is unknown: there are executor, task_prefix and volume_mounts"
        for name in entry.keys() - {"executor", "task_prefix", "volume_mounts"}
    ]
    prefix = _text(entry, "task_prefix", path, problems)
    executor = entry.get("executor")
    name, overhead = "", Resources()
    if not isinstance(executor, dict):
        problems.append(f"{path}.executor should be an object with name, command and resources")
        executor = {}
    else:
        name = _text(executor, "name", f"{path}.executor", problems)
        _check_command(executor.get("command"), f"{path}.executor.command", problems)
        overhead = _overhead(executor.get("resources"), f"{path}.executor.resources", problems)
    mounts = _mounts(entry.get("volume_mounts"), f"{path}.volume_mounts", problems)
    if len(problems) > before:
        return None
    raw: dict[str, Any] = {key: value for key, value in executor.items() if key not in ("executor_id", "resources")}
    raw["command"] = _command(raw["command"])
    return ExecutorSettings(name=name, overhead=overhead, raw=raw, task_prefix=prefix, volume_mounts=mounts)


def _text(owner: dict[str, Any], name: str, path: str, problems: list[str]) -> str:
    value = owner.get(name)
    if isinstance(value, str) and value:
        return value
    problems.append(f"{path}.{name} should be text, is {'missing' if value is None else repr(value)}")
    return ""


def _flag(value: object) -> bool | None:
    """A boolean, which Aurora's own example writes as text; None: is none."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def _check_command(command: object, path: str, problems: list[str]) -> None:
    if not isinstance(command, dict):
        problems.append(f"{path} should be an object with value")
        return
    _text(command, "value", path, problems)
    if "shell" in command and _flag(command["shell"]) is None:
        problems.append(f"{path}.shell should be true or false, is {command['shell']!r}")
    arguments = command.get("arguments", [])
    if not isinstance(arguments, list) or not all(isinstance(one, str) for one in arguments):
        problems.append(f"{path}.arguments should be a list of texts")
    uris = command.get("uris", [])
    if not isinstance(uris, list):
        problems.append(f"{path}.uris should be a list")
        return
    for index, uri in enumerate(uris):
        where = f"{path}.uris[{index}]"
        if not isinstance(uri, dict):
            problems.append(f"{where} should be an object with value")
            continue
        _text(uri, "value", where, problems)
        problems += [
            f"{where}.{name} should be true or false, is {uri[name]!r}"
            for name in _FLAGS_OF_URI
            if name in uri and _flag(uri[name]) is None
        ]


def _command(command: dict[str, Any]) -> dict[str, Any]:
    """With booleans that Mesos takes."""
    uris = [
        {name: _flag(value) if name in _FLAGS_OF_URI else value for name, value in uri.items()}
        for uri in command.get("uris", ())
    ]
    done = {**command, "uris": uris}
    if "shell" in command:
        done["shell"] = _flag(command["shell"])
    return done


def _overhead(resources: object, path: str, problems: list[str]) -> Resources:
    if not isinstance(resources, list):
        problems.append(f"{path} should be a list of resources")
        return Resources()
    amounts = dict.fromkeys(_RESOURCES, 0.0)
    for index, one in enumerate(resources):
        name = one.get("name") if isinstance(one, dict) else None
        scalar = one.get("scalar") if isinstance(one, dict) else None
        value = scalar.get("value") if isinstance(scalar, dict) else None
        if name not in _RESOURCES:
            problems.append(f"{path}[{index}].name should be one of {', '.join(_RESOURCES)}, is {name!r}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
            problems.append(f"{path}[{index}].scalar.value should be a number from 0 on, is {value!r}")
        else:
            amounts[name] += value
    return Resources(milli(amounts["cpus"]), round(amounts["mem"]), round(amounts["disk"]), round(amounts["gpus"]))


def _mounts(mounts: object, path: str, problems: list[str]) -> tuple[dict[str, Any], ...]:
    if mounts is None:
        return ()
    if not isinstance(mounts, list):
        problems.append(f"{path} should be a list")
        return ()
    for index, mount in enumerate(mounts):
        where = f"{path}[{index}]"
        if not isinstance(mount, dict):
            problems.append(f"{where} should be an object with host_path, container_path and mode")
            continue
        _text(mount, "host_path", where, problems)
        _text(mount, "container_path", where, problems)
        if mount.get("mode") not in _MODES:
            problems.append(f"{where}.mode should be RW or RO, is {mount.get('mode')!r}")
    return tuple(mounts)
