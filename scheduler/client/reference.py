"""Generated pages on the clients: ``python -m scheduler.client.reference --write`` or ``--check``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from scheduler.client import admin_main, nouns
from scheduler.client import main as aurora_main
from scheduler.client.exit_codes import ExitCode
from scheduler.client.verb import Verb, build_parser
from thermos import generated

#: Where the pages lie in a checkout.
DIRECTORY: Final = Path(__file__).parent.parent.parent / "docs" / "reference"

_GENERATED: Final = "<!-- Made by `python -m scheduler.client.reference --write`; do not edit. -->\n"

_AURORA_HEAD: Final = """\
# The `aurora` command

    aurora NOUN VERB ...

The client for users: of this project's scheduler, or of Apache Aurora's, whose API is the same. Nouns, verbs, options,
exit codes and what is printed to stdout are those of Aurora's client. Results go to stdout, everything else to stderr.
`--write-json` prints JSON in the form that Aurora's client gives it; `--json` prints one object with `"schema": 1`, a
number that is raised when a field changes its meaning or goes. [Hooks and plug-ins](../hooks.md) can be added.

A job is named `CLUSTER/ROLE/ENV/NAME`. Instances of it are numbers and ranges behind that: `west/www/prod/hello/0-2,5`.
"""

_CLUSTERS: Final = """\
## clusters.json

Which clusters there are stands in `$AURORA_CONFIG_ROOT/clusters.json` (default: `/etc/aurora`) and then in
`~/.aurora/clusters.json`, whose clusters replace those of the same name. It is a list of objects:

| key | meaning |
| --- | --- |
| `name` | what the cluster is called in job keys |
| `scheduler_uri` | address of the scheduler; with it, ZooKeeper is not asked |
| `zk`, `zk_port` | servers of ZooKeeper, with commas between them, and their port (2181) |
| `scheduler_zk_path` | where in ZooKeeper the leader announces itself |
| `proxy_url` | address for the pages that people are shown, where it is another one |
| `auth_mechanism` | `UNAUTHENTICATED`: what `~/.netrc` has for the scheduler's host is sent, if anything |
| `slave_root` | work directory of the agents, for `aurora task` |
| `slave_run_directory` | name of a run below it, for `aurora task`: `latest` |
| `docker_registry` | where digests of images are asked for; default: `https://registry-1.docker.io` |

## When the scheduler does not answer

What was not heard (no connection, no leader) is tried five times, a second apart. What only looks, `job restart` and
what the scheduler calls transient are tried every 5 s for 10 minutes. Any other change that may have been heard is not
repeated: the command ends with 7, since the same change twice may be another change. What is waited for, since when and
why is told on stderr. Ctrl-C is safe at any moment: the command says what was done and what was not, and ends with 130.
"""

_ADMIN_HEAD: Final = """\
# The `aurora_admin` command

    aurora_admin COMMAND CLUSTER ...

The client for administrators, beside [aurora](aurora.md), where `clusters.json` and the retries are explained. Commands
and options are those of Aurora's `aurora_admin`. Results go to stdout, everything else to stderr.
"""


def aurora() -> str:
    """The page on ``aurora``."""
    verbs = [nouns.load(noun, verb) for noun, of_noun in nouns.NOUNS.items() for verb in of_noun]
    return "\n".join(
        [_GENERATED + _AURORA_HEAD, _table(verbs), *_sections(aurora_main.PROGRAM, verbs), _CLUSTERS, _codes()]
    )


def aurora_admin() -> str:
    """The page on ``aurora_admin``."""
    verbs = [nouns.load_admin(name) for name in nouns.ADMIN]
    return "\n".join([_GENERATED + _ADMIN_HEAD, _table(verbs), *_sections(admin_main.PROGRAM, verbs)])


def _table(verbs: Iterable[Verb]) -> str:
    rows = [f"| [{verb.name}](#{verb.name.replace(' ', '-')}) | {verb.summary} |" for verb in verbs]
    return "\n".join(["| | |", "| --- | --- |", *rows, ""])


def _sections(program: str, verbs: Iterable[Verb]) -> Iterable[str]:
    for verb in verbs:
        parser = build_parser(program, verb)
        lines = [f"## {verb.name}", "", f"    {_usage(parser)}", "", verb.description, ""]
        lines += ["| argument | meaning |", "| --- | --- |", *map(_row, parser._actions), ""]
        lines += ["```sh", verb.example, "```", ""]
        if verb.json:
            lines += ["`--json`: " + ", ".join(f"`{field}`" for field in verb.json) + ".", ""]
        codes = ", ".join(f"[{int(code)} {code.name}](aurora.md#exit-codes)" for code in verb.exit_codes)
        yield "\n".join([*lines, f"Exit codes: {codes}.", ""])


def _usage(parser: argparse.ArgumentParser) -> str:
    shapes = {None: "{}", "?": "[{}]", "+": "{} ..."}
    words = [
        shapes[str(action.nargs) if action.nargs is not None else None].format(action.metavar)
        for action in parser._actions
        if not action.option_strings
    ]
    return " ".join([parser.prog, "[options]", *words])


def _row(action: argparse.Action) -> str:
    shown = ", ".join(action.option_strings) or str(action.metavar)
    if action.option_strings and action.nargs != 0:
        shown += " " + (
            "|".join(map(str, action.choices)) if action.choices else str(action.metavar or action.dest.upper())
        )
    cells = (shown, (action.help or "").replace("%%", "%"))
    name, meaning = (cell.replace("|", "\\|") for cell in cells)
    return f"| `{name}` | {meaning} |"


def _codes() -> str:
    rows = [f"| {int(code)} | {code.name} | {code.doc} |" for code in ExitCode]
    head = ["## Exit codes", "", "Of both clients; they are those of Aurora's.", "", "| code | name | meaning |"]
    return "\n".join([*head, "| ---: | --- | --- |", *rows, ""])


#: File name → what makes it.
PAGES: Final[dict[str, Callable[[], str]]] = {"aurora.md": aurora, "aurora_admin.md": aurora_admin}


def main(argv: list[str] | None = None) -> int:
    """Write the pages, or check that they are what would be written; the exit code."""
    return generated.main("scheduler.client.reference", PAGES, DIRECTORY, argv)


if __name__ == "__main__":
    sys.exit(main())
