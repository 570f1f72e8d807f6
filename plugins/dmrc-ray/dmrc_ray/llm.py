"""A model in safetensors on a cluster: the configuration of `ray.serve.llm`, which serves it with vLLM.

It was checked against the schema of Ray 2.60, and never run: no vLLM installs where dmrc is tested.
Source: https://docs.ray.io/en/latest/serve/llm/ and ray/llm/_internal/serve/core/configs/llm_config.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

from dmrc.engines.engine import Launch
from dmrc.engines.local_model import local
from dmrc.engines.runtime_flags import Setting
from dmrc.engines.vllm.flags import parse
from dmrc.errors import EngineStartError, UnsupportedError
from dmrc.fields import JsonValue
from dmrc.files import replace_file
from dmrc.project import ServingOptions

IMPORT_PATH = "ray.serve.llm:build_openai_app"
_OTHER = "Remove it, or use a model in GGUF"


def check(options: ServingOptions) -> None:
    """Refuse what `ray.serve.llm` cannot have.

    Raises:
        RuntimeFlagError: A flag is none of vLLM's, or not for projects.
        UnsupportedError: It cannot do what is asked for.
    """
    parse(options.runtime_flags or ())
    for name in ("loras", "mmproj", "draft"):
        if getattr(options, name):
            written = "lora" if name == "loras" else name
            raise UnsupportedError(f"engine 'ray' serves a model in safetensors without {written}", remedy=_OTHER)
    if options.mode not in (None, "completion"):
        raise UnsupportedError(f"engine 'ray' serves a model in safetensors for chats, not for {options.mode}")


def hand_over(launch: Launch, home: Path) -> NoReturn:
    """Write the configuration for `serve deploy`, and say so.

    Raises:
        EngineStartError: Always: dmrc starts nothing, and reaches what is started as an upstream.
    """
    import yaml

    name = f"dmrc-{launch.runner}"
    path = home / "ray" / f"{name}.yaml"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    replace_file(path, yaml.safe_dump({"applications": [application(launch, name)]}, sort_keys=False).encode())
    raise EngineStartError(
        f"model '{launch.name}' is for vLLM, which Ray starts by itself: its configuration is in {path}",
        remedy=f"Run: serve deploy {path}, and write x-dmrc: {{upstream: http://HEAD:8000/{name}/v1}} then",
    )


def application(launch: Launch, name: str) -> dict[str, JsonValue]:
    """Return one application of a Serve configuration file: `{"name", "route_prefix", "import_path", "args"}`.

    The files of the model must be at the same path on all nodes: it is named by its directory.
    """
    options = launch.options
    config: dict[str, JsonValue] = {
        "model_loading_config": {"model_id": launch.name, "model_source": str(local(launch.model).path)},
        "engine_kwargs": _engine_arguments(launch),
        "deployment_config": _deployment(options, launch.parallel),
    }
    return {
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": IMPORT_PATH,
        "args": {"llm_configs": [config]},
    }


def _engine_arguments(launch: Launch) -> dict[str, JsonValue]:
    """Return the arguments of `vllm serve` by the names that its classes have for them."""
    options, model = launch.options, local(launch.model)
    found: dict[str, JsonValue] = dict(map(_named, parse(options.runtime_flags or ())))
    found["max_num_seqs"] = launch.parallel
    if options.context_size is not None:
        found["max_model_len"] = options.context_size
    if model.chat_template is not None:
        found["chat_template"] = str(model.chat_template)
    return found


def _named(setting: Setting) -> tuple[str, JsonValue]:
    """Return a flag as a field: `--no-enable-prefix-caching` is `enable_prefix_caching: False`."""
    name = setting.flag.names[-1].removeprefix("--")
    if setting.value is None:
        is_off = name.startswith("no-")
        return name.removeprefix("no-").replace("-", "_"), not is_off
    return name.replace("-", "_"), _value(setting.flag.kind, setting.value)


def _value(kind: str, text: str) -> JsonValue:
    match kind:
        case "int":
            return int(text)
        case "float":
            return float(text)
        case "json":
            return json.loads(text)
        case _:
            return text


def _deployment(options: ServingOptions, parallel: int) -> dict[str, JsonValue]:
    """Return how many replicas there are: the range of the project, as Serve's autoscaling says it."""
    found: dict[str, JsonValue] = {"max_ongoing_requests": parallel}
    if (said := options.replicas) is None:
        return found | {"num_replicas": 1}
    return found | {
        "autoscaling_config": {
            "min_replicas": said.min,
            "max_replicas": said.max,
            "target_ongoing_requests": said.target or parallel,
        }
    }
