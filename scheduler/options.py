"""What the command line of ``aurora-scheduler`` asks for, checked: all that is wrong is said at once."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from scheduler.core.settings import SLA_METRICS, Settings
from scheduler.core.tiers import parse_tier_config
from scheduler.flags import FLAGS, truth
from scheduler.mesos.executors import ExecutorsInvalid, executor_settings_from_flags, parse_custom_executor_config
from scheduler.pages.paths import PLACEHOLDERS, unknown_placeholders
from scheduler.webhook import WebhookConfig, WebhookInvalid, parse_webhook_config
from thermos.errors import ExitCode, ThermosError


class OptionsInvalid(ThermosError):
    """The command line or a file that it names cannot be used; says all that is wrong."""

    exit_code = ExitCode.DAMAGED  # 3, as the clients have it for a configuration that cannot be used

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems) if len(problems) == 1 else "\n  ".join(["", *problems]))


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. *flags*: every value by name; *settings* what the decisions need of it."""

    flags: MappingProxyType[str, Any]
    settings: Settings
    is_local: bool = False
    webhook: WebhookConfig | None = None

    def __getitem__(self, name: str) -> Any:
        return self.flags[name]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add every flag of the table."""
    for area, flags in FLAGS.items():
        group = parser.add_argument_group(area)
        for flag in flags:
            more: dict[str, Any] = {"nargs": "?", "const": True, "metavar": "true|false"} if flag.read is truth else {}
            if flag.read is not truth:
                more["metavar"] = "VALUE"
            group.add_argument(
                *flag.spellings, dest=flag.name, type=flag.read, default=flag.default, help=flag.doc, **more
            )


def _read(path: str, what: str, problems: list[str]) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{what} {path} cannot be read: {getattr(error, 'strerror', None) or error}")
        return None


def settings_of(values: dict[str, Any]) -> Settings:
    """What the decisions need. Raises OptionsInvalid with all problems."""
    problems: list[str] = []
    given = {flag.setting: values[flag.name] for flags in FLAGS.values() for flag in flags if flag.setting is not None}
    if isinstance(given["allowed_container_types"], tuple):
        given["allowed_container_types"] = frozenset(given["allowed_container_types"])
    settings = Settings(**given)
    try:
        re.compile(settings.allowed_job_environments)
    except re.error as error:
        problems.append(f"allowed_job_environments is no regular expression: {error}")
    unknown = set(settings.offer_order) - {"RANDOM", "CPU", "MEMORY", "DISK", "REVOCABLE_CPU"}
    problems += [f"offer_order: there is no order {name}" for name in sorted(unknown)]
    for name, kinds in (
        ("sla_prod_metrics", settings.sla_prod_metrics), ("sla_non_prod_metrics", settings.sla_non_prod_metrics),
    ):  # fmt: skip
        problems += [f"{name}: there is no kind {kind}" for kind in sorted(kinds - SLA_METRICS)]
    if values["tier_config"] is not None:
        text = _read(values["tier_config"], "tier_config", problems)
        if text is not None:
            try:
                tiers, default = parse_tier_config(text)
                settings = replace(settings, tiers=tiers, default_tier=default)
            except ThermosError as error:
                problems.append(f"tier_config {values['tier_config']}: {error}")
    executors = {}
    if values["thermos_executor_path"]:
        try:
            one = executor_settings_from_flags(
                values["thermos_executor_path"],
                values["thermos_executor_flags"],
                values["thermos_executor_resources"],
                values["thermos_executor_cpu"],
                values["thermos_executor_ram"],
                values["thermos_home_in_sandbox"],
                values["global_container_mounts"],
            )
        except ExecutorsInvalid as error:
            problems += error.problems
        else:
            executors[one.name] = one
    if values["custom_executor_config"] is not None:
        text = _read(values["custom_executor_config"], "custom_executor_config", problems)
        if text is not None:
            try:
                executors.update(parse_custom_executor_config(text))
            except ThermosError as error:
                problems.append(f"custom_executor_config {values['custom_executor_config']}: {error}")
    if problems:
        raise OptionsInvalid(problems)
    return replace(settings, executors=MappingProxyType(executors))


def _webhook_of(path: str | None, problems: list[str]) -> WebhookConfig | None:
    text = None if path is None else _read(path, "webhook_config", problems)
    if text is None:
        return None
    try:
        return parse_webhook_config(text)
    except WebhookInvalid as error:
        problems += [f"webhook_config {path}: {problem}" for problem in error.problems]
        return None


def options_of(args: argparse.Namespace, hostname: str, defaults: Mapping[str, Any] | None = None) -> Options:
    """What *args* ask for. *defaults*: of flags that were not given, instead of the table's. Raises OptionsInvalid."""
    values = {}
    for flags in FLAGS.values():
        for flag in flags:
            value = getattr(args, flag.name)
            is_given = value is not flag.default and value != flag.default
            values[flag.name] = value if is_given or not defaults else defaults.get(flag.name, value)
    values["hostname"] = values["hostname"] or hostname
    problems = [
        f"task_page_url: there is no {{{name}}}, only {', '.join(f'{{{known}}}' for known in PLACEHOLDERS)}"
        for name in unknown_placeholders(values["task_page_url"])
    ]
    if not args.local and values["mesos_master_address"] is None:
        problems.append("-mesos_master_address is missing (or use --local, on one machine without a cluster)")
    if not args.local and not values["thermos_executor_path"] and not values["custom_executor_config"]:
        problems.append("-thermos_executor_path is missing: without an executor no job can run")
    if (values["tls_cert"] is None) != (values["tls_key"] is None):
        problems.append("-tls_cert and -tls_key belong together")
    webhook = _webhook_of(values["webhook_config"], problems)
    try:
        settings = replace(settings_of(values), hostname=values["hostname"])
    except OptionsInvalid as error:
        problems += error.problems
    if problems:
        raise OptionsInvalid(problems)
    return Options(MappingProxyType(values), settings, bool(args.local), webhook)
