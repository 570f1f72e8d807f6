"""The files of a model under plain names in one directory: in a runnable image, and for a server that is not dmrc's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dmrc.errors import InputError
from dmrc.files import sync_directory, temporary_name
from dmrc.store import Store, StoredModel
from dmrc.store.files import storage_errors


@dataclass(frozen=True, slots=True)
class LooseFiles:
    """The files of one model."""

    main: str
    """Name of the file that a server is told; "" stands for the directory with all of them."""
    files: Mapping[str, Path]
    """Where each one lies, by its relative path in the directory."""


def loose_files(store: Store, model: StoredModel) -> LooseFiles:
    """Return the files of a model: `model.gguf`, `mmproj.gguf`, `lora-0.gguf` and `template.jinja`.

    A split GGUF has the names by which llama.cpp finds its parts, and a model in another format its own names.

    Raises:
        BlobMissingError: A file is missing.
        ArtifactError: The model is in a format that is not known.
    """
    found = store.files(model)
    if found.path.is_dir():
        inside = sorted(path for path in found.path.rglob("*") if path.is_file())
        return LooseFiles("", {path.relative_to(found.path).as_posix(): path for path in inside})
    count = len(model.manifest.gguf_layers)
    parts = sorted(found.path.parent.iterdir()) if count > 1 else []
    files = {path.name: path for path in parts} or {"model.gguf": found.path}
    main = next(iter(files))
    if found.mmproj is not None:
        files["mmproj.gguf"] = found.mmproj
    files |= {f"lora-{number}.gguf": path for number, path in enumerate(found.loras)}
    if found.chat_template is not None:
        files["template.jinja"] = found.chat_template
    return LooseFiles(main, files)


def link_files(store: Store, model: StoredModel, directory: Path) -> LooseFiles:
    """Make a directory with a model's files: links into the store, or copies where it is on another disk.

    One that has them already stays as it is.

    Raises:
        InputError: It is there, and holds something else.
        StoreError: It cannot be written.
    """
    loose = loose_files(store, model)
    with storage_errors(directory):
        if all(_is_same(directory / name, path) for name, path in loose.files.items()):
            return loose
        if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
            raise InputError(f"'{directory}' is there, and holds something else", remedy="Name another directory")
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(directory)
        temporary.mkdir()
        try:
            for name, path in loose.files.items():
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                _link(path, temporary / name)
            temporary.rename(directory)
            sync_directory(directory.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return loose


def _is_same(there: Path, path: Path) -> bool:
    try:
        return there.samefile(path)
    except OSError:
        return False


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:  # another disk, or a filesystem without links
        shutil.copyfile(path, target)
