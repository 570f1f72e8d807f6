"""A compose health check as the readiness probe of a Pod."""

from __future__ import annotations

from dmrc.fields import JsonObject, JsonValue, mapping
from dmrc.project import parse_keep_alive

_SECONDS = {"interval": "periodSeconds", "timeout": "timeoutSeconds", "start_period": "initialDelaySeconds"}


def readiness(healthcheck: object, where: str) -> JsonObject | None:
    """Return the probe; None where there is none, or it is switched off.

    Raises:
        ProjectError: A duration cannot be read.
    """
    fields = mapping(healthcheck, f"{where}.healthcheck")
    test = fields.get("test")
    if not isinstance(test, list) or len(test) < 2 or fields.get("disable"):
        return None
    kind, *words = (str(word) for word in test)
    command: list[JsonValue] = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else [*words]
    probe: JsonObject = {"exec": {"command": command}}
    for of_compose, name in _SECONDS.items():
        if seconds := parse_keep_alive(fields.get(of_compose), f"{where}.healthcheck.{of_compose}"):
            probe[name] = max(1, round(seconds))
    if isinstance(retries := fields.get("retries"), int) and retries > 0:
        probe["failureThreshold"] = retries
    return probe
