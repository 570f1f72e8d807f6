"""Which project the user means, in Compose's own options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmrc.compose.command import ComposeOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What stands before the arguments of `up`, `down`, `config`, `env` and `exec`; by default the project here."""

    files: tuple[str, ...] = ()
    """`-f`."""
    project_name: str | None = None
    """`-p`."""
    profiles: tuple[str, ...] = ()
    """`--profile`."""
    env_files: tuple[Path, ...] = ()
    """`--env-file`."""
    project_directory: Path | None = None
    """`--project-directory`."""
    allowed_paths: tuple[Path, ...] = ()
    """`--allow-path`: directories beside the project's own whose files it may name."""

    def options(self, environ: Mapping[str, str] = os.environ) -> ComposeOptions:
        """Return the options for Compose, with the files that it would find itself.

        Raises:
            ProjectError: There is no compose file.
        """
        from dmrc.compose.command import ComposeOptions
        from dmrc.compose.files import absolute, compose_files

        here = absolute(self.project_directory or Path.cwd())
        return ComposeOptions(
            files=compose_files(Path.cwd() if self.files else here, self.files, environ, self.env_files),
            files_were_named=bool(self.files),
            project_name=self.project_name,
            profiles=self.profiles,
            env_files=self.env_files,
            project_directory=None if self.project_directory is None else here,
            allowed_paths=self.allowed_paths,
        )
