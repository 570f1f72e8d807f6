"""Bodies and answers of Docker Model Runner's routes.

Source: https://github.com/docker/model-runner/blob/main/pkg/inference/scheduling/api.go
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from dmrc.errors import InputError
from dmrc.gateway.routes.documents import AnswerDocument, DescribedResponses, Name, Number, RequestDocument
from dmrc.project import DEFAULT_ENGINE, Mode, ServingOptions, overrides, parse_keep_alive, share

_MODES: Mapping[str, Mode] = {"completion": "completion", "embedding": "embedding", "reranking": "rerank"}


class Create(RequestDocument):
    """A model to pull."""

    model: Name = Field(alias="from", examples=["ai/smollm2"], description="Its reference")


class Repackage(RequestDocument):
    """A variant of a model."""

    target: Name = Field(examples=["ai/smollm2:short"], description="Reference of the variant")
    context_size: Number | None = Field(default=None, description="Tokens per request")


class DmrUnload(RequestDocument):
    """The runners to end."""

    all: bool = Field(default=False, description="Whether all of them; `models` says nothing then")
    models: list[str] = Field(default=[], description="References or digests; one that does not run counts as none")
    backend: str = Field(default="", description="Engine; only its runners end")


class Backend(RequestDocument):
    """An engine."""

    backend: Name = Field(examples=[DEFAULT_ENGINE])


class LlamaCppOptions(RequestDocument):
    """What only llama.cpp knows."""

    reasoning_budget: Annotated[int, Field(strict=True, ge=-1)] | None = Field(
        default=None, alias="reasoning-budget", description="Tokens to think for; 0 is none, -1 any number"
    )


class VllmOptions(RequestDocument):
    """What only vLLM knows."""

    hf_overrides: dict[str, Any] | None = Field(
        default=None, alias="hf-overrides", description="What replaces entries of the model's `config.json`"
    )
    gpu_memory_utilization: Annotated[float, Field(strict=True)] | None = Field(
        default=None, alias="gpu-memory-utilization", description="Share of a graphics card's memory: above 0, to 1"
    )

    @field_validator("gpu_memory_utilization")
    @classmethod
    def _check_share(cls, value: object) -> object:
        try:
            return None if value is None else share(value, "'gpu-memory-utilization'")
        except InputError as error:
            raise ValueError(str(error)) from error

    @field_validator("hf_overrides")
    @classmethod
    def _check_overrides(cls, value: object) -> object:
        try:
            overrides(value, "'hf-overrides'")
        except InputError as error:
            raise ValueError(str(error)) from error
        return value


class Speculative(RequestDocument):
    """A smaller model that guesses ahead; 0 and an empty text are the engine's own choice."""

    draft_model: str = ""
    num_tokens: Number = Field(default=0, description="Most tokens that it guesses at a time")
    min_acceptance_rate: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        default=0, description="How sure it must be of a token"
    )


class DmrConfigure(RequestDocument):
    """How a model is to be served, in place of what was set before."""

    model: Name = Field(examples=["ai/smollm2"])
    mode: Literal["completion", "embedding", "reranking"] | None = None
    context_size: Annotated[int, Field(strict=True)] | None = Field(
        default=None, alias="context-size", description="Tokens per request; below 1 is the default"
    )
    runtime_flags: list[str] = Field(default=[], alias="runtime-flags", description="Flags for the engine")
    raw_runtime_flags: str | None = Field(
        default=None, alias="raw-runtime-flags", description="The same as one line, which is split as a shell does it"
    )
    keep_alive: Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)] | str | None = Field(
        default=None, description="How long it stays loaded: `5m`, `90`, `0`; below 0 is for ever"
    )
    llamacpp: LlamaCppOptions = LlamaCppOptions()
    speculative: Speculative = Speculative()
    vllm: VllmOptions | None = None

    @field_validator("keep_alive")
    @classmethod
    def _check_keep_alive(cls, value: object) -> object:
        try:
            parse_keep_alive(value, "'keep_alive'")
        except InputError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("raw_runtime_flags")
    @classmethod
    def _check_flags(cls, value: str | None) -> str | None:
        try:
            shlex.split(value or "")
        except ValueError as error:
            raise ValueError(f"'raw-runtime-flags' cannot be split into flags: {error}") from error
        return value

    def options(self, engine: str | None) -> ServingOptions:
        """Return what it says, for an engine; None leaves that open."""
        flags = self.runtime_flags if self.raw_runtime_flags is None else shlex.split(self.raw_runtime_flags)
        vllm = self.vllm or VllmOptions()
        return ServingOptions(
            context_size=self.context_size if self.context_size and self.context_size > 0 else None,
            runtime_flags=tuple(flags) or None,
            keep_alive_seconds=parse_keep_alive(self.keep_alive, "keep_alive"),
            engine=engine,
            mode=_MODES[self.mode] if self.mode else None,
            reasoning_budget=self.llamacpp.reasoning_budget,
            draft=self.speculative.draft_model or None,
            draft_tokens=self.speculative.num_tokens or None,
            hf_overrides=overrides(vllm.hf_overrides, "'hf-overrides'") if vllm.hf_overrides else None,
            gpu_memory_utilization=vllm.gpu_memory_utilization,
            draft_acceptance=self.speculative.min_acceptance_rate or None,
        )


class Version(AnswerDocument):
    """Which dmrc this is."""

    version: str


class Running(AnswerDocument):
    """A runner; what is false is left out."""

    backend_name: str = Field(description="Engine")
    model_name: str = Field(description="Reference")
    mode: str = Field(description="`completion`, `embedding` or `reranking`")
    last_used: str = Field(description="When, in RFC 3339; the year 1 where it is in use")
    in_use: bool = False
    loading: bool = False
    keep_alive: str = Field(description="As Go writes a time: `5m0s`; `-1` is for ever")


class DiskUsage(AnswerDocument):
    """Bytes on disk."""

    models_disk_usage: int
    default_backend_disk_usage: int


class DmrUnloaded(AnswerDocument):
    """How many runners ended."""

    unloaded_runners: int


class DmrConfigured(AnswerDocument):
    """How a model is served, and who says so."""

    backend: str | None = Field(alias="Backend", description="Engine")
    model: str = Field(alias="Model", description="Reference")
    model_id: str | None = Field(alias="ModelID", description="Digest; empty where the model is not in the store")
    mode: str = Field(alias="Mode", description="`completion`, `embedding` or `reranking`")
    config: dict[str, Any] = Field(alias="Config", description="What holds, in the names of `POST /engines/_configure`")
    project: str | None = Field(alias="Project", description="Compose project that it holds for; null is every one")
    origin: dict[str, str] = Field(alias="Origin", description="Who says each value, as `compose` or `command line`")


class DmrModelConfig(AnswerDocument):
    """What a model is."""

    format: str
    quantization: str
    parameters: str
    architecture: str
    size: str = Field(description="As a person reads it: `268.80 MB`")
    gguf: dict[str, str] = Field(description="Header of the file")
    safetensors: dict[str, str] = Field(default={}, description="What is known of a model in that format")
    context_size: int = Field(default=0, description="Tokens; left out where none was recorded")


class DmrModel(AnswerDocument):
    """A model of the store."""

    id: str = Field(description="Digest of its manifest")
    tags: list[str] = Field(description="Full references")
    created: int | None = Field(description="Unix seconds")
    config: DmrModelConfig


class Tagged(AnswerDocument):
    """A name that was given."""

    message: str
    target: str = Field(description="The new reference")


class Repackaged(Tagged):
    """A variant that was made."""

    source: str = Field(description="What it was made of")


class DmrRemoved(AnswerDocument):
    """One step of removing a model: a name or a digest."""

    Untagged: str = ""
    Deleted: str = ""


class TransferLine(AnswerDocument):
    """One line of a pull, a push or an upload."""

    type: str = Field(description="`progress`, `success`, `warning` or `error`")
    message: str
    total: int = Field(description="Bytes of all layers that are known")
    layer: dict[str, Any] = Field(description="`id`, `size` and `current` in bytes")
    mode: str = Field(description="`pull` or `push`")


class RecordGroup(AnswerDocument):
    """The last requests of one model."""

    count: int
    model: str = Field(description="Digest, or the name that was asked for")
    config: dict[str, Any]
    records: list[dict[str, Any]] = Field(description="The oldest first")


LINES: DescribedResponses = {200: {"model": TransferLine, "description": "Lines of JSON, each as this"}}
"""What pulls, pushes and uploads answer, for the OpenAPI document."""

ARCHIVE: DescribedResponses = {200: {"content": {"application/x-tar": {}}, "description": "The archive"}}
"""What an export answers."""

ARCHIVE_BODY = {"requestBody": {"content": {"application/x-tar": {}}, "required": True}}
"""What an upload takes."""
