import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.masking import CaptureLimits
from dmrc.capture.queries import ExchangeFilter
from dmrc.capture.recorder import Recorder
from dmrc.exchange import Exchange
from tests.capture.recorded import recorded
from tests.polling import eventually

ALL = ExchangeFilter()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "exchanges.sqlite3"


@contextmanager
def recording(path, limits=None, **options):
    recorder = Recorder(ExchangeDatabase(path, **options), limits)
    try:
        yield recorder
    finally:
        recorder.close(timeout=0.2)


def test_an_exchange_is_completed_masked_and_stored(path):
    exchange = recorded("chat.sse", request_headers={"authorization": "Bearer sk-secret"})

    with recording(path) as recorder:
        recorder.record(exchange)
        assert recorder.flush()

        kept = ExchangeDatabase(path).get(exchange.id)
        assert kept.prompt_tokens == 21
        assert kept.response_body == exchange.response_body
        assert recorder.counts().recorded == 1
    assert all(b"sk-secret" not in file.read_bytes() for file in path.parent.iterdir())


def test_a_batch_is_written_without_being_asked(path):
    with recording(path) as recorder:
        for _ in range(5):
            recorder.record(recorded("chat.json"))

        assert eventually(lambda: ExchangeDatabase(path).count() == 5, seconds=5)


def test_tokens_are_read_before_the_answer_is_cut(path):
    exchange = recorded("chat.sse")

    with recording(path, CaptureLimits(response_body_bytes=100)) as recorder:
        recorder.record(exchange)
        recorder.flush()

    kept = ExchangeDatabase(path).get(exchange.id)
    assert (kept.prompt_tokens, len(kept.response_body), kept.response_truncated) == (21, 100, True)


@pytest.mark.parametrize("level", ["metadata", "off"])
def test_levels_keep_words_away_from_disk_and_callbacks(path, level):
    body = json.dumps({"messages": [{"role": "user", "content": "open sesame"}]}).encode()
    seen: list[Exchange] = []

    with recording(path, CaptureLimits(level=level)) as recorder:
        recorder.on_completed.append(seen.append)
        recorder.record(recorded("chat.json", request_body=body))
        assert recorder.flush()

    stored = ExchangeDatabase(path).page(ALL, 10)
    assert len(stored) == (1 if level == "metadata" else 0)
    assert [one.prompt_tokens for one in seen] == [21]
    assert seen[0].request_body == seen[0].response_body == b""
    assert all(b"sesame" not in file.read_bytes() for file in path.parent.iterdir())


def test_a_level_can_be_given_with_the_exchange(path):
    with recording(path) as recorder:
        recorder.record(recorded("chat.json"), "off")
        recorder.record(recorded("chat.json"), "full")
        assert recorder.flush()

    assert ExchangeDatabase(path).count() == 1


def test_callbacks_hear_once_and_one_that_raises_is_named(path, caplog):
    seen: list[str] = []

    def broken(exchange):
        raise RuntimeError("no")

    with recording(path) as recorder:
        recorder.on_completed += [broken, lambda one: seen.append(threading.current_thread().name)]
        for _ in range(3):
            recorder.record(recorded("chat.json"))
        assert recorder.flush()

    assert seen == ["dmrc-recorder"] * 3
    assert "broken' failed on a completed request" in caplog.text
    assert ExchangeDatabase(path).count() == 3


def test_filters_follow_each_other_and_come_before_the_callbacks(path):
    seen: list[Exchange] = []

    with recording(path) as recorder:
        recorder.filters += [
            lambda one: replace(one, response_body=one.response_body.replace(b"planet", b"######")),
            lambda one: replace(one, annotations={"second": b"######" in one.response_body}),
        ]
        recorder.on_completed.append(seen.append)
        recorder.record(recorded("chat.json"))
        assert recorder.flush()

    assert b"planet" not in seen[0].response_body
    assert seen[0].annotations == {"second": True}
    assert all(b"planet" not in file.read_bytes() for file in path.parent.iterdir())


@pytest.mark.parametrize("how", ["raise", "none", "nonsense"])
def test_a_filter_that_fails_keeps_the_content_from_everyone(path, how, caplog):
    seen: list[Exchange] = []

    def failing(exchange):
        if how == "raise":
            raise RuntimeError("no")
        return None if how == "none" else "nonsense"

    with recording(path) as recorder:
        recorder.filters.append(failing)
        recorder.on_completed.append(seen.append)
        recorder.record(recorded("chat.json", request_body=b"secret", error_message="secret"))
        assert recorder.flush()
        assert recorder.counts().refused == 1

    assert ExchangeDatabase(path).count() == 0
    assert "secret" not in repr(seen[0])
    assert ("failing" in caplog.text) == (how != "none")


def test_what_no_column_holds_hurts_only_itself(path, caplog):
    good, bad = recorded("chat.json"), recorded("chat.json", annotations={"x": object()})

    with recording(path) as recorder:
        for one in (good, bad, replace(good, id=bad.id[:-1] + "z")):
            recorder.record(one)
        recorder.record(replace(good, response_body=None))
        assert recorder.flush()
        assert (recorder.counts().recorded, recorder.counts().dropped) == (2, 2)

    assert f"request '{bad.id}' cannot be recorded" in caplog.text
    assert f"request '{good.id}' cannot be recorded" in caplog.text


@pytest.mark.parametrize("limits", [CaptureLimits(queue_exchanges=5), CaptureLimits(queue_bytes=4000)])
def test_an_overflow_is_counted_and_logged_once(path, caplog, limits):
    gate = threading.Event()

    with recording(path, limits) as recorder:
        recorder.on_completed.append(lambda one: gate.wait(10) and None)
        started = time.monotonic()
        for _ in range(200):
            recorder.record(recorded("chat.json"))
        assert time.monotonic() - started < 1
        assert 190 <= recorder.counts().dropped <= 197
        gate.set()
        assert recorder.flush()
        recorder.record(recorded("chat.json"))
        assert recorder.flush()

        assert recorder.counts().recorded + recorder.counts().dropped == 201
    assert caplog.text.count("requests not recorded") == 1
    assert ExchangeDatabase(path).count() == recorder.counts().recorded


def test_a_locked_database_costs_nothing_but_time(path, caplog):
    with recording(path) as recorder, closing(sqlite3.connect(path, isolation_level=None)) as other:
        recorder.record(recorded("chat.json"))
        assert recorder.flush()
        seen: list[Exchange] = []
        recorder.on_completed.append(seen.append)
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(20):
            recorder.record(recorded("chat.json"))
        assert not recorder.flush(timeout=2.5)
        assert len(seen) == 20

        other.execute("COMMIT")

        assert recorder.flush(timeout=10)
        assert recorder.counts().dropped == 0
        assert caplog.text.count("requests not recorded") == 1
        assert "database is locked" in caplog.text
    assert ExchangeDatabase(path).count() == 21


def test_a_full_disk_is_counted_and_recording_goes_on_when_there_is_space(path, caplog):
    limits = CaptureLimits(queue_exchanges=30, batch_exchanges=5)
    big = b"x" * 20_000

    with recording(path, limits, max_file_bytes=1_000_000) as recorder:
        for _ in range(10):
            for _ in range(10):
                recorder.record(recorded("chat.json", response_body=big))
            recorder.flush(timeout=0.1)
        assert recorder.counts().dropped > 0
        assert "disk is full" in caplog.text
        kept = ExchangeDatabase(path).count()
        assert kept >= 30

        with closing(ExchangeDatabase(path)) as other:
            other.trim(max_count=1)

        assert recorder.flush(timeout=10)
        assert recorder.counts().waiting == 0
    assert caplog.text.count("requests not recorded") <= 2
    assert ExchangeDatabase(path).count() == recorder.counts().recorded - kept + 1


def test_a_file_that_is_no_database_stops_nobody(path, caplog):
    path.write_text("no database " * 100)

    with recording(path) as recorder:
        recorder.record(recorded("chat.json"))
        assert not recorder.flush(timeout=0.5)

    assert recorder.counts().dropped == 1
    assert "Move it away" in caplog.text


def test_close_writes_what_waits_and_refuses_what_comes_later(path):
    recorder = Recorder(path)
    for _ in range(300):
        recorder.record(recorded("chat.json"))

    recorder.close()
    recorder.close()
    recorder.record(recorded("chat.json"))

    assert ExchangeDatabase(path).count() == 300
    assert recorder.counts().dropped == 1


KILLED = """
import sys, time
from pathlib import Path
from dmrc.capture.recorder import Recorder
from tests.capture.recorded import recorded

recorder = Recorder(Path(sys.argv[1]))
while True:
    exchange = recorded("chat.json")
    recorder.record(exchange)
    print(exchange.id, time.time(), flush=True)
    time.sleep(0.002)
"""


def test_a_killed_process_loses_at_most_its_last_batch(path):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(400)]
        child.send_signal(signal.SIGKILL)
        killed = time.time()
        lines += child.stdout.readlines()

    recorded_at = dict(line.split() for line in lines if line.count(" ") == 1 and line.endswith("\n"))
    database = ExchangeDatabase(path)
    kept = {one.id for one in database.page(ALL, 10_000)}
    lost = [id for id, at in recorded_at.items() if id not in kept]
    assert len(kept) > 100
    # 100 ms of batching, and room for a slow disk under the one write that was going on.
    assert all(killed - float(recorded_at[id]) < 0.5 for id in lost), len(lost)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with recording(path) as recorder:
        recorder.record(recorded("chat.json"))
        assert recorder.flush()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB, which only root can make."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.docker
def test_a_disk_that_is_really_full_loses_nothing_that_fits_in_memory(small_disk, caplog):
    """In the group of tests that run as root."""
    filler = small_disk / "filler"
    with recording(small_disk / "exchanges.sqlite3") as recorder:
        recorder.record(recorded("chat.json"))
        assert recorder.flush()
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        for _ in range(50):
            recorder.record(recorded("chat.json", response_body=b"y" * 10_000))
        assert not recorder.flush(timeout=2.5)
        assert (recorder.counts().waiting, recorder.counts().dropped) == (50, 0)
        assert caplog.text.count("requests not recorded") == 1
        assert "disk" in caplog.text

        filler.unlink()

        assert recorder.flush(timeout=10)
    assert ExchangeDatabase(small_disk / "exchanges.sqlite3").count() == 51
