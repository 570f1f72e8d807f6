"""A host in a compose file: how it is written, which of several says so, and what it cannot have."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmrc.engines.ssh.command import joining
from dmrc.errors import ProjectError
from dmrc.project import ModelDeclaration, Project, host_name, parse_host, ssh_destination


def project(*, top: str | None = None, **models: dict[str, object]) -> Project:
    document: dict[str, object] = {
        "name": "p",
        "models": {key: {"model": "ai/x", "x-dmrc": options} for key, options in models.items()},
    }
    if top is not None:
        document["x-dmrc"] = {"host": top}
    return Project.parse(document, (Path("/app/compose.yaml"),))


@pytest.mark.parametrize(
    ("written", "name", "arguments"),
    [
        ("ssh://box", "box", ["--", "box"]),
        ("ssh://me@box.example:2222/", "box.example", ["-l", "me", "-p", "2222", "--", "box.example"]),
        ("ssh://[fe80::1]:22", "fe80::1", ["-p", "22", "--", "fe80::1"]),
    ],
)
def test_a_host_is_a_destination_of_ssh(written: str, name: str, arguments: list[str]) -> None:
    host = parse_host(written, "host")

    assert host == written.rstrip("/")
    assert host_name(host) == name
    assert ssh_destination(host) == arguments


@pytest.mark.parametrize(
    "written",
    [
        *("box", "http://box", "ssh://", "ssh://box/path", "ssh://box:0", "ssh://box:70000", "ssh://a b"),
        *("ssh://-oProxyCommand=x", "ssh://-l@box", "ssh://box;x", "ssh://$(x)", 7, None),
    ],
)
def test_what_is_no_host_is_refused(written: object) -> None:
    with pytest.raises(ProjectError, match="must be ssh://"):
        parse_host(written, "host")


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ProjectError) as refused:
        parse_host("ssh://me:hunter2@box", "host")

    assert "hunter2" not in str(refused.value)


def test_a_model_says_it_before_the_project_and_that_before_the_environment() -> None:
    found = project(
        top="ssh://project", own={"host": "ssh://own"}, plain={}, far={"upstream": "http://far/v1"}
    ).on_host("ssh://environment")
    without = project(plain={}).on_host("ssh://environment")

    hosts = {key: model.options.host for key, model in (found.models | {"without": without.models["plain"]}).items()}
    assert hosts == {"own": "ssh://own", "plain": "ssh://project", "far": None, "without": "ssh://environment"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upstream": "http://far/v1"}, "has both 'host' and 'upstream'"),
        ({"engine": "ssh"}, "must be one of ssh://box"),
        ({"lora": "./adapter.gguf"}, "lora is the file '/app/adapter.gguf' of this machine, which ssh://box has not"),
        ({"lora": ["ai/adapter", "./adapter.gguf"]}, "lora is the file"),
        ({"draft": "./draft.gguf"}, "draft is the file"),
        ({"mmproj": "mmproj.gguf"}, "mmproj is the file"),
        ({"chat_template": "x.jinja"}, "chat_template is the file"),
    ],
)
def test_what_a_host_cannot_have_is_refused_by_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        project(llm={"host": "ssh://box", **options})
    if options.keys().isdisjoint(("upstream", "engine")):
        with pytest.raises(ProjectError, match=message):
            project(top="ssh://box", llm=options)


def test_the_engine_ssh_needs_a_host() -> None:
    with pytest.raises(ProjectError, match="no host is named"):
        project(llm={"engine": "ssh"})


def test_a_hosted_model_survives_a_registration() -> None:
    model = project(llm={"host": "ssh://box", "engine": "vllm", "lora": ["ai/adapter"]}).models["llm"]

    assert ModelDeclaration.from_json(model.to_json()) == model
    assert (model.engine, model.loader) == ("ssh", "vllm")
    assert model.references == ("ai/x", "ai/adapter")


def test_the_words_for_the_shell_there_are_quoted() -> None:
    found = joining("ssh://box", Path("/run/a:b%"), "DMRC_HOME=/x '/opt/my dmrc'")

    socket, there = found.command[found.command.index("-L") + 1], found.command[-1]
    assert socket.startswith("/run/a\\:b%%/host-")
    assert there.startswith("exec $SHELL -lc '")
    assert "serve --for-ssh /tmp/dmrc-" in there
    assert found.command[-3:-1] == ["--", "box"]
