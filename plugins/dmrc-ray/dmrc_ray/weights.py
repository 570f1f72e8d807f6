"""The files of a model on a node: those of the daemon's store where the node sees them, else pulled once per node."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dmrc.engines.local_model import Companion, Companions, LocalModel
from dmrc.errors import DmrcError, EngineStartError
from dmrc.gguf import GgufFacts
from dmrc.sources import ProgressEvent
from dmrc_ray.order import Work

Say = Callable[[str], None]
"""Hears what is done."""

_HEX = 64


def local_model(work: Work, node: str, say: Say) -> LocalModel:
    """Return the model with what is loaded beside it, on this node; blocks, for minutes where it is pulled.

    Raises:
        EngineStartError: It is neither here nor to be had.
    """
    path = Path(work.path)
    beside = [each for each in (work.mmproj, *work.loras, work.draft, work.chat_template) if each is not None]
    if not _is_here(path, work.size_bytes) or not all(Path(each).is_file() for each in beside):
        try:
            found = _pulled(work, say)
        except DmrcError as error:
            raise EngineStartError(
                f"node '{node}' has no model '{work.name}' and cannot pull it: {error}",
                remedy=f"Mount {path.parent} there, or push the model to a registry that the node reaches",
            ) from error
        path, beside_at = found
    else:
        beside_at = {each: Path(each) for each in beside}
    template = beside_at[work.chat_template] if work.chat_template else None
    return LocalModel(
        path=path,
        facts=_facts(path, work.name),
        companions=Companions(
            mmproj=_companion(beside_at, work.mmproj),
            loras=tuple(filter(None, (_companion(beside_at, each) for each in work.loras))),
            draft=_companion(beside_at, work.draft),
        ),
        chat_template=template,
        template=template.read_text() if template else None,
    )


def _is_here(path: Path, size_bytes: int) -> bool:
    """Return whether a file of a store is here: its name, or its directory's, is its digest."""
    try:
        return path.stat().st_size == size_bytes and os.access(path, os.R_OK)
    except OSError:
        return False


def _pulled(work: Work, say: Say) -> tuple[Path, dict[str, Path]]:
    """Pull the model and what is beside it into the node's own store, and return where its files are."""
    from dmrc.cli.app import App
    from dmrc.hooks.plugins import Plugins
    from dmrc.settings import Settings

    settings = Settings.from_environment(os.environ)
    app = App(settings, Plugins(settings.plugins))
    progress = _Percent(say)
    pulled = app.models.pull(_reference(work), progress)
    if work.digest is not None and pulled.digest != work.digest:
        raise EngineStartError(f"its source has {pulled.digest} there now, and not {work.digest}")
    for reference in work.references:
        app.models.pull(reference, progress)
    model = app.store.resolve(pulled.digest, settings.default_registry)
    blobs = settings.paths.store / "blobs" / "sha256"
    beside: dict[str, Path] = {}
    for each in (work.mmproj, *work.loras, work.draft, work.chat_template):
        if each is not None:
            name = Path(each).name
            if len(name) != _HEX or not (blobs / name).is_file():
                raise EngineStartError(f"its file {each} is no part of {', '.join((work.name, *work.references))}")
            beside[each] = blobs / name
    return app.store.files(model).path, beside


class _Percent:
    """Says how far a pull is, all of its parts together."""

    def __init__(self, say: Say) -> None:
        self._say, self._last = say, -1
        self._parts: dict[str | None, tuple[int, int]] = {}

    def __call__(self, event: ProgressEvent) -> None:
        self._parts[event.layer] = event.current_bytes, event.size_bytes
        there, total = (sum(numbers) for numbers in zip(*self._parts.values(), strict=True))
        if total and (percent := there * 100 // total) > self._last:
            self._last = percent
            self._say(f"pulling the model ({percent} %)")


def _reference(work: Work) -> str:
    """Return what is pulled: of a registry the very model, whatever its tag is by now; others have no digests."""
    name = work.name
    if work.digest is None or "@" in name or "://" in name or name.startswith(("hf.co/", "huggingface.co/")):
        return name
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}@{work.digest}"


def _companion(beside: dict[str, Path], written: str | None) -> Companion | None:
    return None if written is None else Companion(beside[written], _facts(beside[written], written))


def _facts(path: Path, name: str) -> GgufFacts:
    """Read the header of a model, and those of its other parts where it is split."""
    with path.open("rb") as stream:
        first = GgufFacts.parse(stream, name=name)
    if len(path.name) == _HEX:  # a blob, by its digest: one file
        return first
    others = []
    for part in sorted(path.parent.glob("*.gguf")):
        if part != path:
            with part.open("rb") as stream:
                others.append(GgufFacts.parse(stream, name=name))
    return first.with_shards(others)
