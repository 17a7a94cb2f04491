"""The example plug-in: built and installed as anybody's distribution would be, and used by the real commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.thermos.cli.command import REPOSITORY, success, thermos, write_task
from thermos.errors import ExitCode

pytestmark = pytest.mark.process

EXAMPLE = REPOSITORY / "examples" / "path-detector-plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = next(iter(metadata.distributions(name="setuptools")), None)
    if builder is None or int(builder.version.partition(".")[0]) < 77:
        pytest.skip("setuptools 77 is not installed, which builds the example")
    directory = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(EXAMPLE, directory / "source")  # building leaves its traces beside the source
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--no-deps", "--no-index", "--no-build-isolation", "--target", directory / "site", source],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return directory / "site"


def use(installed: Path, *args: object) -> subprocess.CompletedProcess[str]:
    return thermos(*args, env={"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{installed}"})


def home(tmp_path: Path, user: str) -> Path:
    return tmp_path / "home" / user / ".local" / "state" / "thermos"


def test_status_finds_what_it_finds(installed: Path, tmp_path: Path) -> None:
    for user in ("ann", "bob"):
        write_task(home(tmp_path, user), f"{user}s-task", success(f"{user}s-task"))
    (tmp_path / "home" / "eve").symlink_to(tmp_path / "home" / "ann")
    words = ["--root", tmp_path / "none", "--detector", f"homes:base={tmp_path}/home"]
    done = use(installed, *words, "status", "--json")
    assert done.returncode == 0, done.stderr
    assert {(each["task_id"], each["root"]) for each in json.loads(done.stdout)["tasks"]} == {
        ("anns-task", str(home(tmp_path, "ann"))), ("bobs-task", str(home(tmp_path, "bob"))),
    }  # fmt: skip
    assert use(installed, "status", *words[:2]).returncode == ExitCode.NOT_FOUND  # without it they are not found


def test_gc_deletes_where_it_finds(installed: Path, tmp_path: Path) -> None:
    root = home(tmp_path, "ann")
    write_task(root, "t", success("t"))
    words = ["--root", tmp_path / "none", "--detector", f"homes:base={tmp_path}/home", "--force"]
    done = use(installed, "gc", *words, "--delete-metadata", "t")
    assert done.returncode == 0, done.stderr
    assert list((root / "tasks" / "finished").iterdir()) == []


def test_mistakes_are_told(installed: Path, tmp_path: Path) -> None:
    done = use(installed, "status", "--detector", "homes:bse=/home")
    assert done.returncode == ExitCode.USAGE
    assert "its options are: base (optional), below (optional)" in done.stderr
    done = use(installed, "status", "--detector", "houses")
    assert done.returncode == ExitCode.USAGE
    assert done.stderr == "thermos status: there is no detector 'houses'; there are: fixed, homes, mesos\n"
    broken = shutil.copytree(installed, tmp_path / "broken")
    (broken / "thermos_home_detector.py").write_text("import nosuchmodule\n")
    done = use(broken, "status", "--detector", "homes")
    assert done.returncode == ExitCode.PLUGIN
    assert "detector homes of thermos-home-detector 1.0" in done.stderr
    assert "No module named 'nosuchmodule'" in done.stderr


WATCH = """
import sys
from detectors import plugins
from detectors.watch import HostWatcher
with HostWatcher(plugins.make("homes", {"base": sys.argv[1]}), rescan_s=3600) as watch:
    watch.scan()
    print("ready", flush=True)
    while not watch.tasks:
        assert watch.wait(60)
    print(*(key.task_id for key in watch.tasks))
"""


def test_a_new_home_is_noticed_at_once(installed: Path, tmp_path: Path) -> None:
    path = f"{REPOSITORY}{os.pathsep}{installed}"
    command = [sys.executable, "-c", WATCH, f"{tmp_path}/home"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline() == "ready\n"
        write_task(home(tmp_path, "ann"), "t", success("t"))
        assert watch.stdout.readline() == "t\n"
