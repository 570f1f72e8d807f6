"""What tests of filters share."""

from __future__ import annotations

import pytest

from dmrc.hooks import timeouts


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second in place of five: the only thing that differs from real life."""
    monkeypatch.setattr(timeouts, "LIMIT_SECONDS", 0.5)
