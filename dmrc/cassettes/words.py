"""Interactions as conversations: what was asked and answered in the words of chat completions, whatever the dialect."""

from __future__ import annotations

import json

from dmrc.capture.conversation import Message, answered, asked
from dmrc.capture.summary import plain
from dmrc.cassettes.interaction import Asked, Interaction
from dmrc.exchange import Exchange


def messages_of(request: Asked) -> list[Message]:
    """Return the messages of a request; none where it has no words."""
    body = json.dumps(request.body).encode()
    return asked(
        Exchange(
            id="",
            method="POST",
            path=request.path,
            dialect=request.dialect,
            operation=request.operation,
            received_at=0.0,
            request_body=body,
        )
    )


def answer_of(interaction: Interaction) -> list[Message]:
    """Return the answer, one message for each choice; none where it is no words."""
    return answered(interaction.as_exchange())


def first_words(request: Asked, longest: int) -> str:
    """Return what a person knows a request by, in one line: the last words of a user, or what stands for them."""
    messages = messages_of(request)
    said = [message.text for message in messages if message.role == "user"] or [message.text for message in messages]
    return plain(said[-1] if said else request.path, longest)
