"""A field that is not known, or of a wrong kind, is refused by its name in every dialect, not passed over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dmrc.dialects.anthropic.routes import AnthropicMessages
from dmrc.dialects.chat.checks import checked
from dmrc.dialects.chat.served import Served
from dmrc.dialects.dialect import Route
from dmrc.dialects.ollama.routes import OllamaChat, OllamaEmbed, OllamaGenerate
from dmrc.dialects.openai.routes import OpenAIRoute
from dmrc.dialects.responses.routes import ResponsesRoute
from dmrc.errors import InputError
from tests.gateway.test_translated_requests import ENGINE, HELLO, PARAMETERS, UPSTREAM, message, response, sent

CALL = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "gone"}
TOOL = {"name": "look", "input_schema": PARAMETERS}
FUNCTION = {"type": "function", "name": "look", "parameters": PARAMETERS}
CALLED = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}


def _said(*blocks: Any) -> list[Any]:
    return [*HELLO, {"role": "assistant", "content": [*blocks]}, *HELLO]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"tools": "x"}, "'tools'"),
        ({"tools": [5]}, r"'tools\[0\]'"),
        ({"thinking": True}, "'thinking'"),
        ({"output_config": "x"}, "'output_config'"),
        ({"output_config": {"bogus": 1}}, "'bogus' of 'output_config'"),
        ({"output_config": {"format": 5}}, "'output_config.format'"),
        ({"output_format": []}, "'output_format'"),
        ({"stop_sequences": 5}, "'stop_sequences'"),
        ({"stop_sequences": [None]}, "'stop_sequences'"),
        ({"tool_choice": "auto"}, "'tool_choice'"),
        ({"messages": [*HELLO, 5]}, "'messages' must be a list of messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, 5]}]}, r"'content\[1\]'"),
        ({"messages": _said({"type": "tool_use", "id": "t", "name": "look", "input": [5]})}, "'input'"),
        ({"messages": _said({"type": "thinking", "thinking": 5})}, "'thinking'"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": "x"}]}]}, "'source'"),
        ({"messages": _said(CALL | {"bogus": 1})}, "'bogus' of a block of type 'tool_use'"),
        ({"messages": _said(CALL | {"id": 5})}, "'id' of a block of type 'tool_use'"),
        ({"messages": [{"role": "user", "content": [RESULT | {"bogus": 1}]}]}, "'bogus' of a block of type 'tool_res"),
        ({"messages": [{"role": "user", "content": [RESULT | {"is_error": "x"}]}]}, "'is_error'"),
        ({"messages": [HELLO[0] | {"seed": 1}]}, "'seed' of a message"),
        ({"system": [5]}, r"'system\[0\]'"),
        ({"system": ["x"]}, r"'system\[0\]'"),
        ({"system": [None]}, r"'system\[0\]'"),
        ({"system": [CALL]}, "type 'tool_use'"),
        ({"tools": [TOOL | {"bogus": 1}]}, "'bogus' of tool 'look'"),
        ({"tools": [TOOL | {"input_examples": [{}]}]}, "'input_examples' of tool 'look'"),
        ({"tools": [TOOL | {"strict": "x"}]}, "strict"),
        ({"metadata": "x"}, "'metadata'"),
        ({"service_tier": 5}, "'service_tier'"),
        ({"max_tokens": 1.5}, "'max_tokens'"),
        ({"tool_choice": {"type": "auto", "bogus": 1}}, "'bogus' of 'tool_choice'"),
        ({"thinking": {"type": "x"}}, "'thinking.type'"),
        ({"thinking": {"type": "enabled", "bogus": 1}}, "'bogus' of 'thinking'"),
        ({"thinking": {"type": "enabled", "budget_tokens": True}}, "'budget_tokens' of 'thinking'"),
        ({"output_config": {"effort": "x"}}, "'output_config.effort'"),
    ],
)
def test_anthropics(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=name):
        sent(AnthropicMessages(), message(**fields))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"tools": "x"}, "'tools'"),
        ({"tools": [None]}, r"'tools\[0\]'"),
        ({"text": {"format": "x"}}, "'text.format'"),
        ({"input": [{"role": "user", "content": ["x"]}]}, r"'content\[0\]'"),
        ({"input": [*HELLO, {"type": "reasoning", "summary": "x"}]}, "'summary'"),
        ({"input": [*HELLO, {"type": "function_call_output", "call_id": "c", "output": 5}]}, "'output'"),
        ({"input": [HELLO[0] | {"bogus": 1}]}, "'bogus' of an item of type 'message'"),
        ({"input": [HELLO[0] | {"type": []}]}, "an item of type"),
        ({"input": [HELLO[0] | {"type": {}}]}, "an item of type"),
        ({"input": [*HELLO, CALLED | {"bogus": 1}]}, "'bogus' of an item of type 'function_call'"),
        ({"input": [*HELLO, CALLED | {"arguments": [5]}]}, "'arguments'"),
        ({"input": [*HELLO, CALLED | {"call_id": 5}]}, "'call_id'"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi", "x": 1}]}]}, "'x' of a part"),
        ({"tools": [FUNCTION | {"bogus": 1}]}, "'bogus' of tool 'look'"),
        ({"tools": [FUNCTION | {"strict": "x"}]}, "strict"),
        ({"include": [5]}, r"'include\[0\]'"),
        ({"include": ["x"]}, r"'include\[0\]'"),
        ({"max_tool_calls": "x"}, "'max_tool_calls'"),
        ({"user": 5}, "'user'"),
        ({"service_tier": 5}, "'service_tier'"),
        ({"stream_options": {"x": 1}}, "'x' of 'stream_options'"),
        ({"include": [None]}, r"'include\[0\]'"),
        ({"tools": [FUNCTION, {"type": "mcp"}]}, r"'tools\[1\]' is of type \"mcp\""),
        ({"tools": [FUNCTION, {"type": "custom", "name": "x"}]}, r"'tools\[1\]' is of type \"custom\""),
        ({"tools": [FUNCTION, {}]}, r"'tools\[1\]' is of type null"),
        ({"top_logprobs": "x"}, "'top_logprobs'"),
        ({"reasoning": {"effort": "x"}}, "'reasoning.effort'"),
        ({"reasoning": {"bogus": 1}}, "'bogus' of 'reasoning'"),
        ({"text": {"verbosity": "x"}}, "'text.verbosity'"),
        ({"text": {"bogus": 1}}, "'bogus' of 'text'"),
    ],
)
def test_the_responses(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=name):
        sent(ResponsesRoute(), response(**fields))


def test_what_the_clients_send_beside_what_is_heeded_passes() -> None:
    cached = {"cache_control": {"type": "ephemeral"}}
    said = [{"role": "assistant", "content": [CALL | cached | {"caller": {"type": "direct"}}]}]
    result = [{"role": "user", "content": [RESULT | cached | {"is_error": False}]}]
    tools = [TOOL | cached | {"type": "custom", "eager_input_streaming": True, "defer_loading": False, "strict": True}]
    thinking = {"type": "adaptive", "display": "omitted"}
    chat = sent(AnthropicMessages(), message(messages=[*HELLO, *said, *result], tools=tools, thinking=thinking))
    assert chat["messages"][-1]["content"] == "gone"

    answer = {"type": "output_text", "text": "Yes", "annotations": [], "logprobs": []}
    answered = {"type": "message", "id": "m", "status": "completed", "role": "assistant", "phase": "final_answer"}
    items = [*HELLO, answered | {"content": [answer]}, CALLED | {"id": "f", "status": "completed"}]
    asked = response(input=items, tools=[FUNCTION | {"strict": None}], include=["reasoning.encrypted_content"])
    chat = sent(ResponsesRoute(), asked | {"reasoning": {"effort": "xhigh", "summary": "auto"}, "user": "u"})
    assert chat["messages"][-1]["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}


def test_a_document_says_that_it_wants_no_citations_or_is_text_in_base64() -> None:
    """`enabled: false`, which is Anthropic's default, was refused."""
    source = {"type": "base64", "media_type": "text/plain", "data": "cGx1bQ=="}
    document = {"type": "document", "source": source, "citations": {"enabled": False}}
    chat = sent(AnthropicMessages(), message(messages=[{"role": "user", "content": [document]}]))

    assert chat["messages"] == [{"role": "user", "content": "plum"}]


def test_the_model_is_told_that_a_tool_failed() -> None:
    failed = [{"role": "user", "content": [RESULT | {"is_error": True}]}]
    chat = sent(AnthropicMessages(), message(messages=[*_said(CALL)[:-1], *failed]))

    assert chat["messages"][-1] == {"role": "tool", "tool_call_id": "t", "content": "Error: gone"}


@pytest.mark.parametrize("served", [UPSTREAM, ENGINE], ids=["upstream", "llama.cpp"])
@pytest.mark.parametrize("value", [True, "1"])
@pytest.mark.parametrize(
    ("dialect", "fields", "name"),
    [
        (OpenAIRoute("chat/completions", "chat"), message(), "temperature"),
        (OpenAIRoute("chat/completions", "chat"), message(), "max_tokens"),
        (OpenAIRoute("completions", "completion"), {"model": "m", "prompt": "Hi"}, "seed"),
        (AnthropicMessages(), message(), "temperature"),
        (AnthropicMessages(), message(), "max_tokens"),
        (ResponsesRoute(), response(), "temperature"),
        (ResponsesRoute(), response(), "max_output_tokens"),
        (OllamaChat(), {"model": "m", "messages": HELLO, "logprobs": True}, "top_logprobs"),
    ],
)
def test_a_number_is_a_number(dialect: Route, fields: dict[str, Any], name: str, value: Any, served: Served) -> None:
    with pytest.raises(InputError, match=f"'{name}'"):
        sent(dialect, fields | {name: value}, served)


@pytest.mark.parametrize("served", [UPSTREAM, ENGINE], ids=["upstream", "llama.cpp"])
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"stop": 5}, "'stop'"),
        ({"stop": [None]}, "'stop'"),
        ({"stop": {"x": 1}}, "'stop'"),
        ({"response_format": "json_object"}, "'response_format'"),
        ({"response_format": []}, "'response_format'"),
        ({"response_format": {}}, "'response_format' has no 'type'"),
        ({"response_format": {"type": 5}}, "'response_format' has no 'type'"),
        ({"logprobs": 5}, "'logprobs'"),
        ({"logit_bias": "x"}, "'logit_bias'"),
        ({"stream": "yes"}, "'stream'"),
        ({"stream_options": "x"}, "'stream_options'"),
        ({"parallel_tool_calls": "no"}, "'parallel_tool_calls'"),
        ({"reasoning_effort": 5}, "'reasoning_effort'"),
        ({"seed": 1.5}, "'seed'"),
        ({"max_tokens": 1.5}, "'max_tokens'"),
        ({"n": 1.5}, "'n'"),
        ({"user": 5}, "'user'"),
        ({"metadata": "x"}, "'metadata'"),
    ],
)
def test_chats(fields: dict[str, Any], name: str, served: Served) -> None:
    """llama.cpp's server passes over what it cannot read: an answer bound by no form, that nothing stops."""
    with pytest.raises(InputError, match=name):
        sent(OpenAIRoute("chat/completions", "chat"), {"model": "m", "messages": HELLO} | fields, served)


@pytest.mark.parametrize("fields", [{"echo": "x"}, {"stop": [5]}, {"logprobs": True}, {"n": "2"}])
def test_completions(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"'{next(iter(fields))}'"):
        sent(OpenAIRoute("completions", "completion"), {"model": "m", "prompt": "Hi"} | fields, ENGINE)


def test_what_chats_may_have_passes() -> None:
    fields = {"stop": "x", "logit_bias": [[5, 1]], "max_tokens": 9.0, "stream_options": None, "temperature": 0}
    assert (
        sent(OpenAIRoute("chat/completions", "chat"), {"model": "m", "messages": HELLO} | fields, ENGINE)["stop"] == "x"
    )


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"tools": "x"}, "'tools'"),
        ({"options": []}, "'options'"),
        ({"options": "x"}, "'options'"),
        ({"stream": 1}, "'stream'"),
        ({"truncate": "x"}, "'truncate'"),
        ({"logprobs": 5}, "'logprobs'"),
        ({"_debug_render_only": True}, "'_debug_render_only' is not done here"),
        ({"messages": [{"role": "user", "content": 0}]}, "'content' of a message"),
        ({"messages": [{"role": "user", "content": []}]}, "'content' of a message"),
        ({"messages": [{"role": "user", "content": "Hi", "images": {}}]}, "'images' of a message"),
        ({"messages": [{"role": "assistant", "content": "Hi", "thinking": True}]}, "'thinking' of a message"),
        ({"messages": [{"role": "assistant", "content": "Hi", "tool_calls": {}}]}, "'tool_calls' of a message"),
    ],
)
def test_ollamas_chats(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=name):
        sent(OllamaChat(), {"model": "m", "messages": HELLO} | fields)


@pytest.mark.parametrize("name", ["raw", "suffix", "images", "system", "template", "width", "stream"])
def test_what_ollama_generates_from(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}'"):
        sent(OllamaGenerate(), {"model": "m", "prompt": "Hi", name: 5})


@pytest.mark.parametrize("served", [UPSTREAM, ENGINE], ids=["upstream", "llama.cpp"])
@pytest.mark.parametrize("value", [None, [], {}, 5, ["a", 5], [5, "a"], ["a", None], [["a"]], [[1.5]], [True]])
def test_what_is_embedded(value: Any, served: Served) -> None:
    """Of a text beside a number llama.cpp's server makes one embedding."""
    with pytest.raises(InputError, match="'input'"):
        sent(OpenAIRoute("embeddings", "embedding"), {"model": "m", "input": value}, served)


@pytest.mark.parametrize("value", ["a", ["a"], [5], [[5], [6, 7]], ["a", [5]]])
def test_what_can_be_embedded(value: Any) -> None:
    call = OpenAIRoute("embeddings", "embedding").call({"model": "m", "input": value, "mood": 1}, b"", None)

    assert checked(call, ENGINE).left_out == ("mood",)


@pytest.mark.parametrize("wanted", [True, 0, "x", 65])
def test_dimensions_of_ollamas_embeddings(wanted: Any) -> None:
    served = replace(ENGINE, embedding_length=64)
    with pytest.raises(InputError, match="'dimensions'"):
        sent(OllamaEmbed(is_single=False), {"model": "m", "input": "Hi", "dimensions": wanted}, served)


def test_an_option_of_ollamas_is_a_number() -> None:
    with pytest.raises(InputError, match='"temperature"'):
        sent(OllamaChat(), {"model": "m", "messages": HELLO, "options": {"temperature": True}})
