"""What of a request counts, and what may change from run to run."""

import pytest

from dmrc.cassettes.interaction import Asked
from dmrc.cassettes.matching import Matcher
from tests.cassettes.exchanges import chat, exchange, whole

pytestmark = pytest.mark.fast


def key(text: str = "Hello", ignore: tuple[str, ...] = (), **more: object) -> str:
    return Matcher(ignore).key(Asked.of(exchange(chat(text, **more), whole(""))))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Today is 2026-11-28.", "Today is 2027-01-02."),
        ("It is 2026-11-28T10:11:12Z", "It is 2027-01-02T23:59:59Z"),
        ("Saturday, 28 November 2026", "Sunday, 29 November 2026"),
        ("on Nov 28, 2026 at 10:15 PM", "on Dec 1, 2026 at 9:05 AM"),
        ("28.11.2026, 10:15", "1.12.2026, 11:16"),
        ("the 1st May 2026, 08:00 UTC", "the 22nd May 2026, 08:01 UTC"),
    ],
)
def test_a_date_may_be_another_one(one: str, two: str) -> None:
    assert key(one) == key(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("version 1.2.3", "version 1.2.4"),
        ("ratio 3:4", "ratio 3:5"),
        ("call 123-45-6789", "call 123-45-6780"),
        ("may 4 people come?", "may 5 people come?"),
        ("in 1999 words", "in 2000 words"),
        ("127.0.0.1:8080", "127.0.0.1:8081"),
        ("March 2026", "April 2026"),
        ("ratio 16:90", "ratio 16:91"),
        ("part 1234-56-78", "part 1234-56-79"),
        ("lot 2026-13-01", "lot 2026-13-02"),
        ("a 25:10 lead", "a 25:11 lead"),
        ("55.66.2020", "55.66.2021"),
        ("fe80::12:34:5678", "fe80::12:34:5679"),
    ],
)
def test_a_number_that_is_no_date_counts(one: str, two: str) -> None:
    assert key(one) != key(two)


@pytest.mark.parametrize(
    "more",
    [
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"user": "u1"},
        {"metadata": {"run": "7"}},
        {"keep_alive": "5m"},
        {"seed": None},
    ],
)
def test_who_asks_and_how_the_answer_comes_does_not_count(more: dict) -> None:
    assert key(**more) == key()


@pytest.mark.parametrize("more", [{"temperature": 0.1}, {"seed": 1}, {"tools": []}, {"max_tokens": 5}])
def test_what_changes_the_answer_counts(more: dict) -> None:
    assert key(**more) != key()


def test_ids_of_calls_are_the_same_in_whatever_order_a_call_has_its_fields() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "call_1", "output": "4"}
    turned = {**dict(reversed(call.items())), "id": "fc_2", "call_id": "call_2"}

    one, two = chat("", input=[call, result]), chat("", input=[turned, {**result, "call_id": "call_2"}])

    assert Matcher().key(Asked.of(exchange(one, whole("")))) == Matcher().key(Asked.of(exchange(two, whole(""))))


def test_the_order_of_keys_and_the_form_of_a_number_do_not_count() -> None:
    one = exchange({"messages": [{"role": "user", "content": "a"}], "temperature": 1, "top_p": 0.5}, whole(""))
    two = exchange({"top_p": 0.5, "temperature": 1.0, "messages": [{"content": "a", "role": "user"}]}, whole(""))

    assert Matcher().key(Asked.of(one)) == Matcher().key(Asked.of(two))


def turns(call: str, other: str) -> list:
    calls = [{"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}} for name in (call, other)]
    return [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": call, "content": "1"},
        {"role": "tool", "tool_call_id": other, "content": "2"},
    ]


def test_ids_of_calls_may_be_others_and_still_say_which_call_is_meant() -> None:
    swapped = turns("a", "b")
    swapped[1]["tool_call_id"], swapped[2]["tool_call_id"] = "b", "a"

    assert key(messages=turns("a", "b")) == key(messages=turns("x", "y"))
    assert key(messages=turns("a", "b")) != key(messages=swapped)


def test_what_a_project_ignores_does_not_count() -> None:
    ignore = ("options.session", "messages.0.name", "/run-[0-9]+/")

    one = key("run-1: Hi", ignore, options={"session": "1", "num_ctx": 5})
    two = key("run-22: Hi", ignore, options={"session": "2", "num_ctx": 5})
    other = key("run-22: Hi", ignore, options={"session": "2", "num_ctx": 6})

    assert one == two
    assert one != other


def test_a_route_is_the_same_wherever_it_is_mounted() -> None:
    paths = ("/v1/chat/completions", "/engines/v1/chat/completions", "/engines/llama.cpp/v1/chat/completions")

    assert len({Matcher().key(Asked.of(exchange(chat("Hi"), whole(""), path=path))) for path in paths}) == 1
