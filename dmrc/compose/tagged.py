"""Compose files as they are written, with the tags that only Compose understands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dmrc.compose import yaml_text
from dmrc.compose.yaml_text import TaggedValue
from dmrc.errors import ProjectError


def documents(file: Path) -> Iterator[dict[str, object]]:
    """Yield the documents of a compose file. One that cannot be read has none: Compose will say what is wrong."""
    try:
        for document in yaml_text.read(file.read_bytes().decode("utf-8-sig"), str(file), keeps_tags=True):
            if isinstance(document, dict):
                yield document
    except (OSError, ProjectError, UnicodeDecodeError):
        return


def unwrapped(value: object) -> object:
    """Return what stands behind a tag: nothing behind `!reset`."""
    if isinstance(value, TaggedValue):
        return None if value.tag == "!reset" else value.value
    return value
