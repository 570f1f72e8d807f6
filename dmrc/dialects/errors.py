"""Errors as JSON in the words of the caller's dialect."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from dmrc.errors import ContextLengthError, DmrcError, ThreadError
from dmrc.exchange import Dialect
from dmrc.gateway.server.content_encodings import ENCODINGS

_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def error_document(error: DmrcError, dialect: Dialect = "openai") -> dict[str, object]:
    """Return `{"error": {"message", "type", "param", "code"}}`, as OpenAI's clients read it, or what others' do."""
    if dialect == "ollama":
        return {"error": str(error)}
    if dialect == "anthropic":
        told = anthropic_error(error.http_status, _in_anthropics_words(error))
        if isinstance(error, ThreadError):
            told["error"]["details"] = {"error_code": error.code}
        return told
    document: dict[str, object] = {"message": str(error), "type": error.error_type, "param": None}
    document["code"] = error.code or error.error_type  # clients expect a text
    if isinstance(error, ContextLengthError):
        # As llama.cpp's server has them.
        document |= {"n_prompt_tokens": error.prompt_tokens, "n_ctx": error.context_tokens}
    return {"error": document}


def _in_anthropics_words(error: DmrcError) -> str:
    """Return the message; clients find a prompt that is too long by these words, and shorten it."""
    if isinstance(error, ContextLengthError) and error.prompt_tokens and error.context_tokens:
        return f"prompt is too long: {error.prompt_tokens} tokens > {error.context_tokens} maximum. {error}"
    return str(error)


def anthropic_error(status: int, message: str) -> dict[str, Any]:
    """Return an error as Anthropic's clients read it.

    Source: https://docs.anthropic.com/en/api/errors
    """
    kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def error_response(error: DmrcError, status: int | None = None, dialect: Dialect = "openai") -> Response:
    """Return the HTTP answer for an error; None is the status of its kind."""
    headers = {}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    if error.http_status == 415:
        headers["accept-encoding"] = ENCODINGS
    body = json.dumps(error_document(error, dialect)).encode()
    return Response(body, status or error.http_status, headers, "application/json")


def error_event(error: DmrcError) -> bytes:
    """Return the server-sent event that ends a broken stream; blank lines first end an event that was cut."""
    return b"\n\ndata: " + json.dumps(error_document(error)).encode() + b"\n\n"


def dialect_of(path: str) -> Dialect:
    """Return whose API a path belongs to, for the error of a request that no route has understood."""
    if path.startswith("/api/"):
        return "ollama"
    return "anthropic" if path.startswith("/anthropic/") or "/v1/messages" in path else "openai"
