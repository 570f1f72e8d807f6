"""The process that writes the record: killed, orphaned, told to end, never started; and what it holds."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from dmrc.capture import deliveries
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.deliveries import Deliveries
from dmrc.capture.masking import CaptureLimits
from dmrc.capture.policy import AnyCaller, Retention
from dmrc.capture.recorder import Recorder
from dmrc.capture.redaction import Redactor
from dmrc.exchange import Exchange, new_exchange_id
from tests.capture.recorded import ALL, asked, recorded, recording
from tests.polling import eventually

pytestmark = pytest.mark.process

SECRET = "tok_8f3kd92mmQ"


def process_of(recorder: Recorder, killed: Collection[int] = ()) -> psutil.Process:
    eventually(lambda: recorder.process_id not in (None, *killed), "a recorder process")
    return psutil.Process(recorder.process_id)


def resident(process: psutil.Process) -> int:
    return process.memory_info().rss


@pytest.mark.slow("10,000 requests")
def test_ten_kills_in_ten_thousand_requests_lose_none_write_none_twice_and_leave_memory_flat(path):
    recorder, ids, here = Recorder(path), [], psutil.Process()
    sizes: list[tuple[int, int]] = []
    killed: set[int] = set()

    for number in range(10_000):
        ids.append(new_exchange_id())
        recorder.record(recorded("chat.json", id=ids[-1]))
        if number % 1000 == 999:
            process = process_of(recorder, killed)
            killed.add(process.pid)
            process.kill()
        if number in (3333, 6666, 9999):
            assert recorder.flush(60)
            sizes.append((resident(here), resident(process_of(recorder))))
    assert recorder.flush(60)
    counts = recorder.counts()
    recorder.close()

    kept = [one.id for one in ExchangeDatabase(path).page(ALL, 20_000)]
    assert sorted(kept) == sorted(ids)
    assert (counts.recorded, counts.dropped, len(killed)) == (10_000, 0, 10)
    _, before, after = sizes
    assert after[0] - before[0] < 6 << 20, sizes
    assert after[1] - before[1] < 6 << 20, sizes


LOCKED = """
import sys, time
from pathlib import Path
from dmrc.capture.recorder import Recorder
from tests.capture.recorded import recorded

recorder, heard = Recorder(Path(sys.argv[1])), []
recorder.on_completed.append(lambda one, _: heard.append(one))
recorder.needs_content = lambda _: False
for _ in range(50):
    recorder.record(recorded("chat.json"))
while len(heard) < 50:
    time.sleep(0.01)
print(recorder.process_id, flush=True)
time.sleep(600)
"""


def test_what_a_killed_daemon_has_sent_is_on_record(path):
    ExchangeDatabase(path).insert_many([])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        command = [sys.executable, "-c", LOCKED, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as daemon:
            assert daemon.stdout is not None
            process = psutil.Process(int(daemon.stdout.readline()))
            daemon.kill()
        other.execute("ROLLBACK")

    eventually(lambda: ExchangeDatabase(path).count() == 50, "all 50", seconds=30)
    process.wait(30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_a_daemon_do_not_end_the_process(path, number):
    with recording(path) as recorder:
        recorder.record(recorded("chat.json"))
        assert recorder.flush()
        process = process_of(recorder)

        process.send_signal(number)
        recorder.record(recorded("chat.json"))

        assert recorder.flush()
        assert process_of(recorder) == process
        assert os.getpgid(process.pid) != os.getpgid(0)
    assert not process.is_running()
    assert ExchangeDatabase(path).count() == 2


class Knows(AnyCaller):
    """Knows a secret."""

    def redactor(self, _exchange: Exchange) -> Redactor:
        return Redactor([SECRET])


def test_it_has_no_descriptor_of_the_daemon_and_no_secret_but_in_memory(path, tmp_path):
    with (tmp_path / "lock").open("w"), closing(Recorder(path, policy=Knows("full"))) as recorder:
        for _ in range(200):  # each with a redactor of its own
            recorder.record(asked(f"It is {SECRET}."))
        assert recorder.flush()
        process = process_of(recorder)

        open_files = {str(one.readlink()) for one in Path(f"/proc/{process.pid}/fd").iterdir()}
        kinds = {name.split(":")[0] for name in open_files if not name.startswith(str(path))}
        assert kinds == {"/dev/null", "pipe", "socket"}
        assert SECRET not in " ".join([*process.cmdline(), *process.environ().values()])
    assert all(SECRET.encode() not in file.read_bytes() for file in path.parent.iterdir())
    assert all(b"[redacted]" in ExchangeDatabase(path).get(one.id).request_body for one in database_page(path))


def database_page(path: Path) -> list[Exchange]:
    return ExchangeDatabase(path).page(ALL, 1000)


def test_one_that_cannot_start_is_tried_again_and_what_fits_waits(path, monkeypatch, caplog):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with recording(path, CaptureLimits(queue_exchanges=20)) as recorder:
        for _ in range(30):
            recorder.record(recorded("chat.json"))
        eventually(lambda: caplog.text.count("the recorder process ended (exit code 1)") >= 2, "two tries")
        assert (recorder.counts().waiting, recorder.counts().dropped) == (20, 10)

        monkeypatch.undo()

        assert recorder.flush(30)
    assert "10 lost, 20 wait" in caplog.text
    assert ExchangeDatabase(path).count() == 20


DIES = """#!{python}
import os, sys
from dmrc.capture import recorder_process as process

prepare = process.RecorderProcess._prepare

def dies(self, frame):
    if b"guilty" in frame.request:
        {death}
    prepare(self, frame)

process.RecorderProcess._prepare = dies
process.main()
"""
KILLED, CRASHED = "os.kill(os.getpid(), 9)", "raise ValueError(frame.request)"


def one_that_dies(directory: Path, death: str) -> str:
    """Write a recorder process that dies of an exchange, and return its path."""
    program = directory / "python"
    program.write_text(DIES.format(python=sys.executable, death=death))
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize("death", [KILLED, CRASHED])
@pytest.mark.parametrize("closes", [True, False])
def test_only_the_exchange_that_the_process_dies_of_is_given_up(path, tmp_path, monkeypatch, caplog, death, closes):
    monkeypatch.setattr(sys, "executable", one_that_dies(tmp_path, death))
    exchanges = [asked("guilty" if number == 7 else "harmless", id=new_exchange_id()) for number in range(20)]
    recorder = Recorder(path)

    for exchange in exchanges:
        recorder.record(exchange)
    if not closes:
        assert recorder.flush(60)
        recorder.record(exchange := asked("later", id=new_exchange_id()))
        exchanges.append(exchange)
    recorder.close(60)

    guilty = exchanges.pop(7)
    assert sorted(one.id for one in database_page(path)) == sorted(one.id for one in exchanges)
    assert (recorder.counts().recorded, recorder.counts().dropped) == (len(exchanges), 1)
    assert f"request '{guilty.id}' cannot be recorded: the recorder process ended 3 times when it got it" in caplog.text
    assert "harmless" not in caplog.text


def test_why_a_process_failed_is_told_without_the_words_of_a_request(path, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sys, "executable", one_that_dies(tmp_path, CRASHED))
    with recording(path) as recorder:
        recorder.record(asked(f"guilty of {SECRET}"))

        assert recorder.flush(30)

    assert "(exit code 1: ValueError in python, line" in caplog.text
    assert SECRET not in caplog.text


def test_a_daemon_with_more_than_a_thousand_descriptors_is_recorded(path):
    with contextlib.ExitStack() as held:
        for _ in range(1100):
            held.enter_context(Path(os.devnull).open("rb"))
        with recording(path) as recorder:
            recorder.record(recorded("chat.json"))

            assert recorder.flush(30)

    assert ExchangeDatabase(path).count() == 1


def test_to_trim_is_no_reason_to_look_for_a_process_that_died(path):
    """The thread looked again and again, without a pause, until the next request."""
    waiting = Deliveries(ExchangeDatabase(path), CaptureLimits(), lambda *_: None)
    with waiting.changed:
        one = waiting.accept(recorded("chat.json"), "full", None, 1)
        assert one is not None
        one.is_ready = True
        waiting.send([one])
        assert waiting.wait_settled(30)
    assert waiting.trim(Retention(max_count=5))
    psutil.Process(waiting.process_id).kill()
    eventually(lambda: waiting.process_id is None, "its end")

    waiting.send([])

    assert waiting.wait_seconds() is None
    waiting.close(0.0)


def test_it_ends_where_nothing_is_asked_and_starts_again(path, monkeypatch, caplog):
    monkeypatch.setattr(deliveries, "_IDLE_SECONDS", 0.3)
    with recording(path) as recorder:
        recorder.record(recorded("chat.json"))
        assert recorder.flush()
        eventually(lambda: recorder.process_id is None, "its end")

        recorder.record(recorded("chat.json"))

        assert recorder.flush()
    assert ExchangeDatabase(path).count() == 2
    assert not caplog.text


@pytest.mark.parametrize("has_process", [True, False])
def test_the_oldest_are_trimmed_by_the_process_where_there_is_one(path, has_process):
    exchanges = [recorded("chat.json") for _ in range(20)]
    ExchangeDatabase(path).insert_many(exchanges[:19])
    with recording(path) as recorder:
        if has_process:
            recorder.record(exchanges[19])
            assert recorder.flush()

        recorder.trim(Retention(max_count=5))

        eventually(lambda: ExchangeDatabase(path).count() == 5, "the newest five")
        assert (recorder.process_id is None) == (not has_process)


@pytest.mark.parametrize("level", ["full", "metadata", "off"])
@pytest.mark.parametrize("name", ["chat.sse", "chat.json", "error-400.json", "embeddings.json"])
def test_who_needs_no_content_hears_the_same_facts(path, level, name):
    exchange = recorded(name, session_id=SECRET, annotations={"note": SECRET, "n": 1}, error_message=None)
    whole: list[Exchange] = []
    facts: list[tuple[Exchange, str]] = []

    with closing(Recorder(path, policy=Knows(level))) as recorder:
        recorder.on_completed += [lambda one, words: (facts if recorder.needs_content is no else whole).append(one)]
        recorder.record(exchange)
        assert recorder.flush()
        recorder.needs_content = no
        recorder.record(exchange)
        assert recorder.flush()

    content = ("request_headers", "request_body", "response_headers", "response_body", "chunk_offsets")
    (one,), (other,) = whole, facts
    told = [(field, getattr(one, field), getattr(other, field)) for field in Exchange.__slots__ if field not in content]
    assert [(field, value) for field, _, value in told] == [(field, value) for field, value, _ in told]
    assert SECRET not in repr(other)
    assert not any(getattr(other, field) for field in content)


def no(_exchange: Exchange) -> bool:
    return False


def test_a_killed_process_is_reaped_and_named_in_the_log(path, caplog):
    with recording(path) as recorder:
        recorder.record(recorded("chat.json"))
        assert recorder.flush()
        process = process_of(recorder)
        process.kill()
        eventually(lambda: "the recorder process ended (signal 9)" in caplog.text, "a line in the log")

        recorder.record(recorded("chat.json"))

        assert recorder.flush()
        with contextlib.suppress(psutil.NoSuchProcess):
            assert psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE
        assert recorder.counts().recorded == 2
