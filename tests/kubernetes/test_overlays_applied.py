"""A real API server takes the overlays, with the definitions of their kinds; no operator is there, and no Pod runs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.exporting import Exporter
from tests.polling import eventually

_DEFINITIONS = Path(__file__).parent / "crds"

_SHOP = """
services:
  web: {image: example/web:1, models: [llm, other]}
models:
  llm:
    model: registry.example/me/tiny:v1
    context_size: 128
    runtime_flags: ["--seed", "8080", "--grammar", "1e3"]
    x-dmrc: {parallel: 3}
  other:
    model: registry.example/me/tiny:v1
    context_size: 256
"""


@pytest.fixture(scope="module")
def operators(cluster: Cluster) -> None:
    """The kinds of other operators."""
    definitions = [json.loads(gzip.decompress(file.read_bytes())) for file in _DEFINITIONS.glob("*.json.gz")]
    # What `apply` would keep beside it is larger than an annotation may be.
    for each in definitions:
        cluster.kubectl("create", "-f", "-", input=json.dumps(each))
    eventually(lambda: all(map(_is_served, cluster.get("crds"))), "served kinds")


def _is_served(definition: dict) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


@pytest.mark.parametrize(
    ("overlay", "kind", "resource"),
    [
        ("ray", "RayService", "rayservices.ray.io"),
        ("kserve", "LLMInferenceService", "llminferenceservices.serving.kserve.io"),
        ("inference-pool", "InferencePool", "inferencepools.inference.networking.k8s.io"),
    ],
)
def test_an_overlay_is_accepted_in_the_place_of_what_it_replaces(
    cluster: Cluster, operators: None, exporter: Exporter, overlay: str, kind: str, resource: str
) -> None:
    ways = ("--weights", "image", "--models-in", "registry.example/models", "--replicas", "llm=2-4", "--autoscale")
    exported = exporter.export(_SHOP, "--overlay", overlay, *ways)

    with cluster.namespace(f"overlay-{overlay}") as namespace:
        namespace.kubectl("apply", "--validate=strict", "-k", exported.directory / "overlays" / overlay)
        created = {each["metadata"]["name"]: each for each in namespace.get(resource)}
        deployments = {each["metadata"]["name"] for each in namespace.get("deployments")}
        namespace.kubectl("apply", "--validate=strict", "-k", exported.directory / "overlays" / overlay)
        after = {each["metadata"]["name"]: each for each in namespace.get(resource)}

    # kubectl says "configured" where a definition has defaults inside of a list; nothing is another after it.
    assert after == created
    assert created.keys() == {"dmrc-model-llm", "dmrc-model-other"}
    assert all(each["kind"] == kind for each in created.values())
    replaced = set() if overlay == "inference-pool" else created.keys()
    assert deployments == {"dmrc-gateway", "web", "dmrc-model-llm", "dmrc-model-other"} - replaced


@pytest.mark.parametrize("overlay", ["kserve", "ray"])
def test_an_overlay_changes_no_flag_of_the_project(exporter: Exporter, overlay: str) -> None:
    ways = ("--weights", "image", "--models-in", "registry.example/models")
    exported = exporter.export(_SHOP, "--overlay", overlay, *ways)

    kind = {"kserve": "LLMInferenceService", "ray": "RayService"}[overlay]
    (found,) = (
        each
        for each in exported.documents(f"overlays/{overlay}")
        if (each["kind"], each["metadata"]["name"]) == (kind, "dmrc-model-llm")
    )
    if overlay == "ray":
        words = yaml.safe_load(found["spec"]["serveConfigV2"])["applications"][0]["args"]["arguments"]
    else:
        words = found["spec"]["template"]["containers"][0]["args"]
    assert words[words.index("--seed") + 1] == "8080"
    assert words[words.index("--grammar") + 1] == "1e3"
    assert '- "1e3"' in (exported.directory / f"overlays/{overlay}/{overlay}.yaml").read_text()  # no number for Go
