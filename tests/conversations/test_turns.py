"""What is new in each turn of a conversation, its tools, and the time between."""

from __future__ import annotations

from dmrc.capture.conversation import Message
from dmrc.conversations.graph import edges
from dmrc.conversations.lanes import lanes
from dmrc.conversations.turns import ToldConversation, conversation
from tests.conversations.told import agent, assistant, call, exchange, result, system, user


def said(told: ToldConversation) -> list[list[str]]:
    return [[f"{one.role}: {one.text}" for one in turn.said] for turn in told.turns]


def test_a_turn_has_what_no_former_turn_has() -> None:
    rules, hello, hi = system("Be brief."), user("Hello"), assistant("Hi")
    told = conversation(
        [
            exchange(1, 100.0, [rules, hello], hi),
            exchange(2, 110.0, [rules, hello, hi, user("More")], assistant("No.")),
            exchange(3, 120.0, [rules, hello, hi, user("More"), assistant(" No. "), user("More")], assistant("Well.")),
        ]
    )

    assert said(told) == [["system: Be brief.", "user: Hello"], ["user: More"], ["user: More"]]
    assert [turn.repeated for turn in told.turns] == [0, 3, 5]
    assert [turn.answers[0].text for turn in told.turns] == ["Hi", "No.", "Well."]


def test_what_stands_before_a_given_answer_is_no_news_where_old_messages_are_left_out() -> None:
    told = conversation(
        [
            exchange(1, 100.0, [user("One"), assistant("1"), user("Two")], assistant("2")),
            exchange(2, 110.0, [user("Two"), assistant("2"), user("Three")], assistant("3")),
        ]
    )

    assert said(told)[1] == ["user: Three"]


def test_a_question_asked_again_from_the_middle_is_told_from_there() -> None:
    start = [user("One"), assistant("1")]
    told = conversation(
        [
            exchange(1, 100.0, [user("One")], assistant("1")),
            exchange(2, 110.0, [*start, user("Two")], assistant("2")),
            exchange(3, 120.0, [*start, user("Two, please")], assistant("2!")),
        ]
    )

    assert said(told)[2] == ["user: Two, please"]


def test_tools_have_their_arguments_their_results_and_the_applications_time() -> None:
    told = conversation(agent())

    (called,) = told.turns[0].calls
    assert (called.name, called.arguments, called.result, called.result_in) == (
        "weather",
        '{"city": "Oslo"}',
        '{"degrees": -3}',
        2,
    )
    assert told.turns[0].answers == ()
    assert said(told)[1] == []  # the result is with its call
    (span,) = told.spans
    assert (span.names, span.after, span.before, span.service) == (("weather",), 1, 2, "web")
    assert (round(span.start_ms), round(span.end_ms)) == (500, 800)


def test_a_call_without_an_id_has_the_next_result_of_its_tool() -> None:
    """Ollama's calls have no id, and its results name the tool."""

    def calls(city: str) -> dict[str, object]:
        return {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "weather", "arguments": {"city": city}}}],
        }

    def found(text: str) -> dict[str, object]:
        return {"role": "tool", "tool_name": "weather", "content": text}

    start = [user("Oslo and Rome?"), calls("Oslo"), found("cold")]
    told = conversation(
        [
            exchange(1, 100.0, start[:1], calls("Oslo")),
            exchange(2, 101.0, start, calls("Rome")),
            exchange(3, 102.0, [*start, calls("Rome"), found("warm")], assistant("Cold and warm.")),
        ]
    )

    assert [(one.result, one.result_in) for turn in told.turns for one in turn.calls] == [("cold", 2), ("warm", 3)]


def test_a_call_without_a_result_and_a_result_without_a_call_are_both_told() -> None:
    told = conversation(
        [
            exchange(1, 100.0, [user("Go"), result("lost", "what nobody called")], assistant(None, call("a", "go"))),
            exchange(2, 101.0, [user("Stop")], assistant("Stopped.")),
        ]
    )

    assert told.turns[0].said[1] == Message("tool", "what nobody called", call_id="lost")
    assert told.turns[0].calls[0].result is None
    assert told.spans == ()


def test_what_was_said_before_the_turns_that_are_shown_is_no_news() -> None:
    told = agent()

    last = conversation(told[1:], told[:1], first_number=2)

    assert said(last)[0] == ['tool: {"degrees": -3}']  # its call is not among them
    assert [turn.number for turn in last.turns] == [2, 3, 4]


def test_edges_sum_up_what_each_service_asked_of_each_model() -> None:
    found = [
        (one.service, one.model, one.calls, one.failed, one.prompt_tokens) for one in edges(conversation(agent()).turns)
    ]

    assert found == [("web", "llm", 2, 0, 80), ("writer", "big", 2, 1, 40)]


def test_requests_at_the_same_time_are_drawn_in_rows_of_their_own() -> None:
    told = conversation([exchange(n, 100.0 + at, [user(str(n))], assistant("x")) for n, at in enumerate((0, 0.2, 0.6))])

    (lane,) = lanes(told.turns, told.spans)

    assert [[turn.number for turn in row] for row in lane.rows] == [[1, 3], [2]]


def test_lanes_of_one_service_are_together() -> None:
    told = conversation(agent())

    assert [(lane.service, lane.model, len(lane.spans)) for lane in lanes(told.turns, told.spans)] == [
        ("web", "llm", 1),
        ("writer", "big", 0),
    ]
