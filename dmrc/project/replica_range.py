"""How many servers of a model there may be at the same time, on machines of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmrc.errors import ProjectError
from dmrc.fields import JsonValue, mapping, positive, refuse_unknown

_EXAMPLE = "Write {min: 1, max: 3, target: 4}, for example"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRange:
    """What `x-dmrc: replicas` says."""

    min: int = 1
    """How many there are when nobody asks; 0 lets the last one go."""
    max: int = 1
    """How many there are at most."""
    target: int | None = None
    """Requests at the same time for each of them, above which one more is started; None: as many as one serves."""

    @classmethod
    def parse(cls, value: object, where: str) -> ReplicaRange:
        """Read a mapping of `min`, `max` and `target`, or a number, which is both; it is not None.

        Raises:
            ProjectError: It is something else, or contradicts itself.
        """
        if not isinstance(value, Mapping):
            number = positive(value, where, example=2)
            return cls(min=number or 1, max=number or 1)
        fields = mapping(value, where)
        refuse_unknown(fields, ("min", "max", "target"), where)
        least = _count(fields.get("min"), f"{where}.min")
        most = positive(fields.get("max"), f"{where}.max", example=3) or max(least, 1)
        if least > most:
            raise ProjectError(f"{where}.min must be at most {most}, which is its max, not {least}", remedy=_EXAMPLE)
        return cls(min=least, max=most, target=positive(fields.get("target"), f"{where}.target", example=4))

    def to_json(self) -> JsonValue:
        """Return it as JSON can hold it."""
        return {"min": self.min, "max": self.max, "target": self.target}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ReplicaRange:
        """Read what `to_json` returned, here or in another version."""
        return cls(min=document.get("min", 1), max=document.get("max", 1), target=document.get("target"))


def _count(value: object, where: str) -> int:
    """Return how many there are at least; 1 where nobody says."""
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ProjectError(f"{where} must be a whole number from 0, not {value!r}", remedy=_EXAMPLE)
    return value


def cluster_address(value: object, where: str) -> str:
    """Return the address of a cluster of Ray, out of `{address: …}`.

    Raises:
        ProjectError: There is none, or it holds a space.
    """
    fields = mapping(value, where)
    refuse_unknown(fields, ("address",), where)
    address = fields.get("address")
    if not isinstance(address, str) or not address.strip() or " " in address.strip():
        raise ProjectError(
            f"{where}.address must be an address of a cluster, not {address!r}", remedy="Write 10.0.0.5:6379"
        )
    return address.strip()
