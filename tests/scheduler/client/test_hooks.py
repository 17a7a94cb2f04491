"""Hooks around calls of the API and around commands, and plug-ins."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from scheduler.client import extending, hosts
from scheduler.client.errors import ApiError
from scheduler.client.hooks import (
    CommandHook,
    CommandOption,
    ConfigurationPlugin,
    Context,
    GlobalCommandHookRegistry,
    GlobalHookRegistry,
)
from tests.support.aurora_client import Client, Server, by_method, refused, server
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import AssignedTask, JobKey, TaskConfig
from thermos.formats.aurora_api import ResponseCode, ScheduleStatus, TaskEvent

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]
KEY = "west/www/prod/hello"
UPDATE = api.JobUpdateKey(JobKey("www", "prod", "hello"), "u-1")
TASK = api.ScheduledTask(
    AssignedTask("t-0", None, "h", TaskConfig(job=JobKey("www", "prod", "hello")), None, 0),
    ScheduleStatus.PENDING, 0, 0, (TaskEvent(1, ScheduleStatus.PENDING),),
)  # fmt: skip
FILE = """
import json

class Notes:
    def __init__(self, answer=True):
        self.answer = answer
    def note(self, *words):
        with open({notes!r}, 'a') as file:
            file.write(json.dumps(words, default=str) + '\\n')
    {methods}

hooks = [{hooks}]
jobs = [Job(name='hello', cluster='west', role='www', environment='prod', enable_hooks={enabled}, {more}
    task=Task(processes=[Process(name='p', cmdline='true')], resources=Resources(cpu=1, ram=5*MB, disk=5*MB)))]
"""
GENERIC = """
    def generic_hook(self, hook_config, event, method_name, result_or_err, args, kw):
        config, job_key = hook_config
        self.note(event, method_name, job_key.to_path(), config.name(), type(result_or_err).__name__, sorted(kw))
        return self.answer
"""


class West:
    """A user with a configuration whose hooks write down what they see."""

    def __init__(self, client: Client, made: Server, answers: dict[str, Any]) -> None:
        self.client = client
        self.server = made
        self.answers = answers
        client.cluster(scheduler_uri=made.url)
        self.file = client.path / "hello.aurora"
        self.write(GENERIC)

    def write(self, methods: str, hooks: str = "Notes()", enabled: bool = True, more: str = "") -> None:
        values = {"methods": methods, "hooks": hooks, "enabled": enabled, "more": more}
        self.file.write_text(FILE.format(notes=str(self.client.path / "notes"), **values))

    def notes(self) -> list[Any]:
        """What was written down since the last look."""
        path = self.client.path / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def create(self, *words: str) -> Any:
        return self.client.aurora("job", "create", KEY, str(self.file), *words)


@pytest.fixture
def west(client: Client) -> Iterator[West]:
    tiers = api.GetTierConfigResult(
        "preemptible", (api.TierConfig("preemptible", {"preemptible": "true", "revocable": "false"}),)
    )
    tasks = api.Result(schedule_status_result=api.ScheduleStatusResult((TASK,)))
    answers: dict[str, Any] = {
        "getTierConfigs": api.Result(get_tier_config_result=tiers),
        "getTasksWithoutConfigs": tasks,
        "getJobUpdateDiff": api.Result(get_job_update_diff_result=api.GetJobUpdateDiffResult()),
        "startJobUpdate": api.Result(start_job_update_result=api.StartJobUpdateResult(UPDATE)),
        **dict.fromkeys(("createJob", "addInstances", "killTasks", "restartShards", "startCronJob")),
    }

    def answer(sent: Any) -> Any:
        return by_method(answers)(sent)

    with server(answer) as made:
        yield West(client, made, answers)


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    yield
    GlobalHookRegistry.reset()
    GlobalCommandHookRegistry.reset()


def test_what_hooks_are_called_with(west: West) -> None:
    """The arguments of the original's method of that name, and not the object that has it."""
    west.write(
        """
    def pre_create_job(self, config):
        self.note('pre', config.job_key(), config.instances(), config.raw().task.name)
        return True
    def post_create_job(self, result, config):
        self.note('post', result.response_code.name, config.role())
    def err_create_job(self, exc, config):
        self.note('err', type(exc).__name__, exc.response.response_code.name, config.cluster())
    """
    )
    assert west.create().code == 0
    assert west.notes() == [["pre", KEY.split("/"), 1, "p"], ["post", "OK", "www"]]
    west.answers["createJob"] = refused(ResponseCode.INVALID_REQUEST, "no")
    assert west.create().code == 4
    assert west.notes()[1:] == [["err", "ApiError", "INVALID_REQUEST", "west"]]


COMMANDS = [
    (("job", "create", KEY, "FILE"), "create_job", []),
    (("job", "add", f"{KEY}/0", "2", "--config", "FILE"), "add_instances", ["config"]),
    (("job", "kill", f"{KEY}/0", "--config", "FILE"), "kill_job", ["config", "instances", "message"]),
    (("job", "killall", KEY, "--config", "FILE", "--no-batching"), "kill_job", ["config", "instances", "message"]),
    (("cron", "start", KEY, "--config", "FILE"), "start_cronjob", ["config"]),
    (("update", "start", KEY, "FILE"), "start_job_update", ["instances"]),
]


@pytest.mark.parametrize("words, method, named", COMMANDS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_call_that_has_hooks(west: West, words: tuple[str, ...], method: str, named: list[str]) -> None:
    """A hook without a method for it is asked by its generic one; one that says no keeps it from being done."""
    if method == "kill_job":
        gone = api.Result(schedule_status_result=api.ScheduleStatusResult(()))
        west.answers["getTasksWithoutConfigs"] = lambda sent: (
            gone
            if "killTasks" in west.server.methods
            else (api.Result(schedule_status_result=api.ScheduleStatusResult((TASK,))))
        )
    command = [str(west.file) if word == "FILE" else word for word in words]
    done = west.client.aurora(*command)
    assert done.code == 0, done.err
    pre, post = west.notes()
    assert pre == ["pre", method, KEY, "hello", "NoneType", named]
    assert post == ["post", method, KEY, "hello", "Response", named]
    west.server.sent.clear()
    west.write(GENERIC, "Notes(answer=False)")
    done = west.client.aurora(*command)
    assert done.code == 20
    assert f"pre hooks stopped the call of {method}: Notes returned a false value; nothing was done" in done.err
    assert not {"createJob", "addInstances", "killTasks", "startCronJob", "startJobUpdate"} & set(west.server.methods)


def test_a_restart_has_hooks(west: West) -> None:
    west.write(GENERIC, "Notes(answer=False)")
    done = west.client.aurora("job", "restart", KEY, "--config", str(west.file))
    assert done.code == 20
    assert west.notes() == [["pre", "restart", KEY, "hello", "NoneType", ["config"]]]
    assert "restartShards" not in west.server.methods


def test_hooks_must_be_enabled(west: West) -> None:
    west.write(GENERIC, "Notes(answer=False)", enabled=False)
    assert west.create().code == 0
    assert west.notes() == []
    west.write(GENERIC, "Notes(answer=False)")
    assert west.client.aurora("job", "add", f"{KEY}/0", "2").code == 0  # without --config there are none


def test_one_hook_that_fails_does_not_hide_the_others(west: West) -> None:
    methods = """
    def pre_create_job(self, config):
        self.note('pre')
        if self.answer == 'fail':
            raise KeyError('oh')
        return True
    def post_create_job(self, result, config):
        self.note('post')
        raise ValueError('tut')
    """
    west.write(methods, "Notes('fail'), Notes()")
    done = west.create()
    assert done.code == 20
    assert "stopped the call of create_job: Notes failed (KeyError: 'oh'); nothing was done" in done.err
    assert "Traceback" not in done.err
    assert west.notes() == [["pre"], ["pre"]]
    west.write(methods, "Notes(), Notes()")
    done = west.create()
    assert done.code == 0
    assert done.err.count("hook Notes failed after create_job (post): ValueError: tut; passed over") == 2


def test_global_hooks(west: West) -> None:
    """Around every call, whatever the configuration says; before its own."""
    seen: list[object] = []

    class Guard:
        def pre_create_job(self, config: Any) -> bool:
            seen.append(config.name())
            return True

        def pre_add_instances(self, job_key: Any, instance: int, count: int, config: Any) -> bool:
            seen.append((job_key.env, instance, count, config))
            return False

        def err_create_job(self, error: Any, config: Any) -> None:
            seen.append(type(error))

    GlobalHookRegistry.register_global_hook(Guard())
    west.write("", enabled=False)
    west.answers["createJob"] = refused(ResponseCode.INVALID_REQUEST, "no")
    assert west.create().code == 4
    assert west.client.aurora("job", "add", f"{KEY}/0", "2").code == 20
    assert seen == ["hello", ApiError, ("prod", 0, 2, None)]
    GlobalHookRegistry.disable_hooks()
    assert west.client.aurora("job", "add", f"{KEY}/0", "2").code == 0
    assert len(seen) == 3
    GlobalHookRegistry.enable_hooks()
    assert west.client.aurora("job", "add", f"{KEY}/0", "2").code == 20


class Recorder(CommandHook):
    """A hook around `job list` and `job create` that writes down what it sees."""

    def __init__(self, name: str, seen: list[Any], before: Callable[[], int] = lambda: 0) -> None:
        self._name = name
        self._seen = seen
        self._before = before

    @property
    def name(self) -> str:
        return self._name

    def get_nouns(self) -> Sequence[str]:
        return ["job"]

    def get_verbs(self, noun: str) -> Sequence[str]:
        return ["create", "list"]

    def pre_command(self, noun: str, verb: str, context: Context, commandline: Sequence[str]) -> int:
        self._seen.append((self._name, "pre", noun, verb, context.options.verb, list(commandline)))
        return self._before()

    def post_command(self, noun: str, verb: str, context: Context, commandline: Sequence[str], result: int) -> None:
        self._seen.append((self._name, "post", result))
        raise CommandHook.Error(7, "too late")


@pytest.fixture
def seen(west: West) -> list[Any]:
    west.answers["getJobs"] = api.Result(get_jobs_result=api.GetJobsResult(()))
    return []


def test_hooks_around_commands(west: West, seen: list[Any]) -> None:
    """All of them after the command, too; the original stopped after the first. What they raise there is told."""
    for name in ("a", "b"):
        GlobalCommandHookRegistry.register_command_hook(Recorder(name, seen))
    done = west.client.aurora("job", "list", "west")
    assert done.code == 0
    words = ["job", "list", "west"]
    assert seen == [
        ("a", "pre", "job", "list", "list", words), ("b", "pre", "job", "list", "list", words),
        ("a", "post", 0), ("b", "post", 0),
    ]  # fmt: skip
    assert "command hook b failed after the command: Error: too late; passed over" in done.err
    seen.clear()
    assert west.client.aurora("job", "status", KEY).code == 0
    assert seen == []


def fails() -> int:
    raise KeyError("oh")


def errs() -> int:
    raise CommandHook.Error(77, "not on Fridays")


@pytest.mark.parametrize(
    "before, code, expected",
    [
        (lambda: 9, 9, "Command aborted by command hook a"),
        (errs, 77, "Error executing command hook a: not on Fridays; aborting"),
        (fails, 20, "Error executing command hook a: KeyError: 'oh'; aborting"),
    ],
)
def test_a_command_that_a_hook_stops(
    west: West, seen: list[Any], before: Callable[[], int], code: int, expected: str
) -> None:
    GlobalCommandHookRegistry.register_command_hook(Recorder("a", seen, before))
    done = west.client.aurora("job", "list", "west")
    assert (done.code, done.out) == (code, "")
    assert expected in done.err
    assert "Traceback" not in done.err
    assert west.server.sent == []
    assert len(seen) == 1


def test_hooks_that_are_skipped(west: West, seen: list[Any]) -> None:
    for name in ("a", "b"):
        GlobalCommandHookRegistry.register_command_hook(Recorder(name, seen))
    assert west.client.aurora("job", "list", "west", "--skip-hooks", "a").code == 0
    assert {entry[0] for entry in seen} == {"b"}
    seen.clear()
    assert west.client.aurora("job", "list", "west", "--skip-hooks", "all").code == 0
    assert seen == []
    assert "this command has no hook c" in west.client.aurora("job", "list", "west", "--skip-hooks", "c,a").err
    with pytest.raises(ValueError, match="may not be called 'all'"):
        GlobalCommandHookRegistry.register_command_hook(Recorder("all", seen))


PLUGIN = """
from scheduler.client.hooks import CommandHook, CommandOption, ConfigurationPlugin

SEEN = []


class Ticket(ConfigurationPlugin):
    def get_options(self):
        return [CommandOption("--ticket", metavar="T", help="the ticket that asks for it")]

    def before_dispatch(self, raw_args):
        return [word.replace("WEST", "west") for word in raw_args]

    def before_execution(self, context):
        if context.options.ticket is None:
            raise self.Error("--ticket is needed", 42)
        context.print_out("for " + context.options.ticket, indent=2)

    def after_execution(self, context, result_code):
        SEEN.append((context.options.noun, result_code))
        raise RuntimeError("tut")


class Note(CommandHook):
    name = "note"

    def get_nouns(self):
        return ["job"]

    def get_verbs(self, noun):
        return ["list"]

    def pre_command(self, noun, verb, context, commandline):
        SEEN.append(context.args)
        return 0


class Refuse:
    def pre_create_job(self, config):
        SEEN.append(config.name())
        return False


def by_rack(host):
    return host.split("-")[0]
"""


@pytest.fixture
def installed(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A distribution that extends the client in every way."""
    site = client.path / "site"
    info = site / "site_hooks-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "site_hooks.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: site-hooks\nVersion: 1.0\n")
    groups = {
        extending.API_HOOKS: "refuse = site_hooks:Refuse",
        extending.COMMAND_HOOKS: "note = site_hooks:Note",
        extending.PLUGINS: "ticket = site_hooks:Ticket",
        hosts.GROUPINGS: "by_rack = site_hooks:by_rack",
    }
    (info / "entry_points.txt").write_text("".join(f"[{group}]\n{line}\n" for group, line in groups.items()))
    monkeypatch.syspath_prepend(str(site))
    yield info
    sys.modules.pop("site_hooks", None)


def test_installed_extensions(west: West, seen: list[Any], installed: Path) -> None:
    done = west.client.aurora("job", "list", "WEST", "--ticket", "T-1")
    assert (done.code, done.out) == (0, "  for T-1\n")
    assert "plug-in Ticket failed after the command: RuntimeError: tut; passed over" in done.err
    noted = sys.modules["site_hooks"].SEEN
    assert noted == [["job", "list", "west", "--ticket", "T-1"], ("job", 0)]
    done = west.client.aurora("job", "list", "west")
    assert done.code == 42
    assert "Error in configuration plugin Ticket before execution: --ticket is needed" in done.err
    assert noted[-1] == ("job", 42)
    done = west.create("--ticket", "T-1")
    assert done.code == 20
    assert "Refuse returned a false value" in done.err
    assert hosts.grouping_named("by_rack")("r1-h7") == "r1"


def test_an_extension_that_cannot_be_loaded(west: West, seen: list[Any], installed: Path) -> None:
    """A check that is missing must not look like one that was passed."""
    (installed / "entry_points.txt").write_text(f"[{extending.COMMAND_HOOKS}]\nnote = site_hooks:Nothing\n")
    done = west.client.aurora("job", "list", "west")
    assert (done.code, done.out) == (20, "")
    assert "plug-in 'note' (thermos.command_hooks, of distribution site-hooks) cannot be loaded: " in done.err
    assert west.server.sent == []


WRONG = {
    "ConfigurationPlugin.get_options=lambda self: [CommandOption('--json')]": (
        "Error in configuration plugin Ticket while adding options: ArgumentError: "
    ),
    "Note.get_verbs=lambda self, noun: 1 / 0": "a command hook does not say when it is run: ZeroDivisionError: ",
    "Note.name='all'": "a command hook may not be called 'all'",
    "Refuse.__init__=lambda self: 1 / 0": "plug-in 'refuse' (thermos.client_hooks) cannot be made: ZeroDivisionError: ",
    "1 / 0": "plug-in 'refuse' (thermos.client_hooks, of distribution site-hooks) cannot be loaded: ZeroDivision",
}


@pytest.mark.parametrize("fault", WRONG)
def test_an_extension_that_is_wrong(west: West, seen: list[Any], installed: Path, fault: str) -> None:
    """One sentence that says whose fault it is, and no traceback."""
    text = PLUGIN + fault.replace("ConfigurationPlugin", "Ticket") + "\n"
    (installed.parent / "site_hooks.py").write_text(text)
    done = west.client.aurora("job", "list", "west", "--ticket", "T-1")
    assert (done.code, done.out) == (20, "")
    assert WRONG[fault] in done.err
    assert "Traceback" not in done.err
    assert west.server.sent == []


def test_options_of_the_reference_are_ours_alone(installed: Path, client: Client) -> None:
    assert "--ticket" not in client.aurora("help", "job", "list").out
    assert CommandOption("--x") is not None
    assert ConfigurationPlugin().before_dispatch(["a"]) == ["a"]


def documented(name: str) -> str:
    """The block of the page on hooks that says that it is tested as this file."""
    text = (ROOT / "docs" / "hooks.md").read_text()
    block = text.partition(f"<!-- tested: {name} -->\n```")[2]
    return block.partition("\n")[2].partition("```")[0]


def test_the_hooks_of_the_page(west: West) -> None:
    west.file.write_text(documented("hello.aurora"))
    key = "west/www-data/prod/hello"
    gone = api.Result(schedule_status_result=api.ScheduleStatusResult(()))
    west.answers["getTasksWithoutConfigs"] = lambda sent: (
        gone
        if "killTasks" in west.server.methods
        else api.Result(schedule_status_result=api.ScheduleStatusResult((TASK,)))
    )
    done = west.client.aurora("job", "create", key, str(west.file))
    assert f"created {key}\n" in done.out, done.err
    words = ("job", "kill", f"{key}/0", "--config", str(west.file))
    done = west.client.aurora(*words)
    assert done.code == 20
    assert "pre hooks stopped the call of kill_job: Careful returned a false value" in done.err
    assert west.client.aurora(*words, "-m", "it hangs").code == 0


def test_the_distribution_of_the_page(
    west: West, client: Client, monkeypatch: pytest.MonkeyPatch, installed: Path
) -> None:
    (installed.parent / "site_hooks.py").write_text(documented("site_hooks.py"))
    table = tomllib.loads(documented("pyproject.toml"))["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in table.items()]
    (installed / "entry_points.txt").write_text("".join(lines))
    words = ("update", "start", KEY, str(west.file))
    done = client.aurora(*words)
    assert done.code == 6
    assert "which ticket asks for this? --ticket T" in done.err
    monkeypatch.delenv("OFFICE", raising=False)
    assert client.aurora(*words, "--ticket", "T-1").code == 9
    assert client.aurora(*words, "--ticket", "T-1", "--skip-hooks", "office-hours").code == 0
    monkeypatch.setenv("OFFICE", "open")
    assert client.aurora(*words, "--ticket", "T-1").code == 0
    journal = (client.path / "aurora.log").read_text().splitlines()
    assert journal[:2] == [f"pre start_job_update {KEY}", f"post start_job_update {KEY}"]
    assert hosts.grouping_named("by_rack")("r1-h7") == "r1"
