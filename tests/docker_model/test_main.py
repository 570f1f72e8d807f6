import pytest

from dmrc.docker_model.__main__ import split


@pytest.mark.parametrize(
    ("arguments", "variables", "command"),
    [
        (["ls", "--json"], {}, ["ls", "--json"]),
        (["model", "ls"], {}, ["ls"]),
        (["--context", "remote", "model", "ls"], {"DOCKER_CONTEXT": "remote"}, ["ls"]),
        (["-H=unix:///x", "--config", "/c", "model"], {"DOCKER_HOST": "unix:///x", "DOCKER_CONFIG": "/c"}, []),
        (["--help"], {}, ["--help"]),
        (["inspect", "model"], {}, ["inspect", "model"]),
    ],
)
def test_the_command_is_found_behind_dockers_own_options(
    arguments: list[str], variables: dict[str, str], command: list[str]
) -> None:
    assert split(arguments) == (variables, command)
