"""Anthropic's blocks of content as parts of a chat completion's messages. Pure.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping

from dmrc.dialects.chat.known_fields import Fields
from dmrc.dialects.chat.shapes import FLAG, TEXT, check_kinds, given_object, given_objects
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject

_HARMLESS = ("cache_control",)
_FIELDS = {
    # An answer of Anthropic's that is sent back may have citations; they say nothing that the text does not.
    "text": Fields(("type", "text"), (*_HARMLESS, "citations")),
    "image": Fields(("type", "source"), _HARMLESS),
    "document": Fields(("type", "source", "title", "context", "citations"), _HARMLESS),
    "thinking": Fields(("type", "thinking"), (*_HARMLESS, "signature")),
    "redacted_thinking": Fields(("type",), (*_HARMLESS, "data")),
    "tool_use": Fields(("type", "id", "name", "input"), (*_HARMLESS, "caller", "toolset_name")),
    "tool_result": Fields(("type", "tool_use_id", "content", "is_error"), (*_HARMLESS, "toolset_name")),
    "search_result": Fields(("type", "source", "title", "content", "citations"), _HARMLESS),
}
_CITED = ("document", "search_result")
_CALLS = ("thinking", "redacted_thinking", "tool_use", "tool_result")
_KINDS = {"id": TEXT, "tool_use_id": TEXT, "thinking": TEXT, "is_error": FLAG}
_SEND = "Send text or pictures"

_PICTURES: Mapping[str, Callable[[JsonObject], JsonValue]] = {
    "base64": lambda source: f"data:{source.get('media_type')};base64,{source.get('data')}",
    "url": lambda source: source.get("url"),
}


def checked_block(block: JsonObject) -> str:
    """Return of which type a block is.

    Raises:
        InputError: It is of none that can be read, or has a field without a meaning.
    """
    kind = block.get("type")
    known = _FIELDS.get(str(kind))
    if known is None:
        raise InputError(f"a block of type '{kind}' cannot be read", remedy=_SEND)
    where = f" of a block of type '{kind}'"
    known.check_inner(block, where)
    check_kinds(block, _KINDS, where)
    if kind in _CITED and given_object(block.get("citations"), "citations").get("enabled"):
        raise InputError(f"'citations'{where} cannot be given", remedy="Leave it out")
    return str(kind)


def parts(content: JsonValue, name: str = "content") -> list[JsonObject]:
    """Return what a content says: texts and pictures, in their order; a text is one part. `name` is the caller's.

    Raises:
        InputError: It holds what no text can say.
    """
    if isinstance(content, str):
        return [_text(content)]
    if content is not None and not isinstance(content, list):
        raise InputError(f"'{name}' must be text or a list of blocks")
    return [part for block in given_objects(content, name) for part in _parts(block)]


def words(content: JsonValue, name: str) -> str:
    """Return what a content says that may hold texts only; `name` is the caller's."""
    found = parts(content, name)
    if any(part["type"] != "text" for part in found):
        raise InputError(f"'{name}' holds a picture", remedy="Send it in a message of the user")
    return joined(found)


def joined(found: Iterable[JsonObject]) -> str:
    """Return the texts of parts, a line each."""
    return "\n".join(str(part["text"]) for part in found)


def _parts(block: JsonObject) -> list[JsonObject]:
    kind = checked_block(block)
    if kind in _CALLS:
        raise InputError(f"a block of type '{kind}' cannot be read here", remedy=_SEND)
    if kind == "text":
        return [_text(block.get("text"))]
    if kind == "search_result":
        named = [block.get("title"), block.get("source")]
        return [*(_text(one) for one in named if one), *parts(block.get("content"))]
    source = given_object(block.get("source"), "source")
    if kind == "image":
        return [_picture(source)]
    about = [block.get("title"), block.get("context")]
    return [*(_text(one) for one in about if one), *_document(source)]


def _picture(source: JsonObject) -> JsonObject:
    read = _PICTURES.get(str(source.get("type")))
    if read is None:
        raise InputError(f"an image from a '{source.get('type')}' cannot be read", remedy="Send it as base64")
    return {"type": "image_url", "image_url": {"url": read(source)}}


def _document(source: JsonObject) -> list[JsonObject]:
    match source.get("type"):
        case "text":
            return [_text(source.get("data"))]
        case "content":
            return parts(source.get("content"))
        case "base64":
            kind = source.get("media_type")
            if isinstance(kind, str) and kind.startswith("text/"):
                return [_text(_decoded(source.get("data")))]
            raise InputError(f"a document of type '{kind}' cannot be read", remedy="Send the text that it holds")
        case other:
            raise InputError(f"a document from a '{other}' cannot be read", remedy="Send the text that it holds")


def _decoded(data: JsonValue) -> str:
    try:
        return base64.b64decode(str(data), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InputError(f"the 'data' of a document must be text in base64: {error}") from error


def _text(text: JsonValue) -> JsonObject:
    if not isinstance(text, str):
        raise InputError("the 'text' of a block must be a string")
    return {"type": "text", "text": text}
