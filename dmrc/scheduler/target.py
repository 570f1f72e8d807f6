"""What a request wants to run on: one model with one configuration."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from dmrc.answer import ServerKind
from dmrc.engines.local_model import LocalModel
from dmrc.project import DEFAULT_ENGINE, DEFAULT_KEEP_ALIVE_SECONDS, SSH_ENGINE, Mode, ServingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One model with one configuration: equal targets share a runner."""

    reference: str
    """Full reference of the model, for people and for `--alias`; of an upstream, the name as declared."""
    server: ServerKind
    """Whose server its engine starts or reaches."""
    digest: str | None = None
    """Digest of the model's manifest; None where nobody here knows its files."""
    model: LocalModel | None = None
    """Its files; None where they are elsewhere."""
    template: str | None = field(default=None, repr=False)
    """Source of the chat template that is used, wherever it comes from; empty where there is none, None if unknown."""
    identities: tuple[str, ...] = ()
    """What tells the files that are not of the model's own package from others."""
    options: ServingOptions
    """How to serve it, as its engine settled it."""
    upstream_keys: tuple[str | None, ...] = field(default=(), repr=False)
    """The secret that each of its upstreams wants; None where one wants none. Projects with others share no runner."""

    key: str = field(init=False, compare=False)
    """12 hex digits that name the runner: model, configuration, and the files beside the model."""

    def __post_init__(self) -> None:
        parts = (self.digest, self.options.naming_a_runner(), *self.identities, *(self.upstream_keys or (None,)))
        told = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
        object.__setattr__(self, "key", told)

    @property
    def engine(self) -> str:
        """Return the name of the engine that serves it."""
        return SSH_ENGINE if self.options.host else self.options.engine or DEFAULT_ENGINE

    @property
    def mode(self) -> Mode:
        """Return what it is loaded for."""
        return self.options.mode or "completion"

    @property
    def context_size(self) -> int | None:
        """Return the tokens that one request may use; None where its engine decides."""
        return self.options.context_size

    @property
    def keep_alive_seconds(self) -> float:
        """Return how long it stays loaded when idle; inf is for ever."""
        seconds = self.options.keep_alive_seconds
        return DEFAULT_KEEP_ALIVE_SECONDS if seconds is None else seconds
