"""Bodies and answers of Ollama's routes about models.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from dmrc.gateway.routes.documents import AnswerDocument, DescribedResponses, Name, RequestDocument


class OllamaModelName(RequestDocument):
    """Which model; older clients write `name` for `model`."""

    name: Name = Field(alias="model", examples=["ai/smollm2"], description="Its reference")

    @model_validator(mode="before")
    @classmethod
    def _with_older_name(cls, body: object) -> object:
        if isinstance(body, dict) and not body.get("model") and body.get("name"):
            return {**body, "model": body["name"]}
        return body


class Pull(OllamaModelName):
    """A model to pull."""

    stream: bool = Field(default=True, description="Whether each step is told")


class Copy(RequestDocument):
    """Another name for a model."""

    source: Name = Field(examples=["ai/smollm2"])
    destination: Name = Field(examples=["ai/smollm2"])


class Details(AnswerDocument):
    """What kind of model it is."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class Listed(AnswerDocument):
    """A model."""

    name: str
    model: str = Field(description="The same as `name`")
    modified_at: str = Field(description="When it was packaged or pulled, in RFC 3339")
    size: int = Field(description="Bytes")
    digest: str = Field(description="SHA-256 of its manifest, in hex")
    details: Details


class Tags(AnswerDocument):
    """The models that the caller may use."""

    models: list[Listed]


class RunningModel(AnswerDocument):
    """A model that runs."""

    name: str
    model: str = Field(description="The same as `name`")
    size: int = Field(description="Bytes of memory, without what is kept of earlier prompts")
    digest: str = Field(description="SHA-256 of its manifest, in hex")
    details: Details
    size_vram: int = Field(description="Bytes of it on graphics cards")
    expires_at: str = Field(description="When it is unloaded, in RFC 3339")
    context_length: int | None = Field(description="Tokens per request")


class RunningModels(AnswerDocument):
    """Those that run."""

    models: list[RunningModel]


class Shown(AnswerDocument):
    """A model in detail."""

    modelfile: str
    parameters: str = Field(description="Lines of a name and a value")
    template: str = Field(description="Its chat template, in Jinja")
    license: str
    details: Details
    model_info: dict[str, Any] = Field(description="Header of the file")
    capabilities: list[str] = Field(description="As `completion`, `vision`, `tools`")
    modified_at: str


class PullLine(AnswerDocument):
    """One line of a pull; the last one has `success`."""

    status: str
    digest: str = ""
    total: int = Field(default=0, description="Bytes of this layer")
    completed: int = 0


PULL_LINES: DescribedResponses = {
    200: {"model": PullLine, "description": "Lines of JSON, each as this; one without `stream`"}
}
"""What a pull answers, for the OpenAPI document."""
