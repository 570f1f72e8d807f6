"""Messages of a conversation in lines, safe for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmrc.capture.conversation import Message
    from dmrc.cli.record.requests.lines import Screen
    from dmrc.exchange import Exchange

_ROLE_COLOURS = {"system": "magenta", "user": "cyan", "assistant": "green", "tool": "yellow"}


def conversation_lines(exchange: Exchange, screen: Screen) -> Iterator[str]:
    """Yield the messages of a request and its answer, an empty line before each."""
    from dmrc.capture.conversation import answered, asked

    for message in (*asked(exchange), *(answers := answered(exchange))):
        yield ""
        yield from _message(message, screen)
    if not answers:
        yield from _other_answer(exchange, screen)


def _message(message: Message, screen: Screen) -> Iterator[str]:
    """Yield who speaks, then what is thought, said and called, indented."""
    from dmrc.capture.summary import plain

    title = f"{plain(message.role, 40)} {plain(message.call_id or '', 60)}".rstrip()
    yield screen.style(title, fg=_ROLE_COLOURS.get(message.role, "blue"), bold=True)
    if message.reasoning:
        yield screen.style("  thinks", dim=True)
    for line in _block(message.reasoning, "    "):
        yield screen.style(line, dim=True, italic=True)
    yield from _block(message.text)
    for call in message.calls:
        name = screen.style(plain(call.name, 200), bold=True)
        yield f"  {screen.style('calls', dim=True)} {name} {plain(call.id, 60)}"
        yield from _block(call.arguments, "    ")


def _other_answer(exchange: Exchange, screen: Screen) -> Iterator[str]:
    """Yield an answer that is no words: vectors, scores, an error, or nothing."""
    from dmrc.capture.conversation import answer_document

    yield ""
    yield screen.style("answer", fg="green", bold=True)
    document = answer_document(exchange)
    data = document.get("data")
    if exchange.operation == "embedding" and isinstance(data, list):
        vectors = [one.get("embedding") for one in data if isinstance(one, dict)]
        sizes = {len(vector) for vector in vectors if isinstance(vector, list)}
        numbers = f" of {sizes.pop()} numbers" if len(sizes) == 1 else ""
        yield f"  {len(data)} vector{'s' if len(data) != 1 else ''}{numbers}"
    elif exchange.response_body:
        yield from _block(exchange.response_body.decode("utf-8", "replace"))
    else:
        yield screen.style("  nothing of it was recorded", dim=True)


def _block(text: str, indent: str = "  ") -> Iterator[str]:
    """Yield the lines of a text; JSON is indented."""
    from dmrc.capture.summary import printable

    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict | list):
        text = json.dumps(document, indent=2, ensure_ascii=False)
    for line in text.expandtabs(4).splitlines():
        yield f"{indent}{printable(line)}"
