"""What packaging/ holds beside programs: scripts that shells take, units that systemd takes."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGING = Path(__file__).parents[2] / "packaging"
SCRIPTS = [path for path in PACKAGING.iterdir() if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")]
UNITS = sorted((PACKAGING / "systemd").glob("*.service"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_one_for_every_shell(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    checks = [[name, "-n", str(script)] for name in ("sh", "bash", "dash") if shutil.which(name)]
    if shutil.which("shellcheck"):
        checks.append(["shellcheck", str(script)])
    for words in checks:
        check = subprocess.run(words, capture_output=True, text=True)
        assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_has_nothing_that_systemd_does_not_know(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this host")
    check = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    # What it starts need not be installed here; that systemd does not run here is said, too.
    complaints = [line for line in check.stderr.splitlines() if unit.name in line and "is not executable" not in line]
    assert complaints == []


def test_tasks_outlive_their_agent() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(PACKAGING / "systemd/mesos-agent.service")
    service = unit["Service"]
    assert service["KillMode"] == "process"
    assert service["OOMPolicy"] == "continue"
    assert service["UMask"] == "0022"


def test_the_container_file_names_what_there_is() -> None:
    text = (PACKAGING / "Containerfile").read_text()
    assert re.findall(r"^(\w+)", text.replace("\\\n", " "), re.MULTILINE)[0] in ("ARG", "FROM")
    assert "USER" not in re.findall(r"^(\w+)", text, re.MULTILINE), "an executor starts as root, and drops to its role"
    assert "dist/thermos_executor.pex" in text
