"""Joins a service to what the daemon knows of its project, for commands that do not know the whole of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dmrc.cli.app import App
from dmrc.cli.projects.setup.read_project import document_here, secrets_here
from dmrc.cli.projects.setup.service_keys import stable_keys
from dmrc.project import ModelDeclaration, Project, knows_addresses
from dmrc.projects import WHOLE_PROJECT, Registration, key_hash, process_of


def join(app: App, project: str, service: str, models: Sequence[ModelDeclaration], docker_host: str) -> str:
    """Make the daemon know a service with these models, and what must not be recorded of it; return its key.

    Where the project in this directory says `x-dmrc: {auth: address}`, its services are known by their addresses.

    Raises:
        ProjectError: Something else in such a project is impossible.
    """
    if (secrets := secrets_here(project)) is not None:
        app.daemon.hand_over_secrets(project, secrets)
    key = stable_keys(app, project, [service])[service]
    by_address = project_by_address(project)
    app.daemon.join(
        Registration(
            name=project,
            directory=str(Path.cwd()),
            docker_host=docker_host,
            models={model.key: model for model in models},
            services={service: tuple(model.key for model in models)},
            key_hashes={service: key_hash(key)},
            without_models=() if by_address is None else tuple(each.name for each in by_address.callers),
            auth="key" if by_address is None else by_address.auth,
            plain_port=by_address is not None,
            # A provider may be started alone, and is wanted then.
            starter=process_of(os.getppid()) if service == WHOLE_PROJECT else None,
            any_model=by_address is not None and by_address.any_model,
        )
    )
    return key


def project_by_address(name: str) -> Project | None:
    """Return the project in this directory where it knows its containers by their addresses.

    Raises:
        ProjectError: Something else in it is impossible.
    """
    document = document_here(name)
    return None if document is None or not knows_addresses(document) else Project.parse(document, ())
