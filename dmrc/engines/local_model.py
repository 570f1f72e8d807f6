"""A model on this machine, as engines load it: its files, and what is loaded beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dmrc.errors import EngineError
from dmrc.gguf import GgufFacts

GGUF = "gguf"
"""The format of a model that is one GGUF file, or one in several parts."""


@dataclass(frozen=True, slots=True)
class Companion:
    """What is loaded beside a model, in the model's own format."""

    path: Path
    """Its file, of a split GGUF the first part; a directory where it has several files."""
    facts: GgufFacts | None
    """What the header of a GGUF says; None for other formats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """What is loaded beside a model."""

    mmproj: Companion | None = None
    """Multimodal projector."""
    loras: tuple[Companion, ...] = ()
    """LoRA adapters, all of them applied."""
    draft: Companion | None = None
    """Smaller model with the same vocabulary, which guesses ahead."""

    @property
    def kinds(self) -> list[str]:
        """Return the kind of each: `mmproj`, `lora`, `draft`."""
        kinds = ["mmproj"] if self.mmproj else []
        return kinds + ["lora"] * len(self.loras) + (["draft"] if self.draft else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model on this machine, with all files that are loaded beside it."""

    path: Path
    """Its file, of a split GGUF the first part; a directory where its format has several files."""
    format: str = GGUF
    """As its package says: `gguf`, `safetensors`."""
    facts: GgufFacts | None = None
    """What the header of a GGUF says; None for other formats."""
    trained_context: int | None = None
    """Tokens that it was trained for, as far as its package says."""
    companions: Companions = field(default_factory=Companions)
    """What is loaded beside it."""
    chat_template: Path | None = None
    """Jinja file that replaces the template in the model."""
    template: str | None = field(default=None, repr=False)
    """Source of that file."""


def local(model: LocalModel | None) -> LocalModel:
    """Return a model that must be on this machine; the scheduler starts no engine for another."""
    if model is None:
        raise EngineError("the model has no files on this machine")
    return model


def facts_of(model: LocalModel | Companion | None) -> GgufFacts:
    """Return what the header of a model, or of what is loaded beside it, says; it must be a GGUF on this machine."""
    found = model.facts if isinstance(model, Companion) else local(model).facts
    if found is None:
        raise EngineError("the model is not a GGUF file")
    return found
