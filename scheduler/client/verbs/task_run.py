"""``aurora task run``: a command on the hosts of a job's instances."""

from __future__ import annotations

import argparse
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed

from scheduler.client import options, remote
from scheduler.client.errors import CommandFailed
from scheduler.client.exit_codes import ExitCode
from scheduler.client.keys import InstancesRef
from scheduler.client.printing import print_json
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.world import say

#: ssh's own exit code: it did not get there.
_SSH_FAILED = 255


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_instances(parser)
    parser.add_argument("command", metavar="COMMAND", help="what the shell on each host runs, in the sandbox")
    parser.add_argument(
        "-t", "--threads", type=options.positive, default=1, metavar="N", help="hosts at the same time; default: 1"
    )
    add_ssh(parser)
    options.add_json(parser)
    options.add_hooks(parser)


def add_ssh(parser: argparse.ArgumentParser) -> None:
    """Options that `task ssh` has as well."""
    parser.add_argument("-l", "--ssh-user", metavar="USER", help="log in as this user; default: the job's role")
    parser.add_argument(
        "--ssh-options", action="append", default=[], metavar="OPTIONS", help="more options for ssh, as one text"
    )
    parser.add_argument(
        "--executor-sandbox", action="store_true", help="the executor's directory, not the task's within it"
    )


def execute(args: argparse.Namespace, session: Session) -> int:
    """Run the command everywhere, and print what it printed."""
    wanted: InstancesRef = args.instances
    scheduler = session.scheduler(wanted.job.cluster)
    commands = []
    for task in remote.live_tasks(scheduler, wanted):
        line = remote.in_sandbox(scheduler.cluster, task, args.command, args.executor_sandbox)
        login = f"{remote.user_of(task, args.ssh_user)}@{remote.host_of(task)}"
        ssh = ["ssh", "-n", "-q", *remote.split_options(args.ssh_options), login, line]
        commands.append((task.instance_id, remote.host_of(task), ssh))
    answers = []
    codes: Counter[int] = Counter()
    session.so_far = f"the command may have run on any of the {len(commands)} hosts of {wanted}"
    with ThreadPoolExecutor(max_workers=args.threads) as pool:
        waiting = {pool.submit(session.world.capture, ssh): (number, host) for number, host, ssh in commands}
        try:
            for done in as_completed(waiting):
                number, host = waiting[done]
                code, text = done.result()
                codes[code] += 1
                if args.json:
                    answers.append({"instance": number, "host": host, "exit_code": code, "output": text})
                else:
                    for line in text.splitlines():
                        print(f"{host}:  {line}", flush=True)
                if code == _SSH_FAILED:
                    say(f"{host}: ssh did not get there, or the command ended with {code}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if args.json:
        print_json({"job": str(wanted.job), "answers": sorted(answers, key=lambda answer: str(answer["instance"]))})
    if codes[_SSH_FAILED] == len(commands):
        raise CommandFailed(f"no host of {wanted} could be reached by ssh")
    return ExitCode.OK


VERBS = {
    "task run": Verb(
        "task run",
        "run a command on the hosts of instances",
        "Log in by ssh on the host of each running instance, go to its sandbox and run the command there. Each line "
        "it prints comes with the host before it. {{mesos.instance}}, {{thermos.task_id}} and {{thermos.ports[NAME]}} "
        "may stand in it.",
        "aurora task run west/www-data/prod/hello 'tail -n 3 .logs/web/0/stdout'\n"
        "aurora task run west/www-data/prod/hello/0-9 -t 5 'curl -s localhost:{{thermos.ports[http]}}/vars'",
        (
            ExitCode.OK,
            ExitCode.USAGE,
            ExitCode.INVALID_CONFIGURATION,
            ExitCode.COMMAND_FAILURE,
            ExitCode.INVALID_PARAMETER,
            ExitCode.TIMEOUT,
            ExitCode.AUTH_ERROR,
            ExitCode.INTERRUPTED,
        ),
        configure,
        execute,
        ("job", "answers"),
    )
}
