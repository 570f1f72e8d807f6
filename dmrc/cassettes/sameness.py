"""Does an answer say the same as another: its words, calls and end, and not its ids, times and pieces."""

from __future__ import annotations

from dmrc.capture.conversation import answer_document, answered
from dmrc.cassettes.interaction import Interaction
from dmrc.fields import JsonValue
from dmrc.json_values import items_of

_OF_ONE_RUN = frozenset(
    (
        *("id", "created", "created_at", "completed_at", "timings", "system_fingerprint"),
        *("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"),
    )
)


def says_same(first: Interaction, second: Interaction) -> bool:
    """Return whether the answer of one may stand for that of the other, of which the request is the same."""
    one, other = first.answer, second.answer
    if (one.status, one.content_type, one.is_stream) != (other.status, other.content_type, other.is_stream):
        return False
    return one.body == other.body or _said(first) == _said(second)


def _said(interaction: Interaction) -> JsonValue:
    exchange = interaction.as_exchange()
    messages = answered(exchange)
    document = answer_document(exchange)
    if not messages:
        return {name: value for name, value in document.items() if name not in _OF_ONE_RUN}
    ends: list[JsonValue] = [choice.get("finish_reason") for choice in items_of(document.get("choices"))]
    said: list[JsonValue] = [
        [one.role, one.text, one.reasoning, [[call.name, call.arguments] for call in one.calls]] for one in messages
    ]
    return [said, ends]
