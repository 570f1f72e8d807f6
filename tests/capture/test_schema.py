import os
import sqlite3
import threading
from contextlib import closing

import pytest

from dmrc.capture import schema
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter
from dmrc.capture.rows import CONTENT_COLUMNS
from dmrc.capture.schema import MIGRATIONS
from dmrc.errors import StoreError
from dmrc.exchange import Exchange
from tests.capture.recorded import recorded


@pytest.fixture
def database(tmp_path):
    with closing(ExchangeDatabase(tmp_path / "exchanges.sqlite3")) as database:
        yield database


def test_every_scalar_field_has_a_column(database):
    database.insert_many([recorded("chat.json")])

    with closing(sqlite3.connect(database.path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(exchanges)")]
        (version,) = connection.execute("PRAGMA user_version").fetchone()

    assert set(columns) == set(Exchange.__dataclass_fields__) - set(CONTENT_COLUMNS) | {"number", "excerpt"}
    assert version == len(MIGRATIONS)


def test_only_the_user_may_read_the_files(database):
    before = os.umask(0)
    try:
        database.insert_many([recorded("chat.json")])
        modes = {path.name: path.stat().st_mode & 0o777 for path in database.path.parent.iterdir()}
    finally:
        os.umask(before)

    assert set(modes.values()) == {0o600}, modes


@pytest.mark.parametrize("access", ["read", "write"])
@pytest.mark.parametrize("damage", ["text", "foreign", "newer", "torn"])
def test_a_file_that_is_not_ours_is_named_and_left_alone(tmp_path, damage, access):
    path = tmp_path / "exchanges.sqlite3"
    if damage == "text":
        path.write_text("This is no database at all. " * 100)
    elif damage == "foreign":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE mine (x)")
    else:
        with closing(ExchangeDatabase(path)) as made:
            made.insert_many([recorded("chat.json") for _ in range(50)])
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if damage == "newer":
                connection.execute("PRAGMA user_version = 99")
        if damage == "torn":
            path.write_bytes(path.read_bytes()[:4096] + b"\xaa" * 200_000)
    before = path.read_bytes()

    with closing(ExchangeDatabase(path)) as database, pytest.raises(StoreError) as caught:
        if access == "read":
            database.page(ExchangeFilter(), 10)
        else:
            database.insert_many([recorded("chat.json")])

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy is not None
    assert path.read_bytes() == before


def test_a_directory_that_is_not_there_is_an_error_in_one_line(tmp_path):
    with pytest.raises(StoreError, match="cannot be written: No such file or directory"):
        ExchangeDatabase(tmp_path / "none" / "x.sqlite3").insert_many([])


def test_one_that_another_process_is_making_is_read_as_nothing_and_left_to_it(tmp_path):
    path = tmp_path / "exchanges.sqlite3"
    path.touch()

    with closing(ExchangeDatabase(path)) as database:
        assert database.count() == 0

    assert path.read_bytes() == b""


def test_one_that_is_made_between_two_looks_of_a_reader_is_not_taken_for_another_programs(tmp_path, monkeypatch):
    path = tmp_path / "exchanges.sqlite3"
    path.touch()
    connection = sqlite3.connect(path, isolation_level=None)
    looks = iter(["", "", "make"])

    class Reader:
        """Before its third look the recorder is faster."""

        def execute(self, statement):
            if next(looks):
                ExchangeDatabase(path).insert_many([recorded("chat.json")])
            return connection.execute(statement)

    with closing(connection):
        assert schema._version(Reader(), path) == len(MIGRATIONS)


def test_who_reads_while_another_migrates_waits_for_it(database, monkeypatch):
    """The indexes of a large record take longer than anybody waits for a lock elsewhere."""
    monkeypatch.setattr(schema, "_BUSY_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(schema, "MIGRATIONS", MIGRATIONS[:3])
    schema.open_for_writing(database.path, None).close()
    monkeypatch.undo()
    monkeypatch.setattr(schema, "_BUSY_TIMEOUT_SECONDS", 0.05)

    with closing(sqlite3.connect(database.path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = threading.Timer(1.0, other.execute, ["COMMIT"])
        done.start()
        assert database.page(ExchangeFilter(), 10) == []
        done.join()
