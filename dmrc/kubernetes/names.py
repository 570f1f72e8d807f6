"""Names and labels of what is written: valid in Kubernetes, and the same export after export."""

from __future__ import annotations

import hashlib
import re

PORT = 8080
"""Where every engine listens in its Pod."""

GATEWAY = "dmrc-gateway"
"""Name of the gateway's Deployment and Service: what services call."""

PROJECT_FILE = "project.json"
"""Name of the gateway's registration of the project in its ConfigMap."""

ENGINE_KEYS = "dmrc-engine-keys"
"""Name of the Secret with the key of each engine, which the engine asks for and the gateway sends."""

UPSTREAM_KEYS = "dmrc-upstream-keys"
"""Name of the Secret with the keys of upstreams that are elsewhere."""

GATEWAY_SECRETS = "dmrc-gateway-secrets"
"""Name of the Secret with the values of the project that the gateway keeps out of its record."""

SECRETS_FILE = "secrets.json"
"""Name of the file in it."""

REGISTRY_LOGIN = "dmrc-registry"
"""Name of a Secret of type `kubernetes.io/dockerconfigjson` that the user may make: the logins of model registries."""

CALLS_GATEWAY = "dmrc.dev/calls-gateway"
"""Label of the Pods that may reach the gateway."""

CALLS_ENGINES = "dmrc.dev/calls-engines"
"""Label of the Pods that may reach the engines past the gateway, with an overlay that is for that."""

_LONGEST = 52
"""Characters of a name; Pods get 11 more of their Deployment, and a label holds 63."""

_PLAIN = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?", re.ASCII)


def dns_name(prefix: str, text: str) -> str:
    """Return a name for DNS: `text` itself where it is one, else what is left of it, and a part of its hash.

    Source: RFC 1035 labels, https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
    """
    whole = f"{prefix}{text}"
    if _PLAIN.fullmatch(whole) and len(whole) <= _LONGEST:
        return whole
    told = hashlib.sha256(text.encode()).hexdigest()[:6]
    left = re.sub(r"[^a-z0-9]+", "-", whole.lower()).strip("-")
    left = left if left[:1].isalpha() else f"s-{left}".rstrip("-")
    return f"{left[: _LONGEST - 7].rstrip('-')}-{told}"


def engine_name(model_key: str) -> str:
    """Return what the Deployment and the Service of a model are called."""
    return dns_name("dmrc-model-", model_key)


def key_variable(engine: str) -> str:
    """Return the environment variable in which the gateway finds the key of an engine: `ENGINE_KEY_LLM`."""
    return "ENGINE_KEY_" + engine.removeprefix("dmrc-model-").upper().replace("-", "_")


def service_secret(service: str) -> str:
    """Return the name of the Secret with the variables of a compose service."""
    return f"{dns_name('', service)}-variables"


def labels(project: str, name: str, component: str) -> dict[str, str]:
    """Return the labels of one Deployment's Pods, which its selectors name: they must never change."""
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": dns_name("", project),
    }
