"""Where the cassettes are that a command is about, and the options that say so."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from dmrc.cli.options import project_options
from dmrc.errors import InputError, NotFoundError, ProjectError

if TYPE_CHECKING:
    from dmrc.cassettes.cassette import Cassette, Place
    from dmrc.cassettes.matching import Matcher
    from dmrc.cli.projects.setup.selection import Selection

R = TypeVar("R")

_ENDING = ".jsonl"
"""Of the names of cassettes; a shell that completes one does not wait for that room to be imported."""


@dataclass(frozen=True, slots=True)
class CassettePlace:
    """A directory of cassettes."""

    directory: Path
    """Where they lie, or will."""
    ignore: tuple[str, ...] = ()
    """What of a request may differ from a recorded one; see `Replay.ignore`."""
    project: str | None = None
    """The compose project that they are of; None where only the directory is known."""
    secrets: tuple[str, ...] = ()
    """Values of that project that must not be in a cassette."""

    @classmethod
    def of(cls, selection: Selection, directory: Path | None) -> CassettePlace:
        """Return the place of the project that is meant, or this directory, which may have no project beside it.

        Raises:
            ProjectError: The project cannot be read; or there is none, and no directory is named.
        """
        from dmrc.cli.projects.setup.read_project import document_without_docker, secrets_of
        from dmrc.fields import mapping
        from dmrc.project.replay import DEFAULT_CASSETTES, Replay

        try:
            options = selection.options()
        except ProjectError:
            alone = directory or Path(DEFAULT_CASSETTES)
            if selection.files or not (directory or alone.is_dir()):
                raise
            return cls(alone)
        document = document_without_docker(options)
        said = mapping(document.get("x-dmrc"), "x-dmrc").get("replay")
        replay = Replay.parse(said, options.directory) or Replay.parse({}, options.directory)
        assert replay is not None  # noqa: S101 a mapping is never None
        name = document.get("name")
        return cls(
            directory or Path(replay.directory),
            replay.ignore,
            name if isinstance(name, str) else None,
            secrets_of(document, options),
        )

    @property
    def matcher(self) -> Matcher:
        """Return what finds a request in these cassettes, as a replay does."""
        from dmrc.cassettes.matching import Matcher

        return Matcher(self.ignore)

    def files(self) -> list[Path]:
        """Return its cassettes, by name.

        Raises:
            NotFoundError: There is none.
        """
        from dmrc.cassettes.cassette import cassettes_in

        found = cassettes_in(self.directory)
        if not found:
            raise NotFoundError(
                f"no cassette in '{shown(self.directory)}'",
                remedy="Record one: dmrc up --record, or dmrc cassette from-requests; or name the directory: --dir DIR",
            )
        return found

    def file(self, name: str) -> Path:
        """Return the cassette that a person means by a service, a file of the directory, or the path of any.

        Raises:
            NotFoundError: There is none; near ones are named.
        """
        from dmrc.suggestions import did_you_mean

        if name.endswith(_ENDING) and Path(name).is_file():
            return Path(name)
        known = {path.stem: path for path in self.files()}
        service = name.removesuffix(_ENDING)
        if service not in known:
            near = did_you_mean(service, known)
            raise NotFoundError(f"no cassette '{name}' in '{shown(self.directory)}'{near}", remedy=_known(known))
        return known[service]

    def open(self, path: Path) -> Cassette:
        """Open one of them.

        Raises:
            CassetteError: It cannot be read; the file and the line are named.
        """
        from dmrc.cassettes.cassette import Cassette

        return Cassette.open(path, self.matcher)

    def chosen(self, names: Sequence[str]) -> list[Path]:
        """Return the named ones, all those below a named directory, as tests have them; by default all.

        Raises:
            NotFoundError: There is none.
        """
        if not names:
            return self.files()
        found = (path for name in names for path in (self._of_directory(name) or [self.file(name)]))
        return list({path.absolute(): path for path in found}.values())

    def _of_directory(self, name: str) -> list[Path]:
        below = CassettePlace(Path(name))
        return (sorted(below.directory.rglob(f"*{_ENDING}")) or below.files()) if below.directory.is_dir() else []


def cassette_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add `--dir` and Compose's options that say which project is meant; the command gets a `CassettePlace`."""

    @functools.wraps(command)
    def with_place(*args: object, selection: Selection, directory: Path | None, **given: Any) -> R:
        return command(*args, place=CassettePlace.of(selection, directory), **given)

    return click.option(
        "--dir",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        help="Where the cassettes lie. [the project's: x-dmrc.replay, or cassettes beside the compose file]",
    )(project_options(with_place))


class CassetteName(click.ParamType[str]):
    """A service with a cassette, or the path of one; the shell can complete it."""

    name = "cassette"

    def shell_complete(self, context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the services with a cassette that begin so; where none does, files."""
        names = [name for name in _services(context) if name.startswith(incomplete)]
        return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


cassette_name = CassetteName()
"""The type of an argument that names a cassette."""


def split_line(name: str) -> tuple[str, int | None]:
    """Return what stands before a line, and the line: `api.jsonl:14`, `api:14`; None where there is no line.

    Raises:
        InputError: What follows the colon is no line.
    """
    before, colon, after = name.rpartition(":")
    if not colon:
        return name, None
    if not after.isdecimal() or int(after) < 1:
        raise InputError(f"'{name}' names no line of a cassette", remedy="Write SERVICE:LINE, for example api:14")
    return before, int(after)


def entry_at(cassette: Cassette, line: int) -> Place:
    """Return what stands in a line.

    Raises:
        NotFoundError: No interaction does; the lines that have one are named.
    """
    for entry in cassette.entries:
        if entry.number == line:
            return entry
    numbers = [entry.number for entry in cassette.entries]
    there = f"It has {min(numbers)} to {max(numbers)}" if numbers else "It is empty"
    raise NotFoundError(f"'{shown(cassette.path)}' has no request in line {line}", remedy=there)


def shown(path: Path) -> str:
    """Return a path as a person reads it: from here, where it lies below."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _known(known: Sequence[str] | dict[str, Path]) -> str:
    return f"There: {', '.join(known)}"


def _services(context: click.Context) -> list[str]:
    """Return the services with a cassette, without asking Compose: a person waits for each key."""
    directory = context.params.get("directory")
    places = [Path(directory)] if directory else _places()
    return sorted(path.stem for place in places if place.is_dir() for path in place.glob(f"*{_ENDING}"))


def _places() -> list[Path]:
    from dmrc.cli.projects.setup.selection import Selection
    from dmrc.compose import yaml_text
    from dmrc.errors import DmrcError
    from dmrc.fields import mapping
    from dmrc.project.replay import DEFAULT_CASSETTES, Replay

    found = [Path(DEFAULT_CASSETTES)]
    try:
        options = Selection().options()
        for file in options.files:
            for document in yaml_text.read(file.read_text(), str(file), keeps_tags=True):
                said = mapping(mapping(document, "the file").get("x-dmrc"), "x-dmrc").get("replay")
                if replay := Replay.parse(said, options.directory):
                    found = [Path(replay.directory)]
    except (DmrcError, OSError, UnicodeDecodeError):
        pass  # what cannot be read offers nothing
    return found
