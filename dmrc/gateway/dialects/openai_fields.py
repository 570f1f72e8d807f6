"""What is refused of OpenAI's own fields, for engines of ours: the others are heeded, or change no answer.

llama.cpp's server ignores a field that it does not know, so what its caller relies on would be missing in silence.
Harmless are `metadata`, `prediction`, `prompt_cache_key`, `safety_identifier`, `service_tier`, `store` and `user`: they
are about bills, speed and statistics. Of a field that is not OpenAI's, only the engine can know. Pure.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Mapping

from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.gateway.dialects.chat_answers import Document

_CHAT = {
    "audio": "no model here speaks",
    "function_call": "it is older than 'tool_choice'; send that",
    "functions": "it is older than 'tools'; send those",
    "modalities": "answers are text",
    "verbosity": "no model here knows it; say it in a message",
    "web_search_options": "dmrc searches no web; send a tool that does",
}
_COMPLETION = {
    "best_of": "all answers are returned; send 'n'",
    "suffix": "text is filled in by POST /api/generate, or by a chat",
}
# Values that ask for what is done anyway.
_PLAIN: Mapping[str, tuple[JsonValue, ...]] = {
    "modalities": (["text"],),
    "verbosity": ("medium",),
    "function_call": ("none", "auto"),
    "best_of": (1,),
    "suffix": ("",),
}


def refuse_fields(document: Document, *, is_chat: bool) -> None:
    """Refuse what would be ignored; null, an empty list, and what asks for nothing more than is done, is fine.

    Raises:
        InputError: A field is not supported; it is named.
    """
    for name, why in (_CHAT if is_chat else _COMPLETION).items():
        value = document.get(name)
        if value and value not in _PLAIN.get(name, ()):
            raise InputError(f"'{name}' is not supported: {why}", remedy="Leave it out")
