"""Which compose projects are up, and whose key is whose: kept in SQLite."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dmrc.errors import NotFoundError, ProjectError
from dmrc.projects.caller import Caller
from dmrc.projects.registration import WHOLE_PROJECT, Registration, key_hash
from dmrc.state import StateDatabase

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS project (name TEXT PRIMARY KEY, registration TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS service_key (
    sha256 TEXT PRIMARY KEY, project TEXT NOT NULL REFERENCES project(name) ON DELETE CASCADE, service TEXT NOT NULL
);
"""


class Projects:
    """The projects that are up, in SQLite, with a copy in memory. One process (the daemon) writes."""

    def __init__(self, path: Path) -> None:
        """Open or make the database.

        Raises:
            StoreError: It cannot be used.
        """
        self._database = StateDatabase(path, _SCHEMA)
        self._registrations = dict(self._read_registrations())
        self._callers = self._read_callers()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def all(self) -> list[Registration]:
        """Return the projects that are up."""
        return list(self._registrations.values())

    def find(self, name: str | None) -> Registration | None:
        """Return one project, or None when it is not up. May be called from any thread."""
        return None if name is None else self._registrations.get(name)

    def get(self, name: str) -> Registration:
        """Return one project.

        Raises:
            NotFoundError: It is not up.
        """
        if name not in self._registrations:
            raise NotFoundError(f"project '{name}' is not up", remedy="Run: dmrc up")
        return self._registrations[name]

    def register(self, registration: Registration) -> None:
        """Remember a project, in place of what was known of it; other keys of it end.

        Raises:
            StoreError: It cannot be written; nothing has changed then.
        """
        with self._database.writing() as database:
            database.execute(
                "INSERT INTO project VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET registration = excluded.registration",
                (registration.name, registration.to_json()),
            )
            database.execute("DELETE FROM service_key WHERE project = ?", (registration.name,))
            database.executemany(
                "INSERT INTO service_key VALUES (?, ?, ?)",
                [(sha256, registration.name, service) for service, sha256 in registration.key_hashes.items()],
            )
        self._registrations[registration.name] = registration
        self._callers = self._read_callers()

    def unregister(self, name: str) -> bool:
        """Forget a project and its keys; return whether it was known.

        Raises:
            StoreError: It cannot be written; nothing has changed then.
        """
        with self._database.writing() as database:
            database.execute("DELETE FROM project WHERE name = ?", (name,))
        known = self._registrations.pop(name, None) is not None
        self._callers = self._read_callers()
        return known

    def caller(self, key: str) -> Caller | None:
        """Return whose key this is; the table is one of hashes, so the time tells nothing about a key."""
        return self._callers.get(key_hash(key))

    @property
    def know_addresses(self) -> bool:
        """Return whether a project knows its containers by their addresses."""
        return any(known.auth == "address" for known in self._registrations.values())

    def caller_in(self, project: str | None, service: str | None) -> Caller | None:
        """Return who a container without a key is, where its project knows it by its address."""
        known = self.find(project)
        if known is None or known.auth != "address" or service not in (*known.services, *known.without_models):
            return None
        return Caller(None, service, known)

    def _read_registrations(self) -> Iterator[tuple[str, Registration]]:
        """Yield what can be read. A row that cannot stays, for the dmrc that wrote it, until the next `dmrc up`."""
        for name, text in self._database.rows("SELECT name, registration FROM project ORDER BY rowid"):
            try:
                yield name, replace(Registration.from_json(text), name=name)
            except ProjectError as error:
                _log.warning("project '%s' is not known any more, run dmrc up again: %s", name, error)

    def _read_callers(self) -> dict[str, Caller]:
        return {
            sha256: Caller(sha256[:12], None if service == WHOLE_PROJECT else service, known)
            for sha256, project, service in self._database.rows("SELECT sha256, project, service FROM service_key")
            if (known := self._registrations.get(project)) is not None and (service in known.services)
        }
