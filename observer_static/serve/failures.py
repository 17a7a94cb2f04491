"""Why a request has no answer."""

from __future__ import annotations


class NotFound(Exception):
    """What was asked for is not there; the text says what."""


class BadRequest(Exception):
    """The request makes no sense; the text says why."""
