"""A whole executor leaves its verdict where those who look at the host read it: the site, and ``thermos page``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from observer_static.facts import HealthClaim, read_facts
from tests.support.box import process, until
from tests.support.fake_agent import FakeAgent
from tests.support.run import Run
from tests.thermos.cli.command import thermos
from thermos.formats.health_file import Verdict

pytestmark = pytest.mark.process

SLEEPER = process("a", "exec -a WORD sleep 600")
#: The task's own file says how it is.
CHECK = {
    "health_checker": {"shell": {"shell_command": "test ! -e ill"}},
    "initial_interval_secs": 0.1,
    "interval_secs": 0.1,
    "max_consecutive_failures": 10**6,
}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Run]:
    box = tmp_path / "box"
    box.mkdir()
    with FakeAgent() as agent:
        run = Run(agent, box)
        yield run
        run.close()


def claim(made: Run) -> HealthClaim | None:
    return read_facts(str(made.path / "checkpoints"), "t", True).health


def heard(made: Run, is_it: Callable[[HealthClaim], bool]) -> HealthClaim:
    def is_there() -> bool:
        found = claim(made)
        return found is not None and is_it(found)

    until(is_there, lambda: f"{claim(made)}; {made.said}")
    found = claim(made)
    assert found is not None
    return found


def page(made: Run) -> str:
    """What ``thermos page`` says of health."""
    done = thermos("--root", made.path / "checkpoints", "page", "--stdout", "t")
    [said] = re.findall(r"<dt>Health</dt><dd>(.*?)</dd>", done.stdout, re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", "", said).split())


def test_others_read_what_the_checks_say_and_that_its_executor_is_gone(made: Run) -> None:
    made.launch(SLEEPER, health_check_config=CHECK)
    well = heard(made, lambda found: found.verdict is Verdict.HEALTHY)
    assert well.is_current is True and well.since_s is not None
    assert page(made).startswith("healthy ")
    (made.path / "sandbox" / "ill").touch()
    ill = heard(made, lambda found: found.verdict is Verdict.UNHEALTHY)
    assert "status 1" in ill.text
    assert page(made).startswith("not healthy ")
    made.process.kill()
    made.process.wait()
    assert claim(made) == ill._replace(is_current=False)
    assert page(made).startswith("last known: not healthy ")


def test_others_read_that_nothing_is_checked(made: Run) -> None:
    made.launch(SLEEPER)
    heard(made, lambda found: found.verdict is Verdict.UNCHECKED)
    assert page(made) == "not checked"
