"""Joins a service to what the daemon knows of its project, for doors that do not know the whole of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dmrc.cli.app import App
from dmrc.cli.door_keys import stable_keys
from dmrc.cli.reading import secrets_here
from dmrc.project import ModelDeclaration
from dmrc.projects import Registration, key_hash


def join(app: App, project: str, service: str, models: Sequence[ModelDeclaration], docker_host: str) -> str:
    """Make the daemon know a service with these models, and what must not be recorded of it; return its key."""
    if (secrets := secrets_here(project)) is not None:
        app.daemon.hand_over_secrets(project, secrets)
    key = stable_keys(app, project, [service])[service]
    app.daemon.join(
        Registration(
            name=project,
            directory=str(Path.cwd()),
            docker_host=docker_host,
            models={model.key: model for model in models},
            services={service: tuple(model.key for model in models)},
            key_hashes={service: key_hash(key)},
        )
    )
    return key
