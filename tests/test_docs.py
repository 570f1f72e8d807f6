"""The reference pages say what is so: their tables are those of the code, and their examples are read by it."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dmrc import errors, settings
from dmrc.cli.commands import COMMANDS
from dmrc.compose import yaml_text
from dmrc.dialects.table import DIALECTS
from dmrc.docker_model.commands import COMMANDS as DOCKER_MODEL_COMMANDS
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.gateway.server.app import PREFIXES
from dmrc.hooks import specs
from dmrc.paths import Paths
from dmrc.project import Project
from dmrc.project.choices import PROJECT_OPTIONS, SERVICE_OPTIONS
from dmrc.project.model import MODEL_FIELDS, MODEL_OPTIONS
from dmrc.project.provider import OPTIONS as PROVIDER_OPTIONS
from dmrc.settings import Settings
from tests.dmrc_command import Dmrc
from tests.pages import ROOT, blocks, codes, page, rows, section

COMPOSE, COMMAND_PAGE, SETTINGS = page("docs/x-dmrc.md"), page("docs/commands.md"), page("docs/settings.md")
HOOKS = page("docs/hooks.md")


def table(title: str) -> dict[str, tuple[str, str]]:
    """Return the fields of one section of docs/x-dmrc.md, each with its meaning and its example."""
    found = [row for row in rows(section(COMPOSE, title)) if len(row) == 3]
    return {name.strip("`"): (meaning, example.strip("`")) for name, meaning, example in found}


def read(text: str) -> dict[str, Any]:
    (document,) = yaml_text.read(text, "docs/x-dmrc.md")
    assert isinstance(document, dict)
    return document


def parse(
    *, services: Mapping[str, object] | None = None, models: Mapping[str, object] | None = None, **top: object
) -> Project:
    """Read a project with the real parser."""
    document = {
        "name": "docs",
        "services": services or {"app": {"models": ["llm", "other"]}},
        "models": {"llm": {"model": "ai/smollm2"}, "other": {"model": "ai/other"}, **(models or {})},
        **top,
    }
    return Project.parse(document, (Path("/p/compose.yaml"),))


def fields_of_models() -> list[tuple[str, str]]:
    return [(name, example) for name, (_, example) in table("A model").items()]


def test_the_tables_of_a_model_are_what_is_read() -> None:
    names = set(table("A model"))

    assert names == {*MODEL_FIELDS, *MODEL_OPTIONS}


@pytest.mark.parametrize(("name", "example"), fields_of_models(), ids=lambda value: str(value).partition(":")[0])
def test_the_example_of_a_field_of_a_model_says_something(name: str, example: str) -> None:
    written = read(example)
    assert set(written) == {name}
    entry = {"model": "ai/smollm2", **({"x-dmrc": written} if name in MODEL_OPTIONS else written)}

    model = parse(models={"llm": entry}).models["llm"]

    if name != "name":
        assert model != parse().models["llm"]
    if model.engine == "llama.cpp":
        LlamaCpp(None).check(model.options)


def test_the_table_of_a_service_is_what_is_read() -> None:
    assert set(table("A service")) == set(SERVICE_OPTIONS)


@pytest.mark.parametrize("name", SERVICE_OPTIONS)
def test_the_example_of_a_field_of_a_service_says_something(name: str) -> None:
    written = read(table("A service")[name][1])
    assert set(written) == {name}

    service = parse(services={"app": {"models": ["other", "llm"], "x-dmrc": written}}).services["app"]

    assert service != parse(services={"app": {"models": ["other", "llm"]}}).services["app"]


def test_the_table_of_the_project_is_what_is_read() -> None:
    assert set(table("The project")) == set(PROJECT_OPTIONS)


@pytest.mark.parametrize("name", PROJECT_OPTIONS)
def test_the_example_of_a_field_of_the_project_says_something(name: str) -> None:
    written = read(table("The project")[name][1])
    assert name in written

    assert parse(**{"x-dmrc": written}) != parse()


def test_the_table_of_a_provider_is_what_is_read() -> None:
    named = {name for row in rows(section(COMPOSE, "A service")) if len(row) == 2 for name in codes(row[0])}

    assert named == set(PROVIDER_OPTIONS)


@pytest.mark.parametrize(
    "example",
    [*blocks(COMPOSE, "yaml"), *blocks(page("docs/scaling.md"), "yaml"), blocks(page("docs/replay.md"), "yaml")[0]],
    ids=["models", "provider", "container", "upstreams", "scaling", "replay"],
)
def test_a_whole_example_is_one_that_the_command_understands(dmrc: Dmrc, tmp_path: Path, example: str) -> None:
    (tmp_path / "compose.yaml").write_text(example)

    printed = dmrc.ok("config", cwd=tmp_path)

    assert "OPENAI_MODEL" in printed


def test_the_tables_of_commands_are_the_commands() -> None:
    groups = {lazy.section for lazy in COMMANDS.values()}
    written = {
        (group, name)
        for group in groups
        for command, _ in rows(section(COMMAND_PAGE, group))
        for name in re.findall(r"`dmrc ([\w-]+)", command)
    }

    assert written == {(lazy.section, name) for name, lazy in COMMANDS.items()}


def test_the_table_of_the_commands_of_docker_model_is_what_dmrc_has_not() -> None:
    found = rows(section(COMMAND_PAGE, "Docker Model Runner's commands"))
    named = {name for command, _ in found for name in codes(command) if re.fullmatch(r"[a-z-]+", name)}

    assert named - {"config"} == {name for name in DOCKER_MODEL_COMMANDS if name not in COMMANDS}  # dmrc has another


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    known = {one.exit_code for one in vars(errors).values() if isinstance(one, type) and hasattr(one, "exit_code")}

    assert {int(code) for code, _ in rows(section(COMMAND_PAGE, "Exit codes"))} == {0, *known}


def test_the_table_of_settings_is_what_the_settings_read() -> None:
    source = Path(settings.__file__).read_text()
    read = set(re.findall(r'"((?:DMRC|DEFAULT|INSECURE)_[A-Z_]+)"', source))

    assert {name.strip("`") for name, *_ in rows(section(SETTINGS, "Settings")) if "_" in name} == read


def test_the_defaults_of_the_table_are_those_of_the_settings() -> None:
    written = {name.strip("`"): default.strip("`") for name, default, *_ in rows(section(SETTINGS, "Settings")) if _}
    named = {name: value for name, value in written.items() if " " not in value and value not in ("none", "full")}

    assert Settings.from_environment({**named, "DMRC_HOME": "/h"}) == Settings.from_environment({"DMRC_HOME": "/h"})
    assert set(named) >= {"DMRC_PORT", "DMRC_LOG_FORMAT", "DMRC_REQUIRE_KEY", "DEFAULT_REGISTRY", "INSECURE_REGISTRY"}


def test_the_table_of_paths_is_where_things_are() -> None:
    home = Path("/h")
    paths = {getattr(Paths(home), name) for name, one in vars(Paths).items() if isinstance(one, property)}

    written = {home / name.strip("`") for name, _ in rows(section(SETTINGS, "What is where"))}

    assert written == {path for path in paths if path.parent == home}


def test_the_table_of_hooks_is_the_specification() -> None:
    written = re.findall(r"^\| `(\w+)\((.*)\)` \| (\w+) \|", HOOKS, re.MULTILINE)

    assert {(hook, *arguments.split(", "), kind) for hook, arguments, kind in written} == {
        (hook, *inspect.signature(getattr(specs, hook)).parameters, kind.value) for hook, kind in specs.KINDS.items()
    }


def test_the_table_of_kinds_is_the_specification() -> None:
    assert {row[0] for row in rows(HOOKS) if row[0].isalpha()} == {kind.value for kind in specs.HookKind}


def test_every_dependency_earns_its_place_in_one_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[>=<\[ ]", requirement)[0] for requirement in project["dependencies"]}

    table = rows(section(page("CONTRIBUTING.md"), "Dependencies, and why each"))
    assert {name for names, _ in table for name in names.split(", ")} == declared


def test_the_ten_changes_have_their_lists() -> None:
    """That each file of them is there is looked at in test_references."""
    changes = section(page("CONTRIBUTING.md"), "Ten usual changes, and the files of each")

    assert len(re.findall(r"^### ", changes, re.MULTILINE)) == 10
    for change in changes.split("\n### ")[1:]:
        assert re.search(r"^1\. .*\n(?:   .*\n)*2\. ", change, re.MULTILINE), change.splitlines()[0]


def test_the_table_of_base_urls_covers_every_route_of_every_dialect() -> None:
    bases = [code for _, cell in rows(section(COMMAND_PAGE, "HTTP")) for code in codes(cell)]
    paths = [path.format(v1="/v1", root="/engines") for dialect in DIALECTS for path in dialect.routes()]

    assert [path for path in paths if not any(f"{path}/".startswith(f"{base}/") for base in bases)] == []
    assert [base for base in PREFIXES if base not in bases] == []
