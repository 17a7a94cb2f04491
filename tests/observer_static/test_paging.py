"""Finished tasks on pages of the index: few pages change, and each task stands on exactly one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from observer_static.paging import NEWEST, Shelf


def shelf(count: int, kept: int = 10, rows: int = 3) -> Shelf[int]:
    made: Shelf[int] = Shelf(kept, rows)
    made.fill(range(count))
    return made


def pages(made: Shelf[int]) -> dict[int, list[int]]:
    return {number: list(made.page(number)) for number in (NEWEST, *made.numbers)}


def test_few_tasks_stand_on_the_newest_page_alone() -> None:
    assert pages(shelf(5)) == {NEWEST: [4, 3, 2, 1, 0]}
    assert pages(shelf(0)) == {NEWEST: []}


def test_pages_are_numbered_from_the_oldest() -> None:
    assert pages(shelf(11)) == {NEWEST: [10, 9, 8, 7, 6], 2: [5, 4, 3], 1: [2, 1, 0]}


def test_a_task_that_ends_changes_the_newest_page_alone() -> None:
    made = shelf(10, kept=100)
    assert made.add(10) == (frozenset({NEWEST}), frozenset())
    assert pages(made) == {NEWEST: [10, 9, 8, 7, 6], 2: [5, 4, 3], 1: [2, 1, 0]}


def test_a_newest_page_of_twice_the_length_gives_its_older_half_a_number() -> None:
    made = shelf(11, kept=100)
    assert made.add(11) == (frozenset({NEWEST, 3, 2}), frozenset())  # 2: what comes after it has another name now
    assert pages(made) == {NEWEST: [11, 10, 9], 3: [8, 7, 6], 2: [5, 4, 3], 1: [2, 1, 0]}


def test_links_lead_from_page_to_page() -> None:
    made = shelf(12)
    assert [made.newer(number) for number in (1, 2, 3, NEWEST)] == [2, 3, NEWEST, None]
    assert [made.older(number) for number in (1, 2, 3, NEWEST)] == [None, 1, 2, 3]
    assert [made.first(number) for number in (NEWEST, 3, 2, 1)] == [1, 4, 7, 10]
    assert shelf(0).first(NEWEST) == 0
    assert shelf(0).older(NEWEST) is None


def test_a_task_that_vanishes_leaves_its_page_shorter() -> None:
    made = shelf(11)
    assert made.remove(4) == (frozenset({2, NEWEST}), frozenset())
    assert pages(made)[2] == [5, 3]


def test_an_empty_page_goes_and_its_neighbours_link_past_it() -> None:
    made = shelf(12)
    for key in (3, 4):
        made.remove(key)
    assert made.remove(5) == (frozenset({1, 3, NEWEST}), frozenset({2}))
    assert (made.newer(1), made.older(3)) == (3, 1)


def test_the_newest_page_is_not_empty_while_there_are_older_ones() -> None:
    made = shelf(9)
    for key in (6, 7):
        made.remove(key)
    assert made.remove(8) == (frozenset({1, NEWEST}), frozenset({2}))
    assert pages(made) == {NEWEST: [5, 4, 3], 1: [2, 1, 0]}


def test_the_newest_tasks_keep_pages_of_their_own() -> None:
    made = shelf(15, kept=8)
    assert [key for key in made if made.is_kept(key)] == [9, 10, 11, 12, 13, 14]
    assert [made.kept(number) for number in made.numbers] == [True, False, False, False]
    assert [key for key in shelf(5, kept=2) if shelf(5, kept=2).is_kept(key)] == [3, 4]
    assert not [key for key in shelf(5, kept=0) if shelf(5, kept=0).is_kept(key)]
    assert all(shelf(10, kept=10).is_kept(key) for key in range(10))


def test_what_is_kept_no_more_makes_its_page_dirty_once() -> None:
    made = shelf(10, kept=10)
    dirty = made.add(10).dirty
    assert dirty == {NEWEST, 1}
    assert not made.kept(1)
    assert made.add(11).dirty == {NEWEST, 3, 2}


@given(st.integers(0, 40), st.lists(st.one_of(st.none(), st.integers(0, 60)), max_size=60), st.integers(0, 20))
def test_whatever_happens_each_task_stands_on_one_page(count: int, moves: list[int | None], kept: int) -> None:
    """And a page whose rows or links changed was named as dirty."""
    made = shelf(count, kept)
    there = list(range(count))
    next_key = count

    def shown() -> dict[int, object]:
        return {
            number: (
                list(made.page(number)),
                made.newer(number),
                made.older(number),
                number != NEWEST and made.kept(number),
            )
            for number in (NEWEST, *made.numbers)
        }

    for move in moves:
        before = shown()
        if move is None:
            change = made.add(next_key)
            there.append(next_key)
            next_key += 1
        elif move in there:
            change = made.remove(move)
            there.remove(move)
        else:
            continue
        after = shown()
        assert {number for number, page in after.items() if before.get(number) != page} <= change.dirty
        assert before.keys() - after.keys() <= change.gone
        assert not change.dirty - after.keys()
        newest_first = [key for number in (NEWEST, *made.numbers) for key in made.page(number)]
        assert newest_first == there[::-1]
        assert len(made) == len(there)
        assert bool(made.page(NEWEST)) == bool(there)
        assert sum(made.is_kept(key) for key in there) <= kept
