"""The gateway in the cluster: `dmrc serve` with the project's registration, and a volume for its record."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from dmrc.fields import JsonObject, JsonValue
from dmrc.kubernetes import names
from dmrc.kubernetes.choices import Choices
from dmrc.kubernetes.pods import (
    TMP_MOUNT,
    TMP_VOLUME,
    dmrc_container,
    document,
    pod_security,
    selector,
    template,
)

PORT = 12434
"""Where services reach the gateway; the same as on one machine."""

_LISTENS = 12435
"""Where it listens in its Pod: 12434 is its own loopback's."""

_LISTENING = {"DMRC_LISTEN": f"0.0.0.0:{_LISTENS}", "DMRC_LISTEN_PLAIN": "1"}
"""By plain HTTP, as Services are called inside a cluster; the NetworkPolicy says who may."""

_HOME = "/var/lib/dmrc"
_RECORD = "5Gi"  # it trims its record to 2 GiB


def gateway_documents(project: str, registration: str, choices: Choices) -> list[JsonObject]:
    """Return all its resources; `registration` is the JSON of the project, with the hashes of its keys alone."""
    labels = names.labels(project, names.GATEWAY, "gateway")
    pod: JsonObject = {
        "securityContext": pod_security(),
        "containers": [_container(choices)],
        "volumes": [
            TMP_VOLUME,
            {"name": "record", "persistentVolumeClaim": {"claimName": f"{names.GATEWAY}-record"}},
            {"name": "project", "configMap": {"name": f"{names.GATEWAY}-project"}},
            {"name": "secrets", "secret": {"secretName": names.GATEWAY_SECRETS}},
        ],
    }
    # Another registration is another Pod; it holds no secret, so that its hash tells none.
    told = {"dmrc.dev/project": hashlib.sha256(registration.encode()).hexdigest()[:16]}
    deployment: JsonObject = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},  # its record has one writer
        "selector": selector(labels),
        "template": template(labels, pod, told),
    }
    service: JsonObject = {
        "selector": {**labels},
        "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
    }
    claim: JsonObject = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": _RECORD}}}
    data: JsonValue = {names.PROJECT_FILE: registration}
    return [
        document("ConfigMap", f"{names.GATEWAY}-project", labels, data=data),
        document("PersistentVolumeClaim", f"{names.GATEWAY}-record", labels, spec=claim),
        document("Deployment", names.GATEWAY, labels, spec=deployment),
        document("Service", names.GATEWAY, labels, spec=service),
        document("NetworkPolicy", names.GATEWAY, labels, spec=_policy(labels)),
    ]


def _container(choices: Choices) -> JsonObject:
    arguments: list[JsonValue] = ["serve", "--project", f"/etc/dmrc/project/{names.PROJECT_FILE}"]
    arguments += ["--secrets", f"/etc/dmrc/secrets/{names.SECRETS_FILE}"]
    more = {"DMRC_REQUIRE_KEY": "1", "DMRC_LOG_FORMAT": "json", **_LISTENING}
    container = dmrc_container("gateway", choices, arguments, _HOME, more)
    secrets: list[JsonValue] = [
        {"secretRef": {"name": name, "optional": True}} for name in (names.ENGINE_KEYS, names.UPSTREAM_KEYS)
    ]
    mounts: JsonValue = [
        TMP_MOUNT,
        {"name": "record", "mountPath": _HOME},
        {"name": "project", "mountPath": "/etc/dmrc/project", "readOnly": True},
        {"name": "secrets", "mountPath": "/etc/dmrc/secrets", "readOnly": True},
    ]
    return {
        **container,
        "envFrom": secrets,
        "ports": [{"name": "http", "containerPort": _LISTENS}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 5},
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": mounts,
    }


def _policy(labels: Mapping[str, str]) -> JsonObject:
    """Return who reaches it: the Pods of this project's services that use models."""
    callers = {"app.kubernetes.io/part-of": labels["app.kubernetes.io/part-of"], names.CALLS_GATEWAY: "true"}
    return {
        "podSelector": selector(labels),
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": selector(callers)}], "ports": [{"protocol": "TCP", "port": "http"}]}],
    }


def secret(project: str, name: str, component: str, values: Mapping[str, str]) -> JsonObject:
    """Return a Secret in base64: a text under `stringData` that is taken away stays in the cluster all the same.

    Source: https://github.com/kubernetes/kubernetes/issues/89938
    """
    labels = names.labels(project, name, component)
    coded: JsonValue = {key: base64.b64encode(text.encode()).decode() for key, text in values.items()}
    return {**document("Secret", name, labels), "type": "Opaque", "data": coded}
