"""Which files of a repository on Hugging Face make a model in the format safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from dmrc.artifact import conflict, is_plain_path
from dmrc.errors import ArtifactError

INDEX = "model.safetensors.index.json"
"""Tells which file has which weights, where a model has several. Its name and the one below are of transformers."""

LARGEST_INDEX_BYTES = 64 << 20
"""A longer one is refused."""

_ONE_FILE = "model.safetensors"
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".ot", ".tflite")
_BESIDE = (".json", ".txt", ".model", ".jinja", ".tiktoken")
_MOST_FILES = 500


def needs_index(names: Iterable[str]) -> bool:
    """Return whether the index says which files hold the weights."""
    return INDEX in names and _ONE_FILE not in names


def files_of_model(names: Sequence[str], index: bytes | None, repository: str) -> list[str]:
    """Return the paths to download: the weights, by what the index holds if it is needed, and the small files beside.

    Weights in other formats, a second copy of these in another form, and what belongs to such are left out.

    Raises:
        ArtifactError: A file that the index names is not there, there are too many, or a path is not to be trusted.
    """
    weights = sorted(name for name in names if name.endswith(".safetensors"))
    at_top = [name for name in weights if "/" not in name]
    if index is not None:
        weights = _indexed(index, names, repository)
    elif at_top:
        weights = [_ONE_FILE] if _ONE_FILE in at_top else at_top
    of_weights = {_directory(name) for name in names if name.lower().endswith(_WEIGHTS)}
    of_others = of_weights - {"", *map(_directory, weights)}
    beside = [
        name
        for name in sorted(names)
        if name.lower().endswith(_BESIDE)
        and not any(part.startswith(".") for part in name.split("/"))
        and (name == INDEX if name.endswith(".index.json") else _directory(name) not in of_others)
        and (name != INDEX or index is not None)
    ]
    chosen = [*weights, *beside]
    doubtful = next((name for name in chosen if not is_plain_path(name)), None) or conflict(chosen)
    if doubtful is not None:
        raise ArtifactError(f"repository '{repository}' has a file that is not to be trusted: {doubtful[:100]!r}")
    if len(chosen) > _MOST_FILES:
        raise ArtifactError(
            f"repository '{repository}' has {len(chosen)} files of a model, and at most {_MOST_FILES} are accepted"
        )
    return chosen


def _directory(name: str) -> str:
    return name.rpartition("/")[0]


def _indexed(index: bytes, names: Sequence[str], repository: str) -> list[str]:
    """Return the files of weights that an index names."""
    try:
        if len(index) > LARGEST_INDEX_BYTES:
            raise ValueError(len(index))
        found = sorted(set(json.loads(index)["weight_map"].values()))
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"repository '{repository}' has an index of its weights that is none: '{INDEX}'") from error
    missing = next((name for name in found if name not in names or not name.endswith(".safetensors")), None)
    if missing is not None or not found:
        raise ArtifactError(f"repository '{repository}' has no safetensors '{str(missing)[:100]}' for its model")
    return found
