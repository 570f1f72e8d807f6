"""Runs the user's own Docker Compose: reads the project through it, and becomes it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from dmrc.compose import yaml_text
from dmrc.compose.order import restore_order
from dmrc.errors import DockerError, ProjectError

MINIMUM_VERSION = (2, 38, 0)
"""The first Compose that knows `models:`. Source: https://docs.docker.com/compose/releases/release-notes/#2380."""
_WANTED = ".".join(map(str, MINIMUM_VERSION))


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeOptions:
    """What the user said before the subcommand, passed on as it is."""

    files: tuple[Path, ...]
    """The compose files, in order."""
    files_were_named: bool = False
    """Whether the user named them with `-f`."""
    project_name: str | None = None
    """`-p`."""
    profiles: tuple[str, ...] = ()
    """`--profile`, repeated."""
    env_files: tuple[Path, ...] = ()
    """`--env-file`, repeated."""
    project_directory: Path | None = None
    """`--project-directory`, absolute."""
    allowed_paths: tuple[Path, ...] = ()
    """Directories beside the project's own whose files it may name. Not Compose's: the user's word to dmrc."""

    @property
    def directory(self) -> Path:
        """Return where relative paths of the project begin."""
        return self.project_directory or self.files[0].parent

    def argv(self, *more_files: Path) -> list[str]:
        """Return the arguments; `more_files` come after the user's and leave the project directory as it is."""
        argv = [argument for file in (*self.files, *more_files) for argument in ("-f", str(file))]
        if self.project_directory is not None:
            argv += ["--project-directory", str(self.project_directory)]
        if self.project_name is not None:
            argv += ["-p", self.project_name]
        for profile in self.profiles:
            argv += ["--profile", profile]
        for env_file in self.env_files:
            argv += ["--env-file", str(env_file)]
        return argv


_WARNING = re.compile(r'level=warning msg="((?:[^"\\]|\\.)*)"')
"""A line of Compose's log. Go's quoted texts are Python's, too: JSON knows neither `\\x1b` nor `\\a`."""


class Compose:
    """The Compose of this machine."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Find it on `PATH`: `docker compose`, else a stand-alone `docker-compose`.

        Raises:
            DockerError: There is neither.
        """
        docker = shutil.which("docker", path=environ.get("PATH"))
        alone = shutil.which("docker-compose", path=environ.get("PATH"))
        if docker is None and alone is None:
            raise DockerError(
                "there is no docker on PATH",
                remedy="Install Docker with Compose, or run without it: dmrc exec SERVICE -- COMMAND",
            )
        self._environ = dict(environ)
        self._argv = [docker, "compose"] if docker is not None else [str(alone)]
        self._alone = alone
        self._begun: subprocess.Popen[str] | None = None
        self.warnings: list[str] = []
        """What Compose warned of when it read a project last. It will say so again where it starts one."""

    def begin(self, options: ComposeOptions) -> None:
        """Let Compose read the project while this process does something else; `config` takes what it says."""
        self._begun = self._started([*options.argv(), "config"])

    def config(
        self, options: ComposeOptions, services: Sequence[str] = (), *, everything: bool = False
    ) -> dict[str, object]:
        """Return the project as Compose understands it: interpolated, merged, extended.

        `services` limits it to these and what they depend on, whatever their profiles. Models that no service lists are
        among it only with `everything`.
        YAML and not JSON, since Compose drops the top-level `models:` from its JSON (v5.6.1).

        Raises:
            ProjectError: Compose refuses the project, with its words.
            DockerError: There is no Compose, or one that is too old for `models:`.
        """
        arguments = [*(["--all-resources"] if everything else []), *options.argv(), "config", *services]
        ran = self._run(arguments)
        if ran.returncode != 0 and self._alone is not None and self.version() is None:
            self._argv = [self._alone]  # this `docker` has no Compose
            ran = self._run(arguments)
        if ran.returncode != 0:
            self._check_version()
            names = ", ".join(file.name for file in options.files)
            raise ProjectError(
                f"Compose refuses {names}: {_last_line(ran.stderr)}", remedy="Correct it, and look again: dmrc config"
            )
        self.warnings = [ast.literal_eval(f'"{text}"') for text in _WARNING.findall(ran.stderr)]
        unescaped = _unescaped(next(yaml_text.read(ran.stdout, "docker compose config"), None))
        if not isinstance(unescaped, dict):
            raise ProjectError("Compose printed no project")
        restore_order(unescaped, options.files)
        return unescaped

    def settle(self) -> None:
        """Find out which Compose there is, before anything is done for it.

        Raises:
            DockerError: There is none.
        """
        version = self.version()
        if version is None and self._alone is not None:
            self._argv = [self._alone]  # this `docker` has no Compose
            version = self.version()
        if version is None:
            raise _not_installed()

    def become(self, options: ComposeOptions, override: Path | None, arguments: Sequence[str]) -> NoReturn:
        """Replace this process by Compose: its output, its exit code and its Ctrl+C are then the user's."""
        argv = self.argv(options, override, arguments)
        os.execvpe(argv[0], argv, self._environ)  # noqa: S606 the user's own Compose, without a shell

    def argv(self, options: ComposeOptions, override: Path | None, arguments: Sequence[str]) -> list[str]:
        """Return the command line of a Compose for a project."""
        return [*self._argv, *options.argv(*([override] if override else [])), *arguments]

    def call(self, options: ComposeOptions, override: Path | None, arguments: Sequence[str]) -> int:
        """Run Compose, its output passed through, and return its exit code."""
        argv = self.argv(options, override, arguments)
        return subprocess.run(argv, env=self._environ, check=False).returncode

    def _run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        begun, self._begun = self._begun, None
        process = begun if begun is not None and begun.args == [*self._argv, *arguments] else self._started(arguments)
        with process:
            try:
                out, err = process.communicate()
            except BaseException:
                process.kill()  # or whoever interrupts would wait for it
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def _started(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        argv = [*self._argv, *arguments]
        return subprocess.Popen(argv, env=self._environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _check_version(self) -> None:
        """Tell a missing or old Compose from a project that is wrong; asked only after a failure.

        Raises:
            DockerError: It is missing or too old.
        """
        version = self.version()
        if version is None:
            raise _not_installed()
        if version < MINIMUM_VERSION:
            found = ".".join(map(str, version))
            raise DockerError(f"Compose {found} does not know 'models:'", remedy=f"Install {_WANTED} or newer")

    def version(self) -> tuple[int, ...] | None:
        """Return the version of Compose, or None where there is none."""
        ran = self._run(["version", "--short"])
        match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", ran.stdout.strip())
        return tuple(map(int, match.groups())) if ran.returncode == 0 and match is not None else None


def _not_installed() -> DockerError:
    return DockerError("Docker Compose is not installed", remedy=f"Install Compose {_WANTED} or newer")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _unescaped(value: object) -> object:
    """Return a document with `$$` as `$`: Compose prints values so that they can be read by Compose again."""
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, list):
        return [_unescaped(entry) for entry in value]
    if isinstance(value, dict):
        return {str(key): _unescaped(entry) for key, entry in value.items()}
    return value
