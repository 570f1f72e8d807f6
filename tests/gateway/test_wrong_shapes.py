"""A field of a wrong kind is refused by its name, in Anthropic's dialect and in the Responses', not passed over."""

from __future__ import annotations

from typing import Any

import pytest

from dmrc.errors import InputError
from dmrc.gateway.dialects.anthropic import AnthropicMessages
from dmrc.gateway.dialects.responses import Responses
from tests.gateway.test_translated_requests import HELLO, message, response, sent


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
        ({"messages": [*HELLO, 5]}, "'messages' is no list of messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, 5]}]}, r"'content\[1\]'"),
        ({"messages": _said({"type": "tool_use", "id": "t", "name": "look", "input": [5]})}, "'input'"),
        ({"messages": _said({"type": "thinking", "thinking": 5})}, "'thinking'"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": "x"}]}]}, "'source'"),
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
    ],
)
def test_the_responses(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=name):
        sent(Responses(), response(**fields))
