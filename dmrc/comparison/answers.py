"""What an answer says and how long it took, read from its exchange: the same for every dialect, whole or streamed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dmrc.capture.conversation import ToolCall, answer_document, answered
from dmrc.exchange import Exchange, JsonValue
from dmrc.json_values import items_of, object_of

# In the words of each dialect: OpenAI's and Ollama's, Anthropic's, the Responses'.
_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"})
_REFUSED = frozenset({"content_filter", "refusal"})
# Models that are no service's refuse in words; these are how they begin, in English.
_REFUSAL = re.compile(
    r"\W*(?:(?:i'?m|i am|we'?re|we are)\s+(?:very |really |so )?sorry\b|sorry\b|i apologi[sz]e\b|unfortunately\b|"
    r"as an? (?:ai|artificial intelligence|language model)\b)?[^.!?\n]{0,60}?"
    r"\b(?:i|we)\s*(?:can(?:no|')?t|can not|won'?t|will not|am not able to|'?m not able to|am unable to|'?m unable to|"
    r"must decline to|have to decline to)\s+(?:to |even |directly )?"
    r"(?:help|assist|provide|fulfil+|comply|answer|create|generate|write|do that|discuss|support|engage|continue)\b",
    re.IGNORECASE,
)
_LONGEST_BEGINNING = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer."""

    error: str | None
    """Why there is none: `502 server_error: …`."""
    texts: tuple[str, ...]
    """Its words, for each choice."""
    calls: tuple[ToolCall, ...]
    """Tools that it calls."""
    finish_reason: str | None
    """How it ended, as the record has it."""
    is_cut: bool
    """Whether it ended for the number of its tokens."""
    is_refusal: bool
    """Whether the model says that it will not."""
    tokens: int | None
    """Generated."""
    first_token_ms: float | None
    """To the first token, without waiting for the model and for a slot."""
    answer_ms: float | None
    """To the last byte, likewise."""
    tokens_per_second: float | None
    """Decode rate."""
    cached_tokens: int
    """Of the prompt, those that the engine had."""
    was_cold: bool
    """Whether the model was loaded for it."""

    @classmethod
    def of(cls, exchange: Exchange) -> Said:
        """Read an exchange, with its content."""
        messages = answered(exchange)
        texts = tuple(message.text for message in messages)
        waited = (exchange.load_ms or 0.0) + (exchange.queue_ms or 0.0)
        return cls(
            error=_error(exchange),
            texts=texts,
            calls=tuple(call for message in messages for call in message.calls),
            finish_reason=exchange.finish_reason,
            is_cut=exchange.finish_reason in _CUT,
            is_refusal=exchange.finish_reason in _REFUSED or _has_refusal(exchange) or any(map(_refuses, texts)),
            tokens=exchange.completion_tokens,
            first_token_ms=_without(exchange.first_token_ms, waited),
            answer_ms=_without(exchange.total_ms, waited),
            tokens_per_second=exchange.completion_tokens_per_second,
            cached_tokens=exchange.cached_tokens or 0,
            was_cold=(exchange.load_ms or 0.0) > _WARM_MS,
        )

    @property
    def text(self) -> str:
        """Return its words, of all choices."""
        return "\n\n".join(self.texts)


_WARM_MS = 50.0
"""Who waits less than this for a model found it loaded."""


def arguments_of(call: ToolCall) -> JsonValue:
    """Return the arguments of a call as JSON, numbers alike however they are written; a text that is none as it is."""
    try:
        return _plain(json.loads(call.arguments or "{}"))
    except (ValueError, RecursionError):
        return call.arguments


def _plain(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in sorted(value.items())}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _error(exchange: Exchange) -> str | None:
    status = exchange.status or 0
    if status < 400 and exchange.error_type is None:
        return None
    words = exchange.error_message or "it broke off"
    return " ".join(filter(None, (str(status) if status >= 400 else "", f"{exchange.error_type or 'error'}:", words)))


def _without(whole_ms: float | None, waited_ms: float) -> float | None:
    return None if whole_ms is None else max(0.0, whole_ms - waited_ms)


def _has_refusal(exchange: Exchange) -> bool:
    """Return whether an answer has words in the field that OpenAI has for refusals."""
    choices = items_of(answer_document(exchange).get("choices"))
    return any(_message(choice).get("refusal") for choice in choices)


def _message(choice: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    return object_of(choice.get("message"))


def _refuses(text: str) -> bool:
    return _REFUSAL.match(text[:_LONGEST_BEGINNING]) is not None
