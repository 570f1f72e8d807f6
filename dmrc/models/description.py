"""Models as JSON, with the keys of Docker Model Runner and of OpenAI."""

from __future__ import annotations

from dmrc.artifact import CONTEXT_LENGTH
from dmrc.errors import DmrcError
from dmrc.exchange import JsonValue
from dmrc.gguf import GgufFacts, format_size
from dmrc.store import Store, StoredModel


def describe(model: StoredModel) -> dict[str, JsonValue]:
    """Return a model as `docker model ls --json` and `inspect` show it.

    Shape: `{"id": "sha256:…", "tags": ["docker.io/ai/smollm2:latest"], "created": 1742816981, "config": {"format":
    "gguf", "quantization": "Q4_K_M", "parameters": "361.82 M", "architecture": "llama", "size": "268.80 MB", "gguf":
    {"general.name": "…"}, "context_size": 8192}}`. `created` is when the model came here where its packager does not
    say more; `context_size` is left out where none was recorded.
    """
    config: dict[str, JsonValue] = {
        "format": model.config.format,
        "quantization": model.config.quantization,
        "parameters": model.config.parameters,
        "architecture": model.config.architecture,
        "size": format_size(model.size_bytes),
        "gguf": dict(model.config.gguf),
    }
    if model.config.safetensors:
        config["safetensors"] = dict(model.config.safetensors)
    if model.config.context_size is not None:
        config["context_size"] = model.config.context_size
    created = model.pulled_at if model.created is None else int(model.created.timestamp())
    return {"id": model.digest, "tags": list(model.tags), "created": created, "config": config}


def describe_for_openai(model: StoredModel) -> list[dict[str, JsonValue]]:
    """Return a model as `GET /v1/models` and `list --openai` show it, once for each of its tags.

    Shape: `{"id": "docker.io/ai/smollm2:latest", "object": "model", "created": 1742816981, "owned_by": "docker", "dmr":
    {"context_window": 8192, "architecture": "llama", "parameters": "361.82 M", "quantization": "Q4_K_M", "size":
    "268.80 MB"}}`.
    """
    return [openai_model(name, model) for name in model.tags or (model.digest,)]


def openai_model(name: str, model: StoredModel | None) -> dict[str, JsonValue]:
    """Return one such entry, under one name; without a model, as of an upstream, it has no `dmr`."""
    common: dict[str, JsonValue] = {"id": name, "object": "model", "created": 0, "owned_by": "docker"}
    if model is None:
        return common
    facts: dict[str, JsonValue] = {
        "context_window": trained_context(model) if model.config.context_size is None else model.config.context_size,
        "architecture": model.config.architecture,
        "parameters": model.config.parameters,
        "quantization": model.config.quantization,
        "size": format_size(model.size_bytes),
    }
    return {**common, "created": describe(model)["created"] or 0, "dmr": facts}


def capabilities(facts: GgufFacts | None, template: str, *, has_projector: bool) -> list[str]:
    """Return what a model can do, in Ollama's words, as far as its header, its template and its parts tell.

    Without `facts` it is no GGUF. Shape: `["completion", "vision", "tools", "insert", "thinking"]`, or `["embedding"]`.
    """
    if facts is not None and facts.pooling_type:
        return ["embedding"]
    can = {
        "completion": True,
        "vision": has_projector,
        "tools": "tools" in template,
        "insert": any(key.startswith("tokenizer.ggml.fim_") for key in (facts.metadata if facts else ())),
        "thinking": "<think>" in template or "enable_thinking" in template,
    }
    return [name for name, has in can.items() if has]


def stored_capabilities(store: Store, model: StoredModel) -> list[str]:
    """Return what a model can do as it was packaged; nothing where its files cannot be read."""
    try:
        facts, files = store.facts(model), store.files(model)
        template = (
            files.chat_template.read_text(errors="replace")
            if files.chat_template
            else (facts and facts.chat_template) or ""
        )
    except (DmrcError, OSError):
        return []
    return capabilities(facts, template, has_projector=files.mmproj is not None)


def trained_context(model: StoredModel) -> int | None:
    """Return the tokens that the model was trained for, as its header says; None where the artifact left that out."""
    config = model.config
    text = config.gguf.get(f"{config.architecture}.context_length") or config.safetensors.get(CONTEXT_LENGTH, "")
    return int(text) if text.isascii() and text.isdigit() else None
