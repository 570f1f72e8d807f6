"""Keys that a person made by `dmrc key create`, for what is no service of a compose project."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dmrc.errors import InputError, NotFoundError
from dmrc.exchange import KEY_SCOPE
from dmrc.project import ModelDeclaration
from dmrc.projects import Caller, Registration, key_hash
from dmrc.state import BAD_ROW, StateDatabase, known_fields
from dmrc.suggestions import did_you_mean

_log = logging.getLogger(__name__)

_SCHEMA = "CREATE TABLE IF NOT EXISTS named_key (name TEXT PRIMARY KEY, facts TEXT NOT NULL)"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedKey:
    """What the daemon knows of a key; the key itself is nowhere."""

    name: str
    """What the person calls it; the record has it as the service."""
    sha256: str
    """Of the key, in hex."""
    models: tuple[str, ...] = ()
    """References of the models that it opens; none stands for all that the store has."""
    docker_host: str | None = None
    """Docker engine whose containers may bring it; None where there was none."""
    created_at: float = 0.0
    """Unix seconds."""

    @property
    def scope(self) -> str:
        """Return what stands in the record where a service has its project: `key:NAME`."""
        return KEY_SCOPE + self.name

    def to_caller(self) -> Caller:
        """Return who asks with it: it has a scope of its own, as a service has its project, and no project."""
        models = {model: ModelDeclaration(key=model, model=model) for model in self.models}
        registration = Registration(
            name=self.scope,
            directory="/",
            models=models,
            services={self.name: tuple(models)},
            any_model=not models,
        )
        return Caller(self.sha256[:12], self.name, registration)

    @classmethod
    def from_json(cls, text: str | bytes) -> NamedKey:
        """Read what `json.dumps(asdict(key))` wrote, here or in another version; fields not known are ignored."""
        return cls.from_document(json.loads(text))

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> NamedKey:
        """Read the same when it is JSON no more; the document is used up."""
        models = tuple(map(str, document.pop("models", ())))
        return cls(models=models, **known_fields(cls, document, "a key"))


class Keys:
    """These keys, in SQLite, with a copy in memory. One process (the daemon) writes."""

    def __init__(self, path: Path) -> None:
        """Open or make the database.

        Raises:
            StoreError: It cannot be used.
        """
        self._database = StateDatabase(path, _SCHEMA)
        self._keys = dict(self._read())
        self._callers = self._read_callers()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def all(self) -> list[NamedKey]:
        """Return the keys that are valid, the oldest first. May be called from any thread."""
        return list(self._keys.values())

    def add(self, key: NamedKey) -> None:
        """Make a key valid; one that is valid already may be added again.

        Raises:
            InputError: There is another one of this name.
            StoreError: It cannot be written; nothing has changed then.
        """
        known = self._keys.get(key.name)
        if known is not None and known.sha256 != key.sha256:
            raise InputError(
                f"there is a key '{key.name}' already",
                remedy=f"Choose another name, or end it: dmrc key revoke {key.name}",
            )
        with self._database.writing() as database:
            database.execute(
                "INSERT INTO named_key VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET facts = excluded.facts",
                (key.name, json.dumps(asdict(key))),
            )
        self._keys[key.name] = key
        self._callers = self._read_callers()

    def revoke(self, name: str) -> None:
        """End a key: whoever brings it from now on is refused.

        Raises:
            NotFoundError: There is none of this name.
            StoreError: It cannot be written; nothing has changed then.
        """
        if name not in self._keys:
            raise NotFoundError(
                f"there is no key '{name}'{did_you_mean(name, self._keys)}", remedy="See: dmrc key list"
            )
        with self._database.writing() as database:
            database.execute("DELETE FROM named_key WHERE name = ?", (name,))
        del self._keys[name]
        self._callers = self._read_callers()

    def caller(self, key: str) -> Caller | None:
        """Return whose key this is; the table is one of hashes, so the time tells nothing about a key."""
        return self._callers.get(key_hash(key))

    def _read(self) -> Iterator[tuple[str, NamedKey]]:
        """Yield what can be read. A row that cannot stays, for the dmrc that wrote it."""
        for name, facts in self._database.rows("SELECT name, facts FROM named_key ORDER BY rowid"):
            try:
                yield name, NamedKey.from_json(facts)
            except BAD_ROW as error:
                _log.warning("key '%s' is not known any more, create it again: %s", name, error)

    def _read_callers(self) -> dict[str, Caller]:
        return {key.sha256: key.to_caller() for key in self._keys.values()}
