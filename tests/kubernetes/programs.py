"""Where the programs of a real Kubernetes are on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.cache import cache_directory

_VERSIONS = Path(__file__).parents[2] / ".ci" / "kubernetes-versions.txt"


def kubernetes_programs() -> Path | None:
    """Return the directory that `DMRC_TEST_KUBERNETES` names, or the one that `.ci/build-kubernetes` made."""
    if named := os.environ.get("DMRC_TEST_KUBERNETES"):
        return Path(named).resolve(strict=True)
    kubernetes = next(line for line in _VERSIONS.read_text().splitlines() if not line.startswith("#"))
    made = cache_directory() / f"kubernetes-{kubernetes}"
    return made if made.exists() else None


def kubectl_program() -> str | None:
    """Return the kubectl of these, or the one on PATH."""
    programs = kubernetes_programs()
    return str(programs / "kubectl") if programs else shutil.which("kubectl")
