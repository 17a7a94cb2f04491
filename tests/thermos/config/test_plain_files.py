"""TOML and JSON as people and programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thermos.config import Config, ConfigError, load, plain_files
from thermos.definition import plain
from thermos.formats import task_json
from thermos.schema import Backoff, Constraint, Logger, Process, ProcessExtension, Resources, RotatePolicy, Task

TOML = """
name = "backup"
finalization_wait = 60

[resources]
cpu = 0.5
ram = "128 MB"
disk = "1.5GB"

[[processes]]
name = "dump"
cmdline = "dump {{db}} > {{thermos.task_id}}.sql # {{name}}"
max_failures = 3

[processes.logger]
mode = "rotate"
rotate = { log_size = "10 MB" }

[[processes]]
name = "upload"
cmdline = '''
put *.sql
'''

[[constraints]]
order = ["dump", "upload"]

[x_processes.upload]
compress_rotated = true
[x_processes.upload.backoff]
max_s = 60
"""

BACKUP = Task(
    "backup",
    (
        Process(
            "dump",
            "dump main > {{thermos.task_id}}.sql # dump",
            max_failures=3,
            logger=Logger(mode="rotate", rotate=RotatePolicy(10 << 20)),
        ),
        Process("upload", "put *.sql\n"),
    ),
    (Constraint(("dump", "upload")),),
    Resources(0.5, 128 << 20, 3 << 29),
    finalization_wait=60,
    x_processes={"upload": ProcessExtension(Backoff(max_s=60.0), compress_rotated=True)},
)


def loaded(tmp_path: Path, text: str, name: str = "task.toml", *bindings: str) -> Config:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return load(str(path), bindings)


def faults(tmp_path: Path, text: str, name: str = "task.toml") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, name)
    return [str(problem) for problem in caught.value.problems]


def test_toml(tmp_path: Path) -> None:
    assert loaded(tmp_path, TOML, "task.toml", "db=main").tasks == (BACKUP,)


def test_the_last_binding_counts(tmp_path: Path) -> None:
    assert loaded(tmp_path, TOML, "task.toml", "db=other", "db=main").tasks == (BACKUP,)


def test_a_table_called_task(tmp_path: Path) -> None:
    text = '[task]\nname = "t"\nmax_failures = 2\n[[processes]]\nname = "p"\ncmdline = "x"\n'
    assert loaded(tmp_path, text).task() == Task("t", (Process("p", "x"),), max_failures=2)
    assert faults(tmp_path, 'name = "u"\n' + text) == ["name: is given both at the top and in [task]"]
    assert faults(tmp_path, "task = 3") == ["task: must be a table: [task]"]


def test_the_example_in_the_description_is_right(tmp_path: Path) -> None:
    described = (plain_files.__doc__ or "").partition("::\n\n")[2].partition("\n\nNumbers")[0]
    text = "\n".join(line.strip() for line in described.splitlines())
    assert faults(tmp_path, text) == [
        "constraints[0].order[1]: there is no process 'upload'; add it, or take the name out",
        "x_processes[upload]: there is no process 'upload'; add it, or take the name out",
    ]
    assert loaded(tmp_path, text + '\n[[processes]]\nname="upload"\ncmdline="x"').task().resources is not None


def test_all_problems_of_a_toml_file(tmp_path: Path) -> None:
    text = """
    max_failures = "several"
    max_concurency = 2
    [resources]
    cpu = 1
    ram = "128 mb"
    disk = 1
    [[processes]]
    nmae = "p"
    cmdline = "x"
    [new.table]
    """
    assert faults(tmp_path, text) == [
        "max_concurency: a Task has no 'max_concurency'; did you mean 'max_concurrency'?",
        "processes[0].nmae: a Process has no 'nmae'; did you mean 'name'?",
        "new: a Task has no 'new'; a Task has name, processes, constraints, resources, max_failures, max_concurrency, "
        "finalization_wait, user, x_processes",
        "resources.ram: is '128 mb', which is no size; write bytes, or \"128 MB\"",
        "processes[0].name: is required in a Process and missing",
        "max_failures: must be a whole number, not 'several'",
    ]


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("t.toml", "a = 1\nb = =\n", "line 2: is not TOML: Invalid value"),
        ("t.toml", "[processes", "is not TOML: "),
        ("t.json", "{\n1}", "line 2: is not JSON: Expecting property name"),
        ("t.json", "[1]", "must be an object, a task or a job"),
        ("t.json", "[" * 100_000, "is nested too deeply"),
        ("t.json", '{"jobs": {}}', "jobs: must be a list of jobs"),
        ("t.json", '{"jobs": [1]}', r"jobs\[0\]: must be an object, a Job, not 1"),
        ("t.json", '{"name": "t", "processes": []}', "processes: a task needs at least one process"),
        ("t.toml", 'name = "{{name}}"\n[[processes]]\nname="p"\ncmdline="x"', "name: its references go in a circle"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(tmp_path, text, name)


def test_not_utf_8(tmp_path: Path) -> None:
    for name in ("t.toml", "t.json"):
        (tmp_path / name).write_bytes(b'{"name": "\xe9"}')
        with pytest.raises(ConfigError, match="is not UTF-8: byte 10 is wrong"):
            load(str(tmp_path / name))


def test_what_a_task_was_written_as_can_be_run_again(tmp_path: Path) -> None:
    text = task_json.encode(BACKUP)
    assert loaded(tmp_path, text, "task.json").tasks == (BACKUP,)


def test_unknown_fields_in_json_are_warnings(tmp_path: Path) -> None:
    raw = plain(BACKUP)
    raw["processes"][0]["from_the_future"] = 1
    config = loaded(tmp_path, json.dumps(raw), "task.json")
    assert config.tasks == (BACKUP,)
    [warning] = config.warnings
    assert str(warning).startswith("processes[0].from_the_future: a Process has no 'from_the_future'")


JOB: dict[str, Any] = {
    "cluster": "c",
    "role": "r",
    "environment": "e",
    "task": {
        "processes": [{"name": "p", "cmdline": "{{mesos.instance}} {{mesos.role}} {{thermos.user}} {{v}}"}],
        "resources": {"cpu": 1, "ram": 1 << 20, "disk": 1 << 20},
    },
}


def test_a_job(tmp_path: Path) -> None:
    job = loaded(tmp_path, json.dumps(JOB), "job.json", "v=V").job()
    assert job.key == "c/r/e/p"
    assert job.task.processes[0].cmdline == "{{mesos.instance}} r r V"
    assert loaded(tmp_path, json.dumps({"jobs": [JOB]}), "job.json", "v=V").jobs == (job,)


def test_jobs_with_faults(tmp_path: Path) -> None:
    found = faults(tmp_path, json.dumps({"jobs": [JOB, {**JOB, "name": "n", "instances": 0}]}), "job.json")
    assert [fault.partition(":")[0] for fault in found] == [
        "jobs[0].task.processes[0].cmdline",
        "jobs[1].task.processes[0].cmdline",
        "jobs[1].instances",
    ]


def test_an_announcer_by_default_names_its_primary_port(tmp_path: Path) -> None:
    job = loaded(tmp_path, json.dumps({**JOB, "announce": {"primary_port": "web"}}), "job.json", "v=1").job()
    assert job.announce is not None
    assert job.announce.portmap == {"aurora": "web"}
