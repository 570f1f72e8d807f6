"""Interactions as YAML that a person changes: the request as it is, the answer as texts and calls.

A document for each, in the order of the lines; `line` says whose it is.

Shape:
    line: 14
    request:
      messages:
      - role: user
        content: What is the capital of France?
    answer:
      text: |-
        Paris.
      calls:
      - name: look_up
        arguments: {city: Paris}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import yaml

from dmrc.capture.conversation import Message, ToolCall
from dmrc.cassettes.editing import reworded
from dmrc.cassettes.words import answer_of
from dmrc.compose import yaml_text
from dmrc.compose.yaml_writing import yaml_text as written
from dmrc.errors import InputError, ProjectError
from dmrc.fields import JsonObject, JsonValue, mapping, plain, refuse_unknown

if TYPE_CHECKING:
    from dmrc.cassettes.interaction import Interaction

_FIELDS = ("line", "request", "answer")
_OF_ANSWER = ("text", "reasoning", "calls")
_OF_CALL = ("name", "arguments")


def to_yaml(interactions: Iterable[tuple[int, Interaction]], name: str) -> str:
    """Return interactions of the cassette `name`, each with its line, as YAML."""
    documents = []
    for line, one in interactions:
        answers = [_answer(message) for message in answer_of(one)]
        document: JsonObject = {"line": line, "request": one.asked.body}
        note = ""
        if answers:
            document["answer"] = answers[0] if len(answers) == 1 else cast("JsonValue", answers)
        else:
            note = ", whose answer is no words and stays as it is"
        documents.append(f"# {name}:{line}{note}\n{written(document)}")
    return "---\n".join(documents)


def from_yaml(text: str, name: str, before: Mapping[int, Interaction]) -> dict[int, Interaction]:
    """Return the interactions that the text changes, by their lines; `name` is the text's, for messages.

    An interaction of `before` that is not in the text stays as it is, and so does a request or an answer.

    Raises:
        InputError: It is no YAML, or not of this shape: `NAME:LINE: what`, LINE being one of the text.
    """
    nodes = [node for node in _nodes(text, name) if node is not None]
    found: dict[int, Interaction] = {}
    for value, node in zip(_values(text, name), nodes, strict=True):
        try:
            document = mapping(value, "the document")
            refuse_unknown(document, _FIELDS, "the document")
            line = document.get("line")
            if not isinstance(line, int) or line not in before:
                raise ProjectError(f"line must be one of {', '.join(map(str, before))}, not {line!r}")
            if line in found:
                raise ProjectError(f"line {line} is there twice")
            found[line] = _changed(before[line], document)
        except InputError as error:
            place = _line_of(node, error.message)
            raise InputError(f"{name}:{place}: {error.message}", remedy=error.remedy) from error
    return {line: one for line, one in found.items() if one != before[line]}


def _answer(message: Message) -> JsonObject:
    calls: list[JsonValue] = [{"name": call.name, "arguments": _arguments(call.arguments)} for call in message.calls]
    document: JsonObject = {"text": message.text} if message.text or not calls else {}
    if message.reasoning:
        document = {"reasoning": message.reasoning, **document}
    return {**document, "calls": calls} if calls else document


def _arguments(text: str) -> JsonValue:
    """Return the arguments of a call as a person changes them: what they say; as they are, where that is no JSON."""
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def _changed(before: Interaction, document: Mapping[str, object]) -> Interaction:
    asked = before.asked
    if document.get("request") is not None:
        body = plain(mapping(document["request"], "request"), "request")
        (as_shown,) = _values(written(asked.body), "request")
        asked = replace(asked, body=cast("JsonObject", body)) if body != as_shown else asked
    if (answers := document.get("answer")) is None:
        return replace(before, asked=asked)
    listed, said = answers if isinstance(answers, list) else [answers], answer_of(before)
    if len(listed) != len(said):
        raise ProjectError(
            f"answer says {len(listed)} things, and {len(said)} were recorded",
            remedy="What each says can be changed; to have one more or less, record the answer again",
        )
    wanted = [
        _message(old, mapping(one, "answer"), "answer" if len(said) == 1 else f"answer[{number}]")
        for number, (old, one) in enumerate(zip(said, listed, strict=True))
    ]
    return replace(reworded(before, wanted), asked=asked)


def _message(old: Message, given: Mapping[str, object], where: str) -> Message:
    refuse_unknown(given, _OF_ANSWER, where)
    called = given.get("calls")
    if called is not None and not isinstance(called, list):
        raise ProjectError(f"{where}.calls must be a list, not {called!r}")
    listed = called or []
    if len(listed) != len(old.calls):
        raise ProjectError(
            f"{where}.calls has {len(listed)}, and {len(old.calls)} were recorded",
            remedy="Calls can be changed; to have one more or less, record the answer again",
        )
    calls = tuple(
        _call(call, mapping(one, f"{where}.calls[{number}]"), f"{where}.calls[{number}]")
        for number, (call, one) in enumerate(zip(old.calls, listed, strict=True))
    )
    return replace(
        old,
        text=_text(given.get("text"), f"{where}.text"),
        reasoning=_text(given.get("reasoning"), f"{where}.reasoning"),
        calls=calls,
    )


def _call(old: ToolCall, given: Mapping[str, object], where: str) -> ToolCall:
    refuse_unknown(given, _OF_CALL, where)
    arguments = plain(given.get("arguments"), f"{where}.arguments")
    if arguments == _arguments(old.arguments):
        text = old.arguments  # its spaces are the model's own
    elif isinstance(arguments, dict):
        text = json.dumps(arguments, ensure_ascii=False)
    else:
        text = _text(arguments, f"{where}.arguments")
    return replace(old, name=_text(given.get("name"), f"{where}.name"), arguments=text)


def _text(value: object, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ProjectError(f"{where} must be a text, not {value!r}", remedy="Put it in quotes")
    return value


def _values(text: str, name: str) -> list[object]:
    return [value for value in yaml_text.read(text, name) if value is not None]


def _nodes(text: str, name: str) -> list[yaml.Node | None]:
    _values(text, name)  # what is no YAML is told as it tells it
    return [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if not _is_empty(node)]


def _is_empty(node: yaml.Node | None) -> bool:
    return node is None or (isinstance(node, yaml.ScalarNode) and node.value in ("", "~", "null"))


def _line_of(node: yaml.Node | None, message: str) -> int:
    """Return the line of what a message begins with, `answer.calls[0].name must be …`, as far as it is there."""
    path = message.split(" ", 1)[0].replace("[", ".").replace("]", "").split(".")
    line = node.start_mark.line if node is not None else 0
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if getattr(key, "value", None) == step]
            if not pairs:
                break
            key, node = pairs[0]
            line = key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and step.isdecimal() and int(step) < len(node.value):
            node = node.value[int(step)]
            line = node.start_mark.line
        else:
            break
    return line + 1
