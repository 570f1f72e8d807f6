"""Files that a compose file names under `x-dmrc`: they lie in the project, or where the user says so.

A compose file may come from a stranger, and what it names is shown to containers: a template by `/api/show`, say.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from pathlib import Path

from dmrc.errors import InputError
from dmrc.project import ModelDeclaration, Project, is_path


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
        plugins = tuple(self._file(path, "x-dmrc.plugins") if path.exists() else path for path in project.plugins)
        return replace(project, models=models, plugins=plugins)

    def model(self, model: ModelDeclaration) -> ModelDeclaration:
        """Return one model with such paths.

        Raises:
            InputError: As `resolved`.
        """
        where = f"models.{model.key}.x-dmrc"

        def found(name: str | None, option: str) -> str | None:
            return name if name is None or not is_path(name) else str(self._file(Path(name), f"{where}.{option}"))

        return replace(
            model,
            loras=tuple(str(found(name, "lora")) for name in model.loras),
            draft=found(model.draft, "draft"),
            mmproj=found(model.mmproj, "mmproj"),
            chat_template=found(model.chat_template, "chat_template"),
        )

    def _file(self, path: Path, where: str) -> Path:
        try:
            resolved = path.resolve(strict=True)
            mode = resolved.stat().st_mode
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
            reason = error.strerror if isinstance(error, OSError) else "its links lead in a circle"
            raise InputError(
                f"{where}: '{path}' cannot be read: {reason}", remedy="A relative path begins at the compose file"
            ) from error
        if not stat.S_ISREG(mode):
            raise InputError(f"{where}: '{path}' is {_kind(mode)}, and no file", remedy="Name a file of the project")
        if not any(resolved.is_relative_to(each.resolve()) for each in (*self.project, *self.more)):
            through = "" if resolved == path else f", which is '{resolved}',"
            raise InputError(
                f"{where}: '{path}'{through} lies outside of the project, in '{self.project[0]}'",
                remedy=f"Copy it there, or allow it: --allow-path {resolved.parent}, or DMRC_ALLOW_PATHS",
            )
        try:
            resolved.open("rb").close()
        except OSError as error:
            raise InputError(f"{where}: '{path}' cannot be read: {error.strerror}") from error
        return resolved


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((kind for is_kind, kind in kinds if is_kind(mode)), "a device")
