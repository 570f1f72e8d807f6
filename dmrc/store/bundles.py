"""Names for the files of a model that has several: hard links in a directory of its own, no second copy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from dmrc.files import sync_directory, temporary_name
from dmrc.store.archived_files import ArchivedFile


def split_files(bundles: Path, digest: str, shards: Sequence[Path]) -> list[Path]:
    """Return hard links to the shards of a GGUF, `model-00001-of-00003.gguf`: llama.cpp finds them by the first one.

    Source: llama_split_path in https://github.com/ggml-org/llama.cpp/blob/master/src/llama.cpp
    """
    names = [f"model-{number:05d}-of-{len(shards):05d}.gguf" for number in range(1, len(shards) + 1)]
    directory = linked(bundles, digest, dict(zip(names, shards, strict=True)))
    return [directory / name for name in names]


def linked(bundles: Path, digest: str, files: Mapping[str, Path], archived: Sequence[ArchivedFile] = ()) -> Path:
    """Return a directory with hard links to files, by their relative paths, and copies of those in archives."""
    directory = bundles / digest.removeprefix("sha256:")
    if _has_all(directory, files, archived):
        return directory
    bundles.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = temporary_name(directory)
    temporary.mkdir(mode=0o700)
    try:
        for name, path in files.items():
            (temporary / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.link(path, temporary / name)
        for each in archived:
            (temporary / each.path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            each.copy(temporary / each.path)
        shutil.rmtree(directory, ignore_errors=True)
        temporary.rename(directory)
        sync_directory(bundles)
    except OSError:
        # Another process may have made the same links at the same time.
        if not _has_all(directory, files, archived):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory


def _has_all(directory: Path, files: Mapping[str, Path], archived: Sequence[ArchivedFile]) -> bool:
    return all(_is_link(directory / name, path) for name, path in files.items()) and all(
        _has_size(directory / each.path, each.size_bytes) for each in archived
    )


def _has_size(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except OSError:
        return False


def _is_link(link: Path, shard: Path) -> bool:
    try:
        return link.samefile(shard)
    except OSError:
        return False
