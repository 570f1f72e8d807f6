"""Pictures and sounds in requests, whatever dialect they are in: which model can take them is known before it loads."""

from __future__ import annotations

from collections.abc import Mapping

from dmrc.capture.bodies import items_of
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.project import DEFAULT_ENGINE
from dmrc.scheduler.target import AnyTarget, Target

_PARTS = ("image_url", "image", "input_image", "input_audio")
_WORDS = (b"image", b"input_audio")


def check_pictures(target: AnyTarget, document: Mapping[str, JsonValue], body: bytes) -> None:
    """Check that a model which is asked about a picture sees: llama.cpp answers 500 otherwise, which clients repeat.

    What other engines can is theirs to say. `document` is the body as JSON; few bodies have the words to look for.

    Raises:
        InputError: It has no projector.
    """
    if not isinstance(target, Target) or target.configuration.engine != DEFAULT_ENGINE:
        return
    if target.companions.mmproj is None and any(word in body for word in _WORDS) and _has_pictures(document):
        raise InputError(
            f"model '{target.reference}' takes no pictures and no sounds: it has no projector",
            remedy="Use one that has, or give it its own: dmrc package --mmproj, or x-dmrc: {mmproj: ./mmproj.gguf}",
        )


def _has_pictures(document: Mapping[str, JsonValue]) -> bool:
    said = [document, *items_of(document.get("messages")), *items_of(document.get("input"))]
    return any(one.get("images") or any(map(_is_picture, items_of(one.get("content")))) for one in said)


def _is_picture(part: Mapping[str, JsonValue]) -> bool:
    """Tell a picture, and a tool's result that holds one."""
    return part.get("type") in _PARTS or any(one.get("type") in _PARTS for one in items_of(part.get("content")))
