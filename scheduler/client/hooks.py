"""What people who extend the clients import: hooks around calls of the API and around commands, and plug-ins.

Names and meanings are those of Aurora's client, where they lie in ``apache.aurora.client.config``,
``…client.cli.command_hooks``, ``…client.cli`` and ``…client.cli.options``; ``docs/hooks.md`` tells how to use them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from scheduler.client.exit_codes import ExitCode
from scheduler.client.keys import JobRef

if TYPE_CHECKING:  # commands without a configuration do without its loader
    from thermos.config import Config
    from thermos.config.job_schema import Job

#: In place of names of command hooks: all of them. No hook may be called so.
ALL: Final = "all"


class JobConfig:
    """The job of a configuration file, as hooks are given it."""

    def __init__(self, config: Config, job: Job) -> None:
        self._config = config
        self._job = job

    @property
    def hooks(self) -> tuple[object, ...]:
        """The file's ``hooks``, if the job has ``enable_hooks``."""
        return self._config.hooks if self._job.enable_hooks else ()

    def cluster(self) -> str:
        """Name of its cluster."""
        return self._job.cluster

    def role(self) -> str:
        """Its role."""
        return self._job.role

    def environment(self) -> str:
        """Its environment."""
        return self._job.environment

    def name(self) -> str:
        """Its name."""
        return self._job.name

    def instances(self) -> int:
        """How many instances it has."""
        return self._job.instances

    def job_key(self) -> JobRef:
        """Its key."""
        return JobRef(self.cluster(), self.role(), self.environment(), self.name())

    def raw(self) -> Job:
        """All of it."""
        return self._job


class HookConfig(NamedTuple):
    """What ``generic_hook`` is given first: the job's configuration, where there is one, and its key."""

    config: JobConfig | None
    job_key: JobRef


class GlobalHookRegistry:
    """Hooks that are run around every call that can have some, whatever the job's configuration says."""

    _installed: ClassVar[dict[str, object]] = {}
    _hooks: ClassVar[list[object]] = []
    _is_enabled: ClassVar[bool] = True

    @classmethod
    def register_global_hook(cls, hook: object) -> None:
        """Run *hook*, after those that are registered already."""
        cls._hooks.append(hook)

    @classmethod
    def install(cls, hooks: Mapping[str, object]) -> None:
        """Run *hooks*, those of installed distributions by their names, before those that are registered."""
        cls._installed = dict(hooks)

    @classmethod
    def get_hooks(cls) -> list[object]:
        """Those that are to be run, in order."""
        return [*cls._installed.values(), *cls._hooks] if cls._is_enabled else []

    @classmethod
    def disable_hooks(cls) -> None:
        """Run none of them in this process."""
        cls._is_enabled = False

    @classmethod
    def enable_hooks(cls) -> None:
        """Run them again."""
        cls._is_enabled = True

    @classmethod
    def reset(cls) -> None:
        """Forget all of them."""
        cls._installed = {}
        cls._hooks = []
        cls._is_enabled = True


class Context:
    """What hooks around commands and plug-ins are given: the command line, and a way to say something."""

    def __init__(self, options: argparse.Namespace, args: Sequence[str]) -> None:
        #: The options, parsed; with ``noun`` and ``verb``.
        self.options = options
        #: The words of the command line.
        self.args = list(args)

    def print_out(self, message: str, indent: int = 0) -> None:
        """Print to stdout, each line after *indent* blanks."""
        _print(message, indent, sys.stdout)

    def print_err(self, message: str, indent: int = 0) -> None:
        """Print to stderr, each line after *indent* blanks."""
        _print(message, indent, sys.stderr)


def _print(message: str, indent: int, stream: Any) -> None:
    for line in message.split("\n"):
        print(" " * indent + line, file=stream, flush=True)


class CommandHook:
    """Code that is run before and after commands. Subclasses give it a name and say around which."""

    class Error(Exception):
        """Raised by a hook: the command does not go on, and ends with *code*."""

        def __init__(self, code: int, msg: str) -> None:
            super().__init__(msg)
            self.code = code
            self.msg = msg

    @property
    def name(self) -> str:
        """What ``--skip-hooks`` calls it."""
        raise NotImplementedError

    def get_nouns(self) -> Sequence[str]:
        """Nouns with verbs around which it is run."""
        raise NotImplementedError

    def get_verbs(self, noun: str) -> Sequence[str]:
        """Verbs of *noun* around which it is run."""
        raise NotImplementedError

    def pre_command(self, noun: str, verb: str, context: Context, commandline: Sequence[str]) -> int:
        """Called before the command. 0 lets it go on; anything else is the exit code, and nothing is done."""
        return 0

    def post_command(self, noun: str, verb: str, context: Context, commandline: Sequence[str], result: int) -> None:
        """Called after a command that succeeded; *result* is its exit code."""


class GlobalCommandHookRegistry:
    """The hooks around commands."""

    _installed: ClassVar[dict[str, CommandHook]] = {}
    _hooks: ClassVar[list[CommandHook]] = []

    @classmethod
    def register_command_hook(cls, hook: CommandHook) -> None:
        """Run *hook*, after those that are registered already. Raises ValueError: its name is ``all``."""
        _check_name(hook)
        cls._hooks.append(hook)

    @classmethod
    def install(cls, hooks: Mapping[str, CommandHook]) -> None:
        """Run *hooks*, those of installed distributions by their names, before those that are registered."""
        for hook in hooks.values():
            _check_name(hook)
        cls._installed = dict(hooks)

    @classmethod
    def get_command_hooks_for(cls, noun: str, verb: str) -> list[CommandHook]:
        """Those that are to be run around this command, in order."""
        hooks = [*cls._installed.values(), *cls._hooks]
        return [hook for hook in hooks if noun in hook.get_nouns() and verb in hook.get_verbs(noun)]

    @classmethod
    def reset(cls) -> None:
        """Forget all of them."""
        cls._installed = {}
        cls._hooks = []


def _check_name(hook: CommandHook) -> None:
    if hook.name == ALL:
        raise ValueError(f"a command hook may not be called '{ALL}': --skip-hooks {ALL} means every hook")


class CommandOption:
    """An option that a plug-in adds to every verb; takes what ``ArgumentParser.add_argument`` takes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._args = args
        self._kwargs = kwargs

    def add_to_parser(self, parser: argparse.ArgumentParser) -> None:
        """Let *parser* know the option."""
        parser.add_argument(*self._args, **self._kwargs)


class ConfigurationPlugin:
    """Adds options to every command, and is called around each. Subclasses override what they need."""

    class Error(Exception):
        """Raised by a plug-in: the command does not go on, and ends with *code*."""

        def __init__(self, msg: str, code: int = ExitCode.UNKNOWN_ERROR) -> None:
            super().__init__(msg)
            self.code = code
            self.msg = msg

    def get_options(self) -> Sequence[CommandOption]:
        """Options that it adds."""
        return ()

    def before_dispatch(self, raw_args: list[str]) -> list[str]:
        """Called with the words of the command line before anything else; gives those to go on with."""
        return raw_args

    def before_execution(self, context: Context) -> None:
        """Called before the command is carried out."""

    def after_execution(self, context: Context, result_code: int) -> None:
        """Called after it, however it ended."""
