"""Shell completion: what the scripts offer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.thermos.cli.command import environment, success, thermos, write_task
from thermos.cli.completion import bash, fish, zsh
from thermos.cli.options import arguments
from thermos.cli.verb import NAMES, load


@pytest.fixture
def complete(tmp_path: Path) -> object:
    """What bash offers for a line whose last word is being typed."""
    program = tmp_path / "bin" / "thermos"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m thermos.cli --root {tmp_path / "root"} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "completion").write_text(bash())

    def offers(*words: str) -> set[str]:
        quoted = " ".join(f"'{word}'" for word in words)
        script = (
            f"source {tmp_path / 'completion'}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
            "_thermos; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        env = environment({"PATH": f"{program.parent}:/usr/bin:/bin"})
        done = subprocess.run(["bash", "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return set(done.stdout.split())

    return offers


def test_bash(complete: object, tmp_path: Path) -> None:
    assert callable(complete)
    write_task(tmp_path / "root", "web-1", success("web-1"))
    write_task(tmp_path / "root", "db", success("db"))
    assert complete("thermos", "") == set(NAMES)
    assert complete("thermos", "st") == {"status"}
    assert complete("thermos", "tail", "w") == {"web-1"}
    assert complete("thermos", "--root", "/x", "why", "") == {"web-1", "db"}
    assert complete("thermos", "status", "--ve") == {"--verbosity"}
    assert complete("thermos", "completion", "") == {"bash", "zsh", "fish"}
    (tmp_path / "my.thermos").write_text("")
    assert complete("thermos", "run", "my") == {"my.thermos"}


@pytest.mark.parametrize("make", [bash, zsh, fish])
def test_every_verb_and_option_is_there(make: object) -> None:
    assert callable(make)
    script = make()
    for name in NAMES:
        assert name in script
        for argument in arguments(load(name)):
            for flag in argument.flags:
                shown = flag if make is not fish else f"-l {flag[2:]}" if flag[:2] == "--" else f"-s {flag[1:]}"
                assert shown in script


@pytest.mark.parametrize(("shell", "make"), [("zsh", zsh), ("fish", fish)])
def test_the_shell_understands_it(shell: str, make: object, tmp_path: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    assert callable(make)
    (tmp_path / "script").write_text(make())
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_the_verb_prints_it() -> None:
    assert thermos("completion", "bash").stdout == bash()
    assert thermos("completion", "zsh").stdout == zsh()
    assert thermos("completion", "fish").stdout == fish()
