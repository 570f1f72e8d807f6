"""Credentials for registries, from where `docker login` puts them.

Source: https://docs.docker.com/reference/cli/docker/login/#credential-stores
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_log = logging.getLogger(__name__)

_HUB = "docker.io"
_HUB_KEY = "https://index.docker.io/v1/"
_HELPER_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a registry wants to see."""

    username: str
    """User name."""
    password: str = field(repr=False)
    """Password, or access token used as one."""
    identity_token: str | None = field(default=None, repr=False)
    """OAuth2 refresh token, used instead of the password where there is one."""


@dataclass(frozen=True, slots=True)
class DockerCredentials:
    """Looks credentials up in Docker's `config.json`: `credHelpers`, then `credsStore`, then `auths`."""

    directory: Path
    """Directory with `config.json`."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> DockerCredentials:
        """Use `DOCKER_CONFIG`, or `~/.docker`."""
        return cls(Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker"))

    def lookup(self, registry: str) -> Credentials | None:
        """Return the credentials for exactly this host (`docker.io`, `localhost:5000`), or None.

        A file or helper that does not work is named in the log and counts as none: a public model needs no login.
        """
        key = _HUB_KEY if registry == _HUB else registry
        config = self._config()
        helpers = _mapping(config.get("credHelpers"))
        helper = helpers.get(key) or helpers.get(registry) or config.get("credsStore")
        if isinstance(helper, str):
            found = _ask_helper(helper, key)
            if found is not None:
                return found
        for name, entry in _mapping(config.get("auths")).items():
            if _host(name) == registry:
                return _from_entry(_mapping(entry))
        return None

    def _config(self) -> Mapping[str, object]:
        path = self.directory / "config.json"
        try:
            return _mapping(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("'%s' cannot be read, so registries are used without login: %s", path, error)
            return {}


def _ask_helper(helper: str, key: str) -> Credentials | None:
    """Source: https://github.com/docker/docker-credential-helpers#development."""
    program = f"docker-credential-{helper}"
    try:
        answer = subprocess.run(
            [program, "get"], input=key.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
        if answer.returncode:
            message = (answer.stdout or answer.stderr).decode(errors="replace").strip()
            if "credentials not found" not in message:
                _log.warning("%s failed, so '%s' is used without login: %s", program, key, message[:200])
            return None
        values = _mapping(json.loads(answer.stdout))
    except (OSError, ValueError, RecursionError, subprocess.TimeoutExpired) as error:
        _log.warning("%s failed, so '%s' is used without login: %s", program, key, type(error).__name__)
        return None
    username, secret = str(values.get("Username") or ""), str(values.get("Secret") or "")
    if not secret:
        return None
    # The user name by which helpers mark an identity token.
    return Credentials("", "", secret) if username == "<token>" else Credentials(username, secret)


def _from_entry(entry: Mapping[str, object]) -> Credentials | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    try:
        decoded = base64.b64decode(str(entry.get("auth") or ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    if ":" in decoded:
        username, _, password = decoded.partition(":")
    token = str(entry.get("identitytoken") or "") or None
    return Credentials(username, password, token) if password or token else None


def _host(key: str) -> str:
    """Return the registry that a key of `auths` is for: `https://index.docker.io/v1/` is `docker.io`."""
    host = key.partition("://")[2] if "://" in key else key
    host = host.partition("/")[0].lower()
    return _HUB if host in ("index.docker.io", "registry-1.docker.io", _HUB) else host


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
