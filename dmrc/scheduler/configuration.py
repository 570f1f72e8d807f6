"""What `dmrc configure` set: it is remembered over restarts of the daemon."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from dmrc.errors import InputError
from dmrc.project import DEFAULT_CONTEXT_SIZE, DEFAULT_ENGINE, DEFAULT_KEEP_ALIVE_SECONDS, ServingOptions
from dmrc.state import BAD_ROW, StateDatabase, known_fields

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS configuration (
    project TEXT NOT NULL, model TEXT NOT NULL, wishes TEXT NOT NULL, PRIMARY KEY (project, model)
);
"""


DEFAULTS = ServingOptions(
    context_size=DEFAULT_CONTEXT_SIZE, keep_alive_seconds=DEFAULT_KEEP_ALIVE_SECONDS, engine=DEFAULT_ENGINE
)
"""What holds where nobody says anything; the number of slots then follows from the memory there is."""


_NOTHING = ServingOptions()


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
        self._options = dict(self._read())

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def all(self) -> dict[tuple[str | None, str], ServingOptions]:
        """Return what was set, by project (None is all) and full name of the model."""
        return dict(self._options)

    def of(self, project: str | None, model: str) -> ServingOptions:
        """Return what holds for a model in a project: what was set for that, then what was set for all."""
        return configured_in(self._options, project, model)

    def set(self, project: str | None, model: str, options: ServingOptions, *, replace: bool = False) -> None:
        """Set the fields that `options` says; the others stay as they were, or with `replace` are forgotten.

        Raises:
            StoreError: It cannot be written; nothing has changed then.
        """
        if replace and not options.said():
            self.remove(project, model)
            return
        merged = options if replace else options.over(self._options.get((project, model), _NOTHING))
        with self._database.writing() as database:
            database.execute(
                "INSERT INTO configuration VALUES (?, ?, ?) "
                "ON CONFLICT (project, model) DO UPDATE SET wishes = excluded.wishes",
                (project or "", model, json.dumps(merged.to_json())),
            )
        self._options[project, model] = merged
        self.version += 1

    def remove(self, project: str | None, model: str) -> bool:
        """Forget what was set for a model; return whether there was anything.

        Raises:
            StoreError: It cannot be written; nothing has changed then.
        """
        with self._database.writing() as database:
            database.execute("DELETE FROM configuration WHERE project = ? AND model = ?", (project or "", model))
        self.version += 1
        return self._options.pop((project, model), None) is not None

    def _read(self) -> Iterator[tuple[tuple[str | None, str], ServingOptions]]:
        for project, model, text in self._database.rows(
            "SELECT project, model, wishes FROM configuration ORDER BY rowid"
        ):
            try:
                yield (project or None, model), _read(text)
            except InputError as error:
                _log.warning("what was configured for model '%s' does not hold any more: %s", model, error)


def configured_in(
    options: Mapping[tuple[str | None, str], ServingOptions], project: str | None, model: str
) -> ServingOptions:
    """Return what holds for a model in a project, of all that was set: see `Configurations.of` and `all`."""
    everywhere = options.get((None, model), _NOTHING)
    own = options.get((project, model)) if project is not None else None
    return everywhere if own is None else own.over(everywhere)


def _read(text: str | bytes) -> ServingOptions:
    """Read what was saved, here or in another version: fields that are not known are ignored.

    Raises:
        InputError: It is no configuration.
    """
    try:
        return ServingOptions.from_json(known_fields(ServingOptions, json.loads(text), "a configuration"))
    except BAD_ROW as error:
        raise InputError(f"a configuration cannot be read: {type(error).__name__}: {error}") from error
