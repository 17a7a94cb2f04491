"""The single-file executor and the wheel, as they are handed out: built, and used where there is nothing of ours."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.box import IS_ROOT, NOBODY, as_user, process, until
from tests.support.executor import ME
from tests.support.mesos import Mesos, Scheduler, mesos, scheduler
from tests.support.packaged import ROOT, bare_python, built, pythons
from thermos import __version__

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(400)]

PROGRAMS = ("thermos", "thermos_executor", "thermos_observer", "thermos_runner")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that every user can read: the tests' own cannot be entered by others."""
    python, made = bare_python(), built()  # either may skip the test
    path = Path(tempfile.mkdtemp(prefix="thermos-packaging-"))
    try:
        path.chmod(0o755)
        (path / "bin").mkdir()
        (path / "bin" / os.path.basename(python)).symlink_to(python)
        shutil.copy(made / "thermos_executor.pex", path)
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture(scope="module")
def pex(place: Path) -> str:
    return str(place / "thermos_executor.pex")


def surroundings(place: Path, root: str = "root", **more: str) -> dict[str, str]:
    """An environment in which there is the system, and one Python."""
    (place / root).mkdir(mode=0o755, exist_ok=True)
    return {"PATH": f"{place}/bin:/usr/bin:/bin", "HOME": "/", "PEX_ROOT": str(place / root), **more}


def test_it_passes_its_smoke_test() -> None:
    words = [str(ROOT / "packaging/smoke"), str(built() / "thermos_executor.pex"), bare_python()]
    smoke = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert smoke.returncode == 0, smoke.stderr
    assert f"{bare_python()}: thermos {__version__} works" in smoke.stdout


def launch(framework: Scheduler, task_id: str, pex: str, environ: dict[str, str], data: dict[str, Any]) -> None:
    """As a framework does that lets the agent fetch the executor."""
    command = {
        "shell": False,
        "value": "./thermos_executor.pex",
        "arguments": ["thermos_executor.pex"],
        "uris": [{"value": f"file://{pex}", "executable": True, "extract": False}],
        "environment": {"variables": [{"name": name, "value": value} for name, value in environ.items()]},
    }
    framework.launch(task_id, ["replaced"], data=json.dumps(data).encode(), executor={"command": command})


@pytest.fixture(scope="module")
def cluster() -> Iterator[Mesos]:
    with mesos() as made:
        yield made


@pytest.fixture
def framework(cluster: Mesos) -> Iterator[Scheduler]:
    with scheduler(cluster) as made:
        yield made


def programs_in(sandbox: Path) -> dict[int, str]:
    """What runs in a sandbox: pid → its program."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(entry / "cwd") == str(sandbox):
                found[int(entry.name)] = os.readlink(entry / "exe")
    return found


def test_an_agent_fetches_it_and_it_runs_a_task(cluster: Mesos, framework: Scheduler, place: Path, pex: str) -> None:
    role = "nobody" if IS_ROOT else ME
    whole = {
        "task": {"name": "task", "processes": [process("a", "id -un; env; while [ ! -e go ]; do sleep 0.05; done")]},
        "role": role, "environment": "test", "name": "job",
    }  # fmt: skip
    launch(framework, "t", pex, surroundings(place), whole)
    framework.wait_for("t", "TASK_RUNNING", 60)
    sandbox = cluster.sandboxes()[-1]
    log = sandbox / "sandbox/.logs/a/0/stdout"
    until(lambda: "PATH=" in log.read_text(), "the process has written")
    running = programs_in(sandbox)
    assert os.path.realpath(bare_python()) in running.values(), running
    for pid in running:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"PYTHONPATH=" not in environ
        assert str(ROOT / ".venv").encode() not in environ
    assert log.read_text().splitlines()[0] == role
    assert "PEX" not in log.read_text()
    (sandbox / "sandbox/go").touch()
    framework.wait_for("t", "TASK_FINISHED")
    states = framework.states("t")
    assert list(dict.fromkeys(states)) == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    # Its writer has become another user by the time it reads the templates in the pex.
    until(lambda: not programs_in(sandbox), "all has ended")
    page = (sandbox / "index.html").read_text()
    assert "<html" in page and "SUCCESS" in page
    assert (sandbox / "index.html").stat().st_uid == (sandbox / "sandbox").stat().st_uid
    assert list((sandbox / "pages").rglob("*.html")), "pages that lead on from there"


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_it_runs_a_task_on_an_agent_with_that_python(
    version: str, cluster: Mesos, framework: Scheduler, place: Path, pex: str
) -> None:
    python = next((path for path in pythons() if path.endswith(version)), None)
    if python is None:
        pytest.skip(f"no Python {version} here to build for")
    environ = surroundings(place, f"root-{version}", PEX_PYTHON=python)
    task = {"name": "task", "processes": [process("a", f"test -e {python}")]}
    launch(framework, version, pex, environ, task)
    framework.wait_for(version, "TASK_FINISHED", 60)
    (unpacked,) = (place / f"root-{version}").glob(f"venvs/*/*/*/lib/python{version}/site-packages/thermos")
    assert (unpacked / "runner/boot.py").exists()
    # Of all that is in it, only the pages' escaping is compiled for one version of Python.
    sandbox = cluster.sandboxes()[-1]
    until(lambda: not programs_in(sandbox), "all has ended")
    assert "SUCCESS" in (sandbox / "index.html").read_text()


def test_many_that_start_at_once_unpack_it_once(place: Path, pex: str) -> None:
    environ = surroundings(place, "root-of-many")
    many = [
        subprocess.Popen(
            [pex, "--version"],
            env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(6)
    ]  # fmt: skip
    for one in many:
        said, complaints = one.communicate(timeout=60)
        assert (one.returncode, said, complaints) == (0, f"thermos_executor {__version__}\n", "")
    assert len(list((place / "root-of-many").glob("venvs/*/*/*/pyvenv.cfg"))) == 1


def test_without_a_place_of_its_own_it_unpacks_into_the_sandbox(place: Path, pex: str) -> None:
    *drop, _ = as_user(NOBODY)
    sandbox = place / "sandbox"
    sandbox.mkdir()
    os.chown(sandbox, NOBODY, NOBODY)
    environ = {**surroundings(place), "MESOS_SANDBOX": str(sandbox)}
    del environ["PEX_ROOT"]
    before = set(Path(tempfile.gettempdir()).glob("pex-root*"))
    start = subprocess.run([*drop, pex, "--version"], env=environ, capture_output=True, text=True, cwd="/")
    assert (start.returncode, start.stdout, start.stderr) == (0, f"thermos_executor {__version__}\n", "")
    assert list(sandbox.glob(".pex/venvs/*/*/*/pyvenv.cfg"))
    assert set(Path(tempfile.gettempdir()).glob("pex-root*")) <= before


def test_installed_on_a_node_it_is_every_user_s(place: Path, pex: str) -> None:
    environ = surroundings(place, "root-of-installer", PEX_TOOLS="1")
    words = [pex, "venv", "--compile", str(place / "installed")]
    made = subprocess.run(words, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    shutil.rmtree(place / "root-of-installer")
    drop = as_user(NOBODY)[:-1] if IS_ROOT else ()
    before = set((place / "installed").rglob("*"))
    for program in PROGRAMS:
        start = subprocess.run(
            [*drop, str(place / "installed/bin" / program), "--version"],
            env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, cwd="/",
        )  # fmt: skip
        assert (start.returncode, start.stdout, start.stderr) == (0, f"{program} {__version__}\n", "")
    assert set((place / "installed").rglob("*")) == before


def test_another_pex_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "other.pex").write_bytes(b"#!/usr/bin/env python3\nPK")
    words = [sys.executable, str(ROOT / "packaging/header.py"), str(tmp_path / "other.pex"), str(tmp_path / "made.pex")]
    made = subprocess.run(words, capture_output=True, text=True)
    assert made.returncode == 1
    assert "another version of pex" in made.stderr
    assert not (tmp_path / "made.pex").exists()


def test_wrong_arguments_are_told_before_anything_is_built() -> None:
    for words in (["--outpt", "x"], ["--output"], ["--python"]):
        build = subprocess.run([str(ROOT / "packaging/build"), *words], capture_output=True, text=True)
        assert build.returncode == 2
        assert "Usage:" in build.stderr


def test_completion_is_the_programs_own(pex: str) -> None:
    for name, shell in (("thermos", "bash"), ("_thermos", "zsh"), ("thermos.fish", "fish")):
        words = [sys.executable, "-m", "thermos.cli", "completion", shell]
        ours = subprocess.run(words, capture_output=True, text=True, cwd=ROOT).stdout
        assert (built() / "completion" / name).read_text() == ours != ""


# -- The wheel -------------------------------------------------------------------------------------------------------


def wheel() -> Path:
    (path,) = (built() / "wheels").glob(f"thermos-{__version__}-py3-none-any.whl")
    return path


def test_the_wheel_holds_what_it_must_and_nothing_else() -> None:
    with zipfile.ZipFile(wheel()) as file:
        names = set(file.namelist())
        modes = {info.external_attr >> 16 for info in file.infolist()}
    tops = {name.split("/")[0] for name in names}
    info = f"thermos-{__version__}.dist-info"
    assert tops == {"thermos", "detectors", "observer_static", "scheduler", info}
    expected = {
        str(path.relative_to(ROOT))
        for top in tops - {info}
        for path in (ROOT / top).rglob("*")
        if path.is_file() and (path.suffix == ".py" or path.name == "py.typed" or path.parent.name == "templates")
    }
    assert {name for name in names if not name.startswith(info)} == expected
    assert {f"{info}/licenses/{name}" for name in ("LICENSE", "NOTICE")} <= names
    assert not [mode for mode in modes if mode & (stat.S_IWGRP | stat.S_IWOTH) and stat.S_ISLNK(mode)]


def test_its_programs_start_in_a_fresh_environment(tmp_path: Path) -> None:
    venv.create(tmp_path / "fresh", with_pip=True)
    fresh = tmp_path / "fresh/bin"
    links = str(built() / "wheels")
    words = [str(fresh / "python"), "-m", "pip", "install", "--quiet", "--no-index", "--find-links", links, "thermos"]
    installed = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    for program in PROGRAMS:
        environ = {"PATH": "/usr/bin:/bin", "HOME": "/"}
        start = subprocess.run([fresh / program, "--version"], env=environ, capture_output=True, text=True, cwd="/")
        assert (start.returncode, start.stdout, start.stderr) == (0, f"{program} {__version__}\n", "")
