"""What all Pods of ours have: no root, no rights, no key of the cluster's API."""

from __future__ import annotations

from collections.abc import Mapping

from dmrc.fields import JsonObject, JsonValue
from dmrc.kubernetes import names
from dmrc.kubernetes.choices import Choices

_USER = 65532
"""The user `nonroot` of many images; any number but 0 does."""


def pod_security() -> JsonObject:
    """Return the securityContext of a Pod that satisfies the policy `restricted`.

    Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    return {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "fsGroup": _USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> JsonObject:
    """Return the securityContext of a container that writes to its volumes alone."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def document(kind: str, name: str, labels: Mapping[str, str], **parts: JsonValue) -> JsonObject:
    """Return a resource; parts are `spec`, `data` and the like."""
    of_kind = {
        "Deployment": "apps/v1",
        "HorizontalPodAutoscaler": "autoscaling/v2",
        "NetworkPolicy": "networking.k8s.io/v1",
        "PodDisruptionBudget": "policy/v1",
        "InferencePool": "inference.networking.k8s.io/v1",
        "LLMInferenceService": "serving.kserve.io/v1alpha2",
        "RayService": "ray.io/v1",
    }
    metadata: JsonObject = {"name": name, "labels": {**labels, "app.kubernetes.io/managed-by": "dmrc"}}
    return {"apiVersion": of_kind.get(kind, "v1"), "kind": kind, "metadata": metadata, **parts}


def selector(labels: Mapping[str, str]) -> JsonObject:
    """Return what selects the Pods with these labels."""
    return {"matchLabels": {**labels}}


def template(labels: Mapping[str, str], spec: JsonObject, annotations: Mapping[str, str] | None = None) -> JsonObject:
    """Return a template of Pods that get no token of the cluster's API."""
    metadata: JsonObject = {"labels": {**labels}}
    if annotations:
        metadata["annotations"] = {**annotations}
    return {"metadata": metadata, "spec": {"automountServiceAccountToken": False, **spec}}


def dmrc_container(
    name: str, choices: Choices, arguments: list[JsonValue], home: str, more: Mapping[str, str] | None = None
) -> JsonObject:
    """Return a container that runs dmrc, with its state in the directory `home`; `more` are further variables."""
    variables = {"DMRC_HOME": home, "DOCKER_CONFIG": "/docker", "HOME": "/tmp", **(more or {})}  # noqa: S108 of the Pod
    return {
        "name": name,
        "image": choices.image("dmrc"),
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        "env": [{"name": variable, "value": value} for variable, value in variables.items()],
        "securityContext": container_security(),
    }


def login_volume() -> JsonObject:
    """Return the volume with the logins of registries, which need not be there."""
    items: JsonValue = [{"key": ".dockerconfigjson", "path": "config.json"}]
    return {"name": "docker", "secret": {"secretName": names.REGISTRY_LOGIN, "optional": True, "items": items}}


LOGIN_MOUNT: JsonObject = {"name": "docker", "mountPath": "/docker", "readOnly": True}
"""Where a container of dmrc has these."""

TMP_VOLUME: JsonObject = {"name": "tmp", "emptyDir": {}}
TMP_MOUNT: JsonObject = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 of the Pod
