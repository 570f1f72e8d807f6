"""A chat before vLLM: what it does not know is named, and its errors are told in our words."""

from __future__ import annotations

import json

import pytest

from dmrc.dialects.chat.checks import checked
from dmrc.dialects.chat.engine_errors import engine_error
from dmrc.dialects.chat.served import Served
from dmrc.dialects.dialect import Call
from dmrc.errors import ContextLengthError, DmrcError, InputError, UnsupportedError

SERVED = Served("ai/x", "vllm", context_size=512)


def chat(**fields: object) -> Call:
    document = {"model": "llm", "messages": [{"role": "user", "content": "hi"}], **fields}
    return checked(Call("/v1/chat/completions", document), SERVED)  # type: ignore[arg-type]


def test_a_field_that_vllm_leaves_out_is_named_and_one_of_openai_is_refused() -> None:
    assert chat(top_k=5, guided_json={"a": 1}, n_keep=3, user="me").left_out == ("guided_json", "n_keep")
    with pytest.raises(InputError, match="'web_search_options' is not supported"):
        chat(web_search_options={})


def test_an_answer_that_is_longer_than_the_context_fills_it() -> None:
    assert chat(max_tokens=1000).document["max_tokens"] == 512
    assert chat(max_tokens=512).document["max_tokens"] == 512


def test_an_answer_that_was_begun_is_gone_on_with() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Well,"}]

    document = chat(messages=messages).document

    assert (document["continue_final_message"], document["add_generation_prompt"]) == (True, False)


def test_a_call_that_is_wanted_is_made_of_a_schema() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

    document = chat(tools=[tool], tool_choice="required").document

    assert document["tool_choice"] == "none"
    assert document["response_format"]["type"] == "json_schema"  # type: ignore[index, call-overload]


def refusal(message: str, status: int = 400) -> DmrcError:
    body = {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}}
    return engine_error(status, {}, json.dumps(body).encode(), SERVED, "/v1/chat/completions")


def test_its_errors_are_told_in_our_words() -> None:
    counted = refusal(
        "This model's maximum context length is 512 tokens. However, your prompt contains at least 513 input tokens, "
        "which exceeds this limit even without any output tokens."
    )
    characters = refusal(
        "This model's maximum context length is 512 tokens. However, your prompt contains 3622 characters (more than "
        "2560 characters, which is the upper bound for 512 input tokens)."
    )

    assert isinstance(counted, ContextLengthError)
    assert "exceeds the available context size (512 tokens)" in str(counted)
    assert isinstance(characters, ContextLengthError)
    assert (counted.prompt_tokens, characters.prompt_tokens, characters.context_tokens) == (513, None, 512)
    no_parser = refusal('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')
    assert isinstance(no_parser, UnsupportedError)
    assert "--tool-call-parser" in (no_parser.remedy or "")
