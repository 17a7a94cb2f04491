"""The ``aurora`` command: finds noun and verb, and hands over; imports only what that verb needs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from scheduler.client import nouns
from scheduler.client.exit_codes import ExitCode
from scheduler.client.extending import Extensions
from scheduler.client.program import guarded, prepare_streams, run
from scheduler.client.session import Session
from scheduler.client.verb import build_parser, parse
from scheduler.client.world import World, say
from thermos.definition import nearest

PROGRAM: Final = "aurora"
_HELP: Final = ("-h", "--help")


def main(argv: Sequence[str] | None = None, session: Session | None = None) -> int:
    """Run the command line *argv* (default: the process's own) and return its exit code."""
    if argv is None:
        argv = sys.argv[1:]
        prepare_streams()
    words = list(argv)
    if words and words[0] == "--version":
        from thermos import __version__

        print(f"aurora {__version__}")
        return ExitCode.OK
    if not words or words[0] in _HELP or words[0] == "help":
        return _help(words[1:] if words[:1] == ["help"] else [])
    session = session or Session(World())
    return guarded(PROGRAM, session, lambda: _command(words, session))


def _command(words: list[str], session: Session) -> int:
    extensions = Extensions.load()
    words = extensions.before_dispatch(words)
    if not words:
        return _help([])
    noun = words[0]
    if noun not in nouns.NOUNS:
        return _unknown(f"there is no noun '{noun}'", noun, nouns.NOUNS, f"{PROGRAM} help")
    if len(words) == 1:
        _help([noun])
        return ExitCode.USAGE
    if words[1] in _HELP:
        return _help([noun])
    name = words[1]
    if name not in nouns.NOUNS[noun]:
        return _unknown(f"{noun} has no verb '{name}'", name, nouns.NOUNS[noun], f"{PROGRAM} help {noun}")
    verb = nouns.load(noun, name)
    return run(PROGRAM, verb, lambda: parse(PROGRAM, verb, words[2:], extensions.add_options), session, extensions)


def _unknown(what: str, word: str, known: Iterable[str], help_command: str) -> int:
    close = nearest(word, known)
    hint = f"did you mean '{close}'? " if close is not None else ""
    say(f"{PROGRAM}: {what}; {hint}`{help_command}` lists them")
    return ExitCode.USAGE


def _help(words: list[str]) -> int:
    """All nouns, the verbs of one, or the help of one verb."""
    if len(words) > 1 and words[1] in nouns.NOUNS.get(words[0], {}):
        build_parser(PROGRAM, nouns.load(words[0], words[1])).print_help()
        return ExitCode.OK
    if words and words[0] not in nouns.NOUNS:
        return _unknown(f"there is no noun '{words[0]}'", words[0], nouns.NOUNS, f"{PROGRAM} help")
    if words:
        print(f"usage: {PROGRAM} {words[0]} VERB ...\n\n{words[0]}: {nouns.SUMMARIES[words[0]]}\n")
        for name in nouns.NOUNS[words[0]]:
            print(f"  {name:<19}{nouns.load(words[0], name).summary}")
        print(f"\n`{PROGRAM} {words[0]} VERB --help` explains one, with an example and its exit codes.")
        return ExitCode.OK
    print(f"usage: {PROGRAM} NOUN VERB ...\n\nTalk to a scheduler of jobs: this project's, or Apache Aurora's.\n")
    for noun, verbs in nouns.NOUNS.items():
        print(f"  {noun:<8}{nouns.SUMMARIES[noun]}\n          {', '.join(verbs)}")
    print(f"\n`{PROGRAM} NOUN VERB --help` explains one, with an example and its exit codes.")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
