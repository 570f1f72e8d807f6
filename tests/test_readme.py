"""The README says what is so: its example, its commands, its settings, its hooks, its dependencies."""

import re
import tomllib
from pathlib import Path

import pytest

from dmrc import settings
from dmrc.cli.commands import _COMMANDS
from dmrc.compose import yaml_text
from dmrc.hooks import specs
from dmrc.project import Project

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_example_is_a_project_whose_service_uses_the_model() -> None:
    (example,) = blocks("yaml")

    (document,) = yaml_text.read(example, "README.md")
    assert isinstance(document, dict)
    project = Project.parse({"name": "readme", **document}, ())

    assert [service.name for service in project.consumers] == ["app"]
    assert project.models["llm"].context_size == 2048


def test_the_commands_to_try_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.MULTILINE)

    assert targets == ["demo", "test"]
    assert all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in targets)


@pytest.mark.parametrize("command", [name for name, lazy in _COMMANDS.items() if lazy.summary])
def test_every_command_is_in_the_readme(command: str) -> None:
    assert re.search(rf"[`,. ]{command}\b", section("Commands"))


def test_the_table_of_settings_is_what_the_settings_read() -> None:
    read = set(re.findall(r'"((?:DMRC|DEFAULT|INSECURE)_[A-Z_]+)"', Path(settings.__file__).read_text()))

    assert set(re.findall(r"`((?:DMRC|DEFAULT|INSECURE)_[A-Z_]+)`", section("Settings"))) == read


def test_the_table_of_hooks_is_the_specification() -> None:
    hooks = {name for name in vars(specs) if name.startswith("dmrc_")}

    assert set(re.findall(r"`(dmrc_\w+)\(", section("Hooks"))) == hooks


def test_every_dependency_earns_its_place_in_one_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[>=<\[ ]", requirement)[0] for requirement in project["dependencies"]}

    rows = re.findall(r"^\| ([a-z0-9., -]+) \| ", section("Dependencies, and why each"), re.MULTILINE)
    assert {name for row in rows for name in row.split(", ")} - {"package", "---"} == declared


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 200
