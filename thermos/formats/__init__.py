"""Bytes: one module per on-disk or on-wire format, and the only code that knows its layout."""
