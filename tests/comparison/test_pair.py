"""Two recorded requests beside each other."""

from __future__ import annotations

from dmrc.comparison.pair import TextPair, pair_of
from dmrc.comparison.word_diff import TextPart
from tests.comparison.exchanges import exchange

LONGEST = 1000


def marked(parts: list[TextPart]) -> list[str]:
    return [part.text.strip() for part in parts if not part.is_common]


def shown(pair: TextPair) -> tuple[str, str, list[str], list[str]]:
    return pair.name, pair.other_name, marked(list(pair.one)), marked(list(pair.other))


def test_the_words_of_both_answers_are_marked_where_they_differ() -> None:
    found = pair_of(exchange("The sky is blue."), exchange("The sky is red."), LONGEST)

    assert (marked(list(found.answer.one)), marked(list(found.answer.other))) == (["blue"], ["red"])
    assert [one.kind for one in found.differences] == ["text"]
    assert found.likeness == 0.8


def test_tool_calls_are_compared_in_turn_their_arguments_as_json() -> None:
    then = exchange(None, calls=[("weather", '{"city": "Paris", "days": 2}'), ("clock", "{}")])
    now = exchange(None, calls=[("weather", '{"days":2,"city":"Rome"}')])

    found = pair_of(then, now, LONGEST)

    assert shown(found.calls[0]) == ("weather", "weather", ["Paris"], ["Rome"])
    assert shown(found.calls[1]) == ("clock", "", ["{}"], [])
    assert [one.kind for one in found.differences] == ["tools"]


def test_messages_and_parameters_are_compared_one_by_one() -> None:
    system = {"role": "system", "content": "Be short."}
    tools = [{"type": "function", "function": {"name": "weather"}}]
    one = exchange(request={"messages": [system, {"role": "user", "content": "Which sea?"}], "temperature": 0.7})
    other = exchange(
        request={"messages": [system, {"role": "user", "content": "Which sky?"}, system], "tools": tools, "seed": 1}
    )

    found = pair_of(one, other, LONGEST)

    assert [shown(pair) for pair in found.messages] == [
        ("system", "system", [], []),
        ("user", "user", ["sea"], ["sky"]),
        ("", "system", [], ["Be short."]),
    ]
    assert [(pair.name, pair.one, pair.other) for pair in found.parameters] == [
        ("temperature", "0.7", ""),
        ("seed", "", "1"),
        ("tools", "", "weather"),
    ]


def test_options_of_ollama_are_parameters_too() -> None:
    one, other = (
        exchange(
            path="/api/chat",
            dialect="ollama",
            request={"messages": [], "options": {"temperature": temperature, "num_ctx": 2048}},
        )
        for temperature in (0, 1)
    )

    found = pair_of(one, other, LONGEST)

    assert [(pair.name, pair.one, pair.other) for pair in found.parameters] == [
        ("options.temperature", "0", "1"),
        ("options.num_ctx", "2048", "2048"),
    ]


def test_no_more_is_compared_than_a_page_shows() -> None:
    found = pair_of(exchange("word " * 5000), exchange("word " * 5000 + "end"), LONGEST)

    assert found.is_cut
    assert sum(len(part.text) for part in found.answer.one) == LONGEST
