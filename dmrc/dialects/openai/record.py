"""Requests of OpenAI's routes, and of those beside them, as the record reads them."""

from __future__ import annotations

from collections.abc import Mapping

from dmrc.dialects.chat.recorded import system_message, without_roles
from dmrc.exchange import JsonValue
from dmrc.json_values import items_of


def messages(request: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
    """Return the messages of a chat as they are, or the words of a completion, an embedding or a ranking."""
    system = system_message(request.get("system"))  # some clients write Anthropic's
    return [
        *system,
        *items_of(request.get("messages")),
        *without_roles(request, "prompt", "input", "query", "documents"),
    ]
