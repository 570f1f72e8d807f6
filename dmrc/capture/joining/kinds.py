"""Kinds of evidence, the strongest first. Plain numbers: a member of an enum costs a call each time it is named."""

from __future__ import annotations

SESSION = 0
"""The caller named its conversation: by `x-session-id`, or as `conversation` of the Responses."""
RESPONSE = 1
"""Id of an answer of the Responses, which a request names as `previous_response_id`."""
TRACE = 2
"""The caller's trace."""
CALL = 3
"""Id of a call of a tool: said in the answer, repeated with the result."""
CHAIN = 4
"""The last messages but those of the system, up to and with an answer."""
FAILED = 5
"""The last messages of a request that got no answer: who sends them again tries once more."""
TURN = 6
"""One answer and what was asked before it, where earlier messages were left out or summarised.

Of the first answer of a conversation it is the chain: that row stands for both.
"""
FRAGMENT = 7
"""A sentence or line of an answer, in whatever text it is repeated."""

KINDS = range(8)
"""All of them."""
