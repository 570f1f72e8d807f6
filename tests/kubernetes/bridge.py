"""Compose Bridge: the real `docker compose bridge convert` with a transformation's image."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.docker_engine import DockerEngine


def convert(engine: DockerEngine, project: Path, image: str, output: Path) -> str:
    """Let an image transform a project, and return what was printed; the image must be the engine's."""
    done = subprocess.run(
        ["docker", "compose", "bridge", "convert", "--transformation", image, "--output", str(output)],
        cwd=project,
        env={**os.environ, **engine.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def image_of_directory(engine: DockerEngine, root: Path, image: str, *changes: str) -> str:
    """Make an image of a directory."""
    archive = root.with_suffix(".tar")
    subprocess.run(["tar", "-C", root, "--mode=a+rX", "-cf", archive, "."], check=True)
    engine.docker("import", *(word for change in changes for word in ("--change", change)), str(archive), image)
    archive.unlink()
    return image
