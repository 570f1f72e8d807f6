"""Recording while the disk is full, the database is locked or no database, and after a kill."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.masking import CaptureLimits
from dmrc.exchange import Exchange
from tests.capture.recorded import ALL, recorded, recording
from tests.polling import eventually

pytestmark = pytest.mark.process


@pytest.mark.slow("waits for a lock to go")
def test_a_locked_database_costs_nothing_but_time(path, caplog):
    with recording(path) as recorder, closing(sqlite3.connect(path, isolation_level=None)) as other:
        recorder.record(recorded("chat.json"))
        assert recorder.flush()
        seen: list[Exchange] = []
        recorder.on_completed.append(lambda one, _: seen.append(one))
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(20):
            recorder.record(recorded("chat.json"))
        assert not recorder.flush(timeout=2.5)
        eventually(lambda: "database is locked" in caplog.text)
        eventually(lambda: len(seen) == 20)

        other.execute("COMMIT")

        assert recorder.flush(timeout=10)
        assert recorder.counts().dropped == 0
        assert caplog.text.count("requests not recorded") == 1
        assert "database is locked" in caplog.text
    assert ExchangeDatabase(path).count() == 21


@pytest.mark.slow("waits for a disk that is full")
def test_a_full_disk_is_counted_and_recording_goes_on_when_there_is_space(path, caplog):
    limits = CaptureLimits(queue_exchanges=30, batch_exchanges=5)
    big = b"x" * 20_000

    with recording(path, limits, max_file_bytes=1_000_000) as recorder:
        for _ in range(10):
            for _ in range(10):
                recorder.record(recorded("chat.json", response_body=big))
            # Long enough for a slow machine: what is lost before the disk is full would be reported for another reason.
            if not recorder.flush(timeout=1) and recorder.counts().dropped:
                break
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


KILLED = """
import sys, time
from pathlib import Path
from dmrc.capture.recorder import Recorder
from tests.capture.recorded import ALL, recorded, recording

recorder = Recorder(Path(sys.argv[1]))
while True:
    exchange = recorded("chat.json")
    recorder.record(exchange)
    print(exchange.id, time.time(), recorder.counts().recorded, flush=True)
    time.sleep(0.002)
"""


def _seconds_lost(path):
    """Kill a process that records; return how long ago the oldest was recorded that is not on the disk."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(400)]
        while int(lines[-1].split()[2]) <= 100:  # a slow disk has not even made the file
            lines.append(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        killed = time.time()
        lines += child.stdout.readlines()

    told = [line.split() for line in lines if line.count(" ") == 2 and line.endswith("\n")]
    database = ExchangeDatabase(path)
    kept = {one.id for one in database.page(ALL, 10_000)}
    assert len(kept) > 100
    assert len(kept) >= int(told[-1][2])  # what is counted as recorded is on the disk
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with recording(path) as recorder:
        recorder.record(recorded("chat.json"))
        assert recorder.flush()
    return max((killed - float(at) for id, at, _ in told if id not in kept), default=0.0)


def test_a_killed_process_loses_at_most_its_last_batch(tmp_path):
    # 100 ms of batching, and room for a slow disk under the one write that was going on; on a busy machine one of
    # three tries tells of the recorder and not of the machine.
    assert any(_seconds_lost(tmp_path / f"{number}.sqlite3") < 0.5 for number in range(3))


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
