"""Runs hooks and plug-ins: around calls of the API, and around commands.

Source: ``aurora/client/hooks/hooked_api.py``, ``aurora/client/cli/{__init__,command_hooks}.py``. Whatever a hook
raises, the others are run, and nobody sees a traceback. A hook that should have allowed something and failed has not
allowed it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from scheduler.client.errors import ClientError
from scheduler.client.exit_codes import ExitCode
from scheduler.client.hooks import (
    ALL,
    CommandHook,
    ConfigurationPlugin,
    Context,
    GlobalCommandHookRegistry,
    GlobalHookRegistry,
    HookConfig,
)
from scheduler.client.keys import JobRef
from scheduler.client.plugged import load_all
from scheduler.client.printing import clean
from scheduler.client.session import Session
from scheduler.client.world import say

#: Groups of entry points: hooks around calls, hooks around commands, plug-ins.
API_HOOKS: Final = "thermos.client_hooks"
COMMAND_HOOKS: Final = "thermos.command_hooks"
PLUGINS: Final = "thermos.client_plugins"

Result = TypeVar("Result")


class StoppedByHook(ClientError):
    """A hook or a plug-in says no, or failed; it ends with the exit code that it says."""

    def __init__(self, text: str, code: int = ExitCode.UNKNOWN_ERROR) -> None:
        self.code = code  # type: ignore[assignment]  # any number is a hook's to choose
        super().__init__(text)


def hooked(
    session: Session, job: JobRef, method: str, do: Callable[[], Result], *args: object, **kwargs: object
) -> Result:
    """What *do* gives, with the hooks of *method* around it; *args* and *kwargs* are what they are called with.

    Raises:
        StoppedByHook: a hook did not allow it, so it was not done.
    """
    config = session.config
    hooks = [*GlobalHookRegistry.get_hooks(), *(config.hooks if config is not None else ())]
    around = _Around(hooks, HookConfig(config, job), method, args, kwargs)
    blockers = around.before()
    if blockers:
        raise StoppedByHook(f"pre hooks stopped the call of {method}: {'; '.join(blockers)}; nothing was done")
    try:
        result = do()
    except Exception as error:
        around.after("err", error)
        raise
    around.after("post", result)
    return result


class _Around:
    """The hooks of one call."""

    def __init__(
        self,
        hooks: Sequence[object],
        config: HookConfig,
        method: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> None:
        self._hooks = hooks
        self._config = config
        self._method = method
        self._args = args
        self._kwargs = kwargs

    def before(self) -> list[str]:
        """Run all of them; what those said that do not allow it."""
        said = []
        for hook in self._hooks:
            call = self._call(hook, "pre", None)
            if call is None:
                continue
            try:
                if not call():
                    said.append(f"{_name(hook)} returned a false value")
            except Exception as error:  # noqa: BLE001  # another's code may raise anything
                said.append(f"{_name(hook)} failed ({_told(error)})")
        return said

    def after(self, event: str, outcome: object) -> None:
        """Run all of them; what goes wrong in them is told."""
        for hook in self._hooks:
            call = self._call(hook, event, outcome)
            if call is None:
                continue
            try:
                call()
            except Exception as error:  # noqa: BLE001  # another's code may raise anything
                say(f"hook {_name(hook)} failed after {self._method} ({event}): {_told(error)}; passed over")

    def _call(self, hook: object, event: str, outcome: object) -> Callable[[], object] | None:
        own = getattr(hook, f"{event}_{self._method}", None)
        if callable(own):
            first = () if event == "pre" else (outcome,)
            return lambda: own(*first, *self._args, **self._kwargs)
        generic = getattr(hook, "generic_hook", None)
        if callable(generic):
            return lambda: generic(self._config, event, self._method, outcome, self._args, self._kwargs)
        return None


def _name(hook: object) -> str:
    return hook.__name__ if isinstance(hook, type) else type(hook).__name__


def _told(error: BaseException) -> str:
    return clean(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


class Extensions:
    """The plug-ins and command hooks of one run of the client."""

    def __init__(self, plugins: Sequence[ConfigurationPlugin] = ()) -> None:
        self._plugins = plugins
        self._context: Context | None = None
        self._hooks: list[CommandHook] = []
        self._words: list[str] = []

    @classmethod
    def load(cls) -> Extensions:
        """Those of installed distributions. Raises ClientError where one of them cannot be loaded."""
        GlobalHookRegistry.install(_all_made(API_HOOKS))
        hooks = _all_made(COMMAND_HOOKS)
        try:
            GlobalCommandHookRegistry.install(hooks)
        except Exception as error:
            raise StoppedByHook(f"a command hook ({COMMAND_HOOKS}) cannot be used: {_told(error)}") from error
        return cls(list(_all_made(PLUGINS).values()))

    def before_dispatch(self, words: Sequence[str]) -> list[str]:
        """The words of the command line, as the plug-ins want them. Raises StoppedByHook."""
        self._words = list(words)
        for plugin in self._plugins:
            changed = _guarded("before dispatch", plugin, partial(plugin.before_dispatch, list(self._words)))
            self._words = list(changed)
        return list(self._words)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Let *parser* know the options of all plug-ins."""

        def add(plugin: ConfigurationPlugin) -> None:
            for option in plugin.get_options():
                option.add_to_parser(parser)

        for plugin in self._plugins:
            _guarded("while adding options", plugin, partial(add, plugin))

    def before(self, name: str, args: argparse.Namespace) -> None:
        """What is due before the command called *name* is carried out. Raises StoppedByHook."""
        noun, verb = name.split(" ")
        args.noun, args.verb = noun, verb
        self._context = context = Context(args, self._words)
        try:
            self._hooks = _without(GlobalCommandHookRegistry.get_command_hooks_for(noun, verb), args)
        except Exception as error:
            raise StoppedByHook(f"a command hook does not say when it is run: {_told(error)}") from error
        for plugin in self._plugins:
            _guarded("before execution", plugin, partial(plugin.before_execution, context))
        for hook in self._hooks:
            try:
                code = hook.pre_command(noun, verb, context, self._words)
            except CommandHook.Error as error:
                text = f"Error executing command hook {hook.name}: {error.msg}; aborting"
                raise StoppedByHook(text, error.code or ExitCode.UNKNOWN_ERROR) from None
            except Exception as error:
                raise StoppedByHook(f"Error executing command hook {hook.name}: {_told(error)}; aborting") from error
            if code != 0:
                raise StoppedByHook(f"Command aborted by command hook {hook.name}", code)

    def done(self, code: int) -> None:
        """What is due after a command that succeeded."""
        if self._context is None:
            return
        options = self._context.options
        for hook in self._hooks:
            try:
                hook.post_command(options.noun, options.verb, self._context, self._words, code)
            except Exception as error:  # noqa: BLE001  # another's code may raise anything
                say(f"command hook {hook.name} failed after the command: {_told(error)}; passed over")

    def after(self, code: int) -> None:
        """What is due after a command, however it ended."""
        if self._context is None:
            return
        for plugin in self._plugins:
            try:
                plugin.after_execution(self._context, code)
            except Exception as error:  # noqa: BLE001  # another's code may raise anything
                say(f"plug-in {_name(plugin)} failed after the command: {_told(error)}; passed over")


def _all_made(group: str) -> dict[str, Any]:
    """What the entry points of *group* name: objects, or classes that are called without arguments."""
    made = {}
    for name, found in load_all(group).items():
        try:
            made[name] = found() if isinstance(found, type) else found
        except Exception as error:
            raise StoppedByHook(f"plug-in '{name}' ({group}) cannot be made: {_told(error)}") from error
    return made


def _guarded(when: str, plugin: ConfigurationPlugin, do: Callable[[], Result]) -> Result:
    try:
        return do()
    except ConfigurationPlugin.Error as error:
        text = f"Error in configuration plugin {_name(plugin)} {when}: {error.msg}"
        raise StoppedByHook(text, error.code or ExitCode.UNKNOWN_ERROR) from None
    except Exception as error:
        raise StoppedByHook(f"Error in configuration plugin {_name(plugin)} {when}: {_told(error)}") from error


def _without(hooks: list[CommandHook], args: argparse.Namespace) -> list[CommandHook]:
    """*hooks* without those that ``--skip-hooks`` names."""
    skipped = getattr(args, "skip_hooks", None)
    if skipped is None:
        return hooks
    if skipped == ALL:
        return []
    names = {name.strip() for name in skipped.split(",")}
    unknown = sorted(names - {hook.name for hook in hooks} - {""})
    if unknown:
        say(f"--skip-hooks: this command has no hook {', '.join(map(clean, unknown))}")
    return [hook for hook in hooks if hook.name not in names]
