"""Reads the services of a compose project, as far as models concern them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dmrc.errors import ProjectError
from dmrc.fields import Faults, JsonValue, mapping, plain, refuse_unknown, strings, text
from dmrc.project import choices
from dmrc.project.binding import Binding
from dmrc.project.choices import OpenAIVariables
from dmrc.project.fault_plan import FaultPlan
from dmrc.project.service import Service
from dmrc.suggestions import did_you_mean

GATEWAY_HOST = "model-runner.docker.internal"
"""Name of the gateway inside containers. Source: Docker Model Runner's own name for it."""

_EXTENSION_PREFIX = "x-dmrc-"


def read_service(name: str, value: object, models: Mapping[str, object], openai: OpenAIVariables) -> Service:
    """Read a service of a project that declares these models; `openai` is what the project says of its variables.

    Raises:
        ProjectError: It declares something impossible; the place is named.
    """
    where = f"services.{name}"
    fields = mapping(value, where)
    bindings = tuple(_binding(key, entry, where) for key, entry in _keyed(fields.get("models"), where).items())
    for binding in bindings:
        if binding.key not in models:
            raise ProjectError(
                f"service '{name}' refers to undefined model '{binding.key}'{did_you_mean(binding.key, models)}",
                remedy="Declare it under the top-level 'models:'",
            )
    default, openai, planned = _service_options(fields, [binding.key for binding in bindings], openai, where)
    network_mode = fields.get("network_mode")
    if bindings and network_mode == "none":
        raise ProjectError(
            f"service '{name}' uses a model and has network_mode: none, so it cannot reach one",
            remedy="Remove network_mode, or its models",
        )
    environment = {
        key: None if entry is None else str(entry)
        for key, entry in mapping(fields.get("environment"), f"{where}.environment").items()
    }
    return Service(
        name,
        bindings,
        environment,
        None if network_mode is None else str(network_mode),
        default,
        openai,
        _extensions(fields, where),
        _names(fields.get("depends_on"), f"{where}.depends_on"),
        gateway_host=_extra_host(fields.get("extra_hosts"), GATEWAY_HOST),
        containers=_containers(fields, where),
        faults=planned,
    )


def _extra_host(value: object, name: str) -> str | None:
    """Return the address that `extra_hosts` gives a name.

    Shape:
        `{name: address}`, or a list of `name=address` and `name:address`.
    """
    entries = list(value.items()) if isinstance(value, Mapping) else []
    for entry in value if isinstance(value, list) else []:
        host, _, address = str(entry).partition("=" if "=" in str(entry) else ":")
        entries.append((host, address))
    return next((str(address).strip("[]") for host, address in entries if host == name), None)


def _containers(fields: Mapping[str, object], where: str) -> int:
    """Return how many containers a service has. Compose has checked the numbers; our own reader does not need them."""
    replicas = mapping(fields.get("deploy"), f"{where}.deploy").get("replicas")
    wanted = fields.get("scale", replicas)
    return 0 if fields.get("provider") else wanted if isinstance(wanted, int) else 1


def _names(value: object, where: str) -> tuple[str, ...]:
    """Return names that are a list, or the keys of a mapping."""
    return strings(value, where) if isinstance(value, list) else tuple(mapping(value, where))


def _binding(key: str, value: object, where: str) -> Binding:
    fields = mapping(value, f"{where}.models.{key}")
    refuse_unknown(fields, ("endpoint_var", "model_var"), f"{where}.models.{key}")
    endpoint_var, model_var = fields.get("endpoint_var"), fields.get("model_var")
    return Binding(
        key, None if endpoint_var is None else str(endpoint_var), None if model_var is None else str(model_var)
    )


def _keyed(value: object, where: str) -> Mapping[str, object]:
    """Return `models:` of a service as a mapping; the short syntax is a list."""
    if isinstance(value, list):
        return {text(key, f"{where}.models"): None for key in value}
    return mapping(value, f"{where}.models")


def _service_options(
    fields: Mapping[str, object], used: Sequence[str], openai: OpenAIVariables, where: str
) -> tuple[str | None, OpenAIVariables, FaultPlan | None]:
    """Return what a service says under `x-dmrc`: its default model, when it is given `OPENAI_*`, and its faults."""
    options, faults = mapping(fields.get("x-dmrc"), f"{where}.x-dmrc"), Faults()
    with faults.noted():
        refuse_unknown(options, choices.SERVICE_OPTIONS, f"{where}.x-dmrc")
    with faults.noted():
        openai = choices.openai(options.get("openai"), f"{where}.x-dmrc.openai", openai)
    with faults.noted():
        planned = FaultPlan.parse(options.get("faults"), f"{where}.x-dmrc.faults")
    default = options.get("default_model")
    if default is not None and default not in used:
        with faults.noted():
            raise ProjectError(
                f"{where}.x-dmrc.default_model is '{default}', which the service does not use"
                f"{did_you_mean(str(default), used)}",
                remedy=f"It uses {', '.join(used) or 'no model'}",
            )
    faults.tell()
    return None if default is None else str(default), openai, planned


def _extensions(fields: Mapping[str, object], where: str) -> dict[str, JsonValue]:
    return {
        name: plain(value, f"{where}.{name}") for name, value in fields.items() if name.startswith(_EXTENSION_PREFIX)
    }
