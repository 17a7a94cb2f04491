"""Finders by name: the command line's way of asking, and whose fault it is when one does not work."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from detectors import plugins
from detectors.plugins import DetectorUnknown, PluginFailed
from detectors.roots import PathDetector
from thermos.errors import ExitCode


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    plugins.add_options(parser)
    return parser.parse_args(words)


def found(*words: str) -> list[str]:
    return plugins.from_options(parsed(*words)).get_paths()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of installed distributions."""
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(path)
    return path


def install(site: Path, distribution: str, code: str, entry: str, name: str = "mine") -> None:
    """A distribution as pip leaves it: one module, and an entry point in our group."""
    module = distribution.replace("-", "_")
    (site / f"{module}.py").write_text(code)
    info = site / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[thermos.path_detectors]\n{name} = {entry}\n")
    sys.modules.pop(module, None)


def test_the_defaults_and_what_is_added(tmp_path: Path) -> None:
    words = ["--root", f"{tmp_path}/r", "--mesos-root", f"{tmp_path}/m"]
    assert found(*words) == [f"{tmp_path}/r"]
    assert found(*words, "--detector", f"fixed:path={tmp_path}/x", "--detector", f"fixed:path={tmp_path}/y") == [
        f"{tmp_path}/r", f"{tmp_path}/x", f"{tmp_path}/y",
    ]  # fmt: skip
    args = parsed(*words, "--detector", "fixed")
    assert plugins.places(args) == f"{tmp_path}/r, {tmp_path}/m and what --detector fixed finds"


@pytest.mark.parametrize(
    "text, name, options",
    [
        ("a", "a", {}),
        ("a:", "a", {}),
        ("a:k=v", "a", {"k": "v"}),
        ("a-b.c:k=v,l=x=y:z", "a-b.c", {"k": "v", "l": "x=y:z"}),
        (r"a:k=one\,two,l=", "a", {"k": "one,two", "l": ""}),
    ],
)
def test_a_choice(text: str, name: str, options: dict[str, str]) -> None:
    assert plugins.choice(text) == (name, options)


@pytest.mark.parametrize("text", ["", ":k=v", "a b", "a:k", "a:=v", "a:1=v", "a:k=v,,l=w", "a:k=v,k=w"])
def test_what_is_no_choice(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        plugins.choice(text)


def test_an_unknown_name_lists_those_there_are(site: Path) -> None:
    install(site, "mine-finder", "", "mine_finder:Finder")
    with pytest.raises(DetectorUnknown, match=r"no detector 'nosuch'; there are: fixed, mesos, mine$") as error:
        found("--detector", "nosuch")
    assert error.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    "words, message",
    [
        ("fixed:pth=/x", "detector fixed: got an unexpected keyword argument 'pth'; its options are: path (optional)"),
        ("mesos:sandbox_path=..", "detector mesos: '..' is no path below a sandbox"),
    ],
)
def test_options_that_it_does_not_take(words: str, message: str) -> None:
    with pytest.raises(DetectorUnknown) as error:
        found("--detector", words)
    assert str(error.value) == message


GOOD = """
class Finder:
    def __init__(self, base, times="1"):
        self.paths = [base + str(n) for n in range(int(times))]
    def get_paths(self):
        return self.paths
"""


def test_a_plug_in_is_used_with_its_options(site: Path) -> None:
    install(site, "good-finder", GOOD, "good_finder:Finder")
    assert found("--root", "/r", "--detector", "mine:base=/x,times=2") == ["/r", "/x0", "/x1"]
    with pytest.raises(DetectorUnknown, match=r"missing a required argument: 'base'; .*: base, times \(optional\)"):
        found("--detector", "mine")


@pytest.mark.parametrize(
    "code, message",
    [
        ("import nosuchmodule", "cannot be loaded: ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("raise SystemExit(0)", "cannot be loaded: SystemExit: 0"),
        ("1 +", "cannot be loaded: SyntaxError"),
        ("", "cannot be loaded: AttributeError"),
        ("Finder = 3", "is not callable, but int"),
        ("def Finder(): raise RuntimeError('no')", "does not start: RuntimeError: no"),
        ("def Finder(): return object()", "gave object, which has no get_paths()"),
    ],
)
def test_one_that_does_not_load_is_told_with_its_distribution(site: Path, code: str, message: str) -> None:
    install(site, "bad-finder", code, "bad_finder:Finder")
    with pytest.raises(PluginFailed) as error:
        found("--detector", "mine")
    assert str(error.value).startswith(f"detector mine of bad-finder 1.2 (bad_finder:Finder) {message}")
    assert error.value.exit_code == ExitCode.PLUGIN


@pytest.mark.parametrize(
    "body, message",
    [
        ("raise KeyError('x')", "failed: KeyError: 'x'"),
        ("return None", "gave NoneType, not a list of paths"),
        ("return '/x'", "gave str, not a list of paths"),
        ("return ['x']", "gave 'x', which is no absolute path"),
        ("return [3]", "gave 3, which is no absolute path"),
        ("return ['/a\\0b']", "gave '/a\\x00b', which is no absolute path"),
    ],
)
def test_one_that_fails_when_asked_is_told_with_its_distribution(site: Path, body: str, message: str) -> None:
    install(site, "bad-finder", f"class Finder:\n    def get_paths(self):\n        {body}\n", "bad_finder:Finder")
    with pytest.raises(PluginFailed) as error:
        found("--detector", "mine")
    assert str(error.value) == f"detector mine of bad-finder 1.2 (bad_finder:Finder) {message}"


LOOKING = """
class Finder:
    def get_paths(self):
        return {"/b", "/a"}
    def look(self, changed=None):
        return %s
"""


def test_one_that_looks_is_guarded_too(site: Path) -> None:
    install(site, "look-finder", LOOKING % "(None, ['/a'], ['/'])", "look_finder:Finder")
    detector = plugins.make("mine", {})
    assert isinstance(detector, plugins.Looking)
    assert detector.get_paths() == ["/a", "/b"]  # of a set, in a stable order
    assert detector.look() == (None, ["/a"], ["/"], [])


@pytest.mark.parametrize("answer", ["None", "(None, ['/a'])", "('x', [], [])", "(None, ['a'], [])", "(None, [], [3])"])
def test_a_wrong_look(site: Path, answer: str) -> None:
    install(site, "look-finder", LOOKING % answer, "look_finder:Finder")
    detector = plugins.make("mine", {})
    assert isinstance(detector, plugins.Looking)
    with pytest.raises(PluginFailed, match=r"detector mine of look-finder 1\.2"):
        detector.look()


def test_two_of_one_name(site: Path) -> None:
    install(site, "good-finder", GOOD, "good_finder:Finder")
    install(site, "other-finder", GOOD, "other_finder:Finder")
    with pytest.raises(PluginFailed) as error:
        found("--detector", "mine:base=/x")
    said = str(error.value)
    assert said.startswith("detector mine is registered by ")
    assert "good-finder 1.2" in said and "other-finder 1.2" in said


def test_ours_cannot_be_replaced(site: Path) -> None:
    install(site, "sly-finder", GOOD, "sly_finder:Finder", name="fixed")
    assert isinstance(plugins.make("fixed", {"path": "/x"}), PathDetector)
    assert plugins.make("fixed", {"path": "/x"}).get_paths() == ["/x"]
