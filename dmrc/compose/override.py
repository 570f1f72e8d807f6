"""The override file: what dmrc adds to a compose project, in Compose's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml

from dmrc.files import replace_file
from dmrc.project import GATEWAY_HOST, Access, Injection, Project, Service, inject
from dmrc.project.provider import TYPES as PROVIDER_TYPES
from dmrc.project.provider import provider_type

_HOST_GATEWAY = "host-gateway"
"""Docker's word for the address of this machine. Source: https://docs.docker.com/reference/cli/dockerd/#configure-host-gateway-ip"""

_HEADER = "# Written by dmrc up. It holds API keys of this project's services: keep it private.\n"


class _Reset:
    """`!reset null`: takes an attribute of an earlier file away. Source: Compose specification, merge.md."""


class _Dumper(yaml.SafeDumper):
    """Writes `!reset`."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


_Dumper.add_representer(_Reset, lambda dumper, _: dumper.represent_scalar("!reset", "null"))


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """The gateway as the containers of one Docker engine find it."""

    address: str
    """The bridge's."""
    port: int
    """Its port."""
    no_proxy: Mapping[str, str] = field(default_factory=dict)
    """`NO_PROXY` and `no_proxy` that Docker gives every container."""
    scheme: Literal["http", "https"] = "http"
    """`https`: of the listener for other machines."""
    is_elsewhere: bool = False
    """Whether the containers are on another machine, which knows neither our bridge nor our loopback."""

    @property
    def server(self) -> str:
        """Return the beginning of its URLs."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{host}:{self.port}"

    def access(self, service: Service, key: str) -> Access:
        """Return how a service's container reaches it."""
        names: tuple[str, ...]
        if self.is_elsewhere:
            host, names = self.address, (self.address,)
        elif service.network_mode == "host":
            host, names = "127.0.0.1", ("127.0.0.1", "localhost")
        elif service.gateway_host not in (None, _HOST_GATEWAY, self.address):  # the project gives the name to another
            host, names = self.address, (self.address,)
        elif has_own_hosts_file(service):
            host, names = GATEWAY_HOST, (GATEWAY_HOST, self.address)
        else:  # a container in another one's network cannot be given names, so it gets the address
            host, names = self.address, (self.address, GATEWAY_HOST)
        unique = tuple(dict.fromkeys(names))
        return Access(
            host=host, port=self.port, scheme=self.scheme, key=key, names=unique, no_proxy_before=self.no_proxy
        )


def has_own_hosts_file(service: Service) -> bool:
    """Return whether Docker lets the service's container have `extra_hosts`."""
    return not (service.network_mode or "").startswith(("service:", "container:"))


def injections(project: Project, keys: Mapping[str, str], gateway: GatewayAddress) -> dict[str, Injection]:
    """Return what each service that may ask is given; `keys` are the plain keys of those with models."""
    return {
        service.name: inject(project, service, gateway.access(service, keys.get(service.name, "")))
        for service in project.callers
    }


def render(project: Project, injected: Mapping[str, Injection], *, is_elsewhere: bool = False) -> str:
    """Return the override file as YAML; containers that are elsewhere find the gateway by its own name.

    Resetting `models` of every service is enough: Compose drops top-level models that nobody uses, and then asks
    for no `docker-model` plugin (seen on v5.6.1).
    """
    # A provider is no container: who depends on it is given its models, and Compose needs no plugin for it.
    services: dict[str, object] = {service.name: _Reset() for service in project.services.values() if service.provides}
    for service in project.callers:
        # Compose interpolates this file too.
        environment = {name: value.replace("$", "$$") for name, value in injected[service.name].variables.items()}
        entry: dict[str, object] = {"models": _Reset()} if service.bindings else {}
        entry["environment"] = environment
        if providers := [name for name in service.depends_on if isinstance(services.get(name), _Reset)]:
            entry["depends_on"] = dict.fromkeys(providers, _Reset())
        if is_elsewhere:
            pass
        elif service.network_mode == "host" and project.auth == "address":
            entry["extra_hosts"] = [f"{GATEWAY_HOST}:127.0.0.1"]
        elif service.network_mode != "host" and has_own_hosts_file(service) and service.gateway_host is None:
            entry["extra_hosts"] = [f"{GATEWAY_HOST}:{_HOST_GATEWAY}"]
        services[service.name] = entry
    return _HEADER + yaml.dump({"services": services}, Dumper=_Dumper, sort_keys=False)


def render_without_providers(document: Mapping[str, object]) -> str | None:
    """Return an override file for `down`: without provider services of ours, which have no containers.

    None where there are none.
    `document` is the project as Compose prints it, whose models may be wrong by now.
    """
    written = document.get("services")
    services = {str(name): each for name, each in written.items()} if isinstance(written, dict) else {}
    ours = {name for name, each in services.items() if provider_type(each) in PROVIDER_TYPES}
    entries: dict[str, object] = dict.fromkeys(ours, _Reset())
    for name, each in services.items():
        needed = each.get("depends_on") if isinstance(each, dict) else None
        if name not in ours and (gone := ours & {str(one) for one in needed or ()}):
            entries[name] = {"depends_on": dict.fromkeys(gone, _Reset())}
    return yaml.dump({"services": entries}, Dumper=_Dumper) if ours else None


def write(path: Path, text: str) -> None:
    """Write the override file so that only this user can read it; an equal file is left as it is."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.read_text() == text:
        return
    replace_file(path, text.encode(), 0o600)


def read_environments(path: Path) -> dict[str, dict[str, str]]:
    """Return the variables that an earlier `dmrc up` gave each service, keys included; nothing without such a file."""
    services = _read(path).get("services")
    return {
        str(name): {variable: value.replace("$$", "$") for variable, value in _texts(entry.get("environment")).items()}
        for name, entry in (services.items() if isinstance(services, dict) else ())
        if isinstance(entry, dict)
    }


def _read(path: Path) -> dict[str, object]:
    try:
        document = yaml.load(path.read_text(), Loader=_Reader)  # noqa: S506 a SafeLoader
    except (OSError, yaml.YAMLError):
        return {}
    return document if isinstance(document, dict) else {}


def _texts(mapping: object) -> dict[str, str]:
    if not isinstance(mapping, dict):
        return {}
    return {str(name): value for name, value in mapping.items() if isinstance(value, str)}


class _Reader(yaml.SafeLoader):
    """Reads `!reset` as None."""


_Reader.add_constructor("!reset", lambda _loader, _node: None)
