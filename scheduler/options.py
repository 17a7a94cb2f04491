"""What the command line of ``aurora-scheduler`` asks for, checked: all that is wrong is said at once."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from scheduler import checks
from scheduler.api.security import Security
from scheduler.core.settings import SLA_METRICS, Settings
from scheduler.core.tiers import TiersInvalid, parse_tier_config
from scheduler.flag_values import Wrong
from scheduler.flags import FLAGS
from scheduler.mesos.executors import ExecutorsInvalid, executor_settings_from_flags, parse_custom_executor_config
from scheduler.pages.paths import PLACEHOLDERS, unknown_placeholders
from scheduler.retired_flags import ignored, refused
from scheduler.webhook import WebhookConfig, WebhookInvalid, parse_webhook_config
from thermos.errors import ExitCode, ThermosError


class OptionsInvalid(ThermosError):
    """The command line or a file that it names cannot be used; says all that is wrong."""

    exit_code = ExitCode.DAMAGED  # 3, as the clients have it for a configuration that cannot be used

    def __init__(self, problems: Sequence[str], exit_code: ExitCode = ExitCode.DAMAGED) -> None:
        self.problems = tuple(problems)
        self.exit_code = exit_code
        super().__init__("; ".join(problems) if len(problems) == 1 else "\n  ".join(["", *problems]))


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. *flags*: every value by name; *settings* what the decisions need of it; *security* who may do
    what (None: everybody everything); *credential* principal and secret for Mesos; *ignored* what to tell of flags that
    were taken and do nothing."""

    flags: MappingProxyType[str, Any]
    settings: Settings
    is_local: bool = False
    webhook: WebhookConfig | None = None
    security: Security | None = None
    credential: tuple[str, str] | None = field(default=None, repr=False)
    ignored: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.flags[name]


#: What doubles, and up to which.
_DOUBLING: Final = (
    ("initial_schedule_penalty", "max_schedule_penalty"),
    ("initial_flapping_task_delay", "max_flapping_task_delay"),
    ("sla_aware_kill_retry_min_delay", "sla_aware_kill_retry_max_delay"),
)


def settings_of(values: Mapping[str, Any], problems: list[str]) -> Settings:
    """What the decisions need; what is wrong goes into *problems*."""
    given = {flag.setting: values[flag.name] for flags in FLAGS.values() for flag in flags if flag.setting is not None}
    if isinstance(given["allowed_container_types"], tuple):
        given["allowed_container_types"] = frozenset(given["allowed_container_types"])
    settings = Settings(**given)
    try:
        re.compile(settings.allowed_job_environments)
    except re.error as error:
        problems.append(f"-allowed_job_environments is no regular expression: {error}")
    if not settings.cluster_name:
        problems.append("-cluster_name is empty")
    unknown = set(settings.offer_order) - {"RANDOM", "CPU", "MEMORY", "DISK", "REVOCABLE_CPU"}
    problems += [f"-offer_order: there is no order {name}" for name in sorted(unknown)]
    for name, kinds in (
        ("sla_prod_metrics", settings.sla_prod_metrics), ("sla_non_prod_metrics", settings.sla_non_prod_metrics),
    ):  # fmt: skip
        problems += [f"-{name}: there is no kind {kind}" for kind in sorted(kinds - SLA_METRICS)]
    path = values["tier_config"]
    text = None if path is None else checks.read_text("tier_config", path, problems)
    if text is not None:
        try:
            tiers, default = parse_tier_config(text)
            settings = replace(settings, tiers=tiers, default_tier=default)
        except TiersInvalid as error:
            problems += [f"-tier_config {path}: {problem}" for problem in error.problems]
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
            problems += [f"-{problem}" for problem in error.problems]
        else:
            executors[one.name] = one
    path = values["custom_executor_config"]
    text = None if path is None else checks.read_text("custom_executor_config", path, problems)
    if text is not None:
        try:
            executors.update(parse_custom_executor_config(text))
        except ExecutorsInvalid as error:
            problems += [f"-custom_executor_config {path}: {problem}" for problem in error.problems]
    return replace(settings, executors=MappingProxyType(executors))


def _webhook_of(path: str | None, problems: list[str]) -> WebhookConfig | None:
    text = None if path is None else checks.read_text("webhook_config", path, problems)
    if text is None:
        return None
    try:
        return parse_webhook_config(text)
    except WebhookInvalid as error:
        problems += [f"-webhook_config {path}: {problem}" for problem in error.problems]
        return None


def values_of(args: argparse.Namespace, defaults: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """The value of every flag, by name: what was given, or of *defaults*, or of the table."""
    values: dict[str, Any] = {}
    for flags in FLAGS.values():
        for flag in flags:
            given = getattr(args, flag.name)
            if isinstance(given, Wrong):
                problems.append(f"-{flag.name}: {given.problem}")
                given = None
            values[flag.name] = given if given is not None else defaults.get(flag.name, flag.default)
    return values


def options_of(args: argparse.Namespace, hostname: str, defaults: Mapping[str, Any] | None = None) -> Options:
    """What *args* ask for. *defaults*: of flags that were not given, instead of the table's. Raises OptionsInvalid."""
    unknown: tuple[str, ...] = getattr(args, "unknown", ())
    retired: Mapping[str, str] = getattr(args, "retired", {})
    problems = list(unknown)
    values = values_of(args, defaults or {}, problems)
    problems += refused(retired, values["shiro_ini_path"] is not None, "://" in values["store"])
    values["hostname"] = values["hostname"] or hostname
    problems += [
        f"-task_page_url: there is no {{{name}}}, only {', '.join(f'{{{known}}}' for known in PLACEHOLDERS)}"
        for name in unknown_placeholders(values["task_page_url"])
    ]
    if not args.local and values["mesos_master_address"] is None:
        problems.append("-mesos_master_address is missing (or use --local, on one machine without a cluster)")
    if not args.local and not values["thermos_executor_path"] and not values["custom_executor_config"]:
        problems.append("-thermos_executor_path is missing: without an executor no job can run")
    problems += [
        f"-{least} is more than -{most}, up to which it doubles"
        for least, most in _DOUBLING
        if values[least] > values[most]
    ]
    checks.check_addresses(values, problems)
    checks.check_tls(values, problems)
    security = checks.security_of(values, problems)
    credential = checks.credential_of(values, problems)
    webhook = _webhook_of(values["webhook_config"], problems)
    settings = replace(settings_of(values, problems), hostname=values["hostname"])
    if problems:
        raise OptionsInvalid(problems, ExitCode.USAGE if unknown else ExitCode.DAMAGED)
    return Options(
        MappingProxyType(values), settings, bool(args.local), webhook, security, credential, ignored(retired)
    )
