"""What a test of the pytest plugin is given, and what it may be warned of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest


@dataclass(frozen=True, slots=True)
class ReplayedService:
    """What the fixture `dmrc_replay` gives: how the test, as a service of the project, reaches its models."""

    base_url: str
    """URL of the OpenAI routes, for a client that sends the key."""
    api_key: str
    """Key of the service, of this test alone."""
    model: str
    """What the service calls its first model."""
    environment: Mapping[str, str]
    """All variables that the service is given, those of the compose file too. They are set while the test runs."""


class UnusedRecordingWarning(pytest.PytestWarning):
    """A cassette holds what its test did not ask."""


class NotRecordedWarning(pytest.PytestWarning):
    """A request of a test was not recorded, as one that failed is not."""
