"""Two hundred conversations of two users at once, without any header: none in a wrong one, and nearly all together."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing

from tests.capture.joining.talks import Talks, said, user

_GREETINGS = ("hi", "Hello", "Good morning", "hey there", "I need help")
_BOILERPLATE = "I'm sorry, but I cannot help you with that request. Is there anything else that I can do for you?"
_THINGS = ("whale", "seal", "otter", "heron", "lobster", "harbour", "lighthouse", "schooner", "anchor", "compass")
_FACTS = (
    "is older than any map of the coast",
    "was painted by a sailor who never came home",
    "sleeps for half of the winter",
    "costs more than the whole fleet",
    "can be heard from ten miles away",
)
_FEW_SHOT = [user("Example: is a whale a fish?"), said("No. A whale is a mammal that lives in the sea like a fish.")]

Step = tuple[list[dict], object, str]


def _sentence(dice: random.Random) -> str:
    return f"The {dice.choice(_THINGS)} near the {dice.choice(_THINGS)} {dice.choice(_FACTS)}"


def _answer(dice: random.Random) -> str:
    if dice.random() < 0.15:
        return _BOILERPLATE
    words = [f"{_sentence(dice)}, in the year {dice.randrange(1200, 2000)}." for _ in range(dice.randrange(1, 5))]
    return " ".join(["Here is what I know.", *words, "Let me know if you have any other questions!"])


def _chat(dice: random.Random) -> Iterator[Step]:
    """A chat whose first words many say; the model has few answers to them, and some turns are asked again."""
    messages = [*_FEW_SHOT] if dice.random() < 0.2 else []
    asked = dice.choice(_GREETINGS) if dice.random() < 0.2 else f"Tell me about {_sentence(dice)}"
    for _ in range(dice.randrange(2, 6)):
        messages = [*messages, user(asked)]
        answer = "Hello! How can I help you today?" if asked in _GREETINGS else _answer(dice)
        yield messages, answer, "web"
        if len(messages) > 4 and dice.random() < 0.1:
            answer = _answer(dice)
            yield messages, answer, "web"
        messages = [*messages, said(answer)]
        asked = f"And what of {_sentence(dice)}?"


def _tools(dice: random.Random) -> Iterator[Step]:
    """An agent with tools, of which it calls several at once; half of the servers draw no ids at random."""
    messages = [user(f"Find out whether {_sentence(dice)}")]
    for _ in range(dice.randrange(1, 5)):
        ids = [f"call_{dice.randbytes(9).hex()}" if dice.random() < 0.5 else f"call_{n}" for n in range(2)]
        calls = [
            {"id": one, "type": "function", "function": {"name": "find", "arguments": json.dumps({"q": dice.random()})}}
            for one in ids
        ]
        answer = {"role": "assistant", "content": None, "tool_calls": calls}
        yield messages, answer, "agent"
        results = [{"role": "tool", "tool_call_id": one, "content": _sentence(dice)} for one in ids]
        messages = [*messages, answer, *results]
    yield messages, _answer(dice), "agent"


def _pipeline(dice: random.Random) -> Iterator[Step]:
    """Three services, of which each works on what the one before said."""
    text = " ".join(f"{_sentence(dice)}, as number {dice.randrange(10**6)} has it." for _ in range(3))
    yield [user(f"Write about number {dice.random()}")], text, "writer"
    other = " ".join(f"In short {_sentence(dice)}, says number {dice.randrange(10**6)}." for _ in range(2))
    yield [{"role": "system", "content": "Summarise."}, user(f"Text: {text}")], other, "editor"
    yield [user(f"Translate this:\n{other}\nInto French.")], _answer(dice), "translator"


def _window(dice: random.Random) -> Iterator[Step]:
    """A chat that sends its last messages only."""
    messages: list[dict] = []
    for _ in range(6):
        messages = [*messages, user(f"Is it true that {_sentence(dice)}?")]
        answer = f"{_sentence(dice)}, in the year {dice.randrange(1200, 2000)}."
        yield messages[-5:], answer, "web"
        messages = [*messages, said(answer)]


def test_two_hundred_conversations_of_two_users_at_once(tmp_path):
    dice = random.Random(22)
    talks = Talks(tmp_path / "exchanges.sqlite3")
    kinds = (_chat, _chat, _tools, _pipeline, _window)
    waiting = [(number, dice.choice(kinds)(dice)) for number in range(200)]
    users: list[list[tuple[int, Iterator[Step]]]] = [waiting[:100], waiting[100:]]
    truth: dict[str, int] = {}
    with closing(talks.database):
        while any(users):
            mine = dice.choice([one for one in users if one])
            number, steps = mine[0]
            step = next(steps, None)
            if step is None:
                mine.pop(0)
                continue
            messages, answer, service = step
            exchange = talks.exchange({"messages": messages}, answer, service=service)
            truth[exchange.id] = number
            talks.join(exchange)
        found = talks.conversations()

    members: dict[str | None, Counter[int]] = defaultdict(Counter)
    for id, number in truth.items():
        members[found[id]][number] += 1
    wrong = sum(counts.total() - max(counts.values()) for counts in members.values())
    best: Counter[int] = Counter()
    for counts in members.values():
        number, count = counts.most_common(1)[0]
        best[number] = max(best[number], count)
    print(f"{len(truth)} requests of 200 conversations: {wrong} wrong, {best.total() / len(truth):.1%} right")
    assert wrong == 0
    assert best.total() >= 0.98 * len(truth)
