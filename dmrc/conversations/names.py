"""Who asked and who was asked, by one name each, in the list and in a conversation."""

from __future__ import annotations

from dmrc.capture.summary import model_name

_LONGEST = 200


def service_of(service: str | None, client_address: str | None) -> str:
    """Return the service that asked, else the address that it came from."""
    return (service or client_address or "unknown")[:_LONGEST]


def model_of(key: str | None, requested: str | None, reference: str | None) -> str:
    """Return the model by its key in the project, else by its name as `dmrc list` has it."""
    return (key or model_name(requested or reference))[:_LONGEST]
