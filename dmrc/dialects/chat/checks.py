"""The one check that every request passes between its dialect and the engine: OpenAI's own, and what others became.

A dialect turns its request into a `Call` whose `document` is OpenAI's (a chat completion, a completion, an embedding),
with OpenAI's words only, and says nothing of what an engine can: `Inference` gives each call to `checked` before the
model is loaded. What the check raises is worded by the dialect (`Dialect.error`). A dialect checks what is
its own: the fields and blocks that a chat completion has no word for.

What `checked` does to a chat completion, so that no dialect has to: a message, a part, a tool, a call or a number that
cannot be meant is refused by name; nulls are left out; arguments of earlier calls that are empty or cut become JSON
that a template can read; `tool_choice` (a name, `required`, `allowed_tools`) is heeded; tools for a model whose
template knows none are refused; the beginning of an answer that the caller gave is not repeated in it.
"""

from __future__ import annotations

from dataclasses import replace

from dmrc.dialects.chat.counts import COUNT_PATH
from dmrc.dialects.chat.fixes import Fix, WithoutBeginning
from dmrc.dialects.chat.forced_calls import ForcedCalls
from dmrc.dialects.chat.messages import checked_messages
from dmrc.dialects.chat.schemas import kept_format, unkept
from dmrc.dialects.chat.served import Served
from dmrc.dialects.chat.several import asked_for, several
from dmrc.dialects.chat.tools import checked_tools
from dmrc.dialects.dialect import Call
from dmrc.dialects.openai.completions import checked_completion
from dmrc.dialects.openai.embeddings import EMBEDDINGS, checked_embedding
from dmrc.dialects.openai.embeddings import unread as unread_embedding
from dmrc.dialects.openai.fields import check_fields, refuse_fields, unread
from dmrc.dialects.openai.replies import OpenAIReply
from dmrc.dialects.openai.vllm import told_to_vllm, unread_by_vllm, unread_embedding_by_vllm
from dmrc.fields import JsonObject
from dmrc.json_values import items_of, object_of

_COMPLETIONS = ("/v1/chat/completions", "/v1/completions")


def checked(call: Call, served: Served) -> Call:
    """Return what to send for a call: the same call, bytes and all, where nothing has to change.

    Raises:
        InputError: It cannot be meant, or not of this model; what, is named.
    """
    call = _counted(_checked(call, served), served)
    is_put_right = bool(call.fixes) or call.several is not None
    return replace(call, reply=OpenAIReply()) if is_put_right and call.reply is None else call


def _counted(call: Call, served: Served) -> Call:
    """Return a call that tells the tokens of all answers that it wants: llama.cpp tells those of one."""
    wish = several(call.document) if served.is_llama_cpp and call.path in _COMPLETIONS else None
    if wish is None:
        return call
    document = asked_for(call.document, wish)
    return replace(call, document=document, several=wish, raw=call.raw if document is call.document else None)


def _checked(call: Call, served: Served) -> Call:
    changes: JsonObject = {}
    fixes: list[Fix] = []
    is_chat = call.path in ("/v1/chat/completions", COUNT_PATH)
    if is_chat or call.path in _COMPLETIONS:
        check_fields(call.document, is_chat=is_chat)
        if ignored := _without_effect(call.document, served, is_chat=is_chat):
            call = replace(call, left_out=(*call.left_out, *ignored))
    if is_chat:
        changes, fixes = _chat(call.document, served)
    elif call.path == "/v1/completions" and served.is_llama_cpp:
        changes, fixes = checked_completion(call.document)
    elif call.path == "/v1/completions" and served.is_vllm:
        changes = told_to_vllm(call.document, served, continues=False)
    elif call.path == EMBEDDINGS:
        changes, fixes = checked_embedding(call.document, served)
        if served.is_llama_cpp:
            call = replace(call, left_out=(*call.left_out, *unread_embedding(call.document)))
        elif served.is_vllm:
            call = replace(call, left_out=(*call.left_out, *unread_embedding_by_vllm(call.document)))
    if not changes:
        return replace(call, fixes=(*call.fixes, *fixes)) if fixes else call
    document: JsonObject = {name: value for name, value in {**call.document, **changes}.items() if value is not None}
    return replace(call, document=document, raw=None, fixes=(*call.fixes, *fixes))


def _without_effect(document: JsonObject, served: Served, *, is_chat: bool) -> tuple[str, ...]:
    """Return the fields that the server will leave out in silence, where it is known what that is."""
    if served.is_llama_cpp:
        return (*unread(document, is_chat=is_chat), *unkept(document.get("response_format")))
    return unread_by_vllm(document, is_chat=is_chat) if served.is_vllm else ()


def _chat(document: JsonObject, served: Served) -> tuple[JsonObject, list[Fix]]:
    """Return the fields of a chat completion to change, None being left out, and what is put right in its answer."""
    changes: JsonObject = {}
    fixes: list[Fix] = []
    if served.is_llama_cpp or served.is_vllm:
        refuse_fields(document, is_chat=True)
    messages = document.get("messages")
    if (fixed := checked_messages(messages, served)) is not messages:
        changes["messages"] = fixed
    tools, is_forced = checked_tools({**document, **changes} if changes else document, served)
    changes |= tools
    if is_forced:
        fixes.append(ForcedCalls())
    elif served.is_llama_cpp and "response_format" in document:
        form = document["response_format"]
        if (kept := kept_format(form)) is not form:
            changes["response_format"] = kept
    if served.is_vllm:
        changes |= told_to_vllm(document, served, continues=bool(_beginning(document)))
    may_repeat = (served.is_llama_cpp or served.is_upstream) and not document.get("stream")
    if may_repeat and (beginning := _beginning(document)):
        fixes.append(WithoutBeginning(beginning, is_certain=served.is_llama_cpp))
    return changes, fixes


def _beginning(document: JsonObject) -> str:
    """Return what the caller gave of the answer, as the last message; an empty text where it gave nothing."""
    last = items_of(document.get("messages"))[-1]
    if last.get("role") != "assistant" or last.get("tool_calls"):
        return ""
    content = last.get("content")
    if isinstance(content, str):
        return content
    return "".join(str(object_of(part).get("text") or "") for part in items_of(content))
