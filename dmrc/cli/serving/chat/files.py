"""Files that a prompt names by `@path`: text is put into the prompt, images go beside it. Images need no `@`."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from dmrc.cli.progress import note
from dmrc.cli.serving.chat.conversation import Content
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.paths import expanded

_IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}
_LARGEST_IMAGE_BYTES = 100 << 20
_LARGEST_TEXT_BYTES = 4 << 20
_PUNCTUATION = ".,;:?!)]"
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")
# `@` at the start of a word, so that an address like me@example.org is left alone. An image needs none where its path
# can be nothing else (/tmp/a.png, ./a.png, "../my cat.png"), as in Docker Model Runner and Ollama.
_PATH, _SUFFIX = r"(?:~|\.\.?)?/", r"\.(?:png|jpe?g|webp|gif)"
_NAMED = re.compile(
    r"""(?<!\S)@(?:"(?P<quoted>[^"]+)"|'(?P<single>[^']+)'|(?P<plain>\S+))"""
    rf"""|(?<!\S)(?:"(?P<image>{_PATH}[^"\n]+{_SUFFIX})"|'(?P<single_image>{_PATH}[^'\n]+{_SUFFIX})'"""
    rf"""|(?P<plain_image>{_PATH}\S+?{_SUFFIX})(?=[\s.,;:?!)]|$))""",
    re.IGNORECASE,
)


def expand(prompt: str) -> Content:
    """Return the content of a message: the prompt with its files.

    A word that begins with `@` and is no file stays as it is: `@angular/core`, `@app.get("/x")`. One that is written
    as a path (`@./notes.txt`) too, with a note. So does the path of an image that is not there.

    Raises:
        InputError: A file that is meant cannot be read, is too large, or is not what its name says.
    """
    images: list[JsonValue] = []

    def replaced(match: re.Match[str]) -> str:
        image = match["image"] or match["single_image"] or match["plain_image"]
        name = match["quoted"] or match["single"] or match["plain"] or image
        names = [name, *([name.rstrip(_PUNCTUATION)] if match["plain"] else [])]  # `@notes.txt, please`
        found = next(((path, each) for each in names if (path := _file(each)) is not None), None)
        if found is None:
            if not image and name.startswith(("./", "../", "~/")):
                note(f"'{name}' is not a file: the words are sent as they are")
            return match[0]
        path, behind = found[0], name[len(found[1]) :]
        if media_type := _IMAGES.get(path.suffix.lower()):
            images.append({"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{_image(path)}"}})
            return path.name + behind
        return f"\n{path.name}:\n```\n{_text(path)}\n```\n{behind}"

    text = _NAMED.sub(replaced, prompt)
    return [{"type": "text", "text": text}, *images] if images else text


def _file(name: str) -> Path | None:
    """Return the path of a file of this name, or None where there is none."""
    try:
        path = expanded(name)
        return path if path.is_file() else None
    except (OSError, ValueError, InputError):  # too long for a name, with a zero byte, `~` of an unknown user
        return None


def _image(path: Path) -> str:
    data = _read(path, _LARGEST_IMAGE_BYTES)
    if not data.startswith(_BEGINNINGS):
        raise InputError(f"'{path}' is not an image, whatever its name says", remedy="Images: png, jpg, webp, gif")
    return base64.b64encode(data).decode()


def _text(path: Path) -> str:
    try:
        return _read(path, _LARGEST_TEXT_BYTES).decode().rstrip("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' must be text or an image", remedy="Images: png, jpg, webp, gif") from error


def _read(path: Path, largest_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(largest_bytes + 1)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}") from error
    if len(data) > largest_bytes:
        raise InputError(f"'{path}' is larger than {largest_bytes >> 20} MiB")
    return data
