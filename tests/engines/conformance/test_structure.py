"""What binds an answer of every engine, and what it tells beside the words; and what an engine refuses."""

import json

import pytest

from tests.engines.conformance.conftest import Served

HELLO = [{"role": "user", "content": "Name a city and its number of people."}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "population", "parameters": SCHEMA}}


def call_for(city: str) -> list[dict[str, object]]:
    """Return a question, and the call that answers it: a small model needs to be shown how."""
    function = {"name": "population", "arguments": json.dumps({"city": city, "people": 1})}
    call = {"id": f"call-{city}", "type": "function", "function": function}
    question = f"How many people live in {city}?"
    return [{"role": "user", "content": question}, {"role": "assistant", "content": "", "tool_calls": [call]}]


@pytest.mark.parametrize("stream", [False, True])
def test_a_json_schema_binds_the_answer(served: Served, stream: bool) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
    ask = {"model": "chat", "messages": HELLO, "response_format": form, "max_tokens": 80, "temperature": 0}

    answer = served.client.chat.completions.create(**ask, stream=stream)

    text = (
        "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
        if stream
        else answer.choices[0].message.content
    )
    found = json.loads(text)
    assert found["city"] in ("Oslo", "Rome")
    assert isinstance(found["people"], int)


def test_a_json_object_is_one(served: Served) -> None:
    answer = served.client.chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": 'Answer with {"ok": true}'}],
        response_format={"type": "json_object"},
        max_tokens=200,
        temperature=0,
    )

    content = answer.choices[0].message.content or ""
    assert content.lstrip().startswith("{")
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(content), dict)


def test_a_tool_that_is_required_is_called_with_arguments_of_its_schema(served: Served) -> None:
    answer = served.client.chat.completions.create(
        model="chat",
        messages=[*call_for("Rome"), *call_for("Oslo"), *call_for("Rome"), call_for("Oslo")[0]],
        tools=[TOOL],
        tool_choice="required",
        max_tokens=120,
        temperature=0,
    )

    (call,) = answer.choices[0].message.tool_calls or []
    assert call.function.name == "population"
    assert json.loads(call.function.arguments)["city"] in ("Oslo", "Rome")


def test_logprobs_come_with_each_token(served: Served) -> None:
    with served.refuses("logprobs"):
        answer = served.client.chat.completions.create(
            model="chat", messages=HELLO, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2
        )

        assert answer.choices[0].logprobs is not None
        tokens = answer.choices[0].logprobs.content or []
        assert len(tokens) == 4
        assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)


def test_a_schema_that_is_none_is_refused(served: Served) -> None:
    import openai

    form = {"type": "json_schema", "json_schema": {"name": "bad", "schema": {"type": "no such type"}}}

    with pytest.raises(openai.BadRequestError):
        served.client.chat.completions.create(model="chat", messages=HELLO, response_format=form)
