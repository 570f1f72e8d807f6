"""The lens over recorded exchanges: what it compares with what, what it makes of missing facts, and what it costs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter
from dmrc.exchange import REPLAYED, Exchange, id_at
from dmrc.lens.look import CacheLook
from dmrc.lens.record import look, services
from dmrc.lens.words import sentence
from tests.lens.planted import RULES, Body, chat, turns

_TOKENS_OF_CHARACTER = 0.25


class Record:
    """A record to which requests are added, each a second after the other."""

    def __init__(self, path: Path) -> None:
        self.database = ExchangeDatabase(path)
        self._at = 1_790_000_000.0

    def add(self, body: Body, cached: int | None = None, **more: object) -> Exchange:
        """Record a request whose answer came from the cache as far as `cached` says."""
        self._at += 1
        text = json.dumps(body).encode()
        facts = {
            "id": f"{id_at(self._at)}-7000-8000-000000000000",
            "method": "POST",
            "path": "/v1/chat/completions",
            "operation": "chat",
            "model_reference": "docker.io/ai/tiny:latest",
            "project": "shop",
            "service": "api",
            "received_at": self._at,
            "load_ms": 0.0,
            "queue_ms": 0.0,
            "first_token_ms": 50.0,
            "total_ms": 100.0,
            "status": 200,
            "prompt_tokens": round(len(text) * _TOKENS_OF_CHARACTER),
            "cached_tokens": cached,
            "request_body": text,
        }
        exchange = Exchange(**{**facts, **more})  # type: ignore[arg-type]
        self.database.insert_many([exchange])
        return exchange

    def look(self, exchange: Exchange) -> CacheLook:
        found = look(self.database, exchange)
        assert found is not None
        return found


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    made = Record(tmp_path / "exchanges.sqlite3")
    yield made
    made.database.close()


def later(*texts: str, clock: str = "10:01") -> Body:
    return chat(f"You help. It is {clock}. {RULES}", *texts)


def test_the_first_request_has_no_former_prompt(record: Record) -> None:
    seen = record.look(record.add(later("Hello."), 0))

    assert (seen.former, seen.cause, seen.again, seen.unread) == (None, None, None, None)


def test_a_conversation_is_found_among_others_by_what_was_said_though_its_system_message_changes(
    record: Record,
) -> None:
    own = record.add(later("Where do the cats of this village sleep?", clock="10:01"), 0)
    record.add(later("What do hens eat in winter?", clock="10:02"), 5)
    record.add(later("How long do dogs live?", "Twelve years.", "And the big ones?", clock="10:03"), 5)

    now = later("Where do the cats of this village sleep?", "In barns.", "All of them?", clock="10:04")
    seen = record.look(record.add(now, 5))

    assert (seen.former, seen.is_conversation, seen.cause) == (own.id, True, "clock")


def test_a_session_names_the_conversation_where_the_words_do_not(record: Record) -> None:
    own = record.add(later("Yes.", clock="10:01"), 0, session_id="s1")
    record.add(later("No.", clock="10:01"), 5, session_id="s2")

    seen = record.look(record.add(later("Something else altogether.", clock="10:04"), 5, session_id="s1"))

    assert (seen.former, seen.is_conversation) == (own.id, True)


def test_requests_of_other_services_models_and_dialects_are_no_former_prompts(record: Record) -> None:
    for more in (
        {"service": "web"},
        {"project": None},
        {"model_reference": "docker.io/ai/other"},
        {"dialect": "ollama"},
    ):
        record.add(later("Hello."), 0, **more)
    record.add(later("Hello."), 0, annotations={REPLAYED: "api.jsonl:1"})
    record.add(later("Hello."), 0, status=400)

    assert record.look(record.add(later("Hello."), 0)).former is None


def test_a_request_that_was_not_read_when_this_one_began_is_no_former_prompt(record: Record) -> None:
    """Two at the same time cannot have anything of one another in the cache."""
    record.add(later("Hello."), 0, first_token_ms=5000.0)

    assert record.look(record.add(later("Hello."), 0)).former is None


def test_a_first_turn_with_another_system_message_has_no_former_prompt(record: Record) -> None:
    """A service may have several kinds of prompts, with the same tools behind them."""
    tools = [{"type": "function", "function": {"name": "read", "description": RULES}}]
    record.add({**chat(f"You are a cook. {RULES[:200]}", "What is for dinner?"), "tools": tools}, 0)

    seen = record.look(record.add({**chat("You are a pilot who flies to the sea.", "Which way?"), "tools": tools}, 3))

    assert (seen.former, seen.cause) == (None, None)


def test_a_question_like_the_one_before_is_new_and_a_clock_in_it_is_a_clock(record: Record) -> None:
    system = f"You count. {RULES}"
    rest = "pounds of flour to kilograms, and answer in one short sentence, with the unit behind the number."
    for number in (12, 30):
        asked = record.look(record.add(chat(system, f"Convert {number} {rest}"), 150))
    for clock in ("10:01", "10:02"):
        timed = record.look(record.add(chat(system, f"At {clock} convert some {rest}"), 150))

    assert (asked.cause, timed.cause) == (None, "clock")


def test_what_was_the_same_and_not_cached_is_told_with_what_came_between(record: Record) -> None:
    first = later("Hello, who is there?")
    before = record.add(first, 0)
    assert record.look(record.add(first, 0)).cause == "gone"

    record.add({"messages": turns("A long text of another service.")}, 0, service="web")
    displaced = record.look(record.add(first, 0))
    record.add({"messages": turns("Wake up.")}, 0, service="web", load_ms=900.0)
    unloaded = record.look(record.add(first, 0))

    assert (displaced.cause, displaced.detail) == ("displaced", "1 other request")
    assert unloaded.cause == "unloaded"
    assert displaced.again == before.prompt_tokens


def test_another_replica_has_another_cache(record: Record) -> None:
    record.add(later("Hello, who is there?"), 0, replica="r1")

    seen = record.look(record.add(later("Hello, who is there?"), 0, replica="r2"))

    assert (seen.cause, seen.detail) == ("replica", "r1, then r2")


def test_what_an_engine_always_computes_is_none_computed_again(record: Record) -> None:
    """The last token, what its template puts behind the messages, and all since a checkpoint of 64 tokens."""
    tokens = record.add(later("Hello, who is there?"), 0).prompt_tokens or 0

    for cached in (tokens - 1, tokens - 12, tokens - 70):
        seen = record.look(record.add(later("Hello, who is there?"), cached))
        assert (seen.cause, seen.again) == (None, 0)


def test_a_difference_that_the_engine_did_not_mind_is_none(record: Record) -> None:
    """As a field that the chat template does not write: nearly all came from the cache, so it made no difference."""
    record.add(later("Hello.", clock="10:01"), 0)
    tokens = record.add(later("Hello.", clock="10:01"), 0).prompt_tokens or 0

    seen = record.look(record.add(later("Hello.", clock="10:02"), tokens - 2))

    assert (seen.cause, seen.difference, seen.again) == (None, None, 0)


def test_without_counts_the_difference_is_told_and_nothing_is_counted(record: Record) -> None:
    record.add(later("Hello.", clock="10:01"))

    seen = record.look(record.add(later("Hello.", "Hi.", "Bye.", clock="10:02")))

    assert (seen.cause, seen.again, seen.computed) == ("clock", None, None)


def test_masked_secrets_and_pictures_are_no_difference_where_they_are_equal(record: Record) -> None:
    picture = {"type": "image_url", "image_url": {"url": "[media image/png, 451 bytes, sha256:9f86d0]"}}
    content = [{"type": "text", "text": f"The key is [redacted]. {RULES}"}, picture]
    tokens = record.add({"messages": [{"role": "user", "content": content}]}, 0).prompt_tokens or 0
    other = [content[0], {"type": "image_url", "image_url": {"url": "[media image/png, 452 bytes, sha256:1b4f0e]"}}]

    same = record.look(record.add({"messages": [{"role": "user", "content": content}]}, tokens - 1))
    words = {"type": "text", "text": f"What is the same behind the picture. {RULES}"}
    record.add({"messages": [{"role": "user", "content": [*content, words]}]}, 0)
    changed = record.look(record.add({"messages": [{"role": "user", "content": [*other, words]}]}, 100))

    assert same.cause is None
    assert changed.difference is not None
    assert changed.difference.piece.place == "message 1 (user), part 2"


def test_only_metadata_on_record_gives_the_share_alone_and_says_so(record: Record) -> None:
    for cached in (0, 90):
        bare = record.add(later("Hello."), cached, request_body=b"", prompt_tokens=100)

    (service,) = services(record.database, ExchangeFilter())

    assert record.look(bare).unread == "only what was measured is on record, not the texts"
    assert service.numbers == "55 % of 200 prompt tokens in 2 requests were computed"
    assert service.unread is not None and service.to_json()["computed_again_share"] is None


def test_a_request_that_was_cut_says_so(record: Record) -> None:
    seen = record.look(record.add(later("Hello."), 0, request_truncated=True))

    assert seen.unread == "only the beginning of the request is on record"


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [None, 3, {"role": 5, "content": {"a": 1}}, {"role": "user", "content": [None, [], {"type": 7}]}]},
        {
            "messages": [{"tool_calls": [{"function": {"name": [], "arguments": None}}, 1]}],
            "tools": [3, {}, {"name": {}}],
        },
        {"prompt": [1, 2, 3]},
        {"prompt": "\ud800 half a letter"},
        [],
    ],
)
def test_a_request_that_is_no_conversation_does_no_harm(record: Record, body: Body) -> None:
    for cached in (None, 0, 10**6):
        seen = record.look(record.add(body, cached, prompt_tokens=7))
        assert json.dumps(seen.to_json())
    assert [json.dumps(one.to_json()) for one in services(record.database, ExchangeFilter())]


def test_a_part_of_a_system_message_is_named(record: Record) -> None:
    """As an assistant's first block, which says the version and a check sum of what follows."""
    for mark in ("a1b2c", "9f3d0"):
        parts = [{"type": "text", "text": f"version=2; cch={mark};"}, {"type": "text", "text": RULES}]
        messages = [{"role": "system", "content": parts}, *turns("Hello.")]
        seen = record.look(record.add({"messages": messages}, 5))

    assert sentence(seen) == "The system message, part 1, changes at character 16: a random id."


def test_responses_that_go_on_from_one_another_are_read_as_one_conversation(record: Record) -> None:
    """The request names the response before it; what was said until then is in the requests before."""
    more = {"path": "/v1/responses", "operation": "response"}
    ids: list[str] = []

    def ask(text: str, cached: int, tokens: int, clock: str = "10:01") -> Exchange:
        body: Body = {"input": text, "instructions": f"It is {clock}. {RULES}"}
        if ids:
            body["previous_response_id"] = ids[-1]
        ids.append(f"resp_{len(ids)}")
        output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "So it is."}]}]
        answer = json.dumps({"id": ids[-1], "object": "response", "status": "completed", "output": output}).encode()
        return record.add(body, cached, prompt_tokens=tokens, response_body=answer, **more)

    first = ask("Tell me of the cats that live here.", 0, 200)
    second = ask("And of the dogs?", 199, 230)
    worked = record.look(second)
    clocked = record.look(ask("And of the hens that nobody has seen?", 3, 260, clock="10:02"))

    assert (worked.former, worked.cause) == (first.id, None)
    assert (clocked.former, clocked.cause, clocked.again) == (second.id, "clock", pytest.approx(225, abs=15))


def test_a_service_tells_its_most_frequent_cause_first(record: Record) -> None:
    for minute in range(10, 20):
        record.add(later("Which of them?", clock=f"10:{minute}"), 4)
    tools = [{"type": "function", "function": {"name": name, "description": RULES}} for name in ("read", "write")]
    for given in (tools, tools[::-1]):
        record.add({**later("Which tools?", clock="10:19"), "tools": given}, 150)

    (service,) = services(record.database, ExchangeFilter())

    assert service.compared == 11
    assert service.causes[0].kind == "clock"
    assert service.causes[0].sentence(service.compared) == (
        "The system message changes at character 17 in 9 of 11 requests: a clock."
    )
    assert "The list of tools has the same in another order" in service.causes[-1].sentence(service.compared)


def test_a_look_at_two_hundred_long_conversations_takes_a_bounded_time(record: Record) -> None:
    """It reads a service once, also where no request is the beginning of another; pairs would take minutes."""
    story = " ".join(f"Word {number}." for number in range(5000))
    for number in range(200):
        record.add(chat(f"It is 10:{number % 60:02}. {story}", f"Question {number} of somebody?"), 4)

    started = time.process_time()
    (service,) = services(record.database, ExchangeFilter())

    assert service.causes[0].kind == "clock"
    assert time.process_time() - started < 30
