"""How a model is to be served, as several sources say it, field by field, each value with its origin."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from dmrc.engines.engine import Mode
from dmrc.errors import InputError
from dmrc.project import DEFAULT_ENGINE, ModelDeclaration
from dmrc.scheduler.target import DEFAULT_CONTEXT_SIZE, DEFAULT_KEEP_ALIVE_SECONDS
from dmrc.state import BAD_ROW, StateDatabase, known_fields

_log = logging.getLogger(__name__)

Origin = Literal["compose", "command line", "package", "default"]
"""Who says it, the strongest first: a compose file is what a team has agreed on, and no wish of one machine changes
it."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS configuration (
    project TEXT NOT NULL, model TEXT NOT NULL, wishes TEXT NOT NULL, PRIMARY KEY (project, model)
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What one source says; None where it says nothing."""

    context_size: int | None = None
    """Tokens that each request may use."""
    runtime_flags: tuple[str, ...] | None = None
    """Flags for the engine, all of them: a list is one value."""
    parallel: int | None = None
    """Requests at the same time."""
    keep_alive_seconds: float | None = None
    """How long an idle runner stays; inf is for ever, and pins it."""
    engine: str | None = None
    """Name of the engine."""
    mode: Mode | None = None
    """What the model is loaded for before a request says it: by `dmrc up`."""
    reasoning_budget: int | None = None
    """Tokens that the model may think for; 0 is none, -1 any number."""
    draft: str | None = None
    """Full reference of a smaller model with the same vocabulary, which guesses ahead."""
    draft_tokens: int | None = None
    """Most tokens that it guesses at a time."""
    draft_acceptance: float | None = None
    """How sure it must be of a token, from 0 to 1."""

    @classmethod
    def of(cls, declaration: ModelDeclaration) -> Wishes:
        """Return what a compose file says. The default engine counts as unsaid, whether it is written or not."""
        return cls(
            context_size=declaration.context_size,
            runtime_flags=declaration.runtime_flags or None,
            parallel=declaration.parallel,
            keep_alive_seconds=declaration.keep_alive_seconds,
            engine=declaration.engine if declaration.engine != DEFAULT_ENGINE else None,
        )

    def over(self, weaker: Wishes) -> Wishes:
        """Return these wishes, completed by weaker ones."""
        said: dict[str, Any] = self.said()
        return replace(weaker, **said)

    def said(self) -> dict[str, object]:
        """Return the fields that say something."""
        return {name: value for name in FIELDS if (value := getattr(self, name)) is not None}

    def to_json(self) -> str:
        """Return JSON; the infinite keep_alive is written as -1, which JSON can hold."""
        said = self.said()
        if said.get("keep_alive_seconds") == math.inf:
            said["keep_alive_seconds"] = -1
        return json.dumps(said)

    @classmethod
    def from_json(cls, text: str | bytes) -> Wishes:
        """Read what `to_json` wrote, here or in another version: fields that are not known are ignored.

        Raises:
            InputError: It is no configuration.
        """
        try:
            return cls._read(json.loads(text))
        except BAD_ROW as error:
            raise InputError(f"a configuration cannot be read: {type(error).__name__}: {error}") from error

    @classmethod
    def _read(cls, document: dict[str, Any]) -> Wishes:
        if document.get("keep_alive_seconds") == -1:
            document["keep_alive_seconds"] = math.inf
        if "runtime_flags" in document:
            document["runtime_flags"] = tuple(document["runtime_flags"])
        return cls(**known_fields(cls, document, "a configuration"))


FIELDS = tuple(field.name for field in fields(Wishes))
"""The names of all fields."""

DEFAULTS = Wishes(
    context_size=DEFAULT_CONTEXT_SIZE, keep_alive_seconds=DEFAULT_KEEP_ALIVE_SECONDS, engine=DEFAULT_ENGINE
)
"""What holds where nobody says anything; the number of slots then follows from the memory there is."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What all sources say together."""

    wishes: Wishes
    """The strongest value of each field."""
    origins: Mapping[str, Origin]
    """Who said it, for each field; fields that nobody set are from `default`."""


def merge(layers: Sequence[tuple[Origin, Wishes]]) -> Merged:
    """Return what holds, from the strongest source to the weakest."""
    wishes = Wishes()
    origins: dict[str, Origin] = {}
    for origin, layer in layers:
        for name in layer.said():
            origins.setdefault(name, origin)
        wishes = wishes.over(layer)
    return Merged(wishes, {name: origins.get(name, "default") for name in FIELDS})


class Configurations:
    """What `dmrc configure` set, in SQLite, with a copy in memory. One process (the daemon) writes."""

    def __init__(self, path: Path) -> None:
        """Open or make the database.

        Raises:
            StoreError: It cannot be used.
        """
        self._database = StateDatabase(path, _SCHEMA)
        self.version = 0
        """Grows with each change."""
        self._wishes = dict(self._read())

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def all(self) -> dict[tuple[str | None, str], Wishes]:
        """Return what was set, by project (None is all) and full name of the model."""
        return dict(self._wishes)

    def of(self, project: str | None, model: str) -> Wishes:
        """Return what holds for a model in a project: what was set for that, then what was set for all."""
        everywhere = self._wishes.get((None, model), _NOTHING)
        own = self._wishes.get((project, model)) if project is not None else None
        return everywhere if own is None else own.over(everywhere)

    def set(self, project: str | None, model: str, wishes: Wishes, *, replace: bool = False) -> None:
        """Set the fields that `wishes` says; the others stay as they were, or with `replace` are forgotten.

        Raises:
            StoreError: It cannot be written; nothing has changed then.
        """
        if replace and not wishes.said():
            self.remove(project, model)
            return
        merged = wishes if replace else wishes.over(self._wishes.get((project, model), _NOTHING))
        with self._database.writing() as database:
            database.execute(
                "INSERT INTO configuration VALUES (?, ?, ?) "
                "ON CONFLICT (project, model) DO UPDATE SET wishes = excluded.wishes",
                (project or "", model, merged.to_json()),
            )
        self._wishes[project, model] = merged
        self.version += 1

    def remove(self, project: str | None, model: str) -> bool:
        """Forget what was set for a model; return whether there was anything.

        Raises:
            StoreError: It cannot be written; nothing has changed then.
        """
        with self._database.writing() as database:
            database.execute("DELETE FROM configuration WHERE project = ? AND model = ?", (project or "", model))
        self.version += 1
        return self._wishes.pop((project, model), None) is not None

    def _read(self) -> Iterator[tuple[tuple[str | None, str], Wishes]]:
        for project, model, text in self._database.rows(
            "SELECT project, model, wishes FROM configuration ORDER BY rowid"
        ):
            try:
                yield (project or None, model), Wishes.from_json(text)
            except InputError as error:
                _log.warning("what was configured for model '%s' does not hold any more: %s", model, error)


_NOTHING = Wishes()
