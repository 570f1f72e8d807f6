"""Makes a project ready: its models pulled, its keys made, the project registered, its models loaded."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlencode

from dmrc.cli.app import App
from dmrc.cli.progress import PullProgress, note, spinner
from dmrc.cli.projects.faults.running import planned
from dmrc.cli.projects.setup.formats import refusal, wanted_formats
from dmrc.cli.projects.setup.hosts import pull_there
from dmrc.cli.projects.setup.reaching import attach
from dmrc.cli.projects.setup.service_keys import stable_keys
from dmrc.cli.tables import size
from dmrc.compose.override import GatewayAddress
from dmrc.errors import DaemonError, DmrcError, FormatError
from dmrc.fields import JsonObject
from dmrc.models import Pulled
from dmrc.models.description import trained_context
from dmrc.project import RECORDED_ENGINE, ModelDeclaration, Project
from dmrc.projects import Registration, process_of
from dmrc.threads import result_of


@dataclass(frozen=True, slots=True)
class Prepared:
    """A project whose containers can start."""

    keys: dict[str, str]
    """Plain key of each service."""
    gateway: GatewayAddress
    """Where containers reach the gateway."""
    run: JsonObject | None = None
    """The run with cassettes that this command is of, for `end_of_run`; None where there is none."""


def override_path(app: App, project_name: str) -> Path:
    """Return where a project's override file lies."""
    return app.settings.paths.projects / project_name / "override.yaml"


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How a project should be made ready."""

    docker_host: str | None
    """Docker engine that runs its containers; None where there are none."""
    upstream_keys: Mapping[str, str]
    """Keys of its upstreams, by the names of their variables."""
    models: tuple[ModelDeclaration, ...]
    """The models of the services that are to start; the project's other ones are only known."""
    load: bool = True
    """Whether to load these now."""
    becomes_compose: bool = False
    """Whether this process becomes Compose, which makes containers: a project that gets none ends then."""
    is_used_here: bool = False
    """Whether a program on this machine is given the variables of a service."""
    program_of: str | None = None
    """The service whose program this process runs, or becomes, and waits for."""


def prepare(app: App, project: Project, wish: PrepareOptions) -> Prepared:
    """Make `project` ready, in the order that a user waits for it; see the steps below.

    Raises:
        DmrcError: A step failed. A project that was not registered before is not registered afterwards, unless another
            command prepares it too, and a daemon that did not run before does not run afterwards.
    """
    with app.daemon.needed():
        return _prepare(app, project, wish)


def _prepare(app: App, project: Project, wish: PrepareOptions) -> Prepared:
    gateway = attach(app, wish.docker_host, plain_port=project.uses_plain_port)
    pulled = _pull_missing(app, wish.models)
    keys = stable_keys(app, project.name, [service.name for service in project.consumers])
    app.daemon.ensure()  # pulls take long; meanwhile another command may have ended the daemon
    app.daemon.hand_over_secrets(project.name, project.secrets)
    registration = replace(
        Registration.of(project, keys, wish.docker_host),
        is_used_here=wish.is_used_here,
        starter=process_of(os.getpid()) if wish.becomes_compose else None,
    )
    path, claim = f"/projects/{quote(project.name, safe='')}", secrets.token_hex(8)
    try:
        # Inside: whoever interrupts it may do so when the daemon has done it, and has not answered yet.
        run = _register(app, registration, wish, claim)
        wanted = [model for model in wish.models if wish.load and model.ready == "loaded"] if _loads(project) else []
        runners = _load(app, project.name, wanted)
    except BaseException:
        with contextlib.suppress(DaemonError):  # what went wrong first is told
            app.daemon.request("DELETE", f"{path}?claim={claim}")
        raise
    app.daemon.request("POST", f"{path}/settle")
    for model in wish.models:
        tell_cut_context(app, model)
        runner = runners.get(model.key)
        note(_summary(app, model, pulled.get((model.model, model.options.host)), runner))
        if runner is not None and runner.get("notice"):
            note(str(runner["notice"]))
    return Prepared(keys, gateway, run)


def _loads(project: Project) -> bool:
    """Return whether models are loaded before they are asked: not where cassettes may answer all there is to ask."""
    return project.replay is None or not project.replay.answers


def _pull_missing(app: App, models: Sequence[ModelDeclaration]) -> dict[tuple[str, str | None], Pulled]:
    """Pull all models side by side, with what engines need, and return what came, by reference and host.

    Each reference is pulled once for each machine; what is present needs no network.
    """
    here = [model for model in models if model.options.host is None]
    there = {(name, host): model for model in models if (host := model.options.host) for name in model.references}
    wanted = wanted_formats(here, app.engines)
    with PullProgress() as progress, ThreadPoolExecutor(max_workers=4) as pool:

        def pull(name: str) -> Pulled:
            try:
                return app.models.pull(name, progress.of(name), cancelled=progress.cancelled, formats=wanted[name])
            except FormatError as error:
                raise refusal(error, name, models, app.engines) from error

        futures: dict[tuple[str, str | None], Future[Pulled]] = {}
        try:
            for name in wanted:
                futures[name, None] = pool.submit(pull, name)
            for (name, host), model in there.items():
                futures[name, host] = pool.submit(
                    pull_there, app, host, name, model.options.engine, progress.of(name), progress.cancelled
                )
            for model in here:
                app.engines[model.engine].fetch(model.options, progress.of_parts(model.options.image or model.engine))
            return {which: result_of(future) for which, future in futures.items()}
        except BaseException:
            progress.cancel()
            if there:
                app.daemon.hang_up()  # threads wait for what a host says, however long it says nothing
            raise


def _register(app: App, registration: Registration, wish: PrepareOptions, claim: str) -> JsonObject | None:
    """Register the project, and return its run; with `claim` it ends where this command fails, if it was not up before.

    The keys go first, for its requests may be coming.
    """
    path = f"/projects/{quote(registration.name, safe='')}"
    app.daemon.request("PUT", f"{path}/upstream-keys", json.dumps(dict(wish.upstream_keys)))
    query = {"claim": claim}
    if wish.becomes_compose or wish.program_of:
        query |= {"process": str(os.getpid())} | ({"service": wish.program_of} if wish.program_of else {})
    answer = app.daemon.request("PUT", f"{path}?{urlencode(query)}", registration.to_json())
    document = answer if isinstance(answer, dict) else {}
    for plugin in cast(list[JsonObject], document.get("plugins", [])):
        note(_plugin_line(plugin))
    for row in planned(app):
        if row["project"] == registration.name:
            note(str(row["line"]))
    return cast("JsonObject | None", document.get("run"))


def _plugin_line(plugin: JsonObject) -> str:
    """Return the one line per plugin of the project: its code runs as the user, so nobody shall miss it."""
    if plugin["state"] != "loaded":
        return f"plugin {plugin['from']} is skipped: {plugin['reason']}"
    return f"plugin {plugin['from']} runs in the daemon: {', '.join(map(str, cast(list[str], plugin['hooks'])))}"


def _load(app: App, project_name: str, models: list[ModelDeclaration]) -> dict[str, JsonObject]:
    """Load models side by side; the daemon decides their order by the memory there is."""
    if not models:
        return {}
    names = ", ".join(model.name for model in models)
    with spinner(f"loading {names}"), ThreadPoolExecutor(max_workers=len(models)) as pool:
        try:
            futures = {model.key: pool.submit(app.daemon.load, project_name, model.key) for model in models}
            return {key: result_of(future) for key, future in futures.items()}
        except BaseException:
            app.daemon.hang_up()  # the pool waits for its threads, and a load may take minutes
            raise


def tell_cut_context(app: App, model: ModelDeclaration, say: Callable[[str], None] = note) -> None:
    """Tell where a model that is here is declared with more context than it was trained for: it gets no more than that.

    Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/server-context.cpp, which caps a slot at it.
    """
    context_size = model.options.context_size
    if context_size is None or model.options.upstream is not None or model.options.host is not None:
        return
    try:
        trained = trained_context(app.model(model.model, remote=False))
    except DmrcError:
        return  # it is not here, and nobody knows yet
    if trained and context_size > trained:
        say(f"{model.key}: context_size {context_size} is cut to {trained}, what {model.name} was trained for")


def _summary(app: App, model: ModelDeclaration, pulled: Pulled | None, runner: JsonObject | None) -> str:
    """Return the one line per model: pull, load, and where it listens."""
    parts = []
    if pulled is not None:
        amount = size(pulled.size_bytes)
        parts.append(f"present ({amount})" if pulled.was_present else f"pulled {amount} in {pulled.seconds:.1f} s")
    upstream = model.options.upstream
    if model.options.engine == RECORDED_ENGINE:
        parts.append("answers from cassettes")
    elif upstream is not None:
        parts.append(f"upstream {upstream}")
    elif model.options.host is not None and runner is not None:
        parts.append("loaded already" if runner["was_loaded"] else f"loaded in {runner['load_seconds']:.1f} s")
        parts.append(f"on {model.options.host}")
    elif runner is None:
        parts.append("loads at its first request")
    elif runner["was_loaded"]:
        parts.append("loaded already")
    else:
        parts.append(f"loaded in {runner['load_seconds']:.1f} s")
    if runner is not None and upstream is None and runner["parallel"] is not None:
        parts.append(f"{runner['context_size']} tokens × {runner['parallel']} slots")
    parts.append(f"http://127.0.0.1:{app.settings.port}/engines/v1")
    return f"{model.key}: {model.name}  {' · '.join(parts)}"
