"""Paths of a model's files, which come from outside: plain relative ones, and no two for one place."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PART = re.compile(r"[^/\\\x00-\x1f\x7f]{1,255}")
_LONGEST_PATH = 1024


def is_plain_path(text: object) -> bool:
    """Return whether this is a relative path that leads down only: `model.safetensors`, `1_Pooling/config.json`."""
    parts = text.split("/") if isinstance(text, str) and len(text) <= _LONGEST_PATH else []
    return bool(parts) and all(_PART.fullmatch(part) and part not in (".", "..") for part in parts)


def names_of_weights(count: int) -> list[str]:
    """Return what files of weights are called that an artifact gives no names.

    Source: `unpackSafetensorsLegacy` in
    https://github.com/docker/model-runner/blob/main/pkg/distribution/internal/bundle/unpack.go
    """
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def conflict(paths: Iterable[str]) -> str | None:
    """Return the first path that cannot be beside the others: it is there twice, or a file and a directory."""
    seen: set[str] = set()
    directories: set[str] = set()
    for path in paths:
        above = {path[:index] for index, sign in enumerate(path) if sign == "/"}
        if path in seen or path in directories or above & seen:
            return path
        seen.add(path)
        directories |= above
    return None
