"""The file of tiers, and tiers as clients get them."""

from __future__ import annotations

import json

import pytest

from scheduler.core.settings import TIERS, Settings
from scheduler.core.tiers import TiersInvalid, parse_tier_config, tier_configs
from scheduler.model import Tier
from thermos.formats.aurora_api import TierConfig

SHIPPED = """
{
  "default": "preemptible",
  "tiers": {
    "preferred": {"preemptible": false, "revocable": false},
    "preemptible": {"preemptible": true, "revocable": false},
    "revocable": {"preemptible": true, "revocable": true}
  }
}
"""


def test_the_file_that_aurora_ships() -> None:
    assert parse_tier_config(SHIPPED) == (TIERS, "preemptible")


def test_what_is_not_said_is_false() -> None:
    assert parse_tier_config('{"default": "a", "tiers": {"a": {}}}') == ((Tier("a", False, False),), "a")


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "it is no JSON"),
        ("{", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", 'it must be an object with "default" and "tiers"'),
        ('{"tiers": {"a": {}}}', '"default" must name one of the tiers'),
        ('{"default": 1, "tiers": {"a": {}}}', '"default" must name one of the tiers'),
        ('{"default": "b", "tiers": {"a": {}}}', "'b' is none"),
        ('{"default": "a", "tiers": {}}', '"tiers" must be an object with one tier at least'),
        ('{"default": "a", "tiers": []}', '"tiers" must be an object with one tier at least'),
        ('{"default": "a", "tiers": {"a": 1}}', "the tier 'a' must be an object"),
        ('{"default": "a", "tiers": {"a": {"revocable": "yes"}}}', "'revocable' of the tier 'a' must be true or false"),
        ('{"default": "a", "tiers": {"a": {"revokable": true}}}', "the tier 'a' has no setting 'revokable'"),
        ('{"default": "a", "tiers": {"a": {}}, "tier": 1}', "there is no setting 'tier'"),
        ('{"default": "a b", "tiers": {"a b": {}}}', "the tier's name 'a b' is no good identifier"),
        ('{"default": "a", "tiers": {"a": {}, "a": {}}}', "'a' is given twice"),
    ],
)
def test_what_is_wrong_is_said(text: str, problem: str) -> None:
    with pytest.raises(TiersInvalid) as raised:
        parse_tier_config(text)
    assert any(problem in found for found in raised.value.problems), raised.value.problems


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(TiersInvalid) as raised:
        parse_tier_config(json.dumps({"default": "c", "tiers": {"a": 1, "b": {"revocable": 1, "x": 2}}}))
    assert len(raised.value.problems) == 4
    assert str(raised.value) == "; ".join(raised.value.problems)


def test_clients_get_words() -> None:
    found = tier_configs(Settings())
    assert found.default_tier_name == "preemptible"
    assert found.tiers == (
        TierConfig("preferred", {"preemptible": "false", "revocable": "false"}),
        TierConfig("preemptible", {"preemptible": "true", "revocable": "false"}),
        TierConfig("revocable", {"preemptible": "true", "revocable": "true"}),
    )
