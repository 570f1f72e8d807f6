"""A model with all that its engine in the cluster needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dmrc.engines.engine import Launch, MemoryEstimate
from dmrc.project import DEFAULT_ENGINE, ModelDeclaration, ReplicaRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A model of the store whose files an engine reads, in a directory of its own."""

    folder: str
    """Where it is in the Pod, below `/`: `model`, `draft`, `lora-0`."""
    name: str
    """How the project calls it: `ai/smollm2`."""
    reference: str
    """What `dmrc pull` is asked for; by digest where its registry knows digests."""
    digest: str
    """`sha256:<64 hex>` of its manifest in the store."""
    size_bytes: int
    """Bytes of its files."""
    image: str | None = None
    """Its runnable image, by digest; None where weights are pulled."""
    image_tag: str | None = None
    """The name under which that is pushed."""

    @property
    def path(self) -> str:
        """Return where it is in the volume of weights: another model is another directory."""
        return f"{self.folder}-{self.digest.removeprefix('sha256:')[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model with one configuration: one Deployment."""

    name: str
    """Of the Deployment and the Service."""
    declaration: ModelDeclaration
    """The first entry under `models:` that declares it so."""
    keys: tuple[str, ...]
    """Keys of all entries that do."""
    launch: Launch
    """How its engine would be started here; its paths are of this machine."""
    memory: MemoryEstimate | None
    """What it takes; None where the engine does not say."""
    card: tuple[str, int] | None = None
    """The resource of its graphics cards, and how many: `("nvidia.com/gpu", 1)`."""
    packages: tuple[Package, ...] = ()
    """The models of the store that it needs; the first one is itself."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Where files are in the Pod, by their paths on this machine."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files of the project that it needs, by their names below `/files`: a chat template."""
    replicas: ReplicaRange = field(default_factory=ReplicaRange)
    """How many Pods."""

    @property
    def engine(self) -> str:
        """Return the one that was settled on for its files; llama.cpp in the place of those that are like it."""
        return self.launch.options.engine or DEFAULT_ENGINE
