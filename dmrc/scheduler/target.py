"""What a request wants to run on: one model with one configuration."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dmrc.engines.engine import Companions, Launch, RunnerConfiguration
from dmrc.engines.llama_cpp.memory import prompt_store, sets_prompt_cache
from dmrc.gguf import GgufFacts
from dmrc.project import Upstream

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
    facts: GgufFacts
    """What the GGUF header says."""
    companions: Companions = field(default_factory=Companions)
    """GGUF files that are loaded beside it."""
    chat_template: Path | None = None
    """Chat template that replaces the one in the GGUF."""
    template: str | None = field(default=None, repr=False)
    """Source of the chat template that is used, wherever it comes from; empty where there is none."""
    identities: tuple[str, ...] = ()
    """What tells the files that are not of the model's own package from others."""
    configuration: RunnerConfiguration
    """How to serve it."""
    keep_alive_seconds: float = DEFAULT_KEEP_ALIVE_SECONDS
    """How long it stays loaded when idle; inf is for ever. Not part of the key."""

    key: str = field(init=False, compare=False)
    """12 hex digits that name the runner: model, configuration, and the files beside the model."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _key(self.digest, asdict(self.configuration), *self.identities))

    @property
    def context_size(self) -> int:
        """Return the tokens that one request may use."""
        return self.configuration.context_size or DEFAULT_CONTEXT_SIZE

    @property
    def has_free_prompt_cache(self) -> bool:
        """Return whether earlier prompts are of use, and the project leaves it to us how much memory they get."""
        configuration = self.configuration
        is_chat = configuration.mode == "completion" and self.facts.is_causal
        return is_chat and not sets_prompt_cache(configuration.runtime_flags)

    def launch(self, parallel: int, prompt_cache_bytes: int, socket: Path, log: Path) -> Launch:
        """Return the child that serves it."""
        files, flags = self.companions, self.configuration.runtime_flags
        mib, checkpoints = prompt_store(self.facts, parallel, prompt_cache_bytes, flags)
        return Launch(
            name=self.reference,
            gguf=self.gguf,
            mmproj=files.mmproj.path if files.mmproj else None,
            loras=tuple(lora.path for lora in files.loras),
            draft=files.draft.path if files.draft else None,
            chat_template=self.chat_template,
            mode=self.configuration.mode,
            context_size=self.context_size,
            parallel=parallel,
            prompt_cache_mib=mib,
            context_checkpoints=checkpoints,
            runtime_flags=flags,
            socket=socket,
            log=log,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTarget:
    """One model of a server that somebody else runs: it needs no memory and no child."""

    reference: str
    """Name of the model as declared."""
    upstream: Upstream
    """The server."""
    upstream_key: str | None = field(default=None, repr=False)
    """The secret that it wants; None where it wants none."""
    configuration: RunnerConfiguration
    """How many requests at the same time."""
    keep_alive_seconds: float = DEFAULT_KEEP_ALIVE_SECONDS
    """How long connections to it are kept when idle."""

    @property
    def key(self) -> str:
        """Return 12 hex digits that name the runner. Projects with other keys do not share it."""
        return _key(asdict(self.upstream), asdict(self.configuration), self.upstream_key)

    @property
    def digest(self) -> None:
        """Return None: nobody here knows the model's files."""

    @property
    def context_size(self) -> None:
        """Return None: the upstream decides."""


AnyTarget = Target | UpstreamTarget
"""What a request may want to run on."""


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
