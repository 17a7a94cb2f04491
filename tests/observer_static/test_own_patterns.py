"""An operator's patterns, on texts that were made to hold them up."""

from __future__ import annotations

import pytest

from observer_static import own_patterns
from observer_static.own_patterns import LIMIT_IN_ALL_S, LIMIT_S, OwnPatterns, PatternInvalid, TooSlow
from observer_static.secrets import DEFAULTS, SLOW_MARK, Redactor

#: A pattern, and a text that it backtracks in for longer than anybody lives.
HOPELESS = [
    (r"(?:a|aa)+$", "a" * 200 + "!"),
    (r"(.*)*\d$", "q" * 5000),
    (r"(a|b|ab)*(?=c)", "ab" * 3000),
]


def test_what_a_pattern_finds() -> None:
    found = OwnPatterns([r"x-(\w+)", r"\d{4}"]).spans("x-abc 1234 x-")
    assert found == [(2, 5), (6, 10)]
    assert OwnPatterns([]).spans("anything") == []


def test_no_pattern() -> None:
    with pytest.raises(PatternInvalid, match="no regular expression"):
        OwnPatterns(["("])


@pytest.mark.parametrize("pattern, text", HOPELESS)
def test_a_text_that_takes_too_long_is_unreadable_as_a_whole(pattern: str, text: str) -> None:
    redactor = Redactor((*DEFAULTS, pattern))
    assert redactor.text(f"echo {text}") == (SLOW_MARK, 1)
    assert redactor.line(text) == SLOW_MARK
    assert redactor.json({"cmdline": text, "name": "web"}) == ({"cmdline": SLOW_MARK, "name": "web"}, 1)
    assert redactor.text("echo hello") == ("echo hello", 0)
    assert redactor.notices == ()


def test_many_slow_texts_take_a_bounded_time_in_all() -> None:
    """Whoever writes a definition may write as many texts as they like."""
    pattern, text = HOPELESS[0]
    patterns = OwnPatterns([pattern])
    for number in range(2 * round(LIMIT_IN_ALL_S / LIMIT_S)):
        with pytest.raises(TooSlow):
            patterns.spans(f"{number} {text}")
    assert "was given up" in patterns.notices[0] and pattern in patterns.notices[0]
    with pytest.raises(TooSlow):  # from now on nothing is looked through, so nothing is readable
        patterns.spans("echo hello")


def test_slow_matches_within_one_text_share_its_time() -> None:
    text = ("a" * 18 + "!b") * 2000
    with pytest.raises(TooSlow):
        OwnPatterns([r"(?:a|aa)+$|b"]).spans(text)


def test_texts_that_take_almost_too_long_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_patterns, "LIMIT_IN_ALL_S", 0.0001)
    patterns = OwnPatterns([r"(?:a|aa)+$"])
    assert patterns.spans("a" * 20 + "!") == []
    assert patterns.notices


def test_a_sound_pattern_is_never_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is to look through: time is counted against the length of the text."""
    monkeypatch.setattr(own_patterns, "LIMIT_IN_ALL_S", 0.2)
    patterns = OwnPatterns([r"corp-[0-9a-f]{8}", r"acme_(\w{4,40})"])
    text = "exec /usr/bin/web --flag=value corp-0123abcd --name acme_secretword " * 20
    for _ in range(500):
        assert len(patterns.spans(text)) == 40
    assert patterns.notices == ()
