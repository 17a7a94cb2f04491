"""Which file is read how, and which of its tasks and jobs is meant."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from thermos.config import Config, ConfigError, load
from thermos.config.job_schema import Job
from thermos.schema import Process, Resources, Task

ROOT = Path(__file__).resolve().parents[3]

TASK = "Task(name='%s', processes=[Process(name='p', cmdline='%s')], resources=Resources(cpu=1, ram=MB, disk=MB))"


def config(tmp_path: Path, source: str, name: str = "config.aurora") -> Config:
    path = tmp_path / name
    path.write_text(source, "utf-8")
    return load(str(path))


def said(caught: pytest.ExceptionInfo[ConfigError]) -> str:
    [problem] = caught.value.problems
    return str(problem)


def test_the_only_task_needs_no_name(tmp_path: Path) -> None:
    only = config(tmp_path, f"export({TASK % ('t', 'x')})")
    assert only.task().name == "t"
    assert only.task("t") is only.task()
    with pytest.raises(ConfigError) as caught:
        only.job()
    assert said(caught) == "it defines no job"


def test_one_of_several_tasks(tmp_path: Path) -> None:
    several = config(tmp_path, f"export({TASK % ('fetch', 'x')})\nexport({TASK % ('build', 'x')})")
    assert several.task("build").name == "build"
    with pytest.raises(ConfigError) as caught:
        several.task()
    assert said(caught) == "it defines several tasks: build, fetch; choose one with --task"
    with pytest.raises(ConfigError) as caught:
        several.task("biuld")
    assert said(caught) == "it defines no task 'biuld', but build, fetch; did you mean 'build'?"


def test_two_tasks_of_one_name(tmp_path: Path) -> None:
    twins = config(tmp_path, f"export({TASK % ('t', 'x')})\nexport({TASK % ('t', 'y')})")
    with pytest.raises(ConfigError, match="several tasks are called 't'"):
        twins.task("t")


JOBS = f"""
base = Job(cluster='c', role='r', environment='e', task={TASK % ("t", "{{mesos.instance}} {{thermos.user}}")})
jobs = [base(name='web', service=True), base(name='db'), base(name='web', environment='test')]
hooks = ['a hook']
"""


def test_one_of_several_jobs(tmp_path: Path) -> None:
    several = config(tmp_path, JOBS)
    assert several.job("db").key == "c/r/e/db"
    assert several.job("c/r/test/web").environment == "test"
    assert several.hooks == ("a hook",)
    with pytest.raises(ConfigError) as caught:
        several.job()
    assert said(caught) == "it defines several jobs: c/r/e/db, c/r/e/web, c/r/test/web; choose one with its key"
    with pytest.raises(ConfigError, match="several jobs are called 'web': c/r/e/web, c/r/test/web; choose by its key"):
        several.job("web")
    with pytest.raises(ConfigError, match="it defines no job 'c/r/prod/web'"):
        several.job("c/r/prod/web")


def test_jobs_give_what_their_first_instance_would_run(tmp_path: Path) -> None:
    several = config(tmp_path, JOBS)
    assert len(several.tasks) == 3
    assert several.task("db").processes[0].cmdline == "0 r"
    assert several.task("c/r/e/web") is several.tasks[0]
    with pytest.raises(ConfigError) as caught:
        several.task("t")
    assert said(caught) == "several tasks are called 't': c/r/e/db, c/r/e/web, c/r/test/web; choose by --task"


def test_exported_tasks_go_before_those_of_jobs(tmp_path: Path) -> None:
    both = config(tmp_path, JOBS + f"export({TASK % ('own', 'x')})")
    assert [task.name for task in both.tasks] == ["own"]
    assert len(both.jobs) == 3
    with pytest.raises(ConfigError, match="it defines no task 'web', but own"):
        both.task("web")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.thermos: cannot be read: No such file or directory"):
        load(str(tmp_path / "no.thermos"))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(str(tmp_path))


def test_json_by_its_name_or_when_asked(tmp_path: Path) -> None:
    text = json.dumps({"processes": [{"name": "p", "cmdline": "x {{name}} {{y}}"}]})
    for name in ("task.json", "task"):
        (tmp_path / name).write_text(text)
        made = load(str(tmp_path / name), ["y=1"], json=True).task()
        assert made == Task("p", (Process("p", "x p 1"),))
    assert load(str(tmp_path / "task.json"), ["y=1"]).tasks == (made,)
    with pytest.raises(ConfigError, match=r"processes\[0\].cmdline: nothing gives \{\{y\}\} a value"):
        load(str(tmp_path / "task.json"))


def test_binders_are_asked_last(tmp_path: Path) -> None:
    path = tmp_path / "config.aurora"
    path.write_text(
        JOBS.replace("service=True", "service=True, container=Docker(image='{{docker.image[a/b][1]}} {{k}}')")
    )
    asked = []

    def binder(address: str) -> str | None:
        asked.append(address)
        return "a/b@sha256:0" if address == "docker.image[a/b][1]" else None

    job = load(str(path), ["k=K"], binders=[binder]).job("c/r/e/web")
    assert isinstance(job, Job)
    assert job.container is not None
    assert job.container.image == "a/b@sha256:0 K"  # type: ignore[union-attr]
    assert "k" not in asked


def test_python_leaves_no_trace_in_ours(tmp_path: Path) -> None:
    """One file's names and structs are not the next one's."""
    config(tmp_path, f"class Mine(Struct): pass\nexport({TASK % ('t', 'x')})")
    with pytest.raises(ConfigError, match="there is no 'Mine'"):
        config(tmp_path, "Mine()")


EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.*") if path.suffix in (".thermos", ".aurora", ".toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples(path: Path) -> None:
    loaded = load(str(path))
    assert loaded.tasks
    assert loaded.warnings == ()


def modules_after(code: str) -> set[str]:
    script = f"import sys\nfrom thermos.config import load\n{code}\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return set(run.stdout.split())


def test_plain_data_needs_no_pystachio() -> None:
    loaded = modules_after("load('examples/parallel-crunch.toml')")
    assert not {name for name in loaded if name.split(".")[0] in ("pystachio", "pkg_resources", "difflib")}
    assert "thermos.config.job_schema" not in loaded


def test_a_task_needs_no_job() -> None:
    loaded = modules_after("load('examples/demo.thermos')")
    assert "pystachio" in loaded
    assert "thermos.config.job_schema" not in loaded
    assert not {"pkg_resources", "logging", "threading", "subprocess"} & loaded


def test_resources_are_optional_in_a_task(tmp_path: Path) -> None:
    assert config(tmp_path, "export(Task(processes=[Process(name='p', cmdline='x')]))").task().resources is None
    assert config(tmp_path, "export(SimpleTask('p', 'x'))").task().resources == Resources(1.0, 1 << 30, 1 << 30)
