"""One model with one configuration in the cluster: its Deployment, its Service, and what belongs to them."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from dmrc.fields import JsonObject, JsonValue
from dmrc.kubernetes import names
from dmrc.kubernetes.arguments import arguments_of, command_of, image_of, port_of, processors
from dmrc.kubernetes.choices import Choices
from dmrc.kubernetes.pods import (
    LOGIN_MOUNT,
    TMP_MOUNT,
    TMP_VOLUME,
    container_security,
    dmrc_container,
    document,
    login_volume,
    pod_security,
    selector,
    template,
)
from dmrc.kubernetes.served import Package, ServedModel
from dmrc.project import CONTAINER_ENGINE

_MIB = 1 << 20
_LIMIT_PERCENT = 120
"""Of what is estimated: the estimate is within 15 %."""

_FILES = "/files"
# Processes of vLLM talk to one another by shared memory, of which a Pod has 64 MiB without this.
_SHARED_VOLUME: JsonObject = {"name": "shared", "emptyDir": {"medium": "Memory"}}
_SHARED_MOUNT: JsonObject = {"name": "shared", "mountPath": "/dev/shm"}  # noqa: S108 of the Pod
_PERIOD_SECONDS = 5
_LONGEST_LOAD_SECONDS = 3600
# Environment variable from which a server takes the key that it asks its callers for.
_KEY_VARIABLES = {"vllm": "VLLM_API_KEY"}
_LLAMA_KEY_VARIABLE = "LLAMA_API_KEY"


def engine_documents(project: str, model: ServedModel, choices: Choices) -> list[JsonObject]:
    """Return all resources of one model.

    Raises:
        UnsupportedError: Its engine cannot be run in a cluster; the model is named.
    """
    labels = names.labels(project, model.name, "engine")
    found = [
        document("Deployment", model.name, labels, spec=_deployment(labels, model, choices)),
        document(
            "Service",
            model.name,
            labels,
            spec={"selector": {**labels}, "ports": [{"name": "http", "port": names.PORT, "targetPort": "http"}]},
        ),
    ]
    if model.files:
        data: JsonValue = {name: base64.b64encode(content).decode() for name, content in sorted(model.files.items())}
        found.append(document("ConfigMap", f"{model.name}-files", labels, binaryData=data))
    if choices.weights == "volume":
        found.append(_claim(model, labels))
    if model.replicas.max > 1:
        budget: JsonValue = {"maxUnavailable": 1, "selector": selector(labels)}
        found.append(document("PodDisruptionBudget", model.name, labels, spec=budget))
    if is_scaled(model, choices):
        found.append(_autoscaler(model, labels))
    return found


def _deployment(labels: dict[str, str], model: ServedModel, choices: Choices) -> JsonObject:
    pod = pod_of(model, choices)
    spec: JsonObject = {"selector": selector(labels), "template": template(labels, pod, _annotations(model))}
    return spec if is_scaled(model, choices) else {"replicas": max(1, model.replicas.min), **spec}


def is_scaled(model: ServedModel, choices: Choices) -> bool:
    """Return whether an autoscaler says how many Pods there are."""
    return choices.autoscale and model.replicas.max > max(1, model.replicas.min)


def pod_of(model: ServedModel, choices: Choices) -> JsonObject:
    """Return the spec of a Pod with its engine.

    Raises:
        UnsupportedError: The engine cannot be run in a cluster; the model is named.
    """
    by_image = choices.weights == "image"
    pod: JsonObject = {"securityContext": pod_security(), "containers": [_container(model, choices)]}
    volumes: list[JsonValue] = [TMP_VOLUME]
    if model.engine == "vllm":
        volumes.append(_SHARED_VOLUME)
    if by_image:
        volumes += [
            {"name": each.folder, "image": {"reference": each.image, "pullPolicy": "IfNotPresent"}}
            for each in model.packages
        ]
    else:
        pod["initContainers"] = [_pull(each, choices) for each in model.packages]
        place: JsonObject = {"emptyDir": {}}
        if choices.weights == "volume":
            place = {"persistentVolumeClaim": {"claimName": f"{model.name}-weights"}}
        volumes += [{"name": "weights", **place}, login_volume()]
    if model.files:
        volumes.append({"name": "files", "configMap": {"name": f"{model.name}-files"}})
    pod["volumes"] = volumes
    return pod


def _annotations(model: ServedModel) -> dict[str, str]:
    """Return which models these are, exactly: what was asked for, and what the store had of it."""
    return {f"dmrc.dev/{each.folder}": f"{each.name}@{each.digest}" for each in model.packages}


def _container(model: ServedModel, choices: Choices) -> JsonObject:
    command = command_of(model)
    health: JsonObject = {"path": "/health", "port": "http"}
    if model.engine == CONTAINER_ENGINE and model.launch.options.command:
        health = {"path": "/v1/models", "port": "http"}
    variable = _KEY_VARIABLES.get(model.engine, _LLAMA_KEY_VARIABLE)
    key: JsonObject = {"name": names.ENGINE_KEYS, "key": names.key_variable(model.name)}
    arguments: list[JsonValue] = [*arguments_of(model, choices)]
    return {
        "name": "engine",
        "image": image_of(model, choices),
        "imagePullPolicy": "IfNotPresent",
        **({"command": [*command]} if command else {}),
        "args": arguments,
        "env": [
            {"name": variable, "valueFrom": {"secretKeyRef": key}},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 of the Pod
        ],
        "ports": [{"name": "http", "containerPort": port_of(model)}],
        # llama.cpp's server answers 503 there until the model is loaded: the Pod gets no request before.
        "startupProbe": {
            "httpGet": health,
            "periodSeconds": _PERIOD_SECONDS,
            "failureThreshold": _LONGEST_LOAD_SECONDS // _PERIOD_SECONDS,
        },
        "readinessProbe": {"httpGet": health, "periodSeconds": _PERIOD_SECONDS, "timeoutSeconds": 3},
        "resources": _resources(model, choices),
        "securityContext": container_security(),
        "volumeMounts": _mounts(model, choices),
    }


def _resources(model: ServedModel, choices: Choices) -> JsonObject:
    """Return what it asks for and what it may take: dmrc's own estimate, and the place of its weights on the disk."""
    requests: JsonObject = {"cpu": str(processors(model, choices))}
    limits: JsonObject = {}
    if model.memory is not None:
        requests["memory"] = f"{-(-model.memory.total_bytes // _MIB)}Mi"
        limits["memory"] = f"{-(-model.memory.total_bytes * _LIMIT_PERCENT // 100 // _MIB)}Mi"
    if choices.weights == "pull":
        requests["ephemeral-storage"] = f"{_room_mib(model)}Mi"
    if model.card is not None:
        limits[model.card[0]] = str(model.card[1])
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _room_mib(model: ServedModel) -> int:
    return -(-sum(each.size_bytes for each in model.packages) // _MIB) + 64


def _mounts(model: ServedModel, choices: Choices) -> list[JsonValue]:
    mounts: list[JsonValue] = [TMP_MOUNT, *([_SHARED_MOUNT] if model.engine == "vllm" else [])]
    for each in model.packages:
        where: JsonObject = {"mountPath": f"/{each.folder}", "readOnly": True}
        if choices.weights == "image":
            mounts.append({"name": each.folder, **where})
        else:
            mounts.append({"name": "weights", "subPath": each.path, **where})
    return [*mounts, {"name": "files", "mountPath": _FILES, "readOnly": True}] if model.files else mounts


def _pull(package: Package, choices: Choices) -> JsonObject:
    """Return the container that brings a model before the engine starts; it finds one that is there already.

    Its files are links into the store beside them, so that they take the disk once.
    """
    arguments: list[JsonValue] = ["pull", "--files", f"/weights/{package.path}", package.reference]
    if "@sha256:" not in package.reference:
        arguments[1:1] = ["--expect", package.digest]
    mounts: JsonValue = [TMP_MOUNT, LOGIN_MOUNT, {"name": "weights", "mountPath": "/weights"}]
    container = dmrc_container(f"pull-{package.folder}", choices, arguments, "/weights/dmrc")
    return {**container, "volumeMounts": mounts}


def _claim(model: ServedModel, labels: dict[str, str]) -> JsonObject:
    """Return the claim of a volume that all Pods of a model have together."""
    mode = "ReadWriteOnce" if model.replicas.max == 1 else "ReadWriteMany"
    spec: JsonValue = {"accessModes": [mode], "resources": {"requests": {"storage": f"{_room_mib(model)}Mi"}}}
    return document("PersistentVolumeClaim", f"{model.name}-weights", labels, spec=spec)


def _autoscaler(model: ServedModel, labels: dict[str, str]) -> JsonObject:
    """Return what scales a model by the requests that its Pods work on or have in their queues.

    The metric is llama.cpp's own; an adapter of Prometheus has to serve it as `dmrc_engine_requests` for each Pod.
    """
    range_ = model.replicas
    metric: JsonObject = {
        "metric": {"name": "dmrc_engine_requests"},
        "target": {"type": "AverageValue", "averageValue": str(range_.target or model.launch.parallel)},
    }
    spec: JsonValue = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": model.name},
        "minReplicas": max(1, range_.min),
        "maxReplicas": range_.max,
        "metrics": [{"type": "Pods", "pods": metric}],
    }
    return document("HorizontalPodAutoscaler", model.name, labels, spec=spec)


def engine_policy(project: str, models: Sequence[ServedModel]) -> list[JsonObject]:
    """Return the policy by which engines hear the gateway alone; none where the project has no engines."""
    if not models:
        return []
    everything = names.labels(project, "", "engine")
    del everything["app.kubernetes.io/name"]
    gateway = names.labels(project, names.GATEWAY, "gateway")
    ports: JsonValue = [{"protocol": "TCP", "port": "http"}]
    spec: JsonValue = {
        "podSelector": selector(everything),
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": selector(gateway)}], "ports": ports}],
    }
    return [document("NetworkPolicy", "dmrc-engines", everything, spec=spec)]
