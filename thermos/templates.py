"""References in text: ``{{name}}``, ``{{a.b[c].d}}``, and ``{{&name}}`` for the literal text ``{{name}}``.

The grammar and the order of replacement are those of pystachio 0.8 (``naming.py``, ``parsing.py``), in which
Aurora's configurations are written; ``tests/thermos/test_templates.py`` compares the two. References are
replaced until none that is known is left, so that values may hold references and names may be put together:
``{{a[{{b}}]}}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

#: The components of an address: ``.name`` (attribute) or ``[name]`` (element), with their first character.
Address = tuple[str, ...]

#: Passes before a text that still changes is called circular (pystachio's ``MAX_ITERATIONS``).
MAX_PASSES = 100
#: Characters that one text may grow to. A circle such as ``a='{{b}}{{b}}', b='{{a}}{{a}}'`` doubles in each
#: pass; the kernel takes no command line beyond 128 KiB anyway (``MAX_ARG_STRLEN``).
MAX_LENGTH = 1 << 20

#: References to references to references in parsed JSON: beyond this many it is a circle.
_MAX_DEPTH = 50

# Compiled at their first use, by ``re`` itself: most texts hold no reference.
_TEMPLATE = r"{{(&)?([^{}]+?)\1?}}"
_COMPONENT = r"(\.[^\d\W]\w*|\[[\w\-./]+\])"
_START = r"[a-zA-Z_]"


class BadTemplate(ValueError):
    """A text's references cannot be resolved: one is malformed, or they never come to an end."""


def parse_address(address: str) -> Address:
    """The components of ``a.b[c]``: ``('.a', '.b', '[c]')``.

    Raises:
        BadTemplate: it is not one.
    """
    text = "." + address if re.match(_START, address) else address
    parts = re.split(_COMPONENT, text)
    if not address or any(parts[0::2]):
        raise BadTemplate(
            f"{{{{{address}}}}} is not a reference such as {{{{name}}}}, {{{{a.b}}}} or {{{{a[b]}}}}; "
            f"where the text itself is meant, write {{{{&{address}}}}}"
        )
    return tuple(parts[1::2])


def join_address(address: Address) -> str:
    """The address as it is written between braces."""
    return "".join(address).removeprefix(".")


def references(text: str) -> tuple[str, ...]:
    """The addresses *text* refers to, as written, in order, each once; literal ``{{&x}}`` is none."""
    if "{{" not in text:
        return ()
    return tuple(dict.fromkeys(found[2] for found in re.finditer(_TEMPLATE, text) if not found[1]))


def resolve(
    text: str, lookup: Callable[[Address], str | None], *, keep_literals: bool = False
) -> tuple[str, tuple[str, ...]]:
    """*text* with every reference replaced that *lookup* knows, and the addresses that it does not know.

    ``{{&x}}`` becomes ``{{x}}`` at the end, unless *keep_literals*: then a later resolving does it.

    Raises:
        BadTemplate: a malformed reference, or one that never ends.
    """
    if "{{" not in text:
        return text, ()
    known: dict[str, str] = {}
    unknown: dict[str, None] = {}

    def replaced(found: re.Match[str]) -> str:
        address = found[2]
        if found[1]:
            return "{{&" + address + "}}"
        if address not in known:
            value = lookup(parse_address(address))
            if value is None:
                unknown[address] = None
                return found[0]
            known[address] = value
        return known[address]

    for _ in range(MAX_PASSES):
        unknown.clear()
        before, text = text, re.sub(_TEMPLATE, replaced, text)
        if len(text) > MAX_LENGTH:
            raise BadTemplate(f"its references grow beyond {MAX_LENGTH} characters: do they go in a circle?")
        if all(address in unknown for address in references(before)):
            break
    else:
        circle = ", ".join(f"{{{{{address}}}}}" for address in known)
        raise BadTemplate(f"its references go in a circle: {circle}")
    if not keep_literals:
        text = re.sub(_TEMPLATE, lambda found: "{{" + found[2] + "}}" if found[1] else found[0], text)
    return text, tuple(unknown)


def lookup_in(scopes: Sequence[object], address: Address, depth: int = 0) -> str | None:
    """The text at *address* in the first of *scopes* (parsed JSON) that has it, or None.

    References in that text are resolved where it stands: in the objects it lies in, then in *scopes*.

    Raises:
        BadTemplate: those cannot be resolved.
    """
    if depth > _MAX_DEPTH:
        raise BadTemplate(f"its references go in a circle: {{{{{join_address(address)}}}}} leads back to itself")
    for position, scope in enumerate(scopes):
        value: object = scope
        around: list[object] = []
        for part in address:
            if isinstance(value, Mapping):
                around.insert(0, value)
                value = value.get(part[1:] if part[0] == "." else part[1:-1])
            elif isinstance(value, (list, tuple)) and part[0] == "[" and part[1:-1].isdecimal():
                index = int(part[1:-1])
                value = value[index] if index < len(value) else None
            else:
                value = None
            if value is None:
                break
        if isinstance(value, (str, int, float)):
            return _resolved_in(str(value), (*around, *scopes[position:]), depth + 1)
    return None


def _resolved_in(text: str, scopes: Sequence[object], depth: int = 0) -> str:
    return resolve(text, lambda address: lookup_in(scopes, address, depth), keep_literals=True)[0]


def resolve_tree(
    tree: object,
    scopes: tuple[object, ...],
    path: str,
    report: Callable[[str, str], object],
    *,
    own_fields: bool = True,
) -> object:
    """Parsed JSON or TOML with its references resolved: in an object's own fields first, then in *scopes*.

    References nothing here knows are left; so are the literal ``{{&x}}``. *report* gets path and reason of
    what cannot be resolved. Without *own_fields*, only *scopes* count.
    """
    if isinstance(tree, str):
        if "{{" not in tree:
            return tree
        try:
            return _resolved_in(tree, scopes)
        except BadTemplate as error:
            report(path, str(error))
            return tree
    if isinstance(tree, Mapping):
        inner = ({"self": tree}, tree, *scopes) if own_fields else scopes
        prefix = f"{path}." if path else ""
        return {
            key: resolve_tree(value, inner, f"{prefix}{key}", report, own_fields=own_fields)
            for key, value in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        return [
            resolve_tree(value, scopes, f"{path}[{index}]", report, own_fields=own_fields)
            for index, value in enumerate(tree)
        ]
    return tree
