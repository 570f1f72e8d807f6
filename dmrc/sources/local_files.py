"""GGUF files on this machine: a split model's other files, and what their headers say."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from dmrc.errors import InputError
from dmrc.gguf import GgufFacts

# Source: llama_split_path in https://github.com/ggml-org/llama.cpp/blob/master/src/llama.cpp
SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.ASCII)
"""Name of one file of a split model."""


def read_model(gguf: Path) -> tuple[list[Path], GgufFacts]:
    """Return all files of a model, and the facts about all of it."""
    shards = _shards(gguf)
    facts = [read_facts(path) for path in shards]
    if facts[0].split_count != len(shards):
        raise InputError(
            f"'{gguf}' is one of {facts[0].split_count} files of a split model, but is not named as such",
            remedy=f"Name the files {gguf.stem}-00001-of-{facts[0].split_count:05d}.gguf and so on",
        )
    return shards, facts[0].with_shards(facts[1:])


def _shards(gguf: Path) -> list[Path]:
    """Return all files of the model whose first file is `gguf`."""
    match = SHARD.fullmatch(gguf.name)
    if match is None:
        return [gguf]
    count = int(match["count"])
    paths = [gguf.with_name(f"{match['stem']}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)]
    if int(match["number"]) != 1:
        raise InputError(f"'{gguf}' is not the first file of a split model", remedy=f"Name '{paths[0]}'")
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise InputError(f"'{gguf}' is one of {count} files, and '{missing}' is not there")
    return paths


def read_facts(path: Path) -> GgufFacts:
    """Return what the header of one file says."""
    with reading(path), path.open("rb") as stream:
        return GgufFacts.parse(stream, name=str(path))


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an OSError into an InputError that names the file."""
    try:
        yield
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror or error}") from error
