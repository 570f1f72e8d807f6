"""The xllamacpp of this environment as a wheel, for tests without a network."""

from __future__ import annotations

import zipfile
from importlib import metadata
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Path:
    """The installed xllamacpp, packed as it was before: a wheel is a zip of its files, named by its tags."""
    package = metadata.distribution("xllamacpp")
    version = package.version
    (tag, *_) = [line.partition(": ")[2] for line in (package.read_text("WHEEL") or "").splitlines() if "Tag:" in line]
    path = tmp_path_factory.mktemp("wheels") / f"xllamacpp-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in package.files or []:
            if "__pycache__" not in str(file):
                archive.write(file.locate(), str(file))
    return path
