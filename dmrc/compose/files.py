"""Which files make a compose project: the answer that Compose itself would give.

Source: https://github.com/compose-spec/compose-go/blob/main/cli/options.go
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dmrc.compose.dotenv import with_env_files
from dmrc.errors import ProjectError

_LOG = logging.getLogger(__name__)

_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
# Here Compose prefers .yml, and takes any of the four beside any compose file.
_OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
_REMOTE = re.compile(r"(?:oci|https?|ssh|git)://|git@|github\.com/")


def compose_files(
    directory: Path, given: Sequence[str], environ: Mapping[str, str], env_files: Sequence[Path] = ()
) -> tuple[Path, ...]:
    """Return the compose files of a command run in `directory`, absolute, in the order of merging.

    `given` are the `-f` options, relative to `directory`. Without them COMPOSE_FILE names the files
    (separated by COMPOSE_PATH_SEPARATOR, `:` by default), from `environ` or from an env file; else
    they are the first compose file in `directory` or above, with the override file beside it.

    Raises:
        ProjectError: There is no compose file, or a named one is missing, standard input or remote.
    """
    if given:
        return tuple(_named_file(directory, name, "-f") for name in given)
    environment = command_environ(directory, given, environ, env_files)
    listed = environment.get("COMPOSE_FILE")
    if listed is not None:
        separator = environment.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
        return tuple(_named_file(directory, name, "COMPOSE_FILE") for name in listed.split(separator))
    start = absolute(directory)
    for place in (start, *start.parents):
        if found := _first_in(place, _NAMES):
            override = _first_in(place, _OVERRIDES)
            _warn_of_others(place, _NAMES, found)
            _warn_of_others(place, _OVERRIDES, override)
            return (found, override) if override else (found,)
    raise ProjectError(
        f"no compose file in {start} or above",
        remedy="Run dmrc up beside a compose.yaml, or name it with -f FILE",
    )


def command_environ(
    directory: Path, given: Sequence[str], environ: Mapping[str, str], env_files: Sequence[Path] = ()
) -> dict[str, str]:
    """Return `environ` and what Compose reads into it before it knows any compose file.

    Those are the env files named with `--env-file`, else, unless compose files are `given` with
    `-f`, `.env` in `directory`. It counts more than the `.env` beside a compose file found above.

    Raises:
        ProjectError: An env file is missing or does not parse.
    """
    if given and not env_files:
        return dict(environ)
    return with_env_files(environ, directory, env_files)


def absolute(path: Path) -> Path:
    """Return a path as Compose makes it absolute: `..` folded, symbolic links kept.

    A project's name comes from the directory as the user calls it, so `resolve` of a path would rename
    a project behind a link.
    """
    return Path(os.path.abspath(path))  # noqa: PTH100


def _warn_of_others(directory: Path, names: Sequence[str], used: Path | None) -> None:
    """Say which files are not read, in Compose's words: it is given the names and says nothing itself."""
    found = [directory / name for name in names if (directory / name).exists()]
    if len(found) > 1:
        _LOG.warning("Found multiple config files with supported names: %s", ", ".join(map(str, found)))
        _LOG.warning("Using %s", used)


def _first_in(directory: Path, names: Sequence[str]) -> Path | None:
    """Return the first of `names` that is in `directory`."""
    return next((directory / name for name in names if (directory / name).exists()), None)


def _named_file(directory: Path, name: str, origin: str) -> Path:
    """Return a file that the user named; `origin` is `-f` or `COMPOSE_FILE`."""
    if name == "-":
        raise ProjectError(
            f"{origin} names standard input ('-'), which dmrc would have to read twice",
            remedy="Write the compose file to disk and name it with -f FILE",
        )
    path = absolute(directory / name)
    if path.is_file() and name:
        return path
    if _REMOTE.match(name):
        raise ProjectError(
            f"compose file '{name}', named by {origin}, is remote",
            remedy="Fetch it, and name the copy with -f FILE",
        )
    problem = "is a directory" if path.is_dir() else "is not there"
    raise ProjectError(f"compose file '{name}', named by {origin}, {problem}", remedy="Name one that is with -f FILE")
