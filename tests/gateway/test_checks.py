"""The one check of a chat completion, without an engine: what is refused by its place, what is fixed, what passes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dmrc.dialects.chat.checks import checked
from dmrc.dialects.chat.forced_calls import ForcedCalls
from dmrc.dialects.chat.schemas import kept_pattern
from dmrc.dialects.chat.served import Served, takes_tools
from dmrc.dialects.chat.unfinished import closed
from dmrc.dialects.dialect import Call
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.json_values import items_of

KNOWS_TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
KNOWS_NONE = "You have no tools.{% for m in messages %}{{ 'tools' ~ m.content }}{% endfor %}"
SERVED = Served("ai/x", "llama-server", template=KNOWS_TOOLS, context_size=4096)
PLAIN = Served("ai/x", "llama-server", template=KNOWS_NONE, context_size=4096)
FAR = Served("far", "upstream")
HELLO: JsonValue = [{"role": "user", "content": "Hi"}]
TOOL: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
OTHER: Any = {"type": "function", "function": {"name": "other"}}


def chat(served: Served = SERVED, **fields: Any) -> Call:
    document = {"model": "ai/x", "messages": HELLO, **fields}
    return checked(Call("/v1/chat/completions", document, raw=json.dumps(document).encode()), served)


def called(arguments: object, **fields: object) -> list[dict[str, Any]]:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": arguments}, **fields}
    return [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": None}, "'messages' must be a list, not null"),
        ({"messages": "Hi"}, "'messages' must be a list, not \"Hi\""),
        ({"messages": []}, "'messages' is empty"),
        ({"messages": ["Hi"]}, 'messages[0] must be a message, not "Hi"'),
        ({"messages": [{"content": "Hi"}]}, "messages[0] has no 'role'"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, 'messages[0].role is "wizard"'),
        ({"messages": [{"role": "user"}]}, "messages[0] has no 'content'"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content is 5"),
        ({"messages": [{"role": "user", "content": {"text": "Hi"}}]}, "messages[0].content is an object"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content[0] has no 'type'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text must be a string, not null",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, 'is of type "file"'),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "content[0].image_url has no data"),
        ({"messages": [{"role": "user", "content": "Hi", "name": 5}]}, "messages[0].name must be a string, not 5"),
        ({"messages": [{"role": "assistant", "function_call": {"name": "x"}}]}, "Send the call in 'tool_calls'"),
        ({"messages": [{"role": "assistant", "tool_calls": 5}]}, "messages[0].tool_calls must be a list, not 5"),
        ({"messages": called("{}", type="custom")}, 'messages[1].tool_calls[0] is of type "custom"'),
        ({"messages": called("{}", id=5)}, "messages[1].tool_calls[0].id must be a string, not 5"),
        ({"messages": called("{}", function=None)}, "messages[1].tool_calls[0] has no 'function'"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, 'tools[0] is of type "custom"'),
        ({"tools": {}}, "'tools' must be a list, not an object"),
        ({"tools": [TOOL, {"type": "function"}]}, "tools[1] has no 'function'"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function has no 'name'"),
        ({"tools": [TOOL], "tool_choice": "any"}, "'tool_choice' is \"any\""),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "lok"}}},
            "names the function 'lok', which is not one of the tools (did you mean 'look'?)",
        ),
        ({"tool_choice": "required"}, "the request has no 'tools'"),
        ({"response_format": {"type": "json_schema"}}, "'response_format.json_schema' has no 'schema'"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_place(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        chat(**fields)

    assert caught.value.http_status == 400


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"messages": [{"role": "developer", "content": [{"type": "text", "text": "x"}]}, *called('{"a": 1}')]},
        {"tools": [TOOL], "tool_choice": "auto"},
        {"tools": [TOOL], "tool_choice": "none"},
        {"tools": []},
        {"tool_choice": "auto"},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_what_is_right_passes_as_the_caller_wrote_it(fields: dict[str, Any]) -> None:
    call = chat(**fields)

    assert call.raw == call.body() == json.dumps({"model": "ai/x", "messages": HELLO, **fields}).encode()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", {}),
        (None, {}),
        ('{"city": "Be', {"city": "Be"}),
        ('{"city": "Bern", "da', {"city": "Bern"}),
        ('{"a": [1, {"b": "x', {"a": [1, {"b": "x"}]}),
        ('{"a": tru', {}),
        ('{"a": "b\\', {"a": "b"}),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
        ("look it up", {"arguments": "look it up"}),
        ('["Bern"]', {"arguments": ["Bern"]}),
        ('{"a": NaN}', {"arguments": '{"a": NaN}'}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ('{"a": "\\ud83d"}', {"a": "?"}),
        ('{"a": "\\ud83d', {"a": "?"}),
    ],
)
def test_arguments_that_were_cut_are_json_again(written: str | None, meant: object) -> None:
    messages = chat(messages=called(written)).document["messages"]

    arguments = messages[1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == meant
    assert json.loads(json.dumps(json.loads(arguments), ensure_ascii=False).encode()) == meant  # no half a character


def test_json_that_was_cut_anywhere_is_closed() -> None:
    whole = json.dumps({"a": [1, {"b": 'x"}{', "c": None}], "d": {"e": "\\ü"}, "f": 1.5e3})

    for end in range(1, len(whole)):
        assert closed(whole[:end]) is not None, whole[:end]
    assert closed(whole) == json.loads(whole)
    assert closed("[" * 1000) is closed("{" * 100_000) is closed('{"a":' * 100) is None


def test_nulls_are_left_out_and_a_call_gets_its_type() -> None:
    nulls = {"name": None, "tool_calls": None, "refusal": None, "function_call": None}
    function = {"name": "look", "description": None, "strict": None, "parameters": None}
    messages = called("{}")
    del messages[1]["tool_calls"][0]["type"]

    call = chat(messages=[{"role": "user", "content": "Hi", **nulls}, *messages[1:]], tools=[{"function": function}])

    assert call.document["messages"][0] == {"role": "user", "content": "Hi"}
    assert call.document["messages"][1]["tool_calls"][0]["type"] == "function"
    assert call.document["tools"] == [{"type": "function", "function": {"name": "look"}}]


def test_null_is_a_value_in_a_schema_where_it_can_be_one() -> None:
    schema = {"properties": {"a": {"enum": [None, 1], "default": None, "title": None}}, "const": None, "required": None}

    call = chat(tools=[{"type": "function", "function": {"name": "look", "parameters": schema}}])

    (tool,) = call.document["tools"]
    kept = {"properties": {"a": {"enum": [None, 1], "default": None}}, "const": None}
    assert tool["function"]["parameters"] == kept


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "function": {"name": "other"}},
        {"type": "function", "name": "other"},
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [OTHER]}},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "other"}]},
    ],
)
def test_a_choice_that_names_a_tool_leaves_no_other_one(choice: object) -> None:
    near, far = chat(tools=[TOOL, OTHER], tool_choice=choice), chat(FAR, tools=[TOOL, OTHER], tool_choice=choice)

    assert (far.document["tools"], far.document["tool_choice"]) == ([OTHER], "required")
    assert (near.document["tools"], near.document["tool_choice"]) == ([OTHER], "none")
    names = re.findall(r'"name": {"const": "(\w+)"}', json.dumps(near.document["response_format"]))
    assert names == ["other"]


def test_tools_that_may_be_called_are_the_only_ones() -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [OTHER]}}

    call = chat(tools=[TOOL, OTHER], tool_choice=choice)

    assert (call.document["tools"], call.document["tool_choice"], call.fixes) == ([OTHER], "auto", ())


def test_a_template_without_tools_is_told_of_the_one_that_must_be_called_and_refuses_to_choose() -> None:
    with pytest.raises(InputError, match="model 'ai/x' does not support tools"):
        chat(PLAIN, tools=[TOOL])

    asked = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    alone, told = (chat(PLAIN, tools=[TOOL], tool_choice="required", messages=one) for one in (HELLO, asked))

    assert "tools" not in told.document
    assert [message["role"] for message in alone.document["messages"]] == ["system", "user"]
    assert re.match(r'Be kind\.\n\nCall a function.*"name": "look"', told.document["messages"][0]["content"], re.DOTALL)
    assert chat(PLAIN, tools=[TOOL], tool_choice="none").raw is not None


def test_a_template_that_only_speaks_of_tools_takes_none() -> None:
    assert takes_tools(KNOWS_TOOLS)
    assert takes_tools("{%- set tools = custom_tools %}")
    assert not takes_tools(KNOWS_NONE)
    assert not takes_tools("{{ toolset }} and tools")


def test_references_of_a_schema_lead_to_its_own_parts() -> None:
    parameters = {"$defs": {"x": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/x"}}}
    tools = [TOOL, {"type": "function", "function": {"name": "x", "parameters": parameters}}]

    form = chat(tools=tools, tool_choice="required").document["response_format"]

    assert '"$ref": "#/anyOf/1/properties/arguments/$defs/x"' in json.dumps(form)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_forced_answer_is_told_as_a_call_piece_by_piece(size: int) -> None:
    said, fix = '{\n "name" : "look", "arguments": {"a": {"b": "}}"}} \n}', ForcedCalls()
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    events: list[Any] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]}]
    events += [{"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
    events += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": {}}]

    told: list[Any] = [new for event in events for new in fix.event(event)]

    assert told[0]["choices"][0]["delta"] == {"role": "assistant"}
    assert told[-1] == {"choices": [], "usage": {}}
    calls = [call for one in told[:-1] for call in one["choices"][0]["delta"].get("tool_calls", [])]
    assert [call["function"].get("name") for call in calls if "id" in call] == ["look"]
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"a": {"b": "}}"}}
    assert [one["choices"][0].get("finish_reason") for one in told[1:-1]][-1] == "tool_calls"


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ('{"name": "look", "arguments": {"a": {"b": 1', '{"a": {"b": 1'),
        ('{"name": "look", "arguments": {"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ('{"name": "look", "arguments": {"a": 1}}', '{"a": 1}'),
    ],
)
def test_a_forced_answer_that_was_cut_keeps_what_was_said(said: str, arguments: str) -> None:
    document: Any = {"choices": [{"index": 0, "message": {"content": said}, "finish_reason": "length"}]}

    (choice,) = ForcedCalls().whole(document)["choices"]

    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == arguments
    assert choice["finish_reason"] == "length"


def test_a_forced_answer_without_even_a_name_stays_what_it_is() -> None:
    document: Any = {"choices": [{"index": 0, "message": {"content": '{"na'}, "finish_reason": "length"}]}

    assert ForcedCalls().whole(document)["choices"][0]["message"] == {"content": '{"na'}


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        (r"^\d{4}-\d{2}$", "^[0-9]{4}-[0-9]{2}$"),
        (r"^[\w.-]+$", "^[A-Za-z0-9_.-]+$"),
        (r"^(?<year>\d)(?:a|b)$", "^([0-9])(a|b)$"),
        (r"\d", r'^[^"\\\x00-\x1F]*([0-9])[^"\\\x00-\x1F]*$'),
        (r"^a.$", r'^a[^"\\\x00-\x1F]$'),
        (r"^[^x]$", r'^[^x"\\\x00-\x1F]$'),
        (r"^\/api\/\S$", r'^/api/[^ "\\\x00-\x1F]$'),
        (r"^\$[\-+]$", r"^\$[\x2D+]$"),
    ],
)
def test_a_pattern_is_kept_in_the_words_that_the_engine_knows(pattern: str, kept: str) -> None:
    assert kept_pattern(pattern, "p") == kept


@pytest.mark.parametrize(
    "pattern", [r"^(?=a)\w$", r"(?!a)", r"^(?<=a)b$", r"^(a)\1$", r"\bword\b", r"^a$|^b$", r"^\p{L}$"]
)
def test_a_pattern_beyond_a_grammar_is_refused_by_name(pattern: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}

    with pytest.raises(InputError, match=r"response_format.json_schema.schema.properties.a.pattern is"):
        chat(response_format=form)
    assert chat(FAR, response_format=form).raw is not None


def test_keywords_of_a_schema_that_the_grammar_leaves_out_are_named() -> None:
    """They were left out without a word: a `multipleOf` of 7 was answered with 100."""
    unique = {"type": "array", "uniqueItems": True, "items": {"type": "string", "format": "email"}}
    whole = {"type": "integer", "minimum": 1}
    properties = {"a": {"type": "integer", "multipleOf": 7}, "b": unique, "c": whole, "multipleOf": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "anyOf": [{"not": {}}, {"type": "number", "maximum": 5}]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}

    assert chat(response_format=form).left_out == (
        "schema.properties.a.multipleOf",
        "schema.properties.b.uniqueItems",
        "schema.properties.b.items.format",
        "schema.anyOf[0].not",
        "schema.anyOf[1].maximum",
    )
    assert chat(FAR, response_format=form).left_out == ()


@pytest.mark.parametrize(
    ("fingerprint", "said"), [("b6123-79c1160b", " who"), ("fp_1a2b", "A whale who"), (None, "A whale who")]
)
def test_an_upstream_that_is_llama_cpps_server_does_not_repeat_a_beginning(fingerprint: str | None, said: str) -> None:
    call = chat(FAR, messages=[*items_of(HELLO), {"role": "assistant", "content": "A whale"}])
    message = {"role": "assistant", "content": "A whale who"}

    (fix,) = call.fixes
    answer = fix.whole({"system_fingerprint": fingerprint, "choices": [{"index": 0, "message": message}]})

    assert answer["choices"] == [{"index": 0, "message": {"role": "assistant", "content": said}}]


def test_an_upstream_may_know_what_we_do_not() -> None:
    message = {"role": "wizard", "content": [{"type": "file", "file": {}}]}

    call = chat(
        FAR, messages=[message], tools=[{"type": "custom", "custom": {"name": "x"}}], tool_choice={"type": "custom"}
    )

    assert call.raw is not None
    with pytest.raises(InputError, match="has no 'role'"):
        chat(FAR, messages=[{"content": "Hi"}])
