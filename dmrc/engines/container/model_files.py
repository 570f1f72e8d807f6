"""A model's files as a container sees them: read-only, at fixed places, whatever they are called here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dmrc.engines.local_model import Companion, Companions, LocalModel
from dmrc.gguf import GgufFacts

_MODEL = Path("/model")
_BESIDE = Path("/beside")


class Mounts:
    """What of this machine a container may read."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.pairs: list[list[str]] = []
        """Each path here, and its path there."""

    def model(self, model: LocalModel) -> LocalModel:
        """Return a model with the paths that its files have in the container."""
        files = model.companions
        beside = Companions(
            mmproj=self._companion("mmproj", files.mmproj) if files.mmproj else None,
            loras=tuple(self._companion(f"lora-{number}", lora) for number, lora in enumerate(files.loras, 1)),
            draft=self._companion("draft", files.draft) if files.draft else None,
        )
        template = self._add(model.chat_template, _BESIDE / "chat_template.jinja") if model.chat_template else None
        path = self._weights(model.path, model.facts, _MODEL)
        return replace(model, path=path, companions=beside, chat_template=template)

    def _companion(self, name: str, companion: Companion) -> Companion:
        return replace(companion, path=self._weights(companion.path, companion.facts, _BESIDE / name))

    def _weights(self, path: Path, facts: GgufFacts | None, place: Path) -> Path:
        """Mount a directory, one file, or the directory of a GGUF in several parts, which are found by the first."""
        if path.is_dir():
            return self._add(path, place)
        if facts is not None and facts.split_count > 1:
            return self._add(path.parent, place) / path.name
        return self._add(path, place / "model.gguf")

    def _add(self, here: Path, there: Path) -> Path:
        self.pairs.append([str(here), str(there)])
        return there
