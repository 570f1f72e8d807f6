"""What is different in an answer, and what is none."""

from __future__ import annotations

import pytest

from dmrc.comparison.comparison import Comparison
from dmrc.comparison.differences import differences
from dmrc.comparison.similarity import likeness
from dmrc.comparison.speed import slower
from dmrc.comparison.thresholds import thresholds
from dmrc.comparison.wanted_form import WantedForm
from dmrc.errors import InputError
from tests.comparison.exchanges import exchange, said, sent

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def kinds(then, now, form=None) -> list[str]:
    return [one.kind for one in differences(then, now, form)]


@pytest.mark.parametrize(
    ("arguments", "is_other"),
    [
        ('{"b": 2, "a": 1}', False),
        ('{"a": 1.0, "b": 2}', False),
        ('{"a": 1, "b": 3}', True),
        ('{"a": true, "b": 2}', True),
        ('{"a": 1}', True),
        ('{"a": 1, "b": ', True),
    ],
)
def test_arguments_are_compared_as_json(arguments: str, is_other: bool) -> None:
    then, now = said(None, calls=[("f", '{"a":1,"b":2}')]), said(None, calls=[("f", arguments)])

    assert kinds(then, now) == (["tools"] if is_other else [])


def test_calls_side_by_side_have_no_order_and_no_ids() -> None:
    then = said(None, calls=[("f", "{}"), ("g", '{"a":1}')])
    now = said(None, calls=[("g", '{"a":1}'), ("f", "{}")])

    assert kinds(then, now) == []


def test_a_call_that_is_not_made_any_more_is_named() -> None:
    (one, _) = differences(said(None, calls=[("weather", "{}")]), said("It rains."), None)

    assert (one.kind, one.words) == ("tools", "calls nothing instead of 'weather'")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"age": "old"}', "$.age: 'old' is not of type 'integer'"),
        ("{}", "$: 'age' is a required property"),
        ("", "no JSON: the answer is empty"),
    ],
)
def test_json_that_kept_to_its_schema_and_does_not_is_named_by_its_place(text: str, words: str) -> None:
    one, *_ = differences(said('{"age": 3}'), said(text), WantedForm(SCHEMA))

    assert (one.kind, one.words) == ("schema", words)


def test_json_that_was_broken_before_is_no_regression() -> None:
    assert kinds(said("nine"), said("ten"), WantedForm(SCHEMA)) == ["text"]


def test_json_in_another_order_is_the_same() -> None:
    assert kinds(said('{"age": 3, "x": 1}'), said('{"x": 1,\n "age": 3}'), WantedForm(SCHEMA)) == []


def test_a_schema_fetches_nothing_and_one_that_is_none_is_no_fault() -> None:
    """tests/conftest.py refuses every address that is not this machine's own."""
    assert WantedForm({"$ref": "https://example.com/schema.json"}).fault("{}") is None
    assert WantedForm({"type": 7}).fault("{}") is None
    assert WantedForm().fault("[]") == "no JSON object, but a list"


@pytest.mark.parametrize("text", ["I'm sorry, but I can't assist with that.", "As an AI, I am unable to answer this."])
def test_a_refusal_in_words_is_one(text: str) -> None:
    assert "refusal" in kinds(said("Mix two parts."), said(text))


@pytest.mark.parametrize("text", ["I can't wait to help you!", "You cannot divide by zero.", "Sorry to wait: blue."])
def test_what_only_sounds_like_a_refusal_is_none(text: str) -> None:
    assert "refusal" not in kinds(said("Mix two parts."), said(text))


def test_the_worst_is_first_and_an_error_is_alone() -> None:
    then = exchange('{"age": 3}', tokens=10, request={"response_format": {"type": "json_object"}})
    cut = exchange('{"age": ', finish="length", tokens=40)
    failed = exchange("", status=502, error_type="server_error", error_message="it broke off")

    found = Comparison.of([(sent(then), cut), (sent(then), failed)])

    assert [[one.kind for one in row.differences] for row in found.rows] == [
        ["error"],
        ["schema", "cut", "longer", "text"],
    ]
    assert found.regressions == 2


def test_an_answer_that_was_not_recorded_is_left_out_and_not_called_different() -> None:
    found = Comparison.of([(sent(exchange()), exchange(response_body=b""))])

    assert (found.rows, found.reasons()) == ((), {"has an answer that was not recorded": 1})


def test_one_slow_answer_among_others_is_the_machine() -> None:
    pairs = [(said(total_ms=400.0), said(total_ms=400.0 if number else 4000.0)) for number in range(8)]

    assert not any(slower(pairs))


def test_answers_that_are_all_slower_are_found_but_not_those_for_which_the_model_was_loaded() -> None:
    pairs = [(said(total_ms=400.0), said(total_ms=900.0)) for _ in range(8)]
    cold = (said(total_ms=400.0), said(total_ms=5000.0, load_ms=4000.0))

    found = slower([cold, *pairs])

    assert found[0] is None
    assert {one.words for one in found[1:]} == {"whole answer took 899 ms instead of 399 ms"}


def test_answers_whose_times_tell_of_something_else_are_not_called_slower() -> None:
    pairs = [(sent(exchange(total_ms=400.0)), exchange(total_ms=900.0)) for _ in range(8)]

    assert Comparison.of(pairs).counts() == {"slower": 7}  # an engine warms up by the first
    assert Comparison.of(pairs, untimed="4 at a time slow one another down").counts() == {}


def test_tokens_are_of_all_that_was_answered_and_times_without_the_first() -> None:
    pairs = [(sent(exchange(tokens=20)), exchange(tokens=25, total_ms=ms)) for ms in (9000.0, 500.0)]
    pairs.append((sent(exchange(tokens=20)), exchange(status=500, error_type="server_error", tokens=0)))

    found = Comparison.of(pairs)

    assert (found.then.tokens, found.now.tokens) == (40, 50)
    assert found.now.p95_ms == 499.0


def test_a_threshold_that_is_none_is_refused_with_what_may_be_meant() -> None:
    with pytest.raises(InputError, match="has 'shema' \\(did you mean 'schema'\\?\\)"):
        thresholds(["tools,shema"])
    with pytest.raises(InputError, match="did you mean 'p95'"):
        thresholds(["p96+20%"])


@pytest.mark.parametrize(
    ("text", "fails"), [("p95+20%", True), ("p95+200%", False), ("tokens+30%", True), ("text", False), ("longer", True)]
)
def test_thresholds_are_of_kinds_or_of_numbers(text: str, fails: bool) -> None:
    pairs = [(sent(exchange(tokens=20)), exchange(tokens=50, total_ms=700.0)) for _ in range(4)]
    (one,) = thresholds([text])

    assert (one.failure(Comparison.of(pairs)) is not None) == fails


def test_likeness_is_of_words() -> None:
    assert likeness("The sky is blue.", "The sky  is\nblue.") == 1.0
    assert likeness("The sky is blue.", "The sky is red.") == 0.8
    assert likeness("word " * 3000, "word " * 3000 + "end") > 0.99
