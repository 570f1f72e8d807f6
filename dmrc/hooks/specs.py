"""The contracts of all hooks: when each is called, with what, and what is guaranteed to follow.

Common to all. Arguments go by name, and an implementation may leave out those that it does not need. Of several
implementations those of the project's own plugins come first, then those loaded last; `hookimpl(tryfirst=True)` and
`trylast=True` move one. Each is called by itself: one that raises is named, counted (`dmrc plugins`) and skipped, the
log hears of it once a minute. Wrappers are refused. What is passed is frozen; a change is a new value, returned.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click
    from fastapi import FastAPI

    from dmrc.engines.engine import Engine
    from dmrc.exchange import Exchange
    from dmrc.hooks.event_types import Annotate, Refusal, Request, Response, Runner
    from dmrc.project import Project, Service
    from dmrc.settings import Settings
    from dmrc.sources import Source

hookspec = pluggy.HookspecMarker("dmrc")


class HookKind(StrEnum):
    """How a hook is called; each kind is one function or class of this room."""

    COLLECT = "collect"
    """All are asked, the answers are put together: `Plugins.collect`."""
    CHAIN = "chain"
    """Each gets what the one before made of it: `Plugins.service_environment`."""
    NOTIFY = "notify"
    """Told what happened, later and elsewhere: `Notifications`."""
    FILTER = "filter"
    """Asked while something happens, and may change it, within a time limit: `dmrc.hooks.filters`."""


@hookspec
def dmrc_register_commands(cli: click.Group) -> None:
    """Add commands to the command line.

    Called once per process of the command line, before arguments are read, built-in plugins first: a plugin may
    replace a built-in command. Imports of a command belong inside it, or every `dmrc --help` pays for them.
    """


@hookspec
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:  # type: ignore[empty-body]
    """Return the kinds of engine that this plugin knows.

    Called once per process that checks or starts engines, before anything starts. Of two engines with the same name
    the one of the plugin that was loaded last is used, so a plugin may replace a built-in engine.
    """


@hookspec
def dmrc_register_sources(settings: Settings) -> Sequence[Source]:  # type: ignore[empty-body]
    """Return the places that models come from.

    Called once per process that pulls, before anything is pulled. The first source that accepts a reference is used,
    those of the plugin loaded last are asked first.
    """


@hookspec
def dmrc_register_routes(app: FastAPI) -> None:
    """Add routes to the gateway, on an application of this plugin's own.

    Called once when the daemon starts, before it listens. Every route, mounts too, stands behind the gateway's own
    checks of `Host`, `Origin` and key, and answers on loopback only; one with the tag `bridge`
    (`@app.get("/x", tags=["bridge"])`) also answers on Docker's bridge, and where other machines come in, to the
    key of a service. A route of dmrc's own wins over a plugin's, and of two plugins' the first. A plain function runs
    in a thread, an `async` one on the event loop that every stream runs on.
    """


@hookspec
def dmrc_project_loaded(project: Project) -> None:
    """Hear that a project is up.

    Called in the daemon after each `dmrc up`, `exec` or `env` of it, and once when a daemon starts and the project was
    up before. The values of its services' variables and its files are not among what the daemon knows: `environment`
    and `files` are empty.
    """


@hookspec
def dmrc_service_environment(
    project: Project, service: Service, environment: Mapping[str, str]
) -> Mapping[str, str] | None:
    """Return variables that a service gets beside, or in place of, those that dmrc injects; None for no change.

    Called in the command line, for each service that may ask the gateway (with models, or known by its address),
    whenever its variables are computed (`up`, `config`, `env`, `exec`): keep values stable, or Compose recreates the
    containers at every `up`. `environment` is what is injected so far, keys in plain text (in `dmrc config` a
    placeholder); the order is that of loading, so that a project's own plugin has the last word. What the user wrote
    under `environment:` is never overwritten: such a variable is left out and named. `dmrc config` shows who added
    what.
    """


@hookspec
def dmrc_model_pulled(reference: str, digest: str, size_bytes: int, seconds: float) -> None:
    """Hear that a model was pulled, and was not there before.

    Called once per pull, in the daemon where one runs, else in the command that pulled. Not for a project's own
    plugins: the store belongs to no project.
    """


@hookspec
def dmrc_runner_started(runner: Runner) -> None:
    """Hear that a runner answers.

    Called once per start that succeeded; `dmrc_runner_stopped` follows exactly once, with an equal `runner`, unless
    the plugin is unloaded before. A start that failed has neither. A project's plugin hears of the runners that the
    project's models use.
    """


@hookspec
def dmrc_runner_stopped(runner: Runner, exit_code: int | None, reason: str) -> None:
    """Hear that a runner has ended; its process is gone.

    Called once for each `dmrc_runner_started` that the same plugin was told. `reason` is one of `idle` (nobody used
    it), `evicted` (another needed the room), `unloaded` (asked for, or its project went down), `died` and `shutdown`.
    `exit_code` is negative for a signal.
    """


@hookspec
def dmrc_request(
    exchange: Exchange, request: Request, project: Project | None
) -> Request | Response | Refusal | Awaitable[Request | Response | Refusal | None] | None:
    """Change a request, answer it, refuse it, or let it pass (None).

    Called once per inference request that was let in and has a JSON object as its body, before its model is looked up
    and before it waits for a runner. A changed request goes on to the next plugin; the first `Response` or `Refusal`
    ends it. `exchange` is what is known so far, without credentials; `request` is this plugin's own copy, so it may be
    changed in place and returned. `project` is None for a caller without a key.

    Plain or `async`; a plain one runs in a thread, and either has five seconds. One that raises, takes longer or
    returns something else is skipped, and the request goes on as it was. The exchange records what was sent to the
    engine, and names the plugin in its annotations (`request_changed_by`, `answered_by`, `filters_skipped`).

    A plugin that waits on purpose says how long its filters of requests and answers may take, in place of five seconds:
    its attribute `dmrc_filter_seconds`. The pieces of a `Response` whose body is an async iterator have no limit.
    """


@hookspec
def dmrc_response_stream(
    exchange: Exchange, stream: AsyncIterator[bytes], answered_by: str | None, annotate: Annotate
) -> AsyncIterator[bytes] | Awaitable[AsyncIterator[bytes] | None] | None:
    """Change an answer on its way, by an iterator around `stream`; None leaves it alone.

    Called once per answer, when it begins: usually an `async def` that yields. Chunks are bytes as the engine sent
    them (server-sent events, cut anywhere); an answer that is no stream is one chunk. The iterator runs on the event
    loop. When it ends the answer ends; `raise dmrc.AnswerCut("why")` breaks it off.

    An implementation that takes `answered_by` is also called for what a plugin answers by `dmrc_request`, and is given
    the name of that plugin, or None for an engine; all others are called for the answers of engines only.

    `annotate(team="search")` leaves notes for the exchange while the answer passes; None takes one away.

    Where it raises anything else, takes more than five seconds with one chunk or yields no bytes, it is skipped: the
    caller gets the chunks that it took since it last yielded, then the rest as the engine sends it. A filter that must
    not let text through should therefore yield often. The exchange records what the caller got (annotation
    `stream_changed_by`).
    """


@hookspec
def dmrc_filter_capture(exchange: Exchange) -> Exchange | None:
    """Return the exchange as it may be recorded; None records nothing.

    Called once per finished exchange that is recorded, before disk and before `dmrc_exchange_completed`, which gets
    what this returns; in a replay once before that, with no answer yet (`status` is None), so that the request is
    looked for as it was recorded. Credentials are masked already. Runs in a thread, has five seconds, and **fails
    closed**: when it raises, takes longer or returns something else, nothing of the content is kept. The request itself
    is long answered.
    """


@hookspec
def dmrc_exchange_completed(exchange: Exchange) -> None:
    """Hear of a finished request: answered, refused, failed or cut off by the caller.

    Called exactly once per inference request, some tenths of a second after its end, and for each as the project's
    capture level and the filters left it (with `capture: off` without content). Under overload a notification may be
    dropped, and is counted.
    """


KINDS: dict[str, HookKind] = {
    "dmrc_register_commands": HookKind.COLLECT,
    "dmrc_register_engines": HookKind.COLLECT,
    "dmrc_register_sources": HookKind.COLLECT,
    "dmrc_register_routes": HookKind.COLLECT,
    "dmrc_project_loaded": HookKind.NOTIFY,
    "dmrc_service_environment": HookKind.CHAIN,
    "dmrc_model_pulled": HookKind.NOTIFY,
    "dmrc_runner_started": HookKind.NOTIFY,
    "dmrc_runner_stopped": HookKind.NOTIFY,
    "dmrc_request": HookKind.FILTER,
    "dmrc_response_stream": HookKind.FILTER,
    "dmrc_filter_capture": HookKind.FILTER,
    "dmrc_exchange_completed": HookKind.NOTIFY,
}
"""Each hook and how it is called."""

AWAITED = frozenset({"dmrc_request", "dmrc_response_stream"})
"""Hooks that may be `async`; of all others nobody would await the result, so such a plugin is refused."""

WIDE = frozenset({*(name for name, kind in KINDS.items() if kind is HookKind.COLLECT), "dmrc_model_pulled"})
"""Hooks that concern no single project; a project's own plugin that implements one is refused."""
