"""What leaves the record: by count, age and bytes, and what is erased."""

import os
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace

from dmrc.capture.queries import ExchangeFilter
from tests.capture.recorded import ALL, asked, many


def test_trim_keeps_the_newest(database):
    database.insert_many(many(95))

    assert database.trim(max_count=100) == 0
    assert database.trim(max_count=42) == 53

    assert database.count() == 42
    assert database.page(ALL, 1)[0].id == many(95)[-1].id
    assert database.trim(max_count=0) == 42


def test_trim_by_age_deletes_what_is_older(database, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    ages = [replace(one, received_at=now - 100 + number) for number, one in enumerate(many(100))]
    database.insert_many(ages)

    deleted = database.trim(max_age_seconds=50.5)

    assert deleted == 50
    assert database.count() == 50


def test_trim_by_bytes_gives_the_space_back(database):
    database.insert_many([replace(one, response_body=os.urandom(20_000)) for one in many(200)])
    before = database.size_bytes()

    deleted = database.trim(max_bytes=1_000_000)

    assert before > 4_000_000
    assert 100 < deleted < 200
    assert database.size_bytes() <= 1_000_000
    with closing(sqlite3.connect(database.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert database.path.stat().st_size < 2_000_000


def test_what_is_erased_is_in_no_byte_of_the_files(database):
    """The words of the index of words too, which keeps those of deleted rows until it is merged."""
    secret = [asked(f"Where is Xanadu{number}?", error_message=f"Xanadu{number} again") for number in range(20)]
    others = [asked(f"Where is Paris{number}?") for number in range(200)]
    for one in [*others[:100], *secret, *others[100:]]:
        database.insert_many([one])
    assert any(b"anadu" in path.read_bytes() for path in database.path.parent.iterdir())

    assert database.erase([one.id for one in secret] + ["unknown"]) == 20

    for path in database.path.parent.iterdir():
        assert b"anadu" not in path.read_bytes().lower(), path.name
    assert len(database.page(ExchangeFilter(text="Where is"), 1000)) == 200


def test_an_insertion_between_the_steps_of_a_trim_gets_its_turn(database):
    database.insert_many(many(3000))
    waits = []
    trimming = threading.Thread(target=database.trim, kwargs={"max_count": 0})
    trimming.start()

    while trimming.is_alive():
        started = time.monotonic()
        database.insert_many([asked("hi")])
        waits.append(time.monotonic() - started)
        time.sleep(0.001)

    assert len(waits) > 10
    assert sorted(waits)[len(waits) // 2] < 0.05
