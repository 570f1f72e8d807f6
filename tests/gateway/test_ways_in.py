"""The ways in that a service may take: a key in the path before every API, entries with one reference, past a proxy."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.tiny_gguf import write_tiny_llama

TINY = "local/tiny"
COMPOSE = f"""
name: ways
services:
  app: {{image: none, models: [small, big]}}
  own: {{image: none, models: {{small: {{endpoint_var: AI_URL, model_var: AI_MODEL}}}}}}
models:
  small: {{model: {TINY}, context_size: 256, x-dmrc: {{parallel: 1}}}}
  big: {{model: {TINY}, context_size: 1024, x-dmrc: {{parallel: 1}}}}
"""
HI = [{"role": "user", "content": "Hi"}]


@dataclass(frozen=True)
class Site:
    """A project without containers."""

    dmrc: Dmrc
    directory: Path

    def variables(self, service: str = "app", env: dict[str, str] | None = None) -> dict[str, str]:
        printed = self.dmrc.ok("env", service, "--format", "json", cwd=self.directory, env=env)
        return {str(name): str(value) for name, value in json.loads(printed).items()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("ways")
    (directory / "compose.yaml").write_text(COMPOSE)
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", write_tiny_llama(directory / "tiny.gguf", context_length=2048), TINY)
        yield Site(dmrc, directory)


def post(url: str, document: dict[str, object], **headers: str) -> tuple[int, dict[str, object]]:
    answer = urllib3.request("POST", url, json=document, headers=headers, retries=False, timeout=60)
    return answer.status, answer.json()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("engines/v1/chat/completions", {"messages": HI, "max_tokens": 2}),
        ("engines/llama.cpp/v1/chat/completions", {"messages": HI, "max_tokens": 2}),
        ("v1/chat/completions", {"messages": HI, "max_tokens": 2}),
        ("v1/responses", {"input": "Hi", "max_output_tokens": 2}),
        ("anthropic/v1/messages", {"messages": HI, "max_tokens": 2}),
        ("v1/messages", {"messages": HI, "max_tokens": 2}),
        ("api/chat", {"messages": HI, "stream": False, "options": {"num_predict": 2}}),
    ],
)
def test_a_key_in_the_path_stands_before_every_api_and_in_no_record(
    site: Site, path: str, body: dict[str, object]
) -> None:
    given = site.variables("own")
    base = given["AI_URL"].removesuffix("engines/v1/")

    status, document = post(f"{base}{path}", {"model": given["AI_MODEL"], **body}, authorization="Bearer placeholder")
    wrong, error = post(f"{base[:-1]}x/{path}", {"model": given["AI_MODEL"], **body})

    assert status == 200, document
    assert wrong == 401, error
    newest = json.loads(site.dmrc.ok("requests", "--json", "-n", "2"))
    assert {each["path"] for each in newest} == {f"/{path}"}
    assert "sk-dmrc-" not in json.dumps([newest, error]) + site.dmrc.ok("logs")


def test_each_entry_leads_to_its_own_runner_and_is_listed_once(site: Site) -> None:
    given = site.variables()
    text = [{"role": "user", "content": "a " * 300}]

    def ask(name: str) -> tuple[int, dict[str, object]]:
        headers = {"authorization": f"Bearer {given['OPENAI_API_KEY']}"}
        body = {"model": given[f"{name}_MODEL"], "messages": text, "max_tokens": 2}
        return post(f"{given['OPENAI_BASE_URL']}/chat/completions", body, **headers)

    assert given["SMALL_MODEL"] == given["OPENAI_MODEL"] == TINY
    assert (ask("SMALL")[0], ask("BIG")[0]) == (400, 200)
    listed = urllib3.request("GET", f"{given['BIG_URL']}models", retries=False).json()
    assert [model["id"] for model in listed["data"]] == [TINY, "big"]
    assert urllib3.request("GET", f"{given['BIG_URL']}models/big", retries=False).json()["id"] == "big"


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_a_program_on_the_host_goes_past_the_proxy_of_its_shell(site: Site, variable: str) -> None:
    """The proxy is a port that nobody listens on."""
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    program = "import os, urllib.request as u; print(u.urlopen(os.environ['AI_URL'] + 'models').status)"

    printed = site.dmrc.ok(
        *("exec", "own", "--", sys.executable, "-c", program),
        cwd=site.directory,
        env={**proxy, variable: ".corp.example"},
    )

    assert printed.strip() == "200"
    given = site.variables("own", env={variable: ".corp.example"})
    assert given["NO_PROXY"] == given["no_proxy"]
    assert given["NO_PROXY"].split(",")[:2] == [".corp.example", "127.0.0.1"]


@pytest.mark.parametrize("service", ["app", "own"])
def test_a_program_on_the_host_gets_no_other_server_beside_our_key(site: Site, service: str) -> None:
    program = "import json, os; print(json.dumps({n: v for n, v in os.environ.items() if n.startswith('OPENAI_')}))"
    elsewhere = dict.fromkeys(("OPENAI_API_BASE", "OPENAI_BASE_URL"), "https://elsewhere.example/v1")

    printed = site.dmrc.ok("exec", service, "--", sys.executable, "-c", program, cwd=site.directory, env=elsewhere)

    assert "elsewhere" not in printed
    assert json.loads(printed)["OPENAI_BASE_URL"].startswith("http://127.0.0.1:")


def test_config_says_what_is_set_what_not_and_why(site: Site) -> None:
    text = site.dmrc.ok("config", cwd=site.directory)
    document = json.loads(site.dmrc.ok("config", "--json", cwd=site.directory))["services"]

    assert "# own (endpoint_var or model_var with names of its own)" in text
    assert "#   OPENAI_API_KEY is not set: " in text
    assert document["own"]["not_set"].keys() == {"OPENAI_API_KEY"}
    assert "OPENAI_API_KEY" in document["app"]["set"]
