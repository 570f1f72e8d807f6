"""Overlays of the base for other operators: Ray's RayService, KServe's LLMInferenceService, an InferencePool.

Each is checked against the schema of its definition, and was run by nobody here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmrc.compose.yaml_writing import yaml_text
from dmrc.errors import UnsupportedError
from dmrc.fields import JsonObject, JsonValue
from dmrc.kubernetes import names
from dmrc.kubernetes.arguments import NOWHERE
from dmrc.kubernetes.choices import Choices, OverlayName
from dmrc.kubernetes.engines import is_scaled, pod_of
from dmrc.kubernetes.folder import ManifestFile, kustomization, yaml_file
from dmrc.kubernetes.pods import document, selector
from dmrc.kubernetes.served import ServedModel

_PORT_OF_KSERVE = 8000
_PORT_OF_SERVE = 8000
_PICKER_PORT = 9002


@dataclass(frozen=True, slots=True)
class _Overlay:
    """What one is made of."""

    resources: tuple[JsonObject, ...]
    patches: tuple[JsonObject, ...] = ()
    comments: tuple[str, ...] = ()


def overlay_files(project: str, models: Sequence[ServedModel], choices: Choices) -> list[ManifestFile]:
    """Return the files of the overlays, each in a directory of its own.

    Raises:
        UnsupportedError: One cannot be made of these choices.
    """
    makers: dict[OverlayName, Callable[[str, Sequence[ServedModel], Choices], _Overlay]] = {
        "inference-pool": _inference_pool,
        "kserve": _kserve,
        "ray": _ray,
    }
    files = []
    for name in dict.fromkeys(choices.overlays):
        overlay = makers[name](project, models, choices)
        more: dict[str, JsonValue] = {"patches": [*overlay.patches]} if overlay.patches else {}
        resources = ["../../base", f"{name}.yaml"]
        files.append(kustomization(resources, overlay.comments, f"overlays/{name}", **more))
        files.append(yaml_file(f"overlays/{name}/{name}.yaml", overlay.resources, overlay.comments))
    return files


def _inference_pool(project: str, models: Sequence[ServedModel], choices: Choices) -> _Overlay:
    """Return a pool of the Pods of each model for a Gateway with the inference extension.

    Source: https://gateway-api-inference-extension.sigs.k8s.io/api-types/inferencepool/
    """
    del choices
    pools = []
    for model in models:
        picker: JsonValue = {"name": f"{model.name}-epp", "port": {"number": _PICKER_PORT}}
        labels = names.labels(project, model.name, "engine")
        spec: JsonValue = {
            "selector": selector(labels),
            "targetPorts": [{"number": names.PORT}],
            "endpointPickerRef": picker,
        }
        pools.append(document("InferencePool", model.name, labels, spec=spec))
    comments = (
        "An endpoint picker, NAME-epp, is yours to install, with llama.cpp's metrics: llamacpp:requests_deferred,",
        "llamacpp:requests_processing. So is an HTTPRoute. Requests on that way pass by dmrc's gateway: they need the",
        f"engine's key, and are in no record. Pods with the label {names.CALLS_ENGINES}: 'true' may ask the engines.",
    )
    return _Overlay((*pools, _admitting(project, {names.CALLS_ENGINES: "true"})), (), comments)


def _admitting(project: str, own: dict[str, str], foreign: dict[str, str] | None = None) -> JsonObject:
    """Return who else reaches the engines: Pods of this namespace with labels, and those of any one with others."""
    labels = names.labels(project, "dmrc-engines-overlay", "engine")
    callers: list[JsonValue] = [{"podSelector": selector(own)}]
    if foreign is not None:
        callers.append({"namespaceSelector": {}, "podSelector": selector(foreign)})
    spec: JsonValue = {
        "podSelector": selector(_of_engines(project)),
        "policyTypes": ["Ingress"],
        "ingress": [{"from": callers}],
    }
    return document("NetworkPolicy", "dmrc-engines-overlay", labels, spec=spec)


def _of_engines(project: str) -> dict[str, str]:
    """Return the labels that the Pods of all engines have."""
    labels = names.labels(project, "", "engine")
    return {name: labels[name] for name in ("app.kubernetes.io/part-of", "app.kubernetes.io/component")}


def _kserve(project: str, models: Sequence[ServedModel], choices: Choices) -> _Overlay:
    """Return an LLMInferenceService for each model, in the place of its Deployment; its Service stays, for the gateway.

    KServe puts no model into the Pod, which has its own way to it, as in the base.
    Source: https://kserve.github.io/website/docs/model-serving/generative-inference/llmisvc/llmisvc-overview, and
    `attachModelArtifacts` in https://github.com/kserve/kserve/tree/master/pkg/controller/v1alpha2/llmisvc

    Raises:
        UnsupportedError: A model has a server of the project's own, which listens where it likes.
    """
    if any(model.launch.options.command for model in models):
        raise UnsupportedError(
            "--overlay kserve is for servers that dmrc knows, not for an x-dmrc.command", remedy="Leave it out"
        )
    resources: list[JsonObject] = []
    patches: list[JsonObject] = []
    for model in models:
        labels = names.labels(project, model.name, "engine")
        # Of KServe: it gives its Pods the other labels itself, with values of its own.
        selected: JsonObject = {"app.kubernetes.io/name": model.name, "kserve.io/component": "workload"}
        spec: JsonObject = {
            "model": {"uri": _uri(model), "name": model.launch.name},
            "storageInitializer": {"enabled": False},
            "replicas": max(1, model.replicas.min),
            "template": _kserve_pod(model, choices),
        }
        resources.append(document("LLMInferenceService", model.name, labels, spec=spec))
        resources.append(_gateway_alone(project, model, selected))
        patches += _replaced(model, choices, _PORT_OF_KSERVE, selected)
    comments = (
        "KServe makes the Pods. The Service of the base leads to them, and its policy is here for their labels.",
    )
    return _Overlay(tuple(resources), tuple(patches), comments)


def _uri(model: ServedModel) -> str:
    """Return what KServe calls the model; it fetches nothing of it."""
    package = model.packages[0]
    reference = package.image or package.reference
    if "://" in reference:
        return reference
    host, _, path = reference.partition("/")
    return f"hf://{path}" if host in ("hf.co", "huggingface.co") else f"oci://{reference}"


def _gateway_alone(project: str, model: ServedModel, selected: JsonObject) -> JsonObject:
    """Return the policy by which the Pods of one model that KServe makes hear the gateway alone."""
    gateway = names.labels(project, names.GATEWAY, "gateway")
    spec: JsonValue = {
        "podSelector": {"matchLabels": selected},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": selector(gateway)}]}],
    }
    return document("NetworkPolicy", model.name, names.labels(project, model.name, "engine"), spec=spec)


def _kserve_pod(model: ServedModel, choices: Choices) -> JsonObject:
    """Return the Pod of the base as KServe wants it: its container is `main`, and listens where KServe looks."""
    pod = copy.deepcopy(pod_of(model, choices))
    container = _only(pod["containers"])
    container["name"] = "main"
    words = container["args"]
    if isinstance(words, list):
        at = words.index("--port") + 1
        container["args"] = [*words[:at], str(_PORT_OF_KSERVE), *words[at + 1 :]]
    container["ports"] = [{"name": "http", "containerPort": _PORT_OF_KSERVE}]
    for probe in ("startupProbe", "readinessProbe"):
        each = container[probe]
        if isinstance(each, dict):
            # KServe's own template asks by HTTPS, and what is said here is laid over that.
            container[probe] = {**each, "httpGet": {"path": "/health", "port": _PORT_OF_KSERVE, "scheme": "HTTP"}}
    return pod


def _only(value: JsonValue) -> JsonObject:
    if isinstance(value, list) and isinstance(value[0], dict):
        return value[0]
    raise TypeError("a Pod has a list of containers")


def _ray(project: str, models: Sequence[ServedModel], choices: Choices) -> _Overlay:
    """Return a RayService for each model, in the place of its Deployment; its Service leads to Serve's proxies.

    Source: https://docs.ray.io/en/latest/serve/production-guide/kubernetes.html
    """
    if any(model.engine == "vllm" or model.launch.options.command for model in models):
        raise UnsupportedError("--overlay ray is for models that llama.cpp serves", remedy="Leave it out")
    resources, patches = [], []
    for model in models:
        labels = names.labels(project, model.name, "engine")
        worker = copy.deepcopy(pod_of(model, choices))
        container = _only(worker["containers"])
        words = container.pop("args")
        worker["securityContext"] = _USER_OF_RAY
        for key in ("startupProbe", "readinessProbe", "securityContext"):
            container.pop(key, None)  # KubeRay has probes of its own, and Ray writes where it likes
        container |= {"name": "ray-worker", "image": choices.image("ray"), "ports": _serve_port()}
        head: JsonObject = {
            "containers": [
                {"name": "ray-head", "image": choices.image("ray"), "ports": _serve_port(), "resources": _HEAD}
            ]
        }
        cluster: JsonObject = {
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": "0", "dashboard-host": str(NOWHERE)},
                "template": {"metadata": {"labels": {**labels}}, "spec": head},
            },
            "workerGroupSpecs": [
                {
                    "groupName": "engines",
                    "replicas": max(1, model.replicas.min),
                    "minReplicas": max(1, model.replicas.min),
                    "maxReplicas": model.replicas.max,
                    "rayStartParams": {},
                    "template": {"metadata": {"labels": {**labels}}, "spec": worker},
                }
            ],
        }
        serve: JsonValue = yaml_text(_serve_config(model, choices, words))
        spec: JsonValue = {"serveConfigV2": serve, "rayClusterConfig": cluster}
        resources.append(document("RayService", model.name, labels, spec=spec))
        patches += _replaced(model, choices, _PORT_OF_SERVE)
    comments = (
        "Image with dmrc-ray and llama-server: examples/images/ray.Dockerfile. Pin it: --image ray=IMAGE@sha256:…",
        "Who reaches a port of Ray runs code there. The gateway may come, Ray's Pods, and their operator.",
    )
    # KubeRay asks the head how its applications are.
    policy = _admitting(project, _of_engines(project), {"app.kubernetes.io/name": "kuberay"})
    return _Overlay((*resources, policy), tuple(patches), comments)


_HEAD: JsonObject = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}


# The user `ray` of Ray's images, whose home it is.
_USER_OF_RAY: JsonObject = {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}


def _serve_port() -> list[JsonValue]:
    return [{"name": "http", "containerPort": _PORT_OF_SERVE}]


def _serve_config(model: ServedModel, choices: Choices, words: JsonValue) -> JsonObject:
    """Return Serve's configuration: an application whose replicas each own a llama.cpp server."""
    options: JsonObject = {"num_cpus": choices.cpus, "num_gpus": model.card[1] if model.card else 0}
    if model.memory is not None:
        options["memory"] = model.memory.total_bytes
    deployment: JsonObject = {
        "name": "llama-server",
        "max_ongoing_requests": model.launch.parallel,
        "ray_actor_options": options,
    }
    if model.replicas.max > max(1, model.replicas.min):
        deployment["autoscaling_config"] = {
            "min_replicas": max(1, model.replicas.min),
            "max_replicas": model.replicas.max,
            "target_ongoing_requests": model.replicas.target or model.launch.parallel,
        }
    else:
        deployment["num_replicas"] = max(1, model.replicas.min)
    # What a Pod's argument writes as $$ is one dollar.
    arguments: JsonValue = [str(word).replace("$$", "$") for word in words] if isinstance(words, list) else []
    return {
        "http_options": {"host": str(NOWHERE), "port": _PORT_OF_SERVE},
        "applications": [
            {
                "name": model.name,
                "route_prefix": "/",
                "import_path": "dmrc_ray.http_application:build",
                "args": {"arguments": arguments},
                "deployments": [deployment],
            }
        ],
    }


def _replaced(model: ServedModel, choices: Choices, port: int, selected: JsonObject | None = None) -> list[JsonObject]:
    """Return patches that take away what another operator does, and lead the Service of the base to its Pods."""
    kinds = ["Deployment", *(["HorizontalPodAutoscaler"] if is_scaled(model, choices) else [])]
    removed = ({**document(kind, model.name, {}), "$patch": "delete"} for kind in kinds)
    operations: list[JsonValue] = [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": port}]
    if selected is not None:
        operations.append({"op": "replace", "path": "/spec/selector", "value": selected})
    service: JsonObject = {
        "target": {"kind": "Service", "name": model.name},
        "patch": yaml_text(operations),
    }
    patches: list[JsonObject] = [{"patch": yaml_text(each)} for each in removed]
    return [*patches, service]
