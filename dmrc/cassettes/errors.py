"""What can be wrong with a cassette, and with what should be written to one."""

from __future__ import annotations

from dmrc.errors import DmrcError, InputError


class CassetteError(InputError):
    """A cassette cannot be read, or holds what it must not."""


class NotRecordedError(DmrcError):
    """A request and its answer that no cassette can hold; the message says why, in words that may be counted."""
