"""Settings from the environment, read in this one place."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmrc.errors import InputError, SettingError
from dmrc.listening import Listening, parse_address
from dmrc.paths import Paths, expanded

DEFAULT_PORT = 12434
"""Docker Model Runner's port, so that clients written for it find us."""

ENGINE_INDEX = "https://xorbitsai.github.io/xllamacpp/whl"
"""Where xllamacpp's own builds for graphics cards are."""

CaptureLevel = Literal["full", "metadata", "off"]
"""What is recorded of requests: everything; everything but bodies and their words; nothing."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_MIRROR = re.compile(r"([\w.:-]+)=(https?://[\w.-]+(?::\d{1,5})?)/?", re.ASCII)
_MOST_PROCESSES = 64
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says."""

    home: Path
    """`DMRC_HOME`: all state. Default: the user's data directory."""
    port: int = DEFAULT_PORT
    """`DMRC_PORT`: TCP port of the gateway, on loopback and on the Docker bridge."""
    llama_server: str | None = None
    """`DMRC_LLAMA_SERVER`: the llama-server binary to use, before the one on PATH."""
    vllm: str | None = None
    """`DMRC_VLLM`: the program vllm to use, before the one that Python can import and the one on PATH."""
    require_key: bool = False
    """`DMRC_REQUIRE_KEY=1`: refuse requests without a key on loopback too."""
    capture: CaptureLevel | None = None
    """`DMRC_CAPTURE`: full, metadata or off; None when it is not set."""
    capture_media: bool = False
    """`DMRC_CAPTURE_MEDIA=1`: keep pictures and sounds of requests in the record, up to 8 MiB of a request."""
    log_format: Literal["text", "json"] = "text"
    """`DMRC_LOG_FORMAT`: form of the daemon's log, text or a JSON object per line."""
    plugins: tuple[str, ...] | None = None
    """`DMRC_PLUGINS`: the only third-party plugins to load, by name, module or absolute path; None means all.
    `none`, or an empty value, means none, those of projects neither."""
    allowed_paths: tuple[Path, ...] = ()
    """`DMRC_ALLOW_PATHS`: directories whose files a compose file may name under `x-dmrc`, beside the project's own."""
    origins: tuple[str, ...] = ()
    """`DMRC_ORIGINS`: browser origins that may call, beside loopback's on any port; `*` is every one."""
    hosts: tuple[str, ...] = ()
    """`DMRC_HOSTS`: names of the gateway in `Host`, beside its own, for callers without a key."""
    stream_processes: int | None = None
    """`DMRC_STREAM_PROCESSES`: how many processes carry running streams; None is by the machine's cores."""
    memory_bytes: int | None = None
    """`DMRC_MEMORY`: what all runners together may use; None means what is free."""
    default_registry: str = "docker.io"
    """`DEFAULT_REGISTRY`: registry of references that name none."""
    insecure_registry: bool = False
    """`INSECURE_REGISTRY=true`: plain http to any registry, as in Docker Model Runner."""
    mirrors: Mapping[str, tuple[str, ...]] | None = None
    """`DMRC_MIRROR`: URLs to ask before a registry, by its name; None leaves it to Docker's settings.

    Shape: `{"docker.io": ("http://127.0.0.1:5000",)}`.
    """

    listening: Listening | None = None
    """`DMRC_LISTEN`: where the gateway listens for other machines, `ADDRESS[:PORT]`."""
    engine_index: str = ENGINE_INDEX
    """`DMRC_ENGINE_INDEX`: where `dmrc engine install` looks for builds, each kind in an index below it."""

    host: str | None = None
    """`DMRC_HOST`: the machine that serves a project's models, `ssh://me@box`, where these name no place."""
    remote_command: str = "dmrc"
    """`DMRC_REMOTE_COMMAND`: what starts dmrc on such a machine, in words of its shell."""

    @property
    def paths(self) -> Paths:
        """Return where things lie."""
        return Paths(self.home)

    def absolute(self) -> dict[str, str]:
        """Return the variables that hold paths as a process needs them that runs in another directory."""
        plugins = {} if self.plugins is None else {"DMRC_PLUGINS": ",".join(self.plugins)}
        listening = self.listening
        files = {} if listening is None else {"DMRC_TLS_CERT": listening.tls_cert, "DMRC_TLS_KEY": listening.tls_key}
        return {"DMRC_HOME": str(self.home), **plugins, **{name: str(path) for name, path in files.items() if path}}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings.

        Raises:
            SettingError: A variable holds something that it cannot hold; it is named.
        """
        plugins = environ.get("DMRC_PLUGINS")
        require_key = _flag("DMRC_REQUIRE_KEY", environ.get("DMRC_REQUIRE_KEY", ""))
        return cls(
            home=_home(environ),
            port=_port(environ.get("DMRC_PORT", "")),
            llama_server=environ.get("DMRC_LLAMA_SERVER") or None,
            vllm=environ.get("DMRC_VLLM") or None,
            require_key=require_key,
            capture=_capture(environ.get("DMRC_CAPTURE", "")),
            capture_media=_flag("DMRC_CAPTURE_MEDIA", environ.get("DMRC_CAPTURE_MEDIA", "")),
            log_format=_log_format(environ.get("DMRC_LOG_FORMAT", "")),
            plugins=None if plugins is None else _plugins(plugins),
            allowed_paths=_directories(environ.get("DMRC_ALLOW_PATHS", "")),
            origins=_origins(environ.get("DMRC_ORIGINS", ""), require_key=require_key),
            hosts=_hosts(environ.get("DMRC_HOSTS", "")),
            stream_processes=_count("DMRC_STREAM_PROCESSES", environ.get("DMRC_STREAM_PROCESSES", "")),
            memory_bytes=_size("DMRC_MEMORY", environ.get("DMRC_MEMORY", "")),
            default_registry=_registry(environ.get("DEFAULT_REGISTRY", "")),
            insecure_registry=_flag("INSECURE_REGISTRY", environ.get("INSECURE_REGISTRY", "")),
            mirrors=_mirrors(environ.get("DMRC_MIRROR")),
            listening=_listening(environ),
            engine_index=_index(environ.get("DMRC_ENGINE_INDEX", "")),
            host=environ.get("DMRC_HOST") or None,
            remote_command=environ.get("DMRC_REMOTE_COMMAND") or "dmrc",
        )


def _home(environ: Mapping[str, str]) -> Path:
    if environ.get("DMRC_HOME"):
        return _path("DMRC_HOME", environ["DMRC_HOME"])
    import platformdirs

    return Path(platformdirs.user_data_dir("dmrc", appauthor=False))


def _port(text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise SettingError(f"DMRC_PORT must be a TCP port, not '{text}'", remedy="Use 1 to 65535")


def _listening(environ: Mapping[str, str]) -> Listening | None:
    text, cert, key = (environ.get(name, "").strip() for name in ("DMRC_LISTEN", "DMRC_TLS_CERT", "DMRC_TLS_KEY"))
    if not text:
        if cert or key:
            raise SettingError(
                "a TLS certificate is for a listener, and DMRC_LISTEN is not set",
                remedy="Say where to listen: --listen 192.0.2.7:12435 (DMRC_LISTEN)",
            )
        return None
    if bool(cert) != bool(key):
        missing, given = ("--tls-key", "certificate") if cert else ("--tls-cert", "key")
        raise SettingError(
            f"there is a TLS {given}, and no {missing}", remedy="Name both: --tls-cert FILE --tls-key FILE"
        )
    address, port = parse_address(text, _port(environ.get("DMRC_PORT", "")) + 1)
    return Listening(
        address,
        port,
        _path("DMRC_TLS_CERT", cert) if cert else None,
        _path("DMRC_TLS_KEY", key) if key else None,
        may_be_plain=_flag("DMRC_LISTEN_PLAIN", environ.get("DMRC_LISTEN_PLAIN", "")),
    )


def _flag(name: str, text: str) -> bool:
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    raise SettingError(f"{name} must be yes or no, not '{text}'", remedy=f"Use {name}=1 or {name}=0")


def _capture(text: str) -> CaptureLevel | None:
    match text:
        case "":
            return None
        case "full" | "metadata" | "off":
            return text
    raise SettingError(f"DMRC_CAPTURE must be full, metadata or off, not '{text}'", remedy="Use full, metadata or off")


def _log_format(text: str) -> Literal["text", "json"]:
    match text:
        case "" | "text":
            return "text"
        case "json":
            return text
    raise SettingError(f"DMRC_LOG_FORMAT must be text or json, not '{text}'", remedy="Use text or json")


def _registry(text: str) -> str:
    if re.fullmatch(r"[\w.:\[\]-]*", text, re.ASCII):
        return text or "docker.io"
    raise SettingError(
        f"DEFAULT_REGISTRY must be a registry, not '{text}'", remedy="Use DEFAULT_REGISTRY=registry.example.com"
    )


def _origins(text: str, *, require_key: bool) -> tuple[str, ...]:
    origins = _words(text)
    if "*" in origins and not require_key:
        raise SettingError(
            "DMRC_ORIGINS is '*': every page that you open could use your models",
            remedy="Set DMRC_REQUIRE_KEY=1 too, or name the origins: DMRC_ORIGINS=https://app.example",
        )
    return origins


def _hosts(text: str) -> tuple[str, ...]:
    for word in _words(text):
        if not re.fullmatch(r"[\w.-]+", word, re.ASCII):
            raise SettingError(
                f"DMRC_HOSTS must hold host names, not '{word}'", remedy="Use DMRC_HOSTS=models.example.com"
            )
    return _words(text)


def _mirrors(text: str | None) -> Mapping[str, tuple[str, ...]] | None:
    if text is None:
        return None
    mirrors: dict[str, tuple[str, ...]] = {}
    for word in _words(text):
        match = _MIRROR.fullmatch(word)
        if match is None:
            raise SettingError(
                f"DMRC_MIRROR must hold mirrors, not '{word}'",
                remedy="Use DMRC_MIRROR=docker.io=http://127.0.0.1:5000",
            )
        mirrors[match[1]] = (*mirrors.get(match[1], ()), match[2])
    return mirrors


def _index(text: str) -> str:
    if not text:
        return ENGINE_INDEX
    if not text.startswith(("http://", "https://")):
        raise SettingError(
            f"DMRC_ENGINE_INDEX must be a URL, not '{text}'", remedy="Use DMRC_ENGINE_INDEX=https://mirror.example/whl"
        )
    return text.rstrip("/")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _directories(text: str) -> tuple[Path, ...]:
    return tuple(_path("DMRC_ALLOW_PATHS", word) for word in text.split(os.pathsep) if word)


def _plugins(text: str) -> tuple[str, ...]:
    """Return names as they are, and paths as absolute ones: the daemon runs in another directory."""
    if text.strip().lower() == "none":
        return ()
    return tuple(
        str(_path("DMRC_PLUGINS", word)) if "/" in word or word.endswith(".py") else word for word in _words(text)
    )


def _path(name: str, text: str) -> Path:
    try:
        return expanded(text).absolute()
    except InputError as error:
        raise SettingError(f"{name}: {error.message}", remedy=error.remedy) from error


def _count(name: str, text: str) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit() and int(text) <= _MOST_PROCESSES:
        return int(text)
    raise SettingError(f"{name} must be a whole number, not '{text}'", remedy=f"Use 0 to {_MOST_PROCESSES}")


def _size(name: str, text: str) -> int | None:
    if not text:
        return None
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise SettingError(f"{name} must be a size, not '{text}'", remedy=f"Write it as {name}=6GiB")
    return int(float(match[1]) * _SIZE_UNITS[match[2].lower()])
