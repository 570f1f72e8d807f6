"""What the container of an engine runs: the options that dmrc would start it with here, with paths of the Pod."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dmrc.engines.container.command import filled, uses_port
from dmrc.engines.container.order import AUTO, PORT
from dmrc.engines.llama_cpp.engine import server_arguments
from dmrc.engines.llama_cpp.flags import settings_of
from dmrc.engines.vllm.arguments import arguments as vllm_arguments
from dmrc.errors import UnsupportedError
from dmrc.kubernetes import names
from dmrc.kubernetes.choices import Choices, ImageKind
from dmrc.kubernetes.served import ServedModel
from dmrc.project import CONTAINER_ENGINE

_ADDRESS = "0.0.0.0"  # noqa: S104 of a Pod, which a NetworkPolicy and a key protect

NOWHERE = Path(_ADDRESS)
"""In place of a launch's socket: the engine listens on the Pod's addresses."""


def port_of(model: ServedModel) -> int:
    """Return where the engine listens."""
    return PORT if model.engine == CONTAINER_ENGINE and model.launch.options.command else names.PORT


def image_of(model: ServedModel, choices: Choices) -> str:
    """Return the image of the engine.

    Raises:
        UnsupportedError: No image for its graphics cards is known.
    """
    options = model.launch.options
    if options.image not in (None, AUTO):
        return str(options.image)
    if model.engine == "vllm":
        return choices.image("vllm")
    by_card: dict[str | None, ImageKind] = {
        None: "llama.cpp",
        "nvidia.com/gpu": "llama.cpp-cuda",
        "amd.com/gpu": "llama.cpp-rocm",
    }
    return choices.image(by_card[model.card[0] if model.card else None])


def command_of(model: ServedModel) -> list[str] | None:
    """Return what replaces the entry point of the image; None: it is llama.cpp's server, or the project's own."""
    return ["vllm"] if model.engine == "vllm" else None


def arguments_of(model: ServedModel, choices: Choices) -> list[str]:
    """Return what the entry point is given.

    Raises:
        UnsupportedError: The server in a container of the project's own listens on a unix socket.
    """
    launch = model.launch
    if model.engine == CONTAINER_ENGINE and launch.options.command:
        if not uses_port(launch.options.command):
            raise UnsupportedError(
                f"model '{model.declaration.key}' cannot be exported: its x-dmrc.command listens on a unix socket",
                remedy='Let it listen on a port: "--port", "{port}"',
            )
        place = model.places[str(launch.model.path)] if launch.model else ""
        words = filled(launch.options.command, place, launch.name, launch.options, launch.parallel)
    elif model.engine == "vllm":
        words = _listening(vllm_arguments(launch, None), "--uds")
    else:
        words = [*_listening(server_arguments(launch), "--host"), *_threads(model, choices)]
    # Kubernetes would put a variable in the place of $(NAME).
    return [_moved(word, model).replace("$", "$$") for word in words]


def _listening(words: Sequence[str], flag: str) -> list[str]:
    """Return arguments with the Pod's address and port in the place of a unix socket."""
    at = list(words).index(flag)
    return [*words[:at], "--host", _ADDRESS, "--port", str(names.PORT), *words[at + 2 :]]


def _threads(model: ServedModel, choices: Choices) -> list[str]:
    """Return how many threads compute: by itself llama.cpp takes one for each core of the node, whoever has it."""
    is_said = "--threads" in settings_of(model.launch.options.runtime_flags or ())
    return [] if is_said else ["--threads", str(choices.cpus)]


def processors(model: ServedModel, choices: Choices) -> int:
    """Return how many processors the engine asks for."""
    if model.engine in ("vllm", CONTAINER_ENGINE):
        return choices.cpus
    said = settings_of(model.launch.options.runtime_flags or ()).get("--threads", "")
    return int(said) if said.isdigit() and int(said) > 0 else choices.cpus


def _moved(word: str, model: ServedModel) -> str:
    for here in sorted(model.places, key=len, reverse=True):
        word = word.replace(here, model.places[here])
    return word
