"""The exported folder: each file with its name and its bytes, and how they come to the disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmrc.compose.yaml_writing import yaml_text
from dmrc.errors import InputError, ProjectError
from dmrc.fields import JsonObject, JsonValue
from dmrc.files import replace_file

SECRETS = "base/secrets"
"""Directory of the files that hold keys."""

KEYS = f"{SECRETS}/keys.json"
"""File with the keys alone, by what they are for. The next export reads it; the cluster does not."""

_MARK = "# Written by dmrc export kubernetes"


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file of the folder."""

    name: str
    """Path below the folder."""
    content: str
    """What it holds."""

    @property
    def is_secret(self) -> bool:
        """Return whether it holds keys, and is for its owner alone."""
        return self.name.startswith(f"{SECRETS}/")


def yaml_file(name: str, documents: Iterable[JsonObject], comments: Sequence[str] = ()) -> ManifestFile:
    """Return a file of YAML: the same documents are always the same bytes."""
    head = "".join(f"{line}\n" for line in (f"{_MARK}.", *(f"# {_one_line(each)}" for each in comments)))
    return ManifestFile(name, head + "---\n".join(map(yaml_text, documents)))


def _one_line(comment: str) -> str:
    """Return a comment that ends where its line does: what it says of a project has any characters."""
    return "".join(each if each.isprintable() else "?" for each in comment)


def kustomization(
    resources: Sequence[str], comments: Sequence[str] = (), name: str = "base", **more: JsonValue
) -> ManifestFile:
    """Return the file by which `kubectl apply -k` knows a directory."""
    listed: JsonValue = [*resources]
    document: JsonObject = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return yaml_file(f"{name}/kustomization.yaml", [{**document, "resources": listed, **more}], comments)


def write(directory: Path, files: Sequence[ManifestFile]) -> None:
    """Write the files, those with keys for their owner alone, and remove what an earlier export wrote and this did not.

    Raises:
        InputError: The directory holds something that dmrc did not write, or cannot be written.
    """
    try:
        before = _written_before(directory)
        for each in files:
            path = directory / each.name
            path.parent.mkdir(parents=True, exist_ok=True)
            if each.is_secret:
                path.parent.chmod(0o700)
            replace_file(path, each.content.encode(), 0o600 if each.is_secret else 0o644)
        for path in before - {directory / each.name for each in files}:
            path.unlink()
    except OSError as error:
        raise InputError(
            f"'{error.filename or directory}' cannot be written: {error.strerror}", remedy="Name another: -o DIR"
        ) from error


def _written_before(directory: Path) -> set[Path]:
    """Return the files of an earlier export.

    Raises:
        InputError: There are files, and none of them is dmrc's.
    """
    if not directory.exists():
        return set()
    if not directory.is_dir():
        raise InputError(f"'{directory}' is a file", remedy="Name a directory: -o DIR")
    present = [path for path in directory.rglob("*") if path.is_file()]
    ours = {path for path in present if path.suffix == ".yaml" and _is_ours(path)}
    if present and not ours:
        raise InputError(
            f"'{directory}' holds files, and none that dmrc export has written", remedy="Name another: -o DIR"
        )
    return ours


def _is_ours(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_MARK)) == _MARK.encode()


def keys_in(directory: Path) -> dict[str, str]:
    """Return the keys of an earlier export into this directory, by what they are for: they stay.

    Raises:
        ProjectError: The file cannot be read.
    """
    path = directory / KEYS
    try:
        return {str(name): str(key) for name, key in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise ProjectError(
            f"'{path}' is not a file with keys that dmrc can read", remedy="Remove it to get new keys"
        ) from error
