"""Files that a compose file names under `x-dmrc`: they lie in the project, or where the user says so.

A compose file may come from anywhere, and what it names is shown to containers: a template by `/api/show`, say.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from dmrc.errors import InputError
from dmrc.project import ModelDeclaration, OptionField, Project, files_of_directory, is_path

_LARGEST_TEXT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Allowed:
    """Where the files of a project may lie."""

    project: tuple[Path, ...]
    """Its own directories: that of the project, and those of compose files that it includes."""
    more: tuple[Path, ...]
    """What the user allows: `--allow-path`, `DMRC_ALLOW_PATHS`."""

    def resolved(self, project: Project) -> Project:
        """Return a project whose paths lead to regular files, by no link, in directories that are allowed.

        Raises:
            InputError: One does not; it is named.
        """
        models = {key: self.model(model) for key, model in project.models.items()}
        plugins = tuple(self._plugin(path) for path in project.plugins)
        return replace(project, models=models, plugins=plugins)

    def with_cassettes(self, project: Project) -> Project:
        """Return a project whose cassettes lie, or will lie, in a directory that is allowed.

        Raises:
            InputError: They do not.
        """
        if project.replay is None:
            return project
        path = Path(project.replay.directory)
        where = "x-dmrc.replay"
        try:
            resolved = path.resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{where}: '{path}' cannot be read: {error}", remedy="Name a directory") from error
        self._check_allowed(path, resolved, where)
        return replace(project, replay=replace(project.replay, directory=str(resolved)))

    def model(self, model: ModelDeclaration) -> ModelDeclaration:
        """Return one model with such paths.

        Raises:
            InputError: As `resolved`.
        """
        where = f"models.{model.key}.x-dmrc"

        def found(name: str, field: OptionField) -> str:
            limit = _LARGEST_TEXT_BYTES if field.file == "text" else None
            if not is_path(name):
                return name
            is_model = field.file == "model"
            return str(self._file(Path(name), f"{where}.{field.written}", limit, may_be_directory=is_model))

        return replace(model, options=model.options.with_files(found))

    def _plugin(self, path: Path) -> Path:
        """Return the path of a plugin; where there is no such file it is skipped later, with a line."""
        # Path.exists raises where a name is too long.
        is_gone = not os.path.exists(path) and "\0" not in str(path)  # noqa: PTH110
        return path if is_gone else self._file(path, "x-dmrc.plugins", _LARGEST_TEXT_BYTES)

    def _file(self, path: Path, where: str, limit: int | None = None, *, may_be_directory: bool = False) -> Path:
        try:
            resolved = path.resolve(strict=True)
            status = resolved.stat()
            mode = status.st_mode
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle, before Python 3.13
            reason = error.strerror if isinstance(error, OSError) else "its links lead in a circle"
            reason = "its name holds a NUL" if isinstance(error, ValueError) else reason
            raise InputError(
                f"{where}: '{path}' cannot be read: {reason}", remedy="A relative path begins at the compose file"
            ) from error
        is_directory = may_be_directory and stat.S_ISDIR(mode)
        if not stat.S_ISREG(mode) and not is_directory:
            raise InputError(f"{where}: '{path}' is {_kind(mode)}, and no file", remedy="Name a file of the project")
        self._check_allowed(path, resolved, where)
        if limit is not None and status.st_size > limit:
            raise InputError(
                f"{where}: '{path}' has {status.st_size} bytes, and {limit} are read at most",
                remedy="Name a file of text",
            )
        try:
            if not is_directory:
                resolved.open("rb").close()
            elif files_of_directory(resolved, where) is None:
                raise InputError(
                    f"{where}: '{path}' is a directory, and no file", remedy="Name a GGUF file, or one of safetensors"
                )
        except OSError as error:
            raise InputError(f"{where}: '{path}' cannot be read: {error.strerror}") from error
        return resolved

    def _check_allowed(self, path: Path, resolved: Path, where: str) -> None:
        if not any(resolved.is_relative_to(each.resolve()) for each in (*self.project, *self.more)):
            through = "" if resolved == path else f", which is '{resolved}',"
            raise InputError(
                f"{where}: '{path}'{through} lies outside of the project, in '{self.project[0]}'",
                remedy=f"Copy it there, or allow it: --allow-path {resolved.parent}, or DMRC_ALLOW_PATHS",
            )


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((kind for is_kind, kind in kinds if is_kind(mode)), "a device")
