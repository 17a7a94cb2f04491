"""``thermos completion``: what a shell needs to complete our command lines; generated from the parsers."""

from __future__ import annotations

import argparse
import sys

from thermos.cli.options import arguments
from thermos.cli.verb import NAMES, Verb, load
from thermos.errors import ExitCode

#: Verbs whose positional arguments are task ids.
_TASKS = ("status", "why", "tail", "kill", "gc")
#: Verbs whose positional arguments are files.
_FILES = ("run", "inspect", "read", "simplerun")

#: Lists task ids, from the output that scripts parse. In fish and zsh as in bash.
_LIST_TASKS = "thermos status 2>/dev/null | sed -n 's/^  \\([^ ]*\\) .*/\\1/p'"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="whose completion to print")


def execute(args: argparse.Namespace) -> int:
    """Print the script."""
    sys.stdout.write({"bash": bash, "zsh": zsh, "fish": fish}[args.shell]())
    return ExitCode.OK


def _flags(verb: Verb) -> list[str]:
    return [flag for argument in arguments(verb) for flag in argument.flags]


def _words(verb: Verb) -> tuple[str, ...]:
    """What the positional arguments of *verb* are chosen from, where that is fixed."""
    if verb.name == "help":
        return NAMES
    return next((argument.choices for argument in arguments(verb) if not argument.flags), ())


def bash() -> str:
    """For bash: ``source <(thermos completion bash)``."""
    cases = []
    for name in NAMES:
        verb = load(name)
        lines = [f"        {name})", f'            flags="{" ".join(_flags(verb))}"']
        if name in _TASKS:
            lines.append(f'            words="$({_LIST_TASKS})"')
        elif name in _FILES:
            lines.append("            files=yes")
        elif _words(verb):
            lines.append(f'            words="{" ".join(_words(verb))}"')
        cases += [*lines, "            ;;"]
    body = "\n".join(cases)
    return f"""\
# bash completion of thermos; made by `thermos completion bash`
_thermos() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} verb= flags= words= files= index
    for ((index = 1; index < COMP_CWORD; index++)); do
        case ${{COMP_WORDS[index]}} in
        --root | --mesos-root | --detector) ((index++)) ;;
        -*) ;;
        *) verb=${{COMP_WORDS[index]}}; break ;;
        esac
    done
    COMPREPLY=()
    case ${{COMP_WORDS[COMP_CWORD - 1]}} in
    --root | --mesos-root | --sandbox)
        COMPREPLY=($(compgen -d -- "$current"))
        return
        ;;
    esac
    case $verb in
        '')
            flags="--root --mesos-root --detector --help --version"
            words="{" ".join(NAMES)}"
            ;;
{body}
    esac
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$current"))
    elif [[ $files ]]; then
        COMPREPLY=($(compgen -f -- "$current"))
    else
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    fi
}}
complete -o filenames -F _thermos thermos
"""


def _zsh_quote(text: str) -> str:
    escaped = text.replace("'", "'\\''")
    for ch in "[]:":
        escaped = escaped.replace(ch, "\\" + ch)
    return escaped


def zsh() -> str:
    """For zsh: a file ``_thermos`` in ``$fpath``."""
    cases = []
    for name in NAMES:
        verb = load(name)
        specs = []
        for argument in arguments(verb):
            text = _zsh_quote(argument.help)
            for flag in argument.flags:
                value = f":{_zsh_quote(argument.value)}:" if argument.value else ""
                if argument.choices:
                    value += f"({' '.join(argument.choices)})"
                elif argument.value in ("PATH", "FILE"):
                    value += "_files"
                specs.append(f"'*{flag}[{text}]{value}'")
        if name in _TASKS:
            specs.append("'*:task:_thermos_tasks'")
        elif name in _FILES:
            specs.append("'*:file:_files'")
        elif _words(verb):
            specs.append(f"'*:word:({' '.join(_words(verb))})'")
        listed = " \\\n            ".join(specs)
        cases.append(f"        {name})\n            _arguments {listed}\n            ;;")
    verbs = "\n".join(f"        '{name}:{_zsh_quote(load(name).summary)}'" for name in NAMES)
    body = "\n".join(cases)
    return f"""\
#compdef thermos
# zsh completion of thermos; made by `thermos completion zsh`
_thermos_tasks() {{
    local -a ids
    ids=(${{(f)"$({_LIST_TASKS})"}})
    compadd -a ids
}}
_thermos() {{
    local context state line
    local -a verbs
    verbs=(
{verbs}
    )
    _arguments -C '--root[checkpoint root]:path:_files -/' \\
        '--mesos-root[work directory of a Mesos agent]:path:_files -/' \\
        '*--detector[finder of checkpoint roots]:finder:' \\
        '1:verb:->verb' '*::argument:->argument'
    case $state in
    verb) _describe verb verbs ;;
    argument)
        case $words[1] in
{body}
        esac
        ;;
    esac
}}
if [ "$funcstack[1]" = _thermos ]; then
    _thermos "$@"
else
    compdef _thermos thermos
fi
"""


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish() -> str:
    """For fish: a file ``thermos.fish`` in its completions directory."""
    names = " ".join(NAMES)
    lines = [
        "# fish completion of thermos; made by `thermos completion fish`",
        "function __thermos_tasks",
        f"    {_LIST_TASKS}",
        "end",
        "complete -c thermos -f",
    ]
    for name in NAMES:
        verb = load(name)
        lines.append(
            f"complete -c thermos -n 'not __fish_seen_subcommand_from {names}' -a {name} -d {_fish_quote(verb.summary)}"
        )
        seen = f"-n '__fish_seen_subcommand_from {name}'"
        for argument in arguments(verb):
            if not argument.flags:
                continue
            flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in argument.flags)
            value = " -r" if argument.value else ""
            if argument.choices:
                value += f" -f -a {_fish_quote(' '.join(argument.choices))}"
            lines.append(f"complete -c thermos {seen} {flags}{value} -d {_fish_quote(argument.help)}")
        if name in _TASKS:
            lines.append(f"complete -c thermos {seen} -a '(__thermos_tasks)'")
        elif name in _FILES:
            lines.append(f"complete -c thermos {seen} -F")
        elif _words(verb):
            lines.append(f"complete -c thermos {seen} -a {_fish_quote(' '.join(_words(verb)))}")
    return "\n".join(lines) + "\n"


VERB = Verb(
    "completion",
    "print the completion script of a shell",
    "Print what makes a shell complete verbs, options, task ids and files of this command.",
    "source <(thermos completion bash)\n"
    "thermos completion zsh > ~/.zfunc/_thermos\n"
    "thermos completion fish > ~/.config/fish/completions/thermos.fish",
    (ExitCode.OK, ExitCode.USAGE),
    configure,
    execute,
)
