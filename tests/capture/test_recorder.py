import json
import threading
import time
from dataclasses import replace

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.masking import CaptureLimits
from dmrc.capture.recorder import Recorder
from dmrc.capture.rows import ExchangeTexts
from dmrc.exchange import Exchange
from tests.capture.recorded import ALL, recorded, recording
from tests.polling import eventually

pytestmark = pytest.mark.process


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
    said: list[ExchangeTexts] = []

    with recording(path, CaptureLimits(level=level)) as recorder:
        recorder.on_completed += [lambda one, _: seen.append(one), lambda _, words: said.append(words)]
        recorder.record(recorded("chat.json", request_body=body))
        assert recorder.flush()

    stored = ExchangeDatabase(path).page(ALL, 10)
    assert len(stored) == (1 if level == "metadata" else 0)
    assert [one.prompt_tokens for one in seen] == [21]
    assert seen[0].request_body == seen[0].response_body == b""
    assert said == [ExchangeTexts("", "", "")]
    assert all(b"sesame" not in file.read_bytes() for file in path.parent.iterdir())


def test_a_level_can_be_given_with_the_exchange(path):
    with recording(path) as recorder:
        recorder.record(recorded("chat.json"), "off")
        recorder.record(recorded("chat.json"), "full")
        assert recorder.flush()

    assert ExchangeDatabase(path).count() == 1


def test_callbacks_hear_once_and_one_that_raises_is_named(path, caplog):
    seen: list[str] = []

    def broken(exchange, words):
        raise RuntimeError("no")

    with recording(path) as recorder:
        recorder.on_completed += [broken, lambda one, _: seen.append(threading.current_thread().name)]
        for _ in range(3):
            recorder.record(recorded("chat.json"))
        assert recorder.flush()

    assert seen == ["dmrc-recorder"] * 3
    assert "broken' failed on a completed request" in caplog.text
    assert ExchangeDatabase(path).count() == 3


def test_callbacks_hear_what_was_said_and_nobody_reads_the_request_again(path, monkeypatch):
    """Those who watch read it once more, on the event loop (issue 17, point 1)."""
    document = {"messages": [{"role": "user", "content": "open sesame"}]}
    exchange = recorded("chat.json", request_body=json.dumps(document).encode())
    heard: list[ExchangeTexts] = []
    texts: list[str] = []
    read = json.JSONDecoder.raw_decode
    monkeypatch.setattr(
        json.JSONDecoder, "raw_decode", lambda self, text, idx=0: texts.append(text) or read(self, text, idx)
    )

    with recording(path) as recorder:
        recorder.on_completed.append(lambda _, words: heard.append(words))
        recorder.record(exchange, None, document)
        assert recorder.flush()

    assert [words.excerpt for words in heard] == ["open sesame"]
    assert not [text for text in texts if "sesame" in text]


def test_filters_follow_each_other_and_come_before_the_callbacks(path):
    seen: list[Exchange] = []

    with recording(path) as recorder:
        recorder.filters += [
            lambda one: replace(one, response_body=one.response_body.replace(b"planet", b"######")),
            lambda one: replace(one, annotations={"second": b"######" in one.response_body}),
        ]
        recorder.on_completed.append(lambda one, _: seen.append(one))
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
        recorder.on_completed.append(lambda one, _: seen.append(one))
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
        recorder.on_completed.append(lambda one, _: gate.wait(10) and None)
        started = time.monotonic()
        for _ in range(200):
            recorder.record(recorded("chat.json"))
        assert time.monotonic() - started < 5
        assert 190 <= recorder.counts().dropped <= 197
        gate.set()
        assert recorder.flush()
        recorder.record(recorded("chat.json"))
        assert recorder.flush()

        assert recorder.counts().recorded + recorder.counts().dropped == 201
    assert caplog.text.count("requests not recorded") == 1
    assert ExchangeDatabase(path).count() == recorder.counts().recorded


def test_close_writes_what_waits_and_refuses_what_comes_later(path):
    recorder = Recorder(path)
    for _ in range(300):
        recorder.record(recorded("chat.json"))

    recorder.close()
    recorder.close()
    recorder.record(recorded("chat.json"))

    assert ExchangeDatabase(path).count() == 300
    assert recorder.counts().dropped == 1
