"""Several answers to one request: all their tokens count, for the caller and in the record (issue 16, B15)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.gateway.conftest import MODEL, Gateway

ASKED = [{"role": "user", "content": "Say a fact about whales."}]
Recorded = Callable[[str], dict[str, object]]


def test_two_answers_count_twice(gateway: Gateway, recorded: Recorded) -> None:
    completions = gateway.client().chat.completions
    one = completions.create(model=MODEL, messages=ASKED, max_tokens=5).usage

    raw = completions.with_raw_response.create(model=MODEL, messages=ASKED, max_tokens=5, n=2, logprobs=True)

    answer = raw.parse()
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.message.content and choice.finish_reason == "length" for choice in answer.choices)
    assert [len(choice.logprobs.content) for choice in answer.choices] == [5, 5]
    assert answer.object == "chat.completion"
    assert (answer.usage.completion_tokens, answer.usage.prompt_tokens) == (10, one.prompt_tokens)
    record = recorded(raw.headers["x-dmrc-exchange-id"])
    assert (record["completion_tokens"], record["prompt_tokens"]) == (10, one.prompt_tokens)


@pytest.mark.parametrize("options", [{"stream_options": {"include_usage": True}}, {}])
def test_a_stream_of_two_answers_has_one_count(gateway: Gateway, recorded: Recorded, options: dict) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(
        model=MODEL, messages=ASKED, max_tokens=5, n=2, stream=True, **options
    )

    chunks = list(raw.parse())

    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert [usage.completion_tokens for usage in usages] == ([10] if options else [])
    assert {choice.index for chunk in chunks for choice in chunk.choices if choice.finish_reason} == {0, 1}
    assert recorded(raw.headers["x-dmrc-exchange-id"])["completion_tokens"] == 10


@pytest.mark.parametrize("stream", [False, True])
def test_several_prompts_count_each(gateway: Gateway, recorded: Recorded, stream: bool) -> None:
    completions = gateway.client().completions
    prompts = ["one two three", "a b c d e f"]
    ask = {"model": MODEL, "max_tokens": 4, "temperature": 0}
    alone = [completions.create(prompt=prompt, **ask) for prompt in prompts]

    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    raw = completions.with_raw_response.create(prompt=prompts, **ask, **more)

    usage = [chunk.usage for chunk in raw.parse() if chunk.usage][-1] if stream else raw.parse().usage
    given = sum(answer.usage.prompt_tokens for answer in alone)
    assert (usage.completion_tokens, usage.prompt_tokens, usage.total_tokens) == (8, given, 8 + given)
    if not stream:
        assert [choice.text for choice in raw.parse().choices] == [answer.choices[0].text for answer in alone]
    record = recorded(raw.headers["x-dmrc-exchange-id"])
    assert (record["completion_tokens"], record["prompt_tokens"]) == (8, given)
