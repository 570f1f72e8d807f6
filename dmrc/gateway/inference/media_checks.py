"""Pictures and sounds in requests, in any dialect: what is refused before llama.cpp's server sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.json_values import items_of, object_of
from dmrc.scheduler.target import Target

_PARTS = ("image_url", "image", "input_image", "input_audio", "input_video", "video_url")
# One of these is in each body that has such a part, the last one where letters are escaped.
_WORDS = (b"image", b"input_audio", b"video", b"\\u")


def check_pictures(target: Target, document: Mapping[str, JsonValue], body: bytes) -> None:
    """Check that a model which is shown a picture sees, and that it is shown the picture itself.

    llama.cpp answers 500 where there is no projector, which clients repeat. An address it would ask from this machine,
    whatever it is and whoever the caller is: a container would reach what listens on loopback. `document` is `body` as
    JSON. What other engines can is theirs to say.

    Raises:
        InputError: It has no projector, or a picture is only an address.
    """
    if target.model is None or target.server != "llama-server":
        return
    if not any(word in body for word in _WORDS):
        return
    # An embedding's input may be one object with content.
    alone = [object_of(document.get(name)) for name in ("input", "content")]
    said = [document, *alone, *items_of(document.get("messages")), *items_of(document.get("input"))]
    parts = [part for one in said for part in _parts(one)]
    if target.model.companions.mmproj is None and (parts or any(one.get("images") for one in said)):
        raise InputError(
            f"model '{target.reference}' takes no pictures and no sounds: it has no projector",
            remedy="Use one that has, or give it its own: dmrc package --mmproj, or x-dmrc: {mmproj: ./mmproj.gguf}",
        )
    if any(address.startswith("http") for part in parts for address in _addresses(part)):
        raise InputError(
            "dmrc does not fetch images by URL",
            remedy="Send the picture itself: data:image/png;base64,…",
        )


def _parts(message: Mapping[str, JsonValue]) -> Iterator[dict[str, JsonValue]]:
    """Yield the pictures and sounds of a message, and of the results of tools in it."""
    for part in (*items_of(message.get("content")), *items_of(message.get("output"))):
        for one in (part, *items_of(part.get("content"))):
            if one.get("type") in _PARTS:
                yield one


def _addresses(part: Mapping[str, JsonValue]) -> Iterator[str]:
    """Yield where the data of a part may stand: OpenAI's and Anthropic's objects, the Responses' text."""
    named = [part.get("image_url"), part.get(str(part.get("type"))), part.get("source")]
    for value in named:
        for text in (value, object_of(value).get("url"), object_of(value).get("data")):
            if isinstance(text, str):
                yield text.lstrip().lower()
