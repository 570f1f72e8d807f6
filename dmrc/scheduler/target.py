"""What a request wants to run on: one model with one configuration."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dmrc.engines.engine import RunnerConfiguration
from dmrc.gguf import GgufFacts

DEFAULT_CONTEXT_SIZE = 4096
"""Tokens per request where neither the project nor the package says; never the trained maximum, which may not fit."""

DEFAULT_KEEP_ALIVE_SECONDS = 300.0
"""How long an idle runner stays loaded. Source: Docker Model Runner and Ollama have the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One model with one configuration: equal targets share a runner."""

    reference: str
    """Full reference of the model, for people and for `--alias`."""
    digest: str
    """Digest of the model's manifest."""
    gguf: Path
    """First or only GGUF file."""
    mmproj: Path | None = None
    """Multimodal projector."""
    chat_template: Path | None = None
    """Chat template that replaces the one in the GGUF."""
    facts: GgufFacts
    """What the GGUF header says."""
    configuration: RunnerConfiguration
    """How to serve it."""
    keep_alive_seconds: float = DEFAULT_KEEP_ALIVE_SECONDS
    """How long it stays loaded when idle; inf is for ever. Not part of the key."""

    key: str = field(init=False, compare=False)
    """12 hex digits that name the runner: model and configuration."""

    def __post_init__(self) -> None:
        text = json.dumps([self.digest, asdict(self.configuration)], sort_keys=True)
        object.__setattr__(self, "key", hashlib.sha256(text.encode()).hexdigest()[:12])

    @property
    def context_size(self) -> int:
        """Return the tokens that one request may use."""
        return self.configuration.context_size or DEFAULT_CONTEXT_SIZE
