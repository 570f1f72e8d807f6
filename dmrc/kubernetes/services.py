"""Compose services in the cluster: what has an image is a Deployment, and what cannot be converted is named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dmrc.compose.yaml_writing import yaml_text
from dmrc.errors import ProjectError
from dmrc.fields import JsonObject, JsonValue, mapping
from dmrc.kubernetes import names
from dmrc.kubernetes.pods import document, selector, template
from dmrc.kubernetes.probes import readiness
from dmrc.project import Service, parse_keep_alive

_CONVERTED = frozenset(
    {
        *("image", "command", "entrypoint", "environment", "env_file", "ports", "expose", "deploy", "scale"),
        *("working_dir", "user", "read_only", "tmpfs", "healthcheck", "stop_grace_period", "models", "depends_on"),
    }
)
_MEANINGLESS = frozenset({"container_name", "hostname", "restart", "pull_policy", "platform", "init", "tty", "logging"})
"""Fields that a Deployment decides by itself."""

_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*", re.ASCII)
_USER = re.compile(r"(\d+)(?::(\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of one compose service."""

    documents: tuple[JsonObject, ...] = ()
    """Its resources; none where it has no image."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What its Secret holds: its own variables, and those that dmrc gives it."""
    left_out: tuple[str, ...] = ()
    """A line for each thing that is not converted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One service as Compose prints it, with what dmrc gives it."""

    project: str
    """Name of the project."""
    service: Service
    """The service, as dmrc read it."""
    fields: Mapping[str, object]
    """The same, as Compose prints it."""
    injected: Mapping[str, str]
    """Variables that dmrc gives it; none where it uses no model."""
    key_id: str | None
    """What tells its key from another one; None where it has none. Another key is another Pod."""

    @property
    def name(self) -> str:
        """Return what its Deployment and its Service are called: other services call it so."""
        return names.dns_name("", self.service.name)

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels of its Deployment's Pods."""
        return names.labels(self.project, self.name, "service")


def convert(written: Written) -> Converted:
    """Return the resources of one service."""
    lines = [f"services.{written.service.name}.{each}" for each in _left_out(written)]
    own = {name: value or "" for name, value in written.service.environment.items()}
    variables = {**own, **written.injected}
    for name in [name for name in variables if not _VARIABLE.fullmatch(name)]:
        lines.append(f"services.{written.service.name}.environment: a Secret cannot hold the variable '{name}'")
        del variables[name]
    image = written.fields.get("image")
    if not isinstance(image, str):
        return Converted((), variables, tuple(lines))
    ports = _ports(written.fields)
    deployment: JsonObject = {
        "replicas": written.service.containers,
        "selector": selector(written.labels),
        "template": _template(written, image, ports, has_variables=bool(variables)),
    }
    service: JsonObject = {
        "selector": {**written.labels},
        # Without declared ports every port is open under the service's name, as in Compose.
        **({"ports": [_service_port(*each) for each in ports]} if ports else {"clusterIP": "None"}),
    }
    documents = (
        document("Deployment", written.name, written.labels, spec=deployment),
        document("Service", written.name, written.labels, spec=service),
    )
    return Converted(documents, variables, tuple(lines))


def caller_patch(written: Written) -> JsonObject:
    """Return what gives the Deployment that somebody else wrote for a service its variables, and lets it call.

    Shape:
        An entry of `patches` of a kustomization, in JSON Patch.
    """
    secret: JsonValue = [{"secretRef": {"name": names.service_secret(written.service.name)}}]
    label = names.CALLS_GATEWAY.replace("/", "~1")
    operations: JsonValue = [
        {"op": "add", "path": f"/spec/template/metadata/labels/{label}", "value": "true"},
        {
            "op": "add",
            "path": "/spec/template/metadata/labels/app.kubernetes.io~1part-of",
            "value": written.labels["app.kubernetes.io/part-of"],
        },
        {"op": "add", "path": "/spec/template/spec/containers/0/envFrom", "value": secret},
    ]
    target: JsonValue = {"kind": "Deployment", "name": written.name}
    return {"target": target, "patch": yaml_text(operations)}


def _template(written: Written, image: str, ports: list[tuple[int, str]], *, has_variables: bool) -> JsonObject:
    fields, where = written.fields, f"services.{written.service.name}"
    container: JsonObject = {"name": written.name, "image": image}
    for of_compose, name in (("entrypoint", "command"), ("command", "args")):
        if isinstance(words := fields.get(of_compose), list):
            container[name] = [str(word).replace("$", "$$") for word in words]
    if isinstance(directory := fields.get("working_dir"), str):
        container["workingDir"] = directory
    if has_variables:
        container["envFrom"] = [{"secretRef": {"name": names.service_secret(written.service.name)}}]
    if ports:
        container["ports"] = [{"containerPort": port, "protocol": protocol} for port, protocol in ports]
    if probe := readiness(fields.get("healthcheck"), where):
        container["readinessProbe"] = probe
    if resources := _resources(fields):
        container["resources"] = resources
    if security := _security(fields):
        container["securityContext"] = security
    spec: JsonObject = {"containers": [container]}
    if directories := _tmpfs(fields):
        container["volumeMounts"] = [
            {"name": f"tmpfs-{number}", "mountPath": path} for number, path in enumerate(directories)
        ]
        spec["volumes"] = [
            {"name": f"tmpfs-{number}", "emptyDir": {"medium": "Memory"}} for number in range(len(directories))
        ]
    if grace := parse_keep_alive(fields.get("stop_grace_period"), f"{where}.stop_grace_period"):
        spec["terminationGracePeriodSeconds"] = round(grace)
    calls = {names.CALLS_GATEWAY: "true"} if written.service.bindings else {}
    told = {"dmrc.dev/key": written.key_id} if written.key_id else None
    return template({**written.labels, **calls}, spec, told)


def _ports(fields: Mapping[str, object]) -> list[tuple[int, str]]:
    """Return the ports that a service listens on: those that it publishes, and those that it exposes."""
    found: dict[tuple[int, str], None] = {}
    ports, exposed = fields.get("ports"), fields.get("expose")
    for entry in ports if isinstance(ports, list) else []:
        if isinstance(entry, Mapping):
            found[int(str(entry.get("target"))), str(entry.get("protocol", "tcp")).upper()] = None
    for entry in exposed if isinstance(exposed, list) else []:
        port, _, protocol = str(entry).partition("/")
        if port.isdigit():
            found[int(port), (protocol or "tcp").upper()] = None
    return list(found)


def _service_port(port: int, protocol: str) -> JsonObject:
    return {"name": f"{protocol.lower()}-{port}", "port": port, "targetPort": port, "protocol": protocol}


def _resources(fields: Mapping[str, object]) -> JsonObject:
    """Return what `deploy: {resources: …}` says."""
    said = mapping(mapping(fields.get("deploy"), "deploy").get("resources"), "resources")
    found: JsonObject = {}
    for of_compose, name in (("limits", "limits"), ("reservations", "requests")):
        part = mapping(said.get(of_compose), of_compose)
        amounts: JsonObject = {}
        if "cpus" in part:
            amounts["cpu"] = str(part["cpus"])
        if "memory" in part:
            amounts["memory"] = str(part["memory"])  # Compose prints bytes
        if amounts:
            found[name] = amounts
    return found


def _security(fields: Mapping[str, object]) -> JsonObject:
    found: JsonObject = {"readOnlyRootFilesystem": True} if fields.get("read_only") is True else {}
    if user := _USER.fullmatch(str(fields.get("user", ""))):
        found["runAsUser"] = int(user[1])
        if user[2]:
            found["runAsGroup"] = int(user[2])
    return found


def _tmpfs(fields: Mapping[str, object]) -> list[str]:
    return [each.partition(":")[0] for each in _listed(fields.get("tmpfs"))]


def _listed(said: object) -> list[str]:
    """Return the entries of a field that takes one text or several."""
    entries = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    return [str(entry) for entry in entries]


def _left_out(written: Written) -> Iterator[str]:
    """Yield what is not converted, each with what to do."""
    fields, service = written.fields, written.service
    if not isinstance(fields.get("image"), str):
        why = "is built here" if fields.get("build") else "has no image"
        yield f"image: the service {why}; push an image and name it, or patch its Deployment by components/services"
    elif fields.get("build"):
        yield "build: push the image that it builds where the cluster pulls from"
    published = [str(port.get("published")) for port in _mappings(fields.get("ports")) if port.get("published")]
    if published:
        yield f"ports: {', '.join(published)} of this machine; in the cluster write an Ingress or a Route"
    if fields.get("volumes"):
        yield "volumes: write a PersistentVolumeClaim, and mount it by a patch"
    if any(":" in each for each in _listed(fields.get("tmpfs"))):
        yield "tmpfs: sizes and modes are left out"
    if "user" in fields and not _USER.fullmatch(str(fields["user"])):
        yield f"user: Kubernetes takes numbers, not '{fields['user']}'"
    if fields.get("depends_on"):
        yield "depends_on: Pods start at the same time, and wait by their own readiness"
    if service.name != written.name:
        yield f"name: it is called {written.name} in the cluster"
    known = {*_CONVERTED, *_MEANINGLESS, "build", "volumes"}
    default = {"networks": {"default": None}}
    for name, value in fields.items():
        if name not in known and not name.startswith("x-") and value and value != default.get(name):
            yield f"{name}: not converted"
    deploy = mapping(fields.get("deploy"), "deploy")
    for part, amounts in mapping(deploy.get("resources"), "resources").items():
        yield from (f"deploy.resources.{part}.{each}: not converted" for each in _others(amounts))
    for name in deploy:
        if name not in ("replicas", "resources", "placement") or (name == "placement" and deploy[name]):
            yield f"deploy.{name}: not converted"


def _others(amounts: object) -> list[str]:
    """Return what of a service's resources a Pod's are not made of: graphics cards, a number of processes."""
    return [name for name in mapping(amounts, "resources") if name not in ("cpus", "memory")]


def _mappings(value: object) -> list[Mapping[str, object]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def check_names(services: Mapping[str, str], engines: Mapping[str, str]) -> None:
    """Refuse two things with one name.

    Raises:
        ProjectError: There are two; both are named.
    """
    taken: dict[str, str] = {names.GATEWAY: "the gateway of dmrc"}
    for what, found in (("service", services), ("model", engines)):
        for key, name in found.items():
            if name in taken:
                raise ProjectError(
                    f"{what} '{key}' would have the name of {taken[name]} in the cluster, {name}",
                    remedy="Rename it in the compose file",
                )
            taken[name] = f"{what} '{key}'"
