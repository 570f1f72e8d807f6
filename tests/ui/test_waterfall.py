"""A conversation as a drawing: pure, without a page."""

from __future__ import annotations

import itertools

import pytest

from dmrc.conversations.listing import ConversationPage, ConversationSummary
from dmrc.conversations.turns import conversation
from dmrc.ui.conversation_view import ConversationView
from dmrc.ui.rendering import render
from dmrc.ui.waterfall import Bar, graph, waterfall
from tests.conversations.told import agent, assistant, exchange, system, user


def bars_of(exchanges: list) -> list[Bar]:
    return [bar for lane in waterfall(conversation(exchanges)).lanes for bar in lane.bars]


def test_a_bar_has_the_parts_of_its_time_and_says_them() -> None:
    first = bars_of(agent())[0]

    assert [(part.kind, part.milliseconds) for part in first.parts] == [("prefill", 100.0), ("decode", 400.0)]
    assert first.label == "1. web → llm: prefill 100 ms, decode 400 ms"
    assert [bar.state for bar in bars_of(agent())] == ["done", "done", "failed", "done"]


def test_a_request_without_a_time_is_drawn_and_says_so() -> None:
    (bar,) = bars_of([exchange(1, 1.0, [user("x")], None, total_ms=None, first_token_ms=None)])

    assert (bar.parts, bar.width) == ([], 0)
    assert bar.label.endswith("no time on record")


def test_requests_at_the_same_time_do_not_cover_each_other() -> None:
    drawn = waterfall(conversation([exchange(n, 1.0 + n / 10, [user(str(n))], assistant("x")) for n in range(20)]))

    (lane,) = drawn.lanes
    rows: dict[int, list[Bar]] = {}
    for bar in lane.bars:
        rows.setdefault(bar.top, []).append(bar)
        assert lane.top <= bar.top < lane.top + lane.height
    for row in rows.values():
        assert all(before.left + before.width <= after.left + 0.01 for before, after in itertools.pairwise(row))
    assert drawn.height >= lane.top + lane.height


def test_there_are_more_marks_the_closer_one_looks() -> None:
    counts = [len(marks) for marks in waterfall(conversation(agent())).ticks.values()]

    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_no_two_labels_of_the_graph_are_in_one_place() -> None:
    told = [
        exchange(n, 1.0 + n, [user(str(n))], assistant("x"), service=f"s{n % 3}", model_key=f"m{n % 4}")
        for n in range(12)
    ]

    drawn = graph(conversation(told).turns)

    assert len(drawn.edges) == 12
    assert min(after.y - before.y for before, after in itertools.pairwise(drawn.edges)) >= 40
    assert drawn.height >= drawn.edges[-1].y
    assert {edge.service_y for edge in drawn.edges} == {node.y for node in drawn.services}


def test_a_part_of_the_page_has_no_style_or_script_of_its_own_and_escapes_what_was_said() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    told = [exchange(1, 1.0, [system(hostile), user(hostile)], assistant(hostile), service=hostile, model_key=hostile)]

    html = render("conversation-body.html", view=ConversationView.of("x", conversation(told), 1, ""))

    assert "<img" not in html
    assert " style=" not in html
    assert "onerror=alert(1)&gt;" in html


def test_a_question_in_a_list_has_the_direction_of_its_own_words() -> None:
    """`dir=auto` looks past a `bdi`, and the beginning of a right-to-left question was cut."""
    row = ConversationSummary(
        id="x", project=None, services=("web",), who="web", models=("llm",), question="שלום", requests=1,
        is_more=False, failed=0, prompt_tokens=None, completion_tokens=None, started_at=1.0, ended_at=2.0,
    )  # fmt: skip

    html = render("conversation-rows.html", listed=ConversationPage([row], None))

    assert '<td data-name="question" dir="auto"><a href="/ui/conversations/x">שלום</a></td>' in html


@pytest.mark.parametrize("length", [999, 1000, 1001])
def test_a_long_message_says_how_long_it_is_and_where_all_of_it_is(length: int) -> None:
    told = [exchange(1, 1.0, [user("x" * length)], assistant("y"))]

    html = render("conversation-body.html", view=ConversationView.of("x", conversation(told), 1, ""))

    assert ("The first 1,000 of 1,001 characters" in html) == (length > 1000)
