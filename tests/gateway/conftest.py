"""A daemon with a real model, shared by the tests of the gateway that do not disturb one another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.gateway import plugged
from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama

if TYPE_CHECKING:
    import openai

    from tests.gateway.made_faults import Faulty  # it imports from here

MODEL = "local/smollm2:135M-Q4_1"
COMPOSE = f"""
name: shop
services:
  web: {{image: none, models: [chat, embed]}}
  other: {{image: none, models: [embed]}}
models:
  chat: {{model: "{MODEL}", context_size: 512, runtime_flags: ["--temp", "0"], x-dmrc: {{parallel: 2}}}}
  embed: {{model: local/embedder, context_size: 256, x-dmrc: {{parallel: 1}}}}
"""


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    dmrc: Dmrc
    keys: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.dmrc.port}"

    def client(self, service: str | None = "web", prefix: str = "/engines/v1") -> openai.OpenAI:
        """The official client, as the service would make it; no service is an application with a placeholder."""
        import openai

        key = self.keys[service] if service else "not-required"
        return openai.OpenAI(base_url=f"{self.url}{prefix}", api_key=key, max_retries=0, timeout=60)

    def exchanges(self) -> list[dict[str, object]]:
        return json.loads(self.dmrc.ok("requests", "--json", "-n", "1000"))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, needs_engine: None) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("shop")
    (directory / "compose.yaml").write_text(COMPOSE)
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", smollm2, MODEL)
        dmrc.ok("package", "--gguf", smollm2, "--context-size", "256", "local/embedder")
        keys = {
            service: json.loads(dmrc.ok("env", service, "--format", "json", cwd=directory))["OPENAI_API_KEY"]
            for service in ("web", "other")
        }
        yield Gateway(dmrc, keys)


@pytest.fixture
def recorded(gateway: Gateway) -> Callable[[str], dict[str, object]]:
    """Wait for the record of an exchange by its id."""

    def find(exchange_id: str) -> dict[str, object]:
        def look() -> dict[str, object] | None:
            return next((each for each in gateway.exchanges() if each["id"] == exchange_id), None)

        return eventually(look, f"record of exchange {exchange_id}")

    return find


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF of a model that answers with made-up words."""
    return write_tiny_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def shop(dmrc: Dmrc, tmp_path: Path, gguf: Path, needs_engine: None) -> plugged.Shop:
    """A project with plugins, and a tiny model for it."""
    dmrc.ok("package", "--gguf", gguf, plugged.MODEL)
    return plugged.Shop(dmrc, tmp_path / "shop")


@pytest.fixture(scope="session")
def faulty_shop(tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Iterator[Faulty]:
    """A project with a scripted model."""
    from tests.gateway.made_faults import faulty_project

    with faulty_project(tmp_path_factory.mktemp("faulty")) as project:
        yield project


@pytest.fixture
def faulty(faulty_shop: Faulty) -> Iterator[Faulty]:
    """The same, without the faults of earlier tests."""
    faulty_shop.clear()
    yield faulty_shop
