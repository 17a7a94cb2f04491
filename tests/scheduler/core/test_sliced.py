"""Sets of rows by number and by label are those that looking at each row gives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.sliced import Labels, Sliced, each, first_from, rows_of

NUMBERS = st.lists(st.integers(0, 70), min_size=1, max_size=40)


def sliced(numbers: list[int]) -> Sliced:
    found = Sliced()
    for row, number in enumerate(numbers):
        found.change(row, 0, number)
    return found


@settings(deadline=None)
@given(NUMBERS, st.integers(-1, 140), st.sets(st.integers(0, 39)))
def test_comparisons_are_those_of_each_row(numbers: list[int], amount: int, asked: set[int]) -> None:
    asked &= set(range(len(numbers)))
    rows = rows_of(asked)
    index = sliced(numbers)
    assert set(each(index.at_least(rows, amount))) == {row for row in asked if numbers[row] >= amount}
    assert set(each(index.at_most(rows, amount))) == {row for row in asked if numbers[row] <= amount}
    if asked:
        least, most = min(numbers[row] for row in asked), max(numbers[row] for row in asked)
        assert set(each(index.least(rows))) == {row for row in asked if numbers[row] == least}
        assert set(each(index.most(rows))) == {row for row in asked if numbers[row] == most}


@settings(deadline=None)
@given(NUMBERS, st.data())
def test_a_changed_number_is_the_new_one(numbers: list[int], data: st.DataObject) -> None:
    index = sliced(numbers)
    for row, old in enumerate(numbers):
        numbers[row] = data.draw(st.integers(0, 200))
        index.change(row, old, numbers[row])
    rows = rows_of(range(len(numbers)))
    for amount in {*numbers, 0, 201}:
        assert set(each(index.at_least(rows, amount))) == {row for row, has in enumerate(numbers) if has >= amount}


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="row 3 cannot have -1"):
        Sliced().change(3, 0, -1)


@settings(deadline=None)
@given(st.sets(st.integers(0, 300)))
def test_a_set_of_rows_gives_its_numbers_in_order(numbers: set[int]) -> None:
    assert list(each(rows_of(numbers))) == sorted(numbers)
    assert rows_of([*numbers, *numbers]) == rows_of(numbers)


@settings(deadline=None)
@given(st.sets(st.integers(0, 100), min_size=1), st.integers(0, 120))
def test_the_first_from_somewhere_goes_round(numbers: set[int], start: int) -> None:
    assert first_from(rows_of(numbers), start) == min((one for one in numbers if one >= start), default=min(numbers))


ROW_LABELS = st.dictionaries(st.sampled_from(["rack", "zone"]), st.frozensets(st.sampled_from("abc")), max_size=2)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), ROW_LABELS), max_size=60), st.frozensets(st.sampled_from("abcd")))
def test_labels_follow_rows_that_change(
    story: list[tuple[int, dict[str, frozenset[str]]]], asked: frozenset[str]
) -> None:
    index = Labels()
    rows: dict[int, dict[str, frozenset[str]]] = {}
    for row, labels in story:
        if row in rows:
            index.remove(row, rows[row].items())
        rows[row] = labels
        index.add(row, labels.items())
        for attribute in ("rack", "zone", "kernel"):
            found = index.with_any(attribute, asked)
            assert set(each(found)) == {row for row, had in rows.items() if had.get(attribute, frozenset()) & asked}
            assert set(each(index.having(attribute))) == {row for row, had in rows.items() if had.get(attribute)}
