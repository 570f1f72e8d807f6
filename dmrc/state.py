"""The database of what the daemon must not forget: projects, their keys, and how models are to be served."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from dmrc.errors import StoreError

_log = logging.getLogger(__name__)

_VERSION = 1
"""Of the tables. A change that an older dmrc could not read makes it grow, and migrates what is older."""

BAD_ROW = (ValueError, TypeError, KeyError, AttributeError)
"""What reading a row raises that no dmrc wrote, or a very different one. It costs this row, and no other."""


class StateDatabase:
    """One connection to it. Several may write, each a table of its own; rows hold JSON, read by `known_fields`."""

    def __init__(self, path: Path, schema: str) -> None:
        """Open or make it, with the tables of `schema`.

        Raises:
            StoreError: It cannot be used.
        """
        self._path = path
        try:
            path.touch(mode=0o600)
            self.connection = sqlite3.connect(path)
            self.connection.text_factory = lambda data: data.decode(errors="replace")  # one bad row is one bad row
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA foreign_keys = ON")
            self.connection.executescript(schema)
            (found,) = self.connection.execute("PRAGMA user_version").fetchone()
            if found < _VERSION:
                self.connection.execute(f"PRAGMA user_version = {_VERSION}")
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"'{path}' cannot be used: {error}", remedy="Move it away, and run dmrc up and dmrc configure again"
            ) from error
        if found > _VERSION:
            _log.warning(
                "'%s' is of a newer dmrc (schema %s; this one knows %s): what is new in it is ignored",
                *(path, found, _VERSION),
            )

    def rows(self, query: str) -> list[tuple[str, ...]]:
        """Return rows of texts.

        Raises:
            StoreError: They cannot be read.
        """
        try:
            return self.connection.execute(query).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"'{self._path}' cannot be read: {error}", remedy="Move it away") from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Write all or nothing.

        Raises:
            StoreError: It cannot be written.
        """
        try:
            with self.connection as connection:
                yield connection
        except sqlite3.IntegrityError:
            raise  # a mistake of ours
        except sqlite3.Error as error:
            remedy = "Make room on its disk, or look who else writes it"
            if type(error) is sqlite3.DatabaseError:  # "file is not a database", "database disk image is malformed"
                remedy = f"Run dmrc stop-runner, and move it away: mv '{self._path}' '{self._path}.bad'"
            raise StoreError(f"'{self._path}' cannot be written: {error}", remedy=remedy) from error

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def known_fields(kind: type, document: Mapping[str, object], where: str) -> dict[str, Any]:
    """Return what a dataclass of this kind has a field for; the rest, which a newer dmrc wrote, is named in the log."""
    return known(document, {field.name for field in dataclasses.fields(kind)}, where)


def known(document: Mapping[str, object], names: Collection[str], where: str) -> dict[str, Any]:
    """Return the fields of these names; the rest, which a newer dmrc wrote, is named in the log."""
    if unknown := sorted(set(document) - set(names)):
        _log.warning(
            "%s has fields that this version does not know, and that it ignores: %s", where, ", ".join(unknown)
        )
    return {name: value for name, value in document.items() if name in names}
