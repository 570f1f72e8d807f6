"""OpenAI's own fields: of which kind each is, which are refused, and which have no effect, for engines of ours.

llama.cpp's server ignores a field that it does not know, and one of a wrong kind, so what its caller relies on would
be missing in silence. What OpenAI has is refused then; what only other servers have is named (`unread`), for clients
send to all of them what one of them knows. Pure.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Mapping

from dmrc.dialects.chat.known_fields import NUMBERS, OF_ENGINES
from dmrc.dialects.chat.shapes import (
    FLAG,
    LIST_OR_OBJECT,
    NUMBER,
    OBJECT,
    TEXT,
    TEXT_OR_TEXTS,
    WHOLE,
    WHOLE_VALUE,
    FieldType,
    check_kinds,
)
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject

_KINDS: Mapping[str, FieldType] = {
    **dict.fromkeys(NUMBERS, NUMBER),
    **dict.fromkeys(("n", "best_of"), WHOLE),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "top_logprobs", "seed"), WHOLE_VALUE),
    **dict.fromkeys(("stream", "store", "parallel_tool_calls", "echo"), FLAG),
    **dict.fromkeys(("stream_options", "response_format", "metadata", "prediction"), OBJECT),
    **dict.fromkeys(("user", "safety_identifier", "service_tier", "reasoning_effort", "prompt_cache_key"), TEXT),
    "stop": TEXT_OR_TEXTS,
    "logit_bias": LIST_OR_OBJECT,
}
_KINDS_IN_CHATS = {**_KINDS, "logprobs": FLAG}
_KINDS_IN_COMPLETIONS = {**_KINDS, "logprobs": WHOLE_VALUE}
HARMLESS = (
    *("metadata", "prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    *("safety_identifier", "service_tier", "store", "user", "keep_alive"),
)
"""About bills, speed and statistics: no answer is another one for them."""
_HEEDED = (
    *("model", "stream", "stream_options", "stop", "logprobs"),
    *("messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort"),
    *("prompt", "echo"),
)
# What llama.cpp's server has beside `OF_ENGINES`, and what of those it has not.
_OF_LLAMA_CPP = frozenset(
    {
        *("return_tokens", "timings_per_token", "return_progress", "post_sampling_probs", "response_fields", "verbose"),
        *("n_indent", "n_cmpl", "adaptive_decay", "backend_sampling", "t_max_prompt_ms", "sse_ping_interval"),
        *("add_generation_prompt", "continue_final_message", "generation_prompt", "parse_tool_calls", "chat_format"),
        *("reasoning_control", "reasoning_in_content", "reasoning_budget_message", "thinking_forced_open"),
        *("grammar_lazy", "grammar_triggers", "preserved_tokens"),
    }
)
_OF_OTHERS = frozenset({"min_tokens", "stop_token_ids", "repetition_penalty"})

_CHAT = {
    "audio": "no model here speaks",
    "function_call": "it is older than 'tool_choice'; send that",
    "functions": "it is older than 'tools'; send those",
    "modalities": "answers are text",
    "moderation": "nothing is moderated here",
    "verbosity": "no model here knows it; say it in a message",
    "web_search_options": "dmrc searches no web; send a tool that does",
}
_COMPLETION = {
    "best_of": "all answers are returned; send 'n'",
    "suffix": "text is filled in by POST /api/generate, or by a chat",
}
_KNOWN = (OF_ENGINES | _OF_LLAMA_CPP | {*NUMBERS, *_HEEDED, *HARMLESS}) - _OF_OTHERS
_KNOWN_IN_CHATS, _KNOWN_IN_COMPLETIONS = _KNOWN | {*_CHAT}, _KNOWN | {*_COMPLETION}
# Values that ask for what is done anyway.
_PLAIN: Mapping[str, tuple[JsonValue, ...]] = {
    "modalities": (["text"],),
    "verbosity": ("medium",),
    "function_call": ("none", "auto"),
    "best_of": (1,),
    "suffix": ("",),
}


def check_fields(document: JsonObject, *, is_chat: bool) -> None:
    """Check the kinds of what OpenAI's completions and chats have, whoever answers.

    Raises:
        InputError: A field is of another kind.
    """
    check_kinds(document, _KINDS_IN_CHATS if is_chat else _KINDS_IN_COMPLETIONS)
    form = document.get("response_format")
    if isinstance(form, dict) and not isinstance(form.get("type"), str):
        raise InputError(
            "'response_format' has no 'type'", remedy="Send text, json_object or json_schema as its 'type'"
        )


def refused_fields(*, is_chat: bool) -> Mapping[str, str]:
    """Return the fields that `refuse_fields` refuses, with the reasons."""
    return _CHAT if is_chat else _COMPLETION


def unread(document: JsonObject, *, is_chat: bool) -> tuple[str, ...]:
    """Return the fields that llama.cpp's server does not know, and that are therefore without effect."""
    known = _KNOWN_IN_CHATS if is_chat else _KNOWN_IN_COMPLETIONS
    return tuple(name for name, value in document.items() if value is not None and name not in known)


def refuse_fields(document: JsonObject, *, is_chat: bool) -> None:
    """Refuse what would be ignored; null, an empty list, and what asks for nothing more than is done, is fine.

    An empty object is no such thing: `"web_search_options": {}` asks for a search.

    Raises:
        InputError: A field is not supported; it is named.
    """
    for name, why in refused_fields(is_chat=is_chat).items():
        value = document.get(name)
        if (value or value == {}) and value not in _PLAIN.get(name, ()):
            raise InputError(f"'{name}' is not supported: {why}", remedy="Leave it out")
