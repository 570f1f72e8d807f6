"""`dmrc plugin`: dmrc as Docker's `docker-model`, so that plain `docker compose up` and `docker model` find it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Literal

import click

from dmrc.cli.options import json_option
from dmrc.files import replace_file
from dmrc.paths import expanded

CONTRACT_VERSION = "1.2.0"
"""The `docker-model` whose contract with Compose this plugin keeps; below 1.0.6 Compose drops `runtime_flags`.

Source: supportsRuntimeFlags in https://github.com/docker/compose/blob/main/pkg/compose/model.go
"""

_MARK = "# Written by: dmrc plugin install"


@click.group(epilog="Example: dmrc plugin install && docker compose up")
def plugin() -> None:
    """Let plain docker compose up, and docker model, use dmrc.

    Puts a docker-model into Docker's plugin directory; one that is there is kept, and restored by uninstall.
    """


@plugin.command(epilog="Example: dmrc plugin install")
def install() -> None:
    """Install the docker-model plugin for this user."""
    from dmrc.errors import DockerError

    try:
        _install()
    except OSError as error:
        raise DockerError(
            f"'{_path()}' cannot be written: {error.strerror}", remedy="Make it writable, or set DOCKER_CONFIG"
        ) from error
    click.echo(f"installed {_path()}")
    if os.path.lexists(_kept()):
        click.echo(f"the docker-model that was there is kept as {_kept()}", err=True)


@plugin.command(epilog="Example: dmrc plugin uninstall")
def uninstall() -> int:
    """Remove the docker-model plugin. The one that was there before is restored."""
    from dmrc.errors import DockerError

    if not _is_ours(_path()):
        click.echo("dmrc is not installed as docker-model", err=True)
        return 1
    try:
        _path().unlink()
        if os.path.lexists(_kept()):
            _kept().rename(_path())
            click.echo(f"restored {_path()}")
        else:
            click.echo(f"removed {_path()}")
    except OSError as error:
        raise DockerError(f"'{_path()}' cannot be removed: {error.strerror}") from error
    return 0


@plugin.command(epilog="Example: dmrc plugin status --json")
@json_option
def status(as_json: bool) -> int:
    """Tell whether docker-model is dmrc. Exits with 1 when it is not."""
    import json

    whose = installed()
    is_ours = whose in ("ours", "stale")
    kept = str(_kept()) if os.path.lexists(_kept()) else None
    if as_json:
        click.echo(json.dumps({"installed": is_ours, "path": str(_path()), "kept": kept}, indent=2))
    elif is_ours:
        click.echo(f"docker model is dmrc ({_path()})")
    elif whose == "other":
        click.echo(f"docker model is another program's ({_path()})")
    else:
        click.echo("dmrc is not installed as docker-model. Run: dmrc plugin install")
    return 0 if is_ours else 1


def installed() -> Literal["ours", "stale", "other"] | None:
    """Return whose docker-model is: this dmrc's, that of a dmrc elsewhere, another program's; None for nobody's."""
    if _is_ours(_path()):
        return "ours" if _path().read_text() == _script() else "stale"
    return "other" if os.path.lexists(_path()) else None


def _install() -> None:
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path) and not _is_ours(path):
        _kept().parent.mkdir(parents=True, exist_ok=True)
        path.rename(_kept())  # a link stays the link that it is
    replace_file(path, _script().encode(), 0o755)


def _script() -> str:
    """Return the plugin. Docker asks each plugin for its metadata at every command, so a shell answers that."""
    metadata = (
        f'{{"SchemaVersion":"0.1.0","Vendor":"dmrc","Version":"v{CONTRACT_VERSION}",'
        '"ShortDescription":"Models of compose projects (dmrc)"}'
    )
    return (
        f"#!/bin/sh\n{_MARK}\n"
        'case "$1" in\n'
        f"docker-cli-plugin-metadata) echo '{metadata}' ;;\n"
        f'*) exec {shlex.quote(sys.executable)} -m dmrc.docker_model "$@" ;;\n'
        "esac\n"
    )


def _directory() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or expanded("~/.docker"))


def _path() -> Path:
    return _directory() / "cli-plugins" / "docker-model"


def _kept() -> Path:
    """Return where another docker-model waits: beside the plugin directory, where Docker takes no notice of it."""
    return _directory() / "dmrc" / "docker-model"


def _is_ours(path: Path) -> bool:
    try:
        return _MARK in path.read_text().splitlines()[:2]
    except (OSError, UnicodeDecodeError):
        return False
