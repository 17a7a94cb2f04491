"""Finders of checkpoint roots by name: ours, and those that other distributions register.

A distribution registers one as an entry point in the group ``thermos.path_detectors``: a name, and a callable
that takes options as keywords, all of them text, and returns an object with ``get_paths()``. Every program that
finds tasks takes ``--detector NAME:KEY=VALUE,…``. How to write one: ``docs/detectors.md``.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detectors.roots import (
    DEFAULT_MESOS_ROOT,
    DEFAULT_ROOT,
    SANDBOX_PATH,
    ChainedPathDetector,
    FixedPathDetector,
    Look,
    LookingPathDetector,
    MesosPathDetector,
    PathDetector,
    default_root,
)
from thermos.errors import ExitCode, ThermosError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "thermos.path_detectors"

_SHAPE: Final = re.compile(r"(?P<name>[A-Za-z0-9_.+-]+)(?::(?P<options>.*))?", re.DOTALL)


class DetectorUnknown(ThermosError):
    """The command line asks for a finder that is not there, or in a way it does not understand."""

    exit_code = ExitCode.USAGE


class PluginFailed(ThermosError):
    """A finder that another distribution brought does not work; says which, and whose it is."""

    exit_code = ExitCode.PLUGIN


class Choice(NamedTuple):
    """One ``--detector`` of the command line."""

    name: str
    options: dict[str, str]

    def __str__(self) -> str:
        return self.name


def _fixed(path: str = DEFAULT_ROOT) -> PathDetector:
    return FixedPathDetector(os.path.abspath(path))


def _mesos(root: str = DEFAULT_MESOS_ROOT, sandbox_path: str = SANDBOX_PATH) -> PathDetector:
    return MesosPathDetector(os.path.abspath(root), sandbox_path)


#: Those that are always there.
BUILT_IN: Final[Mapping[str, Callable[..., PathDetector]]] = {"fixed": _fixed, "mesos": _mesos}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where tasks are looked for; what they mean is :func:`from_options`."""
    group = parser.add_argument_group("where tasks are looked for")
    group.add_argument(
        "--root",
        metavar="PATH",
        default=None,
        help="checkpoint root; default: /var/run/thermos as root, else $XDG_STATE_HOME/thermos "
        "or ~/.local/state/thermos",
    )
    group.add_argument(
        "--mesos-root",
        "--mesos_root",
        metavar="PATH",
        default=None,
        help="work directory of a Mesos agent, whose sandboxes are searched too; default: /var/lib/mesos",
    )
    group.add_argument(
        "--detector",
        metavar="NAME[:KEY=VALUE,...]",
        action="append",
        type=choice,
        default=[],
        help="search also where this finder of checkpoint roots says: fixed:path=PATH, mesos:root=PATH or a plug-in "
        "that is installed; may be given again",
    )


def choice(text: str) -> Choice:
    r"""``NAME`` or ``NAME:KEY=VALUE,…``; ``\,`` is a comma in a value. Raises argparse.ArgumentTypeError."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME or NAME:KEY=VALUE,KEY=VALUE")
    options: dict[str, str] = {}
    for part in re.split(r"(?<!\\),", match["options"]) if match["options"] else ():
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise argparse.ArgumentTypeError(f"{part!r} in {text!r} is not KEY=VALUE")
        if key in options:
            raise argparse.ArgumentTypeError(f"{key} is given twice in {text!r}")
        options[key] = value.replace("\\,", ",")
    return Choice(match["name"], options)


def from_options(args: argparse.Namespace) -> PathDetector:
    """The finder that the command line asks for: the root, the agent's sandboxes, then each ``--detector``.

    Raises DetectorUnknown, PluginFailed.
    """
    named = [make(each.name, each.options) for each in args.detector]
    root = os.path.abspath(args.root or default_root())
    mesos = os.path.abspath(args.mesos_root or DEFAULT_MESOS_ROOT)
    return ChainedPathDetector(FixedPathDetector(root), MesosPathDetector(mesos), *named)


def places(args: argparse.Namespace) -> str:
    """The same in words."""
    words = [args.root or default_root(), args.mesos_root or DEFAULT_MESOS_ROOT]
    words += [f"what --detector {each.name} finds" for each in args.detector]
    return f"{', '.join(words[:-1])} and {words[-1]}"


def make(name: str, options: Mapping[str, str]) -> PathDetector:
    """The finder called *name*. Raises DetectorUnknown, PluginFailed."""
    factory = BUILT_IN.get(name)
    if factory is not None:
        _check_options(factory, name, options)
        try:
            return factory(**options)
        except ValueError as error:
            raise DetectorUnknown(f"detector {name}: {error}") from None
    found = _registered(name)
    if not found:
        known = ", ".join(sorted({*BUILT_IN, *(point.name for point in _registered())}))
        raise DetectorUnknown(f"there is no detector {name!r}; there are: {known}")
    if len(found) > 1:
        owners = " and ".join(_owner(point) for point in found)
        raise PluginFailed(f"detector {name} is registered by {owners}; uninstall one of them")
    return _load(found[0], options)


def _registered(name: str | None = None) -> list[EntryPoint]:
    """The entry points called *name*, or all; one that a path names twice counts once."""
    from importlib.metadata import entry_points  # a program without plug-ins does not pay for it

    found: dict[tuple[str, str, str], EntryPoint] = {}
    for point in entry_points(group=GROUP):
        if name is None or point.name == name:
            found.setdefault((point.name, point.value, _owner(point)), point)
    return list(found.values())


def _owner(point: EntryPoint) -> str:
    """The distribution that registers it, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown distribution"


def _load(point: EntryPoint, options: Mapping[str, str]) -> PathDetector:
    whose = f"detector {point.name} of {_owner(point)} ({point.value})"
    try:
        factory = point.load()
    except (Exception, SystemExit) as error:
        raise PluginFailed(f"{whose} cannot be loaded: {_words(error)}") from error
    if not callable(factory):
        raise PluginFailed(f"{whose} is not callable, but {type(factory).__name__}")
    _check_options(factory, point.name, options)
    try:
        detector = factory(**options)
    except (Exception, SystemExit) as error:
        raise PluginFailed(f"{whose} does not start: {_words(error)}") from error
    if not isinstance(detector, PathDetector):
        raise PluginFailed(f"{whose} gave {type(detector).__name__}, which has no get_paths()")
    return Guarded(whose, detector) if not isinstance(detector, LookingPathDetector) else Looking(whose, detector)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _check_options(factory: Callable[..., Any], name: str, options: Mapping[str, str]) -> None:
    """Nothing, if *factory* takes *options*. Raises DetectorUnknown with those that it takes."""
    import inspect  # as dear as a small command's start

    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # of one that is not written in Python, nothing can be known
        return
    try:
        signature.bind(**options)
    except TypeError as error:
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        known = [each for each in signature.parameters.values() if each.kind in kinds]
        takes = ", ".join(each.name + ("" if each.default is each.empty else " (optional)") for each in known)
        raise DetectorUnknown(f"detector {name}: {error}; its options are: {takes or 'none'}") from None


class Guarded:
    """A plug-in's finder: what it raises, or gives instead of paths, is told as the plug-in's fault."""

    def __init__(self, whose: str, detector: PathDetector) -> None:
        self._whose = whose
        self._detector = detector

    def get_paths(self) -> list[str]:
        """Its roots. Raises PluginFailed."""
        return self._paths(self._call(self._detector.get_paths))

    def _call(self, function: Callable[..., Any], *arguments: object) -> Any:
        try:
            return function(*arguments)
        except (Exception, SystemExit) as error:
            raise PluginFailed(f"{self._whose} failed: {_words(error)}") from error

    def _paths(self, found: object) -> list[str]:
        """*found*, if it is a list of absolute paths."""
        if isinstance(found, str) or not isinstance(found, Sequence | set | frozenset):
            raise PluginFailed(f"{self._whose} gave {type(found).__name__}, not a list of paths")
        for path in found:
            if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
                raise PluginFailed(f"{self._whose} gave {path!r}, which is no absolute path")
        return sorted(found) if isinstance(found, set | frozenset) else list(dict.fromkeys(found))


class Looking(Guarded):
    """The same for one that also says where its roots may appear."""

    def __init__(self, whose: str, detector: LookingPathDetector) -> None:
        super().__init__(whose, detector)
        self._looking = detector

    def look(self, changed: str | None = None) -> Look:
        """What it sees. Raises PluginFailed."""
        found = self._call(self._looking.look, changed)
        try:
            scope, roots, parents, closed = Look(*found)
        except TypeError:
            raise PluginFailed(f"{self._whose}: look() gave {type(found).__name__}, not a Look") from None
        if scope is not None:
            self._paths([scope])
        return Look(scope, self._paths(roots), self._paths(parents), self._paths(closed))
