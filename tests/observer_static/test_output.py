"""Where a site may lie, and that one observer alone writes there."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import pytest

from observer_static.output import Output
from observer_static.pagedir import PRIVATE, Modes, NotOurs
from tests.support.box import IS_ROOT, NOBODY
from thermos.errors import NotPermitted, TaskOwned
from thermos.formats.paths import SANDBOX_MARKER

pytestmark = pytest.mark.process

RUN = "slaves/agent-1/frameworks/f/executors/e/runs/r"


def open_and_close(path: Path, *roots: Path, modes: Modes = PRIVATE) -> None:
    with contextlib.closing(Output(str(path), modes, [str(root) for root in roots])) as output:
        assert output.is_there()


def test_it_is_made_with_its_parents_for_us_alone(tmp_path: Path) -> None:
    open_and_close(tmp_path / "a" / "b" / "site")
    assert stat.S_IMODE((tmp_path / "a" / "b" / "site").stat().st_mode) == 0o700


def test_a_group_may_read_it(tmp_path: Path) -> None:
    group = os.getgroups()[-1] if os.getgroups() else os.getgid()
    open_and_close(tmp_path / "site", modes=Modes(0o750, 0o640, group))
    info = (tmp_path / "site").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_gid) == (0o750, group)


def test_a_second_observer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first = Output(str(tmp_path / "site"), PRIVATE)
    with contextlib.closing(first), pytest.raises(TaskOwned, match="another thermos_observer"):
        Output(str(tmp_path / "site"), PRIVATE)
    open_and_close(tmp_path / "site")


@pytest.mark.parametrize("below", ["", "x", "checkpoints/t"])
def test_not_in_a_checkpoint_root(tmp_path: Path, below: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(NotOurs, match="checkpoint root"):
        Output(str(root / below), PRIVATE, [str(root)])
    (tmp_path / "link").symlink_to(root)
    with pytest.raises(NotOurs, match="checkpoint root"):
        Output(str(tmp_path / "link" / below / "site"), PRIVATE, [str(root)])
    open_and_close(tmp_path / "root-of-pages", root)


def test_not_in_a_sandbox_of_ours_by_whatever_name(tmp_path: Path) -> None:
    sandbox = tmp_path / "sandbox"
    (sandbox / "deep").mkdir(parents=True)
    (sandbox / SANDBOX_MARKER).write_text("task")
    (tmp_path / "link").symlink_to(sandbox)
    for path in (sandbox, sandbox / "deep" / "site", tmp_path / "link" / "site"):
        with pytest.raises(NotOurs, match="sandbox"):
            Output(str(path), PRIVATE)


@pytest.mark.parametrize("first", ["slaves", "agents"])
def test_not_in_a_sandbox_of_an_agent(tmp_path: Path, first: str) -> None:
    run = tmp_path / RUN.replace("slaves", first)
    for path in (run, run / "site"):
        with pytest.raises(NotOurs, match="sandbox"):
            Output(str(path), PRIVATE)
    open_and_close(tmp_path / "slaves-site")


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_not_where_others_may_write(tmp_path: Path, mode: int) -> None:
    site = tmp_path / "site"
    site.mkdir()
    site.chmod(mode)
    with pytest.raises(NotPermitted, match="may be written by others"):
        Output(str(site), PRIVATE)


def test_not_below_a_directory_where_everybody_may_write(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(NotPermitted, match="everybody"):
        Output(str(tmp_path / "open" / "site"), PRIVATE)
    (tmp_path / "open").chmod(0o1777)  # as /tmp is
    open_and_close(tmp_path / "open" / "site")


@pytest.mark.skipif(not IS_ROOT, reason="giving files away takes root")
def test_not_in_a_directory_of_somebody_else(tmp_path: Path) -> None:
    site = tmp_path / "theirs" / "site"
    site.mkdir(parents=True)
    os.chown(site, NOBODY, NOBODY)
    with pytest.raises(NotPermitted, match="belongs to uid"):
        Output(str(site), PRIVATE)
    os.chown(site, 0, 0)
    os.chown(site.parent, NOBODY, NOBODY)
    with pytest.raises(NotPermitted, match="belongs to uid"):
        Output(str(site), PRIVATE)


def test_not_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "site").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotOurs, match="no directory, or a link to one"):
        Output(str(tmp_path / "site"), PRIVATE)


def test_one_that_is_replaced_is_noticed_and_opened_anew(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with contextlib.closing(Output(str(site), PRIVATE)) as output:
        site.rename(tmp_path / "old")
        assert not output.is_there()
        site.mkdir()
        assert not output.is_there()
        output.reopen()
        assert output.is_there()
        with pytest.raises(TaskOwned):
            Output(str(site), PRIVATE)
