"""What the tests of the runner share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.box import Box, box


@pytest.fixture(name="box")
def _box() -> Iterator[Box]:
    """A sandbox and a checkpoint root; all that is started in them is gone afterwards."""
    with box() as made:
        yield made
