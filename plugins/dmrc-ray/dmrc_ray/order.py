"""What the bridge is told by the daemon, and what each replica is told by the bridge: values that JSON can hold."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What each replica serves."""

    name: str
    """Reference of the model."""
    digest: str | None
    """Digest of its manifest."""
    path: str
    """Its file on the daemon's machine, which a node may see too."""
    size_bytes: int
    """Size of that file."""
    references: tuple[str, ...]
    """Models beside it that a node must have: adapters, a draft."""
    mmproj: str | None
    """File of its projector, as `path`."""
    loras: tuple[str, ...]
    """Files of its adapters, as `path`."""
    draft: str | None
    """File of its draft, as `path`."""
    chat_template: str | None
    """File of its template, as `path`."""
    options: dict[str, Any]
    """How it is served: `ServingOptions.to_json`."""
    parallel: int
    """Requests at the same time."""
    prompt_cache_bytes: int
    """Memory for the prompts of earlier requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one replica takes of its node."""

    cpus: float
    """Processors."""
    gpus: float | None
    """Graphics cards; None: one where the cluster has any."""
    memory_bytes: int
    """RAM, by dmrc's own estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a bridge is started for."""

    application: str
    """Name of the Serve application, which all with this model and configuration share."""
    holder: str
    """Who wants it: one name for each state directory of dmrc."""
    address: str | None
    """Address of the cluster; None: one on this machine."""
    home: str
    """DMRC_HOME of the daemon."""
    socket: str
    """Unix socket that the bridge listens on."""
    keep_seconds: float
    """How long the application stays when its bridge was killed and nobody comes back."""
    least: int
    """Replicas when nobody asks."""
    most: int
    """Replicas at most."""
    target: int
    """Requests at the same time for each, above which one more is started."""
    needs: Needs
    """What each takes."""
    work: Work
    """What each serves."""

    def to_json(self) -> str:
        """Return it as a word of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """Read what `to_json` returned."""
        document = json.loads(text)
        return cls(
            **{**document, "needs": Needs(**document["needs"]), "work": work_from(document["work"])},
        )


def work_from(document: dict[str, Any]) -> Work:
    """Read what `asdict` made of a `Work`."""
    lists = {name: tuple(document[name]) for name in ("references", "loras")}
    return Work(**{**document, **lists})
