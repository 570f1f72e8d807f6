"""The engine `llama.cpp`: a llama-server binary where there is one, else the same server out of the xllamacpp wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from dmrc import hookimpl
from dmrc.engines.engine import Engine, Launch, RunnerConfiguration, launch_json
from dmrc.engines.llama_cpp.flags import as_arguments, parse, refuse_without_binary
from dmrc.errors import SettingError
from dmrc.settings import Settings


class LlamaCpp:
    """llama.cpp's server."""

    name = "llama.cpp"
    largest_parallel: int | None = None
    keeps_prompts = True

    def __init__(self, binary: str | None) -> None:
        """Use a llama-server binary, or xllamacpp where there is None."""
        self._binary = binary
        self.program = binary or f"xllamacpp {metadata.version('xllamacpp')}"

    def check(self, configuration: RunnerConfiguration, companions: Sequence[str] = ()) -> None:  # noqa: ARG002 has all
        """Check runtime flags; see `Engine`."""
        settings = parse(configuration.runtime_flags)
        if self._binary is None:
            refuse_without_binary(settings)

    def command(self, launch: Launch) -> list[str]:
        """Return the command of a child; see `Engine`."""
        if self._binary is None:
            return [sys.executable, "-P", "-m", "dmrc.engines.llama_cpp.xllamacpp_child", launch_json(launch)]
        # The keeper ends the binary with us, which llama-server cannot do by itself.
        return [sys.executable, "-P", "-m", "dmrc.engines.exec_with_parent_death", self._binary, *_arguments(launch)]

    def describe(self) -> str:
        """Return which server it is."""
        if self._binary is None:
            return self.program
        ran = subprocess.run([self._binary, "--version"], capture_output=True, text=True, check=False)
        lines = (ran.stderr + ran.stdout).splitlines()
        version = next((line for line in lines if line.startswith("version")), "version unknown")
        return f"{self._binary} ({version})"


@hookimpl
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:
    """Register it."""
    return [LlamaCpp(_binary(settings))]


def _binary(settings: Settings) -> str | None:
    """Return the llama-server binary to use.

    Raises:
        SettingError: `DMRC_LLAMA_SERVER` names none.
    """
    if settings.llama_server is None:
        return shutil.which("llama-server")
    found = shutil.which(settings.llama_server)
    if found is None:
        raise SettingError(
            f"DMRC_LLAMA_SERVER is '{settings.llama_server}', which is no program",
            remedy="Name a llama-server binary, or unset it to use xllamacpp",
        )
    return found


def _arguments(launch: Launch) -> list[str]:
    """Return llama-server's arguments; the project's flags come last and so win over the defaults.

    The context is divided among the slots, so it is multiplied first. The cache of prompts in host memory gets what
    the scheduler counts for it, in place of 8 GiB. What is not said here is llama.cpp's own choice: one thread per
    physical core, and as many layers on a GPU as fit.
    Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
    """
    arguments = ["--model", str(launch.gguf), "--alias", launch.name, "--host", str(launch.socket)]
    arguments += ["--ctx-size", str(launch.context_size * launch.parallel), "--parallel", str(launch.parallel)]
    arguments += ["--no-kv-unified", "--cache-ram", str(launch.prompt_cache_mib)]
    arguments += ["--ctx-checkpoints", str(launch.context_checkpoints)]
    settings = parse(launch.runtime_flags)
    if not _may_have_gpu() and not any("--ubatch-size" in setting.flag.names for setting in settings):
        # It looks between batches whether a caller has gone. One of four times 512 tokens is no faster on a processor.
        arguments += ["--batch-size", "512"]
    arguments += ["--metrics", "--no-slots", "--no-webui", "--jinja", "--offline"]
    optional: list[tuple[str, Path | None]] = [
        ("--mmproj", launch.mmproj),
        ("--chat-template-file", launch.chat_template),
        ("--spec-draft-model", launch.draft),
        *(("--lora", path) for path in launch.loras),
    ]
    arguments += [word for flag, path in optional if path is not None for word in (flag, str(path))]
    if launch.draft is not None:
        arguments += ["--spec-type", "draft-simple"]
    arguments += {"completion": [], "embedding": ["--embeddings"], "rerank": ["--reranking"]}[launch.mode]
    return arguments + as_arguments(settings)


def _may_have_gpu() -> bool:
    devices = Path("/dev")
    has_device = any(devices.glob("nvidia[0-9]*")) or any(devices.glob("dri/renderD*")) or (devices / "kfd").exists()
    return has_device or sys.platform != "linux"


def wheel_bytes() -> int:
    """Return what the wheel with llama.cpp's server takes of the disk; 0 where it is not installed."""
    try:
        files = metadata.files("xllamacpp") or []
    except metadata.PackageNotFoundError:
        return 0
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.exists())
