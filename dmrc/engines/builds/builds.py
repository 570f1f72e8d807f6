"""The builds of llama.cpp's server that are on this machine, and which one is in use."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from pathlib import Path

from dmrc.engines.builds.build import LLAMA_SERVER, XLLAMACPP, Build
from dmrc.errors import InputError, NotFoundError, SettingError
from dmrc.suggestions import did_you_mean

CHOICE = "in-use.json"
"""File beside the builds that says which one is in use: `{"name": "cu128"}`."""

_NOWHERE = Path(os.devnull)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError)

_log = logging.getLogger(__name__)


class Builds:
    """The builds of one state directory. Which one is in use is looked up each time: a command may change it."""

    def __init__(self, directory: Path, llama_server: str | None = None) -> None:
        """Look into `directory`; `llama_server` is what `DMRC_LLAMA_SERVER` says.

        Raises:
            SettingError: `DMRC_LLAMA_SERVER` names no program.
        """
        self.directory = directory
        self.is_set = llama_server is not None
        """Whether `DMRC_LLAMA_SERVER` names the build in use, so that no choice counts."""
        self._found: tuple[Build, ...] = (*_on_path(llama_server), Build(name=XLLAMACPP))
        self._stamp: object = None
        self._in_use = self._found[0]

    @classmethod
    def only(cls, build: Build) -> Builds:
        """Return builds of which there is one, which is in use."""
        builds = cls(_NOWHERE)
        builds._found, builds._in_use = (build,), build
        return builds

    def installed(self) -> list[Build]:
        """Return what dmrc installed, by name. What cannot be read is left out, and named in the log."""
        found = []
        for path in sorted(self.directory.glob("[!.]*/")):
            try:
                found.append(Build.read(path))
            except _UNREADABLE as error:
                _log.warning("'%s' is no build that can be used: %s", path, error)
        return found

    def all(self) -> list[Build]:
        """Return those that are there anyway, and those that were installed."""
        return [*self._found, *self.installed()]

    def named(self, name: str) -> Build:
        """Return a build.

        Raises:
            NotFoundError: There is none of that name.
        """
        builds = {build.name: build for build in self.all()}
        if name not in builds:
            raise NotFoundError(
                f"there is no build '{name}'{did_you_mean(name, builds)}", remedy="See: dmrc engine list"
            )
        return builds[name]

    def in_use(self) -> Build:
        """Return the build to start runners with. It costs a look at one file.

        `DMRC_LLAMA_SERVER` goes first, then what `dmrc engine use` or `install` chose, then a `llama-server` on
        `PATH`, then xllamacpp. A choice that is gone does not count, and the log says so.
        """
        is_there = self._in_use.directory is None or self._in_use.directory.exists()
        if (stamp := (self._changed_at(), is_there)) != self._stamp:
            self._stamp, self._in_use = stamp, self._chosen() or self._found[0]
        return self._in_use

    def disk_bytes(self) -> int:
        """Return what the xllamacpp of this environment and all that was installed take."""
        return sum(build.size_bytes() for build in (Build(name=XLLAMACPP), *self.installed()))

    def _changed_at(self) -> tuple[int, int] | None:
        """Return what another choice is told by; None where nothing was chosen."""
        try:
            stat = (self.directory / CHOICE).stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns

    def chosen(self) -> str | None:
        """Return the name that was chosen, whether there is such a build or not; None where nothing was."""
        try:
            name = json.loads((self.directory / CHOICE).read_text())["name"]
        except _UNREADABLE:
            return None
        return name if isinstance(name, str) else None

    def _chosen(self) -> Build | None:
        path = self.directory / CHOICE
        if self.is_set or not path.exists():
            return None
        try:
            name = json.loads(path.read_text())["name"]
            known = {build.name: build for build in self._found}
            return known.get(name) or Build.read(self.directory / checked_name(name))
        except (*_UNREADABLE, InputError) as error:
            _log.warning(
                "the build of llama.cpp that '%s' names cannot be used: %s. In its place: %s",
                *(path, error, self._found[0].label),
            )
            return None


def checked_name(name: str) -> str:
    """Return a name that a directory can have.

    Raises:
        InputError: It cannot be one, or means something else.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InputError(
            f"a build cannot be called '{name}'", remedy="Use up to 64 letters, digits, dots, dashes and underscores"
        )
    if name in (LLAMA_SERVER, XLLAMACPP):
        raise InputError(f"'{name}' is a build that is there anyway", remedy="Choose another name: --name NAME")
    return name


def _on_path(setting: str | None) -> tuple[Build, ...]:
    """Return the llama-server that `DMRC_LLAMA_SERVER` names, else the one on PATH; none where there is none."""
    found = shutil.which(setting or LLAMA_SERVER)
    if found is None and setting is not None:
        raise SettingError(
            f"DMRC_LLAMA_SERVER must be the path of a program, not '{setting}'",
            remedy="Name a llama-server binary, or unset it to use xllamacpp",
        )
    return () if found is None else (Build(name=LLAMA_SERVER, program=Path(found).absolute()),)
