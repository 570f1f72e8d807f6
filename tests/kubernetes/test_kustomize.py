"""What kubectl makes of the directories: base, overlays, and the component beside Deployments of somebody else."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.exporting import Exporter
from tests.kubernetes.programs import kubectl_program
from tests.kubernetes.schemas import KubernetesSchemas

_SHOP = """
services:
  web: {image: example/web:1, models: [llm]}
  built: {build: ., models: {llm: {endpoint_var: URL, model_var: NAME}}}
models:
  llm: {model: "registry.example/me/tiny:v1", context_size: 128}
"""
_OVERLAYS = ("inference-pool", "kserve", "ray")

# As Compose Bridge writes it.
_BUILT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "built"},
    "spec": {
        "selector": {"matchLabels": {"com.docker.compose.service": "built"}},
        "template": {
            "metadata": {"labels": {"com.docker.compose.service": "built"}},
            "spec": {"containers": [{"name": "built", "image": "shop-built"}]},
        },
    },
}


def _rendered(directory: Path) -> list[dict[str, Any]]:
    done = subprocess.run([kubectl_program() or "", "kustomize", directory], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.usefixtures("needs_kubectl")
def test_base_and_overlays_are_rendered_and_still_valid(
    exporter: Exporter, kubernetes_schemas: KubernetesSchemas
) -> None:
    ways = [word for overlay in _OVERLAYS for word in ("--overlay", overlay)]
    exported = exporter.export(_SHOP, *ways, "--replicas", "llm=2-3", "--autoscale")

    base = _rendered(exported.directory / "base")
    of_overlays = {overlay: _rendered(exported.directory / "overlays" / overlay) for overlay in _OVERLAYS}

    assert len(base) == len(exported.documents())
    assert kubernetes_schemas.faults([*base, *(each for found in of_overlays.values() for each in found)]) == []
    for overlay, documents in of_overlays.items():
        kinds = {each["kind"] for each in documents if each["metadata"]["name"] == "dmrc-model-llm"}
        assert ("Deployment" in kinds) == ("HorizontalPodAutoscaler" in kinds) == (overlay == "inference-pool")


@pytest.mark.usefixtures("needs_kubectl")
def test_a_deployment_of_somebody_else_gets_its_variables_and_may_call(
    exporter: Exporter, kubernetes_schemas: KubernetesSchemas, tmp_path: Path
) -> None:
    exporter.export(_SHOP)
    (exporter.directory / "built.yaml").write_text(yaml.safe_dump(_BUILT))
    resources = {"resources": ["kubernetes/base", "built.yaml"], "components": ["kubernetes/components/services"]}
    (exporter.directory / "kustomization.yaml").write_text(yaml.safe_dump(resources))

    documents = _rendered(exporter.directory)

    (found,) = (each for each in documents if each["kind"] == "Deployment" and each["metadata"]["name"] == "built")
    pod = found["spec"]["template"]
    (admitted,) = (
        each for each in documents if each["kind"] == "NetworkPolicy" and "gateway" in each["metadata"]["name"]
    )
    (caller,) = admitted["spec"]["ingress"][0]["from"]
    assert caller["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "built-variables"}}]
    assert kubernetes_schemas.faults(documents) == []


def test_a_server_in_a_container_of_the_projects_own_is_refused_where_an_overlay_is_not_for_it(
    exporter: Exporter,
) -> None:
    compose = """
services: {web: {image: a, models: [llm]}}
models:
  llm:
    model: registry.example/me/tiny:v1
    x-dmrc: {engine: container, image: example/server, command: ["serve", "{model}", "--listen=0.0.0.0:{port}"]}
"""
    for overlay in ("kserve", "ray"):
        said = exporter.refused(compose, "--overlay", overlay)
        assert said.startswith(f"dmrc: --overlay {overlay} ")
        assert said.count("\n") == 1
