"""What a person chooses for an export: images, where weights come from, and sizes that no file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from dmrc.project import ReplicaRange

Weights = Literal["pull", "volume", "image"]
"""How the weights reach an engine: pulled into an empty directory of the Pod, or into a volume that outlives it, by an
init container; or mounted as an image, which needs Kubernetes 1.36 or newer."""

WEIGHTS: tuple[Weights, ...] = get_args(Weights)

OverlayName = Literal["inference-pool", "kserve", "ray"]
"""What other operators there is an overlay for: a pool of the Gateway API, KServe's LLMInferenceService, RayService."""

OVERLAYS: tuple[OverlayName, ...] = get_args(OverlayName)

ImageKind = Literal["dmrc", "llama.cpp", "llama.cpp-cuda", "llama.cpp-rocm", "vllm", "ray"]
"""The images that an export names."""

# Source: https://github.com/ggml-org/llama.cpp/blob/master/docs/docker.md
IMAGES: Mapping[ImageKind, str] = {
    "dmrc": "dmrc:latest",
    "llama.cpp": "ghcr.io/ggml-org/llama.cpp:server",
    "llama.cpp-cuda": "ghcr.io/ggml-org/llama.cpp:server-cuda",
    "llama.cpp-rocm": "ghcr.io/ggml-org/llama.cpp:server-rocm",
    "vllm": "docker.io/vllm/vllm-openai:latest",
    "ray": "dmrc-ray:latest",
}
"""What each is where nobody says: a tag, which a registry may move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How a project is exported."""

    weights: Weights = "pull"
    """How weights reach the engines."""
    models_in: str | None = None
    """Registry and path of the runnable images of models, for weights that are images: `registry.example/models`."""
    images: Mapping[ImageKind, str] = field(default_factory=dict)
    """Images in place of the usual ones."""
    cpus: int = 2
    """Processors that an engine asks for, and the threads that it computes with, where no flag says."""
    autoscale: bool = False
    """Whether models with a range of replicas get a HorizontalPodAutoscaler."""
    replicas: Mapping[str, ReplicaRange] = field(default_factory=dict)
    """Replicas of a model, by its key, in place of what the project says."""

    overlays: tuple[OverlayName, ...] = ()
    """Overlays beside the base."""
    is_remote: bool = False
    """Whether models are read where they would be pulled from, and not in the store."""

    def image(self, kind: ImageKind) -> str:
        """Return what was named for one kind, else the usual one."""
        return self.images.get(kind) or IMAGES[kind]
