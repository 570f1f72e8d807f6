import pytest

from dmrc.docker_model.__main__ import split


@pytest.mark.parametrize(
    ("arguments", "variables", "command"),
    [
        (["ls", "--json"], {}, ["ls", "--json"]),
        (["model", "ls"], {}, ["ls"]),
        (["--context", "remote", "model", "ls"], {"DOCKER_CONTEXT": "remote"}, ["ls"]),
        (["-H=unix:///x", "--config", "/c", "model"], {"DOCKER_HOST": "unix:///x", "DOCKER_CONFIG": "/c"}, []),
        (["-D", "--log-level", "debug", "model", "ls"], {}, ["ls"]),
        (["--debug=true", "-lerror", "model", "ls"], {}, ["ls"]),
        (
            ["-Hunix:///x", "-cdefault", "model", "ls"],
            {"DOCKER_HOST": "unix:///x", "DOCKER_CONTEXT": "default"},
            ["ls"],
        ),
        (["--tlsverify", "--tlskey=/c/key.pem", "model"], {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"}, []),
        (["--tls=false", "--tlsverify=false", "model"], {}, []),
        (["help", "model", "run"], {}, ["help", "run"]),
        (["model", "help", "run"], {}, ["help", "run"]),
        (["-D", "__complete", "model", "run", ""], {}, ["__complete", "run", ""]),
        (["--nosuch", "model"], {}, ["--nosuch", "model"]),
        (["-H"], {}, ["-H"]),
        (["--help"], {}, ["--help"]),
        (["inspect", "model"], {}, ["inspect", "model"]),
    ],
)
def test_the_command_is_found_behind_dockers_own_options(
    arguments: list[str], variables: dict[str, str], command: list[str]
) -> None:
    assert split(arguments) == (variables, command)
