"""The commands as people meet them: help, wrong words, Ctrl-C, closed pipes; each verb explains itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scheduler.client import nouns, reference
from scheduler.client.exit_codes import ExitCode
from scheduler.client.verb import Verb, build_parser
from tests.support.aurora_client import Client, Reply, by_method, server
from tests.support.box import until
from thermos import __version__
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import JobKey

ROOT = Path(__file__).resolve().parents[3]
VERBS = [nouns.load(noun, verb) for noun, verbs in nouns.NOUNS.items() for verb in verbs]
COMMANDS = [nouns.load_admin(name) for name in nouns.ADMIN]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name.replace(" ", "-"))
def test_each_verb_explains_itself(client: Client, verb: Verb) -> None:
    done = client.aurora(*verb.name.split(), "--help")
    assert done.code == 0
    assert f"usage: aurora {verb.name} " in done.out
    assert all(line in done.out for line in verb.example.splitlines())
    assert ExitCode.OK in verb.exit_codes and ExitCode.USAGE in verb.exit_codes
    assert all(f"  {int(code):>3}  {code.doc}" in done.out for code in verb.exit_codes)
    assert "--verbose" in done.out
    assert "--skip-hooks" in done.out


@pytest.mark.parametrize("verb", COMMANDS, ids=lambda verb: verb.name)
def test_each_command_of_the_administrator_explains_itself(client: Client, verb: Verb) -> None:
    done = client.admin(verb.name, "--help")
    assert done.code == 0
    assert f"usage: aurora_admin {verb.name} " in done.out
    assert all(line in done.out for line in verb.example.splitlines())


@pytest.mark.parametrize("verb", [*VERBS, *COMMANDS], ids=lambda verb: verb.name.replace(" ", "-"))
def test_examples_can_be_parsed(verb: Verb) -> None:
    """Each line of an example is a command line that the verb takes."""
    import shlex

    for line in verb.example.splitlines():
        line = line.partition("$(")[2].rstrip(')"') if "$(" in line else line
        words = shlex.split(line.partition(" | ")[0].partition(" > ")[0])
        program = next(number for number, word in enumerate(words) if word in ("aurora", "aurora_admin"))
        length = len(verb.name.split())
        assert words[program + 1 : program + 1 + length] == verb.name.split(), line
        build_parser(words[program], verb).parse_intermixed_args(words[program + 1 + length :])


def test_words_that_are_none(client: Client) -> None:
    for words, said in [
        (["jbo", "create"], "there is no noun 'jbo'; did you mean 'job'? `aurora help` lists them"),
        (["job", "kil"], "job has no verb 'kil'; did you mean 'kill'? `aurora help job` lists them"),
        (["sheduler", "start"], "there is no noun 'sheduler'; `aurora help` lists them"),
        (["job", "create", "a/b/c"], "'a/b/c' is no job key: write CLUSTER/ROLE/ENV/NAME"),
        (["job", "status", "a/b/c/d", "--wrong"], "unrecognized arguments: --wrong"),
        (["help", "jbo"], "there is no noun 'jbo'"),
    ]:
        done = client.aurora(*words)
        assert done.code == 2
        assert said in done.err
    done = client.admin("set_qouta", "west")
    assert done.code == 2
    assert "there is no command 'set_qouta'; did you mean 'set_quota'?" in done.err


def test_help(client: Client) -> None:
    for words in ([], ["--help"], ["help"]):
        done = client.aurora(*words)
        assert done.code == 0
        assert all(noun in done.out for noun in nouns.NOUNS)
    assert client.aurora("job", "--help").code == 0
    assert client.aurora("help", "job", "kill").out.startswith("usage: aurora job kill")
    assert client.aurora("job").code == 2
    assert client.aurora("--version").out == f"aurora {__version__}\n"
    assert client.admin("help", "query").out.startswith("usage: aurora_admin query")
    assert client.admin().code == 0
    assert client.admin("--version").out == f"aurora_admin {__version__}\n"


def test_the_commands_are_installed() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["aurora"] == "scheduler.client.main:main"
    assert scripts["aurora_admin"] == "scheduler.client.admin_main:main"


def test_the_reference_is_what_the_code_says() -> None:
    assert reference.main(["--check"]) == 0


@pytest.mark.process
def test_ctrl_c_in_the_real_program(client: Client) -> None:
    """A scheduler that never answers: one sentence, no traceback, 130."""
    with server(lambda sent: Reply(-1)) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        command = [sys.executable, "-m", "scheduler.client.main", "job", "killall", "west/a/b/c"]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **client.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            until(lambda: scheduler.sent, "it asks the scheduler")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (out, err.strip()) == ("", "aurora job killall: stopped by Ctrl-C; nothing was changed")


@pytest.mark.process
def test_a_reader_that_goes_away(client: Client) -> None:
    """As with other filters, the end is quiet."""
    keys = tuple(api.JobConfiguration(key=JobKey("r", "prod", f"job-{number:05}")) for number in range(5000))
    with server(by_method({"getJobs": api.Result(get_jobs_result=api.GetJobsResult(keys))})) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        line = f"{sys.executable} -m scheduler.client.main job list west | head -n 2"
        done = subprocess.run(
            ["sh", "-c", line], cwd=ROOT, env={**os.environ, **client.environ}, capture_output=True, text=True
        )
    assert (done.stdout, done.stderr) == ("west/r/prod/job-00000\nwest/r/prod/job-00001\n", "")
