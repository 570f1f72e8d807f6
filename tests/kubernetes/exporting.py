"""Runs `dmrc export kubernetes`, and reads what it wrote."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.dmrc_command import Dmrc


@dataclass
class Exporter:
    """A project directory with a model in the store."""

    dmrc: Dmrc
    directory: Path
    digest: str
    """ID of the model in the store."""

    def export(self, compose: str, *arguments: str | Path) -> Exported:
        """Write the compose file and export it to `kubernetes/`."""
        (self.directory / "compose.yaml").write_text(compose)
        done = self.dmrc.run("export", "kubernetes", *arguments, cwd=self.directory)
        assert done.returncode == 0, done.stderr
        return Exported(self.directory / "kubernetes", done.stderr)

    def refused(self, compose: str, *arguments: str | Path) -> str:
        """Return what is said of a project that cannot be exported."""
        (self.directory / "compose.yaml").write_text(compose)
        done = self.dmrc.run("export", "kubernetes", *arguments, cwd=self.directory)
        assert done.returncode != 0
        return done.stderr


@dataclass
class Exported:
    """What an export wrote."""

    directory: Path
    said: str
    """What it printed to stderr."""

    def documents(self, folder: str = "base") -> list[dict[str, Any]]:
        """Return the resources of all files of a directory, the kustomization left out."""
        return [
            document
            for path in sorted((self.directory / folder).rglob("*.yaml"))
            if path.name != "kustomization.yaml"
            for document in yaml.safe_load_all(path.read_text())
        ]

    def one(self, kind: str, name: str) -> dict[str, Any]:
        """Return one resource of base."""
        (found,) = (each for each in self.documents() if (each["kind"], each["metadata"]["name"]) == (kind, name))
        return found

    def pod(self, name: str) -> dict[str, Any]:
        """Return the spec of a Deployment's Pods."""
        spec: dict[str, Any] = self.one("Deployment", name)["spec"]["template"]["spec"]
        return spec

    def secret(self, name: str) -> dict[str, str]:
        """Return what a Secret holds."""
        data = self.one("Secret", name)["data"]
        return {key: base64.b64decode(text).decode() for key, text in data.items()}

    def content(self) -> dict[str, bytes]:
        """Return all files with their bytes."""
        files = (path for path in self.directory.rglob("*") if path.is_file())
        return {path.relative_to(self.directory).as_posix(): path.read_bytes() for path in files}


def options(arguments: list[str]) -> dict[str, str]:
    """Return arguments as options with their values; a switch has an empty one."""
    found = {}
    for word, after in zip(arguments, [*arguments[1:], "--"], strict=True):
        if word.startswith("--"):
            found[word] = "" if after.startswith("--") else after
    return found
