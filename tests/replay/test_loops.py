"""Agents whose requests differ from run to run: ids of calls, dates, numbers of runs."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.replay.echoing import Echo
from tests.replay.stage import Side, Stage

pytestmark = pytest.mark.process


def agent(side: Side, now: datetime, run: str) -> list[str]:
    """Talk for three turns, with calls whose ids the client makes itself; return what was answered."""
    messages: list[Any] = [
        {"role": "system", "content": f"Today is {now:%A, %d %B %Y}, {now.isoformat()}. This is run-{run}."},
        {"role": "user", "content": "Find me a hotel."},
    ]
    said = []
    for turn in range(3):
        ids = [f"call_{uuid.uuid4().hex}", f"toolu_{uuid.uuid4().hex}"]
        function = {"name": "search", "arguments": json.dumps({"turn": turn})}
        calls = [{"id": each, "type": "function", "function": function} for each in ids]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": each, "content": f"found {turn}"} for each in ids]
        answer = side.openai().chat.completions.create(
            model="local/echo", messages=messages, user=uuid.uuid4().hex, metadata={"run": run}
        )
        said.append(answer.choices[0].message.content or "")
    return said


def test_an_agent_is_replayed_on_another_day_with_other_ids(stage: Stage, echo: Echo) -> None:
    models, more = {"llm": echo.model}, {"ignore": ["/run-[0-9a-f]+/"]}
    now = datetime.now(UTC)
    stage.recording.begin("record", models, replay=more)
    recorded = agent(stage.recording, now, "17f")
    stage.recording.report()

    stage.replaying.begin("replay", models, replay=more)
    replayed = agent(stage.replaying, now + timedelta(days=100, hours=5), "9")

    assert stage.replaying.report()["misses"] == []
    assert replayed == recorded


def test_what_a_project_ignores_may_differ_and_nothing_else(stage: Stage, echo: Echo) -> None:
    import openai

    models, more = {"llm": echo.model}, {"ignore": ["messages.0.content", "seed"]}

    def ask(side: Side, system: str, seed: int, words: str) -> str:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": words}]
        answer = side.openai().chat.completions.create(model="local/echo", seed=seed, messages=messages)
        return answer.choices[0].message.content or ""

    stage.recording.begin("record", models, replay=more)
    recorded = ask(stage.recording, "one", 1, "whales")
    stage.recording.report()
    stage.replaying.begin("replay", models, replay=more)

    assert ask(stage.replaying, "two", 2, "whales") == recorded
    with pytest.raises(openai.UnprocessableEntityError):
        ask(stage.replaying, "one", 1, "sharks")


def test_a_conversation_of_responses_is_replayed(stage: Stage, echo: Echo) -> None:
    models = {"llm": echo.model}

    def talk(side: Side) -> list[str]:
        responses = side.openai().responses
        first = responses.create(model="local/echo", input="One")
        second = responses.create(model="local/echo", input="Two", previous_response_id=first.id)
        third = responses.create(model="local/echo", input="Three", previous_response_id=second.id)
        return [each.output_text for each in (first, second, third)]

    stage.recording.begin("record", models)
    recorded = talk(stage.recording)
    stage.recording.report()
    stage.replaying.begin("replay", models)

    assert talk(stage.replaying) == recorded
    assert stage.replaying.report()["misses"] == []
