"""Streams of llama.cpp's server in Ollama's words, wherever the chunks are cut."""

from __future__ import annotations

import json

import pytest

from dmrc.dialects.ollama.replies import OllamaReply
from dmrc.errors import EngineError
from tests.gateway.answering import bytes_of


def event(delta: dict[str, object], **more: object) -> bytes:
    reason = more.pop("finish_reason", None)
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


def called(**function: str) -> dict[str, object]:
    return {"tool_calls": [{"index": 0, "id": "a", "function": function}]}


STREAM = (
    event({"role": "assistant", "content": None})
    + event({"reasoning_content": "Hm."})
    + event({"content": "Lo, é"})
    + event(called(name="f"))
    + event(called(arguments='{"x"'))
    + event(called(arguments=": 1}"))
    + event(
        {}, finish_reason="tool_calls", timings={"prompt_n": 2, "cache_n": 3, "predicted_n": 7, "predicted_ms": 1.5}
    )
    + b"data: [DONE]\n\n"
)


def told(data: bytes, size: int) -> list[dict[str, object]]:
    return [json.loads(line) for line in bytes_of(OllamaReply("chat", "m"), data, size).splitlines()]


@pytest.mark.parametrize("size", [1, 7, 100, len(STREAM)])
def test_words_thoughts_and_calls_come_whole_wherever_chunks_are_cut(size: int) -> None:
    thought, said, calls, last = told(STREAM, size)

    assert thought["message"] == {"role": "assistant", "content": "", "thinking": "Hm."}
    assert said["message"] == {"role": "assistant", "content": "Lo, é"}
    assert calls["message"]["tool_calls"] == [{"id": "a", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}}]
    assert (last["done"], last["done_reason"]) == (True, "stop")
    assert (last["prompt_eval_count"], last["eval_count"]) == (5, 7)
    assert (last["total_duration"], last["load_duration"], last["eval_duration"]) == (9_000_000, 4_000_000, 1_500_000)


def test_a_stream_without_its_end_is_an_error_and_so_is_one_that_says_so() -> None:
    with pytest.raises(EngineError, match="ended before its end"):
        told(event({"content": "Lo"}), 50)
    with pytest.raises(EngineError, match="no memory"):
        told(b'data: {"error": {"message": "no memory"}}\n\n', 50)


@pytest.mark.parametrize("time", [float("nan"), float("inf"), "1.5", None, 10**400])
def test_a_time_that_is_none_breaks_no_answer(time: object) -> None:
    timings = {"predicted_n": 1, "predicted_ms": time}
    last = told(event({"content": "Lo"}, finish_reason="stop", timings=timings), 50)[-1]

    assert last["done"] is True
    assert last["eval_duration"] == (time * 1_000_000 if isinstance(time, int) else 0)
