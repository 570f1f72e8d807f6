"""How each application that `dmrc launch` knows is told which model to ask, and where."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dmrc.paths import expanded
from dmrc.project import GATEWAY_HOST

NO_KEY = "not-required"
"""Programs want some key; on loopback the gateway wants none."""


@dataclass(frozen=True, slots=True)
class ModelEndpoint:
    """What an application asks."""

    url: str
    """The gateway as the application reaches it, without a path: `http://127.0.0.1:12434`."""
    model: str
    """The model to begin with."""
    key: str = NO_KEY
    """What the gateway wants."""
    context_tokens: int = 0
    """What a request may have."""


@dataclass(frozen=True, slots=True)
class AppCommand:
    """How a program is started."""

    argv: tuple[str, ...]
    """The program and its first arguments."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables beside those of the user."""
    unless_set: dict[str, str] = field(default_factory=dict)
    """Variables that keep the beginning of its prompts the same; what the user has set goes before."""
    once: tuple[tuple[str, ...], ...] = ()
    """Commands of its own that set it up, for a program that knows no variables; the user runs them."""

    def completed(self, environ: Mapping[str, str]) -> AppCommand:
        """Return the command with those variables that the user, who has `environ`, has not set."""
        wanted = {name: value for name, value in self.unless_set.items() if name not in environ}
        return replace(self, environment={**self.environment, **wanted}, unless_set={})


@dataclass(frozen=True, slots=True)
class ContainerApp:
    """An application that runs in a container, and is used in a browser."""

    image: str
    """Where it comes from."""
    port: int
    """On loopback of this machine."""
    container_port: int
    """Where it listens."""
    data: str
    """Directory in the container that a volume keeps."""
    variables: Callable[[ModelEndpoint, int], dict[str, str]]
    """What it is told; the number is the port on loopback."""


def _aider(endpoint: ModelEndpoint) -> AppCommand:
    """Source: https://aider.chat/docs/llms/openai-compat.html.

    Its map of the repository stands before the conversation, and by itself it makes a new one of the names in each
    message. `files` is what it does itself where a provider caches prompts: a new map when other files are in the chat.
    Source: https://github.com/Aider-AI/aider/blob/main/aider/repomap.py (`get_ranked_tags_map`), `main.py`.
    """
    variables = {"OPENAI_API_BASE": f"{endpoint.url}/v1", "OPENAI_API_KEY": endpoint.key}
    steady = {} if _says_map_refresh(Path.cwd()) else {"AIDER_MAP_REFRESH": "files"}
    return AppCommand(("aider", "--model", f"openai/{endpoint.model}"), variables, steady)


def _says_map_refresh(here: Path) -> bool:
    """Return whether a file of the user's tells aider when to make the map, over which a variable would go.

    Source: https://aider.chat/docs/config/aider_conf.html: in the home directory, in the root of the repository, here.
    """
    root = next((each for each in (here, *here.parents) if (each / ".git").exists()), here)
    files = [directory / ".aider.conf.yml" for directory in (expanded("~"), root, here)]
    texts = [file.read_text(errors="replace") for file in files if file.is_file()]
    return any(line.lstrip().startswith("map-refresh") for text in texts for line in text.splitlines())


def _claude(endpoint: ModelEndpoint) -> AppCommand:
    """Source: https://code.claude.com/docs/en/env-vars.

    The names of `steady` are in the program itself (2.1.332), and what it sends was looked at. With an attribution
    header a hash of the first question stands in the first line of the system message: each conversation, and each
    agent that it starts, computes all its tools and instructions again. The reminder of total tokens is a number that
    changes, in the system message and after results of tools. Within a conversation nothing else changed.
    """
    sizes = {f"ANTHROPIC_DEFAULT_{size}_MODEL": endpoint.model for size in ("HAIKU", "SONNET", "OPUS")}
    variables = {
        "ANTHROPIC_BASE_URL": f"{endpoint.url}/anthropic",
        "ANTHROPIC_AUTH_TOKEN": endpoint.key,
        "ANTHROPIC_MODEL": endpoint.model,
        **sizes,
    }
    steady = {
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
        "CLAUDE_CODE_TOTAL_TOKENS_REMINDER": "off",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    return AppCommand(("claude",), variables, steady)


def _codex(endpoint: ModelEndpoint) -> AppCommand:
    """Source: https://developers.openai.com/codex/config-reference; a value is TOML, as JSON's strings are.

    Its prompts begin alike in all turns and all conversations (looked at: 0.171.0).
    """
    provider = {"name": "dmrc", "base_url": f"{endpoint.url}/v1", "wire_api": "responses"}
    values = {"model_provider": "dmrc", **{f"model_providers.dmrc.{name}": value for name, value in provider.items()}}
    options = [word for name, value in values.items() for word in ("-c", f"{name}={json.dumps(value)}")]
    return AppCommand(("codex", *options, "--model", endpoint.model))


def _openclaw(endpoint: ModelEndpoint) -> AppCommand:
    """Source: https://docs.openclaw.ai/gateway/config-tools/custom-providers.

    Its system prompt names the time zone and no time, so that it stays: https://docs.openclaw.ai/date-time.
    """
    provider = {
        "baseUrl": f"{endpoint.url}/v1",
        "apiKey": endpoint.key,
        "api": "openai-completions",
        "models": [
            {
                "id": endpoint.model,
                "name": endpoint.model,
                "contextWindow": endpoint.context_tokens,
                "maxTokens": endpoint.context_tokens // 2,
            }
        ],
    }
    once = (
        ("openclaw", "config", "set", "models.providers.dmrc", json.dumps(provider)),
        ("openclaw", "models", "set", f"dmrc/{endpoint.model}"),
    )
    return AppCommand(("openclaw",), once=once)


def _opencode(endpoint: ModelEndpoint) -> AppCommand:
    """Source: https://opencode.ai/docs/config/#precedence-order and https://opencode.ai/docs/providers/.

    Its prompts begin alike in all turns and all conversations of a day (looked at: 1.18.34).
    """
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "dmrc",
        "options": {"baseURL": f"{endpoint.url}/v1", "apiKey": endpoint.key},
        "models": {endpoint.model: {"name": endpoint.model}},
    }
    config = {
        "$schema": "https://opencode.ai/config.json",
        "provider": {"dmrc": provider},
        "model": f"dmrc/{endpoint.model}",
    }
    return AppCommand(("opencode",), {"OPENCODE_CONFIG_CONTENT": json.dumps(config)})


def _anythingllm(endpoint: ModelEndpoint, _port: int) -> dict[str, str]:
    """Source: https://github.com/Mintplex-Labs/anything-llm/blob/master/docker/.env.example."""
    return {
        "STORAGE_DIR": "/app/server/storage",
        "LLM_PROVIDER": "generic-openai",
        "GENERIC_OPEN_AI_BASE_PATH": f"{endpoint.url}/engines/v1",
        "GENERIC_OPEN_AI_API_KEY": endpoint.key,
        "GENERIC_OPEN_AI_MODEL_PREF": endpoint.model,
        "GENERIC_OPEN_AI_MODEL_TOKEN_LIMIT": str(endpoint.context_tokens),
    }


def _openwebui(endpoint: ModelEndpoint, port: int) -> dict[str, str]:
    """Source: https://docs.openwebui.com/getting-started/env-configuration.

    It listens on loopback alone, so nobody has to log in; pages of others may not read it.
    """
    return {
        "OPENAI_API_BASE_URL": f"{endpoint.url}/engines/v1",
        "OPENAI_API_KEY": endpoint.key,
        "DEFAULT_MODELS": endpoint.model,
        "ENABLE_OLLAMA_API": "false",
        "WEBUI_AUTH": "false",
        "CORS_ALLOW_ORIGIN": f"http://127.0.0.1:{port};http://localhost:{port}",
    }


HOST_APPS: Mapping[str, Callable[[ModelEndpoint], AppCommand]] = {
    "aider": _aider,
    "claude": _claude,
    "codex": _codex,
    "openclaw": _openclaw,
    "opencode": _opencode,
}
"""Programs of this machine, by name."""

CONTAINER_APPS: Mapping[str, ContainerApp] = {
    "anythingllm": ContainerApp(
        "mintplexlabs/anythingllm:latest", 3001, 3001, "/app/server/storage", variables=_anythingllm
    ),
    "openwebui": ContainerApp(
        "ghcr.io/open-webui/open-webui:main", 3000, 8080, "/app/backend/data", variables=_openwebui
    ),
}
"""Applications in containers, by name."""


def container_name(name: str) -> str:
    """Return the name of an application's container, and of its volume."""
    return f"dmrc-{name}"


def container_launch(
    name: str, endpoint: ModelEndpoint, image: str | None, port: int | None, *, detach: bool
) -> AppCommand:
    """Return how an application's container is started; what it is told stands in no command line, its key least."""
    app = CONTAINER_APPS[name]
    published = port or app.port
    variables = app.variables(endpoint, published)
    options = (
        *("--rm", "--name", container_name(name)),
        *(("--detach",) if detach else ()),
        *("--publish", f"127.0.0.1:{published}:{app.container_port}"),
        *("--add-host", f"{GATEWAY_HOST}:host-gateway"),
        *("--volume", f"{container_name(name)}:{app.data}"),
        *(word for variable in variables for word in ("--env", variable)),
    )
    return AppCommand(("docker", "run", *options, image or app.image), variables)
