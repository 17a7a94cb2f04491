"""References mean what they mean to pystachio, circles end, and literals stay what they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermos.config.pystachio_fixes import pystachio
from thermos.templates import (
    MAX_LENGTH,
    Address,
    BadTemplate,
    join_address,
    lookup_in,
    parse_address,
    references,
    resolve,
    resolve_tree,
)


def among(values: dict[str, str]) -> Callable[[Address], str | None]:
    known = {parse_address(name): value for name, value in values.items()}
    return known.get


@pytest.mark.parametrize(
    "text, address",
    [
        ("a", (".a",)),
        ("a.b", (".a", ".b")),
        ("a[b].c", (".a", "[b]", ".c")),
        ("thermos.ports[my-port/1.x]", (".thermos", ".ports", "[my-port/1.x]")),
        ("_a1", ("._a1",)),
        ("[0]", ("[0]",)),
        (".a", (".a",)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert join_address(address) == text.removeprefix(".")


@pytest.mark.parametrize("text", ["", " ", " a", "a ", "1a", "a.", "a..b", "a[]", "a[b", "a b", "a[{}]", "-x", "a.1"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(BadTemplate, match="is not a reference"):
        parse_address(text)


VALUES = {
    "a": "A",
    "b.c": "BC",
    "m[k]": "MK",
    "key": "k",
    "indirect": "<{{a}}>",
    "twice": "{{indirect}}{{indirect}}",
    "literal": "{{&a}}",
    "half": "{{",
    "dots": "m[{{key}}]",
}


@pytest.mark.parametrize(
    "text, result, unbound",
    [
        ("plain", "plain", ()),
        ("{{a}}", "A", ()),
        ("x{{a}}y{{b.c}}z", "xAyBCz", ()),
        ("{{unknown}} {{a}}", "{{unknown}} A", ("unknown",)),
        ("{{twice}}", "<A><A>", ()),
        ("{{m[{{key}}]}}", "MK", ()),
        ("{{m[{{nokey}}]}}", "{{m[{{nokey}}]}}", ("nokey",)),
        ("{{&a}}", "{{a}}", ()),
        ("{{&a&}}", "{{a}}", ()),
        ("{{&&a}}", "{{&a}}", ()),
        ("{{& anything {at} all }}", "{{& anything {at} all }}", ()),
        ("{{& .Names }}", "{{ .Names }}", ()),
        ("{{literal}}", "{{a}}", ()),
        ("{{&unknown}} {{unknown}}", "{{unknown}} {{unknown}}", ("unknown",)),
        ("{a} {{}} }} {{", "{a} {{}} }} {{", ()),
        ("{{{a}}}", "{A}", ()),
        ("${{{a}}:-x}", "${A:-x}", ()),
    ],
)
def test_resolving(text: str, result: str, unbound: tuple[str, ...]) -> None:
    assert resolve(text, among(VALUES)) == (result, unbound)


def test_literals_can_be_left_for_later() -> None:
    text, unbound = resolve("{{&a}} {{a}}", among(VALUES), keep_literals=True)
    assert (text, unbound) == ("{{&a}} A", ())
    assert resolve(text, among(VALUES)) == ("{{a}} A", ())


def test_references_are_listed_once_in_order() -> None:
    assert references("{{b}} {{a}} {{&c}} {{b}} {{m[{{k}}]}}") == ("b", "a", "k")


@pytest.mark.parametrize(
    "values",
    [{"a": "{{a}}"}, {"a": "{{b}}", "b": "{{a}}"}, {"a": "x{{b}}", "b": "y{{c}}", "c": "{{a}}"}],
)
def test_a_circle_is_found(values: dict[str, str]) -> None:
    with pytest.raises(BadTemplate, match=r"circle.*\{\{a\}\}"):
        resolve("{{a}}", among(values))


def test_a_circle_that_grows_is_ended_before_memory_is() -> None:
    began = time.monotonic()
    with pytest.raises(BadTemplate, match=f"beyond {MAX_LENGTH}"):
        resolve("{{a}}", among({"a": "{{b}}{{b}}", "b": "{{a}}{{a}}"}))
    assert time.monotonic() - began < 30


def test_a_malformed_reference_says_how_to_write_it() -> None:
    with pytest.raises(BadTemplate, match=r"write \{\{& a b \}\}"):
        resolve("docker ps {{ a b }}", among({}))


NAMES = st.sampled_from(["a", "b", "m.x", "m[k]", "k", "unknown", "&a", "&&b", "a&", "&a&", " a", "m[{{k}}]", "9", ""])
PIECES = st.one_of(
    NAMES.map(lambda name: "{{" + name + "}}"), st.text(alphabet="{}&ab[].k ", max_size=4), st.just("text")
)
TEXTS = st.lists(PIECES, max_size=5).map("".join)


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.fixed_dictionaries({"a": TEXTS, "b": TEXTS, "m.x": TEXTS, "m[k]": TEXTS, "k": st.just("k")}))
def test_the_same_as_pystachio(text: str, values: dict[str, str]) -> None:
    """pystachio's own loop (its split and join are untouched by our mends) comes to the same text, or fails as well."""
    environment = pystachio.Environment(dict(values))

    def theirs() -> tuple[str, set[str]] | None:
        stream = text
        try:
            for _ in range(pystachio.MustacheParser.MAX_ITERATIONS):
                parts = pystachio.MustacheParser.split(stream, keep_aliases=True)
                unbound = [part for part in parts if isinstance(part, pystachio.Ref)]
                stream, left = pystachio.MustacheParser.join(parts, environment, found_refs={})
                if len(stream) > MAX_LENGTH:
                    return None
                if left == unbound:
                    break
            else:
                return None
            parts = pystachio.MustacheParser.split(stream, keep_aliases=False)
        except pystachio.Ref.InvalidRefError:
            return None
        return "".join(map(str, parts)), {part.address() for part in parts if isinstance(part, pystachio.Ref)}

    def ours() -> tuple[str, set[str]] | None:
        try:
            result, unbound = resolve(text, among(values))
        except BadTemplate:
            return None
        return result, set(unbound)

    assert ours() == theirs()


TREE: dict[str, Any] = {
    "name": "t",
    "size": 3,
    "processes": [
        {"name": "p", "cmdline": "{{name}} of {{self.name}} {{size}} {{processes[0].name}} {{x.y}} {{late}}"}
    ],
    "flag": "{{processes[7].name}}",
}


def test_a_tree_sees_its_own_fields_then_those_around_it_then_what_is_bound() -> None:
    reported: list[tuple[str, str]] = []
    result: Any = resolve_tree(
        TREE, ({"x": {"y": "bound"}, "name": "not this"},), "", lambda *fault: reported.append(fault)
    )
    assert result["processes"][0]["cmdline"] == "p of p 3 p bound {{late}}"
    assert result["flag"] == "{{processes[7].name}}"
    assert result["size"] == 3
    assert reported == []


def test_a_tree_without_its_own_fields() -> None:
    result: Any = resolve_tree(TREE, ({"name": "bound"},), "", lambda *fault: None, own_fields=False)
    assert result["processes"][0]["cmdline"].startswith("bound of {{self.name}} ")


def test_a_circle_in_a_tree_is_reported_with_its_path() -> None:
    reported: list[tuple[str, str]] = []
    resolve_tree({"p": [{"name": "{{name}}"}]}, (), "", lambda *fault: reported.append(fault))
    [(path, message)] = reported
    assert path == "p[0].name"
    assert "circle" in message


def test_lookup() -> None:
    scopes = ({"a": {"b": ["x", "y"]}}, {"a": "shadowed", "c": 1.5, "t": True})
    assert lookup_in(scopes, parse_address("a.b[1]")) == "y"
    assert lookup_in(scopes, parse_address("a.b[2]")) is None
    assert lookup_in(scopes, parse_address("a.b")) is None
    assert lookup_in(scopes, parse_address("a")) == "shadowed"
    assert lookup_in(scopes, parse_address("c")) == "1.5"
    assert lookup_in(scopes, parse_address("t")) == "True"
