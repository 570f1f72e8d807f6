"""Overlays for other operators: valid for their definitions, and with all that the base says of an engine."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.kubernetes.exporting import Exported, Exporter, options
from tests.kubernetes.schemas import KubernetesSchemas

_COMPOSE = """
services: {web: {image: example/web, models: [llm]}}
models:
  llm:
    model: registry.example/me/tiny:v1
    context_size: 128
    runtime_flags: ["--temp", "0.2"]
    x-dmrc: {parallel: 3, gpu: required}
"""
_IMAGES = ("--weights", "image", "--models-in", "registry.example/models")


def _one(exported: Exported, overlay: str, kind: str) -> dict[str, Any]:
    (found,) = (each for each in exported.documents(f"overlays/{overlay}") if each["kind"] == kind)
    return found


def _patched(exported: Exported, overlay: str) -> list[dict[str, Any]]:
    kustomization = yaml.safe_load((exported.directory / f"overlays/{overlay}/kustomization.yaml").read_text())
    assert kustomization["resources"] == ["../../base", f"{overlay}.yaml"]
    return [yaml.safe_load(each["patch"]) for each in kustomization.get("patches", [])]


@pytest.mark.parametrize("overlay", ["inference-pool", "kserve", "ray"])
def test_an_overlay_is_valid(exporter: Exporter, kubernetes_schemas: KubernetesSchemas, overlay: str) -> None:
    exported = exporter.export(_COMPOSE, "--overlay", overlay, *_IMAGES)

    assert kubernetes_schemas.faults(exported.documents(f"overlays/{overlay}"), ("1.36",)) == []


def test_a_pool_has_the_pods_of_the_engine(exporter: Exporter) -> None:
    exported = exporter.export(_COMPOSE, "--overlay", "inference-pool")

    spec = _one(exported, "inference-pool", "InferencePool")["spec"]
    labels = exported.one("Deployment", "dmrc-model-llm")["spec"]["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    port = exported.pod("dmrc-model-llm")["containers"][0]["ports"][0]["containerPort"]
    assert spec["targetPorts"] == [{"number": port}]


def test_kserve_gets_the_image_the_arguments_the_key_and_the_memory(exporter: Exporter) -> None:
    exported = exporter.export(_COMPOSE, "--overlay", "kserve", *_IMAGES)

    spec = _one(exported, "kserve", "LLMInferenceService")["spec"]
    base = exported.pod("dmrc-model-llm")
    (image,) = (each["image"]["reference"] for each in base["volumes"] if "image" in each)
    assert spec["storageInitializer"] == {"enabled": False}  # the Pod mounts the model itself
    assert spec["template"]["volumes"] == base["volumes"]
    assert spec["model"] == {"uri": f"oci://{image}", "name": "registry.example/me/tiny:v1"}
    (container,) = spec["template"]["containers"]
    said = options(container["args"])
    assert (said["--ctx-size"], said["--parallel"], said["--temp"]) == ("384", "3", "0.2")
    assert said["--model"] == "/model/model.gguf"
    assert said["--port"] == str(container["ports"][0]["containerPort"])
    assert container["resources"] == base["containers"][0]["resources"]
    assert container["env"] == base["containers"][0]["env"]
    removed, service = _patched(exported, "kserve")
    assert (removed["kind"], removed["metadata"]["name"], removed["$patch"]) == (
        "Deployment",
        "dmrc-model-llm",
        "delete",
    )
    assert service[0]["value"] == container["ports"][0]["containerPort"]
    kserves = {"app.kubernetes.io/name": "dmrc-model-llm", "kserve.io/component": "workload"}
    assert service[1]["value"] == kserves
    policy = _one(exported, "kserve", "NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"] == kserves
    (caller,) = policy["ingress"][0]["from"]
    gateway = exported.one("Deployment", "dmrc-gateway")["spec"]["template"]["metadata"]["labels"]
    assert caller["podSelector"]["matchLabels"].items() <= gateway.items()


def test_kserve_pulls_as_the_base_does(exporter: Exporter) -> None:
    exported = exporter.export(_COMPOSE, "--overlay", "kserve")

    spec = _one(exported, "kserve", "LLMInferenceService")["spec"]
    assert spec["model"]["uri"] == f"oci://registry.example/me/tiny@{exporter.digest}"
    assert spec["template"]["initContainers"] == exported.pod("dmrc-model-llm")["initContainers"]


def test_ray_serves_with_the_arguments_of_the_engine(exporter: Exporter) -> None:
    exported = exporter.export(_COMPOSE, "--overlay", "ray", "--replicas", "llm=1-3", "--autoscale")

    spec = _one(exported, "ray", "RayService")["spec"]
    (application,) = yaml.safe_load(spec["serveConfigV2"])["applications"]
    said = options(application["args"]["arguments"])
    assert (said["--ctx-size"], said["--parallel"], said["--temp"]) == ("384", "3", "0.2")
    (deployment,) = application["deployments"]
    assert deployment["max_ongoing_requests"] == 3
    assert deployment["autoscaling_config"]["max_replicas"] == 3
    assert deployment["ray_actor_options"]["num_gpus"] == 1
    (group,) = spec["rayClusterConfig"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["maxReplicas"]) == (1, 3)
    worker, base = group["template"]["spec"], exported.pod("dmrc-model-llm")
    assert worker["initContainers"] == base["initContainers"]
    assert worker["containers"][0]["resources"] == base["containers"][0]["resources"]
    assert worker["containers"][0]["env"] == base["containers"][0]["env"]
    kinds = [each["kind"] for each in _patched(exported, "ray") if isinstance(each, dict)]
    assert kinds == ["Deployment", "HorizontalPodAutoscaler"]
