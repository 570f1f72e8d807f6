"""Two daemons for the tests of a module, with servers for the one that records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.replay.echoing import Echo, echoing
from tests.replay.stage import Pair, Stage, pair


@pytest.fixture(scope="module")
def daemons(needs_process: None) -> Iterator[Pair]:
    """A daemon that records, and one whose store is empty."""
    with pair() as both:
        yield both


@pytest.fixture
def stage(daemons: Pair, tmp_path: Path, request: pytest.FixtureRequest) -> Stage:
    """A project of the test's own for both of them."""
    name = "".join(letter for letter in request.node.name.lower() if letter.isalnum())[:40]
    return daemons.stage(tmp_path, name)


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with echoing() as server:
        yield server
