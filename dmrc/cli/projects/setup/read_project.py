"""Reads the compose project that a command is about."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dmrc.cli.app import App
from dmrc.cli.progress import note
from dmrc.cli.projects.setup.formats import wanted_formats
from dmrc.cli.projects.setup.project_files import Allowed
from dmrc.cli.projects.setup.replaying import AS_THE_PROJECT_SAYS, ReplayWish
from dmrc.cli.projects.setup.selection import Selection
from dmrc.compose import yaml_text
from dmrc.compose.command import Compose, ComposeOptions
from dmrc.compose.dotenv import env_file_variables, with_env_files
from dmrc.compose.files import command_environ
from dmrc.compose.includes import included_models
from dmrc.compose.interpolation import filled, referenced
from dmrc.compose.mistakes import mistakes
from dmrc.compose.secrets import project_secrets
from dmrc.errors import DmrcError, DockerError, InputError, ProjectError, UnsupportedError
from dmrc.fields import mapping
from dmrc.project import ModelDeclaration, Project, knows_addresses, parse_host
from dmrc.project.provider import TYPES
from dmrc.reference import Reference
from dmrc.suggestions import did_you_mean


def read_project(
    app: App,
    options: ComposeOptions,
    *,
    compose: Compose | None = None,
    named: Sequence[str] = (),
    replaying: ReplayWish = AS_THE_PROJECT_SAYS,
) -> Project:
    """Return the project, every model entry of it checked; in a replay nothing is wanted that serves a model.

    `named` are words of the user among which services may be: Compose starts these even where their profile is not
    active. The project is read by `compose`, which will start it; without, by Compose where there is one, else by our
    own reader of a subset.

    Raises:
        ProjectError: It cannot be read, or declares something impossible.
        InputError: A file that it names cannot be read, or lies outside of the project.
        RuntimeFlagError: A runtime flag is unknown or forbidden.
        DockerError: `compose` is not installed, or is too old.
    """
    document = _document(options, compose)
    if compose is not None:
        _add_named(document, options, compose, named)
    _check_providers(document)
    places = included_models(options.files, _environ(options).get) if document.get("models") else {}
    project = Project.parse(document, options.files, options.directory, places)
    allowed = Allowed((options.directory, *places.values()), (*options.allowed_paths, *app.settings.allowed_paths))
    project = replaying.applied(allowed.with_cassettes(project)).recorded()
    project = allowed.resolved(project)
    if app.settings.host is not None:
        project = project.on_host(parse_host(app.settings.host, "DMRC_HOST"))
    if address := _environ(options).get("RAY_ADDRESS"):  # the daemon may have been started elsewhere
        project = project.on_cluster(address)
    check_models(app, project)
    return replace(project, secrets=secrets_of(document, options))


def secrets_of(document: dict[str, object], options: ComposeOptions) -> tuple[str, ...]:
    """Return the values of the project that must not be recorded."""
    directory = options.directory
    environ = _environ(options)
    defined = env_file_variables(environ, directory, options.env_files)
    known = {**defined, **environ}
    files = [*options.files, *options.env_files, directory / ".env"]
    texts = {file: file.read_text(errors="replace") for file in files if file.is_file()}
    names = {name for text in texts.values() for name in referenced(text)}
    variables = {**{name: known[name] for name in names if name in known}, **defined}
    written = [one for file in options.files if file in texts for one in _written(texts[file], str(file), known)]
    return project_secrets(document, directory, known, variables, written)


def _written(text: str, name: str, known: Mapping[str, str]) -> list[object]:
    """Return the documents of a compose file as they are written, variables put in; Compose leaves some of it out."""
    try:
        return [filled(document, known) for document in yaml_text.read(text, name)]
    except ProjectError:
        return []


def document_without_docker(options: ComposeOptions) -> dict[str, object]:
    """Return the project as our own reader understands it, or Compose where there is one.

    Raises:
        ProjectError: It cannot be read.
    """
    return _document(options, None)


def document_here(project_name: str) -> dict[str, object] | None:
    """Return the project in this directory as Compose prints it, for a program that Compose has started there.

    None where there is no such project here that can be read.
    """
    try:
        # Compose has said its warnings, and takes what we write for our answer.
        document = _document(Selection().options(), None, tells_warnings=False)
        return document if document.get("name") == project_name else None
    except DmrcError:
        return None


def secrets_here(project_name: str) -> tuple[str, ...] | None:
    """Return the secrets of the project in this directory, as `document_here`; None where nobody knows them."""
    document = document_here(project_name)
    try:
        return None if document is None else secrets_of(document, Selection().options())
    except DmrcError:
        return None


def _environ(options: ComposeOptions) -> dict[str, str]:
    """Return the environment as Compose has it before it reads a compose file."""
    given = [str(file) for file in options.files] if options.files_were_named else []
    return command_environ(options.project_directory or Path.cwd(), given, os.environ, options.env_files)


def check_models(app: App, project: Project) -> None:
    """Check what only engines, references and files can tell.

    Raises:
        ProjectError: An engine is unknown, or one reference is wanted in two formats.
        InvalidReferenceError: A model reference cannot be parsed.
        RuntimeFlagError: A runtime flag is unknown or forbidden.
        UnsupportedError: An engine cannot do what is declared.
    """
    from dmrc.engines.options_check import check_options

    for model in project.models.values():
        with _named(f"models.{model.key}"):
            for reference in model.references:
                Reference.parse(reference, default_registry=app.settings.default_registry)
        engine = app.engines.get(model.loader)
        if engine is None and model.options.host is not None:
            continue  # its host may have a plugin with it
        if engine is None:
            raise _unknown_engine(model, app.engines)
        with _named(f"models.{model.key}"):
            check_options(engine, model.options, model.options.companions)
    wanted_formats(project.models.values(), app.engines)


def _unknown_engine(model: ModelDeclaration, known: Iterable[str]) -> ProjectError:
    from dmrc.engines.options_check import SPECIAL_OPTIONS

    said = f"models.{model.key}.x-dmrc.engine is '{model.engine}'"
    if model.engine in SPECIAL_OPTIONS.values():
        plugin = f"dmrc-{model.engine}"
        return ProjectError(f"{said}, which a plugin brings that is not here", remedy=f"Run: pip install {plugin}")
    return ProjectError(f"{said}{did_you_mean(model.engine, known)}", remedy=f"Known: {', '.join(known)}")


def upstream_keys(
    project: Project, needed: Sequence[ModelDeclaration], options: ComposeOptions, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the keys of the project's upstreams by variable, from where Compose's interpolation finds variables.

    Raises:
        ProjectError: One of a model that is `needed` now is not set.
    """
    given = [str(file) for file in options.files] if options.files_were_named else []
    before = command_environ(options.project_directory or Path.cwd(), given, environ, options.env_files)
    variables = with_env_files(before, options.directory, options.env_files)
    keys = {}
    for model in project.models.values():
        upstream = model.options.upstream
        for name in {each.key: None for each in (upstream.all if upstream else ()) if each.key is not None}:
            if variables.get(name):
                keys[name] = variables[name]
            elif model in needed:
                raise ProjectError(
                    f"models.{model.key}.x-dmrc.upstream.key names {name}, which is not set",
                    remedy=f"Set it in the environment, or in .env beside the compose file: {name}=…",
                )
    return keys


def _add_named(document: dict[str, object], options: ComposeOptions, compose: Compose, named: Sequence[str]) -> None:
    """Add the services that the user names and whose profile is not active, with their models."""
    services = document.get("services")
    known = services if isinstance(services, dict) else {}
    others = [word for word in named if word not in known]
    if not others:
        return
    try:
        more = compose.config(options, others)
    except ProjectError:
        return  # a word of another kind, or a service that there is not: Compose will say so itself
    for part in ("services", "models"):
        before, added = document.get(part), more.get(part)
        document[part] = {
            **(added if isinstance(added, dict) else {}),
            **(before if isinstance(before, dict) else {}),
        }


@contextlib.contextmanager
def _named(where: str) -> Iterator[None]:
    """Put the key of the compose file that an error is about before its message."""
    try:
        yield
    except (InputError, UnsupportedError) as error:
        raise type(error)(f"{where}: {error.message}", remedy=error.remedy) from error


def _check_providers(document: Mapping[str, object]) -> None:
    """Refuse a provider that no program is, where its name is near one of a model; any other is Compose's business.

    Raises:
        ProjectError: There is one.
    """
    services = mapping(document.get("services"), "services")
    for name, service in services.items():
        where = f"services.{name}.provider"
        kind = str(mapping(mapping(service, f"services.{name}").get("provider"), where).get("type", ""))
        if (
            not kind
            or kind in TYPES
            or not (meant := did_you_mean(kind, TYPES))
            or shutil.which(kind)
            or shutil.which(f"docker-{kind}")
        ):
            continue
        raise ProjectError(f"{where}.type is '{kind}'{meant}", remedy=f"Write type: {TYPES[0]}")


def _document(options: ComposeOptions, compose: Compose | None, *, tells_warnings: bool = True) -> dict[str, object]:
    """Return the project as Compose or our own reader understands it; what is misspelt is told with what was meant."""
    try:
        return _read_document(options, compose, tells_warnings=tells_warnings and compose is None)
    except ProjectError as error:
        found = mistakes(options.files)
        if not found:
            raise
        raise ProjectError("; ".join(found), remedy="Correct it, and look again: dmrc config") from error


def _read_document(options: ComposeOptions, compose: Compose | None, *, tells_warnings: bool) -> dict[str, object]:
    try:
        reader = compose or Compose(os.environ)
        document = reader.config(options)
        if knows_addresses(document):  # then services may use a model that none of them lists
            document = reader.config(options, everything=True)
        for warning in dict.fromkeys(reader.warnings) if tells_warnings else ():
            note(warning)  # where it starts the project, Compose says so itself
        return document
    except DockerError:
        if compose is not None:
            raise
    from dmrc.compose.without_docker.loader import load

    return load(
        options.files,
        environ=_environ(options),
        env_files=options.env_files,
        profiles=options.profiles,
        project_name=options.project_name,
        directory=options.project_directory,
    )
