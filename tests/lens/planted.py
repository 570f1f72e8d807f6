"""Pairs of requests between which one difference was planted, in every dialect; the place of each is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dmrc.lens.changes import ChangeKind

Body = dict[str, Any]

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/anthropic/v1/messages", "/v1/responses"
OLLAMA_CHAT, GENERATE, COMPLETIONS = "/api/chat", "/api/generate", "/v1/completions"

RULES = " ".join(f"Rule {number}: be kind to every {name}." for number, name in enumerate(("cat", "dog", "hen") * 5))
"""Some hundred tokens of a prompt."""

_ASKED = "Which animals do the rules name, and how often is each of them in there?"
_ANSWERED = "They name cats, dogs and hens, five times each, in turn, and nobody else at all."
_NEXT = "Now say it in other words."


@dataclass(frozen=True)
class Planted:
    """Two requests of one conversation, or of one service, and where the second one differs."""

    name: str
    path: str
    before: Body
    now: Body
    kind: ChangeKind
    place: str
    at: int | None = None
    """Index of the first character that differs."""
    begins: int | None = None
    """Where the thing begins that changes; None: there."""


def turns(*texts: str) -> list[Body]:
    """Return messages of a user and an assistant in turn."""
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


def chat(system: str, *texts: str, **more: object) -> Body:
    return {"messages": [{"role": "system", "content": system}, *turns(*texts)], **more}


def _said(name: str) -> tuple[list[Body], list[Body]]:
    """Return a first and a second turn of a conversation that nobody else has."""
    words = f"In {name}: {_ASKED}", f"In {name}: {_ANSWERED}", f"And {name}? {_NEXT}"
    return turns(words[0]), turns(*words)


def tool(name: str, about: str = "") -> Body:
    parameters = {"type": "object", "properties": {"path": {"type": "string", "description": "Where it is."}}}
    return {"type": "function", "function": {"name": name, "description": f"{name} {about}", "parameters": parameters}}


def flat(one: Body) -> Body:
    """Return a tool as the Responses have it."""
    return {"type": "function", **one["function"]}


def anthropic(one: Body) -> Body:
    """Return a tool as Anthropic has it."""
    function = one["function"]
    return {**{key: function[key] for key in ("name", "description")}, "input_schema": function["parameters"]}


def in_system(
    name: str, kind: ChangeKind, head: str, before: str, now: str, *, at: int = 0, path: str = CHAT
) -> Planted:
    """Return a pair whose system message has another text after `head`, `at` characters into it."""
    old, new = (f"Of {name}. {head}{text}. {RULES}" for text in (before, now))
    place, begins = len(f"Of {name}. {head}") + at, len(f"Of {name}. {head}")
    said, more = _said(name)
    bodies = {
        CHAT: lambda system, messages: {"messages": [{"role": "system", "content": system}, *messages]},
        OLLAMA_CHAT: lambda system, messages: {"messages": [{"role": "system", "content": system}, *messages]},
        MESSAGES: lambda system, messages: {"system": system, "messages": messages},
        RESPONSES: lambda system, messages: {"instructions": system, "input": messages},
    }
    make = bodies[path]
    return Planted(name, path, make(old, said), make(new, more), kind, "message 1 (system)", place, begins)


_TOOLS = [tool(name, "in a directory, with everything that is in it") for name in ("read", "write", "search", "remove")]
_HISTORY = [f"{word} {_ASKED}" if at % 2 == 0 else f"{word} {_ANSWERED}" for at, word in enumerate("ABCDEFG")]
_SYSTEM = f"Of {{}}. {RULES}"


def _tools(name: str, before: list[Body], now: list[Body]) -> tuple[Body, Body]:
    said, more = _said(name)
    system = [{"role": "system", "content": f"Of {name}."}]
    return {"messages": system + said, "tools": before}, {"messages": system + more, "tools": now}


def _parts(*texts: str) -> list[Body]:
    return [{"type": "text", "text": text} for text in texts]


def planted() -> list[Planted]:
    """Return the twenty pairs."""
    added, removed = _tools("adders", _TOOLS[:3], _TOOLS), _tools("removers", _TOOLS, _TOOLS[1:])
    shuffled = _tools("shufflers", _TOOLS, [_TOOLS[at] for at in (0, 2, 1, 3)])
    other = tool("write", "in a directory, but for what is in it")
    changed = _tools("changers", _TOOLS, [_TOOLS[0], other, *_TOOLS[2:]])
    system = {"role": "system", "content": _SYSTEM.format("history")}
    edited = [*_HISTORY[:2], _HISTORY[2].replace("how often", "how seldom"), *_HISTORY[3:]]
    template = "Time: {}. " + RULES + " Question: {}"
    text = f"Of a story. {RULES} "
    return [
        in_system("clocks", "clock", "It is now ", "2026-11-28 17:03:11", "2026-11-28 17:03:42", at=17),
        in_system("days", "date", "Today is ", "November 28, 2026", "November 29, 2026", at=10, path=MESSAGES),
        in_system("epochs", "clock", "Asked at ", "1764349391", "1764349455", at=7, path=RESPONSES),
        in_system("counters", "counter", "This is request ", "17", "18", at=1, path=OLLAMA_CHAT),
        in_system(
            *("ids", "random id", "Session "),
            *("0b9c2d1e-6d0f-4a57-9c4e-0d5b8f9f2a11", "7f1e55aa-2c3b-4f0e-8a77-1b2c3d4e5f60"),
            path=MESSAGES,
        ),
        in_system("marks", "random id", "Trace: ", "req-a8f3k2m9q1", "req-z7x4c1v6b2", at=4),
        in_system(
            "budgets", "token count", "You have ", "183402 tokens left", "179118 tokens left", at=1, path=MESSAGES
        ),
        in_system("lists", "shuffled", "Files: ", "a.py, b.py, c.py, d.py", "c.py, a.py, d.py, b.py"),
        in_system("memories", "edited", "The user likes ", "tea and quiet rooms", "long walks at sea", path=RESPONSES),
        Planted("tool added", CHAT, *added, "added", "tool 4 (remove)"),
        Planted("tool removed", CHAT, *removed, "removed", "tool 1 (read)"),
        Planted("tools shuffled", CHAT, *shuffled, "shuffled", "tool 2 (search)"),
        Planted(
            *("tool changed", MESSAGES),
            *(
                {
                    **body,
                    "tools": [anthropic(one) for one in body["tools"]],
                    "system": "Of changers.",
                    "messages": body["messages"][1:],
                }
                for body in changed
            ),
            *("edited", "tool 2 (write)", len('{"name": "write", "description": "write in a directory, ')),
        ),
        Planted(
            *("history trimmed", OLLAMA_CHAT, {"messages": [system, *turns(*_HISTORY[:5])]}),
            *({"messages": [system, *turns(*_HISTORY[2:])]}, "trimmed", "message 2 (user)"),
        ),
        Planted(
            *("history summarised", CHAT, chat(_SYSTEM.format("summaries"), *_HISTORY[:5])),
            chat(_SYSTEM.format("summaries"), "They spoke of animals.", *_HISTORY[3:]),
            *("replaced", "message 2 (user)"),
        ),
        Planted(
            *("message edited", MESSAGES, {"system": _SYSTEM.format("edits"), "messages": turns(*_HISTORY[:5])}),
            {"system": _SYSTEM.format("edits"), "messages": turns(*edited)},
            *("edited", "message 4 (user)", _HISTORY[2].index("often")),
        ),
        Planted(
            *("part changed", CHAT),
            {"messages": [{"role": "user", "content": _parts("Of parts.", f"Page 3 of it: {RULES}", _ASKED)}]},
            {"messages": [{"role": "user", "content": _parts("Of parts.", f"Page 4 of it: {RULES}", _ASKED)}]},
            *("counter", "message 1 (user), part 2", 5),
        ),
        Planted(
            *("one prompt", GENERATE, {"prompt": template.format("09:15", "How many cats?")}),
            {"prompt": template.format("09:16", "Which hens?")},
            *("clock", "message 1 (user)", 10, 6),
        ),
        Planted(
            *("result changed", RESPONSES, _calling("took 12 ms")),
            _calling("took 31 ms", *turns(_NEXT)),
            *("number", "message 3 (tool)", len("It took ")),
        ),
        Planted(
            *("text trimmed", COMPLETIONS, {"prompt": f"{text}One: {_ASKED} Two: {_ANSWERED} Three: {_ASKED}"}),
            {"prompt": f"{text}Two: {_ANSWERED} Three: {_ASKED} Four: {_ANSWERED}"},
            *("trimmed", "message 1 (prompt)", len(text)),
        ),
    ]


def _calling(took: str, *more: Body) -> Body:
    call = {"type": "function_call", "call_id": "c1", "name": "count", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c1", "output": f"It {took}. {RULES}"}
    asked = {"role": "user", "content": f"Of results. {_ASKED}"}
    return {"input": [asked, call, result, *more], "tools": [flat(tool("count"))]}


def controls() -> list[Planted]:
    """Return pairs of which the cache gave all that it could."""

    def control(name: str, path: str, before: Body, now: Body) -> Planted:
        return Planted(name, path, before, now, "edited", "")

    return [
        control(
            "next turn",
            CHAT,
            chat(_SYSTEM.format("turns"), _ASKED),
            chat(_SYSTEM.format("turns"), _ASKED, _ANSWERED, _NEXT),
        ),
        control("same again", CHAT, chat(_SYSTEM.format("again"), _ASKED), chat(_SYSTEM.format("again"), _ASKED)),
        control(
            "another question of the service",
            CHAT,
            chat(_SYSTEM.format("asking"), "How many cats are there?"),
            chat(_SYSTEM.format("asking"), "Who lives by the sea, and why?"),
        ),
        control(
            "other last words",
            MESSAGES,
            {"system": _SYSTEM.format("last"), "messages": turns(*_HISTORY[:3])},
            {"system": _SYSTEM.format("last"), "messages": turns(*_HISTORY[:2], "Something else.")},
        ),
        control(
            "a part for a text",
            CHAT,
            chat(_SYSTEM.format("texts"), _ASKED),
            {
                "messages": [
                    {"role": "system", "content": _parts(_SYSTEM.format("texts"))},
                    *turns(_ASKED, _ANSWERED, _NEXT),
                ]
            },
        ),
        control(
            "tools as before",
            CHAT,
            {"messages": turns(f"Of tools. {_ASKED}"), "tools": _TOOLS},
            {"messages": turns(f"Of tools. {_ASKED}", _ANSWERED, _NEXT), "tools": _TOOLS},
        ),
        control(
            "ollama's turn",
            OLLAMA_CHAT,
            chat(_SYSTEM.format("llamas"), _ASKED),
            chat(_SYSTEM.format("llamas"), _ASKED, _ANSWERED, _NEXT),
        ),
        control(
            "other sampling",
            CHAT,
            chat(_SYSTEM.format("samples"), _ASKED, temperature=0.1),
            chat(_SYSTEM.format("samples"), _ASKED, _ANSWERED, _NEXT, temperature=0.9),
        ),
    ]
