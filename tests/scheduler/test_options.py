"""The command line of the scheduler: Aurora's spelling and ours, and all that is wrong at once."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from scheduler.core.settings import Settings
from scheduler.flag_values import duration, megabytes, pairs, truth
from scheduler.flags import FLAGS
from scheduler.main import build_parser, main
from scheduler.options import Options, OptionsInvalid, options_of

NEEDED = ("-mesos_master_address", "zk://h/mesos", "-thermos_executor_path", "/usr/bin/thermos_executor")


def options(*words: str, needed: tuple[str, ...] = NEEDED) -> Options:
    return options_of(build_parser().parse_args([*needed, *words]), "host.example")


@pytest.mark.parametrize(
    "words",
    [
        ("-cluster_name=west",), ("-cluster_name", "west"), ("--cluster_name=west",), ("--cluster-name", "west"),
    ],
)  # fmt: skip
def test_every_spelling(words: tuple[str, ...]) -> None:
    assert options(*words).settings.cluster_name == "west"


def test_defaults_are_those_of_the_settings() -> None:
    settings = options().settings
    assert settings.hostname == "host.example"
    assert settings.transient_task_state_timeout_s == 300
    assert list(settings.executors) == ["AuroraExecutor"]


@pytest.mark.parametrize(
    "text, seconds", [("5mins", 300), ("1hrs", 3600), ("30s", 30), ("2d", 172800), ("250ms", 0.25)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "read, text", [(duration, "5"), (megabytes, "12"), (truth, "yes"), (pairs, "a"), (pairs, "=b")]
)
def test_values_that_are_none(read: Any, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"should be|is no"):
        read(text)


def test_flags_without_a_value_are_true() -> None:
    assert options("-hold_offers_forever").settings.hold_offers_forever is True
    assert options("-hold_offers_forever=false").settings.hold_offers_forever is False


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    tiers = tmp_path / "tiers.json"
    tiers.write_text("{}")
    with pytest.raises(OptionsInvalid) as caught:
        options(
            "-tls_cert", "x", "-offer_order", "CPU,SIZE", "-allowed_job_environments", "(", "-tier_config", str(tiers),
            "-custom_executor_config", str(tmp_path / "none"), "-thermos_executor_path", "/x/",
            "-sla_prod_metrics", "MEDIANS,MEANS", needed=(),
        )  # fmt: skip
    text = str(caught.value)
    for part in ("-mesos_master_address", "thermos_executor_path", "-tls_cert and -tls_key", "no order SIZE",
                     "no kind MEANS",
                 "allowed_job_environments", "tier_config", "custom_executor_config"):  # fmt: skip
        assert part in text, part


def test_a_wrong_configuration_ends_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 3
    assert "-mesos_master_address is missing" in capsys.readouterr().err


def test_a_wrong_file_of_users_ends_with_3_before_anything_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    users, store = tmp_path / "shiro.ini", tmp_path / "state.db"
    flags = ["-cluster_name", "west", "-mesos_master_address", "127.0.0.1:1", "-shiro_ini_path", str(users)]
    flags += ["-thermos_executor_path", "/x/thermos_executor", "-store", str(store)]
    assert main(flags) == 3
    assert f"{users}: " in (said := capsys.readouterr().err) and "No such file" in said
    users.write_text("[roles]\nops = x\n[main]\n")
    assert main(flags) == 3
    assert "line 3: [main] is not understood" in capsys.readouterr().err
    assert not store.exists()


def test_every_setting_is_settable() -> None:
    """What an operator could want to set has a flag; tiers and executors come from files."""
    named = {flag.setting for flags in FLAGS.values() for flag in flags}
    assert {field.name for field in fields(Settings)} - named == {
        "hostname", "tiers", "default_tier", "executors",
    }  # fmt: skip
