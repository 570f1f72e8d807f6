"""The dialects that there are: the one list."""

from __future__ import annotations

from functools import lru_cache

from dmrc.dialects.anthropic.routes import AnthropicDialect
from dmrc.dialects.dialect import Dialect
from dmrc.dialects.ollama.routes import OllamaDialect
from dmrc.dialects.openai.routes import OpenAIDialect
from dmrc.dialects.responses.routes import ResponsesDialect
from dmrc.exchange import Operation

OPENAI = OpenAIDialect()
"""The words of whatever is nobody else's."""

RESPONSES = ResponsesDialect()
"""Remembers what a response may go on from."""

DIALECTS: list[Dialect] = [AnthropicDialect(), OllamaDialect(), RESPONSES, OPENAI]
"""Of the ones that own a path, the first counts."""

_BUILT_IN = tuple(DIALECTS)


def dialect_at(path: str) -> Dialect:
    """Return whose API a path is, for the error of a request that no route has understood."""
    return next((dialect for dialect in DIALECTS if dialect.owns(path)), OPENAI)


@lru_cache(256)  # asked several times for each request that is recorded
def dialect_of(name: str, operation: Operation) -> Dialect:
    """Return who reads the record of a request: of several of one name, the one that has a route for the operation.

    What a dialect recorded that is not here any more is read as OpenAI's.
    """
    named = [dialect for dialect in DIALECTS if dialect.name == name]
    for dialect in named:
        if any(route.operation == operation for route in dialect.routes().values()):
            return dialect
    return named[-1] if named else OPENAI


def is_built_in(name: str, operation: Operation) -> bool:
    """Return whether every process of dmrc can read such a record: a plugin's dialect is known where plugins are."""
    return dialect_of(name, operation) in _BUILT_IN
