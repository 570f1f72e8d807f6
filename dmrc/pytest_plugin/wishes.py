"""What one test says of its replay: by its marker, by pytest's settings, by options of the command."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from dmrc.compose.command import ComposeOptions
from dmrc.compose.files import compose_files
from dmrc.errors import InputError, NotFoundError
from dmrc.project import Project
from dmrc.project.replay import DEFAULT_CASSETTES, Replay, ReplayMode, parse_speed

_FIELDS = ("service", "file", "cassette", "speed")
_LONGEST_NAME = 100
_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Wish:
    """How one test wants its models."""

    options: ComposeOptions
    """Its compose project."""
    service: str | None
    """The service that it is; None: the only one with models."""
    replay: Replay
    """Its cassettes."""
    is_own_cassette: bool
    """Whether no other test uses them: none is named by a marker."""
    node_id: str
    """What pytest calls the test."""

    @classmethod
    def of(cls, item: pytest.Item) -> Wish:
        """Read what is said of a test.

        Raises:
            InputError: Its marker says something else than a marker can.
            ProjectError: There is no such compose file.
        """
        marker, config = item.get_closest_marker("dmrc"), item.config
        said = dict(marker.kwargs) if marker else {}
        if (marker and marker.args) or said.keys() - set(_FIELDS):
            raise InputError(
                f"{item.nodeid}: @pytest.mark.dmrc takes {', '.join(_FIELDS)}, each by its name",
                remedy='Write it as @pytest.mark.dmrc(service="api")',
            )
        here = item.path.parent
        named = said.get("cassette")
        folder = here / named if named else here / str(config.getini("dmrc_cassettes") or DEFAULT_CASSETTES)
        replay = Replay(
            directory=str(folder if named else folder / item.path.stem / cassette_name(item)),
            mode=mode_of(config),
            speed=parse_speed(said.get("speed", 0), "speed of @pytest.mark.dmrc"),
        )
        service = said.get("service") or config.getini("dmrc_service") or None
        return cls(_compose_options(item, said.get("file")), service, replay, not named, item.nodeid)

    def service_of(self, project: Project) -> str:
        """Return the name of the service of `project` that the test is.

        Raises:
            NotFoundError: None is named, and the project has none with models, or several.
        """
        if self.service is not None:
            return project.service(self.service).name
        names = [service.name for service in project.consumers]
        if len(names) == 1:
            return names[0]
        raise NotFoundError(
            f"project '{project.name}' has {len(names)} services with models, and {self.node_id} names none",
            remedy=f'Name one: @pytest.mark.dmrc(service="…"), or dmrc_service = … in pytest\'s settings. '
            f"Services with models: {', '.join(names) or 'none'}",
        )

    def check_cassette(self, service: str) -> None:
        """Refuse to replay what nobody recorded.

        Raises:
            NotFoundError: There is no cassette of the service.
        """
        path = Path(self.replay.directory, f"{service}.jsonl")
        if self.replay.mode == "replay" and not path.exists():
            raise NotFoundError(
                f"no cassette {shown(path)}, which {self.node_id} replays",
                remedy=f"Record it with the real model: pytest --dmrc-record '{self.node_id}'",
            )


def mode_of(config: pytest.Config) -> ReplayMode:
    """Return what the options of the command say."""
    if config.getoption("dmrc_record"):
        return "record"
    return "replay-or-record" if config.getoption("dmrc_replay_or_record") else "replay"


def cassette_name(item: pytest.Item) -> str:
    """Return the name of the folder of a test's own cassettes.

    Shape:
        That of the test, `test_order`; of one in a class with the class before it and a dot between; of a parametrised
        one `test_order-large`. Where other characters had to go, six hex digits of the whole name follow.
    """
    whole = item.nodeid.partition("::")[2].replace("::", ".")
    bare = whole.removesuffix("]").replace("[", "-", 1) if whole.endswith("]") else whole
    plain = _FOREIGN.sub("-", bare)[:_LONGEST_NAME]
    return plain if plain == bare else f"{plain}-{hashlib.sha256(whole.encode()).hexdigest()[:6]}"


def _compose_options(item: pytest.Item, named: object) -> ComposeOptions:
    if named:
        return ComposeOptions(files=compose_files(item.path.parent, (str(named),), os.environ), files_were_named=True)
    if of_settings := str(item.config.getini("dmrc_file") or ""):
        files = compose_files(item.config.rootpath, (of_settings,), os.environ)
        return ComposeOptions(files=files, files_were_named=True)
    return ComposeOptions(files=compose_files(item.path.parent, (), os.environ))


def shown(path: Path) -> str:
    """Return a path as a person writes it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
