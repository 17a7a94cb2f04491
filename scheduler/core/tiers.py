"""The tiers that an operator defines, in the file of ``-tier_config``, and as clients ask for them.

The file is Aurora's (``TierModule.java``): ``{"default": NAME, "tiers": {NAME: {"preemptible": BOOL, "revocable":
BOOL}}}``.
"""

from __future__ import annotations

import json
from typing import Any, Final

from scheduler.core.settings import Settings
from scheduler.core.submission import is_good_identifier
from scheduler.model import Tier
from thermos.errors import ExitCode, ThermosError
from thermos.formats.aurora_api import GetTierConfigResult, TierConfig

_SETTINGS: Final = ("preemptible", "revocable")


class TiersInvalid(ThermosError):
    """The file is not what it should be; *problems* has everything that is wrong with it."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def parse_tier_config(text: str) -> tuple[tuple[Tier, ...], str]:
    """The tiers that *text* defines, in its order, and the name of the default one. Raises TiersInvalid."""
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        twice.extend(sorted({name for name in found if sum(name == other for other, _ in pairs) > 1}))
        return found

    try:
        document = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise TiersInvalid((f"it is no JSON: {error}",)) from None
    problems = [f"{name!r} is given twice" for name in twice]
    if not isinstance(document, dict):
        raise TiersInvalid((*problems, 'it must be an object with "default" and "tiers"'))
    problems += [f"there is no setting {name!r}" for name in document if name not in ("default", "tiers")]
    tiers = _tiers(document.get("tiers"), problems)
    default = document.get("default")
    names = document["tiers"].keys() if isinstance(document.get("tiers"), dict) else ()
    if not isinstance(default, str):
        problems.append('"default" must name one of the tiers')
    elif default not in names:
        problems.append(f'"default" must name one of the tiers, and {default!r} is none')
    if problems:
        raise TiersInvalid(tuple(problems))
    return tiers, str(default)


def _tiers(given: object, problems: list[str]) -> tuple[Tier, ...]:
    if not isinstance(given, dict) or not given:
        problems.append('"tiers" must be an object with one tier at least')
        return ()
    tiers = []
    for name, settings in given.items():
        if not is_good_identifier(name):
            problems.append(f"the tier's name {name!r} is no good identifier")
        if not isinstance(settings, dict):
            problems.append(f"the tier {name!r} must be an object")
            continue
        problems += [f"the tier {name!r} has no setting {other!r}" for other in settings if other not in _SETTINGS]
        chosen = [settings.get(setting, False) for setting in _SETTINGS]
        problems += [
            f"{setting!r} of the tier {name!r} must be true or false"
            for setting, value in zip(_SETTINGS, chosen, strict=True)
            if not isinstance(value, bool)
        ]
        tiers.append(Tier(name, is_preemptible=bool(chosen[0]), is_revocable=bool(chosen[1])))
    return tuple(tiers)


def tier_configs(settings: Settings) -> GetTierConfigResult:
    """What ``getTierConfigs`` answers; settings of a tier are the words "true" and "false"."""
    return GetTierConfigResult(
        settings.default_tier,
        tuple(
            TierConfig(tier.name, {"preemptible": _word(tier.is_preemptible), "revocable": _word(tier.is_revocable)})
            for tier in settings.tiers
        ),
    )


def _word(value: bool) -> str:
    return "true" if value else "false"
