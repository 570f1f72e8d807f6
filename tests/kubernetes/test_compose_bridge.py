"""What Docker's own transformation of Compose Bridge makes of `models:`, row by row of the table in docs/kubernetes.md.

The group wants a checkout of docker/compose-bridge-transformer with its program, in the directory that
`DMRC_TEST_COMPOSE_BRIDGE` names: `CGO_ENABLED=0 go build -o transform .`.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.docker_engine import DockerEngine
from tests.kubernetes.bridge import convert, image_of_directory
from tests.kubernetes.exporting import Exported, Exporter

TWO_MODELS = """
services:
  web: {image: "busybox:local", models: [small]}
  api: {image: "busybox:local", models: {large: {endpoint_var: URL, model_var: NAME}}}
models:
  small:
    model: registry.example/me/tiny:v1
    context_size: 128
    runtime_flags: ["--temp", "0.25"]
  large:
    model: registry.example/me/tiny:v1
    context_size: 512
    x-dmrc: {parallel: 16}
"""
_DOCS = Path(__file__).parents[2] / "docs/kubernetes.md"


@pytest.fixture
def bridge(docker_engine: DockerEngine, busybox: str, needs_compose_bridge: None, tmp_path: Path) -> str:
    """The image of Docker's transformation."""
    root, checkout = tmp_path / "image", Path(os.environ["DMRC_TEST_COMPOSE_BRIDGE"])
    root.mkdir()
    shutil.copy(checkout / "transform", root)
    shutil.copytree(checkout / "templates", root / "templates")
    image = "docker/compose-bridge-kubernetes:local"
    return image_of_directory(docker_engine, root, image, 'CMD ["/transform"]')


def test_what_compose_bridge_loses_is_in_an_export(
    docker_engine: DockerEngine, bridge: str, exporter: Exporter, tmp_path: Path
) -> None:
    exported = exporter.export(TWO_MODELS)
    convert(docker_engine, exporter.directory, bridge, tmp_path / "out")

    texts = [path.read_text() for path in (tmp_path / "out").rglob("*.yaml")]
    theirs = [each for text in texts for each in yaml.safe_load_all(text)]
    whole = "\n".join(texts)
    assert _RUNNER in [each["metadata"]["name"] for each in theirs if each["kind"] == "Deployment"]
    for row in _rows():
        lost, kept = _CHECKS[row]
        assert lost(theirs, whole), f"Compose Bridge: {row}"
        assert kept(exported), f"dmrc export: {row}"
    assert set(_rows()) == set(_CHECKS)


_RUNNER = "docker-model-runner"


def _rows() -> list[str]:
    """Return the first cells of the table in the docs."""
    section = _DOCS.read_text().partition("## Compose Bridge")[2]
    return [found[1] for found in re.finditer(r"^\| ([^|]+?) \| .+\|$", section, re.M)][
        1:
    ]  # below the line under the head


def _runner(documents: list[dict]) -> dict:
    (found,) = (each for each in documents if each["kind"] == "Deployment" and each["metadata"]["name"] == _RUNNER)
    return found["spec"]["template"]["spec"]


def _container(documents: list[dict]) -> dict:
    return _runner(documents)["containers"][0]


def _engine(exported: Exported, key: str = "small") -> dict:
    return exported.pod(f"dmrc-model-{key}")["containers"][0]


_CHECKS = {
    "A Deployment for each model and configuration": (
        lambda theirs, _: (
            len([each for each in theirs if "docker.model.runner" in str(each) and each["kind"] == "Deployment"]) == 1
        ),
        lambda ours: _engine(ours, "small") != _engine(ours, "large"),
    ),
    "`context_size`": (
        lambda _, whole: "128" not in whole and "512" not in whole,
        lambda ours: "--ctx-size" in _engine(ours)["args"],
    ),
    "`runtime_flags`": (lambda _, whole: "0.25" not in whole, lambda ours: "0.25" in _engine(ours)["args"]),
    "The model by its digest": (
        lambda _, whole: "sha256" not in whole,
        lambda ours: "@sha256:" in ours.pod("dmrc-model-small")["initContainers"][0]["args"][-1],
    ),
    "A key for each service": (
        lambda theirs, whole: "KEY" not in whole and not [each for each in theirs if each["kind"] == "Secret"],
        lambda ours: ours.secret("web-variables")["OPENAI_API_KEY"] not in ours.secret("api-variables").values(),
    ),
    "Ready when the model is loaded": (
        lambda theirs, _: _container(theirs)["readinessProbe"]["httpGet"]["path"] == "/engines/status",
        lambda ours: _engine(ours)["readinessProbe"]["httpGet"]["path"] == "/health",
    ),
    "Memory and processors by an estimate": (
        lambda theirs, _: _container(theirs)["resources"]["limits"] == {"cpu": "1000m", "memory": "2Gi"},
        lambda ours: _engine(ours, "small")["resources"]["requests"] != _engine(ours, "large")["resources"]["requests"],
    ),
    "Engines reached by the gateway alone": (
        lambda theirs, _: (
            not [
                each
                for each in theirs
                if each["kind"] == "NetworkPolicy" and "docker.model.runner" in str(each["spec"]["podSelector"])
            ]
        ),
        lambda ours: ours.one("NetworkPolicy", "dmrc-engines"),
    ),
    "Several replicas": (
        lambda theirs, _: "ReadWriteOnce" in str(theirs),
        lambda ours: not [each for each in ours.documents() if "engine" in str(each) and "ReadWriteOnce" in str(each)],
    ),
}
"""By each row of the docs: whether Compose Bridge loses it, and whether an export has it."""
