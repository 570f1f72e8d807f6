"""Names for the files of a split model: llama.cpp finds the other files by the first one's name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from dmrc.store.files import sync_directory, temporary_name


def split_files(bundles: Path, digest: str, shards: Sequence[Path]) -> list[Path]:
    """Return hard links to the shards, named `model-00001-of-00003.gguf`, in a directory of their own.

    Source: llama_split_path in https://github.com/ggml-org/llama.cpp/blob/master/src/llama.cpp
    """
    directory = bundles / digest.removeprefix("sha256:")
    names = [f"model-{number:05d}-of-{len(shards):05d}.gguf" for number in range(1, len(shards) + 1)]
    links = [directory / name for name in names]
    if all(map(_is_link, links, shards)):
        return links
    bundles.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = temporary_name(directory)
    temporary.mkdir(mode=0o700)
    try:
        for name, shard in zip(names, shards, strict=True):
            os.link(shard, temporary / name)
        shutil.rmtree(directory, ignore_errors=True)
        temporary.rename(directory)
        sync_directory(bundles)
    except OSError:
        # Another process may have made the same links at the same time.
        if not all(map(_is_link, links, shards)):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return links


def _is_link(link: Path, shard: Path) -> bool:
    try:
        return link.samefile(shard)
    except OSError:
        return False
