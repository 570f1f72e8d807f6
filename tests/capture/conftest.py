"""A database of exchanges for one test."""

from contextlib import closing

import pytest

from dmrc.capture.database import ExchangeDatabase


@pytest.fixture
def database(tmp_path):
    with closing(ExchangeDatabase(tmp_path / "exchanges.sqlite3")) as database:
        yield database


@pytest.fixture
def path(tmp_path):
    return tmp_path / "exchanges.sqlite3"
