"""The script that sets everything up: it is POSIX shell, explains itself, and says what is wrong."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent


def dev(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "dev", *words],
        env={"PATH": "/usr/bin:/bin", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_every_shell_can_read_it(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    done = subprocess.run([shell, "-n", ROOT / "dev"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_shellcheck_finds_nothing() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("no shellcheck here (Debian: shellcheck)")
    done = subprocess.run(["shellcheck", ROOT / "dev", ROOT / ".ci/run"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("words", [(), ("help",), ("--help",)])
def test_help(words: tuple[str, ...]) -> None:
    done = dev(*words)
    assert done.returncode == 0
    assert "./dev COMMAND" in done.stdout


def test_an_unknown_command_is_refused() -> None:
    done = dev("tests")
    assert done.returncode == 1
    assert "no such command: tests" in done.stderr
    assert "./dev COMMAND" in done.stderr


@pytest.mark.parametrize("command", ["torture", "torture-executor"])
def test_torture_wants_a_number(command: str) -> None:
    done = dev(command)
    assert done.returncode == 1
    assert "how many rounds" in done.stderr


def test_a_python_that_is_too_old_is_refused(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    shutil.copy(ROOT / "dev", checkout)
    done = subprocess.run(
        [checkout / "dev", "setup"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": "/bin/false"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "PYTHON=/bin/false is not a Python 3.11 or later" in done.stderr
    assert not (checkout / ".venv").exists()
