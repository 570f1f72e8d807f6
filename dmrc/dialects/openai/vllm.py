"""What vLLM's server reads of a request, and what it must be told in its own words. Pure.

It leaves out a field that it does not know without a word to the caller.

Source: https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/openai/chat_completion/protocol.py, and
completion/protocol.py beside it
"""

from __future__ import annotations

from dmrc.dialects.chat.served import Served
from dmrc.dialects.openai.fields import HARMLESS, refused_fields
from dmrc.fields import JsonObject

_OF_BOTH = frozenset(
    {
        *(
            "model",
            "stream",
            "stream_options",
            "stop",
            "logprobs",
            "n",
            "max_tokens",
            "seed",
            "echo",
            "response_format",
        ),
        *("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty"),
        *("logit_bias", "stop_token_ids", "include_stop_str_in_output", "ignore_eos", "min_tokens", "length_penalty"),
        *("skip_special_tokens", "spaces_between_special_tokens", "truncate_prompt_tokens", "truncation_side"),
        *("prompt_logprobs", "logprob_token_ids", "allowed_token_ids", "bad_words", "use_beam_search"),
        *("add_special_tokens", "structured_outputs", "priority", "request_id", "session_id", "cache_salt"),
        *("return_tokens_as_token_ids", "return_token_ids", "return_token_offsets", "vllm_xargs", "stream_interval"),
        *("repetition_detection", "thinking_token_budget", "watermarking", "kv_transfer_params", "ec_transfer_params"),
    }
)
_OF_CHATS = frozenset(
    {
        *("messages", "max_completion_tokens", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls"),
        *("reasoning_effort", "include_reasoning", "add_generation_prompt", "continue_final_message", "documents"),
        *("chat_template", "chat_template_kwargs", "media_io_kwargs", "mm_processor_kwargs", "return_prompt_text"),
    }
)
_OF_COMPLETIONS = frozenset({"prompt", "prompt_embeds", "suffix"})
_OF_EMBEDDINGS = frozenset(
    {
        *("model", "input", "dimensions", "encoding_format", "user", "truncate_prompt_tokens", "truncation_side"),
        *("request_id", "priority", "add_special_tokens", "use_activation", "embed_dtype", "endianness", "padding"),
        *("cache_salt", "mm_processor_kwargs", "keep_alive"),
    }
)
_LENGTHS = ("max_tokens", "max_completion_tokens")


def unread_by_vllm(document: JsonObject, *, is_chat: bool) -> tuple[str, ...]:
    """Return the fields of a chat or a completion that have no effect there."""
    known = _OF_BOTH | (_OF_CHATS if is_chat else _OF_COMPLETIONS) | {*HARMLESS, *refused_fields(is_chat=is_chat)}
    return tuple(name for name, value in document.items() if value is not None and name not in known)


def unread_embedding_by_vllm(document: JsonObject) -> tuple[str, ...]:
    """Return the fields of a request for embeddings that have no effect there."""
    return tuple(name for name, value in document.items() if value is not None and name not in _OF_EMBEDDINGS)


def told_to_vllm(document: JsonObject, served: Served, *, continues: bool) -> JsonObject:
    """Return the fields to change for vLLM, None being left out.

    It refuses a longest answer above the context, where others fill the context; and it begins a new turn after an
    answer that was begun (`continues`), unless it is told to go on with it.
    """
    changes: JsonObject = {}
    limit = served.context_size
    for name in _LENGTHS:
        value = document.get(name)
        if limit is not None and isinstance(value, int | float) and value > limit:
            changes[name] = limit
    if continues and document.get("add_generation_prompt") is None and document.get("continue_final_message") is None:
        changes |= {"add_generation_prompt": False, "continue_final_message": True}
    return changes
