import json

import pytest

from dmrc.capture.conversation import Message, ToolCall, answer_document, answered, asked
from dmrc.capture.reading import texts_of_request
from tests.capture.recorded import SSE, recorded

ANTHROPIC = {"dialect": "anthropic"}
RESPONSES = {"operation": "response"}


def requested(document: object, **recorded_as: str) -> list[Message]:
    return asked(recorded("chat.json", request_body=json.dumps(document).encode(), **recorded_as))


def streamed(*chunks: dict[str, object]):
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    return recorded("chat.json", response_body=body, response_headers=SSE)


def delta(index: int = 0, **delta: object) -> dict[str, object]:
    return {"object": "chat.completion.chunk", "choices": [{"index": index, "delta": delta, "finish_reason": None}]}


def test_a_chat_with_tools_is_told_message_by_message():
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "u"}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]

    assert requested({"messages": messages}) == [
        Message("system", "Be brief."),
        Message("user", "Look:\n[image_url u]"),
        Message("assistant", "", calls=(ToolCall("c1", "weather", '{"city":"Bern"}'),)),
        Message("tool", "rain", call_id="c1"),
    ]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"prompt": "One, two"}, [Message("prompt", "One, two")]),
        ({"input": ["a", "b"]}, [Message("input", "a\nb")]),
        ({"query": "q", "documents": ["d", {"text": "e"}]}, [Message("query", "q"), Message("documents", "d\ne")]),
        (
            {"system": "s", "messages": [{"role": "user", "content": "u"}]},
            [Message("system", "s"), Message("user", "u")],
        ),
        ([1], []),
        ({"messages": [None, {"role": 5, "content": {"a": 1}}]}, [Message("user", "")]),
    ],
)
def test_other_requests_have_a_role_that_says_what_they_are(document, expected):
    assert requested(document) == expected


def test_earlier_turns_of_ollama_have_their_arguments_thoughts_and_names():
    """Issue 16, B16: "calls get_weather", and nothing below."""
    call = {"function": {"name": "get_weather", "arguments": {"city": "Bern"}}}
    messages = [
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": "", "thinking": "Let me look.", "tool_calls": [call]},
        {"role": "tool", "tool_name": "get_weather", "content": "sunny"},
    ]

    assert requested({"messages": messages}, dialect="ollama") == [
        Message("user", "Rain?"),
        Message("assistant", "", "Let me look.", (ToolCall("", "get_weather", '{"city": "Bern"}'),)),
        Message("tool", "sunny", call_id="get_weather"),
    ]


def test_tools_are_told_alike_in_anthropics_blocks_and_in_items_of_responses():
    blocks = [
        {"role": "user", "content": "Is it cold?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm."},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Bern"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "rain"}]},
                {"type": "text", "text": "And now?"},
            ],
        },
    ]
    items = [
        {"role": "user", "content": "Is it cold?"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Bern"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"role": "user", "content": [{"type": "input_text", "text": "And now?"}]},
    ]
    call = ToolCall("c1", "weather", '{"city": "Bern"}')

    assert requested({"messages": blocks}, **ANTHROPIC) == [
        Message("user", "Is it cold?"),
        Message("assistant", "I look.", "Hm.", (call,)),
        Message("tool", "rain", call_id="c1"),
        Message("user", "And now?"),
    ]
    assert requested({"input": items}, **RESPONSES) == [
        Message("user", "Is it cold?"),
        Message("assistant", "", "Hm."),
        Message("assistant", "I look."),
        Message("assistant", "", calls=(call,)),
        Message("tool", "rain", call_id="c1"),
        Message("user", "And now?"),
    ]
    for body, recorded_as in (({"messages": blocks}, ANTHROPIC), ({"input": items}, RESPONSES)):
        request_body = json.dumps(body).encode()
        first, others = texts_of_request(recorded("chat.json", request_body=request_body, **recorded_as))
        assert first == "Is it cold?"
        assert all(word in others for word in ("weather", "Bern", "rain", "Hm.", "I look.", "And now?"))


def test_a_stream_is_put_together():
    exchange = streamed(
        delta(role="assistant", content=None),
        delta(reasoning_content="Hm"),
        delta(reasoning_content=", well."),
        delta(content="It"),
        delta(1, content="second"),
        delta(content=" rains."),
        delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "weather", "arguments": ""}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"city":'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '"Bern"}'}}]),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {"completion_tokens": 5}},
    )

    call = ToolCall("c1", "weather", '{"city":"Bern"}')
    assert answered(exchange) == [
        Message("assistant", "It rains.", "Hm, well.", (call,)),
        Message("assistant", "second"),
    ]
    document = answer_document(exchange)
    assert document["object"] == "chat.completion"
    assert document["usage"] == {"completion_tokens": 5}
    assert document["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("name", ["chat.json", "chat.sse", "chat-usage.sse", "completion.json", "completion.sse"])
def test_what_the_engine_said_is_one_answer(name):
    (message,) = answered(recorded(name))

    assert message.role == "assistant"
    assert message.text


@pytest.mark.parametrize(
    "body", [b"", b"data: {", b'data: {"choices": [{"index": -1, "delta": {"tool_calls": [{"index": 9}]}}]}']
)
def test_what_is_no_answer_breaks_nothing(body):
    assert all(
        message.text == "" for message in answered(recorded("chat.json", response_body=body, response_headers=SSE))
    )
