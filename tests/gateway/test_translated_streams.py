"""Streams of chat completions in the words of each dialect, without an engine: whatever is cut, joined or ended how."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dmrc.dialects.anthropic.replies import AnthropicReply
from dmrc.dialects.dialect import Reply, Timing
from dmrc.dialects.ollama.replies import OllamaReply
from dmrc.dialects.responses.replies import ResponsesReply
from dmrc.dialects.translation import Translation
from tests.gateway.answering import bytes_of, chat_stream, told, whole

DELTAS = [
    {"role": "assistant", "content": ""},
    {"reasoning_content": "A greeting."},
    *({"content": word} for word in ("Hello", " to", " you.")),
    {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "Bern"}'}}]},
]
REPLIES: dict[str, Callable[[], Reply]] = {
    "anthropic": lambda: AnthropicReply("m"),
    "responses": lambda: ResponsesReply({}, None),
    "ollama": lambda: OllamaReply("chat", "m"),
}


@pytest.mark.parametrize("size", [None, 1, 7])
def test_the_first_event_of_a_response_counts_nothing_whatever_comes_with_it(size: int | None) -> None:
    """Clients counted twice where the whole stream came in one read."""
    found = told(ResponsesReply({}, None), chat_stream(DELTAS, "length"), size)

    for event in found[:2]:
        response = event["response"]
        assert (event["type"], response["status"]) in (
            ("response.created", "in_progress"),
            ("response.in_progress", "in_progress"),
        )
        assert (response["usage"], response["incomplete_details"], response["output"]) == (None, None, [])
    last = found[-1]["response"]
    assert (last["usage"]["input_tokens"], last["usage"]["output_tokens"]) == (35, 6)
    assert last["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize("size", [None, 1, 7])
def test_the_first_event_of_a_message_counts_nothing_and_the_last_one_all(size: int | None) -> None:
    found = told(AnthropicReply("m"), chat_stream(DELTAS, "tool_calls"), size)

    start, end = found[0]["message"], found[-2]
    assert {count for name, count in start["usage"].items()} == {0}
    assert (start["stop_reason"], end["delta"]["stop_reason"]) == (None, "tool_use")
    assert end["usage"] == {
        "input_tokens": 30,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 5,
        "output_tokens": 6,
    }


@pytest.mark.parametrize("size", [None, 1, 7])
def test_the_first_event_of_a_message_has_the_tokens_that_are_read_where_the_engine_tells(size: int | None) -> None:
    progress = b'data: {"choices":[],"prompt_progress":{"total":35,"cache":5,"processed":5,"time_ms":0}}\n\n'

    found = told(AnthropicReply("m"), progress + chat_stream(DELTAS, "tool_calls"), size)

    usage = found[0]["message"]["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (30, 5, 0)
    assert found[-2]["usage"]["output_tokens"] == 6


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("dialect", REPLIES)
def test_a_stream_says_the_same_however_its_lines_end_and_wherever_it_is_cut(
    dialect: str, line_end: str, size: int | None
) -> None:
    def words(stream: bytes, size: int | None = None) -> str:
        said = bytes_of(REPLIES[dialect](), stream, size).decode()
        return "".join(word for word in ("A greeting.", " you.", "get_weather", "Bern") if word in said)

    assert words(chat_stream(DELTAS, line_end=line_end), size) == "A greeting. you.get_weatherBern"


@pytest.mark.parametrize("dialect", REPLIES)
def test_a_stream_with_crlf_is_told_piece_by_piece(dialect: str) -> None:
    """It was held back to its end."""
    stream = chat_stream([{"content": "Hello"}], line_end="\r\n")
    first = stream.index(b"\r\n\r\n") + 4

    translation = Translation(REPLIES[dialect](), (), lambda: Timing(0.0, 0.0))

    assert b"Hello" in translation.feed(stream[:first])


@pytest.mark.parametrize("dialect", REPLIES)
def test_what_a_last_event_says_again_is_not_told_again(dialect: str) -> None:
    """#17: a server had the whole message beside the empty delta that ends a stream."""
    deltas: list[dict[str, object]] = [{"content": "Hello"}, {"content": " you."}]

    plain = bytes_of(REPLIES[dialect](), chat_stream(deltas))
    again = bytes_of(REPLIES[dialect](), chat_stream(deltas, message={"role": "assistant", "content": "Hello you."}))

    assert again.count(b"Hello") == plain.count(b"Hello")


def test_each_event_of_a_response_has_its_place() -> None:
    found = told(ResponsesReply({"metadata": {"a": "b"}}, None), chat_stream(DELTAS, "tool_calls"))

    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    for event in found:
        kind = event["type"].removeprefix("response.")
        if kind.startswith(("output_item", "output_text", "content_part", "reasoning", "function_call")):
            assert isinstance(event["output_index"], int), event
        if kind.startswith(("output_text", "content_part", "reasoning_text")):
            assert event["content_index"] == 0
        if kind in ("created", "in_progress", "completed"):
            assert isinstance(event["response"]["output"], list)
            assert event["response"]["metadata"] == {"a": "b"}
    begun, ended = (
        [event["item"]["id"] for event in found if event["type"] == f"response.output_item.{way}"]
        for way in ("added", "done")
    )
    assert begun == ended == [item["id"] for item in found[-1]["response"]["output"]]
    assert [item["type"] for item in found[-1]["response"]["output"]] == ["reasoning", "message", "function_call"]


_KEYS = (
    *("id", "object", "created_at", "model", "output", "status", "usage", "output_text", "error", "incomplete_details"),
    *("instructions", "metadata", "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p", "user"),
    *("max_output_tokens", "store", "previous_response_id", "reasoning", "reasoning_effort", "truncation", "text"),
)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_response_has_all_that_clients_look_for(is_streamed: bool) -> None:
    request = {"instructions": "Be kind.", "metadata": {"k": "v"}, "temperature": 0.5, "reasoning": {"effort": "low"}}
    reply = ResponsesReply(request, None)

    made = (
        told(reply, chat_stream(DELTAS))[-1]["response"]
        if is_streamed
        else whole(reply, {"content": "Hello to you.", "reasoning_content": "A greeting."})
    )

    assert made.keys() >= set(_KEYS)
    assert (made["output_text"], made["status"], made["error"]) == ("Hello to you.", "completed", None)
    assert (made["instructions"], made["metadata"], made["temperature"]) == ("Be kind.", {"k": "v"}, 0.5)
    assert (made["reasoning"]["effort"], made["reasoning_effort"], made["store"]) == ("low", "low", True)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_response_that_was_cut_says_so_and_which_item_was(is_streamed: bool) -> None:
    reply = ResponsesReply({}, None)
    call = {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"ci'}}

    made = (
        told(reply, chat_stream([{"content": "Look:"}, {"tool_calls": [call]}], "length"))[-1]["response"]
        if is_streamed
        else whole(reply, {"content": "Look:", "tool_calls": [call]}, "length")
    )

    assert (made["status"], made["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert [item["status"] for item in made["output"]] == ["completed", "incomplete"]


def test_a_block_that_calls_a_tool_begins_with_an_empty_input() -> None:
    found = told(AnthropicReply("m"), chat_stream(DELTAS, "tool_calls"))

    (block,) = [
        event["content_block"]
        for event in found
        if event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use"
    ]
    assert block == {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {}}


VLLM, LLAMA_CPP = ('"stop_reason": "END"}]', '}], "__verbose": {"stopping_word": "END"}')


@pytest.mark.parametrize("told_by", [VLLM, LLAMA_CPP], ids=["vllm", "llama.cpp"])
def test_the_word_that_stopped_a_message_is_told_where_the_server_tells_it(told_by: str) -> None:
    stream = chat_stream([{"content": "Hello"}]).decode()
    stream = stream.replace('"finish_reason": "stop"}]', f'"finish_reason": "stop", {told_by}'.replace(", }", "}"))

    (end,) = [event for event in told(AnthropicReply("m"), stream.encode()) if event["type"] == "message_delta"]

    assert end["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "END"}
